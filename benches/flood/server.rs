//! The servers: the two listeners, and accept loops by hand.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Shutdown, TcpListener as StdTcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use countersign::{Key, ListenerOptions, Outcome, Server};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Builder;

use super::attacker::runtime;
use super::role::until_closed;

pub fn key() -> Key {
    Key::new("what the server and its clients share").unwrap()
}

/// The default of a listener.
const DEADLINE: Duration = Duration::from_secs(10);
/// The connections that wait to be accepted, as with the `bind` of a listener.
const QUEUE: u32 = 4096;
/// The pause after a connection could not be accepted or started.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves with this cap, and with a hook that takes so many milliseconds for an eviction.
pub fn serve(kind: &str, cap: usize, hook: u64) {
    let hook = Duration::from_millis(hook);
    let socket = listen();
    let address = socket.local_addr().unwrap();
    match kind {
        "std" => {
            let listener =
                countersign::Listener::with_options(socket, Server::new(key()), options(cap, hook));
            let listener = listener.unwrap();
            thread::spawn(move || while listener.accept().is_ok() {});
            println!("{address}");
            until_closed();
        }
        "std by hand" => {
            thread::spawn(move || by_hand(&socket, cap, hook));
            println!("{address}");
            until_closed();
        }
        "tokio" | "tokio by hand" => {
            let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
            let _runtime = runtime.enter();
            socket.set_nonblocking(true).unwrap();
            let socket = TcpListener::from_std(socket).unwrap();
            if kind == "tokio" {
                let server = countersign::tokio::Server::new(key());
                let listener =
                    countersign::tokio::Listener::with_options(socket, server, options(cap, hook));
                let listener = listener.unwrap();
                runtime.spawn(async move { while listener.accept().await.is_ok() {} });
            } else {
                runtime.spawn(by_hand_over_tokio(socket, cap, hook));
            }
            println!("{address}");
            until_closed();
        }
        other => panic!("there is no server called {other}"),
    }
}

/// Returns a socket in blocking mode.
fn listen() -> StdTcpListener {
    let runtime = runtime();
    let _entered = runtime.enter();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let socket = socket.listen(QUEUE).unwrap().into_std().unwrap();
    socket.set_nonblocking(false).unwrap();
    socket
}

/// The listener has a hook only where the hook is measured.
fn options(cap: usize, hook: Duration) -> ListenerOptions {
    let options = ListenerOptions::new().deadline(DEADLINE).max_pending(cap);
    if hook.is_zero() {
        return options;
    }
    options.on_event(move |event| {
        if matches!(event.outcome, Outcome::Evicted) {
            thread::sleep(hook);
        }
    })
}

/// Handshakes by the order of their arrival, and what ends each.
type Pending<E> = Mutex<BTreeMap<u64, E>>;

/// Adds a handshake, and returns the oldest if there are more than `cap`.
fn enter<E>(pending: &Pending<E>, nth: u64, ends: E, cap: usize) -> Option<E> {
    let mut pending = pending.lock().unwrap();
    pending.insert(nth, ends);
    let evicted = (pending.len() > cap).then(|| pending.pop_first());
    Some(evicted??.1)
}

fn by_hand(socket: &StdTcpListener, cap: usize, hook: Duration) {
    let server = Arc::new(Server::new(key()));
    let pending = Arc::new(Pending::default());
    for nth in 0.. {
        let Ok((stream, _)) = socket.accept() else {
            thread::sleep(PAUSE);
            continue;
        };
        let stream = Arc::new(stream);
        if let Some(evicted) = enter(&pending, nth, stream.clone(), cap) {
            let _ = evicted.shutdown(Shutdown::Both);
        }
        let (server, theirs) = (server.clone(), pending.clone());
        let started = thread::Builder::new().spawn(move || {
            let outcome = server.authenticate_timeout(&*stream, DEADLINE);
            drop(stream);
            let was_pending = theirs.lock().unwrap().remove(&nth).is_some();
            if outcome.is_err() && !was_pending {
                thread::sleep(hook);
            }
        });
        if started.is_err() {
            pending.lock().unwrap().remove(&nth);
            thread::sleep(PAUSE);
        }
    }
}

async fn by_hand_over_tokio(socket: TcpListener, cap: usize, hook: Duration) {
    let server = Arc::new(countersign::tokio::Server::new(key()));
    let pending = Arc::new(Pending::default());
    for nth in 0.. {
        let Ok((mut stream, _)) = socket.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (server, theirs) = (server.clone(), pending.clone());
        let (start, started) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            // Otherwise it could leave before it has entered.
            let _ = started.await;
            let _session = server.authenticate_timeout(&mut stream, DEADLINE).await;
            drop(stream);
            theirs.lock().unwrap().remove(&nth);
        });
        if let Some(evicted) = enter(&pending, nth, task.abort_handle(), cap) {
            evicted.abort();
            if !hook.is_zero() {
                thread::sleep(hook);
            }
        }
        let _ = start.send(());
    }
}
