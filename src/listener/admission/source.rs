//! Where a connection comes from, as far as fairness is concerned.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The source of a connection. All connections of one source share what is kept for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    V4(Ipv4Addr),
    /// The first 64 bits. One host can use all addresses that have them in common.
    V6([u16; 4]),
    /// Peers without an address, such as those of a Unix socket.
    Local,
}

impl Source {
    /// Returns the source of a peer. An IPv4 address that is mapped to IPv6 is an IPv4 address.
    pub(crate) fn of(peer: Option<SocketAddr>) -> Self {
        match peer.map(|peer| peer.ip().to_canonical()) {
            Some(IpAddr::V4(address)) => Self::V4(address),
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
            None => Self::Local,
        }
    }
}
