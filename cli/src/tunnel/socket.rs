//! TCP and Unix sockets, as one type.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{self, IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use countersign::tokio::{Source, bind_tcp};
use countersign::{BoundUnix, Error, Process, Trouble};
use listenfd::ListenFd;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_util::either::Either;

use crate::Failure;
use crate::address::Address;

pub(super) type Socket = Either<TcpStream, UnixStream>;

/// A connection, and the address of its peer if it has one.
pub(super) type Accepted = (Socket, Option<SocketAddr>);

/// How long to try to connect, looking up the name included.
const CONNECT: Duration = Duration::from_secs(10);

/// A peer that has vanished is noticed after two minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// A listening socket. One that systemd has passed is shared with the successor of this program.
pub(super) enum Listening {
    Tcp(TcpListener),
    /// Its file is removed with it.
    Unix(BoundUnix<UnixListener>, PathBuf),
    PassedTcp(TcpListener),
    PassedUnix(UnixListener),
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
            Address::Tcp(name) => Self::Tcp(bind_tcp(name).await?),
            Address::Unix(path) => {
                let socket = BoundUnix::<UnixListener>::bind(path, 0o600)?;
                Self::Unix(socket, path.clone())
            }
        })
    }

    fn take(passed: &mut ListenFd) -> io::Result<Self> {
        // Only an error leaves it there for the next try.
        let what = if let Ok(Some(socket)) = passed.take_tcp_listener(0) {
            if is_listening(&socket)? {
                socket.set_nonblocking(true)?;
                return Ok(Self::PassedTcp(TcpListener::from_std(socket)?));
            }
            what_does_not_listen(&socket)
        } else if let Ok(Some(socket)) = passed.take_unix_listener(0) {
            if is_listening(&socket)? {
                socket.set_nonblocking(true)?;
                return Ok(Self::PassedUnix(UnixListener::from_std(socket)?));
            }
            what_does_not_listen(&socket)
        } else if passed.take_udp_socket(0).is_ok() || passed.take_unix_datagram(0).is_ok() {
            "a socket of datagrams"
        } else {
            "what is neither a TCP socket nor a Unix stream socket"
        };
        Err(io::Error::other(format!(
            "systemd passes {what}; give the socket unit ListenStream= with a port or a path, and \
             Accept=no"
        )))
    }

    /// Accepts a connection that waits in the queue of the system, where the runtime may not know of it
    /// yet. What waits in a socket that was passed is for the successor.
    pub(super) fn accept_now(&self) -> Option<Accepted> {
        let listening = match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket, _) => socket.as_fd(),
            Self::PassedTcp(_) | Self::PassedUnix(_) => return None,
        };
        loop {
            match rustix::net::acceptfrom(listening).map_err(io::Error::from) {
                Ok((socket, peer)) => {
                    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                    if let Ok(socket) = of_runtime(socket, peer) {
                        return Some((socket, peer));
                    }
                }
                Err(error) if Trouble::of(&error) == Trouble::Passing => {}
                Err(_) => return None,
            }
        }
    }

    /// Returns the name of the address, and an error if connections to `to` would come back to it.
    pub(super) async fn name_unless(&self, to: &Address) -> Result<String, Failure> {
        let is_own = match (self, to) {
            (Self::Tcp(socket) | Self::PassedTcp(socket), Address::Tcp(to)) => {
                is_at(socket.local_addr()?, to).await
            }
            (_, Address::Tcp(_)) => false,
            (_, Address::Unix(to)) => self.path()?.is_some_and(|own| is_same_file(&own, to)),
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
            Self::Tcp(socket) | Self::PassedTcp(socket) => socket.local_addr()?.to_string(),
            Self::Unix(..) | Self::PassedUnix(_) => match self.path()? {
                Some(path) => Address::Unix(path).to_string(),
                None => "unix:@".into(),
            },
        })
    }

    fn path(&self) -> io::Result<Option<PathBuf>> {
        Ok(match self {
            Self::Tcp(_) | Self::PassedTcp(_) => None,
            Self::Unix(_, path) => Some(path.clone()),
            Self::PassedUnix(socket) => socket.local_addr()?.as_pathname().map(Into::into),
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
            Self::Tcp(socket) | Self::PassedTcp(socket) => {
                let (socket, peer) = ready!(Source::poll_accept(socket, cx))?;
                // It fails if the connection has ended already, which whoever reads it finds too.
                let _ = set_options(&socket);
                (Either::Left(socket), peer)
            }
            Self::Unix(socket, _) => {
                let (socket, peer) = ready!(Source::poll_accept(socket, cx))?;
                (Either::Right(socket), peer)
            }
            Self::PassedUnix(socket) => {
                let (socket, peer) = ready!(Source::poll_accept(socket, cx))?;
                (Either::Right(socket), peer)
            }
        };
        Poll::Ready(Ok((socket, peer)))
    }

    fn process(socket: &Socket) -> Option<Process> {
        match socket {
            Either::Left(_) => None,
            Either::Right(socket) => Process::connected_to(socket),
        }
    }
}

