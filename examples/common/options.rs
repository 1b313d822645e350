//! Options and errors that the example programs have in common.

#![allow(dead_code, reason = "each program uses a part of it")]

use std::env;
use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use countersign::Key;
use lexopt::{Arg, Parser, ValueExt};

/// The protocol to speak.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Wire {
    #[default]
    Native,
    Cookbook,
    #[cfg(feature = "multiprocessing")]
    Multiprocessing,
}

/// What happens to the bytes after the handshake.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Verb {
    #[default]
    Authenticate,
    Protect,
    #[cfg(feature = "encrypt")]
    Encrypt,
}

/// The options for the protocol, the verb, the key and the service.
#[derive(Default)]
pub struct Identity {
    pub wire: Wire,
    pub verb: Verb,
    key_file: Option<PathBuf>,
    key_id: String,
    pub service: String,
}

impl Identity {
    /// Reads the value of the long option if it is one of these, and fails on any other.
    pub fn take(&mut self, option: &str, parser: &mut Parser) -> Result<(), lexopt::Error> {
        match option {
            "wire" => {
                self.wire = match parser.value()?.string()?.as_str() {
                    "native" => Wire::Native,
                    "cookbook" => Wire::Cookbook,
                    #[cfg(feature = "multiprocessing")]
                    "multiprocessing" => Wire::Multiprocessing,
                    #[cfg(not(feature = "multiprocessing"))]
                    "multiprocessing" => {
                        let reason = "this program was built without --features multiprocessing";
                        return Err(reason.into());
                    }
                    other => return Err(format!("no wire is called '{other}'").into()),
                }
            }
            "protect" => self.verb = Verb::Protect,
            #[cfg(feature = "encrypt")]
            "encrypt" => self.verb = Verb::Encrypt,
            #[cfg(not(feature = "encrypt"))]
            "encrypt" => return Err("this program was built without --features encrypt".into()),
            "key-file" => self.key_file = Some(parser.value()?.into()),
            "key-id" => self.key_id = parser.value()?.string()?,
            "service" => self.service = parser.value()?.string()?,
            other => return Err(Arg::Long(other).unexpected()),
        }
        Ok(())
    }

    /// Returns whether `--key-file` or `--key-id` was given.
    pub fn names_a_key(&self) -> bool {
        self.key_file.is_some() || !self.key_id.is_empty()
    }

    /// Fails unless the protocol is the native one, for programs that have no other.
    pub fn only_native(&self) -> Result<(), Failure> {
        if self.wire == Wire::Native {
            return Ok(());
        }
        Err("the echo programs over tokio have no --wire: use echo_server and echo_client".into())
    }

    /// Returns the path from `--key-file`, or else from `COUNTERSIGN_KEY_FILE`.
    pub fn key_file(&self) -> Result<PathBuf, Failure> {
        // An option that is ignored would leave the user without what it stands for.
        if self.wire != Wire::Native {
            if self.verb != Verb::Authenticate {
                return Err("--protect and --encrypt need the native wire".into());
            }
            if !(self.key_id.is_empty() && self.service.is_empty()) {
                return Err("--key-id and --service need the native wire".into());
            }
        }
        self.key_file
            .clone()
            .or_else(|| env::var_os("COUNTERSIGN_KEY_FILE").map(PathBuf::from))
            .ok_or_else(|| {
                "no key: give --key-file PATH or set COUNTERSIGN_KEY_FILE \
                 (`cargo run -p countersign-cli -- keygen PATH` makes a key file)"
                    .into()
            })
    }

    /// Reads the key from the key file.
    pub fn key(&self) -> Result<Key, Failure> {
        Ok(Key::from_file(self.key_file()?)?.with_id(&self.key_id)?)
    }
}

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Prints a failure as one sentence on standard error, for exit status 1.
pub fn report(program: &str, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{program}: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Puts what was being attempted in front of an error.
pub fn while_doing(what: impl Display) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| format!("{what}: {error}").into()
}

/// Says where there is no connection, and what to do about it, as the library's own `connect` does.
pub fn connecting_to(address: &str) -> impl FnOnce(std::io::Error) -> countersign::Error {
    let address = address.into();
    move |source| countersign::Error::Connect { address, source }
}
