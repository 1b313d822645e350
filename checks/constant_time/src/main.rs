//! Checks that no branch and no address depends on a secret, apart from the declared bits.
//!
//! This program runs in valgrind's memcheck and marks each secret as uninitialised memory. The
//! marks follow the secret, bit by bit, through everything that is computed from it: the derived
//! keys, the expected tags, the session secret. Memcheck reports each conditional jump and each
//! address that depends on a mark. A message loses its marks when it is sent, because from then on
//! it is public.
//!
//! An answer that the program acts on is a branch, so there have to be reports. [`Bit`] names every
//! such answer. Each phase declares the bits that it needs, and the number of reports has to be the
//! same: fewer reports would mean that something was not marked. `run` compares the places of the
//! reports with the file `declared`.

mod leaky;
mod line;
mod memcheck;

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::thread;

use common::{Known, deliver};
use countersign::compat::{cookbook, multiprocessing};
use countersign::handshake::{
    self, Authenticate, Encrypt, Mode, Prologue, Protect, Refusal, Transcript,
};
use countersign::record::{self, OVERHEAD, Opened, PAYLOAD_MAX, Protection, Records};
use countersign::{Client, Key, Secret, Secured, Server, Session};
use rand::rngs::SysRng;
use rand::{TryCryptoRng, TryRng};

use line::Line;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if !memcheck::is_running() {
        println!("this does not run in valgrind: NOTHING WAS CHECKED");
        return Ok(ExitCode::FAILURE);
    }
    let argument = env::args().nth(1);
    match argument.as_deref() {
        None | Some("native") => (),
        Some("leaky-branch") => {
            black_box(leaky::branch(&expected_tag()?));
            return Ok(ExitCode::SUCCESS);
        }
        Some("leaky-index") => {
            black_box(leaky::index(&expected_tag()?));
            return Ok(ExitCode::SUCCESS);
        }
        Some(_) => return Err("there are only native, leaky-branch and leaky-index".into()),
    }

    let mut check = Check::default();
    // Valgrind emulates a processor without SHA extensions, and could not follow marks through them.
    let portable = !is_x86_feature_detected!("sha");
    check.require("a processor without SHA extensions", portable);
    let shown = if portable { "none" } else { "some" };
    println!("SHA extensions shown to this program: {shown}");
    let ends = Ends::new(&mut check)?;
    handshakes(&mut check, &ends, Authenticate)?;
    handshakes(&mut check, &ends, Protect)?;
    handshakes(&mut check, &ends, Encrypt)?;
    rotation(&mut check, &ends)?;
    sessions(&mut check, &ends, Protect, &PROTECTED)?;
    sessions(&mut check, &ends, Encrypt, &ENCRYPTED)?;
    step(&mut check, &ends)?;
    drivers(&mut check, &ends)?;
    if argument.is_none() {
        other_wires(&mut check)?;
    }
    Ok(check.finish())
}

/// A bit of a secret that may become public and that the crate acts on. The file `declared` says
/// where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bit {
    /// Whether all bytes of a secret are equal.
    ConstantSecret,
    /// Whether a client's proof is right.
    ClientsProof,
    /// Whether a client's proof is right under the second secret of its key id.
    SecondProof,
    /// Whether a server's proof is right.
    ServersProof,
    /// Whether the tag of a record is right.
    RecordsTag,
    /// Whether the tag of a record of mode 2 is right, before it is decrypted.
    EncryptedTag,
    /// Whether the result of a server's key exchange is all zeros.
    ServersZeros,
    /// Whether the result of a client's key exchange is all zeros.
    ClientsZeros,
    /// Whether all bytes of a secret of the recipe are zero.
    ZeroSecret,
    /// Whether a digest of the recipe is right. A right one is acted on twice: it is no error, and
    /// it is the whole message.
    RecipesDigest,
    /// Whether all bytes of an authkey of Python's are zero.
    ZeroAuthkey,
    /// Whether a digest of Python's is right.
    PythonsDigest,
    /// The same bit again: which of two messages the peer is sent.
    PythonsWelcome,
    /// The same bit again: whether there is a digest. The compiler keeps this in one byte with
    /// whether it is right.
    PythonsAnswer,
}

