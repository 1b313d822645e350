//! Listeners whose socket others hold too, or whose path others have used.

use std::io::ErrorKind;
use std::net::TcpListener;
#[cfg(unix)]
use std::{fs, os::unix::net::UnixListener, path::Path};

#[cfg(unix)]
use countersign::Client;
use countersign::{Listener, Server};

use super::clients::log_in;
#[cfg(unix)]
use super::running::options;
use super::running::{ring, worker};
#[cfg(any(unix, feature = "tokio"))]
use crate::sockets::LONG;
#[cfg(unix)]
use crate::support::{Driver, TempDir};

#[test]
fn a_listener_that_ends_disturbs_no_other_holder_of_its_socket() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    let listen = || Listener::new(socket.try_clone().unwrap(), Server::new(ring())).unwrap();
    let (one, other) = (listen(), listen());
    assert_eq!(one.local_addr(), Some(address));
    one.shutdown();
    assert!(one.accept().is_err());
    for nth in 0..3 {
        let _client = log_in(address, &worker(nth)).unwrap();
        let _stream = other.accept().unwrap();
    }
    drop((one, other));
    // It is still not in blocking mode, and still listens.
    assert_eq!(socket.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    let _client = std::net::TcpStream::connect(address).unwrap();
}

/// A std listener must not change the flags that a runtime's sockets need, or the runtime's thread
/// would wait in `accept`.
#[cfg(feature = "tokio")]
#[test]
fn a_listener_and_a_runtime_that_share_a_socket_both_go_on() {
    use std::sync::mpsc::{self, RecvTimeoutError};
    use std::thread;

    use tokio::time::{Duration, interval};

    use crate::sockets::{listener_over_tokio, until};
    use crate::support::block_on;

    const CLIENTS: usize = 40;

    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    let shared = socket.try_clone().unwrap();
    let listener = std::sync::Arc::new(Listener::new(socket, Server::new(ring())).unwrap());
    let (by_runtime, by_listener) = (mpsc::channel(), mpsc::channel());
    let (ticked, ticks) = mpsc::channel();

    // Everything of this runtime runs on one thread.
    let runtime = thread::spawn(move || {
        block_on(async {
            let shared = listener_over_tokio(shared);
            let server = countersign::tokio::Server::new(ring());
            let mut ticking = interval(Duration::from_millis(5));
            loop {
                tokio::select! {
                    accepted = shared.accept() => {
                        let (mut stream, _) = accepted.unwrap();
                        server.authenticate(&mut stream).await.unwrap();
                        by_runtime.0.send(stream).unwrap();
                    }
                    _ = ticking.tick() => if ticked.send(()).is_err() {
                        return;
                    },
                }
            }
        });
    });
    let accepting = std::sync::Arc::clone(&listener);
    let blocking = thread::spawn(move || {
        while let Ok(accepted) = accepting.accept() {
            by_listener.0.send(accepted).unwrap();
        }
    });

    let (mut runtimes, mut listeners) = (Vec::new(), Vec::new());
    // Which of the two takes a connection is not known beforehand, but each takes some.
    let mut clients = 0;
    until(|| {
        log_in(address, &worker(clients)).map(drop).unwrap();
        clients += 1;
        runtimes.extend(by_runtime.1.try_iter());
        listeners.extend(by_listener.1.try_iter());
        clients >= CLIENTS && !runtimes.is_empty() && !listeners.is_empty()
    });
    listener.shutdown();
    blocking.join().unwrap();
    for _ in 0..3 {
        log_in(address, &worker(clients)).map(drop).unwrap();
        clients += 1;
    }
    until(|| {
        runtimes.extend(by_runtime.1.try_iter());
        listeners.extend(by_listener.1.try_iter());
        runtimes.len() + listeners.len() == clients
    });
    // The runtime still runs its other tasks.
    while ticks.try_recv().is_ok() {}
    assert_ne!(ticks.recv_timeout(LONG), Err(RecvTimeoutError::Timeout));
    drop(ticks);
    runtime.join().unwrap();
}

