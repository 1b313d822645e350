//! Where a server finds the key for the id that a client names.

use std::sync::Arc;

use crate::handshake::Key;

/// The look-up of a server's drivers.
///
/// A [`Key`] answers exactly its own id, the empty one being an id like any other.
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
    fn find(&self, id: &[u8]) -> Option<Key>;
}

impl Keys for Key {
    fn find(&self, id: &[u8]) -> Option<Key> {
        (self.id().as_bytes() == id).then(|| self.clone())
    }
}

impl<K: Keys + ?Sized> Keys for &K {
    fn find(&self, id: &[u8]) -> Option<Key> {
        (**self).find(id)
    }
}

impl<K: Keys + ?Sized> Keys for Arc<K> {
    fn find(&self, id: &[u8]) -> Option<Key> {
        (**self).find(id)
    }
}
