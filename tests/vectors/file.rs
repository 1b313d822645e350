//! The format of the files of vectors.

use std::fs;
use std::path::Path;

use countersign::Matched;
use countersign::handshake::Refusal;

use super::{Derived, End, Exchange};
use crate::support::{DENIAL, hex};

/// A vector that agrees with itself.
pub struct Vector {
    pub outcome: Result<Matched, Refusal>,
    pub server: End,
    pub client: End,
    pub exchange: Exchange,
    pub derived: Derived,
    pub fingerprint: String,
    pub f3: Vec<u8>,
    /// Label, context, output.
    pub exports: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>,
    /// Id, secret.
    pub children: Vec<(Vec<u8>, String)>,
    /// What the client and the server send in records, before each closes.
    pub payloads: [Vec<Vec<u8>>; 2],
}

/// Computes a vector from its inputs. The error names a field that differs.
pub fn recompute(text: &str) -> Result<Vector, String> {
    let mut fields = Fields::parse(text)?;
    fields.text("name")?;
    let expected = fields.text("expect")?;
    let server = End {
        secret: fields.bytes("secret")?,
        accepted: if fields.has("accepted-secret") {
            Some(fields.bytes("accepted-secret")?)
        } else {
            None
        },
        service: fields.bytes("service")?,
        binding: fields.bytes("binding")?,
    };
    let client = End {
        secret: fields.bytes_unless("client-secret", &server.secret)?,
        accepted: None,
        service: fields.bytes_unless("client-service", &server.service)?,
        binding: fields.bytes_unless("client-binding", &server.binding)?,
    };
    let exchange = Exchange {
        mode: match fields.text("mode")? {
            "00" => 0,
            "01" => 1,
            other => return Err(format!("mode: {other}")),
        },
        key_id: fields.bytes("key-id")?,
        server_nonce: fields.nonce("server-nonce")?,
        client_nonce: fields.nonce("client-nonce")?,
    };

    let derived = Derived::new(&client, &exchange);
    let outcome = outcome(&server, &exchange, &derived.tc, expected)?;
    let fingerprint = derived.keys.fingerprint();
    let f3 = match outcome {
        Ok(_) => derived.f3.clone(),
        Err(_) => DENIAL.to_vec(),
    };
    fields.same("prk", &derived.keys.prk)?;
    fields.same("kc", &derived.keys.kc)?;
    fields.same("ks", &derived.keys.ks)?;
    fields.same("kx", &derived.keys.kx)?;
    fields.same_text("fingerprint", &fingerprint)?;
    fields.same("prologue", &derived.prologue)?;
    fields.same("f1", &derived.f1)?;
    fields.same("f2-untagged", &derived.untagged)?;
    fields.same("tc", &derived.tc)?;
    fields.same("f2", &derived.f2)?;
    fields.same("f3", &f3)?;

    let mut exports = Vec::new();
    let mut payloads = [Vec::new(), Vec::new()];
    if let Ok(matched) = outcome {
        if server.accepted.is_some() {
            let place = match matched {
                Matched::First => "first",
                Matched::Accepted => "second",
            };
            fields.same_text("matched", place)?;
        }
        fields.same("ts", derived.ts())?;
        fields.same("x", &derived.x)?;
        while fields.has("export-label") {
            let label = fields.bytes("export-label")?;
            let context = fields.bytes("export-context")?;
            let len = fields.text("export-length")?;
            let len = len.parse().map_err(|_| format!("export-length: {len}"))?;
            let output = derived.export(&label, &context, len);
            fields.same("export-output", &output)?;
            exports.push((label, context, output));
        }
        if exchange.mode == 1 {
            payloads = recompute_records(&mut fields, &derived)?;
        }
    }
    let mut children = Vec::new();
    while fields.has("child-id") {
        let id = fields.bytes("child-id")?;
        let secret = derived.keys.child(&id);
        fields.same("child-secret", &secret)?;
        children.push((id, hex(&secret)));
    }
    fields.none_left()?;
    Ok(Vector {
        outcome,
        server,
        client,
        exchange,
        derived,
        fingerprint,
        f3,
        exports,
        children,
        payloads,
    })
}

