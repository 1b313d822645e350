//! The drivers over blocking streams: they move octets and decide nothing.

use core::time::Duration;
use std::io::{Read, Write};

use rand::TryCryptoRng;
use rand::rngs::SysRng;

use crate::deadline::{Deadline, Timeouts};
use crate::driver::{flushed, received, sent};
use crate::endpoint::{Client, NO_OPTIONS, Server};
use crate::error::{Error, Phase};
#[cfg(feature = "multiprocessing")]
use crate::handshake::InvalidInput;
use crate::handshake::{
    Flight, Key, Mode, Progress, Prologue, Receive, Session, Transcript, client, server,
};
use crate::keys::Keys;
use crate::protected::Protected;

/// Authenticates this end as the client of a server that holds the same key, and the server to
/// it.
///
/// After success the stream stands at the first octet of the application. Send nothing on it
/// before. For a service name or a channel binding use [`Client`].
///
/// It sets no deadline: a silent peer blocks it for as long as the stream does. Over a socket,
/// wrap that in a [`Deadline`](crate::Deadline).
///
/// # Errors
///
/// Every [`Error`] but those of key files. The stream is then to be dropped.
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
/// let session = client_authenticate(&mut Deadline::new(&stream, Duration::from_secs(5))?, &key)?;
/// # server.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn client_authenticate<S>(stream: &mut S, key: &Key) -> Result<Session, Error>
where
    S: Read + Write + ?Sized,
{
    let mode = Mode::Authenticate;
    run_client(stream, &Prologue::EMPTY, mode, key, &mut SysRng)
}

/// Authenticates this end as the server of a client whose key is in `keys`, and the client to
/// it.
///
/// After success the stream stands at the first octet of the application. For a service name
/// or a channel binding use [`Server`].
///
/// It sets no deadline: a silent peer blocks it for as long as the stream does. Over a socket,
/// wrap that in a [`Deadline`](crate::Deadline).
///
/// # Errors
///
/// Every [`Error`] but those of key files. The stream is then to be dropped.
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
/// let session = server_authenticate(&mut Deadline::new(&stream, Duration::from_secs(5))?, &key)?;
/// assert_eq!(session.key_id(), "worker-7");
/// # client.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn server_authenticate<S, K>(stream: &mut S, keys: &K) -> Result<Session, Error>
where
    S: Read + Write + ?Sized,
    K: Keys + ?Sized,
{
    run_server(stream, &NO_OPTIONS, Mode::Authenticate, keys, &mut SysRng)
}

impl Client {
    /// [`client_authenticate`] with the options of this client.
    ///
    /// # Errors
    ///
    /// Those of [`client_authenticate`].
    ///
    /// ```no_run
    /// # use countersign::{Client, Key};
    /// # use std::net::TcpStream;
    /// # let client = Client::new(Key::from_file("secret.key")?);
    /// let mut stream = TcpStream::connect("127.0.0.1:7000")?;
    /// let session = client.authenticate(&mut stream)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn authenticate<S>(&self, stream: &mut S) -> Result<Session, Error>
    where
        S: Read + Write + ?Sized,
    {
        self.run(stream, Mode::Authenticate)
    }

    /// [`authenticate`](Self::authenticate) over a [`Deadline`] of so much time.
    ///
    /// # Errors
    ///
    /// Those of [`client_authenticate`]; [`Error::TimedOut`] once the time is over.
    ///
    /// ```no_run
    /// # use countersign::{Client, Key};
    /// # use std::{net::TcpStream, time::Duration};
    /// # let client = Client::new(Key::from_file("secret.key")?);
    /// let stream = TcpStream::connect("127.0.0.1:7000")?;
    /// let session = client.authenticate_within(&stream, Duration::from_secs(5))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn authenticate_within<S>(&self, socket: &S, time: Duration) -> Result<Session, Error>
    where
        S: Timeouts,
        for<'s> &'s S: Read + Write,
    {
        self.run_within(socket, Mode::Authenticate, time)
    }

    /// Authenticates in mode 1, and protects what follows.
    ///
    /// Like [`authenticate`](Self::authenticate) it sets no deadline. The server is to do the
    /// same: each end refuses the other's mode.
    ///
    /// # Errors
    ///
    /// Those of [`client_authenticate`]. The stream is then dropped.
    ///
    /// ```no_run
    /// # use countersign::{Client, Key};
    /// # use std::{io::Write, net::TcpStream};
    /// # let client = Client::new(Key::from_file("secret.key")?);
    /// let mut stream = client.protect(TcpStream::connect("127.0.0.1:7000")?)?;
    /// stream.write_all(b"hello")?;
    /// stream.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn protect<S>(&self, mut stream: S) -> Result<Protected<S>, Error>
    where
        S: Read + Write,
    {
        let session = self.run(&mut stream, Mode::Protect)?;
        Ok(Protected::new(stream, session))
    }