/// Binds a path, and returns what ends the listener when it is dropped.
#[cfg(unix)]
pub fn bind(driver: Driver, path: &Path) -> std::io::Result<Box<dyn Send>> {
    bind_with_mode(driver, path, 0o600)
}

#[cfg(unix)]
fn bind_with_mode(driver: Driver, path: &Path, mode: u32) -> std::io::Result<Box<dyn Send>> {
    let server = Server::new(ring());
    Ok(match driver {
        Driver::Blocking => Box::new(Listener::bind_unix(path, mode, server, options())?),
        #[cfg(feature = "tokio")]
        Driver::Tokio => {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(1).enable_all().build()?;
            let entered = runtime.enter();
            let listener =
                countersign::tokio::Listener::bind_unix(path, mode, server.into(), options())?;
            drop(entered);
            // Then the runtime ends, and the accepting task with it.
            Box::new((listener, runtime))
        }
    })
}

#[cfg(unix)]
#[test]
fn a_path_is_taken_over_from_nobody_who_listens_and_is_removed_at_the_end() {
    let directory = TempDir::new();
    for &driver in Driver::ALL {
        let path = directory.path().join(format!("{driver:?}"));
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());

        let listener = bind(driver, &path).unwrap();
        let client = Client::new(worker(1)).connect_timeout(LONG);
        client.connect_unix(&path).unwrap();
        let taken = bind(driver, &path).err().unwrap();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        client.connect_unix(&path).unwrap();
        drop(listener);
        assert!(!path.exists());

        fs::write(&path, "no socket").unwrap();
        let no_socket = bind(driver, &path).err().unwrap();
        assert_eq!(no_socket.kind(), ErrorKind::AddrInUse);
        assert_eq!(fs::read(&path).unwrap(), b"no socket");
    }
}

/// On Linux, an address has room for 108 bytes.
#[cfg(target_os = "linux")]
#[test]
fn a_short_path_in_a_deep_directory_is_taken_over_too() {
    use crate::support::{Few, again};

    let test = a_short_path_in_a_deep_directory_is_taken_over_too;
    again(&test, Few::Nothing, || {
        let directory = TempDir::new();
        let deep = directory.path().join("d".repeat(200));
        fs::create_dir(&deep).unwrap();
        std::env::set_current_dir(&deep).unwrap();
        for &driver in Driver::ALL {
            let path = Path::new("short");
            drop(UnixListener::bind(path).unwrap());
            let listener = bind(driver, path).unwrap();
            let taken = bind(driver, path).err().unwrap();
            assert_eq!(taken.kind(), ErrorKind::AddrInUse);
            drop(listener);
            assert!(!path.exists());
        }
    });
}

