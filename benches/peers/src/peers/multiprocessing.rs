//! The protocol of Python's `multiprocessing`, in countersign's implementation.

use std::net::TcpStream;

use anyhow::Result;
use countersign::compat::multiprocessing::{client_authenticate, server_authenticate};
use countersign::tokio::multiprocessing as tokio;

use super::{AsyncStream, Login, Peer, SECRET};

pub struct Multiprocessing;

impl Peer for Multiprocessing {
    fn connect(&self, stream: &mut TcpStream) -> Result<()> {
        drop(client_authenticate(stream, SECRET)?);
        Ok(())
    }

    fn accept(&self, stream: &mut TcpStream) -> Result<()> {
        drop(server_authenticate(stream, SECRET)?);
        Ok(())
    }

    fn connect_async<'a>(&'a self, stream: &'a mut dyn AsyncStream) -> Login<'a> {
        Box::pin(async {
            drop(tokio::client_authenticate(stream, SECRET).await?);
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
