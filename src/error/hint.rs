//! What a peer may be that does not speak this protocol.

use core::fmt;

use crate::handshake::{Incompatible, Message};

/// A guess at the protocol of a peer that does not speak this one.
///
/// It depends on the first bytes that cannot belong to the awaited message, so it is a guess.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// An HTTP request or response.
    Http,
    /// A TLS handshake or alert (RFC 8446, section 5.1).
    Tls,
    /// The identification string of SSH (RFC 4253, section 4.2).
    Ssh,
    /// Python's `multiprocessing.connection`.
    Multiprocessing,
    /// The PROXY protocol, version 2 (its signature begins with CR).
    Proxy,
    /// HTTP, or the PROXY protocol, version 1: `POST`, `PUT`, `PATCH` or `PROXY`.
    HttpOrProxy,
    /// The protocol of this crate, where Python's `multiprocessing` was awaited.
    Native,
}

impl Hint {
    pub(super) fn of(incompatible: Incompatible) -> Option<Self> {
        let Incompatible::Foreign { awaiting, at, byte } = incompatible else {
            return None;
        };
        match (awaiting, at, byte) {
            (Message::RESPONSE, 0, b'\r') => Some(Self::Proxy),
            (Message::RESPONSE, 0, b'P') => Some(Self::HttpOrProxy),
            // The protocol's name begins with C too, so CONNECT differs at its second byte. The
            // other methods (RFC 9110, section 9) and PATCH (RFC 5789) differ at their first.
            (_, 1, b'O') | (_, 0, b'G' | b'H' | b'P' | b'D' | b'O' | b'T') => Some(Self::Http),
            (_, 0, b'S') => Some(Self::Ssh),
            // The content types alert and handshake.
            (_, 0, 0x15 | 0x16) => Some(Self::Tls),
            // The first byte of the length of its challenge.
            (Message::CHALLENGE, 0, 0x00) => Some(Self::Multiprocessing),
            _ => None,
        }
    }
}

#[cfg(feature = "multiprocessing")]
impl Hint {
    /// Guesses by the first four bytes, in place of the length of a message of `multiprocessing`.
    pub(super) fn of_beginning(bytes: [u8; 4]) -> Option<Self> {
        match &bytes {
            b"CSIG" => Some(Self::Native),
            b"SSH-" => Some(Self::Ssh),
            // The content types alert and handshake, and the major version.
            [0x15 | 0x16, 3, ..] => Some(Self::Tls),
            b"\r\n\r\n" | b"PROX" => Some(Self::Proxy),
            b"HTTP" | b"GET " | b"HEAD" | b"POST" | b"PUT " | b"DELE" | b"CONN" | b"OPTI"
            | b"TRAC" | b"PATC" | b"PRI " => Some(Self::Http),
            _ => None,
        }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "they look like HTTP",
            Self::Tls => "they look like TLS",
            Self::Ssh => "they look like SSH",
            Self::Multiprocessing => "they look like Python's multiprocessing",
            Self::Proxy => {
                "they look like the PROXY protocol; read its header before the handshake, or turn it \
                 off at the proxy"
            }
            Self::HttpOrProxy => {
                "they look like HTTP or the PROXY protocol; read the header of a proxy before the \
                 handshake, or turn it off at the proxy"
            }
            Self::Native => {
                "they look like the protocol of countersign; use its own functions at this end"
            }
        })
    }
}
