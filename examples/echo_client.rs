//! Sends a message to an echo server that authenticates, and prints what comes back.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use countersign::compat::{self, cookbook};
use countersign::{Client, Deadline, Error};
use lexopt::{Arg, ValueExt};

#[path = "common/options.rs"]
mod options;
use options::{Failure, Identity, Wire, while_doing};

const USAGE: &str = "\
usage: echo_client --connect ADDR [--wire native|cookbook] [--key-file PATH] [--key-id ID]
                   [--service NAME] [MESSAGE]

Without --key-file the path is read from COUNTERSIGN_KEY_FILE.";

/// For the handshake and the echo together.
const DEADLINE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    options::report("echo_client", run())
}

fn run() -> Result<(), Failure> {
    let mut identity = Identity::default();
    let mut address = None;
    let mut message = None;
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("connect") => address = Some(parser.value()?.string()?),
            Arg::Long("help") => {
                println!("{USAGE}");
                return Ok(());
            }
            Arg::Value(value) if message.is_none() => message = Some(value.string()?),
            Arg::Long(option) => {
                let option = option.to_owned();
                identity.take(&option, &mut parser)?;
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let address = address.ok_or("no server: give --connect ADDR")?;
    let message = message.as_deref().unwrap_or("Hello World");

    let authenticate: Authenticate = match identity.wire {
        Wire::Native => {
            let client = Client::new(identity.key()?).service(&identity.service)?;
            Box::new(move |stream| client.authenticate(stream).map(drop))
        }
        Wire::Cookbook => {
            let secret = compat::secret_from_file(identity.key_file()?)?;
            Box::new(move |stream| cookbook::client_authenticate(stream, &secret).map(drop))
        }
    };
    let socket = TcpStream::connect(&address)
        .map_err(while_doing(format!("cannot connect to {address}")))?;
    let mut stream = Deadline::new(&socket, DEADLINE)?;
    authenticate(&mut stream)?;

    stream.write_all(message.as_bytes())?;
    socket.shutdown(Shutdown::Write)?;
    let mut echo = String::new();
    stream
        .read_to_string(&mut echo)
        .map_err(while_doing("no echo"))?;
    println!("{echo}");
    Ok(())
}

type Authenticate = Box<dyn Fn(&mut Deadline<'_, TcpStream>) -> Result<(), Error>>;
