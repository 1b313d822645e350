//! SCRAM-SHA-256 (RFC 5802, RFC 7677) with 4,096 iterations, with pbkdf2, hmac and sha2.
//!
//! The server stores the keys derived from a password, as the RFC intends. The client either has
//! the password and hashes it slowly for each login, or has kept the result.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::framed::Inbox;
use super::{Outbox, SECRET, Side, Sides};

const ITERATIONS: u32 = 4096;

pub struct Scram {
    salt: [u8; 16],
    stored: Stored,
    /// What the client kept of an earlier login.
    cached: Option<Salted>,
}

/// What the server stores instead of a password.
#[derive(Clone, Copy)]
struct Stored {
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

/// What a client computes from the password, and may keep.
#[derive(Clone, Copy)]
struct Salted {
    client_key: [u8; 32],
    server_key: [u8; 32],
}

impl Scram {
    pub fn new(cached: bool) -> Result<Self> {
        let mut salt = [0; 16];
        fill(&mut salt)?;
        let salted = Salted::new(&salt);
        Ok(Self {
            salt,
            stored: Stored {
                stored_key: Sha256::digest(salted.client_key).into(),
                server_key: salted.server_key,
            },
            cached: cached.then_some(salted),
        })
    }
}

impl Salted {
    fn new(salt: &[u8]) -> Self {
        let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(SECRET, salt, ITERATIONS);
        Self {
            client_key: hmac(&salted, &[b"Client Key"]),
            server_key: hmac(&salted, &[b"Server Key"]),
        }
    }
}

impl Sides for Scram {
    type Client = Client;
    type Server = Server;

    fn client(&self) -> Result<Client> {
        Ok(Client {
            inbox: Inbox::new(),
            cached: self.cached,
            first_bare: format!("n=peer,r={}", nonce()?),
            signature: None,
        })
    }

    fn server(&self) -> Result<Server> {
        Ok(Server {
            inbox: Inbox::new(),
            salt: self.salt,
            stored: self.stored,
            firsts: None,
        })
    }
}

pub struct Client {
    inbox: Inbox,
    cached: Option<Salted>,
    first_bare: String,
    /// The server's signature, once it is known.
    signature: Option<[u8; 32]>,
}

impl Side for Client {
    fn step(&mut self, received: &[u8], to_send: &mut Outbox) -> Result<bool> {
        if received.is_empty() {
            to_send.say(&format!("n,,{}", self.first_bare))?;
            return Ok(false);
        }
        let Some(message) = self.inbox.take(received)? else {
            return Ok(false);
        };
        let message = str::from_utf8(message)?;
        if let Some(signature) = self.signature {
            let theirs = message.strip_prefix("v=").context("no signature")?;
            ensure!(
                equal(&STANDARD.decode(theirs)?, &signature),
                "not the server"
            );
            return Ok(true);
        }
        let [nonce, salt, iterations] = attributes(message, ["r=", "s=", "i="])?;
        let own = self.first_bare.rsplit("r=").next().unwrap_or_default();
        ensure!(nonce.starts_with(own), "the nonce of another login");
        ensure!(iterations.parse() == Ok(ITERATIONS), "too few iterations");
        let salted = match self.cached {
            Some(salted) => salted,
            None => Salted::new(&STANDARD.decode(salt)?),
        };
        let without_proof = format!("c=biws,r={nonce}");
        let said: [&[u8]; 5] = [
            self.first_bare.as_bytes(),
            b",",
            message.as_bytes(),
            b",",
            without_proof.as_bytes(),
        ];
        let mut proof = hmac(&Sha256::digest(salted.client_key), &said);
        xor(&mut proof, &salted.client_key);
        self.signature = Some(hmac(&salted.server_key, &said));
        to_send.say(&format!("{without_proof},p={}", STANDARD.encode(proof)))?;
        Ok(false)
    }
}

pub struct Server {
    inbox: Inbox,
    salt: [u8; 16],
    stored: Stored,
    /// The client's first message, the answer, and the nonce of both.
    firsts: Option<(String, String, String)>,
}

impl Side for Server {
    fn step(&mut self, received: &[u8], to_send: &mut Outbox) -> Result<bool> {
        if received.is_empty() {
            return Ok(false);
        }
        let Some(message) = self.inbox.take(received)? else {
            return Ok(false);
        };
        let message = str::from_utf8(message)?;
        let Some((clients, servers, both)) = &self.firsts else {
            let bare = message.strip_prefix("n,,").context("not a first message")?;
            let [_, theirs] = attributes(bare, ["n=", "r="])?;
            let both = format!("{theirs}{}", nonce()?);
            let salt = STANDARD.encode(self.salt);
            let answer = format!("r={both},s={salt},i={ITERATIONS}");
            to_send.say(&answer)?;
            self.firsts = Some((bare.to_owned(), answer, both));
            return Ok(false);
        };
        let (without_proof, proof) = message.split_once(",p=").context("no proof")?;
        let [_, nonce] = attributes(without_proof, ["c=biws", "r="])?;
        ensure!(nonce == both, "the nonce of another login");
        let said: [&[u8]; 5] = [
            clients.as_bytes(),
            b",",
            servers.as_bytes(),
            b",",
            without_proof.as_bytes(),
        ];
        let mut client_key = hmac(&self.stored.stored_key, &said);
        let proof = STANDARD.decode(proof)?;
        ensure!(proof.len() == client_key.len(), "not a proof");
        xor(&mut client_key, &proof);
        ensure!(
            equal(&Sha256::digest(client_key), &self.stored.stored_key),
            "a wrong proof"
        );
        let signature = hmac(&self.stored.server_key, &said);
        to_send.say(&format!("v={}", STANDARD.encode(signature)))?;
        Ok(true)
    }
}

impl Outbox {
    fn say(&mut self, text: &str) -> Result<()> {
        self.frame(|message| {
            let room = message
                .get_mut(..text.len())
                .context("a message is too long")?;
            room.copy_from_slice(text.as_bytes());
            Ok(text.len())
        })
    }
}

/// Returns the values of a message's attributes, whose order is fixed.
fn attributes<'m, const N: usize>(message: &'m str, names: [&str; N]) -> Result<[&'m str; N]> {
    let mut parts = message.split(',');
    let mut values = [""; N];
    for (value, name) in values.iter_mut().zip(names) {
        let part = parts.next().and_then(|part| part.strip_prefix(name));
        *value = part.with_context(|| format!("no attribute {name}"))?;
    }
    Ok(values)
}

fn nonce() -> Result<String> {
    let mut nonce = [0; 18];
    fill(&mut nonce)?;
    Ok(STANDARD.encode(nonce))
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    use rand::TryRng;
    Ok(rand::rngs::SysRng.try_fill_bytes(bytes)?)
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn xor(bytes: &mut [u8], others: &[u8]) {
    for (byte, other) in bytes.iter_mut().zip(others) {
        *byte ^= other;
    }
}

fn equal(one: &[u8], other: &[u8]) -> bool {
    subtle::ConstantTimeEq::ct_eq(one, other).into()
}
