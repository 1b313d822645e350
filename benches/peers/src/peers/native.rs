//! countersign's native protocol.

use std::net::TcpStream;

use anyhow::Result;
use countersign::{Key, client_authenticate, server_authenticate, tokio};

use super::{AsyncStream, Login, Peer, SECRET};

pub struct Native(Key);

impl Native {
    pub fn new() -> Result<Self> {
        Ok(Self(Key::new(SECRET)?))
    }
}

impl Peer for Native {
    fn connect(&self, stream: &mut TcpStream) -> Result<()> {
        drop(client_authenticate(stream, &self.0)?);
        Ok(())
    }

    fn accept(&self, stream: &mut TcpStream) -> Result<()> {
        drop(server_authenticate(stream, &self.0)?);
        Ok(())
    }

    fn connect_async<'a>(&'a self, stream: &'a mut dyn AsyncStream) -> Login<'a> {
        Box::pin(async {
            drop(tokio::client_authenticate(stream, &self.0).await?);
            Ok(())
        })
    }

    fn accept_async<'a>(&'a self, stream: &'a mut dyn AsyncStream) -> Login<'a> {
        Box::pin(async {
            drop(tokio::server_authenticate(stream, &self.0).await?);
            Ok(())
        })
    }
}
