//! The driver over tokio's streams: what the crate root has, with `await`.
//!
//! **Cancellation.** A handshake that is dropped half-way yields no session. Drop its stream too,
//! because part of a message may have been read or sent. [`Listener::accept`] loses nothing when it
//! is dropped.
//!
//! The verbs have no timeout unless their names say so. Those with a timeout and the listener need a
//! runtime whose time and I/O are enabled, as `#[tokio::main]` makes it. Without them tokio panics, and
//! the constructors of the listener return an error.

#![expect(
    clippy::manual_async_fn,
    reason = "an `async fn` has room for its arguments twice, and pending logins are many"
)]

mod connect;
pub mod cookbook;
mod endpoint;
mod listener;
mod look_up;
#[cfg(feature = "multiprocessing")]
pub mod multiprocessing;
mod secured;
mod source;
mod timeout;

use core::pin::pin;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use rand::rngs::SysRng;

use crate::endpoint::DUMMY;
use crate::error::{Error, Phase};
use crate::handshake::server::{self, Decision, Dummy, Identified};
use crate::handshake::{
    Authenticate, Message, Mode, Progress, Prologue, Receive, Session, Transcript, client,
};
use crate::key::Key;
use crate::keys::KeyLookup;

pub use self::connect::connect;
#[cfg(unix)]
pub use self::connect::connect_unix;
pub use self::endpoint::{Client, Server};
pub use self::listener::{Authenticated, Listener};
use self::look_up::awaited;
pub use self::look_up::{Awaiting, Lookup};
#[cfg(feature = "encrypt")]
pub use self::secured::Encrypted;
pub use self::secured::{Protected, ReadHalf, Secured, WriteHalf};
pub use self::source::Source;
use self::timeout::Timeout;

/// [`countersign::client_authenticate`](crate::client_authenticate) with `await`.
///
/// # Errors
///
/// Returns [`Error::Io`], [`Error::Closed`], [`Error::TimedOut`], [`Error::Handshake`] or, at a client,
/// [`Error::Denied`]. The stream must then be dropped.
///
/// ```
/// use countersign::{Key, generate_secret, tokio::{client_authenticate, server_authenticate}};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
/// let (mut near, mut far) = tokio::io::duplex(256);
/// # let key_of_the_server = key.clone();
/// let server = tokio::spawn(async move { server_authenticate(&mut far, &key_of_the_server).await });
/// client_authenticate(&mut near, &key).await?;
/// assert_eq!(server.await.unwrap()?.key_id(), "worker-7");
/// # Ok::<(), countersign::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn client_authenticate<S>(stream: &mut S, key: &Key) -> Result<Session, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let timeout = Timeout::NEVER;
    run_client(stream, key, &Prologue::EMPTY, Authenticate, timeout).await
}

/// [`countersign::server_authenticate`](crate::server_authenticate) with `await`.
///
/// # Errors
///
/// Returns [`Error::Io`], [`Error::Closed`], [`Error::TimedOut`], [`Error::Handshake`] or, at a client,
/// [`Error::Denied`]. The stream must then be dropped.
pub async fn server_authenticate<S, K>(stream: &mut S, keys: &K) -> Result<Session, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    K: KeyLookup + ?Sized,
{
    let timeout = Timeout::NEVER;
    run_server(
        stream,
        keys,
        &DUMMY,
        &Prologue::EMPTY,
        Authenticate,
        timeout,
    )
    .await
}

fn run_client<S, M>(
    stream: &mut S,
    key: &Key,
    prologue: &Prologue,
    mode: M,
    timeout: Timeout,
) -> impl Future<Output = Result<M::Established, Error>>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    M: Mode,
{
    async move {
        let mut transcript = Transcript::new();
        let await_challenge = client::start(&mut transcript, key, prologue, mode, &mut SysRng)?;
        let received = receive(stream, await_challenge, timeout).await;
        if (received.as_ref()).is_err_and(Error::is_of_mode_or_version) {
            // The server's log can then name what both ends want. If it does not arrive, the error
            // here is the same.
            let header = client::header(mode);
            let _ = send(stream, Message::RESPONSE, &header, timeout).await;
        }
        let await_verdict = received?;
        send(stream, Message::RESPONSE, await_verdict.response(), timeout).await?;
        let established = receive(stream, await_verdict, timeout).await;
        established.map_err(|error| error.or_denial(key.id(), prologue))
    }
}

fn run_server<S, K, M>(
    stream: &mut S,
    keys: &K,
    dummy: &Dummy,
    prologue: &Prologue,
    mode: M,
    timeout: Timeout,
) -> impl Future<Output = Result<M::Established, Error>>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    K: Lookup + ?Sized,
    M: Mode,
{
    async move {
        let mut transcript = Transcript::new();
        let (challenge, await_response) =
            server::start(&mut transcript, dummy, prologue, mode, &mut SysRng)?;
        send(stream, Message::CHALLENGE, challenge.as_ref(), timeout).await?;
        let identified = receive(stream, await_response, timeout).await?;
        let (verdict, outcome) = decide(identified, keys, timeout).await?;
        let sent = send(stream, Message::VERDICT, verdict.as_ref(), timeout).await;
        // Why a client was refused says more than that it did not wait for the verdict.
        let established = outcome?;
        sent?;
        Ok(established)
    }
}

fn decide<K, M>(
    identified: Identified<&mut Transcript, &Dummy, M>,
    keys: &K,
    timeout: Timeout,
) -> impl Future<Output = Result<Decision<M>, Error>>
where
    K: Lookup + ?Sized,
    M: Mode,
{
    async move {
        // A key is large, so none is kept while this waits.
        if let Some(key) = keys.find_later(identified.key_id()) {
            let key = awaited(key, timeout).await?;
            return Ok(identified.verify(key.as_ref(), &mut SysRng)?);
        }
        let key = keys.find_now(identified.key_id());
        Ok(identified.verify(key.as_deref(), &mut SysRng)?)
    }
}

fn receive<S, R>(
    stream: &mut S,
    mut state: R,
    timeout: Timeout,
) -> impl Future<Output = Result<R::Next, Error>>
where
    S: AsyncRead + Unpin + ?Sized,
    R: Receive,
    Error: From<R::Error>,
{
    let phase = Phase::Awaiting(state.message());
    async move {
        loop {
            let read = timeout
                .limit_poll(|cx| pin!(stream.read(state.space())).poll(cx))
                .await;
            let Some(n) = phase.received(read)? else {
                continue;
            };
            match state.advance(n)? {
                Progress::More(same) => state = same,
                Progress::Done(next) => return Ok(next),
            }
        }
    }
}

/// Sends a message in one write and one flush, if the stream takes it in one.
fn send<S>(
    stream: &mut S,
    message: Message,
    mut bytes: &[u8],
    timeout: Timeout,
) -> impl Future<Output = Result<(), Error>>
where
    S: AsyncWrite + Unpin + ?Sized,
{
    let phase = Phase::Sending(message);
    async move {
        while !bytes.is_empty() {
            let written = timeout
                .limit_poll(|cx| pin!(stream.write(bytes)).poll(cx))
                .await;
            bytes = phase.sent(bytes, written)?;
        }
        loop {
            let flushed = timeout.limit_poll(|cx| pin!(stream.flush()).poll(cx)).await;
            if phase.flushed(flushed)? {
                return Ok(());
            }
        }
    }
}
