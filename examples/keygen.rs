//! Makes a key file that only its owner can read.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use countersign::generate_secret;
use lexopt::Arg;

#[path = "common/options.rs"]
#[allow(dead_code, reason = "the echo programs use more of it")]
mod options;
use options::{Failure, while_doing};

const USAGE: &str = "usage: keygen PATH";

fn main() -> ExitCode {
    options::report("keygen", run())
}

fn run() -> Result<(), Failure> {
    let mut path = None;
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("help") => {
                println!("{USAGE}");
                return Ok(());
            }
            Arg::Value(value) if path.is_none() => path = Some(PathBuf::from(value)),
            other => return Err(other.unexpected().into()),
        }
    }
    let path = path.ok_or("no file: give a PATH that does not exist yet")?;
    write(&path).map_err(while_doing(format!("cannot write {}", path.display())))
}

fn write(path: &Path) -> Result<(), std::io::Error> {
    let secret = generate_secret()?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(secret.as_ref())?;
    file.write_all(b"\n")?;
    file.sync_all()
}
