//! Listeners whose socket others hold too, or whose path others have used.

use std::io::ErrorKind;
use std::net::TcpListener;
#[cfg(unix)]
use std::{fs, os::unix::net::UnixListener, path::Path};

#[cfg(unix)]
use countersign::Client;
use countersign::{Listener, Server};

use super::clients::log_in;
use super::running::{options, ring, worker};
#[cfg(unix)]
use crate::{
    sockets::LONG,
    support::{Driver, TempDir},
};

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

/// Binds a path, and returns what ends the listener when it is dropped.
#[cfg(unix)]
fn bind(driver: Driver, path: &Path) -> std::io::Result<Box<dyn Send>> {
    let server = Server::new(ring());
    Ok(match driver {
        Driver::Blocking => Box::new(Listener::bind_unix(path, 0o600, server, options())?),
        #[cfg(feature = "tokio")]
        Driver::Tokio => {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(1).enable_all().build()?;
            let entered = runtime.enter();
            let listener =
                countersign::tokio::Listener::bind_unix(path, 0o600, server.into(), options())?;
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
    assert!(start().is_err());
    for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        for (runtime, is_enough) in [
            (builder.build(), false),
            (builder.enable_io().build(), false),
            (builder.enable_time().build(), true),
        ] {
            let runtime = runtime.unwrap();
            let _entered = runtime.enter();
            assert_eq!(start().is_ok(), is_enough);
        }
    }
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    assert_eq!(start().is_ok(), cfg!(not(unix)));
}
