//! Measures a login through a listener, from `connect` until the program has the stream and the
//! client has succeeded, relative to an accept loop by hand with a thread or a task for each
//! connection, in which both ends exchange constants of the same sizes, or make the same handshake.
//!
//! Client, server and the runtime of tokio share one core, so that every cycle of each counts.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed bench panics"
)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use countersign::{Key, Listener, Server, client_authenticate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;

#[path = "common/turns.rs"]
mod turns;
use turns::{in_turn, rounds};

/// The logins of one turn.
const LOGINS: u32 = 20;

fn main() {
    // Before there is a second thread, which inherits the core.
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    match cores.last() {
        Some(&core) if core_affinity::set_for_current(core) => println!("All of it on one core."),
        _ => println!("NOT on one core: this system does not pin threads."),
    }
    let key = Key::new("what both ends of this one share").unwrap();
    let constants = |stream: &mut TcpStream| constants_client(stream).unwrap();
    let handshake = |stream: &mut TcpStream| drop(client_authenticate(stream, &key).unwrap());
    let [server, servers] = [(); 2].map(|()| Server::new(key.clone()));
    let servers = Arc::new(countersign::tokio::Server::from(servers));
    let ends = [
        Ends::new(|socket, done| by_hand(socket, done, constants_server)),
        Ends::new(|socket, done| {
            by_hand(socket, done, move |stream| {
                handshake_server(&server, stream)
            });
        }),
        Ends::new(|socket, done| listener(&key, socket, done)),
        Ends::new(|socket, done| {
            over_tokio(by_hand_over_tokio(socket, done, constants_over_tokio));
        }),
        Ends::new(|socket, done| {
            let handshake = move |stream| handshake_over_tokio(servers.clone(), stream);
            over_tokio(by_hand_over_tokio(socket, done, handshake));
        }),
        Ends::new(|socket, done| over_tokio(listener_over_tokio(key.clone(), socket, done))),
    ];

    let rounds = rounds(300);
    let times = in_turn(
        rounds,
        [
            &mut || ends[0].log_in(&constants),
            &mut || ends[1].log_in(&handshake),
            &mut || ends[2].log_in(&handshake),
            &mut || ends[3].log_in(&constants),
            &mut || ends[4].log_in(&handshake),
            &mut || ends[5].log_in(&handshake),
        ],
    );
    println!("Medians (and quartiles) over {rounds} rounds of {LOGINS} logins of each in turn.");
    let unit = LOGINS * Duration::from_micros(1);
    for (driver, times) in [("std", &times[..3]), ("tokio", &times[3..])] {
        let [constants, by_hand, listener] = times else {
            panic!("there are three of each");
        };
        println!("{driver}");
        for (name, times) in [
            ("constants by hand", constants),
            ("handshake by hand", by_hand),
            ("listener", listener),
        ] {
            println!("  {name:<24}{:.1} us", times.in_units_of(unit));
        }
        // Of the times, and so the other way round.
        println!(
            "  {:<24}{} times constants",
            "its rate",
            constants.against(listener)
        );
        println!(
            "  {:<24}{} times the handshake by hand",
            "",
            by_hand.against(listener)
        );
    }
}

/// A server, which reports when its program had each stream.
struct Ends {
    address: SocketAddr,
    done: Receiver<Instant>,
}

impl Ends {
    fn new(serve: impl FnOnce(TcpListener, Sender<Instant>)) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let (send, done) = mpsc::channel();
        serve(socket, send);
        Self { address, done }
    }

    fn log_in(&self, client: &impl Fn(&mut TcpStream)) -> Duration {
        (0..LOGINS)
            .map(|_| {
                let start = Instant::now();
                let mut stream = TcpStream::connect(self.address).unwrap();
                stream.set_nodelay(true).unwrap();
                client(&mut stream);
                let clients = Instant::now();
                // The server closes first, or the client's ports would not be free for a minute.
                clients.max(self.done.recv().unwrap()) - start
            })
            .sum()
    }
}

