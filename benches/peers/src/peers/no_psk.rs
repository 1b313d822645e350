//! What stands in for TLS with a PSK where this program was built without OpenSSL.

use std::sync::Arc;

use anyhow::{Result, bail};

use super::Peer;

#[derive(Clone, Copy)]
pub enum Exchange {
    None,
    Ephemeral,
}

pub fn version() -> String {
    "none".to_owned()
}

pub fn fastest(_: Exchange, _: bool) -> Result<(Arc<dyn Peer>, String)> {
    bail!("this program was built without OpenSSL")
}
