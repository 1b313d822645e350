//! The driver over blocking streams. It moves bytes and decides nothing.

#[cfg(feature = "net")]
mod connect;
pub mod cookbook;
#[cfg(feature = "net")]
mod deadline;
mod endpoint;
#[cfg(feature = "net")]
mod listener;
#[cfg(feature = "multiprocessing")]
pub mod multiprocessing;
mod secured;
#[cfg(feature = "net")]
pub(crate) mod source;
#[cfg(feature = "net")]
mod timed;
#[cfg(all(unix, feature = "net"))]
pub(crate) mod unix_socket;

use std::io::{Read, Write};

use rand::TryCryptoRng;
use rand::rngs::SysRng;

use crate::endpoint::DUMMY;
use crate::error::{Error, Phase};
use crate::handshake::server::{self, Dummy};
use crate::handshake::{
    Authenticate, Message, Mode, Prologue, Receive, Session, Transcript, client,
};
use crate::key::Key;
use crate::keys::KeyLookup;

pub use self::endpoint::{Client, Server};
#[cfg(feature = "encrypt")]
pub use self::secured::Encrypted;
pub use self::secured::{Protected, ReadHalf, Secured, WriteHalf};
#[cfg(feature = "net")]
pub use self::{
    deadline::{Deadline, DeadlineHandle},
    listener::{Authenticated, Listener, bind_tcp},
    source::{Connection, Pause, Pending, Source},
    timed::Timed,
};

/// Authenticates this end as the client of a server that holds the same key, and the server to it.
///
/// After success the next byte read is application data. Send nothing on the stream before. For a
/// service or a channel binding use [`Client`].
///
/// This function has no timeout: it blocks for as long as the stream does. Wrap a socket in
/// [`Deadline`] to bound the whole handshake.
///
/// # Errors
///
/// Returns [`Error::Io`], [`Error::Closed`], [`Error::TimedOut`], [`Error::Handshake`] or, at a client,
/// [`Error::Denied`]. The stream must then be dropped.
///
/// ```
/// use countersign::{Deadline, Key, client_authenticate, generate_secret, server_authenticate};
/// use std::{net::{TcpListener, TcpStream}, thread, time::Duration};
///
/// let key = Key::new(generate_secret()?)?;
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// # let key_of_the_server = key.clone();
/// # let server = thread::spawn(move || {
/// #     let (mut stream, _) = listener.accept().unwrap();
/// #     server_authenticate(&mut stream, &key_of_the_server).unwrap()
/// # });
///
/// let stream = TcpStream::connect(address)?;
/// let session = client_authenticate(&mut Deadline::new(&stream, Duration::from_secs(5)), &key)?;
/// # server.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn client_authenticate<S>(stream: &mut S, key: &Key) -> Result<Session, Error>
where
    S: Read + Write + ?Sized,
{
    run_client(stream, key, &Prologue::EMPTY, Authenticate, &mut SysRng)
}

/// Authenticates this end as the server of a client whose key is in `keys`, and the client to it.
///
/// After success the next byte read is application data. For a service or a channel binding use
/// [`Server`].
///
/// This function has no timeout: it blocks for as long as the stream does. Wrap a socket in
/// [`Deadline`] to bound the whole handshake.
///
/// # Errors
///
/// Returns [`Error::Io`], [`Error::Closed`], [`Error::TimedOut`], [`Error::Handshake`] or, at a client,
/// [`Error::Denied`]. The stream must then be dropped.
///
/// ```
/// use countersign::{Deadline, Key, client_authenticate, generate_secret, server_authenticate};
/// use std::{net::{TcpListener, TcpStream}, thread, time::Duration};
///
/// let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let address = listener.local_addr()?;
/// # let key_of_the_client = key.clone();
/// # let client = thread::spawn(move || {
/// #     let mut stream = TcpStream::connect(address).unwrap();
/// #     client_authenticate(&mut stream, &key_of_the_client).unwrap()
/// # });
///
/// let (stream, _) = listener.accept()?;
/// let session = server_authenticate(&mut Deadline::new(&stream, Duration::from_secs(5)), &key)?;
/// assert_eq!(session.key_id(), "worker-7");
/// # client.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn server_authenticate<S, K>(stream: &mut S, keys: &K) -> Result<Session, Error>
where
    S: Read + Write + ?Sized,
    K: KeyLookup + ?Sized,
{
    run_server(
        stream,
        keys,
        &DUMMY,
        &Prologue::EMPTY,
        Authenticate,
        &mut SysRng,
    )
}

