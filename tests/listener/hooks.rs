//! Hooks over tokio that block.

use std::io::{Error, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex, mpsc};

use countersign::Outcome;
use countersign::tokio::{Listener, Server};
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::clients::log_in;
use super::events::Events;
use super::running::{options, ring, worker};
use crate::sockets::{LONG, connect};

/// Fewer than the strangers. By default a runtime has 512.
const THREADS: usize = 128;
const STRANGERS: usize = 150;

#[test]
fn a_hook_that_blocks_for_strangers_delays_no_login() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(THREADS)
        .enable_all()
        .build()
        .unwrap();
    let (unblock, blocks) = mpsc::channel::<()>();
    let blocks = Mutex::new(blocks);
    let events = Arc::new(Events::default());
    let hook = Arc::clone(&events);
    let options = options().on_event(move |event| {
        hook.record(event);
        if !matches!(event.outcome, Outcome::Accepted { .. }) {
            // Until the test drops the other end.
            assert!(blocks.lock().unwrap().recv().is_err());
        }
    });
    let bound = Listener::bind_with_options("127.0.0.1:0", Server::new(ring()), options);
    let listener = runtime.block_on(bound).unwrap();
    let address = listener.local_addr().unwrap();
    let mut strangers = [(); STRANGERS].map(|()| {
        let mut stranger = connect(address);
        stranger.write_all(&[b'x'; 100]).unwrap();
        stranger
    });
    for stranger in &mut strangers {
        // Each of them is refused, with a reset because something was left unread.
        let timed_out = |error: Error| error.kind() == ErrorKind::WouldBlock;
        assert!(!stranger.read_to_end(&mut Vec::new()).is_err_and(timed_out));
    }

    let _client = log_in(address, &worker(1)).unwrap();
    let accepted = runtime.block_on(async { timeout(LONG, listener.accept()).await });
    assert_eq!(accepted.unwrap().unwrap().1.key_id(), "worker-1");
    assert!(events.now().len() < STRANGERS);

    drop((unblock, strangers));
    events.once(|seen| seen.len() == STRANGERS + 1);
}
