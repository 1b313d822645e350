//! What a server in production asks: how many logins it gives over tokio, what a connection costs
//! that is still pending, and what a look-up costs in a large ring.
//!
//! Each is compared, in one run and in turn, with the same thing without this crate:
//!
//! - Logins a second at 1, 100 and 1,000 clients at once, against flights of constants. There
//!   should be at least 0.9 times as many.
//! - The heap of a connection that is pending in the listener, against a task that holds a socket
//!   and awaits a read. It should be at most 2 KiB more.
//! - A look-up among 100,000 keys in random order, against a map that gives clones of the same
//!   keys. It should take at most twice as long.
//!
//! Both ends of a login, and the runtime, share one thread on one core: so every cycle of either
//! counts, and nothing depends on when the system wakes another core. The clients' cryptography
//! counts too, so a server whose clients are elsewhere comes off better than this.
//!
//! It needs about 4,200 file descriptors (`ulimit -n`).

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench that panics has measured nothing"
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use allocation_counter::measure;
use countersign::tokio::{Client, Listener, Server};
use countersign::{Key, KeyId, Keyring, Keys, ListenerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, yield_now};

#[path = "common/turns.rs"]
mod turns;
use turns::{in_turn, rounds};

fn main() {
    // Before there is a second thread, since that inherits it.
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    match cores.last() {
        Some(&core) if core_affinity::set_for_current(core) => println!("All of it on one core."),
        _ => println!("NOT on one core: this system does not let a thread be pinned."),
    }
    logins();
    pending();
    look_ups();
}

/// A deadline that is never over.
const LONG: Duration = Duration::from_secs(60);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// How many times each client logs in for one measurement, at so many clients.
const CLIENTS: [(usize, usize); 3] = [(1, 2000), (100, 20), (1000, 3)];

fn logins() {
    let runtime = &runtime();
    let key = Key::new("what both ends of this one share").unwrap();
    let key = key.with_id("worker-7").unwrap();
    let ring = Keyring::new();
    ring.insert(key.clone());
    // For the tasks, whose futures borrow nothing that may end.
    let client: &'static Client = Box::leak(Box::new(Client::new(key)));
    let server: &'static Server<Keyring> = Box::leak(Box::new(Server::new(ring)));

    // Each its own futures, so that the constants do not pay for the size of the others.
    let mut constants = |(clients, each): (usize, usize)| {
        let client = async |stream: &mut TcpStream| constants_client(stream).await.unwrap();
        let server = async |stream: &mut TcpStream| constants_server(stream).await.unwrap();
        run(runtime, clients, each, client, server)
    };
    let _ = (&mut constants, client, server);
}