use Bit::{
    ClientsProof, ClientsZeros, ConstantSecret, EncryptedTag, PythonsAnswer, PythonsDigest,
    PythonsWelcome, RecipesDigest, RecordsTag, SecondProof, ServersProof, ServersZeros,
    ZeroAuthkey, ZeroSecret,
};

/// Both ends of a handshake, and another key. All keys are marked.
struct Ends {
    ends: common::Ends,
    another: Key,
}

impl Ends {
    fn new(check: &mut Check) -> Result<Self, Box<dyn Error>> {
        let secret = check.phase("Secret::generate", [], || Secret::generate(&mut Marked))?;
        check.marked("a secret drawn", secret.as_ref(), 64);
        let master = check.phase("Key::new", [ConstantSecret], || Key::new(&secret))?;
        check.marked_key(&master, KEYED_STATES);
        let child = check.phase("Key::child_secret", [], || master.child_secret(KEY_ID))?;
        check.marked("a child's secret", child.as_ref(), 64);
        let key = check.phase("Key::new", [ConstantSecret], || Key::new(&child))?;
        check.marked_key(&key, KEYED_STATES);
        check.phase("Key::fingerprint", [], || {
            black_box(key.fingerprint());
        });

        for len in [16, 17, 31, 32, 33, 63, 64, 65, 100, 1000] {
            let mut secret = vec![0; len];
            Marked.try_fill_bytes(&mut secret)?;
            check.phase("Key::new, of 16 to 1000 bytes", [ConstantSecret], || {
                Key::new(&secret)
            })?;
            secret.fill(b'x');
            memcheck::mark_undefined(&mut secret);
            let refused = check.phase("Key::new, of equal bytes", [ConstantSecret], || {
                Key::new(&secret)
            });
            check.require("equal bytes are refused", refused.is_err());
        }

        Ok(Self {
            ends: common::Ends::new(key.with_id(KEY_ID)?, Prologue::new("billing/2")?),
            another: master.with_id(KEY_ID)?,
        })
    }
}

const KEY_ID: &str = "worker-7";

/// The bytes of four derived keys, each of them the inner and the outer state of an HMAC.
const KEYED_STATES: usize = 4 * 2 * 32;

/// The key that the server looks up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Right,
    Another,
    Nothing,
}

/// What is altered on the way: one byte of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Altered {
    Nothing,
    ClientsProof(usize),
    ServersProof(usize),
}

fn handshakes(check: &mut Check, ends: &Ends, mode: impl Mode) -> Result<(), Box<dyn Error>> {
    for (found, altered) in [
        (Found::Right, Altered::Nothing),
        (Found::Another, Altered::Nothing),
        (Found::Nothing, Altered::Nothing),
    ] {
        handshake(check, ends, mode, found, altered)?;
    }
    for at in 0..32 {
        handshake(check, ends, mode, Found::Right, Altered::ClientsProof(at))?;
        handshake(check, ends, mode, Found::Right, Altered::ServersProof(at))?;
    }
    Ok(())
}

/// What the client and the server have after a handshake.
type Both<M> = (<M as Mode>::Established, <M as Mode>::Established);

