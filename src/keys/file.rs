//! Secrets from files.

use core::time::Duration;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::Path;
use std::thread;
use std::time::SystemTime;
use std::vec::Vec;

use zeroize::Zeroizing;

use super::content::{check_single, parse};
use super::permissions::{Readers, Rule};
use crate::error::{Error, KeyFileError};
use crate::key::Key;

impl Key {
    /// Loads a key from a file.
    ///
    /// The file is one line of visible ASCII (0x21 to 0x7E), the secret; write hexadecimal text, as
    /// [`generate_secret`](crate::generate_secret) returns it. While the secret is rotated there is a
    /// second line, `accept:` and another secret, which a server accepts too
    /// ([`Key::accepting`]). Lines end with LF or CRLF, the last one optionally. Nothing else is
    /// trimmed and nothing is decoded, and a secret in quotation marks is refused. The key id is empty
    /// until [`with_id`](Self::with_id) sets it; it is never inferred from the path.
    ///
    /// On Unix, nobody but its owner may write the file. Others may not read it, and its group only
    /// if root owns it, as systemd and Kubernetes (`fsGroup`) provide credentials. Its owner and its
    /// directory are not checked. On other systems nothing is checked.
    ///
    /// A file that changes while it is read is read again. To replace one, write the new file beside
    /// it and rename it: a file that was written half and left so cannot be recognised.
    ///
    /// # Errors
    ///
    /// Returns [`Error::KeyFile`] if the file cannot be read, is no regular file, breaks one of these
    /// rules, has more than 65,536 bytes, or has a secret that [`Key::new`] refuses. It never blocks
    /// on a FIFO or a device.
    ///
    /// ```
    /// # use std::{fs, io::Write};
    /// use countersign::{Key, generate_secret};
    ///
    /// # let directory = std::env::temp_dir().join(format!("countersign-doc-{}", std::process::id()));
    /// # fs::create_dir_all(&directory)?;
    /// # let path = directory.join("secret.key");
    /// # let mut options = fs::OpenOptions::new();
    /// # options.write(true).create(true);
    /// # #[cfg(unix)]
    /// # std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    /// # options.open(&path)?.write_all(generate_secret()?.as_ref())?;
    /// let key = Key::from_file(&path)?;
    /// # fs::remove_dir_all(&directory)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        load(path.as_ref(), Rule::file(Readers::OwnerOnly))
    }

    /// Like [`from_file`](Self::from_file), for a file that anybody may read.
    ///
    /// For secrets that a platform mounts with mode 0444 or 0644 where only this program can see
    /// them. Nobody but its owner may write the file all the same.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`from_file`](Self::from_file), except [`KeyFileError::Readable`].
    pub fn from_shared_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        load(path.as_ref(), Rule::file(Readers::Anybody))
    }
}

/// Reads the secret of a compatibility protocol from a file: its content without a trailing LF or
/// CRLF, which may be any bytes. A second line that begins with `accept:` is refused, because these
/// protocols would take both lines for one secret.
///
/// # Errors
///
/// Returns the errors of [`Key::from_file`](crate::Key::from_file). Of those about the content there
/// is only [`Found::AcceptLine`](crate::Found::AcceptLine).
///
/// ```no_run
/// use countersign::compat::{self, cookbook};
///
/// let secret = compat::secret_from_file("peekaboo.key")?;
/// # let mut stream = std::net::TcpStream::connect("127.0.0.1:18000")?;
/// cookbook::client_authenticate(&mut stream, &secret)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn secret_from_file(path: impl AsRef<Path>) -> Result<Zeroizing<Vec<u8>>, Error> {
    secret(path.as_ref(), Readers::OwnerOnly)
}

/// Like [`secret_from_file`], for a file that anybody may read.
///
/// # Errors
///
/// Returns the errors of [`secret_from_file`], except [`KeyFileError::Readable`].
pub fn secret_from_shared_file(path: impl AsRef<Path>) -> Result<Zeroizing<Vec<u8>>, Error> {
    secret(path.as_ref(), Readers::Anybody)
}

const MAX_LEN: u64 = 65_536;

/// How often a file is read that changes meanwhile.
const ATTEMPTS: usize = 50;

/// A file that changed less than this ago is read again. Timestamps have the granularity of a kernel
/// tick, at most 10 ms, so a writer that is still at work can leave them as they were.
/// A fuzz target writes a file for each input, and would test next to nothing while it waits.
const AT_REST: Duration = Duration::from_millis(if cfg!(fuzzing) { 0 } else { 20 });

pub(super) fn load(path: &Path, rule: Rule) -> Result<Key, Error> {
    key(path, rule).map_err(|error| Error::key_file(path, error))
}

fn key(path: &Path, rule: Rule) -> Result<Key, KeyFileError> {
    let (content, _) = read(path, rule)?;
    Ok(parse(&content)?.key()?)
}

