//! Writes a new secret to a key file that only its owner can read.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use countersign::{Key, Secret, generate_secret};
use lexopt::{Arg, ValueExt};

#[path = "common/options.rs"]
mod options;
use options::{Failure, while_doing};

const USAGE: &str = "\
usage: keygen [--child-of MASTER --key-id ID] PATH

Writes a random secret to a new file. With --child-of, derives the secret of the client with this
key id from the secret in the key file MASTER instead. That gives the same secret each time.";

fn main() -> ExitCode {
    options::report("keygen", run())
}

fn run() -> Result<(), Failure> {
    let mut path = None;
    let mut master = None;
    let mut key_id = None;
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("child-of") => master = Some(PathBuf::from(parser.value()?)),
            Arg::Long("key-id") => key_id = Some(parser.value()?.string()?),
            Arg::Long("help") => {
                println!("{USAGE}");
                return Ok(());
            }
            Arg::Value(value) if path.is_none() => path = Some(PathBuf::from(value)),
            other => return Err(other.unexpected().into()),
        }
    }
    let path = path.ok_or("no file: give a PATH that does not exist yet")?;
    let secret = match (master, key_id) {
        (None, None) => generate_secret()?,
        (Some(master), Some(key_id)) => Key::from_file(master)?.child_secret(key_id)?,
        _ => return Err("--child-of MASTER and --key-id ID go together".into()),
    };
    write(&path, &secret).map_err(while_doing(format!("cannot write {}", path.display())))
}

fn write(path: &Path, secret: &Secret) -> Result<(), std::io::Error> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(secret.as_ref())?;
    file.write_all(b"\n")?;
    file.sync_all()
}
