//! `countersign rotate`.

#[cfg(unix)]
use std::io;
use std::path::PathBuf;

use countersign::{Key, Rotation};
#[cfg(unix)]
use {
    countersign::KeyFileError,
    rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, open, stat},
    rustix::io::Errno,
    std::os::fd::OwnedFd,
    std::path::Path,
};

use crate::fingerprint::fingerprints;
use crate::{Failure, print};

const EXAMPLE: &str = "\
Prints the fingerprints before and after. The file is replaced in one step and
keeps its owner, group and permissions. A second promote swaps the secrets back:
if one may have failed, compare `countersign fingerprint` before another.

Example: reload the servers with the new file after each step, and give it to
the client after the second
  countersign rotate worker-7.key add      # a new secret is accepted too
  countersign rotate worker-7.key promote  # the two are swapped
  countersign rotate worker-7.key drop     # the second secret is gone";

/// Replaces the secret of a key file in three steps
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The key file
    file: PathBuf,
    /// The step of the rotation
    #[arg(value_name = "add|promote|drop", hide_possible_values = true)]
    step: Step,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Step {
    Add,
    Promote,
    Drop,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let step = match args.step {
        Step::Add => Rotation::Add,
        Step::Promote => Rotation::Promote,
        Step::Drop => Rotation::Drop,
    };
    let path = &args.file;
    #[cfg(unix)]
    let _lock = lock(path).map_err(|error| countersign::Error::KeyFile {
        path: path.clone(),
        error,
    })?;
    let before = Key::from_file(path)?;
    let after = Key::rotate_file(path, step)?;
    print(format_args!("before {}", fingerprints(&before)))?;
    print(format_args!("after  {}", fingerprints(&after)))?;
    match (step, before.accepted_fingerprint()) {
        (Rotation::Drop, Some(gone)) => print(format_args!("gone   {gone}")),
        _ => Ok(()),
    }
}

/// Locks the file against another rotation, for as long as the result is there.
#[cfg(unix)]
fn lock(path: &Path) -> Result<OwnedFd, KeyFileError> {
    // Without NONBLOCK a FIFO waits for a writer. What is no regular file is refused when it is read.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Err(Errno::LOOP) => return Err(KeyFileError::Linked),
        opened => opened.map_err(io::Error::from)?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Err(busy()),
        locked => locked.map_err(io::Error::from)?,
    }
    // The lock is of no use if the file was replaced before it was locked.
    let (locked, named) = (fstat(&file), stat(path));
    let (locked, named) = (
        locked.map_err(io::Error::from)?,
        named.map_err(io::Error::from)?,
    );
    if (locked.st_dev, locked.st_ino) != (named.st_dev, named.st_ino) {
        return Err(busy());
    }
    Ok(file)
}

#[cfg(unix)]
fn busy() -> KeyFileError {
    let error = "it is being rotated by another command; run this again after that";
    io::Error::new(io::ErrorKind::ResourceBusy, error).into()
}
