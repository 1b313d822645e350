//! The handshake inside TLS, with and without a channel binding.
//!
//! No end verifies a certificate here, so only the binding can stop a man in the middle.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use countersign::handshake::{Message, Refusal};
use countersign::{
    Binding, Client, Deadline, Error, Key, Listener, ListenerOptions, Phase, Server, Session,
};
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, ServerConfig, ServerConnection, StreamOwned,
};

use crate::failures::{is_denied, refusal};
use crate::sockets::LONG;
use crate::support::{Driver, exported, key, tcp_pair};

#[path = "../examples/integrations/tls.rs"]
mod tls;

/// What an end binds its handshake to.
#[derive(Clone, Debug)]
enum Bound {
    ToNothing,
    /// Its own TLS connection.
    ToThis,
    To(Binding),
}

impl Bound {
    fn on<Side>(self, connection: &ConnectionCommon<Side>) -> Option<Binding> {
        match self {
            Self::ToNothing => None,
            Self::ToThis => Some(binding(connection)),
            Self::To(binding) => Some(binding),
        }
    }
}

/// The `tls-exporter` of RFC 9266.
fn binding<Side>(connection: &ConnectionCommon<Side>) -> Binding {
    let label = b"EXPORTER-Channel-Binding";
    let exported = connection.export_keying_material([0; 32], label, Some(&[]));
    Binding::tls_exporter(&exported.unwrap())
}

/// Who listens at the address that the client connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    TheServer,
    /// A man in the middle, who terminates TLS on both sides and passes everything on.
    TheMiddle,
}

/// The outcome at one end.
struct End {
    outcome: Result<Session, Error>,
    /// What its TLS connection exports.
    binding: Binding,
}

struct Ends {
    client: End,
    server: End,
}

impl Ends {
    #[track_caller]
    fn assert_accepted(&self) {
        let [client, server] =
            [&self.client, &self.server].map(|end| exported(end.outcome.as_ref().unwrap()));
        assert_eq!(client, server);
    }

    #[track_caller]
    fn assert_denied(&self) {
        let client = self.client.outcome.as_ref().unwrap_err();
        assert!(is_denied(client), "{client:?}");
        let server = self.server.outcome.as_ref().unwrap_err();
        assert_eq!(refusal(server), Some(Refusal::WrongProof), "{server:?}");
    }
}

/// Runs a client and a server with the same key on a new connection. If they accept each other,
/// they exchange a word each.
fn meet(driver: Driver, client: Bound, at: At, server: Bound) -> Ends {
    match driver {
        Driver::Blocking => blocking::meet(client, at, server),
        #[cfg(feature = "tokio")]
        Driver::Tokio => crate::support::block_on(async {
            let meeting = in_tokio::meet(client, at, server);
            tokio::time::timeout(LONG, meeting).await.unwrap()
        }),
    }
}

fn ours() -> Key {
    key("ours")
}

fn configurations() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    tls::configurations().unwrap()
}

fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// What the ends send each other after the handshake.
const PING: [u8; 4] = *b"ping";
const PONG: [u8; 4] = *b"pong";

mod blocking {
    use super::{
        Arc, At, Bound, Client, ClientConfig, ClientConnection, Deadline, End, Ends, LONG, PING,
        PONG, Read, Server, ServerConfig, ServerConnection, StreamOwned, TcpListener, TcpStream,
        Write, binding, configurations, name, ours, thread,
    };

    pub(super) fn accept<S: Read + Write>(
        mut stream: S,
        config: Arc<ServerConfig>,
    ) -> StreamOwned<ServerConnection, S> {
        let mut connection = ServerConnection::new(config).unwrap();
        connection.complete_io(&mut stream).unwrap();
        StreamOwned::new(connection, stream)
    }

    pub(super) fn connect<S: Read + Write>(
        mut stream: S,
        config: Arc<ClientConfig>,
    ) -> StreamOwned<ClientConnection, S> {
        let mut connection = ClientConnection::new(config, name()).unwrap();
        connection.complete_io(&mut stream).unwrap();
        StreamOwned::new(connection, stream)
    }

    pub(super) fn meet(client: Bound, at: At, server: Bound) -> Ends {
        let (server_config, client_config) = configurations();
        let servers = TcpListener::bind("127.0.0.1:0").unwrap();
        let servers_address = servers.local_addr().unwrap();
        let middles = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = match at {
            At::TheServer => servers_address,
            At::TheMiddle => middles.local_addr().unwrap(),
        };
        thread::scope(|scope| {
            let server = scope.spawn(|| serve(&servers.accept().unwrap().0, server_config, server));
            if at == At::TheMiddle {
                scope.spawn(|| {
                    let server = TcpStream::connect(servers_address).unwrap();
                    pass_everything_on(&middles.accept().unwrap().0, &server);
                });
            }
            Ends {
                client: talk(&TcpStream::connect(address).unwrap(), client_config, client),
                server: server.join().unwrap(),
            }
        })
    }

