//! The known answers of `tests/vectors/`, which independent programs computed from the
//! specification.
//!
//! Each is checked twice: every value against a computation without the crate, and every value that
//! can be seen from outside against the crate. The messages and the exporter's outputs belong to
//! both, and tie the one to the other.

mod exchanges;
mod file;
mod inputs;
mod key_files;
mod kit;
mod made;
#[cfg(feature = "passphrase")]
mod passphrases;
mod records;

use countersign::handshake::{Error, Prologue, Refusal};
use countersign::record::len_of;
use countersign::{Binding, Key, Matched};
use sha2::{Digest as _, Sha256};

pub use self::file::split;
use self::file::{HANDSHAKES, Vector, recompute, run, vectors};
pub use self::kit::{ALL as ALL_FILES, FILES as KIT_FILES, count, ends_of_records_to_a_server};
pub use self::made::made_by_the_crate;
use crate::support::{
    AnyRecords, BASE_POINT, Draws, Exchanged, Pair, Schedule, export, f1, hex, lv, record,
    record_key, untagged_f2, x25519,
};

#[test]
fn every_vector_agrees_with_a_computation_without_the_crate() {
    for file in HANDSHAKES {
        run(file, |text| recompute(text).map(drop));
    }
}

#[test]
fn the_core_sends_the_messages_of_every_vector() {
    let ran = HANDSHAKES.map(|file| {
        run(file, |text| {
            let vector = recompute(text)?;
            let two_secrets = vector.server.accepted.is_some();
            let kind = (vector.exchange.mode, two_secrets, vector.outcome);
            Ok(exchange_through_the_core(&vector).then_some(kind))
        })
    });
    let seen: Vec<_> = ran.into_iter().flatten().flatten().collect();
    for kind in [
        (0, false, Ok(Matched::First)),
        (1, false, Ok(Matched::First)),
        (0, false, Err(Refusal::WrongProof)),
        (0, false, Err(Refusal::UnknownKeyId)),
        (0, true, Ok(Matched::First)),
        (0, true, Ok(Matched::Accepted)),
        (1, true, Ok(Matched::Accepted)),
        (0, true, Err(Refusal::WrongProof)),
        (0, true, Err(Refusal::UnknownKeyId)),
        (2, false, Ok(Matched::First)),
        (2, false, Err(Refusal::WrongProof)),
        (2, false, Err(Refusal::UnknownKeyId)),
        (2, true, Ok(Matched::First)),
        (2, true, Ok(Matched::Accepted)),
    ] {
        if kind.0 == 2 && !cfg!(feature = "encrypt") {
            continue;
        }
        assert!(seen.contains(&kind), "no vector for {kind:?}");
    }
}

#[test]
fn a_field_that_is_missing_repeated_unknown_or_changed_is_noticed() {
    let mut seen = Vec::new();
    for text in HANDSHAKES.into_iter().flat_map(vectors) {
        let lines: Vec<&str> = text.lines().collect();
        let denied = !lines.contains(&"expect: accepted");
        let first = lines.contains(&"matched: first");
        let second = lines.contains(&"matched: second");
        let encrypts = lines.contains(&"mode: 02");
        for (at, &line) in lines.iter().enumerate() {
            let field = line.split(':').next().unwrap().to_string();
            let kind = (field.clone(), denied, first, second, encrypts);
            if seen.contains(&kind) {
                continue;
            }
            let refused = |lines_instead: &[&str]| {
                let text = [&lines[..at], lines_instead, &lines[at + 1..]].concat();
                let text = text.join("\n");
                assert!(recompute(&text).is_err(), "{line}: {text}");
            };
            if !(denied && field == "accepted-secret") {
                refused(&[]);
            }
            refused(&[line, line]);
            refused(&[line, "another: 00"]);

            let shorter = &line[..line.len() - 1];
            let changed = match field.as_str() {
                // Words change nothing, and neither do the inputs of a server that denies anyway,
                // nor the one of two secrets that the client does not use.
                "name" => None,
                "secret" | "accepted-secret" | "service" | "binding" if denied => None,
                "secret" if second => None,
                "accepted-secret" if first => None,
                "matched" if first => Some(format!("{field}: second")),
                "matched" => Some(format!("{field}: first")),
                "expect" if denied => Some(format!("{field}: accepted")),
                "expect" => Some(format!("{field}: denied wrong proof")),
                _ if line.ends_with(':') => Some(format!("{line} 00")),
                _ if line.ends_with('1') => Some(format!("{shorter}2")),
                _ => Some(format!("{shorter}1")),
            };
            if let Some(changed) = changed {
                refused(&[&changed]);
            }
            seen.push(kind);
        }
    }
}

