//! Keys under key ids.

use countersign::Key;

use crate::support::key;

/// The key [`key`] under this key id.
pub fn key_of(name: &str, id: impl AsRef<[u8]>) -> Key {
    key(name).with_id(id).unwrap()
}

/// The child of a master under this key id.
pub fn child(master: &Key, id: impl AsRef<[u8]>) -> Key {
    let secret = master.child_secret(&id).unwrap();
    Key::new(secret).unwrap().with_id(id).unwrap()
}
