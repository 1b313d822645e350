//! The three messages of countersign's native protocol, with constants instead of cryptography and
//! randomness: the lower bound for a login in three messages.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{AsyncStream, Login, Peer};

pub struct Constants;

const F1: [u8; 40] = [1; 40];
const F2: [u8; 73] = [2; 73];
const F3: [u8; 33] = [3; 33];

impl Peer for Constants {
    fn connect(&self, stream: &mut TcpStream) -> Result<()> {
        stream.read_exact(&mut [0; F1.len()])?;
        stream.write_all(&F2)?;
        stream.flush()?;
        stream.read_exact(&mut [0; F3.len()])?;
        Ok(())
    }

    fn accept(&self, stream: &mut TcpStream) -> Result<()> {
        stream.write_all(&F1)?;
        stream.flush()?;
        stream.read_exact(&mut [0; F2.len()])?;
        stream.write_all(&F3)?;
        stream.flush()?;
        Ok(())
    }

    fn connect_async<'a>(&'a self, stream: &'a mut dyn AsyncStream) -> Login<'a> {
        Box::pin(async {
            stream.read_exact(&mut [0; F1.len()]).await?;
            stream.write_all(&F2).await?;
            stream.flush().await?;
            stream.read_exact(&mut [0; F3.len()]).await?;
            Ok(())
        })
    }

    fn accept_async<'a>(&'a self, stream: &'a mut dyn AsyncStream) -> Login<'a> {
        Box::pin(async {
            stream.write_all(&F1).await?;
            stream.flush().await?;
            stream.read_exact(&mut [0; F2.len()]).await?;
            stream.write_all(&F3).await?;
            stream.flush().await?;
            Ok(())
        })
    }
}
