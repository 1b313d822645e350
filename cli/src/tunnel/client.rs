//! `countersign tunnel client`.

use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{io, iter};

use countersign::tokio::{Client, Source, connect, connect_unix};
use countersign::{InvalidInput, Trouble};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::yield_now;
use tokio::time::sleep;
use tokio_util::either::Either;
use tracing::warn;

use super::connection::Connection;
use super::keys::KeyOfFile;
use super::relay::relay;
use super::serve::{End, serve};
use super::socket::{Accepted, Listening, Socket, end_by_reset, set_options};
use super::{Common, Verb, limits, start};
use crate::Failure;
use crate::address::Address;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// File of the secret
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// Key id that the server knows the secret by
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    key_id: String,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let connections = limits::connections(args.common.max_connections, None)?;
    let key = KeyOfFile::read(&args.key_file, &args.key_id)?;
    let Common {
        listen,
        to,
        service,
        verb,
        idle_timeout,
        grace,
        log_format,
        verbose,
        ..
    } = args.common;
    let server = Arc::new(Server {
        key,
        service,
        address: to,
        verb,
        idle_timeout,
    });
    // A service that is refused is refused at the start.
    server.client()?;
    start(log_format, verbose, |log| async move {
        let listening = Listening::new(listen.as_ref()).await?;
        let name = listening.name_unless(&server.address).await?;
        let end = TunnelClient {
            listening: Some(listening),
            server,
        };
        serve(end, name, connections, grace, log).await
    })
}

struct TunnelClient {
    /// None once the port is closed.
    listening: Option<Listening>,
    server: Arc<Server>,
}

/// The other end of the tunnel.
struct Server {
    key: KeyOfFile,
    service: String,
    address: Address,
    verb: Verb,
    idle_timeout: Option<Duration>,
}

impl Server {
    /// Returns a client with the key that was read last.
    fn client(&self) -> Result<Client, InvalidInput> {
        Client::new(self.key.key()).service(&self.service)
    }
}

/// How long to try to connect, and again how long a login may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait after an error of the listening socket. Trying again at once would spin.
const PAUSE: Duration = Duration::from_millis(50);

impl End for TunnelClient {
    type Accepted = Accepted;

    async fn accept(&mut self) -> io::Result<Accepted> {
        loop {
            let Some(listening) = &mut self.listening else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            let error = match poll_fn(|cx| listening.poll_accept(cx)).await {
                Ok(accepted) => return Ok(accepted),
                Err(error) => error,
            };
            match Trouble::of(&error) {
                // A socket that systemd has shut down accepts nothing more.
                Trouble::Final => return Err(error),
                Trouble::Passing => yield_now().await,
                Trouble::Nobody => sleep(PAUSE).await,
                _ => {
                    warn!("could not accept a connection: {error}");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn carry(&self, (mut plain, peer): Accepted) -> impl Future<Output = ()> + Send + 'static {
        let mut connection = Connection::new(self.server.key.id, peer);
        let server = Arc::clone(&self.server);
        async move {
            connection.log_begun();
            // The handshake needs more memory than what follows, and gives it back.
            let mut tunnel = match Box::pin(open(&server, &plain, &mut connection)).await {
                Ok(opened) => opened,
                Err(error) => return connection.log_cut(&error),
            };
            connection.log_accepted();
            let carried = relay(&mut plain, &mut tunnel, server.idle_timeout).await;
            connection.log_ended(&carried);
        }
    }

    fn reload(&self) -> impl FnOnce() + Send + 'static {
        let server = Arc::clone(&self.server);
        move || server.key.reload()
    }

    fn close(&mut self, room: usize) -> Vec<Accepted> {
        let listening = self.listening.take();
        let next = || listening.as_ref()?.accept_now();
        iter::from_fn(next).take(room).collect()
    }

    fn report(&self) {}
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Connects and logs in, and names this end of the tunnel as soon as it has an address.
async fn open(
    server: &Server,
    plain: &Socket,
    connection: &mut Connection,
) -> io::Result<Box<dyn Stream>> {
    end_by_reset(plain)?;
    let client = server.client().map_err(io::Error::other)?;
    let socket = match &server.address {
        Address::Tcp(name) => {
            let socket = connect(name, TIMEOUT).await?;
            connection.set_local(socket.local_addr().ok());
            set_options(&socket)?;
            Either::Left(socket)
        }
        Address::Unix(path) => Either::Right(connect_unix(path, TIMEOUT).await?),
    };
    Ok(match server.verb {
        Verb::Encrypt => Box::new(client.encrypt_timeout(socket, TIMEOUT).await?),
        Verb::Protect => Box::new(client.protect_timeout(socket, TIMEOUT).await?),
    })
}
