//! Tests statistically whether the time that an answer takes tells more than the answer.
//!
//! The program measures inputs of two classes one by one, in random order, and compares the classes
//! by Welch's t (Reparaz, Balasch and Verbauwhede, "Dude, is my code constant time?", 2017).
//! "max t" is the largest of 101 values, each of which leaves out more of the slow measurements. If
//! its absolute value is under 5, this number of measurements shows no difference. For a leak it
//! has to be far above 5.
//!
//! The test measures the processor with its SHA extensions, if it has them. Valgrind cannot run
//! that code.

use std::array;
use std::cell::Cell;
use std::hint::black_box;
use std::io;

use common::{Half, Known, deliver};
use countersign::handshake::client::AwaitVerdict;
use countersign::handshake::server::{Dummy, Identified};
use countersign::handshake::{Mode, Prologue, Protect, Receive, Transcript, Verdict};
use countersign::record::OVERHEAD;
use countersign::{Key, Secret};
use dudect_bencher::ctbench::{
    BenchFn, BenchMetadata, BenchName, BenchOpts, BenchRng, Class, CtRunner, run_benches_console,
};
use dudect_bencher::rand::RngExt;
use rand::rngs::SysRng;

/// The number of measurements of both classes together.
const MEASUREMENTS: usize = 1_000_000;

fn main() -> io::Result<()> {
    let extensions = is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1");
    let with = if extensions { "with" } else { "WITHOUT" };
    println!("SHA-256 runs {with} the SHA extensions of the processor.");

    // The runner sorts them by name.
    let benches: [(&str, BenchFn); 9] = [
        (
            "1 server: proof wrong in first or last byte",
            |runner, rng| {
                server_verifies(runner, rng, |class, _| first_or_last(class));
            },
        ),
        (
            "2 server: proof wrong from first or later byte on",
            |runner, rng| {
                server_verifies(runner, rng, from_first_or_later);
            },
        ),
        ("3 server: key id unknown or proof wrong", |runner, rng| {
            server_finds(runner, rng, |_, key| [None, Some(key)]);
        }),
        (
            "4 client: proof wrong in first or last byte",
            client_verifies,
        ),
        ("5 record: tag wrong in first or last byte", opener_verifies),
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
            "8 LEAK: comparison until first or last byte",
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

/// Measures a server that verifies proofs altered by this difference.
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
        measure(runner, class, || {
            identified.verify(Some(&ends.0.key), &mut SysRng)
        });
    }
}

/// Measures a server that verifies wrong proofs under the key that it looked up for each class.
fn server_finds(
    runner: &mut CtRunner,
    rng: &mut BenchRng,
    found: for<'k> fn(&'k Key, &'k Key) -> [Option<&'k Key>; 2],
) {
    let (ends, others) = (Ends::new(rng), Ends::new(rng));
    let found = found(&others.0.key, &ends.0.key);
    for _ in 0..MEASUREMENTS {
        let class = class(rng);
        // Without a branch, which the processor would remember.
        let key = found.get(class as usize).copied().flatten();
        let mut servers = Transcript::new();
        let identified = ends.identified(&mut servers, &[0x55; 32], rng);
        measure(runner, class, || identified.verify(key, &mut SysRng));
    }
}

/// Measures a client that verifies proofs that are wrong in the first or in the last byte.
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

/// Measures the opening of records whose tag is wrong in the first or in the last byte.
fn opener_verifies(runner: &mut CtRunner, rng: &mut BenchRng) {
    let ends = Ends::new(rng);
    for _ in 0..MEASUREMENTS {
        let class = class(rng);
        let ((_, client), (_, server)) = ends.established(rng);
        let (mut sealer, mut opener) = (client.sealer, server.opener);
        let mut record = [0; OVERHEAD + 100];
        sealer.seal(&mut record).expect("it has the right length");
        alter(&mut record, &first_or_last::<16>(class));
        measure(runner, class, || opener.open(&mut record).is_ok());
    }
}

