//! Measures records after a login, over TCP on loopback, with both ends on one core.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use countersign::record::{PAYLOAD_MAX, Protection};
use countersign::{Client, Error, Key, Secured, Server};
use indicatif::ProgressBar;
use rustls::crypto::{CryptoProvider, aws_lc_rs, ring};
use rustls::{ClientConnection, NamedGroup, ServerConnection, StreamOwned};

use crate::allocations::Allocations;
use crate::peers::mutual;
use crate::sample::Sample;

mod by_hand;
mod counted;

use by_hand::{ByHand, Encrypted, Hashed};
use counted::{Counted, calls};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Copy,
    Hmac,
    Protect,
    Gcm,
    Encrypt,
    TlsAwsLc,
    TlsRing,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Copy,
        Self::Hmac,
        Self::Protect,
        Self::Gcm,
        Self::Encrypt,
        Self::TlsAwsLc,
        Self::TlsRing,
    ];

    /// The kinds that are countersign's own.
    pub const OURS: [Self; 2] = [Self::Protect, Self::Encrypt];

    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "nothing but the copy",
            Self::Hmac => "bare HMAC-SHA-256 over each record",
            Self::Protect => "countersign, `protect` (mode 1)",
            Self::Gcm => "bare AES-256-GCM over each record",
            Self::Encrypt => "countersign, `encrypt` (mode 2)",
            Self::TlsAwsLc => "TLS records with AES-128-GCM, rustls and aws-lc-rs",
            Self::TlsRing => "TLS records with AES-128-GCM, rustls and ring",
        }
    }
}

/// The records of one run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// The bytes of a payload. Each is written in one call.
    pub payload: usize,
    /// The number of records.
    pub count: usize,
}

impl Size {
    /// Four mebibytes, more than the sockets hold.
    pub const LARGE: Self = Self {
        payload: PAYLOAD_MAX,
        count: 256,
    };

    pub const SMALL: Self = Self {
        payload: 64,
        count: 4096,
    };

    pub const ALL: [Self; 2] = [Self::LARGE, Self::SMALL];

    pub fn records(self) -> &'static str {
        if self == Self::LARGE {
            "records of 16 KiB"
        } else {
            "records of 64 bytes"
        }
    }

    /// The mebibytes of one run.
    #[expect(clippy::cast_precision_loss, reason = "some millions")]
    pub fn mebibytes(self) -> f64 {
        (self.payload * self.count) as f64 / f64::from(1 << 20)
    }
}

/// The measurements of one kind at one size.
#[derive(Default)]
pub struct Flow {
    /// The seconds of a run.
    pub times: Sample,
    /// What all runs together have taken: at the sender, and at the receiver.
    costs: [Cost; 2],
    /// The records of all runs.
    records: usize,
}

/// What one end has taken.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// Reads and writes of the socket.
    calls: u64,
    allocations: u64,
}

impl Flow {
    /// Returns the calls of the socket for each record: at the sender, and at the receiver.
    pub fn calls(&self) -> [f64; 2] {
        self.costs.map(|cost| self.each(cost.calls))
    }

    /// Returns the allocations of both ends for each record.
    pub fn allocations(&self) -> f64 {
        self.each(self.costs.iter().map(|cost| cost.allocations).sum())
    }

    #[expect(clippy::cast_precision_loss, reason = "some millions")]
    fn each(&self, all: u64) -> f64 {
        all as f64 / self.records as f64
    }
}

/// The outcomes of all kinds, at each size.
pub type Flows = Vec<(Size, Vec<(Kind, Result<Flow>)>)>;

pub fn measure(rounds: usize, bar: &ProgressBar) -> Flows {
    let flows = Size::ALL.map(|size| (size, measure_size(size, rounds, bar)));
    flows.into()
}

fn measure_size(size: Size, rounds: usize, bar: &ProgressBar) -> Vec<(Kind, Result<Flow>)> {
    let mut lanes = Kind::ALL.map(|kind| (kind, Lane::new(kind, size), Ok(Flow::default())));
    for _ in 0..rounds {
        for (_, lane, flow) in &mut lanes {
            let Ok(so_far) = flow else { continue };
            let turn = match lane {
                Ok(lane) => lane.take_turn(),
                Err(error) => Err(anyhow!("{error:#}")),
            };
            match turn {
                Ok((time, costs)) => {
                    so_far.times.push_time(time);
                    so_far.records += size.count;
                    for (sum, cost) in so_far.costs.iter_mut().zip(costs) {
                        sum.calls += cost.calls;
                        sum.allocations += cost.allocations;
                    }
                }
                Err(error) => *flow = Err(error),
            }
        }
        lanes.reverse();
        bar.inc(1);
    }
    lanes.sort_by_key(|(kind, _, _)| *kind);
    lanes.map(|(kind, _, flow)| (kind, flow)).into()
}

/// A connection with a thread at either end. Each run sends the records once.
struct Lane {
    start: Sender<()>,
    sent: Receiver<Cost>,
    received: Receiver<Cost>,
}