    fn serve(socket: &TcpStream, config: Arc<ServerConfig>, bound: Bound) -> End {
        let mut stream = accept(Deadline::new(socket, LONG), config);
        let server = Server::new(ours()).bound(bound.on(&stream.conn).as_ref());
        let outcome = server.authenticate(&mut stream);
        if outcome.is_ok() {
            let mut word = [0; 4];
            stream.read_exact(&mut word).unwrap();
            assert_eq!(word, PING);
            stream.write_all(&PONG).unwrap();
            stream.flush().unwrap();
        }
        End {
            outcome,
            binding: binding(&stream.conn),
        }
    }

    fn talk(socket: &TcpStream, config: Arc<ClientConfig>, bound: Bound) -> End {
        let mut stream = connect(Deadline::new(socket, LONG), config);
        let client = Client::new(ours()).bound(bound.on(&stream.conn).as_ref());
        let outcome = client.authenticate(&mut stream);
        if outcome.is_ok() {
            stream.write_all(&PING).unwrap();
            stream.flush().unwrap();
            let mut word = [0; 4];
            stream.read_exact(&mut word).unwrap();
            assert_eq!(word, PONG);
        }
        End {
            outcome,
            binding: binding(&stream.conn),
        }
    }

    /// Passes data on in turns, the server's first, until one end closes.
    fn pass_everything_on(client: &TcpStream, server: &TcpStream) {
        let (server_config, client_config) = configurations();
        let mut client = accept(Deadline::new(client, LONG), server_config);
        let mut server = connect(Deadline::new(server, LONG), client_config);
        while pass_on(&mut server, &mut client) && pass_on(&mut client, &mut server) {}
    }

    fn pass_on(from: &mut impl Read, to: &mut impl Write) -> bool {
        let mut turn = [0; 1024];
        match from.read(&mut turn) {
            Ok(0) | Err(_) => false,
            Ok(n) => to.write_all(&turn[..n]).and_then(|()| to.flush()).is_ok(),
        }
    }
}

#[cfg(feature = "tokio")]
mod in_tokio {
    use countersign::tokio::{Client, Server};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::{
        Arc, At, Bound, ClientConfig, End, Ends, PING, PONG, ServerConfig, binding, configurations,
        name, ours,
    };

    pub(super) async fn meet(client: Bound, at: At, server: Bound) -> Ends {
        let (server_config, client_config) = configurations();
        let servers = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let servers_address = servers.local_addr().unwrap();
        let middles = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = match at {
            At::TheServer => servers_address,
            At::TheMiddle => middles.local_addr().unwrap(),
        };
        let serve = async {
            let (socket, _) = servers.accept().await.unwrap();
            serve(socket, server_config, server).await
        };
        let middle = async {
            if at == At::TheMiddle {
                let server = TcpStream::connect(servers_address).await.unwrap();
                pass_everything_on(middles.accept().await.unwrap().0, server).await;
            }
        };
        let talk = async {
            let socket = TcpStream::connect(address).await.unwrap();
            talk(socket, client_config, client).await
        };
        let (client, (), server) = tokio::join!(talk, middle, serve);
        Ends { client, server }
    }

    async fn serve(socket: TcpStream, config: Arc<ServerConfig>, bound: Bound) -> End {
        let mut stream = TlsAcceptor::from(config).accept(socket).await.unwrap();
        let server = Server::new(ours()).bound(bound.on(stream.get_ref().1).as_ref());
        let outcome = server.authenticate(&mut stream).await;
        if outcome.is_ok() {
            let mut word = [0; 4];
            stream.read_exact(&mut word).await.unwrap();
            assert_eq!(word, PING);
            stream.write_all(&PONG).await.unwrap();
            stream.flush().await.unwrap();
        }
        End {
            outcome,
            binding: binding(stream.get_ref().1),
        }
    }

    async fn talk(socket: TcpStream, config: Arc<ClientConfig>, bound: Bound) -> End {
        let connector = TlsConnector::from(config);
        let mut stream = connector.connect(name(), socket).await.unwrap();
        let client = Client::new(ours()).bound(bound.on(stream.get_ref().1).as_ref());
        let outcome = client.authenticate(&mut stream).await;
        if outcome.is_ok() {
            stream.write_all(&PING).await.unwrap();
            stream.flush().await.unwrap();
            let mut word = [0; 4];
            stream.read_exact(&mut word).await.unwrap();
            assert_eq!(word, PONG);
        }
        End {
            outcome,
            binding: binding(stream.get_ref().1),
        }
    }

