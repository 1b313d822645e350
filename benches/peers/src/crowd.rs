//! Measures many logins at once over tokio, and what a pending login costs.
//!
//! Both ends and the runtime share one thread, so that every cycle of either counts.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use indicatif::ProgressBar;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

use crate::allocations::in_use;
use crate::peers::{Entry, Id, Peer};
use crate::results::Extent;
use crate::sample::Sample;

/// The numbers of clients at once.
pub const CROWDS: [usize; 3] = [1, 100, 1000];

/// The results of one peer, for each of the [`CROWDS`].
#[derive(Default)]
pub struct Rates {
    /// Seconds of wall-clock time for one login.
    pub wall: [Sample; CROWDS.len()],
    /// Seconds of CPU time for one login, including the system's.
    pub cpu: [Sample; CROWDS.len()],
}

pub fn runs_here(id: Id) -> bool {
    !id.is_beside()
}

pub fn measure(
    entries: &[Entry],
    extent: &Extent,
    bar: &ProgressBar,
) -> Result<Vec<(Id, Result<Rates>)>> {
    allow_descriptors(2 * CROWDS[CROWDS.len() - 1] + 100)?;
    let runtime = runtime()?;
    let entries = entries.iter().filter(|entry| runs_here(entry.id));
    let mut all: Vec<_> = entries
        .map(|entry| {
            let peer = entry.peer();
            (entry.id, peer.map(|peer| (peer, Rates::default())))
        })
        .collect();
    let mut crowds: Vec<_> = CROWDS.into_iter().enumerate().collect();
    for _ in 0..extent.crowd {
        for &(crowd, clients) in &crowds {
            // The same number for all peers, and long enough for the clock.
            let times = (extent.crowd_logins / clients).max(1);
            for (_, rates) in &mut all {
                let Ok((peer, lane)) = rates else { continue };
                match take_turn(&runtime, peer, clients, times) {
                    Ok([wall, cpu]) => {
                        lane.wall[crowd].push(wall);
                        lane.cpu[crowd].push(cpu);
                    }
                    Err(error) => *rates = Err(error),
                }
            }
        }
        crowds.reverse();
        all.reverse();
        bar.inc(1);
    }
    all.sort_by_key(|(id, _)| *id);
    Ok(all
        .into_iter()
        .map(|(id, rates)| (id, rates.map(|(_, rates)| rates)))
        .collect())
}

/// Logs in once for each client, uncounted: these logins find the caches as another peer left them.
fn take_turn(
    runtime: &Runtime,
    peer: &Arc<dyn Peer>,
    clients: usize,
    times: usize,
) -> Result<[f64; 2]> {
    log_in(runtime, peer, clients, 1)?;
    log_in(runtime, peer, clients, times)
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the seconds for one login, from the first `connect` until both ends of the last login
/// have succeeded: wall-clock time, and this thread's CPU time.
fn log_in(
    runtime: &Runtime,
    peer: &Arc<dyn Peer>,
    clients: usize,
    times: usize,
) -> Result<[f64; 2]> {
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (start, start_of_cpu) = (Instant::now(), cpu());
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let peer = peer.clone();
            tasks.spawn(async move {
                for _ in 0..times {
                    let mut stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    // Closed by a reset. Otherwise the system would keep each port for a minute.
                    stream.set_zero_linger()?;
                    peer.connect_async(&mut stream).await.context("client")?;
                    // The server may still have to read the last message.
                    let _ = stream.read(&mut [0]).await;
                }
                anyhow::Ok(())
            });
        }
        let all = async {
            for _ in 0..clients * times {
                let mut stream = listener.accept().await?.0;
                let peer = peer.clone();
                tasks.spawn(async move {
                    stream.set_nodelay(true)?;
                    peer.accept_async(&mut stream).await.context("server")
                });
                while let Some(ended) = tasks.try_join_next() {
                    ended??;
                }
            }
            while let Some(ended) = tasks.join_next().await {
                ended??;
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, all)
            .await
            .context("the logins do not end")??;
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        let logins = (clients * times) as f64;
        Ok([
            start.elapsed().as_secs_f64() / logins,
            (cpu() - start_of_cpu) / logins,
        ])
    })
}

/// Returns the CPU time of this thread, in seconds.
fn cpu() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default().as_secs_f64()
}

/// Raises the limit of file descriptors to `count`, if it is lower.
fn allow_descriptors(count: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let count = u64::try_from(count)?;
    if limit.current.is_some_and(|current| current < count) {
        let raised = Rlimit {
            current: Some(count),
            ..limit
        };
        setrlimit(Resource::Nofile, raised).context("too few file descriptors are allowed")?;
    }
    Ok(())
}

/// The bytes of heap that the server holds for one pending login.
pub struct Pending {
    /// The client has connected and sends nothing.
    pub silent: f64,
    /// The client has sent what it sends before it receives anything, and then nothing more.
    pub opened: f64,
}

/// Measures the mean of this number of logins, each with its task and the registration of its
/// socket.
pub fn pending(peer: &Arc<dyn Peer>) -> Result<Pending> {
    ensure!(
        crate::allocations::COUNTED,
        "only glibc says how much heap is in use"
    );
    Ok(Pending {
        silent: heap_of_each(peer, &[])?,
        opened: heap_of_each(peer, &first_words(peer)?)?,
    })
}

const PENDING: usize = 512;

fn heap_of_each(peer: &Arc<dyn Peer>, words: &[u8]) -> Result<f64> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut clients = Vec::with_capacity(PENDING);
        let mut tasks = Vec::with_capacity(PENDING);
        let accept = async |tasks: &mut Vec<_>| {
            let mut stream = listener.accept().await?.0;
            let peer = peer.clone();
            tasks.push(tokio::spawn(
                async move { peer.accept_async(&mut stream).await },
            ));
            // Lets the login get as far as it can.
            for _ in 0..3 {
                yield_now().await;
            }
            anyhow::Ok(())
        };
        // What the first login allocates once is not counted.
        clients.push(client(address, words)?);
        accept(&mut tasks).await?;
        let before = in_use();
        for _ in 1..PENDING {
            clients.push(client(address, words)?);
            accept(&mut tasks).await?;
        }
        let after = in_use();
        ensure!(
            tasks.iter().all(|task| !task.is_finished()),
            "a login is not pending"
        );
        #[expect(clippy::cast_precision_loss, reason = "some millions")]
        Ok(after.saturating_sub(before) as f64 / (PENDING - 1) as f64)
    })
}

/// Connects a socket that uses none of tokio's heap.
fn client(address: SocketAddr, words: &[u8]) -> Result<std::net::TcpStream> {
    let mut stream = std::net::TcpStream::connect(address)?;
    std::io::Write::write_all(&mut stream, words)?;
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(stream)
}

/// Returns what a client sends before it has received anything.
fn first_words(peer: &Arc<dyn Peer>) -> Result<Vec<u8>> {
    runtime()?.block_on(async {
        let (mut near, mut far) = tokio::io::duplex(1 << 14);
        let mut login = peer.connect_async(&mut near);
        poll_fn(|context| {
            // It waits for an answer. If it has failed, the measurement reports that.
            let _ = login.as_mut().poll(context);
            Poll::Ready(())
        })
        .await;
        drop(login);
        drop(near);
        let mut words = Vec::new();
        far.read_to_end(&mut words).await?;
        Ok(words)
    })
}