type Socket = Counted<TcpStream>;

impl Lane {
    fn new(kind: Kind, size: Size) -> Result<Self> {
        let (near, far) = pair()?;
        let len = u16::try_from(size.payload)?;
        match kind {
            Kind::Copy => Ok(Self::start(size, near, far)),
            Kind::Hmac => {
                let [near, far] = [near, far].map(|end| ByHand::new(end, Hashed::new(), len));
                Ok(Self::start(size, near, far))
            }
            Kind::Gcm => {
                let [near, far] = [near, far].map(|end| ByHand::new(end, Encrypted::new(), len));
                Ok(Self::start(size, near, far))
            }
            Kind::Protect => Self::secured(
                size,
                |client| client.protect(near),
                |server| server.protect(far),
            ),
            Kind::Encrypt => Self::secured(
                size,
                |client| client.encrypt(near),
                |server| server.encrypt(far),
            ),
            Kind::TlsAwsLc => Self::tls(size, near, far, aws_lc_rs::default_provider()),
            Kind::TlsRing => Self::tls(size, near, far, ring::default_provider()),
        }
    }

    fn secured<P: Protection>(
        size: Size,
        near: impl FnOnce(Client) -> Result<Secured<Socket, P>, Error> + Send,
        far: impl FnOnce(Server<Key>) -> Result<Secured<Socket, P>, Error>,
    ) -> Result<Self> {
        let key = Key::new("what both ends of this one share")?;
        let (client, server) = (Client::new(key.clone()), Server::new(key));
        let (near, far) = thread::scope(|scope| {
            let near = scope.spawn(|| near(client));
            let far = far(server);
            (near.join(), far)
        });
        let near = near.map_err(|_| anyhow!("a thread has panicked"))?;
        Ok(Self::start(size, near?, far?))
    }

    fn tls(size: Size, near: Socket, far: Socket, provider: CryptoProvider) -> Result<Self> {
        let (client, server) =
            mutual::configs(provider, &rcgen::PKCS_ECDSA_P256_SHA256, NamedGroup::X25519)?;
        let mut client = StreamOwned::new(ClientConnection::new(client, mutual::name()?)?, near);
        let mut server = StreamOwned::new(ServerConnection::new(server)?, far);
        let serving =
            thread::spawn(move || server.conn.complete_io(&mut server.sock).map(|_| server));
        client.conn.complete_io(&mut client.sock)?;
        let server = serving
            .join()
            .map_err(|_| anyhow!("a thread has panicked"))??;
        ensure!(!client.conn.is_handshaking(), "the handshake has not ended");
        Ok(Self::start(size, client, server))
    }

    fn start(
        size: Size,
        near: impl Write + Send + 'static,
        far: impl Read + Send + 'static,
    ) -> Self {
        let (start, started) = channel();
        let (all_written, sent) = channel();
        let (all_there, received) = channel();
        thread::spawn(move || send(size, near, &started, &all_written));
        thread::spawn(move || receive(size, far, &all_there));
        Self {
            start,
            sent,
            received,
        }
    }

    /// Sends the records twice and counts the second time: the first finds the caches as another
    /// peer left them.
    fn take_turn(&self) -> Result<(Duration, [Cost; 2])> {
        self.run()?;
        self.run()
    }

    /// Sends the records and returns the time until the receiver has all of them.
    fn run(&self) -> Result<(Duration, [Cost; 2])> {
        let start = Instant::now();
        self.start.send(())?;
        let receivers = self.received.recv_timeout(PATIENCE)?;
        let time = start.elapsed();
        Ok((time, [self.sent.recv_timeout(PATIENCE)?, receivers]))
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

fn send(size: Size, mut stream: impl Write, started: &Receiver<()>, all_written: &Sender<Cost>) {
    let payload = vec![7; size.payload];
    while started.recv().is_ok() {
        let cost = cost(|| {
            for _ in 0..size.count {
                stream.write_all(&payload)?;
            }
            stream.flush()
        });
        if cost.is_none_or(|cost| all_written.send(cost).is_err()) {
            return;
        }
    }
}

fn receive(size: Size, mut stream: impl Read, all_there: &Sender<Cost>) {
    let mut payload = vec![0; size.payload];
    loop {
        let cost = cost(|| (0..size.count).try_for_each(|_| stream.read_exact(&mut payload)));
        if cost.is_none_or(|cost| all_there.send(cost).is_err()) {
            return;
        }
    }
}

/// Returns what this thread has taken for the routine, or nothing if that has failed.
fn cost(routine: impl FnOnce() -> std::io::Result<()>) -> Option<Cost> {
    let before = (calls(), Allocations::now().count);
    routine().ok()?;
    Some(Cost {
        calls: calls() - before.0,
        allocations: Allocations::now().count - before.1,
    })
}

fn pair() -> Result<(Socket, Socket)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    for socket in [&near, &far] {
        socket.set_nodelay(true)?;
    }
    Ok((Counted(near), Counted(far)))
}
