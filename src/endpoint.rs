//! The options of a client and of a server, which serve many connections.

use core::fmt;
use std::sync::LazyLock;

use crate::handshake::{Binding, InvalidInput, Key, Prologue, server};
use crate::keys::Keys;

/// A client and its options; one serves many connections.
///
/// ```no_run
/// use countersign::{Client, Deadline, Key};
/// use std::{net::TcpStream, time::Duration};
///
/// let client = Client::new(Key::from_file("secret.key")?).service("billing/2")?;
/// let stream = TcpStream::connect("127.0.0.1:7000")?;
/// let session = client.authenticate(&mut Deadline::new(&stream, Duration::from_secs(5))?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) prologue: Prologue,
    pub(crate) key: Key,
}

impl Client {
    /// A client that authenticates with `key`, under its key id.
    ///
    /// ```
    /// # use countersign::{Client, Key, generate_secret};
    /// let client = Client::new(Key::new(generate_secret()?)?.with_id("worker-7")?);
    /// # Ok::<(), countersign::Error>(())
    /// ```
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self {
            prologue: Prologue::EMPTY,
            key,
        }
    }

    /// Names the service that this client means to reach: 0 to 255 octets, empty by default.
    ///
    /// A server under another name denies it; [`Prologue::new`] says when that matters.
    ///
    /// # Errors
    ///
    /// [`InvalidInput::ServiceTooLong`].
    ///
    /// ```
    /// # use countersign::{Client, Key, generate_secret};
    /// # let key = Key::new(generate_secret()?)?;
    /// assert!(Client::new(key).service([b'x'; 256]).is_err());
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn service(self, name: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        Ok(Self {
            prologue: self.prologue.service(name)?,
            ..self
        })
    }

    /// The same client for one connection, bound to the channel under it.
    ///
    /// A binding belongs to one connection: on another the handshake is denied.
    ///
    /// ```
    /// # use countersign::{Binding, Client, Key, generate_secret};
    /// # let client = Client::new(Key::new(generate_secret()?)?);
    /// # let exported = [7; 32];
    /// let bound = client.bound(&Binding::tls_exporter(&exported));
    /// # Ok::<(), countersign::Error>(())
    /// ```
    #[must_use]
    pub fn bound(&self, binding: &Binding) -> Self {
        Self {
            prologue: self.prologue.bound(binding),
            key: self.key.clone(),
        }
    }
}

/// A server and its options; one serves many connections.
///
/// ```no_run
/// use countersign::{Deadline, Key, Server};
/// use std::{net::TcpListener, time::Duration};
///
/// let server = Server::new(Key::from_file("secret.key")?).service("billing/2")?;
/// let (stream, _) = TcpListener::bind("127.0.0.1:7000")?.accept()?;
/// let session = server.authenticate(&mut Deadline::new(&stream, Duration::from_secs(5))?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Server<K> {
    pub(crate) config: server::Config,
    pub(crate) keys: K,
}

impl<K: Keys> Server<K> {
    /// A server that accepts the clients whose keys are in `keys`.
    ///
    /// ```
    /// # use countersign::{Key, Server, generate_secret};
    /// let server = Server::new(Key::new(generate_secret()?)?);
    /// # Ok::<(), countersign::Error>(())
    /// ```
    #[must_use]
    pub fn new(keys: K) -> Self {
        Self {
            config: server::Config::new(Prologue::EMPTY),
            keys,
        }
    }

    /// Names the service that this server is: 0 to 255 octets, empty by default.
    ///
    /// A client that means another is denied; [`Prologue::new`] says when that matters.
    ///
    /// # Errors
    ///
    /// [`InvalidInput::ServiceTooLong`].
    ///
    /// ```
    /// # use countersign::{Key, Server, generate_secret};
    /// # let key = Key::new(generate_secret()?)?;
    /// assert!(Server::new(key).service([b'x'; 256]).is_err());
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn service(self, name: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        Ok(Self {
            config: self.config.service(name)?,
            ..self
        })
    }

    /// The same server for one connection, bound to the channel under it.
    ///
    /// A binding belongs to one connection: on another the handshake is denied.
    ///
    /// ```
    /// # use countersign::{Binding, Key, Server, generate_secret};
    /// # let server = Server::new(Key::new(generate_secret()?)?);
    /// # let exported = [7; 32];
    /// let bound = server.bound(&Binding::tls_exporter(&exported));
    /// # Ok::<(), countersign::Error>(())
    /// ```
    #[must_use]
    pub fn bound(&self, binding: &Binding) -> Server<&K> {
        Server {
            config: self.config.bound(binding),
            keys: &self.keys,
        }
    }
}

/// The options alone: the keys may be many.
impl<K> fmt::Debug for Server<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// What `server_authenticate` brings to each handshake: made once, since keying the dummy costs
/// nearly as much as a proof.
pub(crate) static NO_OPTIONS: LazyLock<server::Config> =
    LazyLock::new(|| server::Config::new(Prologue::EMPTY));
