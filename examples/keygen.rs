//! Writes a new secret to a key file that only its owner can read, and prints fingerprints.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};

use countersign::{Key, Secret, generate_secret};
use lexopt::{Arg, ValueExt};

#[path = "common/options.rs"]
mod options;
use options::{Failure, while_doing};

const USAGE: &str = "\
usage: keygen [--child-of MASTER --key-id ID] PATH
       keygen --fingerprint PATH

Writes a random secret to a new file, and prints its fingerprint on standard error. With --child-of,
derives the secret of the client with this key id from the secret in the key file MASTER instead. That
gives the same secret each time. With --fingerprint, prints the fingerprint of each line of a key file,
to compare two ends.";

fn main() -> ExitCode {
    options::report("keygen", run())
}

fn run() -> Result<(), Failure> {
    let mut path = None;
    let mut master = None;
    let mut key_id = None;
    let mut fingerprint = false;
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("child-of") => master = Some(PathBuf::from(parser.value()?)),
            Arg::Long("key-id") => key_id = Some(parser.value()?.string()?),
            Arg::Long("fingerprint") => fingerprint = true,
            Arg::Long("help") => {
                println!("{USAGE}");
                return Ok(());
            }
            Arg::Value(value) if path.is_none() => path = Some(PathBuf::from(value)),
            other => return Err(other.unexpected().into()),
        }
    }
    let path = path.ok_or("no file: give the PATH of a key file")?;
    if fingerprint {
        if master.is_some() || key_id.is_some() {
            return Err("--fingerprint goes with no other option".into());
        }
        let key = Key::from_file(path)?;
        println!("{}", key.fingerprint());
        if let Some(accepted) = key.accepted_fingerprint() {
            println!("{accepted} (accept:)");
        }
        return Ok(());
    }
    let secret = match (master, key_id) {
        (None, None) => generate_secret()?,
        (Some(master), Some(key_id)) => Key::from_file(master)?.child_secret(key_id)?,
        _ => return Err("--child-of MASTER and --key-id ID go together".into()),
    };
    let fingerprint = Key::new(&secret)?.fingerprint();
    write(&path, &secret).map_err(while_doing(format!("cannot write {}", path.display())))?;
    eprintln!("fingerprint {fingerprint}");
    Ok(())
}

/// Writes the file beside its place and links it there, so that it appears whole or not at all, and
/// never replaces another.
fn write(path: &Path, secret: &Secret) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let beside = format!(".{}.{}", name.to_string_lossy(), process::id());
    let beside = path.with_file_name(beside);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    let written = (file.write_all(secret.as_ref()))
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&beside, path));
    fs::remove_file(&beside)?;
    written
}
