//! Files that change while they are read.
#![cfg(unix)]

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use countersign::{Client, Error, Key, KeyFileError, Keyring, Server};

use super::{accepts, key, secret};
use crate::support::{TempDir, tcp_pair};

const NAMES: [&str; 3] = ["one", "two", "three"];

/// Ends the other thread when it is dropped.
struct Done<'d>(&'d AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `change` again and again until `check` is done.
fn during(change: impl FnMut(usize) + Send, check: impl FnOnce()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut change = change;
        let done = &done;
        scope.spawn(move || {
            let mut round = 0;
            while !done.load(Ordering::Relaxed) {
                change(round);
                round += 1;
            }
        });
        // However the check ends, the other thread must end.
        let _done = Done(done);
        check();
    });
}

#[test]
fn no_secret_is_loaded_that_was_never_whole_on_disk() {
    let directory = TempDir::new();
    let path = directory.key_file("worker-7.key", secret(NAMES[0]));
    let whole: Vec<_> = NAMES.map(|name| key(name).fingerprint()).into();
    // A file that stays half-written for longer than a load waits cannot be recognised, and on a busy
    // machine a thread may pause for so long.
    let (rounds, longest) = (AtomicUsize::new(0), Mutex::new(Duration::ZERO));
    let rewrite = |round: usize| {
        // In place and in two halves, by a writer that pauses between them, and then is at rest.
        let content = secret(NAMES[round % NAMES.len()]);
        let (first, second) = content.as_bytes().split_at(20);
        let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let began = Instant::now();
        if round.is_multiple_of(2) {
            file.set_len(0).unwrap();
        }
        file.write_all(first).unwrap();
        thread::sleep(Duration::from_micros(700));
        file.seek(SeekFrom::Start(20)).unwrap();
        file.write_all(second).unwrap();
        drop(file);
        let mut longest = longest.lock().unwrap();
        *longest = began.elapsed().max(*longest);
        rounds.fetch_add(1, Ordering::Relaxed);
        drop(longest);
        thread::sleep(Duration::from_millis(if round.is_multiple_of(8) {
            40
        } else {
            1
        }));
    };
    during(rewrite, || {
        let began = Instant::now();
        let mut loaded = 0;
        while began.elapsed() < Duration::from_secs(3) {
            match Key::from_file(&path) {
                Ok(key) if whole.contains(&key.fingerprint()) => loaded += 1,
                Err(Error::KeyFile {
                    error: KeyFileError::Changing,
                    ..
                }) => {}
                torn => {
                    let round = rounds.load(Ordering::Relaxed);
                    while rounds.load(Ordering::Relaxed) == round {
                        thread::yield_now();
                    }
                    let pause = *longest.lock().unwrap();
                    assert!(
                        pause >= Duration::from_millis(19),
                        "{torn:?} within {pause:?}"
                    );
                }
            }
        }
        assert!(loaded > 0, "the writer rests now and then");
    });
}

#[test]
fn a_file_rests_no_sooner_because_its_writer_set_its_time_back() {
    let directory = TempDir::new();
    let path = directory.key_file("worker-7.key", secret("ours"));
    let file = fs::File::options().write(true).open(&path).unwrap();
    Key::from_file(&path).unwrap();
    let began = Instant::now();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    Key::from_file(&path).unwrap();
    // The time of the change may be a tick of at most 10 ms before.
    assert!(began.elapsed() >= Duration::from_millis(10));
}

#[test]
fn a_file_that_never_rests_is_an_error_and_no_hang() {
    let directory = TempDir::new();
    let path = directory.key_file("worker-7.key", secret("ours"));
    let append = |_| {
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"x").unwrap();
        thread::sleep(Duration::from_millis(1));
        if fs::metadata(&path).unwrap().len() > 60_000 {
            file.set_len(0).unwrap();
        }
    };
    during(append, || {
        let began = Instant::now();
        loop {
            let loaded = Key::from_file(&path);
            assert!(began.elapsed() < Duration::from_secs(20), "{loaded:?}");
            match loaded {
                Err(Error::KeyFile {
                    error: KeyFileError::Changing,
                    ..
                }) => break,
                // The writer did not run while the file was read, which may be a second line by now.
                Ok(_)
                | Err(Error::KeyFile {
                    error: KeyFileError::Content(_),
                    ..
                }) => {}
                Err(other) => panic!("{other}"),
            }
        }
    });
}