    /// [`protect`](Self::protect) with so much time for the handshake, and none of it for what
    /// follows.
    ///
    /// # Errors
    ///
    /// Those of [`client_authenticate`]; [`Error::TimedOut`] once the time is over. The socket
    /// is then dropped.
    ///
    /// ```no_run
    /// # use countersign::{Client, Key};
    /// # use std::{net::TcpStream, time::Duration};
    /// # let client = Client::new(Key::from_file("secret.key")?);
    /// let socket = TcpStream::connect("127.0.0.1:7000")?;
    /// let stream = client.protect_within(socket, Duration::from_secs(5))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn protect_within<S>(&self, socket: S, time: Duration) -> Result<Protected<S>, Error>
    where
        S: Timeouts,
        for<'s> &'s S: Read + Write,
    {
        let session = self.run_within(&socket, Mode::Protect, time)?;
        Ok(Protected::new(socket, session))
    }

    fn run_within<S>(&self, socket: &S, mode: Mode, time: Duration) -> Result<Session, Error>
    where
        S: Timeouts,
        for<'s> &'s S: Read + Write,
    {
        let phase = Phase::Awaiting(Flight::Challenge);
        self.run(&mut deadline(socket, time, phase)?, mode)
    }

    fn run<S>(&self, stream: &mut S, mode: Mode) -> Result<Session, Error>
    where
        S: Read + Write + ?Sized,
    {
        run_client(stream, &self.prologue, mode, &self.key, &mut SysRng)
    }
}

impl<K: Keys> Server<K> {
    /// [`server_authenticate`] with the options of this server.
    ///
    /// # Errors
    ///
    /// Those of [`server_authenticate`].
    ///
    /// ```no_run
    /// # use countersign::{Key, Server};
    /// # use std::net::TcpListener;
    /// # let server = Server::new(Key::from_file("secret.key")?);
    /// let (mut stream, _) = TcpListener::bind("127.0.0.1:7000")?.accept()?;
    /// let session = server.authenticate(&mut stream)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn authenticate<S>(&self, stream: &mut S) -> Result<Session, Error>
    where
        S: Read + Write + ?Sized,
    {
        self.run(stream, Mode::Authenticate)
    }

    /// [`authenticate`](Self::authenticate) over a [`Deadline`] of so much time.
    ///
    /// # Errors
    ///
    /// Those of [`server_authenticate`]; [`Error::TimedOut`] once the time is over.
    ///
    /// ```no_run
    /// # use countersign::{Key, Server};
    /// # use std::{net::TcpListener, time::Duration};
    /// # let server = Server::new(Key::from_file("secret.key")?);
    /// let (stream, _) = TcpListener::bind("127.0.0.1:7000")?.accept()?;
    /// let session = server.authenticate_within(&stream, Duration::from_secs(5))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn authenticate_within<S>(&self, socket: &S, time: Duration) -> Result<Session, Error>
    where
        S: Timeouts,
        for<'s> &'s S: Read + Write,
    {
        self.run_within(socket, Mode::Authenticate, time)
    }

    /// Authenticates in mode 1, and protects what follows.
    ///
    /// Like [`authenticate`](Self::authenticate) it sets no deadline. The client is to do the
    /// same: each end refuses the other's mode.
    ///
    /// # Errors
    ///
    /// Those of [`server_authenticate`]. The stream is then dropped.
    ///
    /// ```no_run
    /// # use countersign::{Key, Server};
    /// # use std::{io::Read, net::TcpListener};
    /// # let server = Server::new(Key::from_file("secret.key")?);
    /// let mut stream = server.protect(TcpListener::bind("127.0.0.1:7000")?.accept()?.0)?;
    /// let mut received = String::new();
    /// stream.read_to_string(&mut received)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn protect<S>(&self, mut stream: S) -> Result<Protected<S>, Error>
    where
        S: Read + Write,
    {
        let session = self.run(&mut stream, Mode::Protect)?;
        Ok(Protected::new(stream, session))
    }

    /// [`protect`](Self::protect) with so much time for the handshake, and none of it for what
    /// follows.
    ///
    /// # Errors
    ///
    /// Those of [`server_authenticate`]; [`Error::TimedOut`] once the time is over. The socket
    /// is then dropped.
    ///
    /// ```no_run
    /// # use countersign::{Key, Server};
    /// # use std::{net::TcpListener, time::Duration};
    /// # let server = Server::new(Key::from_file("secret.key")?);
    /// let (socket, _) = TcpListener::bind("127.0.0.1:7000")?.accept()?;
    /// let stream = server.protect_within(socket, Duration::from_secs(5))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn protect_within<S>(&self, socket: S, time: Duration) -> Result<Protected<S>, Error>
    where
        S: Timeouts,
        for<'s> &'s S: Read + Write,
    {
        let session = self.run_within(&socket, Mode::Protect, time)?;
        Ok(Protected::new(socket, session))
    }