fn run_client<S, M, R>(
    stream: &mut S,
    key: &Key,
    prologue: &Prologue,
    mode: M,
    rng: &mut R,
) -> Result<M::Established, Error>
where
    S: Read + Write + ?Sized,
    M: Mode,
    R: TryCryptoRng + ?Sized,
{
    let mut transcript = Transcript::new();
    let await_challenge = client::start(&mut transcript, key, prologue, mode, rng)?;
    let await_verdict = match receive(stream, await_challenge) {
        Err(error) if error.is_of_mode_or_version() => {
            // The server's log can then name what both ends want. If it does not arrive, the error
            // here is the same.
            let _ = send(stream, Message::RESPONSE, &client::header(mode));
            return Err(error);
        }
        received => received?,
    };
    send(stream, Message::RESPONSE, await_verdict.response())?;
    receive(stream, await_verdict).map_err(|error| error.or_denial(key.id(), prologue))
}

fn run_server<S, K, M, R>(
    stream: &mut S,
    keys: &K,
    dummy: &Dummy,
    prologue: &Prologue,
    mode: M,
    rng: &mut R,
) -> Result<M::Established, Error>
where
    S: Read + Write + ?Sized,
    K: KeyLookup + ?Sized,
    M: Mode,
    R: TryCryptoRng + ?Sized,
{
    let mut transcript = Transcript::new();
    let (challenge, await_response) = server::start(&mut transcript, dummy, prologue, mode, rng)?;
    send(stream, Message::CHALLENGE, challenge.as_ref())?;
    let identified = receive(stream, await_response)?;
    let key = keys.find(identified.key_id().as_bytes());
    let (verdict, outcome) = identified.verify(key.as_deref(), rng)?;
    let sent = send(stream, Message::VERDICT, verdict.as_ref());
    // Why a client was refused says more than that it did not wait for the verdict.
    let established = outcome?;
    sent?;
    Ok(established)
}

fn receive<S, R>(stream: &mut S, state: R) -> Result<R::Next, Error>
where
    S: Read + ?Sized,
    R: Receive,
    Error: From<R::Error>,
{
    let phase = Phase::Awaiting(state.message());
    state.read(|space| {
        loop {
            if let Some(n) = phase.received(stream.read(space))? {
                return Ok(n);
            }
        }
    })
}

/// Sends a message in one write and one flush, if the stream takes it in one.
fn send<S>(stream: &mut S, message: Message, mut bytes: &[u8]) -> Result<(), Error>
where
    S: Write + ?Sized,
{
    let phase = Phase::Sending(message);
    while !bytes.is_empty() {
        bytes = phase.sent(bytes, stream.write(bytes))?;
    }
    while !phase.flushed(stream.flush())? {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use core::fmt;
    use std::io;

    use rand::TryRng;

    use super::*;

    /// A generator that fails, which the operating system's cannot be made to do.
    struct NoEntropy;

    impl TryRng for NoEntropy {
        type Error = fmt::Error;

        fn try_next_u32(&mut self) -> Result<u32, fmt::Error> {
            Err(fmt::Error)
        }

        fn try_next_u64(&mut self) -> Result<u64, fmt::Error> {
            Err(fmt::Error)
        }

        fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), fmt::Error> {
            Err(fmt::Error)
        }
    }

    impl TryCryptoRng for NoEntropy {}

    /// Counts the calls.
    #[derive(Default)]
    struct Calls(usize);

    impl Read for Calls {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            Ok(buf.len())
        }
    }

    impl Write for Calls {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0 += 1;
            Ok(buf.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0 += 1;
            Ok(())
        }
    }

    #[test]
    fn without_randomness_the_stream_is_not_touched() -> Result<(), Error> {
        use crate::handshake::Error::NoRandomness;

        let key = Key::new("0123456789abcdef")?;
        let (prologue, rng) = (Prologue::EMPTY, &mut NoEntropy);
        let mut stream = Calls::default();

        let client = run_client(&mut stream, &key, &prologue, Authenticate, rng);
        assert!(
            matches!(client, Err(Error::Handshake(NoRandomness))),
            "{client:?}"
        );
        let server = run_server(&mut stream, &key, &DUMMY, &prologue, Authenticate, rng);
        assert!(
            matches!(server, Err(Error::Handshake(NoRandomness))),
            "{server:?}"
        );
        assert_eq!(stream.0, 0);
        Ok(())
    }
}
