//! Unix sockets that a listener of either driver binds to a path.

use core::time::Duration;
use std::format;
use std::fs::{self, File, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, connect};

use super::source::{Pause, Source, listen};
use crate::listener::Process;

/// A listening Unix socket (`L`) whose file is removed when it is dropped: the source of connections
/// that `bind_unix` of a listener makes.
///
/// It is for programs that listen at a path without a [`Listener`](crate::Listener), or with another
/// [`Source`] on top of it.
///
/// ```
/// use countersign::BoundUnix;
/// use std::os::unix::net::{UnixListener, UnixStream};
///
/// # let path = std::env::temp_dir().join(format!("countersign-doc-{}", std::process::id()));
/// let listener = BoundUnix::<UnixListener>::bind(&path, 0o600)?;
/// assert!(UnixStream::connect(&path).is_ok());
/// drop(listener);
/// assert!(!path.exists());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct BoundUnix<L> {
    /// Dropped first: while the socket is open nobody takes the path over, and no other file has the
    /// same inode.
    #[cfg_attr(
        not(feature = "tokio"),
        expect(dead_code, reason = "it is there to be dropped")
    )]
    pub(crate) file: SocketFile,
    pub(crate) socket: L,
}

/// The file of a socket that this process has bound.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Another program may have bound the path meanwhile.
    inode: Inode,
}

/// How long a start may wait for the lock of a directory. Others that start hold it for moments.
const LONGEST_LOCK: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The numbers of a device and of a file on it.
type Inode = (u64, u64);

impl<L: AsFd> AsFd for BoundUnix<L> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl BoundUnix<UnixListener> {
    /// Listens at `path`, with a file of this mode. A socket on which nobody listens is replaced.
    ///
    /// The socket is not in blocking mode.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`AddrInUse`](io::ErrorKind::AddrInUse) if somebody listens there or if
    /// it is no socket. Returns one of kind [`ResourceBusy`](io::ErrorKind::ResourceBusy) if a socket
    /// would have to be replaced, but another process locks its directory for longer than a second.
    /// Returns the errors of binding.
    pub fn bind(path: impl AsRef<Path>, mode: u32) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path.as_ref())?;
        let path = std::path::absolute(path)?;
        let socket = new_socket()?;
        match bind(&socket, &address) {
            Err(Errno::ADDRINUSE) => take_over(&socket, &path, &address)?,
            bound => bound?,
        }
        let inode = inode(&path)?;
        let file = SocketFile { path, inode };
        // Nobody can connect before it listens.
        fs::set_permissions(&file.path, Permissions::from_mode(mode))?;
        listen(&socket)?;
        let socket = UnixListener::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self { file, socket })
    }
}

/// Makes a socket that programs which this one starts do not inherit.
#[cfg(not(target_vendor = "apple"))]
fn new_socket() -> Result<OwnedFd, Errno> {
    use rustix::net::{SocketFlags, socket_with};

    let flags = SocketFlags::CLOEXEC;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

#[cfg(target_vendor = "apple")]
fn new_socket() -> Result<OwnedFd, Errno> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::ioctl_fioclex(&socket)?;
    Ok(socket)
}

/// Binds a path again, without the socket that is there if nobody listens on it.
///
/// If two programs did this at once, each would remove the socket of the other. So a lock of the
/// directory is held meanwhile.
fn take_over(socket: &OwnedFd, path: &Path, address: &SocketAddrUnix) -> io::Result<()> {
    let _locked = lock(path.parent().unwrap_or(path))?;
    if is_dead(path, address)? {
        fs::remove_file(path)?;
    }
    Ok(bind(socket, address)?)
}

/// Locks a directory until the file is dropped.
///
/// Whoever may read the directory can hold this lock for ever, so the wait for it has an end.
fn lock(directory: &Path) -> io::Result<File> {
    let file = File::open(directory)?;
    let began = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) if began.elapsed() >= LONGEST_LOCK => {
                return Err(held(directory));
            }
            Err(Errno::WOULDBLOCK | Errno::INTR) => thread::sleep(LOCK_PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
}

fn held(directory: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::ResourceBusy,
        format!(
            "the socket file there cannot be replaced: another process locks the directory {} (flock); \
             end that process (`lslocks` shows it) or, if nobody listens there, remove the file",
            directory.display()
        ),
    )
}

/// Returns whether there is a socket on which nobody listens.
///
/// It connects to the address that is bound, because the absolute path may be too long for one.
fn is_dead(path: &Path, address: &SocketAddrUnix) -> io::Result<bool> {
    // What is gone by now can be bound.
    if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        return Ok(false);
    }
    // To a stream socket that exists, a datagram socket fails at once as one of another type, even
    // if its queue is full or it does not listen yet.
    let connected = connect(UnixDatagram::unbound()?, address);
    Ok(connected == Err(Errno::CONNREFUSED))
}

fn inode(path: &Path) -> io::Result<Inode> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            // If it cannot be removed, the next bind replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Source for BoundUnix<UnixListener> {
    type Stream = UnixStream;

    fn accept(&self, pause: &Pause) -> io::Result<Option<(UnixStream, Option<SocketAddr>)>> {
        Source::accept(&self.socket, pause)
    }

    fn process(stream: &UnixStream) -> Option<Process> {
        Process::connected_to(stream)
    }
}
