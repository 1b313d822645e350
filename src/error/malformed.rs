//! What a key file must not have.

use core::fmt;

/// What a key file has that it must not have, and where. It never shows content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// The offset of the first byte of what was found.
    pub at: usize,
    /// What was found.
    pub found: Found,
}

/// What a key file must not have.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// No secret.
    Nothing,
    /// The byte order mark of UTF-8.
    ByteOrderMark,
    /// The byte order mark of UTF-16.
    Utf16,
    /// The header of a PEM file.
    Pem,
    /// A NUL.
    Nul,
    /// A space or a tab.
    Space,
    /// Another control character, such as a lone CR.
    Control,
    /// A byte over 0x7E.
    NotAscii,
    /// Quotation marks around a secret.
    Quoted,
    /// An empty line.
    EmptyLine,
    /// A second line that does not begin with `accept:`.
    SecondLine,
    /// A line behind the second.
    ThirdLine,
    /// A first line that has `accept:` in it.
    AcceptFirst,
    /// An `accept:` line, where a file is one secret of a compatibility protocol.
    AcceptLine,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {} it has {}", self.at, self.found)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "no secret; write one line of visible ASCII",
            Self::ByteOrderMark => "a byte order mark; save it as plain ASCII",
            Self::Utf16 => "the byte order mark of UTF-16; save it as plain ASCII",
            Self::Pem => "the header of a PEM file, which is no shared secret",
            Self::Nul => "a NUL; it may be UTF-16 or raw bytes, so write the secret as text",
            Self::Space => "a space or a tab; write the secret alone, without a name or quotes",
            Self::Control => "a control character; write one line of visible ASCII",
            Self::NotAscii => {
                "a byte that is not ASCII; write random bytes as hexadecimal digits or base64"
            }
            Self::Quoted => "quotation marks around the secret; write the secret alone, without them",
            Self::EmptyLine => "an empty line; end the file after the secret",
            Self::SecondLine => {
                "a second line that does not begin with \"accept:\"; was base64 wrapped? write it \
                 as one line"
            }
            Self::ThirdLine => "a third line; only one secret and one \"accept:\" line are allowed",
            Self::AcceptFirst => {
                "\"accept:\" in the first line; write the secret in use first, and this on a line of its own"
            }
            Self::AcceptLine => {
                "an \"accept:\" line, and this protocol knows one secret only; use a file without it"
            }
        })
    }
}