/// Verifies a client's proof under each secret of the server, and compares what comes out.
fn outcome(
    server: &End,
    exchange: &Exchange,
    tc: &[u8; 32],
    expected: &str,
) -> Result<Result<Matched, Refusal>, String> {
    let proves = |secret: &Vec<u8>| {
        let secret = secret.clone();
        let verifying = Derived::new(
            &End {
                secret,
                ..server.clone()
            },
            exchange,
        );
        verifying.tc == *tc
    };
    let matched = if proves(&server.secret) {
        Some(Matched::First)
    } else if server.accepted.as_ref().is_some_and(proves) {
        Some(Matched::Accepted)
    } else {
        None
    };
    match (expected, matched) {
        ("accepted", Some(matched)) => Ok(Ok(matched)),
        ("denied wrong proof", None) => Ok(Err(Refusal::WrongProof)),
        // The server has secrets that would match, and does not find them.
        ("denied unknown key id", Some(_)) => Ok(Err(Refusal::UnknownKeyId)),
        _ => Err(format!("expect: {expected} is not what comes out")),
    }
}

/// Returns the payloads of the client and of the server.
fn recompute_records(fields: &mut Fields, derived: &Derived) -> Result<[Vec<Vec<u8>>; 2], String> {
    let mut payloads = [Vec::new(), Vec::new()];
    for ((direction, key), sent) in [("client", "krc"), ("server", "krs")]
        .into_iter()
        .zip(&mut payloads)
    {
        fields.same(key, &derived.record_key(direction))?;
        let mut seq = 0;
        while fields.has(&format!("record-{direction}-{seq}")) {
            let payload = fields.bytes(&format!("record-{direction}-payload-{seq}"))?;
            let record = derived.record(direction, seq, &payload);
            fields.same(&format!("record-{direction}-{seq}"), &record)?;
            sent.push(payload);
            seq += 1;
        }
        let close = derived.record(direction, seq, b"");
        fields.same(&format!("record-{direction}-close"), &close)?;
    }
    Ok(payloads)
}

/// Returns the vectors of a file, each without comments.
pub fn vectors(name: &str) -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let content = fs::read_to_string(directory.join(name)).unwrap();
    let lines: Vec<&str> = (content.lines())
        .filter(|line| !line.starts_with('#'))
        .collect();
    let vectors: Vec<_> = (lines.split(|line| line.is_empty()))
        .filter(|lines| !lines.is_empty())
        .map(|lines| lines.join("\n"))
        .collect();
    assert!(!vectors.is_empty());
    vectors
}

/// The fields of a vector that are not taken yet.
pub struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let fields = text.lines().map(|line| {
            let empty = || line.strip_suffix(':').map(|field| (field, ""));
            let field = line.split_once(": ").or_else(empty);
            field.ok_or(format!("not a field: {line}"))
        });
        Ok(Self(fields.collect::<Result<_, _>>()?))
    }

    fn has(&self, field: &str) -> bool {
        self.0.iter().any(|(name, _)| *name == field)
    }

    /// Takes the first field with this name.
    pub fn text(&mut self, field: &str) -> Result<&'a str, String> {
        let at = self.0.iter().position(|(name, _)| *name == field);
        let at = at.ok_or(format!("{field} is missing"))?;
        Ok(self.0.remove(at).1)
    }

    /// Takes lower-case hexadecimal.
    pub fn bytes(&mut self, field: &str) -> Result<Vec<u8>, String> {
        let digits = self.text(field)?.as_bytes();
        let (pairs, rest) = digits.as_chunks();
        let bytes = pairs.iter().map(|pair: &[u8; 2]| match pair {
            [b'0'..=b'9' | b'a'..=b'f', b'0'..=b'9' | b'a'..=b'f'] => {
                let pair = str::from_utf8(pair).ok()?;
                u8::from_str_radix(pair, 16).ok()
            }
            _ => None,
        });
        (bytes.collect::<Option<_>>())
            .filter(|_| rest.is_empty())
            .ok_or(format!("{field} is not hexadecimal"))
    }

    fn nonce(&mut self, field: &str) -> Result<[u8; 32], String> {
        let bytes = self.bytes(field)?;
        (bytes.try_into()).map_err(|_| format!("{field} is no nonce"))
    }

    /// Takes bytes that are given only if they differ from `other`.
    fn bytes_unless(&mut self, field: &str, other: &[u8]) -> Result<Vec<u8>, String> {
        if !self.has(field) {
            return Ok(other.to_vec());
        }
        let bytes = self.bytes(field)?;
        if bytes == other {
            return Err(format!("{field} does not differ"));
        }
        Ok(bytes)
    }

    fn same(&mut self, field: &str, computed: &[u8]) -> Result<(), String> {
        self.same_text(field, &hex(computed))
    }

    fn same_text(&mut self, field: &str, computed: &str) -> Result<(), String> {
        if self.text(field)? == computed {
            return Ok(());
        }
        Err(format!("{field} should be {computed}"))
    }

    pub fn none_left(&self) -> Result<(), String> {
        match self.0.first() {
            None => Ok(()),
            Some((field, _)) => Err(format!("{field} does not belong here")),
        }
    }
}
