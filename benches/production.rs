//! Measures what matters for a server in production: logins a second over tokio, the memory of a
//! pending connection, and the look-up in a large key ring.
//!
//! Each is compared, in one run and in turn, with the same work without this crate:
//!
//! - Logins a second at 1, 100 and 1,000 clients at once, relative to messages of constants. Logins
//!   under a deadline are compared with constants under tokio's own timeout. The ratio should be at
//!   least 0.9.
//! - The heap of a connection that is pending in the listener, compared with a task that holds a
//!   socket and awaits a read. It should be at most 2 KiB more.
//! - A look-up among 100,000 keys in random order, compared with a map that returns clones of the
//!   same keys. It should take at most twice as long.
//!
//! Both ends of a login, and the runtime, share one thread on one core. So every cycle of either
//! counts, and nothing depends on when the system wakes another core. The clients' cryptography
//! counts too, so a server with clients on other machines is faster than this.
//!
//! The bench needs about 4,200 file descriptors (`ulimit -n`).

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed bench panics"
)]

use std::borrow::Cow;
use std::collections::HashMap;
use std::hint::black_box;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::time::{Duration, Instant};

use allocation_counter::measure;
use countersign::tokio::{Client, Listener, Server};
use countersign::{Key, KeyId, KeyLookup, Keyring, ListenerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, spawn, yield_now};
use tokio::time::timeout;

#[path = "common/turns.rs"]
mod turns;
use turns::{Times, in_turn, rounds};

fn main() {
    // Before there is a second thread, which inherits the core.
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    match cores.last() {
        Some(&core) if core_affinity::set_for_current(core) => println!("All of it on one core."),
        _ => println!("NOT on one core: this system does not pin threads."),
    }
    logins();
    pending();
    look_ups();
}

/// A deadline that is never reached.
const LONG: Duration = Duration::from_secs(60);

const SECOND: Duration = Duration::from_secs(1);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The number of clients at once, and how often each of them logs in for one measurement.
const CROWDS: [(u32, u32); 3] = [(1, 1500), (100, 15), (1000, 2)];

fn logins() {
    let runtime = runtime();
    let key = Key::new("what both ends of this one share").unwrap();
    let ring = Keyring::new();
    ring.insert(key.clone());
    // Leaked, because a task can only borrow what is static.
    let client: &'static Client = Box::leak(Box::new(Client::new(key)));
    let server: &'static Server<Keyring> = Box::leak(Box::new(Server::new(ring)));

    let rounds = rounds(21);
    println!("\nLogins a second, medians (and quartiles) over {rounds} rounds of each in turn.");
    for (clients, times) in CROWDS {
        let crowd = &Crowd {
            runtime: &runtime,
            clients,
            times,
        };
        // Each kind has its own futures, so that the constants do not pay for the size of the others.
        let kinds: [&mut dyn FnMut() -> Duration; 4] = [
            &mut || crowd.log_in(constants_client, constants_server),
            &mut || {
                crowd.log_in(
                    |stream| async { timeout(LONG, constants_client(stream)).await.unwrap() },
                    |stream| async { timeout(LONG, constants_server(stream)).await.unwrap() },
                )
            },
            &mut || {
                crowd.log_in(
                    move |mut stream| async move {
                        drop(client.authenticate(&mut stream).await.unwrap());
                    },
                    move |mut stream| async move {
                        drop(server.authenticate(&mut stream).await.unwrap());
                    },
                )
            },
            &mut || {
                crowd.log_in(
                    move |mut stream| async move {
                        let session = client.authenticate_timeout(&mut stream, LONG).await;
                        drop(session.unwrap());
                    },
                    move |mut stream| async move {
                        let session = server.authenticate_timeout(&mut stream, LONG).await;
                        drop(session.unwrap());
                    },
                )
            },
        ];
        let [constants, timeout, handshake, deadline] = in_turn(rounds, kinds);

        println!("{clients} at once");
        let print = |name: &str, times: &Times, bases: &[(&Times, &str)]| {
            let rate = crowd.size() / times.in_units_of(SECOND).median;
            println!("  {name:<28}{rate:.0}");
            for (base, than) in bases {
                println!("{:<30}{} times {than}", "", base.against(times));
            }
        };
        let (bare, limited) = (
            (&constants, "the constants"),
            (&timeout, "constants under a timeout"),
        );
        print("constants", &constants, &[]);
        print("constants under a timeout", &timeout, &[bare]);
        print("handshake", &handshake, &[bare]);
        print("handshake under a deadline", &deadline, &[limited, bare]);
    }
}

/// A number of clients, each of which logs in a number of times.
struct Crowd<'r> {
    runtime: &'r Runtime,
    clients: u32,
    times: u32,
}

impl Crowd<'_> {
    /// Returns the time from the first `connect` until both ends of the last login have succeeded.
    fn log_in<C, S>(
        &self,
        client: impl Fn(TcpStream) -> C + Copy + Send + 'static,
        server: impl Fn(TcpStream) -> S,
    ) -> Duration
    where
        C: Future<Output = ()> + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let &Self { clients, times, .. } = self;
        self.runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let start = Instant::now();
            let mut tasks = JoinSet::new();
            for _ in 0..clients {
                tasks.spawn(async move {
                    for _ in 0..times {
                        let stream = TcpStream::connect(address).await.unwrap();
                        // Closed by a reset. Otherwise the system would keep each port for a
                        // minute and run out of ports.
                        stream.set_zero_linger().unwrap();
                        client(stream).await;
                    }
                });
            }
            for _ in 0..clients * times {
                tasks.spawn(server(listener.accept().await.unwrap().0));
            }
            while let Some(ended) = tasks.join_next().await {
                ended.unwrap();
            }
            start.elapsed()
        })
    }

    fn size(&self) -> f64 {
        f64::from(self.clients * self.times)
    }
}