/// Runs one handshake in memory. Returns what both have after it if both accept.
fn handshake<M: Mode>(
    check: &mut Check,
    Ends { ends, another }: &Ends,
    mode: M,
    found: Found,
    altered: Altered,
) -> Result<Option<Both<M>>, Box<dyn Error>> {
    let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
    let (f1, await_response) = ends.server(&mut servers, mode, &mut SysRng)?;
    // A nonce is public, a private key is not.
    let encrypts = M::NUMBER == Encrypt::NUMBER;
    let rng: &mut dyn TryCryptoRng<Error = _> = if encrypts { &mut Marked } else { &mut SysRng };
    let await_challenge = check.phase("the client starts", [], || {
        ends.client(&mut clients, mode, rng)
    })?;

    let await_verdict = check.phase("the client reads F1 and proves", [], || {
        deliver(await_challenge, f1.as_ref())
    })?;
    // The highest bit of a share is always zero, and so its last byte is not marked in all bits.
    let share_len = if encrypts { 32 } else { 0 };
    let marked = if encrypts { 31 + 32 } else { 32 };
    check.marked("F2", await_verdict.response(), marked);
    let mut f2 = sent(await_verdict.response());
    if let Altered::ClientsProof(at) = altered {
        let tag = f2.len() - 32;
        flip(&mut f2, tag + at);
    }
    let identified = check.phase("the server reads F2", [], || deliver(await_response, &f2))?;

    // In mode 2, what follows a right proof.
    let and = |proof, zeros| {
        if encrypts {
            vec![proof, zeros]
        } else {
            vec![proof]
        }
    };
    let (name, bits, key) = match (found, altered) {
        (Found::Nothing, _) => ("the server knows no such key", vec![], None),
        (Found::Another, _) => (
            "the server verifies under another key",
            vec![ClientsProof],
            Some(another),
        ),
        (Found::Right, Altered::ClientsProof(_)) => (
            "the server verifies an altered proof",
            vec![ClientsProof],
            Some(&ends.key),
        ),
        (Found::Right, _) => (
            "the server verifies a right proof",
            and(ClientsProof, ServersZeros),
            Some(&ends.key),
        ),
    };
    let accepts = found == Found::Right && !matches!(altered, Altered::ClientsProof(_));
    let (f3, server) = check.phase(name, bits, || identified.verify(key, &mut Marked))?;
    check.require(
        name,
        match &server {
            Ok(_) => accepts,
            Err(handshake::Error::ClientNotAuthentic { refusal, .. }) => {
                !accepts && (*refusal == Refusal::UnknownKeyId) == (found == Found::Nothing)
            }
            Err(_) => false,
        },
    );
    check.marked("F3", f3.as_ref(), if accepts { marked } else { 0 });
    let mut f3 = sent(f3);

    let (name, bits) = match altered {
        _ if !accepts => ("the client is denied", vec![]),
        Altered::ServersProof(at) => {
            flip(&mut f3, 1 + share_len + at);
            ("the client verifies an altered proof", vec![ServersProof])
        }
        _ => (
            "the client verifies a right proof",
            and(ServersProof, ClientsZeros),
        ),
    };
    let client = check.phase(name, bits, || deliver(await_verdict, &f3));
    check.require(
        name,
        match (&client, altered) {
            (Err(handshake::Error::Denied), _) => !accepts,
            (Err(handshake::Error::ServerNotAuthentic), Altered::ServersProof(_))
            | (Ok(_), Altered::Nothing) => accepts,
            _ => false,
        },
    );
    Ok(client.ok().zip(server.ok()))
}

/// Runs handshakes with a server that accepts two secrets for one key id.
fn rotation(check: &mut Check, Ends { ends, another }: &Ends) -> Result<(), Box<dyn Error>> {
    let secret = Secret::generate(&mut Marked)?;
    let both = check.phase("Key::accepting", [ConstantSecret], || {
        ends.key.clone().accepting(&secret)
    })?;
    check.marked_key(&both, 2 * KEYED_STATES);
    let second = check.phase("Key::new", [ConstantSecret], || Key::new(&secret))?;
    let second = second.with_id(KEY_ID)?;

    let proofs: [(&str, &[Bit], &Key, bool); 3] = [
        (
            "the server verifies the first of two",
            &[ClientsProof],
            &ends.key,
            true,
        ),
        (
            "the server verifies the second of two",
            &[ClientsProof, SecondProof],
            &second,
            true,
        ),
        (
            "the server verifies neither of two",
            &[ClientsProof, SecondProof],
            another,
            false,
        ),
    ];
    for (name, bits, key, accepts) in proofs {
        let clients_ends = common::Ends::new(key.clone(), Prologue::new("billing/2")?);
        let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
        let (f1, await_response) = ends.server(&mut servers, Authenticate, &mut SysRng)?;
        let await_challenge = clients_ends.client(&mut clients, Authenticate, &mut SysRng)?;
        let await_verdict = deliver(await_challenge, f1.as_ref())?;
        let f2 = sent(await_verdict.response());
        let identified = deliver(await_response, &f2)?;
        let (_, server) =
            check.phase(name, bits, || identified.verify(Some(&both), &mut Marked))?;
        check.require(name, server.is_ok() == accepts);
    }
    Ok(())
}

/// What is marked in the records of a mode, and the bits that opening one needs.
struct Marks {
    /// How many bytes of a direction are marked.
    direction: usize,
    /// How many bytes of a sealed payload are marked.
    payload: fn(usize) -> usize,
    tag: &'static [Bit],
}

