//! The known answers of `tests/vectors/`, which an independent program computed from the
//! specification.
//!
//! Each is checked twice: all of it against a computation from `hmac` alone, so that no value is
//! there unchecked; and against the crate, as far as a value can be seen from outside. The
//! octets on the wire and the exporter's outputs belong to both, and tie the one to the other.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use countersign::handshake::{Error, Mode, Prologue, Refusal, client, server};
use countersign::record::{Opened, Opener};
use countersign::{Binding, Key, Session};
use rand::TryRng;
use rand::rngs::SysRng;

use crate::support::{Nonce, deliver, hmac, transcript};

#[test]
fn every_vector_agrees_with_a_computation_from_hmac_alone() {
    for text in vectors() {
        recompute(&text).unwrap_or_else(|problem| panic!("{problem}, in this vector:\n{text}"));
    }
}

#[test]
fn the_core_gives_the_octets_of_every_vector() {
    let mut seen = Vec::new();
    for text in vectors() {
        let vector = recompute(&text).unwrap();
        if exchange_through_the_core(&vector) {
            seen.push((vector.exchange.mode, vector.refusal));
        }
    }
    for kind in [
        (Mode::Authenticate, None),
        (Mode::Protect, None),
        (Mode::Authenticate, Some(Refusal::WrongProof)),
        (Mode::Authenticate, Some(Refusal::UnknownKeyId)),
    ] {
        assert!(seen.contains(&kind), "no vector for {kind:?}");
    }
}

#[test]
fn a_field_that_is_missing_repeated_unknown_or_changed_is_noticed() {
    let mut seen = Vec::new();
    for text in vectors() {
        let lines: Vec<&str> = text.lines().collect();
        let denied = !lines.contains(&"expect: accepted");
        for (at, &line) in lines.iter().enumerate() {
            let field = line.split(':').next().unwrap().to_string();
            if seen.contains(&(field.clone(), denied)) {
                continue;
            }
            let refused = |lines_instead: &[&str]| {
                let text = [&lines[..at], lines_instead, &lines[at + 1..]].concat();
                let text = text.join("\n");
                assert!(recompute(&text).is_err(), "{line}: {text}");
            };
            refused(&[]);
            refused(&[line, line]);
            refused(&[line, "another: 00"]);

            let shorter = &line[..line.len() - 1];
            let changed = match field.as_str() {
                // Words; and what a server has that denies in any case is of no consequence.
                "name" => None,
                "secret" | "service" | "binding" if denied => None,
                "expect" if denied => Some(format!("{field}: accepted")),
                "expect" => Some(format!("{field}: denied wrong proof")),
                _ if line.ends_with(':') => Some(format!("{line} 00")),
                _ if line.ends_with('1') => Some(format!("{shorter}2")),
                _ => Some(format!("{shorter}1")),
            };
            if let Some(changed) = changed {
                refused(&[&changed]);
            }
            seen.push((field, denied));
        }
    }
}

