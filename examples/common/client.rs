//! The command line of the echo clients.

use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use crate::options::{Failure, Identity};

/// The time for the handshake and the echo together.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// What the command line of an echo client says.
pub struct Settings {
    pub identity: Identity,
    pub address: String,
    pub message: String,
}

impl Settings {
    /// Reads the command line. Returns `None` after printing the usage, for `--help`.
    pub fn from_args(usage: &str) -> Result<Option<Self>, Failure> {
        let mut identity = Identity::default();
        let mut address = None;
        let mut message = None;
        let mut parser = Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("connect") => address = Some(parser.value()?.string()?),
                Arg::Long("help") => {
                    println!("{usage}");
                    return Ok(None);
                }
                Arg::Value(value) if message.is_none() => message = Some(value.string()?),
                Arg::Long(option) => {
                    let option = option.to_owned();
                    identity.take(&option, &mut parser)?;
                }
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Some(Self {
            identity,
            address: address.ok_or("no server: give --connect ADDR")?,
            message: message.unwrap_or_else(|| "Hello World".to_owned()),
        }))
    }
}
