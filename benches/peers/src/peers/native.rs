//! countersign's native protocol.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::Result;
use countersign::endpoint::{Blocking, Endpoint, Role, Tokio};
use countersign::tokio::Lookup;
use countersign::{
    Client, Key, KeyLookup, Server, client_authenticate, server_authenticate, tokio,
};

use super::{AsyncStream, Login, Peer, SECRET};

/// The functions without a timeout.
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

/// A verb of a client and a server.
pub struct Verbs {
    verb: Verb,
    client: Client,
    server: Server<Key>,
    client_async: tokio::Client,
    server_async: tokio::Server<Key>,
}

#[derive(Clone, Copy)]
pub enum Verb {
    AuthenticateTimeout,
    Encrypt,
}

const TIMEOUT: Duration = Duration::from_secs(5);

impl Verbs {
    pub fn new(verb: Verb) -> Result<Self> {
        let key = Key::new(SECRET)?;
        Ok(Self {
            verb,
            client: Client::new(key.clone()),
            server: Server::new(key.clone()),
            client_async: tokio::Client::new(key.clone()),
            server_async: tokio::Server::new(key),
        })
    }
}

impl Verb {
    fn run<R: Role<Keys: KeyLookup>>(
        self,
        end: &Endpoint<R, Blocking>,
        stream: &mut TcpStream,
    ) -> Result<()> {
        match self {
            Self::AuthenticateTimeout => drop(end.authenticate_timeout(stream, TIMEOUT)?),
            Self::Encrypt => drop(end.encrypt(stream)?),
        }
        Ok(())
    }

    /// Returns a future of this verb only, so that a pending login holds nothing of the others.
    fn run_async<'a, R: Role<Keys: Lookup + Sync> + Send + Sync>(
        self,
        end: &'a Endpoint<R, Tokio>,
        stream: &'a mut dyn AsyncStream,
    ) -> Login<'a> {
        match self {
            Self::AuthenticateTimeout => Box::pin(async {
                drop(end.authenticate_timeout(stream, TIMEOUT).await?);
                Ok(())
            }),
            Self::Encrypt => Box::pin(async {
                drop(end.encrypt(stream).await?);
                Ok(())
            }),
        }
    }
}

impl Peer for Verbs {
    fn connect(&self, stream: &mut TcpStream) -> Result<()> {
        self.verb.run(&self.client, stream)
    }

    fn accept(&self, stream: &mut TcpStream) -> Result<()> {
        self.verb.run(&self.server, stream)
    }

    fn connect_async<'a>(&'a self, stream: &'a mut dyn AsyncStream) -> Login<'a> {
        self.verb.run_async(&self.client_async, stream)
    }

    fn accept_async<'a>(&'a self, stream: &'a mut dyn AsyncStream) -> Login<'a> {
        self.verb.run_async(&self.server_async, stream)
    }
}
