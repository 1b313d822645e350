//! `countersign tunnel client`.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{io, iter};

use countersign::tokio::{Client, Source};
use countersign::{InvalidInput, Trouble};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::yield_now;
use tokio::time::sleep;
use tracing::{error, warn};

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
        client: client(&key, &service)?,
        address: to,
        verb,
        idle_timeout,
    });
    start(log_format, verbose, |log| async move {
        let listening = Listening::new(listen.as_ref()).await?;
        let name = listening.name_unless(&server.address).await?;
        let end = TunnelClient {
            listening: Some(listening),
            key,
            service,
            server,
        };
        serve(end, name, connections, grace, log).await
    })
}

fn client(key: &KeyOfFile, service: &str) -> Result<Client, InvalidInput> {
    Client::new(key.key.clone()).service(service)
}

struct TunnelClient {
    /// None once the port is closed.
    listening: Option<Listening>,
    key: KeyOfFile,
    service: String,
    /// What a connection that begins now needs.
    server: Arc<Server>,
}

/// The other end of the tunnel.
#[derive(Clone)]
struct Server {
    client: Client,
    address: Address,
    verb: Verb,
    idle_timeout: Option<Duration>,
}

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
        let mut connection = Connection::new(*self.key.key.id(), peer);
        let server = Arc::clone(&self.server);
        async move {
            connection.log_begun();
            // The handshake needs more memory than what follows, and gives it back.
            let (mut tunnel, local) = match Box::pin(open(&server, &plain)).await {
                Ok(opened) => opened,
                Err(error) => return connection.log_cut(&error),
            };
            connection.log_accepted_at(local);
            let carried = relay(&mut plain, &mut tunnel, server.idle_timeout).await;
            connection.log_ended(&carried);
        }
    }

    fn reload(&mut self) {
        self.key.reload();
        match client(&self.key, &self.service) {
            Ok(client) => Arc::make_mut(&mut self.server).client = client,
            Err(error) => error!("the key stays: {error}"),
        }
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

/// Returns the tunnel and the address of its socket at this end, if it has one.
async fn open(
    server: &Server,
    plain: &Socket,
) -> io::Result<(Box<dyn Stream>, Option<SocketAddr>)> {
    end_by_reset(plain)?;
    let Server { client, verb, .. } = server;
    Ok(match (verb, &server.address) {
        (Verb::Encrypt, Address::Tcp(name)) => {
            let stream = client.connect_encrypted(name).await?;
            set_options(stream.get_ref())?;
            let local = stream.get_ref().local_addr().ok();
            (Box::new(stream), local)
        }
        (Verb::Protect, Address::Tcp(name)) => {
            let stream = client.connect_protected(name).await?;
            set_options(stream.get_ref())?;
            let local = stream.get_ref().local_addr().ok();
            (Box::new(stream), local)
        }
        (Verb::Encrypt, Address::Unix(path)) => {
            (Box::new(client.connect_unix_encrypted(path).await?), None)
        }
        (Verb::Protect, Address::Unix(path)) => {
            (Box::new(client.connect_unix_protected(path).await?), None)
        }
    })
}
