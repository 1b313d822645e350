//! TCP and Unix sockets, as one type.

use std::io::{self, ErrorKind};
use std::net::{self, IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use countersign::BoundUnix;
use countersign::tokio::Source;
use listenfd::ListenFd;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_util::either::Either;

use crate::Failure;
use crate::address::Address;

pub(super) type Socket = Either<TcpStream, UnixStream>;

/// How long to try to connect.
const CONNECT: Duration = Duration::from_secs(10);

/// How many connections may wait to be accepted. tokio lets 128 wait, and of a burst each connection
/// that finds no place tries again after a second.
const QUEUE: i32 = 4096;

/// A peer that has vanished is noticed after two minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// A listening socket.
pub(super) enum Listening {
    Tcp(TcpListener),
    /// Its file is removed with it.
    Bound(BoundUnix<UnixListener>, Address),
    /// It belongs to systemd.
    Passed(UnixListener),
}

impl Listening {
    /// Takes the socket that systemd passes, or listens at `address`.
    pub(super) async fn new(address: Option<&Address>) -> io::Result<Self> {
        let mut passed = ListenFd::from_env();
        match (address, passed.len()) {
            (Some(address), 0) => Self::bind(address).await.map_err(|error| {
                let next = next(address, &error);
                io::Error::new(
                    error.kind(),
                    format!("could not listen at {address}: {error}; {next}"),
                )
            }),
            (None, 1) => Self::take(&mut passed),
            (None, 0) => Err(io::Error::other(
                "there is nowhere to listen; give --listen, or pass a socket by LISTEN_FDS",
            )),
            (Some(_), _) => Err(io::Error::other(
                "systemd passes a socket, and --listen names another; leave one of them out",
            )),
            (None, n) => Err(io::Error::other(format!(
                "systemd passes {n} sockets; a tunnel listens at one, so give its unit one"
            ))),
        }
    }

    async fn bind(address: &Address) -> io::Result<Self> {
        Ok(match address {
            Address::Tcp(name) => {
                let socket = TcpListener::bind(name).await?;
                rustix::net::listen(&socket, QUEUE)?;
                Self::Tcp(socket)
            }
            Address::Unix(path) => Self::Bound(
                BoundUnix::<UnixListener>::bind(path, 0o600)?,
                address.clone(),
            ),
        })
    }

    fn take(passed: &mut ListenFd) -> io::Result<Self> {
        // Only an error leaves it there for a second try.
        if let Ok(Some(socket)) = passed.take_tcp_listener(0) {
            socket.set_nonblocking(true)?;
            return Ok(Self::Tcp(TcpListener::from_std(socket)?));
        }
        let socket = passed.take_unix_listener(0)?.ok_or(ErrorKind::NotFound)?;
        socket.set_nonblocking(true)?;
        Ok(Self::Passed(UnixListener::from_std(socket)?))
    }

    /// Accepts a connection that waits in the queue of the system, where the runtime may not know of it
    /// yet.
    pub(super) fn accept_now(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        let listening = match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Bound(socket, _) => socket.as_fd(),
            Self::Passed(socket) => socket.as_fd(),
        };
        let accepted = rustix::net::accept(listening)?;
        if let Self::Tcp(_) = self {
            let socket = net::TcpStream::from(accepted);
            socket.set_nonblocking(true)?;
            let socket = TcpStream::from_std(socket)?;
            let peer = socket.peer_addr()?;
            set_options(&socket)?;
            return Ok((Either::Left(socket), Some(peer)));
        }
        let socket = unix::net::UnixStream::from(accepted);
        socket.set_nonblocking(true)?;
        Ok((Either::Right(UnixStream::from_std(socket)?), None))
    }

    /// Returns the name of the address, and an error if connections to `to` would come back to it.
    pub(super) async fn name_unless(&self, to: &Address) -> Result<String, Failure> {
        let is_own = match (self, to) {
            (Self::Tcp(socket), Address::Tcp(to)) => is_at(socket.local_addr()?, to).await,
            (Self::Bound(_, own), _) => own == to,
            (Self::Passed(_), Address::Unix(_)) => self.name()? == to.to_string(),
            _ => false,
        };
        if is_own {
            return Err(format!(
                "this tunnel itself listens at {to}, so each connection would come back to it; \
                 correct --to or --listen"
            )
            .into());
        }
        Ok(self.name()?)
    }

    /// Returns the address in the form in which `--to` takes it.
    fn name(&self) -> io::Result<String> {
        Ok(match self {
            Self::Tcp(socket) => socket.local_addr()?.to_string(),
            Self::Bound(_, address) => address.to_string(),
            Self::Passed(socket) => match socket.local_addr()?.as_pathname() {
                Some(path) => Address::Unix(path.into()).to_string(),
                None => "unix:@".into(),
            },
        })
    }
}

