//! Authenticates to an echo server, sends it a message and prints the echo, over tokio.

use std::io;
use std::process::ExitCode;

use countersign::tokio::Client;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

#[path = "../common/client.rs"]
mod client;
#[path = "../common/options.rs"]
mod options;
use client::{DEADLINE, Settings};
use options::{Failure, Verb, connecting_to, while_doing};

const USAGE: &str = "\
usage: tokio_echo_client --connect ADDR [--key-file PATH] [--key-id ID] [--service NAME]
                         [--protect | --encrypt] [MESSAGE]

Without --key-file, COUNTERSIGN_KEY_FILE has the path of the key file. With --protect, at both ends,
what follows the handshake cannot be altered on the way. With --encrypt, it cannot be read either.";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    options::report("tokio_echo_client", run().await)
}

async fn run() -> Result<(), Failure> {
    let Some(settings) = Settings::from_args(USAGE)? else {
        return Ok(());
    };
    let Settings {
        identity, address, ..
    } = &settings;
    identity.only_native()?;
    let client = Client::new(identity.key()?).service(&identity.service)?;
    let mut stream = TcpStream::connect(address)
        .await
        .map_err(connecting_to(address))?;
    let end = Instant::now() + DEADLINE;
    let result = match identity.verb {
        Verb::Authenticate => {
            client.authenticate_timeout(&mut stream, DEADLINE).await?;
            timeout_at(end, talk(stream, &settings.message)).await
        }
        Verb::Protect => {
            let stream = client.protect_timeout(stream, DEADLINE).await?;
            timeout_at(end, talk(stream, &settings.message)).await
        }
        #[cfg(feature = "encrypt")]
        Verb::Encrypt => {
            let stream = client.encrypt_timeout(stream, DEADLINE).await?;
            timeout_at(end, talk(stream, &settings.message)).await
        }
    };
    let echo = result
        .map_err(|_| "no echo: timed out")?
        .map_err(while_doing("no echo"))?;
    println!("{echo}");
    Ok(())
}

/// Sends a message and its end, and returns the echo.
async fn talk<S>(mut stream: S, message: &str) -> io::Result<String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(message.as_bytes()).await?;
    stream.shutdown().await?;
    let mut echo = String::new();
    stream.read_to_string(&mut echo).await?;
    Ok(echo)
}
