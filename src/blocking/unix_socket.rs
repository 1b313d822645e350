//! Unix sockets that a listener of either driver binds to a path.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::source::{Pause, Source};

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
/// let listener = BoundUnix::<UnixListener>::bind(&path)?;
/// assert!(UnixStream::connect(&path).is_ok());
/// drop(listener);
/// assert!(!path.exists());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct BoundUnix<L> {
    pub(crate) socket: L,
    #[cfg_attr(
        not(feature = "tokio"),
        expect(dead_code, reason = "it is there to be dropped")
    )]
    pub(crate) file: SocketFile,
}

/// The file of a socket that this process has bound.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Another program may have bound the path meanwhile.
    inode: Inode,
}

/// The numbers of a device and of a file on it.
type Inode = (u64, u64);

impl<L: AsFd> AsFd for BoundUnix<L> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl BoundUnix<UnixListener> {
    /// Listens at `path`. If there is a socket on which nobody listens, it is replaced.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`AddrInUse`](io::ErrorKind::AddrInUse) if somebody listens there or if
    /// it is no socket, and the errors of binding.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let socket = match UnixListener::bind(&path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && remove_dead(&path)? => {
                UnixListener::bind(&path)?
            }
            bound => bound?,
        };
        socket.set_nonblocking(true)?;
        let inode = inode(&path)?;
        let file = SocketFile { path, inode };
        Ok(Self { socket, file })
    }
}

/// Removes a socket on which nobody listens, and returns whether it did.
fn remove_dead(path: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.file_type().is_socket() {
        return Ok(false);
    }
    let found = (metadata.dev(), metadata.ino());
    // To a stream socket that exists, a datagram socket fails at once as one of another type, even
    // if its queue is full or it does not listen yet.
    let is_dead = match UnixDatagram::unbound()?.connect(path) {
        Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        Ok(()) => false,
    };
    if !is_dead || inode(path)? != found {
        return Ok(false);
    }
    fs::remove_file(path)?;
    Ok(true)
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
}
