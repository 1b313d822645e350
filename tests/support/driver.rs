//! The drivers over streams, so that one table of tests runs through all of them.

#[cfg(feature = "multiprocessing")]
use std::io;

use countersign::compat::cookbook::{Answered, KnowsSecret};
#[cfg(feature = "multiprocessing")]
use countersign::compat::multiprocessing::KnowsAuthkey;
use countersign::{Client, Error, KeyLookup, Server, Session};

use super::Wire;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    Blocking,
    #[cfg(feature = "tokio")]
    Tokio,
}

impl Driver {
    pub const ALL: &[Self] = &[
        Self::Blocking,
        #[cfg(feature = "tokio")]
        Self::Tokio,
    ];

    /// Whether a stream can report more bytes than there was room for. With the buffers of tokio
    /// it cannot.
    pub fn lets_reads_lie(self) -> bool {
        self == Self::Blocking
    }

    pub fn client(self, wire: &mut Wire, client: &Client) -> Result<Session, Error> {
        match self {
            Self::Blocking => client.authenticate(wire),
            #[cfg(feature = "tokio")]
            Self::Tokio => {
                let client = countersign::tokio::Client::from(client.clone());
                block_on(client.authenticate(wire))
            }
        }
    }

    pub fn server<K: KeyLookup>(
        self,
        wire: &mut Wire,
        server: &Server<K>,
    ) -> Result<Session, Error> {
        match self {
            Self::Blocking => server.authenticate(wire),
            #[cfg(feature = "tokio")]
            Self::Tokio => {
                let server = countersign::tokio::Server::from(server.clone());
                block_on(server.authenticate(wire))
            }
        }
    }
}

/// Calls the function of this name, in the module of the driver.
macro_rules! through {
    ($driver:expr, $($name:ident)::+ ($($arg:expr),*) $(.$method:ident($($more:expr),*))?) => {
        match $driver {
            Driver::Blocking => {
                countersign::compat::$($name)::+($($arg),*)$(.$method($($more),*))?
            }
            #[cfg(feature = "tokio")]
            Driver::Tokio => {
                block_on(countersign::tokio::$($name)::+($($arg),*)$(.$method($($more),*))?)
            }
        }
    };
}

/// The wire of the Python recipe.
impl Driver {
    pub fn cookbook_client(self, wire: &mut Wire, secret: &[u8]) -> Result<Answered, Error> {
        through!(self, cookbook::client_authenticate(wire, secret))
    }

    pub fn cookbook_server(self, wire: &mut Wire, secret: &[u8]) -> Result<KnowsSecret, Error> {
        through!(self, cookbook::server_authenticate(wire, secret))
    }
}

/// The wire of Python's `multiprocessing`.
#[cfg(feature = "multiprocessing")]
impl Driver {
    pub fn multiprocessing_client(
        self,
        wire: &mut Wire,
        authkey: &[u8],
    ) -> Result<KnowsAuthkey, Error> {
        through!(self, multiprocessing::client_authenticate(wire, authkey))
    }

    pub fn multiprocessing_server(
        self,
        wire: &mut Wire,
        authkey: &[u8],
    ) -> Result<KnowsAuthkey, Error> {
        through!(self, multiprocessing::server_authenticate(wire, authkey))
    }

    #[cfg(feature = "multiprocessing-md5")]
    pub fn multiprocessing_client_md5(
        self,
        wire: &mut Wire,
        authkey: &[u8],
    ) -> Result<KnowsAuthkey, Error> {
        through!(
            self,
            multiprocessing::client_authenticate_md5(wire, authkey)
        )
    }

    #[cfg(feature = "multiprocessing-md5")]
    pub fn multiprocessing_server_md5(
        self,
        wire: &mut Wire,
        authkey: &[u8],
    ) -> Result<KnowsAuthkey, Error> {
        through!(
            self,
            multiprocessing::server_authenticate_md5(wire, authkey)
        )
    }

    pub fn send_bytes(
        self,
        wire: &mut Wire,
        knows: KnowsAuthkey,
        message: &[u8],
    ) -> io::Result<()> {
        through!(
            self,
            multiprocessing::Connection::new(wire, knows).send_bytes(message)
        )
    }

    pub fn recv_bytes(
        self,
        wire: &mut Wire,
        knows: KnowsAuthkey,
        max: usize,
    ) -> io::Result<Option<Vec<u8>>> {
        through!(
            self,
            multiprocessing::Connection::new(wire, knows).recv_bytes(max)
        )
    }
}

/// Runs a future on a runtime of its own.
#[cfg(feature = "tokio")]
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}
