//! Keys, checks and tunnels with countersign.

mod address;
mod check;
mod fingerprint;
mod keygen;
mod rotate;
#[cfg(unix)]
mod tunnel;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
#[cfg(unix)]
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
#[cfg(unix)]
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const EXAMPLE: &str = "\
Example: two ends with one secret, and a check that each knows the other
  countersign keygen secret.key
  countersign fingerprint secret.key
  countersign check billing.internal:7000 --key-file secret.key

Exit status: 0 done, 1 failed or refused, 64 the command line is wrong.
`check` has two more: 2 no connection, 3 another protocol or verb.";

/// Keys, checks and tunnels with countersign
#[derive(Parser)]
#[command(name = "countersign", version, max_term_width = 80, after_help = EXAMPLE)]
#[command(disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Keygen(keygen::Args),
    Fingerprint(fingerprint::Args),
    Rotate(rotate::Args),
    Check(check::Args),
    /// Carries connections of other programs between two hosts
    #[cfg(unix)]
    #[command(subcommand)]
    Tunnel(tunnel::Args),
}

/// The exit status of a wrong command line: `EX_USAGE` of `<sysexits.h>`, because `check` needs the
/// small numbers.
const USAGE: u8 = 64;

/// Why a command ended, and with which exit status.
struct Failure {
    reason: Box<dyn Error + Send + Sync>,
    status: u8,
}

impl Failure {
    /// Prints it as one sentence on standard error.
    fn report(&self) {
        // A pipe that nobody reads must not prevent the end. The exit status tells of it too.
        #[cfg(unix)]
        if !is_writable(io::stderr()) {
            return;
        }
        let _ = writeln!(io::stderr(), "countersign: {}", self.reason);
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    fn from(reason: E) -> Self {
        Self {
            reason: reason.into(),
            status: 1,
        }
    }
}

fn main() -> ExitCode {
    let outcome = match Arguments::try_parse() {
        Ok(arguments) => run(arguments.command),
        Err(error) => return usage(&error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::from(failure.status)
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Keygen(args) => keygen::run(&args),
        Command::Fingerprint(args) => fingerprint::run(&args),
        Command::Rotate(args) => rotate::run(&args),
        Command::Check(args) => check::run(&args),
        #[cfg(unix)]
        Command::Tunnel(args) => tunnel::run(args),
    }
}

/// Returns a path for one line of text, escaped as in the errors of the library.
fn shown(path: &Path) -> impl Display {
    path.as_os_str().as_encoded_bytes().escape_ascii()
}

/// Prints a line.
fn print(line: impl Display) -> Result<(), Failure> {
    writeln!(io::stdout(), "{line}").map_err(|error| not_printed(&error))
}

/// Returns whether a line can be written within a second.
#[cfg(unix)]
fn is_writable(file: impl AsFd) -> bool {
    let second = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    let mut file = [PollFd::new(&file, PollFlags::OUT)];
    poll(&mut file, Some(&second)) != Ok(0)
}

fn not_printed(error: &io::Error) -> Failure {
    format!("could not write to standard output: {error}").into()
}

/// Prints what was asked for, or what is wrong with the command line.
fn usage(error: &clap::Error) -> ExitCode {
    let asked = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    match error.print() {
        Ok(()) if asked => ExitCode::SUCCESS,
        Err(error) if asked => {
            not_printed(&error).report();
            ExitCode::FAILURE
        }
        _ => ExitCode::from(USAGE),
    }
}