/// The specification explains the protocol by one handshake. Each of its values stands there
/// behind its name, but for white space.
#[test]
fn the_worked_example_of_the_specification_holds() {
    let specification = Path::new(env!("CARGO_MANIFEST_DIR")).join("../PROTOCOL.md");
    let specification = fs::read_to_string(specification).unwrap();
    let (_, example) = specification.split_once("## 11. Worked example").unwrap();
    let (mode_1, mode_0) = example.split_once("**Mode 0**").unwrap();

    let end = End {
        secret: hex(&(0..32).collect::<Vec<u8>>()).into_bytes(),
        service: b"billing/2".to_vec(),
        binding: Vec::new(),
    };
    for (mode, text) in [(Mode::Protect, mode_1), (Mode::Authenticate, mode_0)] {
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
            ("Ts", derived.ts.to_vec()),
            ("X", derived.x.to_vec()),
        ];
        let mut exports = Vec::new();
        let mut children = Vec::new();
        let fingerprint = hex(&derived.expand_prk(b"countersign/1 fingerprint")[..4]);
        if mode == Mode::Protect {
            let output = derived.export(b"audit log", b"run 9", 48);
            let child = derived.child(b"worker-8");
            values.extend([
                ("PRK", derived.prk.to_vec()),
                ("Kc", derived.kc.to_vec()),
                ("Ks", derived.ks.to_vec()),
                ("Kx", derived.kx.to_vec()),
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
            refusal: None,
            server: end.clone(),
            client: end.clone(),
            exchange,
            fingerprint,
            f3: derived.f3(),
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
    service: Vec<u8>,
    binding: Vec<u8>,
}

impl End {
    /// The one type of binding that the crate knows, or none: `None` for any other.
    fn prologue(&self) -> Option<Prologue> {
        let prologue = Prologue::new(&self.service).unwrap();
        if self.binding.is_empty() {
            return Some(prologue);
        }
        let exported = self.binding.strip_prefix(b"tls-exporter:")?;
        Some(prologue.bound(&Binding::tls_exporter(exported.try_into().ok()?)))
    }
}

/// What both ends see on the wire.
struct Exchange {
    mode: Mode,
    key_id: Vec<u8>,
    server_nonce: [u8; 32],
    client_nonce: [u8; 32],
}

/// What the inputs come to, by `hmac` alone.
struct Derived {
    prk: [u8; 32],
    kc: [u8; 32],
    ks: [u8; 32],
    kx: [u8; 32],
    prologue: Vec<u8>,
    f1: Vec<u8>,
    untagged: Vec<u8>,
    tc: [u8; 32],
    ts: [u8; 32],
    x: [u8; 32],
}

impl Derived {
    fn new(end: &End, exchange: &Exchange) -> Self {
        let prk = hmac(b"countersign/1", &end.secret);
        let [kc, ks, kx] = ["client proof", "server proof", "session"]
            .map(|label| expand_32(&prk, format!("countersign/1 {label}").as_bytes()));
        let mode = [u8::from(exchange.mode == Mode::Protect)];
        let prologue = [lv(&end.service), lv(&end.binding)].concat();
        let f1 = [b"CSIGN1S", &mode[..], &exchange.server_nonce].concat();
        let key_id = lv(&exchange.key_id);
        let untagged = [b"CSIGN1C", &mode[..], &key_id, &exchange.client_nonce].concat();
        let proved = [&prologue[..], &f1, &untagged].concat();
        let tc = hmac(&kc, &proved);
        let accepted = [&proved[..], &tc, b"A"].concat();
        Self {
            prk,
            kc,
            ks,
            kx,
            prologue,
            f1,
            untagged,
            tc,
            ts: hmac(&ks, &accepted),
            x: hmac(&kx, &accepted),
        }
    }

    fn f2(&self) -> Vec<u8> {
        [&self.untagged[..], &self.tc].concat()
    }

    fn f3(&self) -> Vec<u8> {
        [b"A", &self.ts[..]].concat()
    }

    fn expand_prk(&self, info: &[u8]) -> [u8; 32] {
        expand_32(&self.prk, info)
    }

    fn child(&self, id: &[u8]) -> [u8; 32] {
        self.expand_prk(&[b"countersign/1 child", &lv(id)[..]].concat())
    }

    fn export(&self, label: &[u8], context: &[u8], len: usize) -> Vec<u8> {
        let context_len = u16::try_from(context.len()).unwrap().to_be_bytes();
        let out_len = u16::try_from(len).unwrap().to_be_bytes();
        let info = [
            b"countersign/1 export",
            &lv(label)[..],
            &context_len,
            context,
            &out_len,
        ];
        expand(&self.x, &info.concat(), len)
    }

    fn record_key(&self, direction: &str) -> [u8; 32] {
        let info = format!("countersign/1 record {direction}");
        expand_32(&self.x, info.as_bytes())
    }

    fn record(&self, direction: &str, seq: u64, payload: &[u8]) -> Vec<u8> {
        let n = u16::try_from(payload.len()).unwrap().to_be_bytes();
        let covered = [&seq.to_be_bytes()[..], &n, payload].concat();
        let tag = hmac(&self.record_key(direction), &covered);
        [&n, payload, &tag[..16]].concat()
    }
}

fn lv(octets: &[u8]) -> Vec<u8> {
    [&[u8::try_from(octets.len()).unwrap()], octets].concat()
}

/// HKDF-Expand of RFC 5869, section 2.3.
fn expand(prk: &[u8], info: &[u8], len: usize) -> Vec<u8> {
    let mut output: Vec<u8> = Vec::new();
    let mut block = Vec::new();
    for counter in 1..=u8::MAX {
        if output.len() < len {
            block = hmac(prk, &[&block, info, &[counter]].concat()).to_vec();
            output.extend(&block);
        }
    }
    output.truncate(len);
    output
}

fn expand_32(prk: &[u8], info: &[u8]) -> [u8; 32] {
    expand(prk, info, 32).try_into().unwrap()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut digits, octet| {
        write!(digits, "{octet:02x}").unwrap();
        digits
    })
}

/// A vector that agrees with itself.
struct Vector {
    refusal: Option<Refusal>,
    server: End,
    client: End,
    exchange: Exchange,
    derived: Derived,
    fingerprint: String,
    f3: Vec<u8>,
    /// Label, context, output.
    exports: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>,
    /// Id, secret.
    children: Vec<(Vec<u8>, String)>,
    /// What the client and the server send in records, before each closes.
    payloads: [Vec<Vec<u8>>; 2],
}

/// Computes a vector anew from its inputs; `Err` says where it differs.
fn recompute(text: &str) -> Result<Vector, String> {
    let mut fields = Fields::parse(text)?;
    fields.text("name")?;
    let refusal = match fields.text("expect")? {
        "accepted" => None,
        "denied wrong proof" => Some(Refusal::WrongProof),
        "denied unknown key id" => Some(Refusal::UnknownKeyId),
        other => return Err(format!("expect: {other}")),
    };
    let server = End {
        secret: fields.octets("secret")?,
        service: fields.octets("service")?,
        binding: fields.octets("binding")?,
    };
    let client = End {
        secret: fields.octets_unless("client-secret", &server.secret)?,
        service: fields.octets_unless("client-service", &server.service)?,
        binding: fields.octets_unless("client-binding", &server.binding)?,
    };
    let exchange = Exchange {
        mode: match fields.text("mode")? {
            "00" => Mode::Authenticate,
            "01" => Mode::Protect,
            other => return Err(format!("mode: {other}")),
        },
        key_id: fields.octets("key-id")?,
        server_nonce: fields.nonce("server-nonce")?,
        client_nonce: fields.nonce("client-nonce")?,
    };

    let derived = Derived::new(&client, &exchange);
    let proved = Derived::new(&server, &exchange).tc == derived.tc;
    if proved == (refusal == Some(Refusal::WrongProof)) {
        return Err("the outcome is not what was expected".into());
    }
    let fingerprint = derived.expand_prk(b"countersign/1 fingerprint");
    let f3 = match refusal {
        None => derived.f3(),
        Some(_) => [b"D", &[0; 32][..]].concat(),
    };
    fields.same("prk", &derived.prk)?;
    fields.same("kc", &derived.kc)?;
    fields.same("ks", &derived.ks)?;
    fields.same("kx", &derived.kx)?;
    fields.same("fingerprint", &fingerprint[..4])?;
    fields.same("prologue", &derived.prologue)?;
    fields.same("f1", &derived.f1)?;
    fields.same("f2-untagged", &derived.untagged)?;
    fields.same("tc", &derived.tc)?;
    fields.same("f2", &derived.f2())?;
    fields.same("f3", &f3)?;

    let mut exports = Vec::new();
    let mut payloads = [Vec::new(), Vec::new()];
    if refusal.is_none() {
        fields.same("ts", &derived.ts)?;
        fields.same("x", &derived.x)?;
        while fields.has("export-label") {
            let label = fields.octets("export-label")?;
            let context = fields.octets("export-context")?;
            let len = fields.text("export-length")?;
            let len = len.parse().map_err(|_| format!("export-length: {len}"))?;
            let output = derived.export(&label, &context, len);
            fields.same("export-output", &output)?;
            exports.push((label, context, output));
        }
        if exchange.mode == Mode::Protect {
            payloads = recompute_records(&mut fields, &derived)?;
        }
    }
    let mut children = Vec::new();
    while fields.has("child-id") {
        let id = fields.octets("child-id")?;
        let secret = derived.child(&id);
        fields.same("child-secret", &secret)?;
        children.push((id, hex(&secret)));
    }
    fields.none_left()?;
    Ok(Vector {
        refusal,
        server,
        client,
        exchange,
        derived,
        fingerprint: hex(&fingerprint[..4]),
        f3,
        exports,
        children,
        payloads,
    })
}

/// Gives what the client and the server send.
fn recompute_records(fields: &mut Fields, derived: &Derived) -> Result<[Vec<Vec<u8>>; 2], String> {
    let mut payloads = [Vec::new(), Vec::new()];
    for ((direction, key), sent) in [("client", "krc"), ("server", "krs")]
        .into_iter()
        .zip(&mut payloads)
    {
        fields.same(key, &derived.record_key(direction))?;
        let mut seq = 0;
        while fields.has(&format!("record-{direction}-{seq}")) {
            let payload = fields.octets(&format!("record-{direction}-payload-{seq}"))?;
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

/// Runs a vector between two cores; `false` where a binding is of a type that the crate does not
/// know.
fn exchange_through_the_core(vector: &Vector) -> bool {
    let (server, client) = (&vector.server, &vector.client);
    let exchange = &vector.exchange;
    let client_key = Key::new(&client.secret).unwrap();
    let client_key = client_key.with_id(&exchange.key_id).unwrap();
    let server_key = Key::new(&server.secret).unwrap();
    assert_eq!(client_key.fingerprint().to_string(), vector.fingerprint);
    for (id, secret) in &vector.children {
        let child = client_key.child_secret(id).unwrap();
        assert_eq!(child.as_ref(), secret.as_bytes());
    }
    let (Some(for_server), Some(for_client)) = (server.prologue(), client.prologue()) else {
        return false;
    };

    let config = server::Config::new(for_server);
    let (f1, await_response) = config
        .start(
            transcript(),
            exchange.mode,
            &mut Nonce(exchange.server_nonce),
        )
        .unwrap();
    assert_eq!(f1.as_ref(), vector.derived.f1);
    let nonce = &mut Nonce(exchange.client_nonce);
    let await_challenge =
        client::start(transcript(), &for_client, exchange.mode, &client_key, nonce).unwrap();
    let (f2, await_verdict) = deliver(await_challenge, f1).unwrap();
    assert_eq!(f2.as_ref(), vector.derived.f2());
    let identified = deliver(await_response, f2).unwrap();
    let claimed = *identified.key_id();
    assert_eq!(claimed.as_bytes(), exchange.key_id);
    let known = vector.refusal != Some(Refusal::UnknownKeyId);
    let (f3, at_server) = identified.verify(known.then_some(&server_key));
    assert_eq!(f3.as_ref(), vector.f3);
    let at_client = deliver(await_verdict, f3);

    if let Some(refusal) = vector.refusal {
        let expected = Error::ClientNotAuthentic {
            key_id: claimed,
            refusal,
        };
        assert_eq!(at_server.unwrap_err(), expected);
        assert_eq!(at_client.unwrap_err(), Error::Denied);
        return true;
    }
    let (mut at_server, mut at_client) = (at_server.unwrap(), at_client.unwrap());
    for session in [&at_server, &at_client] {
        assert_eq!(session.key_id().as_bytes(), exchange.key_id);
        for (label, context, expected) in &vector.exports {
            let mut output = vec![0; expected.len()];
            session.export(label, context, &mut output).unwrap();
            assert_eq!(&output, expected);
        }
    }
    records_through_the_core(vector, &mut at_client, &mut at_server);
    true
}

/// Seals what each end sends, and opens it at the other.
fn records_through_the_core(vector: &Vector, client: &mut Session, server: &mut Session) {
    let (Some((clients_sealer, clients_opener)), Some((servers_sealer, servers_opener))) =
        (client.records(), server.records())
    else {
        assert_eq!(vector.exchange.mode, Mode::Authenticate);
        return;
    };
    assert_eq!(vector.exchange.mode, Mode::Protect);
    let [from_client, from_server] = &vector.payloads;
    for (direction, mut sealer, mut opener, payloads) in [
        ("client", clients_sealer, servers_opener, from_client),
        ("server", servers_sealer, clients_opener, from_server),
    ] {
        let mut seq = 0;
        for payload in payloads {
            let mut record = [&[0; 2][..], payload, &[0; 16]].concat();
            sealer.seal(&mut record).unwrap();
            assert_eq!(record, vector.derived.record(direction, seq, payload));
            let header = [record[0], record[1]];
            assert_eq!(Opener::len_of(header), Ok(record.len()));
            assert_eq!(opener.open(&record), Ok(Opened::Data(payload)));
            seq += 1;
        }
        let close = sealer.close().unwrap();
        assert_eq!(close[..], vector.derived.record(direction, seq, b""));
        assert_eq!(opener.open(&close), Ok(Opened::Close));
    }
}

/// Vectors that the crate itself makes from random inputs, for others to check. What cannot be
/// seen from outside the crate stands there as computed from `hmac` alone.
pub fn made_by_the_crate() -> String {
    let mut text = String::new();
    for (secret, key_id, service, mode) in [
        (16, 0, 0, Mode::Authenticate),
        (32, 64, 255, Mode::Protect),
        (65, 1, 9, Mode::Protect),
        (1000, 33, 17, Mode::Authenticate),
    ] {
        let end = End {
            secret: random(secret),
            service: random(service),
            binding: Vec::new(),
        };
        let exchange = Exchange {
            mode,
            key_id: random(key_id),
            server_nonce: random(32).try_into().unwrap(),
            client_nonce: random(32).try_into().unwrap(),
        };
        let derived = Derived::new(&end, &exchange);
        let key = Key::new(&end.secret).unwrap();
        let key = key.with_id(&exchange.key_id).unwrap();

        let config = server::Config::new(end.prologue().unwrap());
        let nonce = &mut Nonce(exchange.server_nonce);
        let (f1, await_response) = config.start(transcript(), exchange.mode, nonce).unwrap();
        let nonce = &mut Nonce(exchange.client_nonce);
        let prologue = end.prologue().unwrap();
        let await_challenge =
            client::start(transcript(), &prologue, exchange.mode, &key, nonce).unwrap();
        let (f2, await_verdict) = deliver(await_challenge, &f1).unwrap();
        let (f3, server) = deliver(await_response, f2).unwrap().verify(Some(&key));
        let (mut server, mut client) = (server.unwrap(), deliver(await_verdict, &f3).unwrap());
        let mut output = [0; 77];
        let (label, context, child) = (random(255), random(300), random(64));
        client.export(&label, &context, &mut output).unwrap();

        let mut field = |name: &str, value: &str| writeln!(text, "{name}: {value}").unwrap();
        field(
            "name",
            &format!("made by the crate, of a secret of {secret} octets"),
        );
        field("expect", "accepted");
        field("secret", &hex(&end.secret));
        field("key-id", &hex(&exchange.key_id));
        field("service", &hex(&end.service));
        field("binding", "");
        field("mode", if mode == Mode::Protect { "01" } else { "00" });
        field("server-nonce", &hex(&exchange.server_nonce));
        field("client-nonce", &hex(&exchange.client_nonce));
        field("prk", &hex(&derived.prk));
        field("kc", &hex(&derived.kc));
        field("ks", &hex(&derived.ks));
        field("kx", &hex(&derived.kx));
        field("fingerprint", &key.fingerprint().to_string());
        field("prologue", &hex(&derived.prologue));
        field("f1", &hex(f1.as_ref()));
        field("f2-untagged", &hex(&derived.untagged));
        field("tc", &hex(&derived.tc));
        field("f2", &hex(f2.as_ref()));
        field("f3", &hex(f3.as_ref()));
        field("ts", &hex(&derived.ts));
        field("x", &hex(&derived.x));
        field("export-label", &hex(&label));
        field("export-context", &hex(&context));
        field("export-length", "77");
        field("export-output", &hex(&output));
        if mode == Mode::Protect {
            field("krc", &hex(&derived.record_key("client")));
            field("krs", &hex(&derived.record_key("server")));
        }
        for (direction, session) in [("client", &mut client), ("server", &mut server)] {
            let Some((mut sealer, _)) = session.records() else {
                continue;
            };
            for (seq, len) in [1, 16_384, 100].into_iter().enumerate() {
                let payload = random(len);
                let mut record = [&[0; 2][..], &payload, &[0; 16]].concat();
                sealer.seal(&mut record).unwrap();
                field(&format!("record-{direction}-payload-{seq}"), &hex(&payload));
                field(&format!("record-{direction}-{seq}"), &hex(&record));
            }
            let close = sealer.close().unwrap();
            field(&format!("record-{direction}-close"), &hex(&close));
        }
        field("child-id", &hex(&child));
        let child = key.child_secret(&child).unwrap();
        field("child-secret", str::from_utf8(child.as_ref()).unwrap());
        text.push('\n');
    }
    text
}

fn random(len: usize) -> Vec<u8> {
    let mut octets = vec![0; len];
    SysRng.try_fill_bytes(&mut octets).unwrap();
    octets
}

/// The vectors of all files, each without comments.
fn vectors() -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let mut vectors = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let content = fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = (content.lines())
            .filter(|line| !line.starts_with('#'))
            .collect();
        let blocks = lines.split(|line| line.is_empty());
        vectors.extend(
            blocks
                .filter(|lines| !lines.is_empty())
                .map(|lines| lines.join("\n")),
        );
    }
    assert!(!vectors.is_empty());
    vectors
}

/// The fields of a vector that nobody has taken yet.
struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let fields = text.lines().map(|line| {
            if let Some(field) = line.strip_suffix(':') {
                return Ok((field, ""));
            }
            line.split_once(": ").ok_or(format!("not a field: {line}"))
        });
        Ok(Self(fields.collect::<Result<_, _>>()?))
    }

    fn has(&self, field: &str) -> bool {
        self.0.iter().any(|(name, _)| *name == field)
    }

    /// Takes the first of this name.
    fn text(&mut self, field: &str) -> Result<&'a str, String> {
        let at = self.0.iter().position(|(name, _)| *name == field);
        let at = at.ok_or(format!("{field} is missing"))?;
        Ok(self.0.remove(at).1)
    }

    /// Takes lower-case hexadecimal.
    fn octets(&mut self, field: &str) -> Result<Vec<u8>, String> {
        let digits = self.text(field)?.as_bytes();
        let (pairs, rest) = digits.as_chunks();
        let octets = pairs.iter().map(|pair: &[u8; 2]| match pair {
            [b'0'..=b'9' | b'a'..=b'f', b'0'..=b'9' | b'a'..=b'f'] => {
                let pair = str::from_utf8(pair).ok()?;
                u8::from_str_radix(pair, 16).ok()
            }
            _ => None,
        });
        (octets.collect::<Option<_>>())
            .filter(|_| rest.is_empty())
            .ok_or(format!("{field} is not hexadecimal"))
    }

    fn nonce(&mut self, field: &str) -> Result<[u8; 32], String> {
        let octets = self.octets(field)?;
        (octets.try_into()).map_err(|_| format!("{field} is no nonce"))
    }

    /// Takes what is given only where it differs from `other`.
    fn octets_unless(&mut self, field: &str, other: &[u8]) -> Result<Vec<u8>, String> {
        if !self.has(field) {
            return Ok(other.to_vec());
        }
        let octets = self.octets(field)?;
        if octets == other {
            return Err(format!("{field} does not differ"));
        }
        Ok(octets)
    }

    fn same(&mut self, field: &str, computed: &[u8]) -> Result<(), String> {
        if self.octets(field)? == computed {
            return Ok(());
        }
        Err(format!("{field} should be {}", hex(computed)))
    }

    fn none_left(&self) -> Result<(), String> {
        match self.0.first() {
            None => Ok(()),
            Some((field, _)) => Err(format!("{field} does not belong here")),
        }
    }
}
