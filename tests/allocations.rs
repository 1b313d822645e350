//! A handshake allocates nothing on the heap, but for the error of a client that is denied. The
//! records after it allocate nothing once the thread has its buffers.
//!
//! The counter counts what the calling thread allocates, so other tests may run at the same time.

mod streams;

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::iter;

use allocation_counter::measure;
use countersign::handshake::client::{self, AwaitChallenge};
use countersign::handshake::server::{self, AwaitResponse, Dummy};
use countersign::handshake::{self, Authenticate, Mode, Prologue, Protect, Transcript};
use countersign::record::{OVERHEAD, Opened, PAYLOAD_MAX, Protection, Records};
use countersign::{Key, Session, client_authenticate, server_authenticate};

use crate::failures::{is_denied, refusal};
use crate::support::{Draws, NoEntropy, Pair, deliver, in_every_mode, key};

/// Returns what `routine` returns, and asserts that it did not allocate.
fn without_allocating<T>(routine: impl FnOnce() -> T) -> T {
    allocating(0, routine)
}

/// Returns what `routine` returns, and asserts how many times it allocated.
fn allocating<T>(times: u64, routine: impl FnOnce() -> T) -> T {
    let mut value = None;
    let info = measure(|| value = Some(routine()));
    assert_eq!(info.count_total, times, "allocations");
    value.unwrap()
}

#[test]
fn the_counter_sees_a_box() {
    let info = measure(|| drop(black_box(Box::new(1))));
    assert_eq!(info.count_total, 1);
}

#[test]
#[should_panic(expected = "allocations")]
fn a_routine_that_allocates_is_detected() {
    without_allocating(|| black_box(Box::new(1)));
}

/// What a handshake in a mode yields to an end.
type Outcome<M> = Result<<M as Mode>::Established, handshake::Error>;

/// A whole handshake without I/O, in which the server finds `found` for the client's key id.
fn handshake<M: Mode>(mode: M, key: &Key, found: Option<&Key>) -> [Outcome<M>; 2] {
    let prologue = Prologue::new("billing/2").unwrap();
    let dummy = Dummy::new();
    let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
    let rng = &mut Draws::from(0);
    let started = server::start(&mut servers, &dummy, &prologue, mode, rng);
    let (f1, await_response) = started.unwrap();
    let started = client::start(&mut clients, key, &prologue, mode, rng);
    let await_challenge = started.unwrap();
    let await_verdict = deliver(await_challenge, f1).unwrap();
    let identified = deliver(await_response, await_verdict.response()).unwrap();
    let (f3, servers_outcome) = identified.verify(found, rng).unwrap();
    [deliver(await_verdict, f3), servers_outcome]
}

#[test]
fn an_accepted_handshake_in_memory_allocates_nothing() {
    fn accepted<M: Mode>(mode: M) {
        let key = key("ours").with_id("worker-7").unwrap();
        let ends = without_allocating(|| handshake(mode, &key, Some(&key)));
        let [client, server] = ends.map(Result::unwrap);
        assert_eq!(M::session(&client).key_id(), M::session(&server).key_id());
    }

    in_every_mode!(accepted);
}

#[test]
fn a_denied_handshake_in_memory_allocates_nothing() {
    fn denied<M: Mode>(mode: M) {
        let (key, another) = (key("ours"), key("another"));
        for found in [None, Some(&another)] {
            let [client, server] = without_allocating(|| handshake(mode, &key, found));
            assert_eq!(client.unwrap_err(), handshake::Error::Denied);
            assert!(server.is_err());
        }
    }

    in_every_mode!(denied);
}

#[test]
fn making_a_key_and_an_export_allocates_nothing() {
    fn exported<M: Mode>(mode: M) {
        let secret = [*b"0123456789abcdef"; 5];
        let exported = without_allocating(|| {
            let key = Key::new(secret.as_flattened()).unwrap();
            let [client, _] = handshake(mode, &key, Some(&key));
            let client = client.unwrap();
            // The output has three blocks, and the last block is not whole.
            let mut exported = [0; 80];
            let session = M::session(&client);
            (session.export("example.org cookie", b"context", &mut exported)).unwrap();
            exported
        });
        assert_ne!(exported, [0; 80]);
    }

    in_every_mode!(exported);
}

/// What the peer at the other end of a stream has sent and is not read yet.
struct Said {
    bytes: [u8; 137],
    read: usize,
    len: usize,
}

impl Said {
    const NOTHING: Self = Self {
        bytes: [0; 137],
        read: 0,
        len: 0,
    };

    fn say(&mut self, bytes: &[u8]) {
        self.bytes[..bytes.len()].copy_from_slice(bytes);
        (self.read, self.len) = (0, bytes.len());
    }
}

