//! `countersign fingerprint`.

use std::io::{self, Write};
use std::path::PathBuf;

use countersign::Key;

use crate::Failure;

const EXAMPLE: &str = "\
Example: run it at both ends; equal secrets have equal fingerprints
  countersign fingerprint worker-7.key";

/// Prints a fingerprint of each secret in key files, to compare two ends
///
/// Eight hexadecimal digits for each line of a file, and `(accept:)` after those of a second secret.
/// The fingerprint of a random secret may be shown; that of a weak one lets guesses be tested.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// Key files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let mut failed: Option<Failure> = None;
    for path in &args.files {
        let key = match Key::from_file(path) {
            Ok(key) => key,
            Err(error) => {
                if let Some(earlier) = failed.replace(error.into()) {
                    earlier.report();
                }
                continue;
            }
        };
        let name = match args.files.len() {
            1 => String::new(),
            _ => format!("  {}", path.display()),
        };
        writeln!(stdout, "{}{name}", key.fingerprint())?;
        if let Some(accepted) = key.accepted_fingerprint() {
            writeln!(stdout, "{accepted}{name} (accept:)")?;
        }
    }
    failed.map_or(Ok(()), Err)
}
