//! Honest clients, at a round trip that is simulated.

use std::error::Error;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign::Key;
use countersign::handshake::client;
use countersign::handshake::{Authenticate, Prologue, Receive, Transcript};
use rand::TryRng;
use rand::rngs::SysRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::select;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::attacker::{connect, runtime};
use super::server::key;

/// The addresses of honest clients.
const HONEST: u8 = 64;

/// When a client that was cut tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    Never,
    AtOnce,
    After100,
    Jitter100,
}

impl Retry {
    pub const ALL: [(Self, &str); 4] = [
        (Self::Never, "never"),
        (Self::AtOnce, "at once"),
        (Self::After100, "after 100 ms"),
        (Self::Jitter100, "within 100 ms"),
    ];

    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.into_iter();
        all.find(|(retry, _)| *retry == self).unwrap().1
    }

    fn pause(self) -> Option<Duration> {
        let millis = match self {
            Self::Never => return None,
            Self::AtOnce => 0,
            Self::After100 => 100,
            Self::Jitter100 => SysRng.try_next_u64().unwrap() % 100,
        };
        Some(Duration::from_millis(millis))
    }
}

/// Clients, of which each begins at a random time.
#[derive(Clone, Copy, Debug)]
pub struct Honest {
    pub clients: u32,
    /// The time within which they begin.
    pub within: Duration,
    pub rtt: Duration,
    pub retry: Retry,
    /// From how many addresses.
    pub sources: u32,
    /// How long each client tries.
    pub patience: Duration,
}

impl Honest {
    pub fn arguments(&self) -> Vec<String> {
        [
            u128::from(self.clients),
            self.within.as_micros(),
            self.rtt.as_micros(),
            self.sources.into(),
            self.patience.as_micros(),
        ]
        .map(|number| number.to_string())
        .into_iter()
        .chain([self.retry.name().to_owned()])
        .collect()
    }

    pub fn parse(arguments: &[&str]) -> Self {
        let [clients, within, rtt, sources, patience, retry] = arguments else {
            panic!("{arguments:?}");
        };
        let micros = |text: &str| Duration::from_micros(text.parse().unwrap());
        let mut all = Retry::ALL.into_iter();
        Self {
            clients: clients.parse().unwrap(),
            within: micros(within),
            rtt: micros(rtt),
            sources: sources.parse().unwrap(),
            patience: micros(patience),
            retry: all.find(|(_, name)| name == retry).unwrap().0,
        }
    }

    /// Prints a line for each client: its tries, and the microseconds that it took, or `out`.
    pub fn log_in(self, address: SocketAddr) {
        let key: &'static Key = Box::leak(Box::new(key()));
        let last = AtomicU64::new(0);
        runtime().block_on(async {
            let began = Instant::now();
            let mut clients = JoinSet::new();
            for nth in 0..self.clients {
                clients.spawn(self.client(nth, address, key));
            }
            while let Some(line) = clients.join_next().await {
                last.store(
                    began.elapsed().as_micros().try_into().unwrap(),
                    Ordering::Relaxed,
                );
                println!("{}", line.unwrap());
            }
        });
        println!("{}", last.into_inner());
    }

    async fn client(self, nth: u32, address: SocketAddr, key: &'static Key) -> String {
        sleep(self.within.mul_f64(random())).await;
        // A herd at one round trip would come in step.
        let rtt = self.rtt.mul_f64(0.9 + random() / 5.0);
        let began = Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            let attempt = attempt(nth % self.sources, address, rtt, key);
            match timeout_at(began + self.patience, attempt).await {
                Ok(Ok(())) => return format!("{tries} {}", began.elapsed().as_micros()),
                Err(_) => return format!("{tries} out"),
                Ok(Err(_)) => {}
            }
            pass(rtt / 2).await;
            match self.retry.pause() {
                Some(pause) => pass(pause).await,
                None => return format!("{tries} out"),
            }
        }
    }
}

/// Returns a number from 0 to 1.
fn random() -> f64 {
    f64::from(SysRng.try_next_u32().unwrap()) / f64::from(u32::MAX)
}

/// Sleeps, or returns at once: a sleep of no time may take a millisecond.
async fn pass(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

async fn attempt(
    source: u32,
    address: SocketAddr,
    rtt: Duration,
    key: &Key,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    pass(rtt * 3 / 2).await;
    let mut stream = connect(HONEST, source, address).await?;
    let mut transcript = Box::new(Transcript::new());
    let (prologue, mode) = (Prologue::EMPTY, Authenticate);
    let start = client::start(&mut *transcript, key, &prologue, mode, &mut SysRng)?;
    let challenge = receive::<40>(&mut stream).await?;
    let verdict = take(start, &challenge)?;
    let mut byte = [0];
    select! {
        () = pass(rtt) => {}
        // It sends nothing more, so it was cut.
        _ = stream.peek(&mut byte) => return Err("it was cut".into()),
    }
    stream.write_all(verdict.response()).await?;
    let received = receive::<33>(&mut stream).await?;
    let _session = take(verdict, &received)?;
    pass(rtt / 2).await;
    Ok(())
}

async fn receive<const N: usize>(stream: &mut TcpStream) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn take<S: Receive>(state: S, mut bytes: &[u8]) -> Result<S::Next, Box<dyn Error + Send + Sync>>
where
    S::Error: Error + Send + Sync + 'static,
{
    state.read(|space| Ok(Read::read(&mut bytes, space)?))
}