impl Source for Listening {
    type Stream = Socket;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Socket, Option<SocketAddr>)>> {
        let (socket, peer) = match self {
            Self::Tcp(socket) => {
                let (socket, peer) = ready!(Source::poll_accept(socket, cx))?;
                // It fails if the connection has ended already, which whoever reads it finds too.
                let _ = set_options(&socket);
                (Either::Left(socket), peer)
            }
            Self::Bound(socket, _) => {
                let (socket, peer) = ready!(Source::poll_accept(socket, cx))?;
                (Either::Right(socket), peer)
            }
            Self::Passed(socket) => {
                let (socket, peer) = ready!(Source::poll_accept(socket, cx))?;
                (Either::Right(socket), peer)
            }
        };
        Poll::Ready(Ok((socket, peer)))
    }
}

/// Says what to do about an address that cannot be listened at.
fn next(address: &Address, error: &io::Error) -> &'static str {
    match (error.kind(), address) {
        (ErrorKind::AddrInUse, _) => "`ss -ltnp` or `ss -lxp` shows who listens there",
        (ErrorKind::AddrNotAvailable, _) => {
            "no interface of this host has it, so take 0.0.0.0 or one of `ip address`"
        }
        (ErrorKind::PermissionDenied, Address::Tcp(_)) => {
            "take a port from 1024 on, or let systemd pass the socket"
        }
        (ErrorKind::PermissionDenied, Address::Unix(_)) => {
            "let this user write the directory, or let systemd pass the socket"
        }
        (ErrorKind::NotFound, Address::Unix(_)) => "make the directory",
        _ => "correct --listen",
    }
}

/// Returns whether a connection to `to` reaches a socket that listens at `own`. A name is looked up
/// only if the port is the same.
async fn is_at(own: SocketAddr, to: &str) -> bool {
    let port = to.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    if port != Some(own.port()) {
        return false;
    }
    let is_own = |ip: IpAddr| {
        // A socket of IPv6 takes connections of IPv4 too.
        let has_family = own.is_ipv6() || ip.is_ipv4();
        // Only an address of this host can be bound.
        let has_any = || has_family && net::TcpListener::bind((ip, 0)).is_ok();
        ip == own.ip() || own.ip().is_unspecified() && has_any()
    };
    let mut to = lookup_host(to).await.into_iter().flatten();
    to.any(|to| is_own(to.ip()))
}

pub(super) async fn connect(address: &Address) -> io::Result<Socket> {
    let connecting = async {
        Ok(match address {
            Address::Tcp(name) => {
                let socket = TcpStream::connect(name).await?;
                set_options(&socket)?;
                Either::Left(socket)
            }
            Address::Unix(path) => Either::Right(UnixStream::connect(path).await?),
        })
    };
    match timeout(CONNECT, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(ErrorKind::TimedOut.into()),
    }
}

/// Sends small writes at once, and probes a peer that is silent.
pub(super) fn set_options(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = socket.as_fd();
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES)?;
    Ok(())
}

/// Returns the addresses of the peer and of this end, if the socket has them.
pub(super) fn addresses(socket: &Socket) -> Option<(SocketAddr, SocketAddr)> {
    let Either::Left(socket) = socket else {
        return None;
    };
    Some((socket.peer_addr().ok()?, socket.local_addr().ok()?))
}

/// Makes a TCP socket end by a reset from now on, whatever ends it, a kill included: its peer must not
/// take what it has received for all there is. A Unix socket has no reset, and its peer sees an end.
pub(super) fn end_by_reset(socket: &Socket) -> io::Result<()> {
    linger(socket, Some(Duration::ZERO))
}

/// Makes a socket end as usual again: everything is carried.
pub(super) fn end_as_usual(socket: &Socket) -> io::Result<()> {
    linger(socket, None)
}

fn linger(socket: &Socket, linger: Option<Duration>) -> io::Result<()> {
    if let Either::Left(socket) = socket {
        sockopt::set_socket_linger(socket, linger)?;
    }
    Ok(())
}
