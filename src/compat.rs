//! Other people's wires, for peers that do not speak this crate's own.
//!
//! They are weaker, each in its own way, and say so: their results are types of their own and
//! never a [`Session`](crate::Session). They take the secret as it is, so give them one that is
//! used for nothing else.

use std::path::Path;
use std::vec::Vec;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::key_file::{self, Readers};

pub mod cookbook;
#[cfg(feature = "multiprocessing")]
pub mod multiprocessing;

/// The secret in a file, by the rules of [`Key::from_file`](crate::Key::from_file) less those
/// on its strength: the wires of this module allow any.
///
/// # Errors
///
/// [`Error::KeyFile`], where the file cannot be read, is larger than 65,536 octets, or, on Unix,
/// is open to its group or others.
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
    key_file::secret(path.as_ref(), Readers::OwnerOnly)
}

/// [`secret_from_file`] for a file whose mode is not looked at, as
/// [`Key::from_shared_file`](crate::Key::from_shared_file).
///
/// # Errors
///
/// Those of [`secret_from_file`], less the one on the mode.
///
/// ```no_run
/// let secret = countersign::compat::secret_from_shared_file("/run/secrets/peekaboo.key")?;
/// # Ok::<(), countersign::Error>(())
/// ```
pub fn secret_from_shared_file(path: impl AsRef<Path>) -> Result<Zeroizing<Vec<u8>>, Error> {
    key_file::secret(path.as_ref(), Readers::Anybody)
}
