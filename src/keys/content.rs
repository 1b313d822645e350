//! What a key file says.

use crate::error::{Found, Malformed};
use crate::invalid_input::InvalidInput;
use crate::key::Key;

/// The secrets of a key file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content<'f> {
    /// Used by a client, and accepted by a server.
    pub(super) first: &'f [u8],
    /// Accepted by a server too, while the secret is rotated.
    pub(super) accept: Option<&'f [u8]>,
}

impl Content<'_> {
    pub(super) fn key(&self) -> Result<Key, InvalidInput> {
        let key = Key::new(self.first)?;
        match self.accept {
            Some(accept) => key.accepting(accept),
            None => Ok(key),
        }
    }
}

pub(super) const ACCEPT: &[u8] = b"accept:";

/// Parses one line of visible ASCII, and a second that begins with `accept:`.
pub(super) fn parse(file: &[u8]) -> Result<Content<'_>, Malformed> {
    for (signature, found) in [
        (&b"\xef\xbb\xbf"[..], Found::ByteOrderMark),
        (b"\xff\xfe", Found::Utf16),
        (b"\xfe\xff", Found::Utf16),
        (b"-----BEGIN", Found::Pem),
    ] {
        if file.starts_with(signature) {
            return Err(Malformed { at: 0, found });
        }
    }
    let (first, rest) = line(file);
    // Also within the line: a line end that is missing would make one secret of two.
    if let Some(at) = first.windows(ACCEPT.len()).position(|part| part == ACCEPT) {
        let found = Found::AcceptFirst;
        return Err(Malformed { at, found });
    }
    check(first, 0)?;
    let Some(rest) = rest.filter(|rest| !rest.is_empty()) else {
        return Ok(Content {
            first,
            accept: None,
        });
    };

    let at = file.len() - rest.len();
    let (second, rest) = line(rest);
    if second.is_empty() {
        let found = Found::EmptyLine;
        return Err(Malformed { at, found });
    }
    let Some(accept) = second.strip_prefix(ACCEPT) else {
        let found = Found::SecondLine;
        return Err(Malformed { at, found });
    };
    check(accept, at + ACCEPT.len())?;
    match rest {
        Some(rest) if !rest.is_empty() => Err(Malformed {
            at: file.len() - rest.len(),
            found: Found::ThirdLine,
        }),
        _ => Ok(Content {
            first,
            accept: Some(accept),
        }),
    }
}

/// Checks that a file is no key file of two secrets, but one secret of any bytes.
pub(super) fn check_single(file: &[u8]) -> Result<(), Malformed> {
    match line(file) {
        (_, Some(rest)) if rest.starts_with(ACCEPT) => Err(Malformed {
            at: file.len() - rest.len(),
            found: Found::AcceptLine,
        }),
        _ => Ok(()),
    }
}

/// Returns the first line without its LF or CRLF, and what stands behind that.
fn line(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = text.splitn(2, |byte| *byte == b'\n');
    let line = parts.next().unwrap_or(text);
    match parts.next() {
        Some(rest) => (line.strip_suffix(b"\r").unwrap_or(line), Some(rest)),
        None => (line, None),
    }
}

fn check(secret: &[u8], start: usize) -> Result<(), Malformed> {
    if secret.is_empty() {
        let found = Found::Nothing;
        return Err(Malformed { at: start, found });
    }
    let invalid = |byte: &u8| !(0x21..=0x7e).contains(byte);
    let Some((at, byte)) = (start..).zip(secret).find(|(_, byte)| invalid(byte)) else {
        return check_unquoted(secret, start);
    };
    let found = match byte {
        0 => Found::Nul,
        b' ' | b'\t' => Found::Space,
        0x01..=0x1f | 0x7f => Found::Control,
        _ => Found::NotAscii,
    };
    Err(Malformed { at, found })
}

