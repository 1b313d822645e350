//! Values of the caller that the protocol does not allow.

use core::fmt;

/// A value of the caller that the protocol does not allow.
///
/// It names lengths, never content.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidInput {
    /// A secret of fewer than 16 bytes (128 bits, RFC 9257, section 6).
    SecretTooShort {
        /// Its length in bytes.
        len: usize,
    },
    /// A secret whose bytes are all equal: a buffer that was wiped or never filled.
    SecretConstant {
        /// Its length in bytes.
        len: usize,
    },
    /// A key id of more than 64 bytes.
    KeyIdTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// An empty key id for a child secret, which needs at least one byte.
    ChildIdEmpty,
    /// A passphrase of fewer than 8 bytes.
    PassphraseTooShort {
        /// Its length in bytes.
        len: usize,
    },
    /// A passphrase with a NUL. Two that differ only in NULs at their ends make the same secret.
    PassphraseNul,
    /// An empty key id for a passphrase, whose salt it is.
    PassphraseIdEmpty,
    /// A service name of more than 255 bytes.
    ServiceTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// An exporter label that does not have 1 to 255 bytes.
    ExportLabelLength {
        /// Its length in bytes.
        len: usize,
    },
    /// An exporter context of more than 65,535 bytes.
    ExportContextTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// An exporter output that does not have 1 to 8160 bytes.
    ExportLength {
        /// The length asked for, in bytes.
        len: usize,
    },
}

impl core::error::Error for InvalidInput {}

impl fmt::Display for InvalidInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretTooShort { len: 0 } => f.write_str("the secret is empty"),
            Self::SecretTooShort { len } => write!(
                f,
                "the secret is too short: {len} bytes; use at least 16 random bytes \
                 (generate_secret), or Key::from_passphrase for a passphrase"
            ),
            Self::SecretConstant { len } => write!(
                f,
                "all {len} bytes of the secret are equal: was the buffer ever filled?"
            ),
            Self::KeyIdTooLong { len } => {
                write!(
                    f,
                    "the key id is too long: {len} bytes; at most 64 are allowed"
                )
            }
            Self::ChildIdEmpty => {
                f.write_str("a child secret needs a key id of at least one byte, and it is empty")
            }
            Self::PassphraseTooShort { len } => write!(
                f,
                "the passphrase is too short: {len} bytes; use at least 8, and better a random secret"
            ),
            Self::PassphraseNul => f.write_str(
                "the passphrase has a NUL, which scrypt does not tell from its end; leave it out",
            ),
            Self::PassphraseIdEmpty => f.write_str(
                "a passphrase needs a key id of at least one byte, which is its salt, and it is empty",
            ),
            Self::ServiceTooLong { len } => write!(
                f,
                "the service name is too long: {len} bytes; at most 255 are allowed"
            ),
            Self::ExportLabelLength { len } => write!(
                f,
                "the exporter label has {len} bytes; 1 to 255 are allowed"
            ),
            Self::ExportContextTooLong { len } => write!(
                f,
                "the exporter context has {len} bytes; at most 65535 are allowed"
            ),
            Self::ExportLength { len } => write!(
                f,
                "{len} bytes were asked of the exporter; 1 to 8160 are allowed"
            ),
        }
    }
}
