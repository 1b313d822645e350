//! `countersign fingerprint`.

use std::path::PathBuf;

use countersign::Key;

use crate::{Failure, print, shown};

const EXAMPLE: &str = "\
Equal secrets have equal fingerprints of 8 digits. A second line is about the
secret that is accepted too. The fingerprint of a random secret can be shown.
The fingerprint of a weak secret lets guesses be tested.

Example, for both ends:
  countersign fingerprint worker-7.key";

/// Prints the fingerprints of key files, to compare two ends
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// Key files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
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
            _ => format!("  {}", shown(path)),
        };
        print(format_args!("{}{name}", key.fingerprint()))?;
        if let Some(accepted) = key.accepted_fingerprint() {
            print(format_args!("{accepted}{name} (accept:)"))?;
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Returns the fingerprints of a key as one text.
pub fn fingerprints(key: &Key) -> String {
    let first = key.fingerprint();
    match key.accepted_fingerprint() {
        Some(accepted) => format!("{first} accept:{accepted}"),
        None => first.to_string(),
    }
}
