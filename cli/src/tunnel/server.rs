//! `countersign tunnel server`.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign::record::Protection;
use countersign::tokio::{Listener, Secured, Server};
use countersign::{Keyring, ListenerOptions};
use tokio::io::AsyncWriteExt;

use super::connection::Connection;
use super::keys::Keys;
use super::log::Strangers;
use super::relay::relay;
use super::serve::{End, serve};
use super::socket::{Listening, Socket, addresses, connect, end_by_reset};
use super::{Common, Verb, limits, proxy_header, start};
use crate::Failure;
use crate::address::Address;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    keys: KeyArgs,
    /// Handshakes at once [default: 192]
    #[arg(
        long,
        value_name = "N",
        default_value = "192",
        hide_default_value = true
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    max_pending: u32,
    /// Sends PROXY v2, which the service must read
    #[arg(long)]
    send_proxy: bool,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct KeyArgs {
    /// Files ID.key of clients; SIGHUP reads them again
    #[arg(long, value_name = "DIR")]
    key_dir: Option<PathBuf>,
    /// File of the one secret, without a key id
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let connections = limits::connections(args.common.max_connections, Some(args.max_pending))?;
    let keys = match (&args.keys.key_dir, &args.keys.key_file) {
        (Some(directory), _) => Keys::of_directory(directory)?,
        (None, Some(file)) => Keys::of_file(file)?,
        (None, None) => return Err("give --key-dir or --key-file".into()),
    };
    let Common {
        log_format,
        verbose,
        grace,
        verb,
        ..
    } = args.common;
    start(log_format, verbose, move |log| async move {
        let listening = Listening::new(args.common.listen.as_ref()).await?;
        let name = listening.name_unless(&args.common.to).await?;
        keys.log();
        match verb {
            Verb::Encrypt => {
                let end = open(&args, keys, listening, Listener::encrypted_with_options)?;
                serve(end, name, connections, grace, log).await
            }
            Verb::Protect => {
                let end = open(&args, keys, listening, Listener::protected_with_options)?;
                serve(end, name, connections, grace, log).await
            }
        }
    })
}

struct TunnelServer<P> {
    listener: Listener<Secured<Socket, P>>,
    keys: Arc<Keys>,
    strangers: Arc<Strangers>,
    service: Arc<Service>,
}

/// The plain service behind the tunnel.
struct Service {
    address: Address,
    idle_timeout: Option<Duration>,
    send_proxy: bool,
}

fn open<P>(
    args: &Args,
    keys: Keys,
    listening: Listening,
    listener: impl FnOnce(
        Listening,
        Server<Keyring>,
        ListenerOptions,
    ) -> io::Result<Listener<Secured<Socket, P>>>,
) -> Result<TunnelServer<P>, Failure> {
    let strangers = Arc::<Strangers>::default();
    let log = Arc::clone(&strangers);
    let options = ListenerOptions::new()
        .max_pending(usize::try_from(args.max_pending)?)
        .max_ready(usize::try_from(limits::READY)?)
        .on_failure(move |event| log.log(event));
    let server = Server::new(keys.ring.clone()).service(&args.common.service)?;
    Ok(TunnelServer {
        listener: listener(listening, server, options)?,
        keys: Arc::new(keys),
        strangers,
        service: Arc::new(Service {
            address: args.common.to.clone(),
            idle_timeout: args.common.idle_timeout,
            send_proxy: args.send_proxy,
        }),
    })
}

impl<P: Protection> End for TunnelServer<P> {
    type Accepted = Secured<Socket, P>;

    async fn accept(&mut self) -> io::Result<Secured<Socket, P>> {
        self.listener.accept().await
    }

    fn carry(&self, mut client: Secured<Socket, P>) -> impl Future<Output = ()> + Send + 'static {
        let service = Arc::clone(&self.service);
        async move {
            let connection = Connection::new(
                *client.session().key_id(),
                addresses(client.get_ref()).map(|(peer, _)| peer),
            );
            connection.log_accepted_by_server(client.session().matched());
            let mut plain = match service.open(&client).await {
                Ok(plain) => plain,
                Err(error) => {
                    let to = &service.address;
                    let next = match error.kind() {
                        io::ErrorKind::PermissionDenied => "let this user write the socket",
                        io::ErrorKind::TimedOut => "find out what does not answer",
                        _ => "start the service",
                    };
                    return connection.log_cut(&format!(
                        "could not connect to {to}: {error}; {next}, or correct --to"
                    ));
                }
            };
            let carried = relay(&mut plain, &mut client, service.idle_timeout).await;
            connection.log_ended(&carried);
        }
    }

    fn reload(&self) -> impl FnOnce() + Send + 'static {
        let keys = Arc::clone(&self.keys);
        move || keys.reload()
    }

    fn close(&mut self, _: usize) -> Vec<Secured<Socket, P>> {
        self.listener.shutdown();
        Vec::new()
    }

    fn report(&self) {
        self.strangers.report();
    }
}

impl Service {
    async fn open<P>(&self, client: &Secured<Socket, P>) -> io::Result<Socket> {
        let mut plain = connect(&self.address).await?;
        end_by_reset(&plain)?;
        if self.send_proxy {
            let addresses = addresses(client.get_ref());
            let header = proxy_header::of(addresses, client.session().key_id())?;
            plain.write_all(&header).await?;
        }
        Ok(plain)
    }
}
