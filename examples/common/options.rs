//! What the example programs share: who they are, what they speak, and how they fail.

#![allow(dead_code, reason = "each program uses a part of it")]

use std::env;
use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use countersign::Key;
use lexopt::{Arg, Parser, ValueExt};

/// The wire that is spoken.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Wire {
    #[default]
    Native,
    Cookbook,
    #[cfg(feature = "multiprocessing")]
    Multiprocessing,
}

/// The options that name the wire, the key and the service.
#[derive(Default)]
pub struct Identity {
    pub wire: Wire,
    /// Whether what follows the handshake is protected too.
    pub protect: bool,
    key_file: Option<PathBuf>,
    key_id: String,
    pub service: String,
}

impl Identity {
    /// Takes the long option if it is one of these, and fails on any other.
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
            "protect" => self.protect = true,
            "key-file" => self.key_file = Some(parser.value()?.into()),
            "key-id" => self.key_id = parser.value()?.string()?,
            "service" => self.service = parser.value()?.string()?,
            other => return Err(Arg::Long(other).unexpected()),
        }
        Ok(())
    }

    /// Whether `--key-file` or `--key-id` was given.
    pub fn names_a_key(&self) -> bool {
        self.key_file.is_some() || !self.key_id.is_empty()
    }

    /// Refuses the other wires, for programs that leave them to their sisters.
    pub fn only_native(&self) -> Result<(), Failure> {
        if self.wire == Wire::Native {
            return Ok(());
        }
        Err("the echo programs over tokio speak the native wire only".into())
    }

    /// The key file: that of `--key-file`, or else the one that `COUNTERSIGN_KEY_FILE` names.
    pub fn key_file(&self) -> Result<PathBuf, Failure> {
        // Whoever asks for protection must not be left without what it gives.
        if self.wire != Wire::Native {
            if self.protect {
                return Err("this wire knows no --protect".into());
            }
            if !(self.key_id.is_empty() && self.service.is_empty()) {
                return Err("this wire knows no --key-id and no --service".into());
            }
        }
        self.key_file
            .clone()
            .or_else(|| env::var_os("COUNTERSIGN_KEY_FILE").map(PathBuf::from))
            .ok_or_else(|| {
                "no key: give --key-file PATH or set COUNTERSIGN_KEY_FILE \
                 (the example keygen makes a key file)"
                    .into()
            })
    }

    /// The key in the key file.
    pub fn key(&self) -> Result<Key, Failure> {
        Ok(Key::from_file(self.key_file()?)?.with_id(&self.key_id)?)
    }
}

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Turns a failure into one sentence on standard error and exit status 1.
pub fn report(program: &str, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{program}: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// An error with what was being attempted in front of it.
pub fn while_doing(what: impl Display) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| format!("{what}: {error}").into()
}
