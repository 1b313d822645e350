//! TLS 1.3 with an external PSK, with OpenSSL.

use std::io::{self, ErrorKind, Read, Write};

use anyhow::{Result, bail, ensure};
use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslStream, SslVersion,
};

use super::{Candidates, Outbox, SECRET, Side, Sides, candidate};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// `psk_ke`: the PSK alone.
    None,
    /// `psk_dhe_ke`: the PSK and an ephemeral key exchange.
    Ephemeral,
}

pub fn version() -> String {
    openssl::version::version().to_owned()
}

pub fn candidates(exchange: Exchange, told: bool) -> Candidates {
    // A group of the client and one of the server. OpenSSL omits the key exchange only if the ends
    // have no group in common. Its client makes a key share nevertheless.
    let groups: &[(&str, &str)] = match exchange {
        Exchange::None => &[("P-256", "X25519"), ("X25519", "P-256")],
        Exchange::Ephemeral => &[("P-256", "P-256"), ("X25519", "X25519")],
    };
    let all = groups.iter().map(|(client, server)| {
        let peer = Psk::new(exchange, client, server, told);
        let verb = match exchange {
            Exchange::None => "share nobody takes",
            Exchange::Ephemeral => "exchange",
        };
        candidate(format!("AES-128-GCM, {client} {verb}"), peer)
    });
    all.collect()
}

struct Psk {
    client: SslContext,
    server: SslContext,
    told: bool,
}

/// `SSL_OP_ALLOW_NO_DHE_KEX`, which the openssl crate does not define.
const ALLOW_NO_KEY_EXCHANGE: SslOptions = SslOptions::from_bits_retain(1 << 10);

const IDENTITY: &[u8] = b"peer\0";

impl Psk {
    fn new(exchange: Exchange, client: &str, server: &str, told: bool) -> Result<Self> {
        let context = |groups| -> Result<SslContextBuilder> {
            let mut context = SslContext::builder(SslMethod::tls())?;
            context.set_min_proto_version(Some(SslVersion::TLS1_3))?;
            context.set_ciphersuites("TLS_AES_128_GCM_SHA256")?;
            context.set_groups_list(groups)?;
            context.clear_options(SslOptions::ENABLE_MIDDLEBOX_COMPAT);
            if exchange == Exchange::None {
                context.set_options(ALLOW_NO_KEY_EXCHANGE);
            }
            Ok(context)
        };
        let mut client = context(client)?;
        client.set_psk_client_callback(|_, _, identity, secret| {
            identity[..IDENTITY.len()].copy_from_slice(IDENTITY);
            secret[..SECRET.len()].copy_from_slice(SECRET);
            Ok(SECRET.len())
        });
        let mut server = context(server)?;
        server.set_psk_server_callback(|_, _, secret| {
            secret[..SECRET.len()].copy_from_slice(SECRET);
            Ok(SECRET.len())
        });
        server.set_num_tickets(0)?;
        Ok(Self {
            client: client.build(),
            server: server.build(),
            told,
        })
    }

    fn end(&self, context: &SslContext, is_client: bool) -> Result<End> {
        let mut ssl = Ssl::new(context)?;
        if is_client {
            ssl.set_connect_state();
        } else {
            ssl.set_accept_state();
        }
        Ok(End {
            stream: SslStream::new(ssl, Wire::new())?,
            told: self.told,
            is_client,
        })
    }
}

impl Sides for Psk {
    type Client = End;
    type Server = End;

    fn client(&self) -> Result<End> {
        self.end(&self.client, true)
    }

    fn server(&self) -> Result<End> {
        self.end(&self.server, false)
    }
}

struct End {
    stream: SslStream<Wire>,
    told: bool,
    is_client: bool,
}

impl Side for End {
    fn step(&mut self, received: &[u8], to_send: &mut Outbox) -> Result<bool> {
        self.stream.get_mut().received.fill(received)?;
        let succeeded = self.go_on()?;
        let sent = &mut self.stream.get_mut().sent;
        to_send.write_all(sent.rest())?;
        sent.clear();
        Ok(succeeded)
    }
}

impl End {
    fn go_on(&mut self) -> Result<bool> {
        if !self.stream.ssl().is_init_finished() {
            match self.stream.do_handshake() {
                Ok(()) => {
                    ensure!(self.stream.ssl().session_reused(), "the PSK was not used");
                }
                Err(error) if error.code() == ErrorCode::WANT_READ => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        match (self.told, self.is_client) {
            (false, _) => Ok(true),
            (true, false) => {
                self.stream.write_all(&[1])?;
                Ok(true)
            }
            (true, true) => match self.stream.ssl_read(&mut [0]) {
                Ok(1) => Ok(true),
                Ok(_) => bail!("closed before the client was told"),
                Err(error) if error.code() == ErrorCode::WANT_READ => Ok(false),
                Err(error) => Err(error.into()),
            },
        }
    }
}

/// The stream that OpenSSL uses instead of a socket.
struct Wire {
    received: Queue,
    sent: Queue,
}

impl Wire {
    fn new() -> Self {
        Self {
            received: Queue::new(),
            sent: Queue::new(),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self.received.rest().read(bytes)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            len => {
                self.received.taken += len;
                Ok(len)
            }
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sent.fill(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// More bytes than any message has here, and few compared with what OpenSSL holds for a connection.
const ROOM: usize = 512;

/// Bytes on their way.
struct Queue {
    bytes: [u8; ROOM],
    taken: usize,
    len: usize,
}

impl Queue {
    fn new() -> Self {
        Self {
            bytes: [0; ROOM],
            taken: 0,
            len: 0,
        }
    }

    fn fill(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.taken == self.len {
            self.clear();
        }
        (&mut self.bytes[self.len..]).write_all(bytes)?;
        self.len += bytes.len();
        Ok(())
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..self.len]
    }

    fn clear(&mut self) {
        (self.taken, self.len) = (0, 0);
    }
}
