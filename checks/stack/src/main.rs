//! How much stack a handshake takes, which is all the memory that it takes.
//!
//! The crate forbids `unsafe`, and without it nobody can tell how deep a stack has been. This
//! program can: it gives a thread a stack that it has painted, lets it run one side, and looks
//! afterwards how much of the paint is left. What a thread takes that does nothing is taken off.
//! What counts is the deepest octet that was *written*.
//!
//! It fails where a side takes more than [`MOST`]. The sizes of the states are printed beside it,
//! for programs that keep them elsewhere.

use std::convert::Infallible;
use std::error::Error;
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::{ptr, thread};

use countersign::handshake::{self, Mode, Progress, Prologue, Receive, Transcript, client, server};
use countersign::{Key, Session, client_authenticate, server_authenticate};
use rand::{TryCryptoRng, TryRng};

/// What a side may take, in octets. Without optimisation every move of a state is another copy.
const MOST: usize = if cfg!(debug_assertions) {
    16_384
} else {
    4_096
};

const SECRET: &str = "what both ends of this one share";
const MODE: Mode = Mode::Authenticate;

#[allow(
    clippy::unwrap_used,
    reason = "a side that fails has been nowhere near its depth"
)]
fn main() -> Result<ExitCode, Box<dyn Error>> {
    println!("size of what is kept, in octets");
    for (name, size) in [
        ("Key", size_of::<Key>()),
        ("Transcript", size_of::<Transcript>()),
        (
            "client::AwaitChallenge",
            size_of::<client::AwaitChallenge>(),
        ),
        ("client::AwaitVerdict", size_of::<client::AwaitVerdict>()),
        ("server::Config", size_of::<server::Config>()),
        ("server::AwaitResponse", size_of::<server::AwaitResponse>()),
        ("server::Identified", size_of::<server::Identified>()),
        ("Session", size_of::<Session>()),
    ] {
        println!("{size:>8}  {name}");
    }

    let ends = Ends::new()?;
    let (client, server) = UnixStream::pair()?;
    let over_a_stream = |side: &(dyn Fn() + Sync), other: &(dyn Fn() + Sync)| {
        thread::scope(|scope| {
            scope.spawn(other);
            depth(side)
        })
    };
    let authenticate_client = || drop(client_authenticate(&mut &client, &ends.key).unwrap());
    let authenticate_server = || drop(server_authenticate(&mut &server, &ends.key).unwrap());

    println!("depth of the stack, in octets");
    let nothing = depth(&|| ())?;
    // A measurement that did not see this would see nothing else either. The frame of a routine
    // that does nothing is taken off, so it may be some octets less.
    let array = depth(&|| {
        let array = black_box([0_u8; 10_000]);
        black_box(&array);
    })? - nothing;
    assert!(array > 9_000, "{array}");

    let mut passed = true;
    for (name, deepest) in [
        (
            "Key::new",
            depth(&|| drop(Key::new(black_box(SECRET)).unwrap()))?,
        ),
        (
            "a client in memory",
            depth(&|| drop(ends.client().unwrap()))?,
        ),
        (
            "a server in memory",
            depth(&|| drop(ends.server().unwrap()))?,
        ),
        (
            "client_authenticate",
            over_a_stream(&authenticate_client, &authenticate_server)?,
        ),
        (
            "server_authenticate",
            over_a_stream(&authenticate_server, &authenticate_client)?,
        ),
    ] {
        let taken = deepest - nothing;
        let complaint = if taken > MOST {
            ": FAILED, too deep"
        } else {
            ""
        };
        println!("{taken:>8}  {name}{complaint}");
        passed &= complaint.is_empty();
    }
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What exists before a handshake begins, and the flights of one whose nonces are known, so that
/// each side can be run without the other.
struct Ends {
    key: Key,
    prologue: Prologue,
    config: server::Config,
    flights: [Vec<u8>; 3],
}

impl Ends {
    fn new() -> Result<Self, Box<dyn Error>> {
        let key = Key::new(SECRET)?;
        let prologue = Prologue::EMPTY;
        let config = server::Config::new(prologue.clone());
        let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
        let await_challenge = client::start(&mut clients, &prologue, MODE, &key, &mut Fixed(0xc0))?;
        let (f1, await_response) = config.start(&mut servers, MODE, &mut Fixed(0x50))?;
        let (f2, _) = deliver(await_challenge, f1.as_ref())?;
        let (f3, outcome) = deliver(await_response, f2.as_ref())?.verify(Some(&key));
        drop(outcome?);
        let flights = [f1.as_ref(), f2.as_ref(), f3.as_ref()].map(<[u8]>::to_vec);
        Ok(Self {
            key,
            prologue,
            config,
            flights,
        })
    }

    fn client(&self) -> Result<Session, handshake::Error> {
        let [f1, _, f3] = &self.flights;
        let (transcript, nonce) = (&mut Transcript::new(), &mut Fixed(0xc0));
        let state = client::start(transcript, &self.prologue, MODE, &self.key, nonce)?;
        let (response, state) = deliver(state, f1)?;
        black_box(response.as_ref());
        deliver(state, f3)
    }

    fn server(&self) -> Result<Session, handshake::Error> {
        let [_, f2, _] = &self.flights;
        let (transcript, nonce) = (&mut Transcript::new(), &mut Fixed(0x50));
        let (challenge, state) = self.config.start(transcript, MODE, nonce)?;
        black_box(challenge.as_ref());
        let (verdict, outcome) = deliver(state, f2)?.verify(Some(&self.key));
        black_box(verdict.as_ref());
        outcome
    }
}

fn deliver<R: Receive>(mut state: R, mut flight: &[u8]) -> Result<R::Next, handshake::Error> {
    loop {
        let space = state.space();
        let (piece, rest) = flight.split_at(space.len().min(flight.len()));
        for (to, from) in space.iter_mut().zip(piece) {
            *to = *from;
        }
        flight = rest;
        match state.advance(piece.len())? {
            Progress::More(same) => state = same,
            Progress::Done(next) => return Ok(next),
        }
    }
}

/// How deep a stack is, in octets, on which `routine` has run.
fn depth(routine: &(dyn Fn() + Sync)) -> io::Result<usize> {
    let mut stack = vec![Page([PAINT; PAGE_LEN]); STACK_LEN / PAGE_LEN];
    let mut attributes = MaybeUninit::uninit();
    let mut thread = MaybeUninit::uninit();
    // SAFETY: `attributes` is initialised by the first call, which the others need, and `thread`
    // by the one that creates it. The thread gets whole and aligned pages, and what `run` expects;
    // it is joined before either goes, and nothing else uses them meanwhile.
    unsafe {
        done(libc::pthread_attr_init(attributes.as_mut_ptr()))?;
        done(libc::pthread_attr_setstack(
            attributes.as_mut_ptr(),
            stack.as_mut_ptr().cast(),
            STACK_LEN,
        ))?;
        done(libc::pthread_create(
            thread.as_mut_ptr(),
            attributes.as_ptr(),
            run,
            ptr::from_ref(&routine).cast_mut().cast(),
        ))?;
        done(libc::pthread_join(thread.assume_init(), ptr::null_mut()))?;
        done(libc::pthread_attr_destroy(attributes.as_mut_ptr()))?;
    }
    // It grows downwards, so what was never reached is at the start.
    let octets = stack.iter().flat_map(|page| page.0);
    Ok(STACK_LEN - octets.take_while(|octet| *octet == PAINT).count())
}

const STACK_LEN: usize = 1 << 18;
const PAGE_LEN: usize = 4096;
const PAINT: u8 = 0xa5;

#[derive(Clone, Copy)]
#[repr(align(4096))]
struct Page([u8; PAGE_LEN]);

/// Begins the thread. Unwinding out of it aborts.
extern "C" fn run(routine: *mut c_void) -> *mut c_void {
    // SAFETY: it is what `depth` gave, which waits for this thread.
    let routine = unsafe { *routine.cast::<&(dyn Fn() + Sync)>() };
    routine();
    ptr::null_mut()
}

fn done(status: c_int) -> io::Result<()> {
    match status {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// A generator that always gives the same nonce.
struct Fixed(u8);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_ne_bytes([self.0; 4]))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_ne_bytes([self.0; 8]))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        dst.fill(self.0);
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}