const F1: [u8; 40] = [1; 40];
const F2: [u8; 73] = [2; 73];
const F3: [u8; 33] = [3; 33];

async fn constants_client(mut stream: TcpStream) {
    stream.read_exact(&mut [0; F1.len()]).await.unwrap();
    stream.write_all(&F2).await.unwrap();
    stream.flush().await.unwrap();
    stream.read_exact(&mut [0; F3.len()]).await.unwrap();
}

async fn constants_server(mut stream: TcpStream) {
    stream.write_all(&F1).await.unwrap();
    stream.flush().await.unwrap();
    stream.read_exact(&mut [0; F2.len()]).await.unwrap();
    stream.write_all(&F3).await.unwrap();
    stream.flush().await.unwrap();
}

/// A power of two, so that the listener's queue, which grows by doubling, has no unused space.
const PENDING: u32 = 2048;

fn pending() {
    let runtime = runtime();
    let server = Server::new(Keyring::new());
    println!("\nA pending connection, mean of {PENDING}, in bytes.");
    let handshake = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = (TcpStream::connect(listener.local_addr().unwrap()).await).unwrap();
        size_of_val(&server.authenticate_timeout(&mut stream, LONG))
    });
    println!("{:<30}{handshake:>7}", "the handshake's future");

    let bare = heap_of_each(|socket| drop(spawn(greet(socket))));
    println!("{:<30}{bare:>7.0}", "heap of a bare task");
    let count = usize::try_from(PENDING).unwrap();
    let options = ListenerOptions::new().deadline(LONG).max_pending(count);
    let ours = heap_of_each(|socket| Listener::with_options(socket, server, options).unwrap());
    println!("{:<30}{ours:>7.0}", "heap in the listener");
    println!("{:<30}{:>7.0} more", "", ours - bare);
}

/// Returns the heap of one connection after the server has sent F1 and while its client is silent.
///
/// All of it is allocated on this thread, because the runtime has no other.
fn heap_of_each<L>(listen: impl FnOnce(TcpListener) -> L) -> f64 {
    let runtime = runtime();
    let (socket, address) = runtime.block_on(async {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    });
    let mut clients = Vec::with_capacity(usize::try_from(PENDING).unwrap());
    let mut listener = None;
    let info = measure(|| {
        runtime.block_on(async {
            listener = Some(listen(socket));
            for _ in 0..PENDING {
                clients.push(greeted(address).await);
            }
        });
    });
    drop((listener, clients));
    f64::from(i32::try_from(info.bytes_current).unwrap()) / f64::from(PENDING)
}

/// The smallest server that sends first.
async fn greet(socket: TcpListener) {
    loop {
        let (mut stream, _) = socket.accept().await.unwrap();
        spawn(async move {
            stream.write_all(&F1).await.unwrap();
            // It only returns once the client goes away.
            stream.read_u8().await.is_ok()
        });
    }
}

/// A client that received F1 and sends nothing.
async fn greeted(address: SocketAddr) -> StdTcpStream {
    // Not tokio's stream, whose heap would be counted.
    let stream = StdTcpStream::connect(address).unwrap();
    stream.set_nonblocking(true).unwrap();
    loop {
        match stream.peek(&mut [0; F1.len()]) {
            Ok(_) => return stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

const KEYS: usize = 100_000;

/// Long enough for the clock, and short enough to be rarely interrupted.
const BATCH: usize = 2000;

fn look_ups() {
    let ring = Keyring::new();
    let mut map = HashMap::new();
    let mut ids = Vec::with_capacity(KEYS);
    for n in 0..KEYS {
        let id = KeyId::new(format!("worker-{n}")).unwrap();
        let secret = format!("what the worker {n} shares with its server");
        let key = Key::new(secret).unwrap().with_id(id).unwrap();
        ring.insert(key.clone());
        map.insert(id, key);
        ids.push(id);
    }
    shuffle(&mut ids);

    let rounds = rounds(500);
    // Each takes a new batch in each round, and not one that the other has just taken, whose ids
    // would be in a cache.
    let mut maps = ids.chunks_exact(BATCH).cycle();
    let mut rings = maps.clone().skip(ids.len() / BATCH / 2);
    let [map, ring] = in_turn(
        rounds,
        [
            &mut || {
                time(maps.next().unwrap(), |id| {
                    map.get(id).cloned().map(Cow::Owned)
                })
            },
            &mut || time(rings.next().unwrap(), |id| ring.find(id)),
        ],
    );
    println!("\nA look-up among {KEYS}, over {rounds} rounds of {BATCH} of each in turn.");
    let unit = u32::try_from(BATCH).unwrap() * Duration::from_nanos(1);
    for (name, times) in [("bare map", &map), ("ring", &ring)] {
        let nanoseconds = times.in_units_of(unit);
        println!("{name:<30}{nanoseconds:.0} ns");
    }
    println!("{:<30}{} times the map", "", ring.against(&map));
}

fn time<'k>(batch: &[KeyId], find: impl Fn(&[u8]) -> Option<Cow<'k, Key>>) -> Duration {
    let start = Instant::now();
    for id in batch {
        black_box(find(black_box(id.as_bytes())).unwrap());
    }
    start.elapsed()
}

/// Makes the order independent of the addresses of the keys.
fn shuffle<T>(items: &mut [T]) {
    // A linear congruential generator (Knuth's MMIX) is random enough.
    let mut state = 1_u64;
    for end in (1..items.len()).rev() {
        state =
            (state.wrapping_mul(6_364_136_223_846_793_005)).wrapping_add(1_442_695_040_888_963_407);
        items.swap(end, usize::try_from(state >> 33).unwrap() % (end + 1));
    }
}
