//! Two secured ends of a connection, in either mode.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

#[cfg(feature = "encrypt")]
use countersign::Encrypted;
#[cfg(feature = "tokio")]
use countersign::tokio as secured;
use countersign::{Client, Protected, Server};
#[cfg(feature = "tokio")]
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};

#[cfg(feature = "tokio")]
use crate::listener::running::runtime;
use crate::records::stream::{IntoStream, SocketStream};
use crate::records::via::{How, Kind, Via};
use crate::sockets::LONG;
#[cfg(feature = "tokio")]
use crate::sockets::over_tokio;
use crate::support::{key, tcp_pair};

macro_rules! blocking_pair {
    ($name:ident, $verb:ident, $stream:ident) => {
        /// Two ends of a TCP connection.
        pub fn $name(
            (near, far): (TcpStream, TcpStream),
            timeout: Duration,
        ) -> ($stream<TcpStream>, $stream<TcpStream>) {
            let (client, server) = (Client::new(key("ours")), Server::new(key("ours")));
            let client = thread::spawn(move || client.$verb(near, timeout).unwrap());
            let server = server.$verb(far, timeout).unwrap();
            (client.join().unwrap(), server)
        }
    };
}

blocking_pair!(protected, protect_timeout, Protected);
#[cfg(feature = "encrypt")]
blocking_pair!(encrypted, encrypt_timeout, Encrypted);

/// Two sockets. A read or write that would hang fails.
pub fn sockets() -> (TcpStream, TcpStream) {
    let (near, far) = tcp_pair();
    for socket in [&near, &far] {
        socket.set_read_timeout(Some(LONG)).unwrap();
        socket.set_write_timeout(Some(LONG)).unwrap();
    }
    (near, far)
}

#[cfg(feature = "tokio")]
macro_rules! pair_over_tokio {
    ($name:ident, $verb:ident, $stream:ident) => {
        /// Two ends of a stream of tokio.
        pub async fn $name<S>(
            (near, far): (S, S),
            timeout: Duration,
        ) -> (secured::$stream<S>, secured::$stream<S>)
        where
            S: AsyncRead + AsyncWrite + Unpin,
        {
            let client = secured::Client::new(key("ours"));
            let server = secured::Server::new(key("ours"));
            tokio::try_join!(client.$verb(near, timeout), server.$verb(far, timeout)).unwrap()
        }
    };
}

#[cfg(feature = "tokio")]
pair_over_tokio!(protected_over_tokio, protect_timeout, Protected);
#[cfg(all(feature = "tokio", feature = "encrypt"))]
pair_over_tokio!(encrypted_over_tokio, encrypt_timeout, Encrypted);

/// Two protected ends of a stream in memory, with this many bytes of room.
#[cfg(feature = "tokio")]
pub async fn duplex_protected(
    room: usize,
) -> (
    secured::Protected<DuplexStream>,
    secured::Protected<DuplexStream>,
) {
    protected_over_tokio(duplex(room), LONG).await
}

/// Two ends of a TCP connection, both of the same kind. A read that would hang fails.
pub type Ends = (Box<dyn SocketStream>, Box<dyn SocketStream>);

pub fn tcp_ends(via: Via, timeout: Duration) -> Ends {
    fn into_streams<S>((near, far): (S, S), via: Via) -> Ends
    where
        S: IntoStream<Stream = dyn SocketStream>,
    {
        (near.into_stream(via), far.into_stream(via))
    }
    let sockets = sockets();
    match (via.how, via.kind) {
        (How::Core, _) => unreachable!("it has no stream"),
        (How::Blocking | How::BlockingHalves, Kind::Protected) => {
            into_streams(protected(sockets, timeout), via)
        }
        #[cfg(feature = "encrypt")]
        (How::Blocking | How::BlockingHalves, Kind::Encrypted) => {
            into_streams(encrypted(sockets, timeout), via)
        }
        #[cfg(feature = "tokio")]
        (How::Tokio | How::TokioHalves, Kind::Protected) => runtime().block_on(async {
            let sockets = (over_tokio(sockets.0), over_tokio(sockets.1));
            into_streams(protected_over_tokio(sockets, timeout).await, via)
        }),
        #[cfg(all(feature = "tokio", feature = "encrypt"))]
        (How::Tokio | How::TokioHalves, Kind::Encrypted) => runtime().block_on(async {
            let sockets = (over_tokio(sockets.0), over_tokio(sockets.1));
            into_streams(encrypted_over_tokio(sockets, timeout).await, via)
        }),
    }
}

/// The server's end of a connection.
pub fn server_end(via: Via, far: TcpStream) -> Box<dyn SocketStream> {
    let server = Server::new(key("ours"));
    match (via.how, via.kind) {
        (How::Core, _) => unreachable!("it has no stream"),
        (How::Blocking | How::BlockingHalves, Kind::Protected) => {
            let far = server.protect_timeout(far, LONG).unwrap();
            far.into_stream(via)
        }
        #[cfg(feature = "encrypt")]
        (How::Blocking | How::BlockingHalves, Kind::Encrypted) => {
            let far = server.encrypt_timeout(far, LONG).unwrap();
            far.into_stream(via)
        }
        #[cfg(feature = "tokio")]
        (How::Tokio | How::TokioHalves, Kind::Protected) => runtime().block_on(async {
            let server = secured::Server::from(server);
            let far = server.protect_timeout(over_tokio(far), LONG).await.unwrap();
            far.into_stream(via)
        }),
        #[cfg(all(feature = "tokio", feature = "encrypt"))]
        (How::Tokio | How::TokioHalves, Kind::Encrypted) => runtime().block_on(async {
            let server = secured::Server::from(server);
            let far = server.encrypt_timeout(over_tokio(far), LONG).await.unwrap();
            far.into_stream(via)
        }),
    }
}
