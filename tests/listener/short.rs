//! What short connections leave behind.

use std::fs;

use super::clients::{STRANGERS, log_in};
use super::running::{Running, options, ring, worker};
use crate::sockets::until;
use crate::support::{Driver, Few, again};

/// The connections that allocate what a listener needs once, and those that are measured.
const FIRST: u64 = 500;
const CONNECTIONS: u64 = 2000;
/// A connection that left more than half a KiB behind would exceed it.
const GROWTH_KIB: usize = 1024;

/// In a process of its own, because other tests have descriptors and threads, too.
#[test]
fn short_connections_leave_no_descriptor_thread_or_memory_behind() {
    let test = short_connections_leave_no_descriptor_thread_or_memory_behind;
    again(&test, Few::Nothing, || {
        for &driver in Driver::ALL {
            let running = driver.listen(options(), ring());
            let before = Left::after(&running, FIRST);
            let after = Left::after(&running, CONNECTIONS);
            assert!(
                after.kib <= before.kib + GROWTH_KIB,
                "{driver:?}: {before:?}, {after:?}"
            );
            // Idle threads of tokio may end, but there are no more.
            until(|| {
                let now = Left::now();
                now.descriptors <= before.descriptors && now.threads <= before.threads
            });
        }
    });
}

#[derive(Debug)]
struct Left {
    descriptors: usize,
    threads: usize,
    /// The resident memory.
    kib: usize,
}

impl Left {
    fn after(running: &Running, connections: u64) -> Self {
        for nth in 0..connections {
            // A client that logs in, and then each kind of stranger.
            let kind = usize::try_from(nth).unwrap() % (STRANGERS.len() + 1);
            if let Some((_, connect, _)) = STRANGERS.get(kind) {
                connect(running.address, nth);
            } else {
                let client = log_in(running.address, &worker(nth)).unwrap();
                let _pair = running.accept_from(&client);
            }
        }
        until(|| running.shows("pending", 0));
        Self::now()
    }

    fn now() -> Self {
        let count = |directory| fs::read_dir(directory).unwrap().count();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
        Self {
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
            kib: kib.parse().unwrap(),
        }
    }
}
