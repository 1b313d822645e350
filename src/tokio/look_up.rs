//! Look-ups of keys that are awaited.

use core::future::Future;
use core::pin::Pin;
use std::borrow::Cow;
use std::boxed::Box;
use std::io;

use super::Server;
use super::timeout::Timeout;
use crate::error::{Error, Phase};
use crate::key::{Key, KeyId};
use crate::keys::KeyLookup;

/// A look-up of keys for a [`Server`]: every [`KeyLookup`], and [`Awaiting`]. It is sealed.
pub trait Lookup: Sealed {
    /// Returns what to await, or `None` if the key can be found at once.
    #[doc(hidden)]
    fn find_later(&self, id: &KeyId) -> Option<Found>;

    #[doc(hidden)]
    fn find_now(&self, id: &KeyId) -> Option<Cow<'_, Key>>;
}

#[doc(hidden)]
pub trait Sealed {}

type Found = Pin<Box<dyn Future<Output = io::Result<Option<Key>>> + Send>>;

impl<K: KeyLookup + ?Sized> Sealed for K {}

impl<K: KeyLookup + ?Sized> Lookup for K {
    fn find_later(&self, _: &KeyId) -> Option<Found> {
        None
    }

    fn find_now(&self, id: &KeyId) -> Option<Cow<'_, Key>> {
        self.find(id.as_bytes())
    }
}

/// A look-up of keys that is awaited, of [`Server::awaiting`].
pub struct Awaiting(Box<LookUp>);

type LookUp = dyn Fn(KeyId) -> Found + Send + Sync;

impl Sealed for Awaiting {}

impl Lookup for Awaiting {
    fn find_later(&self, id: &KeyId) -> Option<Found> {
        Some(self.0(*id))
    }

    fn find_now(&self, _: &KeyId) -> Option<Cow<'_, Key>> {
        None
    }
}

impl Server<Awaiting> {
    /// Makes a server that awaits the key of each client, from a database for instance.
    ///
    /// `look_up` is called with the key id that a client claims, which is the client's choice. It
    /// returns the key, or `None` if there is none, so that the client is denied. A slow look-up
    /// delays no other connection, and counts against the timeout or deadline of its own.
    ///
    /// If the look-up fails, the verbs return [`Error::Io`] with [`Phase::LookingUp`], and the
    /// connection ends without a verdict: its client can try again later.
    ///
    /// An unknown id should take as long as a known one, or its time tells them apart.
    ///
    /// ```
    /// use countersign::{Key, generate_secret, tokio::{Client, Server}};
    /// use std::time::Duration;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
    /// # let client = Client::new(key.clone());
    /// let server = Server::awaiting(move |id| {
    ///     let key = key.clone(); // or a handle to the database
    ///     async move {
    ///         tokio::time::sleep(Duration::from_millis(1)).await;
    ///         Ok((id == "worker-7").then_some(key))
    ///     }
    /// });
    /// # let (mut near, mut far) = tokio::io::duplex(256);
    /// # let client = tokio::spawn(async move { client.authenticate(&mut near).await });
    /// # let stream = &mut far;
    /// let session = server.authenticate_timeout(stream, Duration::from_secs(5)).await?;
    /// assert_eq!(session.key_id(), "worker-7");
    /// # client.await.unwrap()?;
    /// # Ok::<(), countersign::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn awaiting<L, F>(look_up: L) -> Self
    where
        L: Fn(KeyId) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<Option<Key>>> + Send + 'static,
    {
        Self::serving(Awaiting(Box::new(move |id| Box::pin(look_up(id)))))
    }
}

/// Awaits a key until the timeout. The errors of the look-up are no errors of the peer's stream.
pub(super) async fn awaited(
    key: impl Future<Output = io::Result<Option<Key>>>,
    timeout: Timeout,
) -> Result<Option<Key>, Error> {
    let phase = Phase::LookingUp;
    match timeout.limit(async { Ok(key.await) }).await {
        Ok(found) => found.map_err(|source| Error::Io { phase, source }),
        Err(_) => Err(Error::TimedOut(phase)),
    }
}

opaque_debug!(Awaiting {});