/// Makes an accepted socket one of the runtime. Only TCP has an address of its peer.
fn of_runtime(socket: OwnedFd, peer: Option<SocketAddr>) -> io::Result<Socket> {
    if peer.is_some() {
        let socket = net::TcpStream::from(socket);
        socket.set_nonblocking(true)?;
        let socket = TcpStream::from_std(socket)?;
        // It fails if the connection has ended already, which whoever reads it finds too.
        let _ = set_options(&socket);
        return Ok(Either::Left(socket));
    }
    let socket = unix::UnixStream::from(socket);
    socket.set_nonblocking(true)?;
    Ok(Either::Right(UnixStream::from_std(socket)?))
}

#[cfg(not(target_vendor = "apple"))]
fn is_listening(socket: &impl AsFd) -> io::Result<bool> {
    Ok(sockopt::socket_acceptconn(socket)?)
}

/// These systems do not tell, but one that has a peer does not listen.
#[cfg(target_vendor = "apple")]
fn is_listening(socket: &impl AsFd) -> io::Result<bool> {
    Ok(rustix::net::getpeername(socket).is_err())
}

fn what_does_not_listen(socket: &impl AsFd) -> &'static str {
    match rustix::net::getpeername(socket) {
        Ok(_) => "a single connection",
        Err(_) => "a socket that does not listen",
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
        (ErrorKind::ResourceBusy, _) => "then start the tunnel again",
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
    // IPv4 addresses may be written as IPv6 addresses that are mapped to them.
    let own = own.ip().to_canonical();
    let is_own = |ip: IpAddr| {
        // A socket of IPv6 takes connections of IPv4 too.
        let has_family = own.is_ipv6() || ip.is_ipv4();
        // Only an address of this host can be bound.
        let has_any = || has_family && net::TcpListener::bind((ip, 0)).is_ok();
        ip == own || own.is_unspecified() && has_any()
    };
    match timeout(CONNECT, lookup_host(to)).await {
        Ok(Ok(mut to)) => to.any(|to| is_own(to.ip().to_canonical())),
        _ => false,
    }
}

/// Returns whether both paths lead to one file, however they are written.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let inode = |path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    inode(one).is_some_and(|one| inode(other) == Some(one))
}

pub(super) async fn connect(address: &Address) -> io::Result<Socket> {
    use countersign::tokio::{connect, connect_unix};

    let connected = match address {
        Address::Tcp(name) => connect(name, CONNECT).await.map(Either::Left),
        Address::Unix(path) => connect_unix(path, CONNECT).await.map(Either::Right),
    };
    match connected {
        Ok(Either::Left(socket)) => set_options(&socket).map(|()| Either::Left(socket)),
        Ok(connected) => Ok(connected),
        // The log names the service as the command line does, and says what to do there.
        Err(Error::Connect { source, .. }) => Err(source),
        Err(error) => Err(error.into()),
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
