//! Where a server finds the key for the id that a client names.

mod directory;
mod keyring;

use core::fmt;
use std::borrow::Cow;
use std::sync::Arc;

use crate::handshake::Key;

pub use self::keyring::Keyring;

/// The look-up of a server's drivers.
///
/// A [`Key`] answers exactly its own id, the empty one being an id like any other; a [`Keyring`]
/// answers many, and [`keys_fn`] makes a look-up of a closure.
///
/// ```
/// use countersign::{Key, Keys, generate_secret};
///
/// let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
/// assert!(key.find(b"worker-7").is_some());
/// assert!(key.find(b"").is_none());
/// # Ok::<(), countersign::Error>(())
/// ```
pub trait Keys {
    /// The key for this id, or `None` if there is none, or no longer.
    ///
    /// The id is the peer's choice: 0 to 64 octets of any value. A client is denied in the same
    /// octets and after the same cryptographic work whether its id was found or not; the time
    /// of the look-up itself is the implementation's.
    ///
    /// It must not block for long, since the drivers call it where they are: an asynchronous one
    /// on its runtime's thread. A look-up that has to *wait*, for a database say, goes between
    /// two states of the [`handshake`](crate::handshake) core.
    ///
    /// A store that keeps the key in place may lend it: a copy is one more place where a key was.
    /// A [`Keyring`] gives copies, since it may change meanwhile.
    ///
    /// ```
    /// use countersign::{Key, Keys};
    /// use std::{borrow::Cow, collections::HashMap};
    ///
    /// struct Store(HashMap<Vec<u8>, Key>);
    ///
    /// impl Keys for Store {
    ///     fn find(&self, id: &[u8]) -> Option<Cow<'_, Key>> {
    ///         self.0.get(id).map(Cow::Borrowed)
    ///     }
    /// }
    /// ```
    fn find(&self, id: &[u8]) -> Option<Cow<'_, Key>>;
}

impl Keys for Key {
    fn find(&self, id: &[u8]) -> Option<Cow<'_, Key>> {
        (self.id().as_bytes() == id).then_some(Cow::Borrowed(self))
    }
}

impl<K: Keys + ?Sized> Keys for &K {
    fn find(&self, id: &[u8]) -> Option<Cow<'_, Key>> {
        (**self).find(id)
    }
}

impl<K: Keys + ?Sized> Keys for Arc<K> {
    fn find(&self, id: &[u8]) -> Option<Cow<'_, Key>> {
        (**self).find(id)
    }
}

/// A look-up that is a closure.
///
/// ```
/// use countersign::{Key, Keys, Server, generate_secret, keys_fn};
///
/// let key = Key::new(generate_secret()?)?;
/// let server = Server::new(keys_fn(move |id| id.starts_with(b"worker-").then(|| key.clone())));
/// # Ok::<(), countersign::Error>(())
/// ```
pub fn keys_fn<F>(find: F) -> KeysFn<F>
where
    F: Fn(&[u8]) -> Option<Key>,
{
    KeysFn(find)
}

/// The look-up that [`keys_fn`] makes.
#[derive(Clone, Copy)]
pub struct KeysFn<F>(F);

impl<F> Keys for KeysFn<F>
where
    F: Fn(&[u8]) -> Option<Key>,
{
    fn find(&self, id: &[u8]) -> Option<Cow<'_, Key>> {
        (self.0)(id).map(Cow::Owned)
    }
}

impl<F> fmt::Debug for KeysFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeysFn(..)")
    }
}
