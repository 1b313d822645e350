//! Whether the time that an answer takes tells more than the answer: a statistical test.
//!
//! Inputs of two classes are measured one by one, in random order, and Welch's t compares the two
//! (Reparaz, Balasch and Verbauwhede, "Dude, is my code constant time?", 2017). "max t" is the
//! largest of a hundred and one, each with more of the slow measurements left out. Under 5 either
//! way there is no difference to be seen in so many measurements; where there is a leak it has to
//! be far above that.
//!
//! This measures the processor as it is, with its SHA extensions where it has them, and so the
//! code that valgrind cannot run.

use std::array;
use std::cell::Cell;
use std::hint::black_box;
use std::io;

use countersign::handshake::client::AwaitVerdict;
use countersign::handshake::server::Identified;
use countersign::handshake::{
    self, Mode, Progress, Prologue, Receive, Transcript, Verdict, client, server,
};
use countersign::record::OVERHEAD;
use countersign::{Key, Secret, Session};
use dudect_bencher::ctbench::{
    BenchFn, BenchMetadata, BenchName, BenchOpts, BenchRng, Class, CtRunner, run_benches_console,
};
use dudect_bencher::rand::RngExt;

/// Of both classes together.
const MEASUREMENTS: usize = 1_000_000;

const MODE: Mode = Mode::Protect;

fn main() -> io::Result<()> {
    let extensions = is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1");
    let with = if extensions { "with" } else { "WITHOUT" };
    println!("SHA-256 runs {with} the SHA extensions of the processor.");

    // They are run in the order of their names.
    let benches: [(&str, BenchFn); 9] = [
        (
            "1 server: proof wrong in first or last octet",
            |runner, rng| {
                server_verifies(runner, rng, |class, _| first_or_last(class));
            },
        ),
        (
            "2 server: proof wrong from first or later octet on",
            |runner, rng| {
                server_verifies(runner, rng, from_first_or_later);
            },
        ),
        ("3 server: key id unknown or proof wrong", |runner, rng| {
            server_finds(runner, rng, |_, key| [None, Some(key)]);
        }),
        (
            "4 client: proof wrong in first or last octet",
            client_verifies,
        ),
        (
            "5 record: tag wrong in first or last octet",
            opener_verifies,
        ),
        ("6 control: the same in both classes", |runner, rng| {
            server_finds(runner, rng, |_, key| [Some(key); 2]);
        }),
        (
            "7 control: two keys, neither of them right",
            |runner, rng| {
                server_finds(runner, rng, |another, key| [Some(another), Some(key)]);
            },
        ),
        (
            "8 LEAK: comparison until first or last octet",
            leaky_comparison,
        ),
        ("9 LEAK: no work where the key id is unknown", leaky_lookup),
    ];
    let benches = benches.map(|(name, benchfn)| BenchMetadata {
        name: BenchName(name),
        seed: None,
        benchfn,
    });
    run_benches_console(BenchOpts::default(), benches.into())
}

/// A server verifies proofs that were altered by this difference.
fn server_verifies(
    runner: &mut CtRunner,
    rng: &mut BenchRng,
    difference: fn(Class, &mut BenchRng) -> [u8; 32],
) {
    let ends = Ends::new(rng);
    for _ in 0..MEASUREMENTS {
        let class = class(rng);
        let difference = difference(class, rng);
        let mut servers = Transcript::new();
        let identified = ends.identified(&mut servers, &difference, rng);
        measure(runner, class, || identified.verify(Some(&ends.key)));
    }
}

/// A server verifies wrong proofs under what it has found for each class.
fn server_finds(
    runner: &mut CtRunner,
    rng: &mut BenchRng,
    found: for<'k> fn(&'k Key, &'k Key) -> [Option<&'k Key>; 2],
) {
    let (ends, others) = (Ends::new(rng), Ends::new(rng));
    let found = found(&others.key, &ends.key);
    for _ in 0..MEASUREMENTS {
        let class = class(rng);
        // Without a branch, which the processor would remember.
        let key = found.get(class as usize).copied().flatten();
        let mut servers = Transcript::new();
        let identified = ends.identified(&mut servers, &[0x55; 32], rng);
        measure(runner, class, || identified.verify(key));
    }
}

/// A client verifies proofs that are wrong in their first or last octet.
fn client_verifies(runner: &mut CtRunner, rng: &mut BenchRng) {
    let ends = Ends::new(rng);
    for _ in 0..MEASUREMENTS {
        let class = class(rng);
        let mut clients = Transcript::new();
        let (mut state, f3, _) = ends.verdict(&mut clients, rng);
        let mut f3 = f3.as_ref().to_vec();
        alter(&mut f3, &first_or_last::<32>(class));
        state.space().copy_from_slice(&f3);
        measure(runner, class, || state.advance(f3.len()));
    }
}

/// Records are opened of which the tag is wrong in its first or last octet.
fn opener_verifies(runner: &mut CtRunner, rng: &mut BenchRng) {
    let ends = Ends::new(rng);
    for _ in 0..MEASUREMENTS {
        let class = class(rng);
        let (mut client, mut server) = ends.sessions(rng);
        let (mut sealer, _) = client.records().expect("mode 1");
        let (_, mut opener) = server.records().expect("mode 1");
        let mut record = [0; OVERHEAD + 100];
        sealer.seal(&mut record).expect("it has the right length");
        alter(&mut record, &first_or_last::<16>(class));
        measure(runner, class, || opener.open(&record).is_ok());
    }
}

