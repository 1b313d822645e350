//! Authenticates to an echo server, sends it a message and prints the echo.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::ExitCode;

use countersign::compat::{self, cookbook};
use countersign::record::Protection;
use countersign::{Client, Deadline, Error, Secured};

#[path = "common/client.rs"]
mod client;
#[path = "common/options.rs"]
mod options;
use client::{DEADLINE, Settings};
use options::{Failure, Verb, Wire, connecting_to, while_doing};

const USAGE: &str = "\
usage: echo_client --connect ADDR [--wire native|cookbook|multiprocessing] [--key-file PATH]
                   [--key-id ID] [--service NAME] [--protect | --encrypt] [MESSAGE]

Without --key-file, COUNTERSIGN_KEY_FILE has the path of the key file. With --protect, at both ends,
what follows the handshake cannot be altered on the way. With --encrypt, it cannot be read either.";

fn main() -> ExitCode {
    options::report("echo_client", run())
}

fn run() -> Result<(), Failure> {
    let Some(settings) = Settings::from_args(USAGE)? else {
        return Ok(());
    };
    let identity = &settings.identity;
    let authenticate: Authenticate = match identity.wire {
        Wire::Native => {
            let client = Client::new(identity.key()?).service(&identity.service)?;
            match identity.verb {
                Verb::Authenticate => Box::new(move |stream| client.authenticate(stream).map(drop)),
                Verb::Protect => return exchange_secured(&settings, |s| client.protect(s)),
                #[cfg(feature = "encrypt")]
                Verb::Encrypt => return exchange_secured(&settings, |s| client.encrypt(s)),
            }
        }
        Wire::Cookbook => {
            let secret = compat::secret_from_file(identity.key_file()?)?;
            Box::new(move |stream| cookbook::client_authenticate(stream, &secret).map(drop))
        }
        #[cfg(feature = "multiprocessing")]
        Wire::Multiprocessing => return exchange_messages(&settings),
    };
    let socket = connect(&settings)?;
    let mut stream = Deadline::new(&socket, DEADLINE);
    authenticate(&mut stream)?;

    stream.write_all(settings.message.as_bytes())?;
    socket.shutdown(Shutdown::Write)?;
    let mut echo = String::new();
    stream
        .read_to_string(&mut echo)
        .map_err(while_doing("no echo"))?;
    // On the recipe's wire this is how a server denies.
    if echo.len() < settings.message.len() {
        return Err("no echo: the server closed the connection".into());
    }
    println!("{echo}");
    Ok(())
}

/// Like the exchange on a bare stream, but the end of the message is authenticated too.
fn exchange_secured<P: Protection>(
    settings: &Settings,
    secure: impl FnOnce(Deadline<TcpStream>) -> Result<Secured<Deadline<TcpStream>, P>, Error>,
) -> Result<(), Failure> {
    let mut stream = secure(Deadline::new(connect(settings)?, DEADLINE))?;

    stream.write_all(settings.message.as_bytes())?;
    stream.close()?;
    let mut echo = String::new();
    stream
        .read_to_string(&mut echo)
        .map_err(while_doing("no echo"))?;
    println!("{echo}");
    Ok(())
}

/// Exchanges messages of `multiprocessing`, which begin with their length.
#[cfg(feature = "multiprocessing")]
fn exchange_messages(settings: &Settings) -> Result<(), Failure> {
    use countersign::compat::multiprocessing::{Connection, client_authenticate};

    let authkey = compat::secret_from_file(settings.identity.key_file()?)?;
    let socket = connect(settings)?;
    let mut stream = Deadline::new(&socket, DEADLINE);
    let knows_authkey = client_authenticate(&mut stream, &authkey)?;

    let mut connection = Connection::new(stream, knows_authkey);
    connection.send_bytes(settings.message.as_bytes())?;
    let echo = connection
        .recv_bytes(settings.message.len())
        .map_err(while_doing("no echo"))?;
    println!("{}", String::from_utf8(echo.ok_or("no echo")?)?);
    Ok(())
}

fn connect(Settings { address, .. }: &Settings) -> Result<TcpStream, Failure> {
    Ok(TcpStream::connect(address).map_err(connecting_to(address))?)
}

type Authenticate = Box<dyn Fn(&mut Deadline<&TcpStream>) -> Result<(), Error>>;