/// The specification explains the protocol by a handshake in each mode, and writes each value
/// behind the name of the value. White space does not count.
#[test]
fn the_worked_example_of_the_specification_holds() {
    let specification = include_str!("../PROTOCOL.md");
    let (_, example) = specification.split_once("## 11. Worked example").unwrap();
    let (example, _) = example.split_once("## 12.").unwrap();
    let (mode_1, example) = example.split_once("**Mode 0**").unwrap();
    let (mode_0, mode_2) = example.split_once("**Mode 2**").unwrap();

    let end = End {
        secret: hex(&(0..32).collect::<Vec<u8>>()).into_bytes(),
        accepted: None,
        service: b"billing/2".to_vec(),
        binding: Vec::new(),
    };
    let from = |first: u8| (first..first + 32).collect::<Vec<u8>>().try_into().unwrap();
    for (mode, text) in [(1, mode_1), (0, mode_0), (2, mode_2)] {
        let text: String = text.split_whitespace().collect();
        let encrypts = mode == 2;
        let exchange = Exchange {
            mode,
            key_id: b"worker-7".to_vec(),
            server_nonce: from(if encrypts { 0x20 } else { 0xa0 }),
            client_random: from(if encrypts { 0xc5 } else { 0xc0 }),
            server_private: encrypts.then(|| from(0xa1)),
        };
        let derived = Derived::new(&end, &exchange);
        let mut values = vec![
            ("Tc", derived.tc.to_vec()),
            ("Ts", derived.ts().to_vec()),
            ("X", derived.x.to_vec()),
        ];
        let mut children = Vec::new();
        let mut later = [Vec::new(), Vec::new()];
        let fingerprint = derived.keys.fingerprint();
        let output = derived.export(b"audit log", b"run 9", 48);
        if mode != 0 {
            values.extend([
                ("F1", derived.f1.clone()),
                ("F2withoutTc", derived.untagged.clone()),
                ("output", output.clone()),
                ("client,data", derived.record("client", 0, b"ping")),
                ("client,close", derived.record("client", 1, b"")),
                ("server,data", derived.record("server", 0, b"pong")),
                ("server,close", derived.record("server", 1, b"")),
            ]);
        }
        if mode == 1 {
            let child = derived.keys.child(b"worker-8");
            values.extend([
                ("PRK", derived.keys.prk.to_vec()),
                ("Kc", derived.keys.kc.to_vec()),
                ("Ks", derived.keys.ks.to_vec()),
                ("Kx", derived.keys.kx.to_vec()),
                ("child", child.to_vec()),
                ("P", derived.prologue.clone()),
                ("Krc", derived.record_key("client").to_vec()),
                ("Krs", derived.record_key("server").to_vec()),
            ]);
            children.push((b"worker-8".to_vec(), hex(&child)));
            assert!(text.contains(&format!("fingerprint{fingerprint}")));
        }
        if let Some(exchanged) = &derived.exchanged {
            let keys = &exchanged.keys;
            values.extend([
                ("Ns", exchange.server_nonce.to_vec()),
                ("ec", exchange.client_random.to_vec()),
                ("es", exchange.server_private.unwrap().to_vec()),
                ("Nc", exchange.client_nonce().to_vec()),
                ("gs", exchange.server_share()),
                ("F3withoutTs", derived.f3[..33].to_vec()),
                ("Z", exchanged.z.to_vec()),
                ("Xe", keys.xe.to_vec()),
                ("Ke", keys.ke.to_vec()),
                ("S_client[0]", keys.state("client", 0).to_vec()),
                ("S_client[1]", keys.state("client", 1).to_vec()),
                ("S_client[2]", keys.state("client", 2).to_vec()),
                ("S_server[0]", keys.state("server", 0).to_vec()),
                ("K_client[0]", keys.key("client", 0).to_vec()),
                ("K_client[1]", keys.key("client", 1).to_vec()),
                ("K_client[2]", keys.key("client", 2).to_vec()),
                ("K_server[0]", keys.key("server", 0).to_vec()),
                ("K_server[1]", keys.key("server", 1).to_vec()),
                ("65535,last", derived.record("client", 65_535, b"last")),
                ("65536,next", derived.record("client", 65_536, b"next")),
                ("131072,more", derived.record("client", 131_072, b"more")),
                ("65536,next", derived.record("server", 65_536, b"next")),
                (
                    "seq2,full",
                    sha256(&derived.record("client", 2, &pattern(16_384))),
                ),
            ]);
            later = [
                vec![
                    (2, pattern(16_384)),
                    (65_535, b"last".to_vec()),
                    (65_536, b"next".to_vec()),
                    (131_072, b"more".to_vec()),
                ],
                vec![(65_536, b"next".to_vec())],
            ];
        }
        for (name, value) in values {
            let value = hex(&value);
            assert!(text.contains(&format!("{name}{value}")), "{name} {value}");
        }
        let runs = exchange_through_the_core(&Vector {
            outcome: Ok(Matched::First),
            server: end.clone(),
            client: end.clone(),
            exchange,
            fingerprint,
            f3: derived.f3.clone(),
            exports: vec![(b"audit log".to_vec(), b"run 9".to_vec(), output)],
            derived,
            children,
            payloads: [vec![b"ping".to_vec()], vec![b"pong".to_vec()]],
            later,
        });
        assert_eq!(runs, mode != 2 || cfg!(feature = "encrypt"));
    }
}

