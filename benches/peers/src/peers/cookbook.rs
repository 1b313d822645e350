//! The cookbook protocol in countersign's implementation: it authenticates the client, which is not
//! told.

use std::net::TcpStream;

use anyhow::Result;
use countersign::compat::cookbook::{client_authenticate, server_authenticate};
use countersign::tokio::cookbook as tokio;

use super::{AsyncStream, Login, Peer, SECRET};

pub struct Cookbook;

impl Peer for Cookbook {
    fn connect(&self, stream: &mut TcpStream) -> Result<()> {
        client_authenticate(stream, SECRET)?;
        Ok(())
    }

    fn accept(&self, stream: &mut TcpStream) -> Result<()> {
        drop(server_authenticate(stream, SECRET)?);
        Ok(())
    }

    fn connect_async<'a>(&'a self, stream: &'a mut dyn AsyncStream) -> Login<'a> {
        Box::pin(async {
            tokio::client_authenticate(stream, SECRET).await?;
            Ok(())
        })
    }

    fn accept_async<'a>(&'a self, stream: &'a mut dyn AsyncStream) -> Login<'a> {
        Box::pin(async {
            drop(tokio::server_authenticate(stream, SECRET).await?);
            Ok(())
        })
    }
}
