//! Two secured ends of a connection, in either mode.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

#[cfg(feature = "encrypt")]
use countersign::Encrypted;
#[cfg(feature = "tokio")]
use countersign::tokio as over_tokio;
use countersign::{Client, Protected, Server};
#[cfg(feature = "tokio")]
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};

#[cfg(feature = "tokio")]
use crate::listener::running::runtime;
use crate::records::stream::{IntoStream, Stream};
use crate::records::via::{How, Kind, Via};
use crate::sockets::LONG;
use crate::support::{key, tcp_pair};

macro_rules! blocking_pair {
    ($name:ident, $verb:ident, $stream:ty) => {
        /// Two ends of a TCP connection. A read that would hang fails.
        pub fn $name(timeout: Duration) -> ($stream, $stream) {
            let (near, far) = tcp_pair();
            for socket in [&near, &far] {
                socket.set_read_timeout(Some(LONG)).unwrap();
            }
            let (client, server) = (Client::new(key("ours")), Server::new(key("ours")));
            let client = thread::spawn(move || client.$verb(near, timeout).unwrap());
            let server = server.$verb(far, timeout).unwrap();
            (client.join().unwrap(), server)
        }
    };
}

blocking_pair!(tcp_protected, protect_timeout, Protected<TcpStream>);
#[cfg(feature = "encrypt")]
blocking_pair!(tcp_encrypted, encrypt_timeout, Encrypted<TcpStream>);

#[cfg(feature = "tokio")]
macro_rules! pair_over_tokio {
    ($name:ident, $verb:ident, $stream:ident) => {
        /// Two ends of a stream of tokio.
        pub async fn $name<S>(
            (near, far): (S, S),
            timeout: Duration,
        ) -> (over_tokio::$stream<S>, over_tokio::$stream<S>)
        where
            S: AsyncRead + AsyncWrite + Unpin,
        {
            let client = over_tokio::Client::new(key("ours"));
            let server = over_tokio::Server::new(key("ours"));
            tokio::try_join!(client.$verb(near, timeout), server.$verb(far, timeout)).unwrap()
        }
    };
}

#[cfg(feature = "tokio")]
pair_over_tokio!(protected_over_tokio, protect_timeout, Protected);
#[cfg(all(feature = "tokio", feature = "encrypt"))]
pair_over_tokio!(encrypted_over_tokio, encrypt_timeout, Encrypted);

/// Two sockets, within a runtime.
#[cfg(feature = "tokio")]
pub fn sockets_over_tokio() -> (tokio::net::TcpStream, tokio::net::TcpStream) {
    let (near, far) = tcp_pair();
    let [near, far] = [near, far].map(crate::sockets::over_tokio);
    (near, far)
}

/// Two protected ends of a stream in memory, with this many bytes of room.
#[cfg(feature = "tokio")]
pub async fn duplex_protected(
    room: usize,
) -> (
    over_tokio::Protected<DuplexStream>,
    over_tokio::Protected<DuplexStream>,
) {
    protected_over_tokio(duplex(room), LONG).await
}

/// Two ends of a TCP connection, both of the same kind. A read that would hang fails.
pub fn tcp_ends(via: Via, timeout: Duration) -> (Box<dyn Stream>, Box<dyn Stream>) {
    fn into_streams<S: IntoStream>(
        (near, far): (S, S),
        via: Via,
    ) -> (Box<dyn Stream>, Box<dyn Stream>) {
        (near.into_stream(via), far.into_stream(via))
    }
    match (via.how, via.kind) {
        (How::Core, _) => unreachable!("it has no stream"),
        (How::Blocking | How::BlockingHalves, Kind::Protected) => {
            into_streams(tcp_protected(timeout), via)
        }
        #[cfg(feature = "encrypt")]
        (How::Blocking | How::BlockingHalves, Kind::Encrypted) => {
            into_streams(tcp_encrypted(timeout), via)
        }
        #[cfg(feature = "tokio")]
        (How::Tokio | How::TokioHalves, Kind::Protected) => runtime().block_on(async {
            into_streams(
                protected_over_tokio(sockets_over_tokio(), timeout).await,
                via,
            )
        }),
        #[cfg(all(feature = "tokio", feature = "encrypt"))]
        (How::Tokio | How::TokioHalves, Kind::Encrypted) => runtime().block_on(async {
            into_streams(
                encrypted_over_tokio(sockets_over_tokio(), timeout).await,
                via,
            )
        }),
    }
}