/// As much work as for a proof, and then a comparison that ends at the octet that is wrong.
fn leaky_comparison(runner: &mut CtRunner, rng: &mut BenchRng) {
    let (session, _) = Ends::new(rng).sessions(rng);
    for _ in 0..MEASUREMENTS {
        let class = class(rng);
        let mut received = [0; 32];
        let context = rng.random::<[u8; 32]>();
        let export = |out: &mut [u8]| session.export("proof", &context, out);
        export(&mut received).expect("it has the right length");
        alter(&mut received, &first_or_last::<32>(class));
        measure(runner, class, || {
            let mut expected = [0; 32];
            export(&mut expected).is_ok() && until_different(&expected, &received)
        });
    }
}

#[inline(never)]
fn until_different(expected: &[u8], received: &[u8]) -> bool {
    expected
        .iter()
        .zip(received)
        .all(|(ours, theirs)| black_box(ours) == theirs)
}

/// A server verifies a wrong proof, and denies at once where there is no key.
fn leaky_lookup(runner: &mut CtRunner, rng: &mut BenchRng) {
    let ends = Ends::new(rng);
    for _ in 0..MEASUREMENTS {
        let class = class(rng);
        let mut servers = Transcript::new();
        let identified = ends.identified(&mut servers, &[0x55; 32], rng);
        measure(runner, class, || match class {
            Class::Left => false,
            Class::Right => identified.verify(Some(&ends.key)).1.is_ok(),
        });
    }
}

fn class(rng: &mut BenchRng) -> Class {
    if rng.random() {
        Class::Left
    } else {
        Class::Right
    }
}

/// The difference of a tag that is wrong in its first or in its last octet.
fn first_or_last<const N: usize>(class: Class) -> [u8; N] {
    let wrong = [0, N - 1].get(class as usize).copied();
    array::from_fn(|at| u8::from(Some(at) == wrong))
}

/// The difference of a tag that is wrong in all octets, or in those behind some that are right.
fn from_first_or_later(class: Class, rng: &mut BenchRng) -> [u8; 32] {
    let start = rng.random_range(1..32) * (class as usize);
    array::from_fn(|at| u8::from(at >= start))
}

/// Alters the tag at the end of a message, in the same way whatever the difference is.
fn alter(message: &mut [u8], difference: &[u8]) {
    for (octet, difference) in message.iter_mut().rev().zip(difference.iter().rev()) {
        *octet ^= difference;
    }
}

/// Measures what can be done only once.
fn measure<T>(runner: &mut CtRunner, class: Class, routine: impl FnOnce() -> T) {
    let routine = Cell::new(Some(routine));
    runner.run_one(class, || routine.take().map(|routine| routine()));
}

struct Ends {
    key: Key,
    prologue: Prologue,
    config: server::Config,
}

impl Ends {
    fn new(rng: &mut BenchRng) -> Self {
        let secret = Secret::generate(rng).expect("the generator does not fail");
        Self {
            key: Key::new(secret).expect("it is long enough"),
            prologue: Prologue::EMPTY,
            config: server::Config::new(Prologue::EMPTY),
        }
    }

    /// A server that awaits its key, after a proof that was altered by this difference.
    fn identified<'s>(
        &'s self,
        servers: &'s mut Transcript,
        difference: &[u8; 32],
        rng: &mut BenchRng,
    ) -> Identified<'s> {
        let mut clients = Transcript::new();
        let flights = self.two_flights(&mut clients, servers, difference, rng);
        flights.expect("F2 is well-formed").1
    }

    /// A client that awaits its verdict, and the one that accepts it, beside the server's session.
    fn verdict<'c>(
        &'c self,
        clients: &'c mut Transcript,
        rng: &mut BenchRng,
    ) -> (AwaitVerdict<'c>, Verdict, Session) {
        let mut servers = Transcript::new();
        let flights = self.two_flights(clients, &mut servers, &[0; 32], rng);
        let (await_verdict, identified) = flights.expect("F2 is well-formed");
        let (f3, session) = identified.verify(Some(&self.key));
        (await_verdict, f3, session.expect("the proof is right"))
    }

    fn sessions(&self, rng: &mut BenchRng) -> (Session, Session) {
        let mut clients = Transcript::new();
        let (await_verdict, f3, server) = self.verdict(&mut clients, rng);
        let client = deliver(await_verdict, f3.as_ref());
        (client.expect("the proof is right"), server)
    }

    fn two_flights<'e, 'c, 's>(
        &'e self,
        clients: &'c mut Transcript,
        servers: &'s mut Transcript,
        difference: &[u8; 32],
        rng: &mut BenchRng,
    ) -> Result<(AwaitVerdict<'c>, Identified<'s>), handshake::Error>
    where
        'e: 'c + 's,
    {
        let (f1, await_response) = self.config.start(servers, MODE, rng)?;
        let await_challenge = client::start(clients, &self.prologue, MODE, &self.key, rng)?;
        let (f2, await_verdict) = deliver(await_challenge, f1.as_ref())?;
        let mut f2 = f2.as_ref().to_vec();
        alter(&mut f2, difference);
        Ok((await_verdict, deliver(await_response, &f2)?))
    }
}

fn deliver<R: Receive>(mut state: R, mut flight: &[u8]) -> Result<R::Next, handshake::Error> {
    loop {
        let space = state.space();
        let (piece, rest) = flight.split_at(space.len().min(flight.len()));
        space.copy_from_slice(piece);
        flight = rest;
        match state.advance(piece.len())? {
            Progress::More(same) => state = same,
            Progress::Done(next) => return Ok(next),
        }
    }
}
