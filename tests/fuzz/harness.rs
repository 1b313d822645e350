//! What the bodies share. It takes nothing from the heap, so that what is counted is the crate's.

use std::convert::Infallible;
use std::io::{self, Read, Write};

use allocation_counter::measure;
use countersign::handshake::{
    Error, Incompatible, Mode, Progress, Prologue, Receive, Transcript, TryCryptoRng, TryRng,
    client, server,
};
use countersign::{Key, Session};

/// Runs a body, and asserts that it gives back what it takes from the heap.
pub fn run(body: fn(&[u8]), octets: &[u8]) {
    let info = measure(|| body(octets));
    assert_eq!(info.bytes_current, 0, "octets that leak");
}

/// Gives what `routine` gives, and asserts that it takes nothing from the heap.
pub fn without_allocating<T>(routine: impl FnOnce() -> T) -> T {
    let mut value = None;
    let info = measure(|| value = Some(routine()));
    assert_eq!(info.count_total, 0, "allocations");
    value.unwrap()
}

/// A key with a secret that is a function of `name`, under this key id.
pub fn key(name: &str, id: &str) -> Key {
    let mut secret = [b'*'; 32];
    secret[..name.len()].copy_from_slice(name.as_bytes());
    Key::new(secret).unwrap().with_id(id).unwrap()
}

/// A generator whose draws depend on every octet of an input.
///
/// An input that differs in one octet has other nonces and so another right proof: no search
/// comes nearer to it octet by octet, and an input that was kept means the same each time.
pub struct Draws(u64);

impl Draws {
    pub fn of(input: &[u8]) -> Self {
        // FNV-1a, which is the same everywhere.
        let fold =
            |hash: u64, octet: &u8| (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3);
        Self(input.iter().fold(0xcbf2_9ce4_8422_2325, fold))
    }

    /// A number below `end`, which is small.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    /// One step of a counter through the finaliser of `splitmix64`.
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
        unreachable!("a nonce is drawn in one piece")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("a nonce is drawn in one piece")
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for chunk in dst.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Draws {}

/// How an input is run, by its first octet.
#[derive(Clone, Copy)]
pub struct Options(u8);

impl Options {
    /// The options of an input, and what comes behind them.
    pub fn split(input: &[u8]) -> Option<(Self, &[u8])> {
        let (&octet, rest) = input.split_first()?;
        Some((Self(octet), rest))
    }

    /// The most octets that arrive at once.
    pub fn piece(self) -> usize {
        [usize::MAX, 1, 7, 64][usize::from(self.0 & 3)]
    }

    /// Whether the peer, after all that it has to say, sends back what it was sent.
    pub fn echoes(self) -> bool {
        self.bit(2)
    }

    /// One of the bits 3 to 7, whose meaning is the body's.
    pub fn bit(self, n: u8) -> bool {
        self.0 >> n & 1 != 0
    }

    /// The mode, by bit 3.
    pub fn mode(self) -> Mode {
        mode(self.bit(3))
    }
}

pub fn mode(protects: bool) -> Mode {
    if protects {
        Mode::Protect
    } else {
        Mode::Authenticate
    }
}

/// How far a state came with the octets it was given.
pub enum Fed<'o, R: Receive> {
    Waiting(R),
    /// It went on, and left these octets untouched.
    Done(R::Next, &'o [u8]),
}

/// Feeds `octets` to a state, at most `piece` at a time.
pub fn feed<R: Receive>(
    mut state: R,
    mut octets: &[u8],
    piece: usize,
) -> Result<Fed<'_, R>, Error> {
    loop {
        let space = state.space();
        assert!(!space.is_empty(), "a state that waits has room");
        let n = space.len().min(octets.len()).min(piece);
        if n == 0 {
            return Ok(Fed::Waiting(state));
        }
        space[..n].copy_from_slice(&octets[..n]);
        octets = &octets[n..];
        match state.advance(n)? {
            Progress::More(same) => state = same,
            Progress::Done(next) => return Ok(Fed::Done(next, octets)),
        }
    }
}

/// Feeds a flight that is whole and acceptable.
pub fn deliver<R: Receive>(state: R, flight: &[u8]) -> R::Next {
    match feed(state, flight, usize::MAX) {
        Ok(Fed::Done(next, [])) => next,
        _ => panic!("{} was not taken whole", R::FLIGHT),
    }
}

/// The sessions of client and server after an honest handshake in mode 1.
pub fn sessions(key: &Key, draws: &mut Draws) -> [Session; 2] {
    let config = server::Config::new(Prologue::EMPTY);
    let (mut clients, mut servers, mode) = (Transcript::new(), Transcript::new(), Mode::Protect);
    let (f1, at_server) = config.start(&mut servers, mode, draws).unwrap();
    let at_client = client::start(&mut clients, &Prologue::EMPTY, mode, key, draws).unwrap();
    let (f2, at_client) = deliver(at_client, f1.as_ref());
    let (f3, server) = deliver(at_server, f2.as_ref()).verify(Some(key));
    [deliver(at_client, f3.as_ref()), server.unwrap()]
}

/// Where the octets of a flight are at fault, by section 6.1 of the protocol: the first of the
/// eight of its header that cannot belong.
pub fn fault(flight: &[u8], role: u8, mode: Mode) -> Option<usize> {
    let header = [b'C', b'S', b'I', b'G', b'N', b'1', role, mode as u8];
    flight.iter().zip(&header).position(|(a, b)| a != b)
}

/// Asserts that the error speaks of the octet at this offset.
pub fn assert_speaks_of(incompatible: Incompatible, at: usize, flight: &[u8]) {
    match (incompatible, at) {
        (Incompatible::Foreign { .. }, 0..=4) => {}
        (
            Incompatible::Version(octet)
            | Incompatible::Role(octet)
            | Incompatible::Mode { theirs: octet, .. }
            | Incompatible::KeyIdLength(octet),
            5..=8,
        ) => assert_eq!(octet, flight[at]),
        _ => panic!("{incompatible:?} for the octet at {at}"),
    }
    let offsets = match incompatible {
        Incompatible::Version(_) => 5..=5,
        Incompatible::Role(_) => 6..=6,
        Incompatible::Mode { .. } => 7..=7,
        Incompatible::KeyIdLength(_) => 8..=8,
        _ => 0..=4,
    };
    assert!(offsets.contains(&at), "{incompatible:?} at {at}");
}

/// A stream from a peer that says what it says whatever it hears, or echoes.
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

    /// Everything that was read.
    pub fn read(&self) -> &[u8] {
        self.read.octets()
    }

    /// Everything that was written.
    pub fn written(&self) -> &[u8] {
        self.written.octets()
    }
}

impl Read for Wire<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let room = buf.len().min(self.options.piece());
        let mut n = self.says.read(&mut buf[..room])?;
        if n == 0 && self.options.echoes() {
            n = (&self.written.octets()[self.echoed..]).read(&mut buf[..room])?;
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

/// More octets than any handshake has one way.
struct Log {
    octets: [u8; 2048],
    len: usize,
}

impl Log {
    const EMPTY: Self = Self {
        octets: [0; 2048],
        len: 0,
    };

    fn append(&mut self, octets: &[u8]) {
        let end = self.len + octets.len();
        self.octets[self.len..end].copy_from_slice(octets);
        self.len = end;
    }

    fn octets(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}
