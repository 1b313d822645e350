//! The name under which a server finds a key.

use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

use crate::buffer::Buffer;
use crate::invalid_input::InvalidInput;

/// The name of a key: 0 to 64 bytes of any value, sent in the clear.
///
/// The bytes are the peer's choice. `Display` and `Debug` escape them (ASCII, as
/// [`u8::escape_ascii`]), so that a log line stays one line. Never use the raw bytes as a path.
///
/// ```
/// use countersign::{InvalidInput, KeyId};
///
/// let id = KeyId::new("worker-7")?;
/// assert!(id == "worker-7" && id.as_str() == Some("worker-7"));
/// assert_eq!(KeyId::new(b"a\nb\xff")?.to_string(), r"a\nb\xff");
/// assert_eq!(KeyId::new([b'x'; 65]), Err(InvalidInput::KeyIdTooLong { len: 65 }));
/// # Ok::<(), InvalidInput>(())
/// ```
#[derive(Clone, Copy, Default)]
pub struct KeyId(Buffer<MAX_LEN>);

const MAX_LEN: usize = 64;

impl KeyId {
    /// The longest key id: 64 bytes.
    pub const MAX_LEN: usize = MAX_LEN;

    /// The empty key id, which is an id like any other.
    pub const EMPTY: Self = Self(Buffer::EMPTY);

    /// Makes a key id of 0 to 64 bytes.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidInput::KeyIdTooLong`] for more than 64 bytes.
    pub fn new(id: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        let id = id.as_ref();
        let mut buffer = Buffer::EMPTY;
        match buffer.append(id) {
            Ok(()) => Ok(Self(buffer)),
            Err(_) => Err(InvalidInput::KeyIdTooLong { len: id.len() }),
        }
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Returns the id as a string, or `None` if it is not UTF-8.
    ///
    /// Unlike `Display` it escapes nothing: the string may contain control characters.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        str::from_utf8(self.as_bytes()).ok()
    }

    /// Returns whether the id has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

impl AsRef<[u8]> for KeyId {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for KeyId {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for KeyId {}

/// The order of the bytes.
impl Ord for KeyId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for KeyId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Equal to the hash of the bytes, so that a map of key ids can be searched by bytes.
impl Hash for KeyId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl Borrow<[u8]> for KeyId {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq<str> for KeyId {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for KeyId {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl PartialEq<KeyId> for str {
    fn eq(&self, other: &KeyId) -> bool {
        other == self
    }
}

impl PartialEq<KeyId> for &str {
    fn eq(&self, other: &KeyId) -> bool {
        other == *self
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().escape_ascii().fmt(f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
