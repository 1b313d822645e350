//! Noise `NNpsk0`, with snow.
//!
//! Its first message proves that the client knows the secret, but could be a replay. Only what the
//! client sends under the keys of *this* login proves that it is not. So after the two messages of
//! the pattern the server cannot be sure. With a third message both ends are sure, and a fourth
//! tells the client explicitly.

use anyhow::{Result, bail, ensure};
use snow::params::NoiseParams;
use snow::resolvers::{BoxedCryptoResolver, DefaultResolver, FallbackResolver, RingResolver};
use snow::{Builder, HandshakeState, TransportState};

use super::framed::Inbox;
use super::{Candidates, Outbox, SECRET, Side, Sides, candidate};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Messages {
    Two,
    Three,
    Four,
}

pub fn candidates(messages: Messages) -> Candidates {
    let suites = ["25519_ChaChaPoly_BLAKE2s", "25519_AESGCM_SHA256"];
    let resolvers = [
        ("snow's own resolver", false),
        ("its resolver by ring", true),
    ];
    let all = suites.into_iter().flat_map(|suite| {
        resolvers.into_iter().map(move |(resolver, by_ring)| {
            let peer = Noise::new(suite, by_ring, messages);
            candidate(format!("{suite}, {resolver}"), peer)
        })
    });
    all.collect()
}

struct Noise {
    params: NoiseParams,
    by_ring: bool,
    messages: Messages,
}

impl Noise {
    fn new(suite: &str, by_ring: bool, messages: Messages) -> Result<Self> {
        Ok(Self {
            params: format!("Noise_NNpsk0_{suite}").parse()?,
            by_ring,
            messages,
        })
    }

    fn builder(&self) -> Result<Builder<'_>> {
        let own = Box::new(DefaultResolver);
        let resolver: BoxedCryptoResolver = if self.by_ring {
            // ring provides no key exchange.
            Box::new(FallbackResolver::new(Box::new(RingResolver), own))
        } else {
            own
        };
        Ok(Builder::with_resolver(self.params.clone(), resolver).psk(0, SECRET)?)
    }
}

impl Sides for Noise {
    type Client = Client;
    type Server = Server;

    fn client(&self) -> Result<Client> {
        Ok(Client(End::new(self, self.builder()?.build_initiator()?)))
    }

    fn server(&self) -> Result<Server> {
        Ok(Server(End::new(self, self.builder()?.build_responder()?)))
    }
}

struct Client(End);

impl Side for Client {
    fn step(&mut self, received: &[u8], to_send: &mut Outbox) -> Result<bool> {
        let end = &mut self.0;
        if received.is_empty() {
            end.send(to_send)?;
            return Ok(false);
        }
        if !end.receive(received)? {
            return Ok(false);
        }
        match end.received {
            1 => {
                if end.messages >= Messages::Three {
                    end.send(to_send)?;
                }
                Ok(end.messages <= Messages::Three)
            }
            _ => Ok(true),
        }
    }
}

struct Server(End);

impl Side for Server {
    fn step(&mut self, received: &[u8], to_send: &mut Outbox) -> Result<bool> {
        let end = &mut self.0;
        if received.is_empty() || !end.receive(received)? {
            return Ok(false);
        }
        if end.received == 1 || end.messages == Messages::Four {
            end.send(to_send)?;
        }
        Ok(end.received == 2 || end.messages == Messages::Two)
    }
}

struct End {
    /// Present until the second message.
    handshake: Option<HandshakeState>,
    /// Present from then on.
    transport: Option<TransportState>,
    inbox: Inbox,
    received: usize,
    messages: Messages,
}

impl End {
    fn new(noise: &Noise, handshake: HandshakeState) -> Self {
        Self {
            handshake: Some(handshake),
            transport: None,
            inbox: Inbox::new(),
            received: 0,
            messages: noise.messages,
        }
    }

    /// Appends the next message of the handshake, or after it a single byte under its keys.
    fn send(&mut self, to_send: &mut Outbox) -> Result<()> {
        to_send.frame(|message| match (&mut self.handshake, &mut self.transport) {
            (Some(handshake), _) => Ok(handshake.write_message(&[], message)?),
            (None, Some(transport)) => Ok(transport.write_message(&[1], message)?),
            (None, None) => bail!("the handshake has failed"),
        })?;
        self.go_on()
    }

    /// Returns true if a whole message has arrived.
    fn receive(&mut self, received: &[u8]) -> Result<bool> {
        let Some(message) = self.inbox.take(received)? else {
            return Ok(false);
        };
        let mut payload = [0; 64];
        match (&mut self.handshake, &mut self.transport) {
            (Some(handshake), _) => {
                handshake.read_message(message, &mut payload)?;
            }
            (None, Some(transport)) => {
                let len = transport.read_message(message, &mut payload)?;
                ensure!(payload[..len] == [1], "not the expected byte");
            }
            (None, None) => bail!("the handshake has failed"),
        }
        self.received += 1;
        self.go_on()?;
        Ok(true)
    }

    fn go_on(&mut self) -> Result<()> {
        let whole = (self.handshake).take_if(|handshake| handshake.is_handshake_finished());
        if let Some(handshake) = whole {
            self.transport = Some(handshake.into_transport_mode()?);
        }
        Ok(())
    }
}
