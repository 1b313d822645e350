//! Helpers of the bodies. They allocate nothing, so that every allocation counted is the crate's.

use std::convert::Infallible;
use std::fmt::{self, Write as _};
use std::io::{self, Read, Write};

use allocation_counter::measure;
#[cfg(feature = "encrypt")]
use countersign::Encrypted;
#[cfg(feature = "encrypt")]
use countersign::handshake::Encrypt;
use countersign::handshake::server::{self, Dummy};
use countersign::handshake::{
    self, Incompatible, Message, Mode, Progress, Prologue, Protect, Receive, Transcript,
    TryCryptoRng, TryRng, client,
};
#[cfg(feature = "encrypt")]
use countersign::record::Encryption;
use countersign::record::{Integrity, Protection, Records};
use countersign::{Error, Hint, Key, Protected, Secured, Server, Session};

/// Runs a body and asserts that it frees what it allocates.
pub fn run(body: fn(&[u8]), bytes: &[u8]) {
    let leaked = || measure(|| body(bytes)).bytes_current;
    // The first secured streams of a thread leave it their buffers, for the next ones.
    assert!(leaked() == 0 || leaked() == 0, "leaked bytes");
}

/// Returns what `routine` returns, and asserts that it allocates nothing.
pub fn without_allocating<T>(routine: impl FnOnce() -> T) -> T {
    let (value, allocations) = counting_allocations(routine);
    assert_eq!(allocations, 0, "allocations");
    value
}

/// Returns what `routine` returns, and how often it allocates.
pub fn counting_allocations<T>(routine: impl FnOnce() -> T) -> (T, u64) {
    let mut value = None;
    let info = measure(|| value = Some(routine()));
    (value.unwrap(), info.count_total)
}

/// Returns a key with this key id, whose secret depends on `name`.
pub fn key(name: &str, id: &str) -> Key {
    let mut secret = [b'*'; 32];
    secret[..name.len()].copy_from_slice(name.as_bytes());
    Key::new(secret).unwrap().with_id(id).unwrap()
}

/// A generator that depends on every byte of an input.
///
/// An input that differs in one byte has other nonces and therefore another right proof. So the
/// fuzzer cannot approach a proof byte by byte, and an input means the same each time.
pub struct Draws(u64);

impl Draws {
    pub fn of(input: &[u8]) -> Self {
        // FNV-1a, which is the same on every platform.
        let fold =
            |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Self(input.iter().fold(0xcbf2_9ce4_8422_2325, fold))
    }

    /// Returns another generator, which depends on the same input.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// Returns a number below `end`, which is small.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    /// Returns the next number of `splitmix64`.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("a nonce is generated in one piece")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("a nonce is generated in one piece")
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for chunk in dst.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Draws {}

/// A generator of a server whose client has not proved anything.
pub struct Unused;

impl TryRng for Unused {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("random bytes for a stranger")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("random bytes for a stranger")
    }

    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Infallible> {
        unreachable!("random bytes for a stranger")
    }
}

impl TryCryptoRng for Unused {}

/// The options of an input, which are its first byte.
#[derive(Clone, Copy)]
pub struct Options(u8);

impl Options {
    /// Splits an input into its options and the rest.
    pub fn split(input: &[u8]) -> Option<(Self, &[u8])> {
        let (&byte, rest) = input.split_first()?;
        Some((Self(byte), rest))
    }

    /// Returns how many bytes arrive at once, at most.
    pub fn piece(self) -> usize {
        [usize::MAX, 1, 7, 64][usize::from(self.0 & 3)]
    }

    /// Returns whether the peer, after the input, sends back what it received.
    pub fn echoes(self) -> bool {
        self.bit(2)
    }

    /// Returns one of the bits 3 to 6, which each body defines.
    pub fn bit(self, n: u8) -> bool {
        self.0 >> n & 1 != 0
    }

    /// Returns the number of the mode: 2 if bit 7 is set, and bit 3 otherwise. Without feature
    /// `encrypt` it is always bit 3.
    pub fn mode(self) -> u8 {
        if cfg!(feature = "encrypt") && self.bit(7) {
            2
        } else {
            self.bit(3).into()
        }
    }
}

/// Feeds `bytes` to a state, at most `piece` at a time, until its message is whole or there are no
/// more. Removes from `bytes` what the state took, even if the state fails.
pub fn feed<R: Receive>(
    mut state: R,
    bytes: &mut &[u8],
    piece: usize,
) -> Result<Progress<R>, R::Error> {
    loop {
        let space = state.space();
        assert!(!space.is_empty(), "a state that waits has space");
        let n = space.len().min(piece);
        let n = bytes.read(&mut space[..n]).unwrap();
        if n == 0 {
            return Ok(Progress::More(state));
        }
        match state.advance(n)? {
            Progress::More(same) => state = same,
            done @ Progress::Done(_) => return Ok(done),
        }
    }
}

/// Feeds a whole and acceptable message to a state.
pub fn deliver<R: Receive>(state: R, mut message: &[u8]) -> R::Next {
    let awaited = state.message();
    match state.read::<R::Error>(|space| Ok(message.read(space).unwrap())) {
        Ok(next) if message.is_empty() => next,
        _ => panic!("{awaited} was not taken whole"),
    }
}

/// A mode with records after the handshake.
pub trait Recorded: Mode<Established = (Session, Records<Self::Protection>)> {
    type Protection: Protection;

    /// Runs the server's verb of this mode.
    fn secure<S: Read + Write>(
        server: &Server<Key>,
        stream: S,
    ) -> Result<Secured<S, Self::Protection>, Error>;
}

impl Recorded for Protect {
    type Protection = Integrity;

