//! Connections that nobody wants.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use countersign::tokio::Client;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::role::until_closed;
use super::server::key;

pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Connects from an address of loopback, whose second byte is the `group`.
pub async fn connect(group: u8, nth: u32, address: SocketAddr) -> io::Result<TcpStream> {
    let [_, _, high, low] = nth.to_be_bytes();
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, group, high, low), 0).into())?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The addresses of attackers.
const ATTACKERS: u8 = 128;

/// A server that is full may leave a connection unanswered.
const FILLED: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Counts {
    opened: AtomicUsize,
    ended: AtomicUsize,
}

/// Opens `first` silent connections as fast as possible and prints a line. Then opens `rate` a
/// second until standard input is closed, and prints how many it opened and how many were ended.
pub fn attack(address: SocketAddr, sources: u32, rate: u32, first: u32) {
    let counts = Arc::new(Counts::default());
    let over = Arc::new(AtomicBool::new(false));
    let ends = over.clone();
    thread::spawn(move || {
        until_closed();
        ends.store(true, Ordering::Relaxed);
    });
    runtime().block_on(async {
        let mut connections = JoinSet::new();
        let mut nth = 0;
        let mut open = |connections: &mut JoinSet<()>| {
            connections.spawn(stay(nth % sources, address, counts.clone()));
            nth += 1;
        };
        let filling = Instant::now();
        for already in 0..first {
            // Fewer at once than the queue of a listening socket holds.
            while usize::try_from(already).unwrap() > opened(&counts) + 50
                && filling.elapsed() < FILLED
            {
                sleep(Duration::from_millis(1)).await;
            }
            open(&mut connections);
        }
        println!("{first} are open");
        let began = Instant::now();
        let mut sent = 0.0;
        while !over.load(Ordering::Relaxed) {
            while sent < began.elapsed().as_secs_f64() * f64::from(rate) {
                open(&mut connections);
                sent += 1.0;
            }
            while connections.try_join_next().is_some() {}
            sleep(Duration::from_millis(1)).await;
        }
        println!("{}", opened(&counts));
        println!("{}", counts.ended.load(Ordering::Relaxed));
    });
}

fn opened(counts: &Counts) -> usize {
    counts.opened.load(Ordering::Relaxed)
}

/// Opens one connection and waits for its end.
async fn stay(source: u32, address: SocketAddr, counts: Arc<Counts>) {
    let connected = connect(ATTACKERS, source, address).await;
    // One that could not be opened counts, too, or nobody would go on.
    counts.opened.fetch_add(1, Ordering::Relaxed);
    if let Ok(mut stream) = connected {
        while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
        counts.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// Opens `count` connections, 20 at once. Of four, one logs in and the others leave at once, after
/// the challenge, and after a byte that is wrong.
pub fn come_and_go(address: SocketAddr, count: u32) {
    const AT_ONCE: u32 = 20;

    runtime().block_on(async {
        let client = Arc::new(Client::new(key()));
        let mut tasks = JoinSet::new();
        for first in 0..AT_ONCE {
            let client = client.clone();
            tasks.spawn(async move {
                for nth in (first..count).step_by(AT_ONCE as usize) {
                    let mut stream = connect(ATTACKERS, nth % 2000, address).await.unwrap();
                    // By a reset, or the ports would not be free for a minute.
                    stream.set_zero_linger().unwrap();
                    let way = nth / AT_ONCE % 4;
                    if way == 0 {
                        drop(client.authenticate(&mut stream).await.unwrap());
                    } else if way > 1 {
                        stream.read_exact(&mut [0; 40]).await.unwrap();
                    }
                    if way == 3 {
                        stream.try_write(b"?").unwrap();
                    }
                }
            });
        }
        tasks.join_all().await;
    });
}
