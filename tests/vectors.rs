//! The known answers of `tests/vectors/`, which an independent program computed from the
//! specification.
//!
//! Each is checked twice: every value against a computation from HMAC alone, and every value that
//! can be seen from outside against the crate. The messages and the exporter's outputs belong to
//! both, and tie the one to the other.

mod file;
mod key_files;
mod made;
#[cfg(feature = "passphrase")]
mod passphrases;

use countersign::handshake::{Error, Prologue, Refusal};
use countersign::record::{Integrity, Opened, Records, len_of};
use countersign::{Binding, Key, Matched};

use self::file::{Vector, recompute, vectors};
pub use self::made::made_by_the_crate;
use crate::support::{Draws, Pair, Schedule, export, f1, hex, lv, record, record_key, untagged_f2};

#[test]
fn every_vector_agrees_with_a_computation_from_hmac_alone() {
    for text in vectors("handshake.txt") {
        recompute(&text).unwrap_or_else(|problem| panic!("{problem}, in this vector:\n{text}"));
    }
}

#[test]
fn the_core_sends_the_messages_of_every_vector() {
    let mut seen = Vec::new();
    for text in vectors("handshake.txt") {
        let vector = recompute(&text).unwrap();
        if exchange_through_the_core(&vector) {
            let two_secrets = vector.server.accepted.is_some();
            seen.push((vector.exchange.mode, two_secrets, vector.outcome));
        }
    }
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
    ] {
        assert!(seen.contains(&kind), "no vector for {kind:?}");
    }
}