    pub(crate) fn run_within<S>(
        &self,
        socket: &S,
        mode: Mode,
        time: Duration,
    ) -> Result<Session, Error>
    where
        S: Timeouts,
        for<'s> &'s S: Read + Write,
    {
        let phase = Phase::Sending(Flight::Challenge);
        self.run(&mut deadline(socket, time, phase)?, mode)
    }

    fn run<S>(&self, stream: &mut S, mode: Mode) -> Result<Session, Error>
    where
        S: Read + Write + ?Sized,
    {
        run_server(stream, &self.config, mode, &self.keys, &mut SysRng)
    }
}

fn deadline<S: Timeouts>(
    socket: &S,
    time: Duration,
    phase: Phase,
) -> Result<Deadline<'_, S>, Error> {
    Deadline::new(socket, time).map_err(|error| Error::transport(phase, error))
}

fn run_client<S, R>(
    stream: &mut S,
    prologue: &Prologue,
    mode: Mode,
    key: &Key,
    rng: &mut R,
) -> Result<Session, Error>
where
    S: Read + Write + ?Sized,
    R: TryCryptoRng + ?Sized,
{
    let mut transcript = Transcript::new();
    let await_challenge = client::start(&mut transcript, prologue, mode, key, rng)?;
    let (response, await_verdict) = receive(stream, await_challenge)?;
    send(stream, Flight::Response, response.as_ref())?;
    receive(stream, await_verdict)
}

fn run_server<S, K, R>(
    stream: &mut S,
    config: &server::Config,
    mode: Mode,
    keys: &K,
    rng: &mut R,
) -> Result<Session, Error>
where
    S: Read + Write + ?Sized,
    K: Keys + ?Sized,
    R: TryCryptoRng + ?Sized,
{
    let mut transcript = Transcript::new();
    let (challenge, await_response) = config.start(&mut transcript, mode, rng)?;
    send(stream, Flight::Challenge, challenge.as_ref())?;
    let identified = receive(stream, await_response)?;
    let key = keys.find(identified.key_id().as_bytes());
    let (verdict, outcome) = identified.verify(key.as_deref());
    let sent = send(stream, Flight::Verdict, verdict.as_ref());
    // Why a client was refused says more than that it did not stay to hear so.
    let session = outcome?;
    sent?;
    Ok(session)
}

pub(crate) fn receive<S, R>(stream: &mut S, mut state: R) -> Result<R::Next, Error>
where
    S: Read + ?Sized,
    R: Receive,
{
    let phase = Phase::Awaiting(R::FLIGHT);
    loop {
        let n = received(phase, stream.read(state.space()))?;
        match state.advance(n)? {
            Progress::More(same) => state = same,
            Progress::Done(next) => return Ok(next),
        }
    }
}

/// Reads so many octets, for a wire whose messages say how many there are.
#[cfg(feature = "multiprocessing")]
pub(crate) fn fill<S>(stream: &mut S, phase: Phase, mut buf: &mut [u8]) -> Result<(), Error>
where
    S: Read + ?Sized,
{
    while !buf.is_empty() {
        let len = received(phase, stream.read(buf))?;
        let room = buf.len();
        buf = (buf.get_mut(len..)).ok_or(InvalidInput::Overrun { room, len })?;
    }
    Ok(())
}

/// One write and one flush, as far as the stream lets it be one.
pub(crate) fn send<S>(stream: &mut S, flight: Flight, mut octets: &[u8]) -> Result<(), Error>
where
    S: Write + ?Sized,
{
    let phase = Phase::Sending(flight);
    while !octets.is_empty() {
        octets = sent(phase, octets, stream.write(octets))?;
    }
    while !flushed(phase, stream.flush())? {}
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

    /// How often it was called.
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
        let key = Key::new("0123456789abcdef")?;
        let (prologue, mode) = (Prologue::EMPTY, Mode::Authenticate);
        let mut stream = Calls::default();

        let client = run_client(&mut stream, &prologue, mode, &key, &mut NoEntropy);
        assert!(matches!(client, Err(Error::NoRandomness)), "{client:?}");
        let config = server::Config::new(prologue);
        let server = run_server(&mut stream, &config, mode, &key, &mut NoEntropy);
        assert!(matches!(server, Err(Error::NoRandomness)), "{server:?}");
        assert_eq!(stream.0, 0);
        Ok(())
    }
}