/// Both drivers bind with the same code.
#[cfg(unix)]
#[test]
fn of_those_that_take_a_path_over_at_once_one_listens() {
    use std::sync::Barrier;
    use std::thread;

    const AT_ONCE: usize = 3;

    let directory = TempDir::new();
    for round in 0..400 {
        let path = directory.path().join(round.to_string());
        drop(UnixListener::bind(&path).unwrap());
        let all_are_here = Barrier::new(AT_ONCE);
        let bind = || {
            all_are_here.wait();
            bind(Driver::Blocking, &path)
        };
        let bound = thread::scope(|scope| {
            let threads = [(); AT_ONCE].map(|()| scope.spawn(bind));
            threads.map(|thread| thread.join().unwrap())
        });
        assert_eq!(bound.iter().filter(|bound| bound.is_ok()).count(), 1);
        std::os::unix::net::UnixStream::connect(&path).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_path_on_which_somebody_listens_is_not_taken_over_though_the_queue_is_full() {
    use std::os::unix::net::UnixStream;

    let directory = TempDir::new();
    let path = directory.path().join("full");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let address = socket2::SockAddr::unix(&path).unwrap();
    socket.bind(&address).unwrap();
    for &driver in Driver::ALL {
        // It is bound, and does not listen yet.
        let error = bind(driver, &path).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }
    socket.listen(0).unwrap();
    let queued = UnixStream::connect(&path).unwrap();
    let another = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    another.set_nonblocking(true).unwrap();
    let full = another.connect(&address).unwrap_err();
    assert_ne!(full.kind(), ErrorKind::ConnectionRefused);
    for &driver in Driver::ALL {
        let error = bind(driver, &path).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }
    let (accepted, _) = socket.accept().unwrap();
    drop((queued, accepted));
}

/// Every user who may read a directory can lock it.
#[cfg(target_os = "linux")]
#[test]
fn a_lock_that_another_holds_makes_a_take_over_fail_and_not_hang() {
    use std::time::Instant;

    use rustix::fs::{FlockOperation, flock};

    let directory = TempDir::new();
    let lock = fs::File::open(directory.path()).unwrap();
    flock(&lock, FlockOperation::LockShared).unwrap();
    for &driver in Driver::ALL {
        let path = directory.path().join(format!("{driver:?}"));
        drop(UnixListener::bind(&path).unwrap());
        let began = Instant::now();
        let error = bind(driver, &path).err().unwrap();
        assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
        assert_eq!(error.kind(), ErrorKind::ResourceBusy);
        let name = directory.path().display().to_string();
        assert!(error.to_string().contains(&name), "{error}");

        // What the error says helps.
        fs::remove_file(&path).unwrap();
        drop(bind(driver, &path).unwrap());
    }
    drop(lock);
    let path = directory.path().join("free");
    drop(UnixListener::bind(&path).unwrap());
    drop(bind(Driver::Blocking, &path).unwrap());
}

#[cfg(unix)]
#[test]
fn a_path_has_the_mode_that_it_is_given() {
    use std::os::unix::fs::PermissionsExt;

    let directory = TempDir::new();
    for &driver in Driver::ALL {
        for mode in [0o600, 0o660, 0o666] {
            let path = directory.path().join(format!("{driver:?}-{mode:o}"));
            let _listener = bind_with_mode(driver, &path, mode).unwrap();
            let permissions = fs::metadata(&path).unwrap().permissions();
            assert_eq!(permissions.mode() & 0o777, mode);
        }
    }
}

#[cfg(unix)]
#[test]
fn a_path_that_another_has_bound_meanwhile_stays() {
    let directory = TempDir::new();
    for &driver in Driver::ALL {
        let path = directory.path().join(format!("{driver:?}"));
        let listener = bind(driver, &path).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(listener);
        assert!(path.exists());
    }
}

/// Tokio prints the panics of the runtimes that lack something.
#[cfg(feature = "tokio")]
#[test]
fn a_listener_over_tokio_needs_a_runtime_with_time_and_io() {
    use tokio::runtime::Builder;

    use crate::sockets::listener_over_tokio;

    let socket = || {
        let _runtime = super::running::runtime().enter();
        listener_over_tokio(TcpListener::bind("127.0.0.1:0").unwrap())
    };
    let start =
        || countersign::tokio::Listener::new(socket(), countersign::tokio::Server::new(ring()));
    let bind = || {
        let server = countersign::tokio::Server::new(ring());
        countersign::tokio::Listener::bind("127.0.0.1:0", server)
    };
    assert!(start().is_err());
    for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        for (runtime, is_enough) in [
            (builder.build(), false),
            (builder.enable_io().build(), false),
            (builder.enable_time().build(), true),
        ] {
            let runtime = runtime.unwrap();
            assert_eq!(runtime.block_on(bind()).is_ok(), is_enough);
            let _entered = runtime.enter();
            assert_eq!(start().is_ok(), is_enough);
        }
    }
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    #[cfg(unix)]
    assert!(runtime.block_on(bind()).is_err());
    let _entered = runtime.enter();
    assert_eq!(start().is_ok(), cfg!(not(unix)));
}
