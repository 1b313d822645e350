//! The format of the files of vectors.

use std::fs;
use std::panic::{RefUnwindSafe, catch_unwind};
use std::path::Path;

use countersign::Matched;
use countersign::handshake::Refusal;

use super::{Derived, End, Exchange, pattern, sha256};
use crate::support::{denial, hex};

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
    /// The numbers and payloads of records that the client and the server send if they do not
    /// close.
    pub later: [Vec<(u64, Vec<u8>)>; 2],
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
    let mode = match fields.text("mode")? {
        "00" => 0,
        "01" => 1,
        "02" => 2,
        other => return Err(format!("mode: {other}")),
    };
    let encrypts = mode == 2;
    let exchange = Exchange {
        mode,
        key_id: fields.bytes("key-id")?,
        server_nonce: fields.array("server-nonce")?,
        client_random: fields.array(if encrypts {
            "client-private"
        } else {
            "client-nonce"
        })?,
        server_private: if encrypts && expected == "accepted" {
            Some(fields.array("server-private")?)
        } else {
            None
        },
    };

    let derived = Derived::new(&client, &exchange);
    let outcome = outcome(&server, &exchange, &derived.tc, expected)?;
    let fingerprint = derived.keys.fingerprint();
    let f3 = match outcome {
        Ok(_) => derived.f3.clone(),
        Err(_) => denial(mode),
    };
    fields.same("prk", &derived.keys.prk)?;
    fields.same("kc", &derived.keys.kc)?;
    fields.same("ks", &derived.keys.ks)?;
    fields.same("kx", &derived.keys.kx)?;
    fields.same_text("fingerprint", &fingerprint)?;
    fields.same("prologue", &derived.prologue)?;
    if encrypts {
        fields.same("client-share", &exchange.client_nonce())?;
    }
    fields.same("f1", &derived.f1)?;
    fields.same("f2-untagged", &derived.untagged)?;
    fields.same("tc", &derived.tc)?;
    fields.same("f2", &derived.f2)?;
    fields.same("f3", &f3)?;

    let mut exports = Vec::new();
    let mut payloads = [Vec::new(), Vec::new()];
    let mut later = [Vec::new(), Vec::new()];
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
        if let Some(agreed) = &derived.exchanged {
            fields.same("server-share", &exchange.server_share())?;
            fields.same("z", &agreed.z)?;
            fields.same("xe", &agreed.keys.xe)?;
            fields.same("ke", &agreed.keys.ke)?;
        }
        while fields.has("export-label") {
            let label = fields.bytes("export-label")?;
            let context = fields.bytes("export-context")?;
            let len = fields.text("export-length")?;
            let len = len.parse().map_err(|_| format!("export-length: {len}"))?;
            let output = derived.export(&label, &context, len);
            fields.same("export-output", &output)?;
            exports.push((label, context, output));
        }
        if mode != 0 {
            payloads = recompute_records(&mut fields, &derived)?;
        }
        if encrypts {
            later = recompute_later_records(&mut fields, &derived)?;
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
        later,
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
        if derived.exchanged.is_none() {
            fields.same(key, &derived.record_key(direction))?;
        }
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

/// Returns the numbers and payloads of the later records of the client and of the server.
fn recompute_later_records(
    fields: &mut Fields,
    derived: &Derived,
) -> Result<[Vec<(u64, Vec<u8>)>; 2], String> {
    let keys = &derived
        .exchanged
        .as_ref()
        .ok_or("nothing was exchanged")?
        .keys;
    let mut later = [Vec::new(), Vec::new()];
    for (direction, later) in ["client", "server"].into_iter().zip(&mut later) {
        let mut step = 0;
        while step == 0 || fields.has(&format!("state-{direction}-{step}")) {
            fields.same(
                &format!("state-{direction}-{step}"),
                &keys.state(direction, step),
            )?;
            fields.same(
                &format!("key-{direction}-{step}"),
                &keys.key(direction, step),
            )?;
            step += 1;
        }
        while let Some((field, seq)) = fields.number_behind(&format!("later-{direction}-payload-"))
        {
            let payload = fields.bytes(&field)?;
            let record = derived.record(direction, seq, &payload);
            fields.same(&format!("later-{direction}-{seq}"), &record)?;
            later.push((seq, payload));
        }
        while let Some((field, seq)) = fields.number_behind(&format!("later-{direction}-pattern-"))
        {
            let len = fields.text(&field)?;
            let payload = pattern(len.parse().map_err(|_| format!("{field}: {len}"))?);
            let record = derived.record(direction, seq, &payload);
            fields.same(&format!("later-{direction}-sha256-{seq}"), &sha256(&record))?;
            later.push((seq, payload));
        }
        later.sort_unstable();
        let last_step = later.last().map_or(0, |(seq, _)| seq >> 16);
        if step <= last_step {
            return Err(format!("state-{direction}-{step} is missing"));
        }
    }
    Ok(later)
}

/// The files of handshakes, in every mode.
pub const HANDSHAKES: [&str; 2] = ["handshake.txt", "encrypt.txt"];

/// Runs every vector of a file, and returns what came of each. Panics with the names of all that
/// fail.
pub fn run<T>(file: &str, check: impl Fn(&str) -> Result<T, String> + RefUnwindSafe) -> Vec<T> {
    let (mut passed, mut failed) = (Vec::new(), Vec::new());
    for text in vectors(file) {
        // A rule that is missing may also make what follows panic.
        let problem = match catch_unwind(|| check(&text)) {
            Ok(Ok(came)) => {
                passed.push(came);
                continue;
            }
            Ok(Err(problem)) => problem,
            Err(_) => "it panics".to_owned(),
        };
        let name = text.lines().next().unwrap_or_default();
        failed.push(format!("{name}: {problem}"));
    }
    let (count, all) = (failed.len(), failed.join("\n"));
    assert!(failed.is_empty(), "{count} failed of {file}:\n{all}");
    passed
}

/// Returns the vectors of a file, each without comments.
pub fn vectors(name: &str) -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let vectors = split(&fs::read_to_string(directory.join(name)).unwrap());
    assert!(!vectors.is_empty());
    vectors
}

