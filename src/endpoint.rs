//! What [`Client`](crate::Client) and [`Server`](crate::Server) are: one type for both roles and for
//! both drivers.
//!
//! An [`Endpoint`] holds what a client or a server brings to each handshake. Its options are
//! defined here, once. The verbs, `authenticate`, `protect` and `encrypt`, are defined once for each driver.

#[cfg(feature = "net")]
pub(crate) mod connect;
#[cfg(feature = "net")]
pub(crate) mod linger;

use core::fmt;
use core::marker::PhantomData;
use std::sync::{Arc, LazyLock};

#[cfg(feature = "net")]
use crate::error::Error;
use crate::handshake::server::Dummy;
use crate::handshake::{Binding, Prologue};
use crate::invalid_input::InvalidInput;
use crate::key::Key;
use crate::keys::KeyLookup;

/// A client or a server, which is its [`Role`] (`R`), over the streams of a driver (`D`). One serves
/// many connections, and its clones share its keys.
///
/// Use it by its names: [`Client`](crate::Client), [`Server`](crate::Server) and, with feature
/// `tokio`, `tokio::Client` and `tokio::Server`.
pub struct Endpoint<R, D> {
    pub(crate) prologue: Prologue,
    pub(crate) role: Arc<R>,
    driver: PhantomData<fn() -> D>,
}

/// The role of a client: it authenticates with one key.
pub struct ClientRole {
    key: Key,
    #[cfg(feature = "net")]
    connect_timeout: core::time::Duration,
}

/// The role of a server: it accepts the clients whose keys it finds.
pub struct ServerRole<K> {
    keys: K,
    dummy: Dummy,
}

/// [`ClientRole`] or [`ServerRole`].
pub trait Role {
    #[doc(hidden)]
    type Keys;

    #[doc(hidden)]
    fn get(&self) -> Which<'_, Self::Keys>;
}

#[cfg(feature = "net")]
impl<R: Role, D> Endpoint<R, D> {
    /// Returns whether this end has answered before it failed: a server that denies, and a client that
    /// names its mode or version. The peer must receive the answer.
    pub(crate) fn has_answered(&self, error: &Error) -> bool {
        match self.role.get() {
            Which::Client(_) => error.is_of_mode_or_version(),
            Which::Server(..) => error.denies(),
        }
    }
}

/// A role, for a driver to run.
#[doc(hidden)]
#[derive(Debug)]
pub enum Which<'e, K> {
    Client(&'e Key),
    Server(&'e K, &'e Dummy),
}

impl Role for ClientRole {
    type Keys = Key;

    fn get(&self) -> Which<'_, Key> {
        Which::Client(&self.key)
    }
}

impl<K> Role for ServerRole<K> {
    type Keys = K;

    fn get(&self) -> Which<'_, K> {
        Which::Server(&self.keys, &self.dummy)
    }
}

impl<D> Endpoint<ClientRole, D> {
    /// Makes a client that authenticates with `key`, under its key id.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self::of(ClientRole {
            key,
            #[cfg(feature = "net")]
            connect_timeout: connect::TIMEOUT,
        })
    }
}

impl<K: KeyLookup, D> Endpoint<ServerRole<K>, D> {
    /// Makes a server that accepts the clients whose keys are found in `keys`.
    #[must_use]
    pub fn new(keys: K) -> Self {
        Self::serving(keys)
    }
}

impl<K, D> Endpoint<ServerRole<K>, D> {
    pub(crate) fn serving(keys: K) -> Self {
        let dummy = Dummy::new();
        Self::of(ServerRole { keys, dummy })
    }
}

impl<R, D> Endpoint<R, D> {
    fn of(role: R) -> Self {
        Self {
            prologue: Prologue::EMPTY,
            role: Arc::new(role),
            driver: PhantomData,
        }
    }

    /// Names the service, of 0 to 255 bytes: the one that a client means to reach, and the one that
    /// a server is. It is empty by default.
    ///
    /// Two ends with different services deny each other. [`Prologue::new`] says when that matters.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidInput::ServiceTooLong`] for more than 255 bytes.
    pub fn service(self, name: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        Ok(Self {
            prologue: self.prologue.service(name)?,
            ..self
        })
    }

    /// Returns the same client or server for one connection, bound to the channel below it, or
    /// bound to none.
    ///
    /// A binding belongs to one connection. On another one the handshake is denied.
    ///
    /// ```
    /// # use countersign::{Binding, Client, Key, generate_secret};
    /// # let client = Client::new(Key::new(generate_secret()?)?);
    /// # let exported = Some([7; 32]); // from the TLS connection, if there is one
    /// let binding = exported.as_ref().map(Binding::tls_exporter);
    /// let client = client.bound(binding.as_ref());
    /// # Ok::<(), countersign::Error>(())
    /// ```
    #[must_use]
    pub fn bound(&self, binding: Option<&Binding>) -> Self {
        let endpoint = self.clone();
        Self {
            prologue: endpoint.prologue.bound(binding),
            ..endpoint
        }
    }
}

/// Marks an [`Endpoint`] over blocking streams.
#[derive(Debug)]
pub enum Blocking {}

/// Marks an [`Endpoint`] over tokio's streams.
#[cfg(feature = "tokio")]
#[derive(Debug)]
pub enum Tokio {}

/// The same options, for tokio.
#[cfg(feature = "tokio")]
impl<R> From<Endpoint<R, Blocking>> for Endpoint<R, Tokio> {
    fn from(endpoint: Endpoint<R, Blocking>) -> Self {
        Self {
            prologue: endpoint.prologue,
            role: endpoint.role,
            driver: PhantomData,
        }
    }
}

impl<R, D> Clone for Endpoint<R, D> {
    fn clone(&self) -> Self {
        Self {
            prologue: self.prologue.clone(),
            role: Arc::clone(&self.role),
            driver: PhantomData,
        }
    }
}

/// For servers without options. Keyed once, because keying it costs nearly as much as a proof.
pub(crate) static DUMMY: LazyLock<Dummy> = LazyLock::new(Dummy::new);

opaque_debug!([R: fmt::Debug, D] Endpoint<R, D> { role, prologue });
opaque_debug!(ClientRole { key });
opaque_debug!([K] ServerRole<K> {});