    fn secure<S: Read + Write>(server: &Server<Key>, stream: S) -> Result<Protected<S>, Error> {
        server.protect(stream)
    }
}

#[cfg(feature = "encrypt")]
impl Recorded for Encrypt {
    type Protection = Encryption;

    fn secure<S: Read + Write>(server: &Server<Key>, stream: S) -> Result<Encrypted<S>, Error> {
        server.encrypt(stream)
    }
}

/// Returns the records of client and server after an honest handshake.
pub fn records<M: Recorded>(mode: M, key: &Key, draws: &mut Draws) -> [Records<M::Protection>; 2] {
    let (prologue, dummy, transcript) = (Prologue::EMPTY, Dummy::new(), Transcript::new);
    let started = server::start(transcript(), dummy, &prologue, mode, draws);
    let (f1, at_server) = started.unwrap();
    let at_client = client::start(transcript(), key, &prologue, mode, draws).unwrap();
    let at_client = deliver(at_client, f1.as_ref());
    let (f3, server) = deliver(at_server, at_client.response())
        .verify(Some(key), draws)
        .unwrap();
    let (_, client) = deliver(at_client, f3.as_ref());
    let (_, server) = server.unwrap();
    [client, server]
}

/// Returns the length of F3 in this mode.
pub fn verdict_len(mode: u8) -> usize {
    if mode == 2 { 65 } else { 33 }
}

/// Returns the offset of the first wrong byte of the header, by section 6.1 of the protocol.
pub fn fault(message: &[u8], role: u8, mode: u8) -> Option<usize> {
    let header = [b'C', b'S', b'I', b'G', b'N', b'1', role, mode];
    message.iter().zip(&header).position(|(a, b)| a != b)
}

/// Asserts that the error is about the byte at this offset.
pub fn assert_is_about(incompatible: Incompatible, at: usize, message: &[u8]) {
    let reported = match incompatible {
        Incompatible::Foreign { beginning, .. } => {
            // As much as had come by then, in the first place of which there was none.
            let come = beginning.iter().flatten().count();
            assert!(at < 5 && come >= 4.min(at + 1), "{incompatible:?}");
            let begins = (beginning.iter().flatten()).eq(&message[..come]);
            assert!(begins && beginning[come..].iter().all(Option::is_none));
            return;
        }
        Incompatible::Version(byte) => (5, byte),
        Incompatible::Role(byte) => (6, byte),
        Incompatible::Mode { theirs, .. } => (7, theirs),
        Incompatible::KeyIdLength(len) => (8, len),
        _ => panic!("{incompatible:?} for the byte at {at}"),
    };
    assert_eq!(reported, (at, message[at]), "{incompatible:?}");
}

/// Asserts that the error is one line for a log, and that its hint names what a stranger speaks.
pub fn assert_is_told(error: &Error, received: &[u8]) {
    write!(OneLine, "{error}").unwrap();
    let Error::Handshake(handshake::Error::Incompatible(Incompatible::Foreign {
        awaiting, ..
    })) = *error
    else {
        assert_eq!(error.hint(), None);
        return;
    };
    let at_client = awaiting == Message::CHALLENGE;
    let begins = |texts: &[&str]| {
        let beginning = &received[..received.len().min(4)];
        texts
            .iter()
            .any(|text| text.as_bytes().starts_with(beginning))
    };
    let is_proxy = begins(&["PROXY", "\r\n\r\n"]);
    let is_http = begins(&[
        "GET ", "HEAD", "POST", "PUT ", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI *",
        "HTTP",
    ]);
    assert_eq!(
        error.hint(),
        match received {
            _ if is_http && is_proxy => None,
            _ if is_http => Some(Hint::Http),
            _ if is_proxy => Some(Hint::Proxy),
            _ if begins(&["SSH-"]) => Some(Hint::Ssh),
            [0x15 | 0x16] | [0x15 | 0x16, 3] | [0x15 | 0x16, 3, 0..=4, ..] => Some(Hint::Tls),
            [0] | [0, 0] | [0, 0, 0] | [0, 0, 0, 31..=255, ..] if at_client => {
                Some(Hint::Multiprocessing)
            }
            _ => None,
        }
    );
}

/// Accepts only text for one line of a log. It allocates nothing.
pub struct OneLine;

impl fmt::Write for OneLine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        Ok(())
    }
}

/// A stream from a peer that sends fixed bytes, and then perhaps echoes.
pub struct Wire<'a> {
    says: &'a [u8],
    options: Options,
    read: Log,
    written: Log,
    echoed: usize,
}

impl<'a> Wire<'a> {
    pub fn new(says: &'a [u8], options: Options) -> Self {
        Self {
            says,
            options,
            read: Log::EMPTY,
            written: Log::EMPTY,
            echoed: 0,
        }
    }

    /// Returns everything that was read.
    pub fn read(&self) -> &[u8] {
        self.read.bytes()
    }

    /// Returns everything that was written.
    pub fn written(&self) -> &[u8] {
        self.written.bytes()
    }
}

impl Read for Wire<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let room = buf.len().min(self.options.piece());
        let mut n = self.says.read(&mut buf[..room])?;
        if n == 0 && self.options.echoes() {
            n = (&self.written.bytes()[self.echoed..]).read(&mut buf[..room])?;
            self.echoed += n;
        }
        self.read.append(&buf[..n]);
        Ok(n)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.written.append(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Has space for more bytes than any handshake sends in one direction.
struct Log {
    bytes: [u8; 2048],
    len: usize,
}

impl Log {
    const EMPTY: Self = Self {
        bytes: [0; 2048],
        len: 0,
    };

    fn append(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
