//! A listener in a process that may run few threads.

use std::fs;
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::clients::{log_in, silent};
#[cfg(feature = "tokio")]
use super::events::Events;
use super::running::{options, ring, worker};
use crate::sockets::{LONG, assert_closed, connect, until};
use crate::support::{Driver, Few, again};
#[cfg(feature = "tokio")]
use {
    crate::support::block_on, countersign::tokio::Listener, std::sync::Arc, tokio::time::timeout,
};

const FEW: usize = 64;
const STRANGERS: usize = 10;
const CLIENTS: usize = 3;
/// Less than a listener waits for its acceptor.
const AT_ONCE: Duration = Duration::from_millis(500);

#[test]
fn a_listener_out_of_threads_evicts_handshakes_and_lets_clients_in() {
    let test = a_listener_out_of_threads_evicts_handshakes_and_lets_clients_in;
    with_few_threads(&test, || {
        for &driver in Driver::ALL {
            crowd(driver, 192);
            crowd(driver, STRANGERS);
        }
    });
}

/// One test at a time, because the system counts the threads of all processes of a user.
fn with_few_threads<T>(test: &T, body: impl FnOnce()) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    again(test, Few::Threads(FEW), body);
}

fn crowd(driver: Driver, max_pending: usize) {
    // Those of another crowd may still be ending.
    until(|| running() < FEW / 2);
    let running = driver.listen(options().max_pending(max_pending), ring());
    let accepted = running.accept_all(1).remove(0);
    let strangers: Vec<_> = (0..STRANGERS).map(|_| silent(running.address)).collect();
    let mut threads = Threads::default();
    for nth in 0..CLIENTS {
        // The listener has to find a thread itself.
        threads.take_all();
        log_in(running.address, &worker(nth)).unwrap();
    }
    drop(threads);
    assert_eq!(running.events.count("failed"), 0);
    let evicted = || running.events.count("evicted");
    match driver {
        // Each client needs the thread of another. A thread that ends is counted for a moment, in
        // which one more may be evicted.
        Driver::Blocking => {
            let evicted = evicted();
            assert!((1..STRANGERS).contains(&evicted), "{evicted}");
        }
        // A handshake over tokio needs no thread. The hook is called without one, or by the first
        // that can be had, and no login waits for it.
        #[cfg(feature = "tokio")]
        Driver::Tokio => until(|| evicted() == usize::from(max_pending == STRANGERS)),
    }
    drop(strangers);
    running.shutdown();
    assert_eq!(accepted.recv_timeout(LONG).unwrap().len(), CLIENTS);
}

#[test]
fn a_listener_out_of_threads_whose_hook_blocks_is_shut_down_at_once() {
    let test = a_listener_out_of_threads_whose_hook_blocks_is_shut_down_at_once;
    with_few_threads(&test, || {
        let (unblock, blocks) = mpsc::channel::<()>();
        let blocks = Mutex::new(blocks);
        let hook = move |outcome: &str| {
            if outcome == "evicted" {
                // Until the test drops the other end.
                assert!(blocks.lock().unwrap().recv().is_err());
            }
        };
        let running = Driver::Blocking.listen_hooked(options(), ring(), hook);
        let pending = [(); 2].map(|()| silent(running.address));
        let mut threads = Threads::default();
        threads.take_all();
        let without_a_thread = connect(running.address);
        running.events.once(|seen| !seen.is_empty());

        let began = Instant::now();
        running.shutdown();
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        assert_closed(&without_a_thread);
        assert_eq!(running.events.count("failed"), 1);
        drop((unblock, threads, pending));
    });
}

/// A runtime of one thread has no other that could call the hook later.
#[cfg(feature = "tokio")]
#[test]
fn a_hook_is_called_though_no_thread_can_be_had_for_it() {
    let test = a_hook_is_called_though_no_thread_can_be_had_for_it;
    with_few_threads(&test, || {
        let events = Arc::new(Events::default());
        let hook = Arc::clone(&events);
        let options = options().on_event(move |event| {
            hook.record(event);
        });
        let accepted = block_on(async {
            let server = countersign::tokio::Server::new(ring());
            let listener = Listener::bind_with_options("127.0.0.1:0", server, options);
            let listener = listener.await.unwrap();
            let mut threads = Threads::default();
            threads.take_all();
            let client = countersign::tokio::Client::new(worker(1));
            let both = async {
                let connected = client.connect(listener.local_addr().unwrap());
                tokio::join!(connected, listener.accept())
            };
            let (connected, accepted) = timeout(LONG, both).await.unwrap();
            drop(connected.unwrap());
            accepted.unwrap()
        });
        assert_eq!(accepted.1.key_id(), "worker-1");
        assert_eq!(events.accepted(), 1);
    });
}

/// Threads that do nothing. Each ends when its channel is dropped.
#[derive(Default)]
struct Threads(Vec<Sender<()>>);

impl Threads {
    /// Starts threads until there may be no more.
    fn take_all(&mut self) {
        until(|| {
            let (life, ends) = mpsc::channel();
            let body = move || assert!(ends.recv().is_err());
            // It also fails while a thread that has ended is still counted.
            if thread::Builder::new().spawn(body).is_ok() {
                self.0.push(life);
            }
            running() == FEW
        });
    }
}

/// Returns how many threads this process has.
fn running() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}
