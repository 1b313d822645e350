//! Unix sockets that a listener of either driver binds to a path.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind};

use super::source::{Pause, Source, listen};
use crate::listener::Process;

/// A listening Unix socket (`L`) whose file is removed when it is dropped.
pub(crate) struct BoundUnix<L> {
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
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Another program may have bound the path meanwhile.
    inode: Inode,
}

/// The numbers of a device and of a file on it.
type Inode = (u64, u64);

impl BoundUnix<UnixListener> {
    /// Binds the path, and replaces a socket on which nobody listens. The socket is not in blocking
    /// mode.
    pub(crate) fn bind(path: &Path, mode: u32) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path)?;
        let path = std::path::absolute(path)?;
        let socket = new_socket()?;
        match bind(&socket, &address) {
            Err(Errno::ADDRINUSE) if remove_dead(&path)? => bind(&socket, &address)?,
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

    fn process(stream: &UnixStream) -> Option<Process> {
        Process::connected_to(stream)
    }
}