/// The states of an HMAC.
const PROTECTED: Marks = Marks {
    direction: 2 * 32,
    payload: |_| 0,
    tag: &[RecordsTag],
};

/// The states of an HMAC, the round keys of the portable AES in eight planes, and the key of GHASH.
const ENCRYPTED: Marks = Marks {
    direction: 2 * 32 + 15 * 8 * 8 + 16,
    payload: |len| len,
    tag: &[EncryptedTag, RecordsTag],
};

/// Runs what an accepted handshake allows: the exporter, and records.
fn sessions<P: Protection, M: Mode<Established = (Session, Records<P>)>>(
    check: &mut Check,
    ends: &Ends,
    mode: M,
    marks: &Marks,
) -> Result<(), Box<dyn Error>> {
    let pair = |check: &mut Check| {
        handshake(check, ends, mode, Found::Right, Altered::Nothing)?
            .ok_or_else(|| Box::<dyn Error>::from("no session"))
    };

    let ((client, _), (server, _)) = pair(check)?;
    check.marked_but_for_padding("a session's secret", &client, 32);
    let (mut ours, mut theirs) = ([0; 80], [0; 80]);
    check.phase("Session::export", [], || {
        client.export("a label", b"a context", &mut ours)?;
        server.export("a label", b"a context", &mut theirs)
    })?;
    check.marked("what is exported", &ours, 80);
    memcheck::mark_defined(&ours);
    memcheck::mark_defined(&theirs);
    check.require("both ends export the same", ours == theirs);

    let ((_, Records { mut sealer, .. }), (_, Records { mut opener, .. })) = pair(check)?;
    check.marked_but_for_padding("the key of a direction", &sealer, marks.direction);
    for len in [1, 100, PAYLOAD_MAX] {
        let mut record = vec![b'x'; OVERHEAD + len];
        check.phase("a record is sealed", [], || sealer.seal(&mut record))?;
        let marked = (marks.payload)(len) + 16;
        check.marked("a record", record.as_slice(), marked);
        memcheck::mark_defined(record.as_slice());
        let outcome = check.phase("a right record is opened", marks.tag, || {
            opener.open(&mut record)
        });
        check.require("a right record", matches!(outcome, Ok(Opened::Data(_))));
    }
    let mut end = check.phase("a close is sealed", [], || sealer.close())?;
    check.marked("a record", &end, 16);
    memcheck::mark_defined(&end);
    let outcome = check.phase("a close is opened", marks.tag, || opener.open(&mut end));
    check.require("a close", matches!(outcome, Ok(Opened::Close)));

    // The first byte of the payload, and each byte of the tag.
    for at in [2].into_iter().chain(7..23) {
        let ((_, Records { mut opener, .. }), (_, Records { mut sealer, .. })) = pair(check)?;
        let mut record = [b'x'; OVERHEAD + 5];
        check.phase("a record is sealed", [], || sealer.seal(&mut record))?;
        memcheck::mark_defined(&record);
        flip(&mut record, at);
        let outcome = check.phase("an altered record is opened", marks.tag, || {
            opener.open(&mut record)
        });
        // The bit is in the error too.
        memcheck::mark_defined(&outcome);
        check.require("an altered record", outcome == Err(record::Error::BadTag));
    }
    Ok(())
}

/// Makes the records of a step of mode 2, and the key of the next.
fn step(check: &mut Check, ends: &Ends) -> Result<(), Box<dyn Error>> {
    let both = handshake(check, ends, Encrypt, Found::Right, Altered::Nothing)?;
    let ((_, Records { mut sealer, .. }), _) = both.ok_or("no session")?;
    check.phase("the records of a step are sealed", [], || {
        (0..1 << 16).try_for_each(|_| sealer.seal(&mut [b'x'; OVERHEAD + 1]))
    })?;
    check.marked_but_for_padding("the next key of a direction", &sealer, ENCRYPTED.direction);
    Ok(())
}

