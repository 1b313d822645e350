//! Echoes what authenticated clients send, over tokio. Many clients can connect at once.

use std::io;
use std::process::ExitCode;

use countersign::tokio::{Listener, Protected, Server};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

#[path = "../common/options.rs"]
mod options;
#[path = "../common/server.rs"]
mod server;
use options::{Failure, while_doing};
use server::Settings;

const USAGE: &str = "\
usage: tokio_echo_server [--listen ADDR] [--key-file PATH] [--key-id ID] [--key-dir PATH]
                         [--service NAME] [--deadline SECONDS] [--protect]

Without --key-file, COUNTERSIGN_KEY_FILE has the path of the key file. With --key-dir, each file
<key id>.key in the directory is the key of this id, and nothing else is looked at; each line on
standard input reloads the directory.
With --protect, at both ends, what follows the handshake cannot be altered on the way.";

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
    let socket = TcpListener::bind(address)
        .await
        .map_err(while_doing(format!("cannot listen on {address}")))?;
    println!("listening on {}", socket.local_addr()?);
    let options = settings.listener_options();
    if settings.identity.protect {
        let listener = Listener::protected_with_options(socket, server, options)?;
        loop {
            let stream = listener.accept().await?;
            let key_id = *stream.session().key_id();
            tokio::spawn(async move {
                if let Err(error) = echo_protected(stream).await {
                    eprintln!("key id \"{key_id}\" failed: {error}");
                }
            });
        }
    }
    let listener = Listener::with_options(socket, server, options)?;
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

/// Needs no flush of its own, since `copy` flushes when there is nothing more to read.
async fn echo_protected(stream: Protected<TcpStream>) -> io::Result<()> {
    let (mut from, mut to) = stream.split();
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}