/// Whoever copies a secret from a file of another format may take its quotation marks along, which
/// the other end then lacks.
fn check_unquoted(secret: &[u8], start: usize) -> Result<(), Malformed> {
    match secret.first() {
        Some(b'"' | b'\'') if secret.first() == secret.last() => Err(Malformed {
            at: start,
            found: Found::Quoted,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef";
    const OLD: &[u8] = b"fedcba9876543210";

    #[test]
    fn one_line_is_the_secret_whatever_ends_it() {
        // A quotation mark at one end belongs to the secret.
        for first in [SECRET, b"'0123456789abcdef", b"\"0123456789abcdef'"] {
            for end in ["", "\n", "\r\n"] {
                let file = [first, end.as_bytes()].concat();
                let accept = None;
                assert_eq!(parse(&file), Ok(Content { first, accept }), "{end:?}");
            }
        }
    }

    #[test]
    fn a_second_line_that_begins_with_accept_is_the_other_secret() {
        for between in ["\n", "\r\n"] {
            for end in ["", "\n", "\r\n"] {
                let file = [SECRET, between.as_bytes(), b"accept:", OLD, end.as_bytes()].concat();
                let expected = Content {
                    first: SECRET,
                    accept: Some(OLD),
                };
                assert_eq!(parse(&file), Ok(expected), "{between:?} {end:?}");
            }
        }
    }

    #[test]
    fn everything_else_is_an_error_that_says_what_stands_where() {
        let s = SECRET.len();
        let cases: [(&[u8], usize, Found); 29] = [
            (b"", 0, Found::Nothing),
            (b"\n", 0, Found::Nothing),
            (b"\r\n", 0, Found::Nothing),
            (b"\xef\xbb\xbf0123456789abcdef", 0, Found::ByteOrderMark),
            (b"\xff\xfe0\x001\x00", 0, Found::Utf16),
            (b"\xfe\xff\x000\x001", 0, Found::Utf16),
            (b"-----BEGIN PRIVATE KEY-----\n", 0, Found::Pem),
            (b"0\x001\x00", 1, Found::Nul),
            (b"0123456789abcdef \n", s, Found::Space),
            (b"0123456789abcdef\t", s, Found::Space),
            (b"KEY = \"0123456789abcdef\"\n", 3, Found::Space),
            (b"0123456789abcdef\r", s, Found::Control),
            (b"0123456789abcdef\x7f", s, Found::Control),
            (b"0123456789abcdef\xc3\xa9", s, Found::NotAscii),
            (b"0123456789abcdef\n\n", s + 1, Found::EmptyLine),
            (b"0123456789abcdef\r\n\r\n", s + 2, Found::EmptyLine),
            (
                b"0123456789abcdef\nfedcba9876543210\n",
                s + 1,
                Found::SecondLine,
            ),
            (
                b"0123456789abcdef\naccept fedcba\n",
                s + 1,
                Found::SecondLine,
            ),
            (b"0123456789abcdef\naccept:\n", s + 8, Found::Nothing),
            (b"0123456789abcdef\naccept: fedcba\n", s + 8, Found::Space),
            (b"0123456789abcdef\naccept:f\xff\n", s + 9, Found::NotAscii),
            (b"0123456789abcdef\naccept:f\n\n", s + 10, Found::ThirdLine),
            (b"0123456789abcdef\naccept:f\nx", s + 10, Found::ThirdLine),
            (b"\"0123456789abcdef\"\n", 0, Found::Quoted),
            (b"'0123456789abcdef'", 0, Found::Quoted),
            (b"\"", 0, Found::Quoted),
            (b"0123456789abcdef\naccept:'f'\n", s + 8, Found::Quoted),
            (b"accept:0123456789abcdef\n", 0, Found::AcceptFirst),
            (b"0123456789abcdefaccept:fedcba\n", s, Found::AcceptFirst),
        ];
        for (file, at, found) in cases {
            let shown = file.escape_ascii();
            assert_eq!(parse(file), Err(Malformed { at, found }), "{shown}");
        }
    }

    #[test]
    fn every_byte_that_is_not_visible_ascii_is_refused_where_it_stands() {
        for byte in (0..=0x20).chain(0x7f..=0xff) {
            for at in 0..4 {
                let mut file = *b"01234567";
                if let Some(at) = file.get_mut(at) {
                    *at = byte;
                }
                if byte == b'\n' {
                    assert!(parse(&file).is_err());
                } else {
                    assert_eq!(parse(&file).map_err(|error| error.at), Err(at), "{byte}");
                }
            }
        }
    }
}