impl Read for Said {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = (&self.bytes[self.read..self.len]).read(buf)?;
        self.read += n;
        Ok(n)
    }
}

/// A stream to an honest server, which is kept until it has its response.
struct ToServer<'a> {
    awaiting: Option<AwaitResponse<&'a mut Transcript, &'a Dummy, Authenticate>>,
    found: Option<&'a Key>,
    said: Said,
}

impl<'a> ToServer<'a> {
    fn new(transcript: &'a mut Transcript, dummy: &'a Dummy, found: Option<&'a Key>) -> Self {
        let (prologue, rng) = (Prologue::EMPTY, &mut Draws::from(0x50));
        let started = server::start(transcript, dummy, &prologue, Authenticate, rng);
        let (f1, await_response) = started.unwrap();
        let mut said = Said::NOTHING;
        said.say(f1.as_ref());
        Self {
            awaiting: Some(await_response),
            found,
            said,
        }
    }
}

impl Read for ToServer<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.said.read(buf)
    }
}

impl Write for ToServer<'_> {
    fn write(&mut self, f2: &[u8]) -> io::Result<usize> {
        let identified = deliver(self.awaiting.take().unwrap(), f2).unwrap();
        let (f3, _) = identified.verify(self.found, &mut NoEntropy).unwrap();
        self.said.say(f3.as_ref());
        Ok(f2.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream to an honest client, which is kept until it has its challenge.
struct ToClient<'a> {
    awaiting: Option<AwaitChallenge<&'a mut Transcript, &'a Key, Authenticate>>,
    said: Said,
}

impl<'a> ToClient<'a> {
    fn new(transcript: &'a mut Transcript, key: &'a Key) -> Self {
        let (prologue, rng) = (Prologue::EMPTY, &mut Draws::from(0xc0));
        let started = client::start(transcript, key, &prologue, Authenticate, rng);
        Self {
            awaiting: Some(started.unwrap()),
            said: Said::NOTHING,
        }
    }
}

impl Read for ToClient<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.said.read(buf)
    }
}

impl Write for ToClient<'_> {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        if let Some(await_challenge) = self.awaiting.take() {
            let await_verdict = deliver(await_challenge, message).unwrap();
            self.said.say(await_verdict.response());
        }
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_client_over_a_stream_allocates_nothing_but_the_error_of_a_denial() {
    let (key, another, dummy) = (key("ours"), key("another"), Dummy::new());
    let authenticate = |times, found| {
        let mut transcript = Transcript::new();
        allocating(times, || {
            let mut stream = ToServer::new(&mut transcript, &dummy, found);
            client_authenticate(&mut stream, &key)
        })
    };
    assert!(authenticate(0, Some(&key)).is_ok());
    for found in [None, Some(&another)] {
        let error = authenticate(1, found).unwrap_err();
        assert!(is_denied(&error), "{error}");
    }
}

#[test]
fn a_server_over_a_stream_allocates_nothing() {
    let (ours, another) = (key("ours"), key("another"));
    let unknown = key("ours").with_id("nobody").unwrap();
    let authenticate = |client| {
        let mut transcript = Transcript::new();
        let mut stream = ToClient::new(&mut transcript, client);
        without_allocating(|| server_authenticate(&mut stream, &ours))
    };
    assert!(authenticate(&ours).is_ok());
    for client in [&another, &unknown] {
        let error = authenticate(client).unwrap_err();
        assert!(refusal(&error).is_some(), "{error}");
    }
}

/// The lengths of the payloads.
const LENS: [usize; 3] = [1, 1_000, PAYLOAD_MAX];

#[test]
fn sealing_and_opening_allocate_nothing() {
    fn records<P: Protection>(mode: impl Mode<Established = (Session, Records<P>)>) {
        let ends = Pair::of(&key("ours")).establish(mode);
        let [mut client, mut server] = ends.map(|(_, records)| records);
        let mut record = vec![7; PAYLOAD_MAX + OVERHEAD];
        without_allocating(|| {
            let (sealer, opener) = (&mut client.sealer, &mut server.opener);
            // In mode 2 the last ones are of the next step.
            for len in iter::repeat_n(1, 1 << 16).chain(LENS) {
                let record = &mut record[..len + OVERHEAD];
                sealer.seal(record).unwrap();
                assert!(matches!(opener.open(record), Ok(Opened::Data(data)) if data.len() == len));
            }
            assert_eq!(opener.open(&mut sealer.close().unwrap()), Ok(Opened::Close));
            // A refusal allocates nothing either.
            assert!(sealer.seal(&mut record).is_err());
            assert!(opener.open(&mut record).is_err());
        });
    }

    records(Protect);
    #[cfg(feature = "encrypt")]
    records(handshake::Encrypt);
}
