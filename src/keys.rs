//! Where a server finds the key for the id that a client claims.

mod content;
mod directory;
mod file;
mod keyring;
#[cfg(feature = "passphrase")]
mod passphrase;
mod permissions;
mod reloaded;
mod writing;

use std::borrow::Cow;
use std::sync::Arc;

use rand::rngs::SysRng;

use crate::key::{Key, Secret};
use crate::random::NoRandomness;

pub use self::file::{secret_from_file, secret_from_shared_file};
pub use self::keyring::Keyring;
pub use self::reloaded::Reloaded;
pub use self::writing::Rotation;

/// A look-up of keys by their ids.
///
/// A [`Key`] answers for its own id only (the empty id is an id like any other), and a [`Keyring`]
/// for many. A closure that takes the id and returns an `Option<Key>` is a look-up too.
///
/// ```
/// use countersign::{Key, KeyLookup, Server, generate_secret};
///
/// let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
/// assert!(key.find(b"worker-7").is_some());
/// assert!(key.find(b"").is_none());
///
/// let server = Server::new(move |id: &[u8]| id.starts_with(b"worker-").then(|| key.clone()));
/// # Ok::<(), countersign::Error>(())
/// ```
pub trait KeyLookup {
    /// Returns the key for this id, or `None` if there is none, or no longer.
    ///
    /// The id is the peer's choice: 0 to 64 bytes of any value. A client is denied with the same
    /// bytes and after the same cryptographic work whether its id was found or not. The time of the
    /// look-up itself depends on the implementation.
    ///
    /// It must not block for long: the drivers call it where they are, an asynchronous one on its
    /// runtime's thread. A look-up that has to *wait*, for a database say, is for `Server::awaiting` of
    /// module `tokio`, or belongs between two states of the [`handshake`](crate::handshake) core.
    ///
    /// A store that keeps its keys in place may lend them, because every copy is one more place in
    /// memory. A [`Keyring`] returns copies because it may change meanwhile.
    ///
    /// ```
    /// use countersign::{Key, KeyLookup};
    /// use std::{borrow::Cow, collections::HashMap};
    ///
    /// struct Store(HashMap<Vec<u8>, Key>);
    ///
    /// impl KeyLookup for Store {
    ///     fn find(&self, id: &[u8]) -> Option<Cow<'_, Key>> {
    ///         self.0.get(id).map(Cow::Borrowed)
    ///     }
    /// }
    /// ```
    fn find(&self, id: &[u8]) -> Option<Cow<'_, Key>>;
}

impl KeyLookup for Key {
    fn find(&self, id: &[u8]) -> Option<Cow<'_, Key>> {
        (self.id().as_bytes() == id).then_some(Cow::Borrowed(self))
    }
}

impl<K: KeyLookup + ?Sized> KeyLookup for Arc<K> {
    fn find(&self, id: &[u8]) -> Option<Cow<'_, Key>> {
        (**self).find(id)
    }
}

impl<F> KeyLookup for F
where
    F: Fn(&[u8]) -> Option<Key>,
{
    fn find(&self, id: &[u8]) -> Option<Cow<'_, Key>> {
        self(id).map(Cow::Owned)
    }
}

/// Generates a secret of 256 bits with the operating system's generator, as 64 hexadecimal digits:
/// for [`Key::new`] or for a key file.
///
/// A [`Key`] does not keep its secret, so write the secret where both ends find it *before* making
/// the key.
///
/// # Errors
///
/// Returns [`NoRandomness`] if the generator fails.
///
/// ```
/// use countersign::{Key, generate_secret};
///
/// let secret = generate_secret()?;
/// let key = Key::new(&secret)?;
/// # Ok::<(), countersign::Error>(())
/// ```
pub fn generate_secret() -> Result<Secret, NoRandomness> {
    Secret::generate(&mut SysRng)
}