/// Reads a file without its trailing LF or CRLF.
fn secret(path: &Path, readers: Readers) -> Result<Zeroizing<Vec<u8>>, Error> {
    let read = read(path, Rule::file(readers));
    let checked = read.and_then(|(content, _)| {
        check_single(&content)?;
        Ok(content)
    });
    let mut content = checked.map_err(|error| Error::key_file(path, error))?;
    let len = match content.as_slice() {
        [secret @ .., b'\r', b'\n'] | [secret @ .., b'\n'] => secret.len(),
        all => all.len(),
    };
    content.truncate(len);
    Ok(content)
}

/// Returns the content of a file, and the file itself: its path may lead to another by now.
pub(super) fn read(path: &Path, rule: Rule) -> Result<(Zeroizing<Vec<u8>>, File), KeyFileError> {
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            thread::sleep(AT_REST / 4);
        }
        let file = open(path)?;
        let before = file.metadata()?;
        regular(&before)?;
        rule.check(&before)?;
        if before.len() > MAX_LEN {
            return Err(KeyFileError::TooLarge);
        }
        let content = read_whole(&file)?;
        let after = file.metadata()?;
        if state(&before) == state(&after)
            && content.len() as u64 == after.len()
            && at_rest(&after)?
        {
            return Ok((content, file));
        }
    }
    Err(KeyFileError::Changing)
}

/// Opens a regular file. A FIFO would make `open` wait for a writer, and a device may do anything
/// when it is opened, so the file is checked before. It is checked again once it is open, because it
/// may have been replaced; meanwhile `O_NONBLOCK` keeps a FIFO from waiting.
fn open(path: &Path) -> io::Result<File> {
    regular(&fs::metadata(path)?)?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, O_NONBLOCK);
    options.open(path)
}

/// `<fcntl.h>`: the standard library has no name for it. Where the value is not known, opening a file
/// that is replaced by a FIFO at this moment waits for a writer.
#[cfg(unix)]
const O_NONBLOCK: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    if cfg!(any(
        target_arch = "mips",
        target_arch = "mips32r6",
        target_arch = "mips64",
        target_arch = "mips64r6"
    )) {
        0o200
    } else if cfg!(any(target_arch = "sparc", target_arch = "sparc64")) {
        0x4000
    } else {
        0o4000
    }
} else if cfg!(any(target_os = "solaris", target_os = "illumos")) {
    0x80
} else if cfg!(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
)) {
    0x4
} else {
    0
};

fn regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let kind = if metadata.is_dir() {
        "it is a directory; name a file in it"
    } else {
        "it is no regular file, but a FIFO, a socket or a device"
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, kind))
}

fn read_whole(file: &File) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    // A buffer that grows leaves copies behind that nothing wipes. This one has room for the largest
    // file and some to spare, in which the end is noticed.
    let mut buffer = Zeroizing::new(Vec::with_capacity(65_536 + 64));
    let room = buffer.capacity();
    file.take(MAX_LEN + 1).read_to_end(&mut buffer)?;
    debug_assert!(buffer.capacity() == room, "the buffer has grown");
    if buffer.len() as u64 > MAX_LEN {
        return Err(KeyFileError::TooLarge);
    }
    Ok(buffer)
}

/// What changes with a file's content.
#[cfg(unix)]
pub(super) fn state(metadata: &Metadata) -> impl PartialEq + use<> {
    use std::os::unix::fs::MetadataExt;

    let file = (metadata.dev(), metadata.ino(), metadata.len());
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    (file, modified, (metadata.ctime(), metadata.ctime_nsec()))
}

#[cfg(not(unix))]
pub(super) fn state(metadata: &Metadata) -> impl PartialEq + use<> {
    (metadata.len(), metadata.modified().ok())
}

/// Returns whether a file was left alone for a while, by both of its times where it has them: who
/// writes a file may set the time of its content, but not the other.
fn at_rest(metadata: &Metadata) -> io::Result<bool> {
    let now = SystemTime::now();
    let rests = |time: SystemTime| {
        // A file from the future says nothing about when it was written.
        let age = (now.duration_since(time)).unwrap_or_else(|ahead| ahead.duration());
        age >= AT_REST
    };
    Ok(rests(metadata.modified()?) && changed(metadata).is_none_or(rests))
}

/// Returns when the content of a file, its name or its permissions changed.
#[cfg(unix)]
fn changed(metadata: &Metadata) -> Option<SystemTime> {
    use std::os::unix::fs::MetadataExt;

    let seconds = Duration::from_secs(metadata.ctime().try_into().ok()?);
    let part = Duration::from_nanos(metadata.ctime_nsec().try_into().ok()?);
    SystemTime::UNIX_EPOCH.checked_add(seconds + part)
}

#[cfg(not(unix))]
fn changed(_: &Metadata) -> Option<SystemTime> {
    None
}
