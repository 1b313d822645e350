//! Keys under key ids, and what shows that both ends have the same session.

use countersign::{Key, Session};

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

/// What a session exports. Two sessions that export the same bytes are the two ends of one
/// handshake.
pub fn exported(session: &Session) -> [u8; 32] {
    let mut out = [0; 32];
    session.export("example.org test", b"", &mut out).unwrap();
    out
}
