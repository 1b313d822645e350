//! Secrets from files and from the operating system.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::vec::Vec;

use rand::rngs::SysRng;
use zeroize::Zeroizing;

use crate::error::{Error, KeyFileProblem};
use crate::handshake::{Key, Secret};

/// Draws 256 bits from the operating system's generator: a secret for [`Key::new`] or for a key
/// file.
///
/// It is 64 hexadecimal digits, wiped when dropped. A [`Key`] forgets its secret, so write it
/// where both ends find it *before* making the key.
///
/// # Errors
///
/// [`Error::NoRandomness`].
///
/// ```
/// use countersign::{Key, generate_secret};
///
/// let secret = generate_secret()?;
/// let key = Key::new(&secret)?;
/// # Ok::<(), countersign::Error>(())
/// ```
pub fn generate_secret() -> Result<Secret, Error> {
    Ok(Secret::generate(&mut SysRng)?)
}

impl Key {
    /// A key from a file that only its owner can read.
    ///
    /// The octets of the file, less one final LF or CRLF, are the secret. Nothing else is
    /// trimmed and nothing is decoded: write hexadecimal text, as
    /// [`generate_secret`] gives it. A raw binary secret that happens to end in 0x0A would lose
    /// that octet. The key has the empty key id; [`with_id`](Self::with_id) gives it another.
    ///
    /// # Errors
    ///
    /// [`Error::KeyFile`]: the file cannot be read; it holds no more than a line end, too little
    /// or octets that are all equal; it is larger than 65,536 octets; or, on Unix, its group or
    /// others may read or write it, by the mode of the opened file.
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

    /// A key from a file whose mode is not looked at.
    ///
    /// For secrets that a platform mounts with 0444 or 0644 where only this program can see
    /// them. In every other respect it is [`from_file`](Self::from_file).
    ///
    /// # Errors
    ///
    /// Those of [`from_file`](Self::from_file), less the one on the mode.
    ///
    /// ```no_run
    /// use countersign::Key;
    ///
    /// let key = Key::from_shared_file("/run/secrets/billing.key")?;
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn from_shared_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        load(path.as_ref(), Readers::Anybody)
    }
}

/// Who may have access to a key file besides its owner.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    OwnerOnly,
    Anybody,
}

const MAX_LEN: usize = 65_536;

pub(crate) fn load(path: &Path, readers: Readers) -> Result<Key, Error> {
    let secret = secret(path, readers)?;
    Key::new(&*secret).map_err(|invalid| Error::KeyFile {
        path: path.into(),
        problem: KeyFileProblem::Secret(invalid),
    })
}

/// The octets of a key file, less one final LF or CRLF.
pub(crate) fn secret(path: &Path, readers: Readers) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut octets = read(path, readers).map_err(|problem| Error::KeyFile {
        path: path.into(),
        problem,
    })?;
    let len = match octets.as_slice() {
        [secret @ .., b'\r', b'\n'] | [secret @ .., b'\n'] => secret.len(),
        all => all.len(),
    };
    octets.truncate(len);
    Ok(octets)
}

fn read(path: &Path, readers: Readers) -> Result<Zeroizing<Vec<u8>>, KeyFileProblem> {
    let file = File::open(path).map_err(KeyFileProblem::Io)?;
    let metadata = file.metadata().map_err(KeyFileProblem::Io)?;
    if metadata.is_dir() {
        return Err(KeyFileProblem::Io(io::ErrorKind::IsADirectory.into()));
    }
    check_mode(&metadata, readers)?;

    // A buffer that grows leaves copies behind that nothing wipes; this one has room for all that
    // is read, and some to spare, in which the end is noticed.
    let mut buffer = Zeroizing::new(Vec::with_capacity(MAX_LEN + 64));
    let room = buffer.capacity();
    (file.take(MAX_LEN as u64 + 1).read_to_end(&mut buffer)).map_err(KeyFileProblem::Io)?;
    debug_assert!(buffer.capacity() == room, "the buffer has grown");
    if buffer.len() > MAX_LEN {
        return Err(KeyFileProblem::TooLarge);
    }
    Ok(buffer)
}

/// Of the opened file: the path may lead to another one by now.
#[cfg(unix)]
fn check_mode(metadata: &Metadata, readers: Readers) -> Result<(), KeyFileProblem> {
    use std::os::unix::fs::MetadataExt;

    let mode = metadata.mode() & 0o7777;
    if readers == Readers::OwnerOnly && mode & 0o066 != 0 {
        return Err(KeyFileProblem::Exposed { mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_: &Metadata, _: Readers) -> Result<(), KeyFileProblem> {
    Ok(())
}
