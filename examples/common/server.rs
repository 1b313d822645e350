//! The command line of the echo servers, and their keys.

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use countersign::{Keyring, ListenerOptions};
use lexopt::{Arg, Parser, ValueExt};

use crate::options::{Failure, Identity, Wire};

/// What the command line of an echo server says.
pub struct Settings {
    pub identity: Identity,
    pub address: String,
    pub deadline: Duration,
    key_dir: Option<PathBuf>,
}

impl Settings {
    /// Reads the command line. Returns `None` after printing the usage, for `--help`.
    pub fn from_args(usage: &str) -> Result<Option<Self>, Failure> {
        let mut settings = Self {
            identity: Identity::default(),
            address: "127.0.0.1:7000".to_owned(),
            deadline: Duration::from_secs(5),
            key_dir: None,
        };
        let mut parser = Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("listen") => settings.address = parser.value()?.string()?,
                Arg::Long("deadline") => {
                    settings.deadline = Duration::try_from_secs_f64(parser.value()?.parse()?)?;
                }
                Arg::Long("key-dir") => settings.key_dir = Some(parser.value()?.into()),
                Arg::Long("help") => {
                    println!("{usage}");
                    return Ok(None);
                }
                Arg::Long(option) => {
                    let option = option.to_owned();
                    settings.identity.take(&option, &mut parser)?;
                }
                other => return Err(other.unexpected().into()),
            }
        }
        if settings.key_dir.is_some() {
            if settings.identity.wire != Wire::Native {
                return Err("--key-dir needs the native wire".into());
            }
            if settings.identity.names_a_key() {
                return Err("--key-dir takes the place of --key-file and --key-id".into());
            }
        }
        Ok(Some(settings))
    }

    /// Returns the keys in the directory, or else the key in the key file. From now on the
    /// directory is reloaded for each line on standard input.
    pub fn keys(&self) -> Result<Keyring, Failure> {
        let Some(directory) = &self.key_dir else {
            let ring = Keyring::new();
            ring.insert(self.identity.key()?);
            return Ok(ring);
        };
        let ring = Keyring::from_dir(directory)?;
        // A clone of a ring is another handle to it: the server sees what is reloaded here.
        thread::spawn({
            let ring = ring.clone();
            move || reload_on_each_line(&ring)
        });
        Ok(ring)
    }

    /// Returns options that log each connection to standard error.
    pub fn listener_options(&self) -> ListenerOptions {
        ListenerOptions::new()
            .deadline(self.deadline)
            .on_event(|event| eprintln!("{event}"))
    }
}

/// Returns when the input ends. The server goes on with the keys that it has.
fn reload_on_each_line(ring: &Keyring) {
    for _ in io::stdin().lines().map_while(Result::ok) {
        match ring.reload() {
            Ok(reloaded) => eprintln!("reloaded: {reloaded}"),
            Err(error) => eprintln!("not reloaded: {error}"),
        }
    }
}
