//! What a peer may be that does not speak this protocol.

use core::fmt;

/// A guess at the protocol of a peer that does not speak this one.
///
/// It depends on the first four bytes of the peer, or on fewer if fewer had arrived, so it is a guess.
/// If they fit several protocols, there is no hint.
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
    /// The PROXY protocol, version 1 or 2.
    Proxy,
    /// The protocol of this crate, where Python's `multiprocessing` was awaited.
    Native,
}

/// The methods of RFC 9110, section 9, `PATCH` (RFC 5789), the preface of HTTP/2 (RFC 9113, section
/// 3.4), and a response.
const HTTP: [&[u8; 4]; 11] = [
    b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"CONN", b"OPTI", b"TRAC", b"PATC", b"PRI ",
    b"HTTP",
];

/// How protocols begin that begin with text.
const TEXTS: [(Hint, &[&[u8; 4]]); 3] = [
    (Hint::Http, &HTTP),
    (Hint::Ssh, &[b"SSH-"]),
    (Hint::Proxy, &[b"PROX", b"\r\n\r\n"]),
];

impl Hint {
    /// Guesses by the first four bytes, as far as they had arrived. Fewer would give a name to some of
    /// the recipe's peers, which send random bytes.
    pub(super) fn of(beginning: [Option<u8>; 4]) -> Option<Self> {
        // The content types alert and handshake, and the version.
        if let [Some(0x15 | 0x16), None | Some(3), None | Some(0..=4), _] = beginning {
            return Some(Self::Tls);
        }
        let fits = |text: &&[u8; 4]| {
            (text.iter().zip(beginning)).all(|(&text, byte)| byte.unwrap_or(text) == text)
        };
        let mut fitting = (TEXTS.iter()).filter(|(_, texts)| texts.iter().any(fits));
        match (fitting.next(), fitting.next()) {
            (Some(&(hint, _)), None) => Some(hint),
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
            Self::Native => {
                "they look like the protocol of countersign; use its own functions at this end"
            }
        })
    }
}