/// Measures as much work as for a proof, and then a comparison that ends at the wrong byte.
fn leaky_comparison(runner: &mut CtRunner, rng: &mut BenchRng) {
    let ((session, _), _) = Ends::new(rng).established(rng);
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

/// Measures a server that verifies a wrong proof, but denies at once if it has no key.
fn leaky_lookup(runner: &mut CtRunner, rng: &mut BenchRng) {
    let ends = Ends::new(rng);
    for _ in 0..MEASUREMENTS {
        let class = class(rng);
        let mut servers = Transcript::new();
        let identified = ends.identified(&mut servers, &[0x55; 32], rng);
        measure(runner, class, || match class {
            Class::Left => false,
            Class::Right => identified
                .verify(Some(&ends.0.key), &mut SysRng)
                .is_ok_and(|(_, outcome)| outcome.is_ok()),
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

/// Returns the difference of a tag that is wrong in the first or in the last byte.
fn first_or_last<const N: usize>(class: Class) -> [u8; N] {
    let wrong = [0, N - 1].get(class as usize).copied();
    array::from_fn(|at| u8::from(Some(at) == wrong))
}

/// Returns the difference of a tag that is wrong in all bytes, or only from a later byte on.
fn from_first_or_later(class: Class, rng: &mut BenchRng) -> [u8; 32] {
    let start = rng.random_range(1..32) * (class as usize);
    array::from_fn(|at| u8::from(at >= start))
}

/// Alters the tag at the end of a message. The work does not depend on the difference.
fn alter(message: &mut [u8], difference: &[u8]) {
    for (byte, difference) in message.iter_mut().rev().zip(difference.iter().rev()) {
        *byte ^= difference;
    }
}

/// Measures a routine that can run only once.
fn measure<T>(runner: &mut CtRunner, class: Class, routine: impl FnOnce() -> T) {
    let routine = Cell::new(Some(routine));
    runner.run_one(class, || routine.take().map(|routine| routine()));
}

/// What an end has after a handshake.
type Established = <Protect as Mode>::Established;

struct Ends(common::Ends);

impl Ends {
    fn new(rng: &mut BenchRng) -> Self {
        let secret = Secret::generate(rng).expect("the generator does not fail");
        let key = Key::new(secret).expect("it is long enough");
        Self(common::Ends::new(key, Prologue::EMPTY))
    }

    /// Returns a server that needs the key, after a proof that was altered by this difference.
    fn identified<'s>(
        &'s self,
        servers: &'s mut Transcript,
        difference: &[u8; 32],
        rng: &mut BenchRng,
    ) -> Identified<&'s mut Transcript, &'s Dummy, Protect> {
        let mut clients = Transcript::new();
        let half = self.half(&mut clients, servers, rng);
        let mut f2 = half.at_client.response().to_vec();
        alter(&mut f2, difference);
        deliver(half.at_server, &f2).expect("F2 is well-formed")
    }

    /// Returns a client that awaits F3, the F3 that accepts it, and what the server has.
    fn verdict<'c>(
        &'c self,
        clients: &'c mut Transcript,
        rng: &mut BenchRng,
    ) -> (
        AwaitVerdict<&'c mut Transcript, &'c Key, Protect>,
        Verdict,
        Established,
    ) {
        let mut servers = Transcript::new();
        let half = self.half(clients, &mut servers, rng);
        let identified = deliver(half.at_server, half.at_client.response());
        let identified = identified.expect("F2 is well-formed");
        let decision = identified.verify(Some(&self.0.key), &mut SysRng);
        let (f3, server) = decision.expect("the generator does not fail");
        (half.at_client, f3, server.expect("the proof is right"))
    }

    fn established(&self, rng: &mut BenchRng) -> (Established, Established) {
        let mut clients = Transcript::new();
        let (await_verdict, f3, server) = self.verdict(&mut clients, rng);
        let client = deliver(await_verdict, f3.as_ref());
        (client.expect("the proof is right"), server)
    }

    fn half<'e: 'c + 's, 'c, 's>(
        &'e self,
        clients: &'c mut Transcript,
        servers: &'s mut Transcript,
        rng: &mut BenchRng,
    ) -> Half<'c, 's, Protect> {
        let nonces = [Known(rng.random()), Known(rng.random())];
        let half = self.0.half((clients, servers), Protect, nonces);
        half.expect("F1 is well-formed")
    }
}