/// Runs handshakes and records over a stream, as programs use them.
fn drivers(check: &mut Check, ends: &Ends) -> Result<(), Box<dyn Error>> {
    let client = Client::new(ends.ends.key.clone());
    let server = Server::new(ends.ends.key.clone());
    let wrong = Server::new(ends.another.clone());

    let [ours, theirs] = check.talk(
        "authenticate",
        &[ClientsProof, ServersProof],
        |mut line| client.authenticate(&mut line).is_ok(),
        |mut line| server.authenticate(&mut line).is_ok(),
    )?;
    check.require("authenticate", ours && theirs);

    let [ours, theirs] = check.talk(
        "authenticate, with another key",
        &[ClientsProof],
        |mut line| client.authenticate(&mut line).is_ok(),
        |mut line| wrong.authenticate(&mut line).is_ok(),
    )?;
    check.require("authenticate, with another key", !ours && !theirs);

    let [ours, theirs] = check.talk(
        "protect, and a record and a close from each end",
        &[&[ClientsProof, ServersProof][..], &[RecordsTag; 4]].concat(),
        |line| client.protect(line).is_ok_and(talk),
        |line| server.protect(line).is_ok_and(talk),
    )?;
    check.require("protect", ours && theirs);

    // The private keys are the system's here, and not marked.
    let [ours, theirs] = check.talk(
        "encrypt, and a record and a close from each end",
        &[&[ClientsProof, ServersProof][..], &ENCRYPTED.tag.repeat(4)].concat(),
        |line| client.encrypt(line).is_ok_and(talk),
        |line| server.encrypt(line).is_ok_and(talk),
    )?;
    check.require("encrypt", ours && theirs);
    Ok(())
}

/// Sends a record and a close, and receives as much.
fn talk<P: Protection>(mut stream: Secured<Line, P>) -> bool {
    let mut heard = Vec::new();
    let passed = stream.write_all(b"hello").is_ok()
        && stream.close().is_ok()
        && stream.read_to_end(&mut heard).is_ok();
    // What was encrypted is marked.
    memcheck::mark_defined(heard.as_slice());
    passed && heard == b"hello"
}

/// Runs the protocols of [`countersign::compat`].
fn other_wires(check: &mut Check) -> Result<(), Box<dyn Error>> {
    let (mut secret, mut another) = ([0; 40], [0; 40]);
    Marked.try_fill_bytes(&mut secret)?;
    Marked.try_fill_bytes(&mut another)?;

    let zero = [ZeroSecret, ZeroSecret];
    for (name, theirs, same, digest) in [
        ("the recipe, right", &secret, true, &[RecipesDigest; 2][..]),
        ("the recipe, wrong", &another, false, &[RecipesDigest]),
    ] {
        let [_, accepted] = check.talk(
            name,
            &[&zero, digest].concat(),
            |mut line| cookbook::client_authenticate(&mut line, &secret).is_ok(),
            |mut line| cookbook::server_authenticate(&mut line, theirs).is_ok(),
        )?;
        check.require(name, accepted == same);
    }
    let zero = [ZeroAuthkey, ZeroAuthkey];
    let digest = [PythonsWelcome, PythonsAnswer, PythonsDigest];
    for (name, theirs, same, bits) in [
        ("Python's, right", &secret, true, digest.repeat(2)),
        ("Python's, wrong", &another, false, digest.to_vec()),
    ] {
        let bits = [&zero[..], &bits].concat();
        let ends = check.talk(
            name,
            &bits,
            |mut line| multiprocessing::client_authenticate(&mut line, &secret).is_ok(),
            |mut line| multiprocessing::server_authenticate(&mut line, theirs).is_ok(),
        )?;
        check.require(name, ends == [same; 2]);
        let ends = check.talk(
            name,
            &bits,
            |mut line| multiprocessing::client_authenticate_md5(&mut line, &secret).is_ok(),
            |mut line| multiprocessing::server_authenticate_md5(&mut line, theirs).is_ok(),
        )?;
        check.require(name, ends == [same; 2]);
    }
    Ok(())
}

/// Returns a client's proof as it is before it is sent.
fn expected_tag() -> Result<[u8; 32], Box<dyn Error>> {
    let key = Key::new(Secret::generate(&mut Marked)?)?;
    let ends = common::Ends::new(key, Prologue::EMPTY);
    let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
    let nonces = [Known::NC, Known::NS];
    let half = ends.half((&mut clients, &mut servers), Authenticate, nonces)?;
    let f2 = half.at_client.response();
    Ok(*f2.last_chunk().ok_or("F2 is too short")?)
}

