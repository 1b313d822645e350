//! Measures how much stack a handshake takes, which is all the memory that it takes.
//!
//! The crate forbids `unsafe`, without which the depth of a stack cannot be measured. This program
//! paints a stack, runs one side in a thread on it, and looks how much of the paint is left. It
//! subtracts what a thread takes that does nothing. What counts is the deepest byte that was
//! *written*.
//!
//! It fails if a side takes more than [`MOST`] or [`MOST_ENCRYPTED`]. It also prints the sizes of the states, for programs
//! that keep them elsewhere.

use std::error::Error;
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Mutex;
use std::{ptr, thread};

use common::Recorded;
use countersign::handshake::client::{AwaitChallenge, AwaitVerdict};
use countersign::handshake::server::{AwaitResponse, Dummy, Identified};
use countersign::handshake::{Authenticate, Encrypt, Mode, Protect, Transcript};
use countersign::record::{
    Encryption, Integrity, OVERHEAD, Opened, PAYLOAD_MAX, Protection, Records,
};
use countersign::{Key, Session, client_authenticate, server_authenticate};

/// The most that a side may take in modes 0 and 1, in bytes. Without optimisation every move of a
/// state is another copy.
const MOST: usize = if cfg!(debug_assertions) {
    16_384
} else {
    4_096
};

/// The most that a side may take in mode 2, in bytes. The round keys of two directions are 2,400, and
/// each move of them is another copy.
const MOST_ENCRYPTED: usize = if cfg!(debug_assertions) {
    57_344
} else {
    24_576
};

const SECRET: &str = "what both ends of this one share";

// What a state is made of, where it owns none of it.
type T = &'static mut Transcript;
type K = &'static Key;
type D = &'static Dummy;

#[allow(
    clippy::unwrap_used,
    reason = "a side that fails early does not reach its depth"
)]
fn main() -> Result<ExitCode, Box<dyn Error>> {
    print_sizes();
    let key = &Key::new(SECRET)?;
    let bare = Recorded::new(key.clone(), Authenticate)?;
    let protected = Recorded::new(key.clone(), Protect)?;
    let encrypted = Recorded::new(key.clone(), Encrypt)?;
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

    let rows = [
        (
            "Key::new",
            MOST,
            depth(&|| drop(Key::new(black_box(SECRET)).unwrap()))?,
        ),
        (
            "a client in memory, mode 0",
            MOST,
            depth(&|| drop(bare.client_side().unwrap()))?,
        ),
        (
            "a server in memory, mode 0",
            MOST,
            depth(&|| drop(bare.server_side().unwrap()))?,
        ),
        (
            "a client in memory, mode 1",
            MOST,
            depth(&|| drop(protected.client_side().unwrap()))?,
        ),
        (
            "a server in memory, mode 1",
            MOST,
            depth(&|| drop(protected.server_side().unwrap()))?,
        ),
        (
            "a client in memory, mode 2",
            MOST_ENCRYPTED,
            depth(&|| drop(encrypted.client_side().unwrap()))?,
        ),
        (
            "a server in memory, mode 2",
            MOST_ENCRYPTED,
            depth(&|| drop(encrypted.server_side().unwrap()))?,
        ),
        ("records, mode 1", MOST, records(&protected)?),
        ("records, mode 2", MOST_ENCRYPTED, records(&encrypted)?),
        (
            "client_authenticate",
            MOST,
            over_a_stream(&authenticate_client, &authenticate_server)?,
        ),
        (
            "server_authenticate",
            MOST,
            over_a_stream(&authenticate_server, &authenticate_client)?,
        ),
    ];
    let mut passed = true;
    for (name, most, deepest) in rows {
        let taken = deepest - nothing;
        let complaint = if taken > most {
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

/// Prints how much a program keeps that stores the states.
fn print_sizes() {
    println!("size of each value, in bytes");
    for (name, size) in [
        ("Key", size_of::<Key>()),
        ("Transcript", size_of::<Transcript>()),
        (
            "client::AwaitChallenge",
            size_of::<AwaitChallenge<T, K, Authenticate>>(),
        ),
        (
            "client::AwaitVerdict",
            size_of::<AwaitVerdict<T, K, Authenticate>>(),
        ),
        ("server::Dummy", size_of::<Dummy>()),
        (
            "server::AwaitResponse",
            size_of::<AwaitResponse<T, D, Authenticate>>(),
        ),
        (
            "server::Identified",
            size_of::<Identified<T, D, Authenticate>>(),
        ),
        ("Session", size_of::<Session>()),
        ("Records, protected", size_of::<Records<Integrity>>()),
        (
            "client::AwaitChallenge, mode 2",
            size_of::<AwaitChallenge<T, K, Encrypt>>(),
        ),
        (
            "client::AwaitVerdict, mode 2",
            size_of::<AwaitVerdict<T, K, Encrypt>>(),
        ),
        ("Records, encrypted", size_of::<Records<Encryption>>()),
    ] {
        println!("{size:>8}  {name}");
    }
}

/// Returns how deep records go: as many as need the keys of the next step, and the last two long ones.
#[allow(
    clippy::unwrap_used,
    reason = "a record that fails does not reach its depth"
)]
fn records<P, M>(recorded: &Recorded<M>) -> Result<usize, Box<dyn Error>>
where
    P: Protection,
    M: Mode<Established = (Session, Records<P>)>,
{
    // The states are moved in here, so that their size does not count.
    let (client, server) = (recorded.client_side()?.1, recorded.server_side()?.1);
    let buffer = vec![0; PAYLOAD_MAX + OVERHEAD];
    let ends = Mutex::new((client.sealer, server.opener, buffer));
    Ok(depth(&|| {
        let (sealer, opener, buffer) = &mut *ends.lock().unwrap();
        for n in 0..=STEP {
            let len = if n < STEP - 1 { 1 } else { PAYLOAD_MAX };
            let record = buffer.get_mut(..len + OVERHEAD).unwrap();
            sealer.seal(record).unwrap();
            assert!(matches!(opener.open(record), Ok(Opened::Data(_))));
        }
    })?)
}

/// How many records have one key in mode 2.
const STEP: usize = 1 << 16;

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