#[test]
fn a_field_that_is_missing_repeated_unknown_or_changed_is_noticed() {
    let mut seen = Vec::new();
    for text in vectors("handshake.txt") {
        let lines: Vec<&str> = text.lines().collect();
        let denied = !lines.contains(&"expect: accepted");
        let first = lines.contains(&"matched: first");
        let second = lines.contains(&"matched: second");
        for (at, &line) in lines.iter().enumerate() {
            let field = line.split(':').next().unwrap().to_string();
            let kind = (field.clone(), denied, first, second);
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

/// The specification explains the protocol by one handshake, and writes each of its values behind
/// the name of the value. White space does not count.
#[test]
fn the_worked_example_of_the_specification_holds() {
    let specification = include_str!("../PROTOCOL.md");
    let (_, example) = specification.split_once("## 11. Worked example").unwrap();
    let (mode_1, mode_0) = example.split_once("**Mode 0**").unwrap();

    let end = End {
        secret: hex(&(0..32).collect::<Vec<u8>>()).into_bytes(),
        accepted: None,
        service: b"billing/2".to_vec(),
        binding: Vec::new(),
    };
    for (mode, text) in [(1, mode_1), (0, mode_0)] {
        let text: String = text.split_whitespace().collect();
        let exchange = Exchange {
            mode,
            key_id: b"worker-7".to_vec(),
            server_nonce: (0xa0..0xc0).collect::<Vec<u8>>().try_into().unwrap(),
            client_nonce: (0xc0..0xe0).collect::<Vec<u8>>().try_into().unwrap(),
        };
        let derived = Derived::new(&end, &exchange);
        let mut values = vec![
            ("Tc", derived.tc.to_vec()),
            ("Ts", derived.ts().to_vec()),
            ("X", derived.x.to_vec()),
        ];
        let mut exports = Vec::new();
        let mut children = Vec::new();
        let fingerprint = derived.keys.fingerprint();
        if mode == 1 {
            let output = derived.export(b"audit log", b"run 9", 48);
            let child = derived.keys.child(b"worker-8");
            values.extend([
                ("PRK", derived.keys.prk.to_vec()),
                ("Kc", derived.keys.kc.to_vec()),
                ("Ks", derived.keys.ks.to_vec()),
                ("Kx", derived.keys.kx.to_vec()),
                ("child", child.to_vec()),
                ("P", derived.prologue.clone()),
                ("F1", derived.f1.clone()),
                ("F2withoutTc", derived.untagged.clone()),
                ("output", output.clone()),
                ("Krc", derived.record_key("client").to_vec()),
                ("Krs", derived.record_key("server").to_vec()),
                ("client,data", derived.record("client", 0, b"ping")),
                ("client,close", derived.record("client", 1, b"")),
                ("server,data", derived.record("server", 0, b"pong")),
                ("server,close", derived.record("server", 1, b"")),
            ]);
            exports.push((b"audit log".to_vec(), b"run 9".to_vec(), output));
            children.push((b"worker-8".to_vec(), hex(&child)));
            assert!(text.contains(&format!("fingerprint{fingerprint}")));
        }
        for (name, value) in values {
            let value = hex(&value);
            assert!(text.contains(&format!("{name}{value}")), "{name} {value}");
        }
        assert!(exchange_through_the_core(&Vector {
            outcome: Ok(Matched::First),
            server: end.clone(),
            client: end.clone(),
            exchange,
            fingerprint,
            f3: derived.f3.clone(),
            derived,
            exports,
            children,
            payloads: [vec![b"ping".to_vec()], vec![b"pong".to_vec()]],
        }));
    }
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

/// What both ends see on the wire.
struct Exchange {
    mode: u8,
    key_id: Vec<u8>,
    server_nonce: [u8; 32],
    client_nonce: [u8; 32],
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
        client_draws: Draws::of(exchange.client_nonce),
        server_draws: Draws::of(exchange.server_nonce),
        ..Pair::between(&client_key, &server_key)
    };
    Some(pair.with_prologues(client.prologue()?, server.prologue()?))
}

/// What follows from the inputs, by HMAC alone.
struct Derived {
    keys: Schedule,
    prologue: Vec<u8>,
    f1: Vec<u8>,
    untagged: Vec<u8>,
    tc: [u8; 32],
    f2: Vec<u8>,
    f3: Vec<u8>,
    x: [u8; 32],
}

impl Derived {
    fn new(end: &End, exchange: &Exchange) -> Self {
        let keys = Schedule::of(&end.secret);
        let prologue = [lv(&end.service), lv(&end.binding)].concat();
        let f1 = f1(exchange.mode, &exchange.server_nonce);
        let untagged = untagged_f2(exchange.mode, &exchange.key_id, &exchange.client_nonce);
        let tc = keys.client_proof(&prologue, &f1, &untagged);
        let f2 = [&untagged[..], &tc].concat();
        Self {
            f3: keys.acceptance(&prologue, &f1, &f2),
            x: keys.session(&prologue, &f1, &f2),
            keys,
            prologue,
            f1,
            untagged,
            tc,
            f2,
        }
    }

    fn ts(&self) -> &[u8] {
        &self.f3[1..]
    }

    fn export(&self, label: &[u8], context: &[u8], len: usize) -> Vec<u8> {
        export(&self.x, label, context, len)
    }

    fn record_key(&self, sender: &str) -> [u8; 32] {
        record_key(&self.x, sender)
    }

    fn record(&self, sender: &str, seq: u64, payload: &[u8]) -> Vec<u8> {
        record(&self.x, sender, seq, payload)
    }
}

/// Runs a vector between two cores. Returns `false` for a binding of a type that the crate does not
/// know.
fn exchange_through_the_core(vector: &Vector) -> bool {
    let (exchange, derived) = (&vector.exchange, &vector.derived);
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
    if exchange.mode == 1 {
        records_through_the_core(vector, clients.unwrap(), servers.unwrap());
    }
    true
}

/// Seals the payloads of each end, and opens them at the other.
fn records_through_the_core(
    vector: &Vector,
    clients: Records<Integrity>,
    servers: Records<Integrity>,
) {
    let [from_client, from_server] = &vector.payloads;
    for (direction, mut sealer, mut opener, payloads) in [
        ("client", clients.sealer, servers.opener, from_client),
        ("server", servers.sealer, clients.opener, from_server),
    ] {
        let mut seq = 0;
        for payload in payloads {
            let mut record = [&[0; 2][..], payload, &[0; 16]].concat();
            sealer.seal(&mut record).unwrap();
            assert_eq!(record, vector.derived.record(direction, seq, payload));
            let header = [record[0], record[1]];
            assert_eq!(len_of(header), Ok(record.len()));
            assert_eq!(opener.open(&mut record), Ok(Opened::Data(payload)));
            seq += 1;
        }
        let mut close = sealer.close().unwrap();
        assert_eq!(close[..], vector.derived.record(direction, seq, b""));
        assert_eq!(opener.open(&mut close), Ok(Opened::Close));
    }
}
