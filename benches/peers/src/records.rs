//! Measures records of 16 KiB after a login, over TCP on loopback, with both ends on one core.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use countersign::record::PAYLOAD_MAX;
use countersign::{Client, Key, Server};
use hmac::{Hmac, KeyInit, Mac};
use indicatif::ProgressBar;
use rustls::crypto::{aws_lc_rs, ring};
use rustls::{ClientConnection, NamedGroup, ServerConnection, StreamOwned};
use sha2::Sha256;

use crate::peers::mutual;
use crate::sample::Sample;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Copy,
    Hmac,
    Protected,
    TlsAwsLc,
    TlsRing,
}

impl Kind {
    pub const ALL: [Self; 5] = [
        Self::Copy,
        Self::Hmac,
        Self::Protected,
        Self::TlsAwsLc,
        Self::TlsRing,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "nothing but the copy",
            Self::Hmac => "bare HMAC-SHA-256 over each record",
            Self::Protected => "countersign, `protect` (mode 1)",
            Self::TlsAwsLc => "TLS records with AES-128-GCM, rustls and aws-lc-rs",
            Self::TlsRing => "TLS records with AES-128-GCM, rustls and ring",
        }
    }
}

/// The number of records of one measurement: four mebibytes, more than the sockets hold.
const SENT: usize = 256;

pub const MEBIBYTES: f64 = 4.0;

/// The seconds for four mebibytes.
pub fn measure(rounds: usize, bar: &ProgressBar) -> Vec<(Kind, Result<Sample>)> {
    let mut lanes: Vec<_> = (Kind::ALL.into_iter())
        .map(|kind| (kind, Lane::new(kind), Ok(Sample::default())))
        .collect();
    for _ in 0..rounds {
        for (_, lane, sample) in &mut lanes {
            let Ok(times) = sample else { continue };
            match lane
                .as_ref()
                .map_err(|error| anyhow!("{error:#}"))
                .and_then(Lane::take_turn)
            {
                Ok(time) => times.push_time(time),
                Err(error) => *sample = Err(error),
            }
        }
        lanes.reverse();
        bar.inc(1);
    }
    lanes.sort_by_key(|(kind, _, _)| *kind);
    (lanes.into_iter())
        .map(|(kind, _, sample)| (kind, sample))
        .collect()
}

/// A connection with a thread at either end. Each run sends the records once.
struct Lane {
    start: Sender<()>,
    received: Receiver<()>,
}

impl Lane {
    fn new(kind: Kind) -> Result<Self> {
        let (near, far) = pair()?;
        match kind {
            Kind::Copy => Ok(Self::start(near, far)),
            Kind::Hmac => Ok(Self::start(Tagged::new(near), Tagged::new(far))),
            Kind::Protected => {
                let key = Key::new("what both ends of this one share")?;
                let client = Client::new(key.clone());
                let client = thread::spawn(move || client.protect(near));
                let server = Server::new(key).protect(far)?;
                let client = client
                    .join()
                    .map_err(|_| anyhow!("a thread has panicked"))??;
                Ok(Self::start(client, server))
            }
            Kind::TlsAwsLc => tls(near, far, aws_lc_rs::default_provider()),
            Kind::TlsRing => tls(near, far, ring::default_provider()),
        }
    }

    fn start<E: Read + Write + Send + 'static>(
        near: E,
        far: impl Read + Write + Send + 'static,
    ) -> Self {
        let (start, started) = channel();
        let (all_there, received) = channel();
        thread::spawn(move || send(near, &started));
        thread::spawn(move || receive(far, &all_there));
        Self { start, received }
    }

    /// Sends the records twice and counts the second time: the first finds the caches as another
    /// peer left them.
    fn take_turn(&self) -> Result<Duration> {
        self.run()?;
        self.run()
    }

    /// Sends the records and returns the time until the receiver has all of them.
    fn run(&self) -> Result<Duration> {
        let start = Instant::now();
        self.start.send(())?;
        self.received.recv_timeout(PATIENCE)?;
        Ok(start.elapsed())
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

fn send(mut stream: impl Read + Write, started: &Receiver<()>) {
    let payload = vec![7; PAYLOAD_MAX];
    while started.recv().is_ok() {
        for _ in 0..SENT {
            if stream.write_all(&payload).is_err() {
                return;
            }
        }
        if stream.flush().is_err() {
            return;
        }
    }
}

fn receive(mut stream: impl Read + Write, all_there: &Sender<()>) {
    let mut payload = vec![0; PAYLOAD_MAX];
    loop {
        for _ in 0..SENT {
            if stream.read_exact(&mut payload).is_err() {
                return;
            }
        }
        if all_there.send(()).is_err() {
            return;
        }
    }
}

/// A stream in which a tag of 16 bytes follows each record of [`PAYLOAD_MAX`] bytes.
struct Tagged {
    stream: TcpStream,
    key: Hmac<Sha256>,
    record: Vec<u8>,
}

impl Tagged {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            key: Hmac::new_from_slice(&[7; 32]).unwrap_or_else(|_| unreachable!()),
            record: vec![0; PAYLOAD_MAX + 16],
        }
    }

    fn tag(&self, payload: &[u8]) -> [u8; 16] {
        let mut mac = self.key.clone();
        mac.update(payload);
        let tag: [u8; 32] = mac.finalize().into_bytes().into();
        let (half, _) = tag.split_at(16);
        half.try_into().unwrap_or_else(|_| unreachable!())
    }
}

impl Write for Tagged {
    fn write(&mut self, payload: &[u8]) -> std::io::Result<usize> {
        let tag = self.tag(payload);
        self.record[..payload.len()].copy_from_slice(payload);
        self.record[payload.len()..].copy_from_slice(&tag);
        self.stream.write_all(&self.record)?;
        Ok(payload.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Read for Tagged {
    fn read(&mut self, payload: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read_exact(&mut self.record)?;
        payload.copy_from_slice(&self.record[..PAYLOAD_MAX]);
        if self.record[PAYLOAD_MAX..] != self.tag(payload) {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        Ok(payload.len())
    }
}

fn tls(near: TcpStream, far: TcpStream, provider: rustls::crypto::CryptoProvider) -> Result<Lane> {
    let (client, server) =
        mutual::configs(provider, &rcgen::PKCS_ECDSA_P256_SHA256, NamedGroup::X25519)?;
    let mut client = StreamOwned::new(ClientConnection::new(client, mutual::name()?)?, near);
    let mut server = StreamOwned::new(ServerConnection::new(server)?, far);
    let serving = thread::spawn(move || server.conn.complete_io(&mut server.sock).map(|_| server));
    client.conn.complete_io(&mut client.sock)?;
    let server = serving
        .join()
        .map_err(|_| anyhow!("a thread has panicked"))??;
    ensure!(!client.conn.is_handshaking(), "the handshake has not ended");
    Ok(Lane::start(client, server))
}

fn pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    for socket in [&near, &far] {
        socket.set_nodelay(true)?;
    }
    Ok((near, far))
}
