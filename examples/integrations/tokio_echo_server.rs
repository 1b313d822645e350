//! Echoes what authenticated clients send, over tokio. Many clients can connect at once.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use countersign::Session;
use countersign::record::Protection;
use countersign::tokio::{Listener, Secured, Server, bind_tcp};
use tokio::net::TcpStream;

#[path = "../common/options.rs"]
mod options;
#[path = "../common/server.rs"]
mod server;
use options::{Failure, Verb, while_doing};
use server::Settings;

const USAGE: &str = "\
usage: tokio_echo_server [--listen ADDR] [--key-file PATH] [--key-id ID] [--key-dir PATH]
                         [--service NAME] [--deadline SECONDS]
                         [--protect | --encrypt]

Without --key-file, COUNTERSIGN_KEY_FILE has the path of the key file. With --key-dir, each file
<key id>.key in the directory is the key of this id, and nothing else is looked at; each line on
standard input reloads the directory.
With --protect, at both ends, what follows the handshake cannot be altered on the way. With
--encrypt, it cannot be read either.";

#[tokio::main]
async fn main() -> ExitCode {
    options::report("tokio_echo_server", run().await)
}

async fn run() -> Result<(), Failure> {
    let Some(settings) = Settings::from_args(USAGE)? else {
        return Ok(());
    };
    settings.identity.only_native()?;
    let server = Server::new(settings.keys()?).service(&settings.identity.service)?;
    let address = &settings.address;
    let socket = bind_tcp(address)
        .await
        .map_err(while_doing(format!("cannot listen on {address}")))?;
    println!("listening on {}", socket.local_addr()?);
    let options = settings.listener_options();
    match settings.identity.verb {
        Verb::Authenticate => serve_bare(&Listener::with_options(socket, server, options)?).await,
        Verb::Protect => {
            serve_secured(&Listener::protected_with_options(socket, server, options)?).await
        }
        #[cfg(feature = "encrypt")]
        Verb::Encrypt => {
            serve_secured(&Listener::encrypted_with_options(socket, server, options)?).await
        }
    }
}

async fn serve_bare(listener: &Listener<(TcpStream, Session)>) -> Result<(), Failure> {
    loop {
        // Every connection here has authenticated. Others are refused on tasks of the listener.
        let (mut stream, session) = listener.accept().await?;
        tokio::spawn(async move {
            let (mut from, mut to) = stream.split();
            if let Err(error) = tokio::io::copy(&mut from, &mut to).await {
                eprintln!("key id \"{}\" failed: {error}", session.key_id());
            }
        });
    }
}

async fn serve_secured<P: Protection>(
    listener: &Listener<Secured<TcpStream, P>>,
) -> Result<(), Failure> {
    loop {
        let stream = listener.accept().await?;
        let key_id = *stream.session().key_id();
        tokio::spawn(async move {
            if let Err(error) = echo_secured(stream).await {
                eprintln!("key id \"{key_id}\" failed: {error}");
            }
        });
    }
}

/// How long a client may take to end the connection when all has been said.
const LINGER: Duration = Duration::from_secs(5);

/// Reads until the client has ended the connection: something left unread would make the system reset
/// the connection, and the client could miss the end of the echo.
async fn echo_secured<P: Protection>(stream: Secured<TcpStream, P>) -> io::Result<()> {
    let (mut from, mut to) = stream.into_split();
    tokio::io::copy(&mut from, &mut to).await?;
    from.reunite(to)?.finish(LINGER).await
}