    async fn pass_everything_on(client: TcpStream, server: TcpStream) {
        let (server_config, client_config) = configurations();
        let acceptor = TlsAcceptor::from(server_config);
        let mut client = acceptor.accept(client).await.unwrap();
        let connector = TlsConnector::from(client_config);
        let mut server = connector.connect(name(), server).await.unwrap();
        // How it ends does not matter: one end has closed.
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

#[test]
fn two_ends_of_one_tls_connection_accept_each_other() {
    for &driver in Driver::ALL {
        meet(driver, Bound::ToThis, At::TheServer, Bound::ToThis).assert_accepted();
    }
}

#[test]
fn a_man_in_the_middle_of_tls_is_refused_with_a_binding_and_not_without() {
    for &driver in Driver::ALL {
        meet(driver, Bound::ToThis, At::TheMiddle, Bound::ToThis).assert_denied();
        meet(driver, Bound::ToNothing, At::TheMiddle, Bound::ToNothing).assert_accepted();
    }
}

#[test]
fn an_end_with_a_binding_and_one_without_refuse_each_other() {
    for &driver in Driver::ALL {
        for at in [At::TheServer, At::TheMiddle] {
            meet(driver, Bound::ToThis, at, Bound::ToNothing).assert_denied();
            meet(driver, Bound::ToNothing, at, Bound::ToThis).assert_denied();
        }
    }
}

#[test]
fn the_binding_of_one_connection_is_refused_on_the_next() {
    for &driver in Driver::ALL {
        let first = meet(driver, Bound::ToThis, At::TheServer, Bound::ToThis);
        first.assert_accepted();
        let clients = Bound::To(first.client.binding);
        let servers = Bound::To(first.server.binding);
        meet(driver, clients.clone(), At::TheServer, Bound::ToThis).assert_denied();
        meet(driver, Bound::ToThis, At::TheServer, servers.clone()).assert_denied();
        // Both ends with the former binding accept each other, so only the connection differed.
        meet(driver, clients, At::TheServer, servers).assert_accepted();
    }
}

#[test]
fn a_deadline_below_tls_ends_the_handshake_inside_it() {
    let timeout = Duration::from_millis(300);
    let (server_config, client_config) = configurations();
    let (near, far) = tcp_pair();
    thread::scope(|scope| {
        // This peer finishes the handshake of TLS, and then is silent.
        let silent = scope.spawn(|| {
            let stream = blocking::connect(Deadline::new(&far, LONG), client_config);
            drop(stream);
        });
        let began = Instant::now();
        let mut stream = blocking::accept(Deadline::new(&near, timeout), server_config);
        let error = Server::new(ours()).authenticate(&mut stream).unwrap_err();
        assert!(began.elapsed() >= timeout);
        let timed_out = matches!(error, Error::TimedOut(Phase::Awaiting(Message::RESPONSE)));
        assert!(timed_out, "{error:?}");
        silent.join().unwrap();
    });

    // This peer does not even begin TLS.
    let (near, _far) = tcp_pair();
    let mut deadline = Deadline::new(&near, timeout);
    let mut connection = ServerConnection::new(configurations().0).unwrap();
    let error = connection.complete_io(&mut deadline).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

/// A listener of either driver that demands TLS, and serves one client.
fn serve_over_tls(driver: Driver, options: ListenerOptions) -> (SocketAddr, Box<dyn FnOnce()>) {
    let (config, _) = configurations();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let server = Server::new(ours());
    match driver {
        Driver::Blocking => {
            let listener = Listener::upgraded(socket, server, options, move |stream| {
                let mut connection =
                    ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
                let mut stream = stream;
                connection.complete_io(&mut stream)?;
                let binding = binding(&connection);
                Ok((StreamOwned::new(connection, stream), Some(binding)))
            });
            let listener = listener.unwrap();
            let serve = move || {
                let (mut stream, _session) = listener.accept().unwrap();
                let mut word = [0; 4];
                stream.read_exact(&mut word).unwrap();
                assert_eq!(word, PING);
                stream.write_all(&PONG).unwrap();
                stream.flush().unwrap();
            };
            (address, Box::new(serve))
        }
        #[cfg(feature = "tokio")]
        Driver::Tokio => {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            use tokio_rustls::TlsAcceptor;

            use crate::listener::running::runtime;

            let _runtime = runtime().enter();
            let acceptor = TlsAcceptor::from(config);
            let upgrade = move |socket: tokio::net::TcpStream| {
                let accepting = acceptor.accept(socket);
                async {
                    let stream = accepting.await?;
                    let binding = binding(stream.get_ref().1);
                    Ok((stream, Some(binding)))
                }
            };
            let socket = crate::sockets::listener_over_tokio(socket);
            let listener =
                countersign::tokio::Listener::upgraded(socket, server.into(), options, upgrade);
            let listener = listener.unwrap();
            let serve = move || {
                runtime().block_on(async {
                    let (mut stream, _session) = listener.accept().await.unwrap();
                    let mut word = [0; 4];
                    stream.read_exact(&mut word).await.unwrap();
                    assert_eq!(word, PING);
                    stream.write_all(&PONG).await.unwrap();
                    stream.flush().await.unwrap();
                });
            };
            (address, Box::new(serve))
        }
    }
}

#[test]
fn a_listener_upgrades_to_tls_within_its_deadline_and_lifts_it_after() {
    let timeout = Duration::from_millis(1500);
    for &driver in Driver::ALL {
        let (events, told) = mpsc::channel();
        let options = ListenerOptions::new()
            .deadline(timeout)
            .on_event(move |event| {
                // This fails once the test is over.
                let _ = events.send((event.to_string(), event.server.bound));
            });
        let (address, serve) = serve_over_tls(driver, options);

        // It does not begin TLS.
        let silent = TcpStream::connect(address).unwrap();
        silent.set_read_timeout(Some(LONG)).unwrap();
        let (event, _) = told.recv_timeout(LONG).unwrap();
        let expected = format!("timed out while {}", Phase::Upgrading);
        assert!(event.contains(&expected), "{driver:?}: {event}");
        assert_eq!((&silent).read(&mut [0]).unwrap(), 0);

        // It is bound to nothing.
        let socket = TcpStream::connect(address).unwrap();
        let mut stream = blocking::connect(Deadline::new(&socket, LONG), configurations().1);
        let error = Client::new(ours()).authenticate(&mut stream).unwrap_err();
        assert!(is_denied(&error), "{error:?}");
        let (event, bound) = told.recv_timeout(LONG).unwrap();
        assert!(bound, "{event}");

        let socket = TcpStream::connect(address).unwrap();
        let mut stream = blocking::connect(Deadline::new(socket, LONG), configurations().1);
        let client = Client::new(ours()).bound(Some(&binding(&stream.conn)));
        client.authenticate(&mut stream).unwrap();
        let (event, bound) = told.recv_timeout(LONG).unwrap();
        assert!(event.contains("accepted") && bound, "{event}");
        // The deadline is for the handshake only.
        let client = thread::spawn(move || {
            thread::sleep(timeout);
            stream.write_all(&PING).unwrap();
            stream.flush().unwrap();
            let mut word = [0; 4];
            stream.read_exact(&mut word).unwrap();
            assert_eq!(word, PONG);
        });
        serve();
        client.join().unwrap();
    }
}

/// What is boxed cannot be reached to end the deadline below it.
trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

#[test]
fn a_deadline_below_a_boxed_tls_stream_is_lifted_by_its_handle() {
    let timeout = Duration::from_millis(500);
    let (server_config, client_config) = configurations();
    let (near, far) = tcp_pair();
    let mut deadlines = [near, far].map(|socket| Deadline::new(socket, timeout));
    let [near, far] = deadlines.each_mut().map(Deadline::handle);
    let [server, client] = deadlines;
    let accept = thread::spawn(move || -> Box<dyn Stream> {
        let mut stream = blocking::accept(server, server_config);
        Server::new(ours()).authenticate(&mut stream).unwrap();
        Box::new(stream)
    });
    let mut client: Box<dyn Stream> = {
        let mut stream = blocking::connect(client, client_config);
        Client::new(ours()).authenticate(&mut stream).unwrap();
        Box::new(stream)
    };
    let mut server = accept.join().unwrap();

    near.lift();
    thread::sleep(timeout);
    server.write_all(&PING).unwrap();
    server.flush().unwrap();
    let error = client.read_exact(&mut [0; 4]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);

    far.lift();
    let mut word = [0; 4];
    client.read_exact(&mut word).unwrap();
    assert_eq!(word, PING);
    client.write_all(&PONG).unwrap();
    client.flush().unwrap();
    server.read_exact(&mut word).unwrap();
    assert_eq!(word, PONG);
}

#[test]
fn a_peer_that_ends_tls_with_or_without_close_notify_has_closed() {
    for with_close_notify in [true, false] {
        let (server_config, client_config) = configurations();
        let (near, far) = tcp_pair();
        let error = thread::scope(|scope| {
            scope.spawn(move || {
                let mut stream = blocking::connect(Deadline::new(&far, LONG), client_config);
                stream.read_exact(&mut [0; 40]).unwrap();
                if with_close_notify {
                    stream.conn.send_close_notify();
                    stream.flush().unwrap();
                }
            });
            let mut stream = blocking::accept(Deadline::new(&near, LONG), server_config);
            Server::new(ours()).authenticate(&mut stream).unwrap_err()
        });
        let closed = matches!(error, Error::Closed(Phase::Awaiting(Message::RESPONSE)));
        assert!(closed, "{error:?}");
    }
}
