//! The header that tells a service whose connection is carried.

use std::io;
use std::net::SocketAddr;

use countersign::KeyId;
use ppp::v2::{Addresses, Builder, Command, Protocol, Version};

/// The field with the key id. Its type is the first that the specification leaves to applications
/// (`PP2_TYPE_MIN_CUSTOM`).
const KEY_ID: u8 = 0xe0;

/// Makes a header of the PROXY protocol, version 2. Without addresses, which a client at a Unix socket
/// does not have, they are unspecified.
pub(super) fn of(addresses: Option<(SocketAddr, SocketAddr)>, id: &KeyId) -> io::Result<Vec<u8>> {
    let addresses = match addresses {
        Some((peer, local)) => Addresses::from((canonical(peer), canonical(local))),
        None => Addresses::Unspecified,
    };
    Builder::with_addresses(Version::Two | Command::Proxy, Protocol::Stream, addresses)
        .write_tlv(KEY_ID, id.as_bytes())?
        .build()
}

/// A socket of IPv6 shows IPv4 addresses as mapped ones.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
