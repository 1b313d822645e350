//! Secrets from files.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::vec::Vec;

use zeroize::Zeroizing;

use crate::error::{Error, KeyFileError};
use crate::key::Key;

impl Key {
    /// Loads a key from a file that only its owner can read.
    ///
    /// The content of the file without its trailing LF or CRLF is the secret. Nothing else is
    /// trimmed and nothing is decoded: write hexadecimal text, as
    /// [`generate_secret`](crate::generate_secret) returns it. A raw binary secret that happens to
    /// end in 0x0A would lose that byte. The key id is empty until [`with_id`](Self::with_id) sets
    /// it.
    ///
    /// # Errors
    ///
    /// Returns [`Error::KeyFile`] if the file cannot be read, if its secret is refused by
    /// [`Key::new`], if it is larger than 65,536 bytes, or, on Unix, if its group or others may read
    /// or write it, by the mode of the opened file.
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
        load(path.as_ref(), Readers::OwnerOnly)
    }

    /// Loads a key from a file whose mode is not checked.
    ///
    /// For secrets that a platform mounts with mode 0444 or 0644 where only this program can see
    /// them. Everything else is as at [`from_file`](Self::from_file).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`from_file`](Self::from_file), except errors about the file mode.
    pub fn from_shared_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        load(path.as_ref(), Readers::Anybody)
    }
}

/// Reads the secret of a compatibility protocol from a file, by the rules of
/// [`Key::from_file`](crate::Key::from_file) except those about its strength.
///
/// # Errors
///
/// Returns [`Error::KeyFile`] if the file cannot be read, if it is larger than 65,536 bytes, or, on
/// Unix, if its group or others may read or write it.
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

/// Like [`secret_from_file`], for a file whose mode is not checked.
///
/// # Errors
///
/// Returns the errors of [`secret_from_file`], except errors about the file mode.
pub fn secret_from_shared_file(path: impl AsRef<Path>) -> Result<Zeroizing<Vec<u8>>, Error> {
    secret(path.as_ref(), Readers::Anybody)
}

/// Who may have access to a key file besides its owner.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    OwnerOnly,
    Anybody,
}

const MAX_LEN: usize = 65_536;

pub(super) fn load(path: &Path, readers: Readers) -> Result<Key, Error> {
    let secret = secret(path, readers)?;
    Key::new(&*secret).map_err(|invalid| Error::key_file(path, KeyFileError::Secret(invalid)))
}

/// Reads a key file without its trailing LF or CRLF.
fn secret(path: &Path, readers: Readers) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut content = read(path, readers).map_err(|error| Error::key_file(path, error))?;
    let len = match content.as_slice() {
        [secret @ .., b'\r', b'\n'] | [secret @ .., b'\n'] => secret.len(),
        all => all.len(),
    };
    content.truncate(len);
    Ok(content)
}

fn read(path: &Path, readers: Readers) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
    }
    check_mode(&metadata, readers)?;

    // A buffer that grows leaves copies behind that nothing wipes. This one has room for the largest
    // file and some to spare, in which the end is noticed.
    let mut buffer = Zeroizing::new(Vec::with_capacity(MAX_LEN + 64));
    let room = buffer.capacity();
    file.take(MAX_LEN as u64 + 1).read_to_end(&mut buffer)?;
    debug_assert!(buffer.capacity() == room, "the buffer has grown");
    if buffer.len() > MAX_LEN {
        return Err(KeyFileError::TooLarge);
    }
    Ok(buffer)
}

/// Checks the opened file, because the path may lead to another one by now.
#[cfg(unix)]
fn check_mode(metadata: &Metadata, readers: Readers) -> Result<(), KeyFileError> {
    use std::os::unix::fs::MetadataExt;

    let mode = metadata.mode() & 0o7777;
    if readers == Readers::OwnerOnly && mode & 0o066 != 0 {
        return Err(KeyFileError::Exposed { mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_: &Metadata, _: Readers) -> Result<(), KeyFileError> {
    Ok(())
}
