//! A listener in a process that may open few files.

use std::fs::File;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::clients::{log_in, silent};
use super::events::Seen;
use super::running::{assert_connected, options, ring, worker};
use crate::support::{Driver, Few, again};

const FEW: usize = 64;

#[test]
fn a_listener_out_of_descriptors_reports_it_and_recovers() {
    let test = a_listener_out_of_descriptors_reports_it_and_recovers;
    again(&test, Few::Descriptors(FEW), || {
        for &driver in Driver::ALL {
            starve(driver);
            crowd(driver);
        }
    });
}

fn starve(driver: Driver) {
    // A hook that panics must not end the listener either.
    let running = driver.listen_hooked(options(), ring(), |outcome| {
        assert_ne!(outcome, "failed", "as this test wants it");
    });
    let client = log_in(running.address, &worker(1)).unwrap();
    let before = running.accept_from(&client);

    // The last descriptor is for a client. A listener may hold one in reserve, too.
    let mut files: Vec<File> = Vec::new();
    take_all(&mut files);
    let mut waiting = Vec::new();
    for _ in 0..2 {
        files.pop().unwrap();
        waiting.push(TcpStream::connect(running.address).unwrap());
    }
    let failed = |seen: &[Seen]| -> Vec<Instant> {
        let failed = seen.iter().filter(|seen| seen.outcome == "failed");
        failed.map(|seen| seen.at).collect()
    };
    let seen = running.events.once(|seen| failed(seen).len() >= 4);
    // The listener pauses after each failure.
    let times = failed(&seen);
    assert!(
        times[3] - times[0] >= Duration::from_millis(120),
        "{seen:#?}"
    );
    assert_connected(&client, &before);

    drop((files, waiting));
    for nth in 2..5 {
        let client = log_in(running.address, &worker(nth)).unwrap();
        let _pair = running.accept_from(&client);
    }
    let failed_before = running.events.count("failed");
    running.assert_nothing_is_ready();
    assert_eq!(running.events.count("failed"), failed_before);
    running.shutdown();
    assert!(running.accept().is_err());
}

/// Opens files until there are no descriptors left.
fn take_all(files: &mut Vec<File>) {
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
        assert!(files.len() < FEW, "there are more than {FEW} descriptors");
    }
}

fn crowd(driver: Driver) {
    let running = driver.listen(options(), ring());
    let mut files = Vec::new();
    take_all(&mut files);
    let mut strangers = Vec::new();
    for _ in 0..10 {
        // One for each end.
        drop((files.pop().unwrap(), files.pop().unwrap()));
        strangers.push(silent(running.address));
    }
    for nth in 0..3 {
        take_all(&mut files);
        // For the client. The listener has to find the other one itself.
        drop(files.pop().unwrap());
        let client = log_in(running.address, &worker(nth)).unwrap();
        let _pair = running.accept_from(&client);
    }
    let seen = running.events.now();
    // There are fewer descriptors than handshakes may be pending.
    assert!(seen[0].outcome.starts_with("FewDescriptors"), "{seen:#?}");
    assert_eq!(running.events.count("failed"), 0);
    // One makes room for the client, and one more may leave a descriptor for the next.
    let evicted = running.events.count("evicted");
    assert!((3..=6).contains(&evicted), "{evicted}");
}