fn finish<S>(stream: S, done: &Sender<Instant>) {
    let now = Instant::now();
    drop(stream);
    // This fails once the bench is over.
    let _ = done.send(now);
}

fn listener(key: &Key, socket: TcpListener, done: Sender<Instant>) {
    let listener = Listener::new(socket, Server::new(key.clone())).unwrap();
    thread::spawn(move || {
        while let Ok((stream, _session)) = listener.accept() {
            finish(stream, &done);
        }
    });
}

fn by_hand(
    socket: TcpListener,
    done: Sender<Instant>,
    serve: impl Fn(&mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
) {
    let (ready, streams) = mpsc::channel();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        loop {
            let (mut stream, _) = socket.accept().unwrap();
            let (ready, serve) = (ready.clone(), serve.clone());
            thread::spawn(move || {
                stream.set_nodelay(true).unwrap();
                serve(&mut stream).unwrap();
                ready.send(stream).unwrap();
            });
        }
    });
    thread::spawn(move || {
        for stream in streams {
            finish(stream, &done);
        }
    });
}

fn handshake_server(server: &Server<Key>, stream: &mut TcpStream) -> io::Result<()> {
    server.authenticate_timeout(stream, LONG)?;
    Ok(())
}

fn over_tokio(serve: impl Future<Output = ()> + Send + 'static) {
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve);
    });
}

fn to_tokio(socket: TcpListener) -> tokio::net::TcpListener {
    socket.set_nonblocking(true).unwrap();
    tokio::net::TcpListener::from_std(socket).unwrap()
}

async fn listener_over_tokio(key: Key, socket: TcpListener, done: Sender<Instant>) {
    let server = countersign::tokio::Server::new(key);
    let listener = countersign::tokio::Listener::new(to_tokio(socket), server).unwrap();
    while let Ok((stream, _session)) = listener.accept().await {
        finish(stream, &done);
    }
}

async fn by_hand_over_tokio<F>(
    socket: TcpListener,
    done: Sender<Instant>,
    serve: impl Fn(tokio::net::TcpStream) -> F,
) where
    F: Future<Output = io::Result<tokio::net::TcpStream>> + Send + 'static,
{
    let socket = to_tokio(socket);
    let (ready, mut streams) = tokio::sync::mpsc::unbounded_channel();
    let accept = async {
        loop {
            let (stream, _) = socket.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (ready, served) = (ready.clone(), serve(stream));
            tokio::spawn(async move { ready.send(served.await.unwrap()).unwrap() });
        }
    };
    let take = async {
        while let Some(stream) = streams.recv().await {
            finish(stream, &done);
        }
    };
    tokio::join!(accept, take);
}

async fn constants_over_tokio(
    mut stream: tokio::net::TcpStream,
) -> io::Result<tokio::net::TcpStream> {
    stream.write_all(&F1).await?;
    stream.read_exact(&mut [0; F2.len()]).await?;
    stream.write_all(&F3).await?;
    Ok(stream)
}

async fn handshake_over_tokio(
    server: Arc<countersign::tokio::Server<Key>>,
    mut stream: tokio::net::TcpStream,
) -> io::Result<tokio::net::TcpStream> {
    server.authenticate_timeout(&mut stream, LONG).await?;
    Ok(stream)
}

/// A deadline that is never reached.
const LONG: Duration = Duration::from_secs(60);

const F1: [u8; 40] = [1; 40];
const F2: [u8; 73] = [2; 73];
const F3: [u8; 33] = [3; 33];

fn constants_client(stream: &mut TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0; F1.len()])?;
    stream.write_all(&F2)?;
    stream.read_exact(&mut [0; F3.len()])
}

fn constants_server(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&F1)?;
    stream.read_exact(&mut [0; F2.len()])?;
    stream.write_all(&F3)
}
