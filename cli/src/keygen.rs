//! `countersign keygen`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use countersign::{Key, KeyId, generate_secret};

use crate::{Failure, shown};

const EXAMPLE: &str = "\
Only its owner can read the file, and it never replaces another. The fingerprint
is printed on standard error.

Examples:
  countersign keygen secret.key
  countersign keygen --key-id worker-7 /etc/billing/keys
  countersign keygen --child-of master.key --key-id worker-7 worker-7.key";

/// Writes a new secret to a key file
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The new file or, with --key-id, an existing directory for <ID>.key
    path: PathBuf,
    /// Names the file in a directory, or the child
    #[arg(long, value_name = "ID", value_parser = key_id)]
    key_id: Option<String>,
    /// Derives the secret from this key file, the same each time
    #[arg(long, value_name = "MASTER", requires = "key_id")]
    child_of: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let path = path(args)?;
    let secret = match (&args.child_of, &args.key_id) {
        (Some(master), Some(id)) => Key::from_file(master)?.child_secret(id)?,
        _ => generate_secret()?,
    };
    let fingerprint = Key::new(&secret)?.fingerprint();
    secret.write_new(path)?;
    writeln!(io::stderr(), "fingerprint {fingerprint}")?;
    Ok(())
}

fn path(args: &Args) -> Result<PathBuf, Failure> {
    let is_directory = args.path.is_dir();
    let shown = shown(&args.path);
    match &args.key_id {
        Some(id) if is_directory => Ok(args.path.join(file_name(id)?)),
        None if is_directory => {
            Err(format!("{shown} is a directory; give --key-id ID, or a path in it").into())
        }
        Some(_) if args.child_of.is_none() => Err(format!(
            "--key-id names a file in a directory, and {shown} is none; make the directory, or \
             leave out --key-id"
        )
        .into()),
        _ => Ok(args.path.clone()),
    }
}

/// Returns the name under which a directory of keys has the key with this id.
fn file_name(id: &str) -> Result<String, Failure> {
    let name = format!("{id}.key");
    let is_name = Path::new(&name).file_name() == Some(name.as_ref());
    if !is_name || id.is_empty() || id.starts_with('.') {
        return Err(format!(
            "key id \"{}\" cannot name a file: it must not be empty, begin with a dot or have a \
             slash; give the path of a file",
            id.as_bytes().escape_ascii()
        )
        .into());
    }
    Ok(name)
}

/// Reads a key id from the command line.
pub fn key_id(text: &str) -> Result<String, countersign::InvalidInput> {
    KeyId::new(text).map(|_| text.to_owned())
}