/// Returns the vectors of a text, each without comments.
pub fn split(content: &str) -> Vec<String> {
    let lines: Vec<&str> = (content.lines())
        .filter(|line| !line.starts_with('#'))
        .collect();
    (lines.split(|line| line.is_empty()))
        .filter(|lines| !lines.is_empty())
        .map(|lines| lines.join("\n"))
        .collect()
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

    pub fn has(&self, field: &str) -> bool {
        self.0.iter().any(|(name, _)| *name == field)
    }

    /// Takes the first field with this name.
    pub fn text(&mut self, field: &str) -> Result<&'a str, String> {
        let at = self.0.iter().position(|(name, _)| *name == field);
        let at = at.ok_or(format!("{field} is missing"))?;
        Ok(self.0.remove(at).1)
    }

    /// Takes the first field with this name, if there is one.
    pub fn optional(&mut self, field: &str) -> Option<String> {
        self.text(field).ok().map(str::to_owned)
    }

    /// Takes a decimal number.
    pub fn number(&mut self, field: &str) -> Result<usize, String> {
        let digits = self.text(field)?;
        digits.parse().map_err(|_| format!("{field}: {digits}"))
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

    pub fn array(&mut self, field: &str) -> Result<[u8; 32], String> {
        let bytes = self.bytes(field)?;
        (bytes.try_into()).map_err(|_| format!("{field} has no 32 bytes"))
    }

    /// The field with this prefix that has the least number behind it, and the number.
    fn number_behind(&self, prefix: &str) -> Option<(String, u64)> {
        let numbers = self.0.iter().filter_map(|(name, _)| {
            let number = name.strip_prefix(prefix)?.parse().ok()?;
            Some(((*name).to_string(), number))
        });
        numbers.min_by_key(|(_, number)| *number)
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