/// The payload `00 01 ... ff 00 01 ...`.
fn pattern(len: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(len).collect()
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

/// One end's own inputs.
#[derive(Clone)]
struct End {
    secret: Vec<u8>,
    /// A server's second secret.
    accepted: Option<Vec<u8>>,
    service: Vec<u8>,
    binding: Vec<u8>,
}

impl End {
    /// `None` for a binding of a type that the crate does not know.
    fn prologue(&self) -> Option<Prologue> {
        let prologue = Prologue::new(&self.service).unwrap();
        if self.binding.is_empty() {
            return Some(prologue);
        }
        let exported = self.binding.strip_prefix(b"tls-exporter:")?;
        Some(prologue.bound(Some(&Binding::tls_exporter(exported.try_into().ok()?))))
    }
}

/// What the ends draw, and the rest of what they send.
struct Exchange {
    mode: u8,
    key_id: Vec<u8>,
    server_nonce: [u8; 32],
    /// The client's nonce or, in mode 2, its private key.
    client_random: [u8; 32],
    /// Drawn in mode 2 by a server that accepts.
    server_private: Option<[u8; 32]>,
}

impl Exchange {
    /// The client's nonce, which in mode 2 is its share.
    fn client_nonce(&self) -> [u8; 32] {
        match self.mode {
            2 => x25519(self.client_random, BASE_POINT),
            _ => self.client_random,
        }
    }

    /// It is empty in modes 0 and 1.
    fn server_share(&self) -> Vec<u8> {
        let share = |private| x25519(private, BASE_POINT).to_vec();
        self.server_private.map_or_else(Vec::new, share)
    }
}

/// The ends of a handshake as the core has them. `None` for a binding of a type that the crate does
/// not know.
fn pair(client: &End, server: &End, exchange: &Exchange) -> Option<Pair> {
    let client_key = Key::new(&client.secret).unwrap();
    let client_key = client_key.with_id(&exchange.key_id).unwrap();
    let mut server_key = Key::new(&server.secret).unwrap();
    if let Some(secret) = &server.accepted {
        server_key = server_key.accepting(secret).unwrap();
    }
    let pair = Pair {
        client_draws: Draws::of(exchange.client_random),
        server_draws: Draws::of(exchange.server_nonce),
        server_private: Draws::of(exchange.server_private.unwrap_or([0xff; 32])),
        ..Pair::between(&client_key, &server_key)
    };
    Some(pair.with_prologues(client.prologue()?, server.prologue()?))
}

/// What follows from the inputs, without the crate.
struct Derived {
    keys: Schedule,
    prologue: Vec<u8>,
    f1: Vec<u8>,
    untagged: Vec<u8>,
    tc: [u8; 32],
    f2: Vec<u8>,
    f3: Vec<u8>,
    x: [u8; 32],
    /// In mode 2, if the server accepts.
    exchanged: Option<Agreed>,
}

/// What both ends agree on in mode 2.
struct Agreed {
    z: [u8; 32],
    keys: Exchanged,
}

impl Derived {
    fn new(end: &End, exchange: &Exchange) -> Self {
        let keys = Schedule::of(&end.secret);
        let prologue = [lv(&end.service), lv(&end.binding)].concat();
        let (client_nonce, server_share) = (exchange.client_nonce(), exchange.server_share());
        let f1 = f1(exchange.mode, &exchange.server_nonce);
        let untagged = untagged_f2(exchange.mode, &exchange.key_id, &client_nonce);
        let tc = keys.client_proof(&prologue, &f1, &untagged);
        let f2 = [&untagged[..], &tc].concat();
        let x = keys.session_with(&server_share, &prologue, &f1, &f2);
        Self {
            f3: keys.acceptance_with(&server_share, &prologue, &f1, &f2),
            x,
            exchanged: exchange.server_private.map(|private| {
                let z = x25519(private, client_nonce);
                let at_client = x25519(exchange.client_random, server_share.try_into().unwrap());
                assert_eq!(z, at_client);
                Agreed {
                    z,
                    keys: Exchanged::of(&x, &z),
                }
            }),
            keys,
            prologue,
            f1,
            untagged,
            tc,
            f2,
        }
    }

    fn ts(&self) -> &[u8] {
        self.f3.last_chunk::<32>().unwrap()
    }

    fn export(&self, label: &[u8], context: &[u8], len: usize) -> Vec<u8> {
        let exchanged = self.exchanged.as_ref();
        let key = exchanged.map_or(&self.x, |agreed| &agreed.keys.ke);
        export(key, label, context, len)
    }

    fn record_key(&self, sender: &str) -> [u8; 32] {
        record_key(&self.x, sender)
    }

    fn record(&self, sender: &str, seq: u64, payload: &[u8]) -> Vec<u8> {
        match &self.exchanged {
            Some(agreed) => agreed.keys.record(sender, seq, payload),
            None => record(&self.x, sender, seq, payload),
        }
    }
}

/// Checks a vector of another program. Returns its mode, and whether the server accepts.
pub fn check(text: &str) -> Result<(u8, bool), String> {
    let vector = recompute(text)?;
    exchange_through_the_core(&vector);
    Ok((vector.exchange.mode, vector.outcome.is_ok()))
}

/// Runs a vector between two cores. Returns `false` for a binding of a type that the crate does not
/// know, and for mode 2 without its feature.
fn exchange_through_the_core(vector: &Vector) -> bool {
    let (exchange, derived) = (&vector.exchange, &vector.derived);
    if exchange.mode == 2 && !cfg!(feature = "encrypt") {
        return false;
    }
    let Some(mut pair) = pair(&vector.client, &vector.server, exchange) else {
        return false;
    };
    if vector.outcome == Err(Refusal::UnknownKeyId) {
        pair.server_key = None;
    }
    let client_key = &pair.client_key;
    assert_eq!(client_key.fingerprint().to_string(), vector.fingerprint);
    for (id, secret) in &vector.children {
        let child = client_key.child_secret(id).unwrap();
        assert_eq!(child.as_ref(), secret.as_bytes());
    }

    let run = pair.run_in_mode(exchange.mode);
    assert_eq!(run.messages(), [&derived.f1, &derived.f2, &vector.f3]);
    let matched = match vector.outcome {
        Ok(matched) => matched,
        Err(refusal) => {
            let expected = Error::ClientNotAuthentic {
                key_id: *client_key.id(),
                refusal,
            };
            assert_eq!(client_key.id().as_bytes(), exchange.key_id);
            assert_eq!(run.server.refusal(), Some(expected));
            assert_eq!(run.client.refusal(), Some(Error::Denied));
            return true;
        }
    };
    let [(at_client, clients), (at_server, servers)] = run.established();
    assert_eq!(at_server.matched(), matched);
    assert_eq!(at_client.matched(), Matched::First);
    for session in [&at_server, &at_client] {
        assert_eq!(session.key_id().as_bytes(), exchange.key_id);
        for (label, context, expected) in &vector.exports {
            let mut output = vec![0; expected.len()];
            session.export(label, context, &mut output).unwrap();
            assert_eq!(&output, expected);
        }
    }
    if let (Some(clients), Some(servers)) = (clients, servers) {
        assert_ne!(exchange.mode, 0);
        records_through_the_core(vector, [clients, servers]);
        later_records_through_the_core(vector, pair.run_in_mode(exchange.mode).records());
    }
    true
}

/// Seals the payloads of each end, and opens them at the other.
fn records_through_the_core(vector: &Vector, mut ends: [Box<dyn AnyRecords>; 2]) {
    for (direction, payloads) in ["client", "server"].into_iter().zip(&vector.payloads) {
        let [sender, receiver] = &mut ends;
        let mut seq = 0;
        for payload in payloads {
            let record = sender.seal(payload);
            assert_eq!(record, vector.derived.record(direction, seq, payload));
            assert_eq!(len_of([record[0], record[1]]), Ok(record.len()));
            assert_eq!(receiver.open(&record).as_ref(), Ok(payload));
            seq += 1;
        }
        let close = sender.close();
        assert_eq!(close, vector.derived.record(direction, seq, b""));
        assert_eq!(receiver.open(&close), Ok(Vec::new()));
        ends.reverse();
    }
}

/// Seals the payloads of ends that go on in place of their closes.
fn later_records_through_the_core(vector: &Vector, mut ends: [Box<dyn AnyRecords>; 2]) {
    for (direction, later) in ["client", "server"].into_iter().zip(&vector.later) {
        let [sender, receiver] = &mut ends;
        let mut seq = 0;
        for (number, payload) in later {
            while seq < *number {
                assert_eq!(receiver.open(&sender.seal(b"x")).unwrap(), b"x", "{seq}");
                seq += 1;
            }
            let record = sender.seal(payload);
            assert!(
                record == vector.derived.record(direction, seq, payload),
                "{seq}"
            );
            assert!(receiver.open(&record).as_ref() == Ok(payload), "{seq}");
            seq += 1;
        }
        ends.reverse();
    }
}