#[test]
fn a_reload_during_swaps_of_a_mounted_secret_takes_one_version_whole() {
    let directory = TempDir::new();
    let version = |name: &str| {
        let version = directory.path().join(format!("..{name}"));
        fs::create_dir(&version).unwrap();
        for id in ["a", "b"] {
            directory.key_file(&format!("..{name}/{id}.key"), secret(name));
        }
    };
    let point = |name: &str| {
        let link = directory.path().join("..new");
        symlink(format!("..{name}"), &link).unwrap();
        fs::rename(&link, directory.path().join("..data")).unwrap();
    };
    for name in NAMES {
        version(name);
    }
    point(NAMES[0]);
    let ring = Keyring::from_dir(directory.path()).unwrap();
    during(
        |round| {
            point(NAMES[round % NAMES.len()]);
            thread::sleep(Duration::from_micros(200));
        },
        || {
            for _ in 0..500 {
                match ring.reload() {
                    Ok(reloaded) => assert!(reloaded.is_clean(), "{reloaded}"),
                    Err(Error::KeyFile {
                        error: KeyFileError::Changing,
                        ..
                    }) => {}
                    Err(error) => panic!("{error}"),
                }
                let versions = NAMES.iter();
                let mut of_one =
                    versions.filter(|name| ["a", "b"].iter().all(|id| accepts(&ring, id, name)));
                assert!(of_one.next().is_some(), "two versions were mixed");
            }
        },
    );
}

#[test]
fn reloads_under_load_refuse_nobody_whose_file_stood_and_accept_nobody_whose_file_is_gone() {
    let directory = TempDir::new();
    directory.key_file("steady.key", secret("steady"));
    let ring = Keyring::from_dir(directory.path()).unwrap();
    let server = Server::new(ring.clone());
    let login = |name: &str| {
        let (near, far) = tcp_pair();
        let client = Client::new(key(name).with_id(name).unwrap());
        let timeout = Duration::from_secs(20);
        thread::scope(|scope| {
            let client = scope.spawn(move || client.authenticate_timeout(&near, timeout));
            let accepted = server.authenticate_timeout(&far, timeout).is_ok();
            drop(far);
            assert_eq!(client.join().unwrap().is_ok(), accepted);
            accepted
        })
    };
    // Neighbours come, break and go, while another thread reloads too.
    let disturb = |round: usize| {
        let name = format!("neighbour-{}.key", round % 5);
        match round % 3 {
            0 => drop(directory.key_file(&name, secret("neighbour"))),
            1 => drop(directory.key_file(&name, "broken")),
            _ => drop(fs::remove_file(directory.path().join(name))),
        }
        if round.is_multiple_of(50) {
            drop(ring.reload().unwrap());
        }
        thread::sleep(Duration::from_micros(100));
    };
    during(disturb, || {
        for round in 0..1000 {
            let came = round % 2 == 0;
            let path = directory.path().join("comer.key");
            if came {
                // Beside and renamed, as the guide says.
                let new = directory.key_file("comer.new", secret("comer"));
                fs::rename(new, &path).unwrap();
            } else {
                fs::remove_file(&path).unwrap();
            }
            ring.reload().unwrap();
            assert_eq!(ring.contains("comer"), came, "round {round}");
            assert!(ring.contains("steady"), "round {round}");
            if round % 10 < 2 {
                assert!(login("steady"), "round {round}");
                assert_eq!(login("comer"), came, "round {round}");
            }
        }
    });
}