/// Sends a message, which makes it public.
fn sent(message: impl AsRef<[u8]>) -> Vec<u8> {
    memcheck::mark_defined(message.as_ref());
    message.as_ref().to_vec()
}

fn flip(bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
}

/// The system's generator, whose bytes are marked as secret.
struct Marked;

impl TryRng for Marked {
    type Error = <SysRng as TryRng>::Error;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        SysRng.try_fill_bytes(dst)?;
        memcheck::mark_undefined(dst);
        Ok(())
    }
}

impl TryCryptoRng for Marked {}

/// What was declared and what was found.
#[derive(Default)]
struct Check {
    failed: bool,
    /// Each finding, and how often it occurred.
    found: Vec<(String, usize)>,
    declared: Vec<(Bit, usize)>,
}

impl Check {
    /// Runs a part of the protocol, in which each of these bits is acted on once.
    fn phase<T>(&mut self, name: &str, bits: impl AsRef<[Bit]>, routine: impl FnOnce() -> T) -> T {
        let bits = bits.as_ref();
        for bit in bits {
            match self.declared.iter_mut().find(|(other, _)| other == bit) {
                Some((_, times)) => *times += 1,
                None => self.declared.push((*bit, 1)),
            }
        }
        let before = memcheck::reports();
        let value = routine();
        let reported = memcheck::reports() - before;
        self.line(
            reported == bits.len(),
            format!("{reported:>6} reports  {name} {bits:?}"),
        );
        value
    }

    /// Runs a phase with two ends of a line. Returns what each end returns.
    fn talk(
        &mut self,
        name: &str,
        bits: &[Bit],
        client: impl FnOnce(Line) -> bool,
        server: impl FnOnce(Line) -> bool + Send,
    ) -> io::Result<[bool; 2]> {
        let (clients, servers) = Line::pair()?;
        Ok(self.phase(name, bits, || {
            thread::scope(|scope| {
                let server = scope.spawn(move || server(servers));
                let ours = client(clients);
                [ours, server.join().is_ok_and(|accepted| accepted)]
            })
        }))
    }

    /// Requires that exactly this number of bytes of a value are marked.
    fn marked<T: ?Sized>(&mut self, name: &str, value: &T, bytes: usize) {
        let marked = memcheck::undefined_bytes(value);
        let all = size_of_val(value);
        self.line(
            marked == bytes,
            format!("{marked:>6} marked   {name}, of {all} bytes"),
        );
    }

    /// Like `marked`, for a value with padding, which may count as marked because it was never
    /// written.
    fn marked_but_for_padding<T>(&mut self, name: &str, value: &T, bytes: usize) {
        let marked = memcheck::undefined_bytes(value);
        let all = size_of_val(value);
        self.line(
            (bytes..bytes + align_of::<T>()).contains(&marked),
            format!("{bytes:>6} marked   {name}, of {all} bytes"),
        );
    }

    /// Like `marked_but_for_padding`, for a key, whose room for a second secret may never have been
    /// written.
    fn marked_key(&mut self, key: &Key, bytes: usize) {
        let marked = memcheck::undefined_bytes(key);
        let all = size_of_val(key);
        let room = if bytes == KEYED_STATES {
            all / 2
        } else {
            align_of::<Key>()
        };
        self.line(
            (bytes..bytes + room).contains(&marked),
            format!("{bytes:>6} marked   its keys, of {all} bytes"),
        );
    }

    /// Requires that a part of the protocol ended as it should.
    fn require(&mut self, name: &str, holds: bool) {
        if !holds {
            self.failed = true;
            println!("FAILED: {name}");
        }
    }

    fn line(&mut self, passed: bool, line: String) {
        if !passed {
            self.failed = true;
            println!("FAILED: {line}");
        }
        match self.found.iter_mut().find(|(other, _)| *other == line) {
            Some((_, times)) => *times += 1,
            None => self.found.push((line, 1)),
        }
    }

    fn finish(self) -> ExitCode {
        for (line, times) in self.found {
            println!("{times:>4} times {line}");
        }
        for (bit, times) in self.declared {
            println!("declared {times} {bit:?}");
        }
        if self.failed {
            return ExitCode::FAILURE;
        }
        println!("passed");
        ExitCode::SUCCESS
    }
}
