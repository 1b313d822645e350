//! Measures how much stack a handshake takes, which is all the memory that it takes.
//!
//! The crate forbids `unsafe`, without which the depth of a stack cannot be measured. This program
//! paints a stack, runs one side in a thread on it, and looks how much of the paint is left. It
//! subtracts what a thread takes that does nothing. What counts is the deepest byte that was
//! *written*.
//!
//! It fails if a side takes more than [`MOST`]. It also prints the sizes of the states, for programs
//! that keep them elsewhere.

use std::error::Error;
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::{ptr, thread};

use common::Recorded;
use countersign::handshake::client::{AwaitChallenge, AwaitVerdict};
use countersign::handshake::server::{AwaitResponse, Dummy, Identified};
use countersign::handshake::{Authenticate, Transcript};
use countersign::{Key, Session, client_authenticate, server_authenticate};

/// The most that a side may take, in bytes. Without optimisation every move of a state is another
/// copy.
const MOST: usize = if cfg!(debug_assertions) {
    16_384
} else {
    4_096
};

const SECRET: &str = "what both ends of this one share";

// What a state is made of, where it owns none of it.
type T = &'static mut Transcript;
type K = &'static Key;
type D = &'static Dummy;
type M = Authenticate;

#[allow(
    clippy::unwrap_used,
    reason = "a side that fails early does not reach its depth"
)]
fn main() -> Result<ExitCode, Box<dyn Error>> {
    println!("size of each value, in bytes");
    for (name, size) in [
        ("Key", size_of::<Key>()),
        ("Transcript", size_of::<Transcript>()),
        (
            "client::AwaitChallenge",
            size_of::<AwaitChallenge<T, K, M>>(),
        ),
        ("client::AwaitVerdict", size_of::<AwaitVerdict<T, K, M>>()),
        ("server::Dummy", size_of::<Dummy>()),
        ("server::AwaitResponse", size_of::<AwaitResponse<T, D, M>>()),
        ("server::Identified", size_of::<Identified<T, D, M>>()),
        ("Session", size_of::<Session>()),
    ] {
        println!("{size:>8}  {name}");
    }

    let key = &Key::new(SECRET)?;
    let recorded = Recorded::new(key.clone())?;
    let (client, server) = UnixStream::pair()?;
    let over_a_stream = |side: &(dyn Fn() + Sync), other: &(dyn Fn() + Sync)| {
        thread::scope(|scope| {
            scope.spawn(other);
            depth(side)
        })
    };
    let authenticate_client = || drop(client_authenticate(&mut &client, key).unwrap());
    let authenticate_server = || drop(server_authenticate(&mut &server, key).unwrap());

    println!("depth of the stack, in bytes");
    let nothing = depth(&|| ())?;
    // A measurement that misses this array misses everything else too. The frame of a routine that
    // does nothing is subtracted, so the result may be a few bytes less.
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
            depth(&|| drop(recorded.client_side().unwrap()))?,
        ),
        (
            "a server in memory",
            depth(&|| drop(recorded.server_side().unwrap()))?,
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

/// Runs `routine` on a stack of its own and returns how deep it went, in bytes.
fn depth(routine: &(dyn Fn() + Sync)) -> io::Result<usize> {
    let mut stack = vec![Page([PAINT; PAGE_LEN]); STACK_LEN / PAGE_LEN];
    let mut attributes = MaybeUninit::uninit();
    let mut thread = MaybeUninit::uninit();
    // SAFETY: the first call initialises `attributes`, and the call that creates the thread
    // initialises `thread`. The thread gets whole and aligned pages, and the argument that `run`
    // expects. It is joined before either is dropped, and nothing else uses them until then.
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
    // The stack grows downwards, so what was never reached is at the start.
    let bytes = stack.iter().flat_map(|page| page.0);
    Ok(STACK_LEN - bytes.take_while(|byte| *byte == PAINT).count())
}

const STACK_LEN: usize = 1 << 18;
const PAGE_LEN: usize = 4096;
const PAINT: u8 = 0xa5;

#[derive(Clone, Copy)]
#[repr(align(4096))]
struct Page([u8; PAGE_LEN]);

/// The main function of the thread. Unwinding out of it aborts.
extern "C" fn run(routine: *mut c_void) -> *mut c_void {
    // SAFETY: this is the argument that `depth` passed, which waits for this thread.
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
