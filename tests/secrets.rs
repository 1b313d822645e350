//! Whatever is shown, of any value and in any error, holds no octets of a secret.

use std::error::Error as _;
use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use countersign::handshake::{
    self, Flight, Incompatible, Mode, Progress, Prologue, Receive, Refusal, Transcript, client,
    server,
};
use countersign::{
    Binding, Client, Deadline, Error, Key, Keyring, Secret, Server, compat, keys_fn,
};

use crate::support::{
    Act, Draws, Driver, HonestClient, HonestServer, NoEntropy, Pair, Says, TempDir, Wire, deliver,
    hmac, tcp_pair,
};

/// No eight octets of it occur in a sentence by chance.
const SECRET: &[u8] = b"jX4q9Zt7Wv2Rm8Ky5Lb3Nc6Hd1Fg0SpA";
/// Too short for a secret, and easy to recognise.
const SHORT: &[u8] = b"Qe7uTz4iOp9aYx";
/// What a TLS connection exported.
const EXPORTED: [u8; 32] = *b"Bn5mVc3xLk8jHg2fDs6aPo0iUy4tRe7w";
const ID: &str = "worker-7";

/// Something that must not be shown.
struct Hidden {
    name: &'static str,
    octets: Vec<u8>,
}

type Form = fn(&[u8]) -> Vec<u8>;

/// The ways in which octets may come to be shown.
const FORMS: [(&str, Form); 5] = [
    ("raw", <[u8]>::to_vec),
    ("escaped", |octets| octets.escape_ascii().collect()),
    ("hexadecimal", |octets| hexadecimal(octets).into_bytes()),
    ("upper-case hexadecimal", |octets| {
        hexadecimal(octets).to_uppercase().into_bytes()
    }),
    ("list", |octets| {
        let list: Vec<String> = octets.iter().map(ToString::to_string).collect();
        list.join(",").into_bytes()
    }),
];

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut digits, octet| {
        write!(digits, "{octet:02x}").unwrap();
        digits
    })
}

/// Looks for any eight octets in a row, since a part of a secret is as bad as the whole.
fn find(hidden: &Hidden, shown: &[u8]) -> Option<&'static str> {
    // `{:#?}` puts each octet on a line of its own.
    let unspaced: Vec<u8> = (shown.iter().copied())
        .filter(|octet| !octet.is_ascii_whitespace())
        .collect();
    let contains = |needle: &[u8]| {
        [shown, &unspaced]
            .iter()
            .any(|shown| shown.windows(needle.len()).any(|window| window == needle))
    };
    FORMS.iter().find_map(|(name, form)| {
        (hidden.octets.windows(8))
            .any(|part| contains(&form(part)))
            .then_some(*name)
    })
}

/// What has been shown, and of what.
#[derive(Default)]
struct Shown(Vec<(String, String)>);

impl Shown {
    fn debug(&mut self, name: &str, value: &dyn fmt::Debug) {
        self.text(name, format!("{value:?}"));
        self.text(name, format!("{value:#?}"));
    }

    fn text(&mut self, name: &str, text: String) {
        assert!(!text.is_empty(), "{name}");
        self.0.push((name.into(), text));
    }

    /// An error, those below it, and what [`io::Error`] makes of it.
    fn error(&mut self, name: &str, error: Error) {
        self.debug(name, &error);
        self.text(name, error.to_string());
        let mut below = error.source();
        while let Some(error) = below {
            self.debug(name, &error);
            self.text(name, error.to_string());
            below = error.source();
        }
        let error = io::Error::from(error);
        self.debug(name, &error);
        self.text(name, error.to_string());
    }

    fn hides(&self, all: &[Hidden]) {
        for (name, text) in &self.0 {
            for hidden in all {
                let form = find(hidden, text.as_bytes());
                assert_eq!(form, None, "{name} shows {}: {text}", hidden.name);
            }
        }
    }
}

/// `Expand(prk, info, 32)`
fn expand(prk: &[u8], info: &[u8]) -> [u8; 32] {
    hmac(prk, &[info, &[1]].concat())
}

/// All that belongs to one secret.
struct Derived {
    prk: [u8; 32],
    kc: [u8; 32],
    ks: [u8; 32],
    kx: [u8; 32],
    child: [u8; 32],
}

impl Derived {
    fn from(secret: &[u8]) -> Self {
        let prk = hmac(b"countersign/1", secret);
        let child = [b"countersign/1 child\x08", ID.as_bytes()].concat();
        Self {
            prk,
            kc: expand(&prk, b"countersign/1 client proof"),
            ks: expand(&prk, b"countersign/1 server proof"),
            kx: expand(&prk, b"countersign/1 session"),
            child: expand(&prk, &child),
        }
    }

    fn hidden(&self) -> Vec<Hidden> {
        let digits = hexadecimal(&self.child);
        let rows: [(_, &[u8]); 9] = [
            ("the secret", SECRET),
            ("a secret that is too short", SHORT),
            ("PRK", &self.prk),
            ("Kc", &self.kc),
            ("Ks", &self.ks),
            ("Kx", &self.kx),
            ("the child secret", digits.as_bytes()),
            ("what the digits of the child secret mean", &self.child),
            ("the channel binding", &EXPORTED),
        ];
        rows.into_iter()
            .map(|(name, octets)| Hidden {
                name,
                octets: octets.to_vec(),
            })
            .collect()
    }
}

fn ours() -> Key {
    Key::new(SECRET).unwrap().with_id(ID).unwrap()
}

fn theirs() -> Key {
    crate::support::key("theirs").with_id(ID).unwrap()
}

#[test]
fn the_search_finds_every_form_of_every_part() {
    let octets = hmac(b"a key", b"a message");
    let hidden = Hidden {
        name: "a tag",
        octets: octets.to_vec(),
    };
    let part = &octets[11..20];
    let digits = hexadecimal(part);
    let rows: [(&str, Vec<u8>); 8] = [
        ("raw", part.to_vec()),
        ("escaped", part.escape_ascii().to_string().into_bytes()),
        ("hexadecimal", digits.clone().into_bytes()),
        ("upper-case hexadecimal", digits.to_uppercase().into_bytes()),
        ("list", format!("{part:?}").into_bytes()),
        ("list", format!("{part:#?}").into_bytes()),
        ("list", format!("{:?}", Some(octets)).into_bytes()),
        ("list", format!("{:#?}", Some(octets)).into_bytes()),
    ];
    for (form, text) in rows {
        let around = [&b"Key { prk: "[..], &text, b", .. }"].concat();
        assert_eq!(find(&hidden, &around), Some(form));
    }
    // A text without it, and seven octets of it, of which there is no telling.
    assert_eq!(find(&hidden, b"Key { id: \"worker-7\", .. }"), None);
    assert_eq!(find(&hidden, &octets[..7]), None);

    // Text, as secrets often are.
    let hidden = Hidden {
        name: "a text",
        octets: SECRET.to_vec(),
    };
    let text = format!("secret: {:?}", str::from_utf8(SECRET).unwrap());
    assert_eq!(find(&hidden, text.as_bytes()), Some("raw"));
}

#[test]
fn no_value_of_a_handshake_shows_a_secret() {
    let mut shown = Shown::default();
    let key = ours();
    let binding = Binding::tls_exporter(&EXPORTED);
    let prologue = Prologue::new("billing/2").unwrap().bound(&binding);
    let config = server::Config::new(prologue.clone());
    let mode = Mode::Authenticate;

    let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
    let draws = &mut Draws::from(0xc0);
    let await_challenge = client::start(&mut clients, &prologue, mode, &key, draws).unwrap();
    let draws = &mut Draws::from(0x50);
    let (challenge, await_response) = config.start(&mut servers, mode, draws).unwrap();
    shown.debug("Key", &key);
    shown.debug("KeyId", key.id());
    shown.text("KeyId", key.id().to_string());
    shown.debug("Fingerprint", &key.fingerprint());
    shown.text("Fingerprint", key.fingerprint().to_string());
    shown.debug("Secret", &key.child_secret(ID).unwrap());
    shown.debug("Binding", &binding);
    shown.debug("Prologue", &prologue);
    shown.debug("Config", &config);
    shown.debug("AwaitChallenge", &await_challenge);
    shown.debug("AwaitResponse", &await_response);
    shown.debug("Challenge", &challenge);

    let mut await_challenge = await_challenge;
    await_challenge.space()[..9].copy_from_slice(&challenge.as_ref()[..9]);
    let progress = await_challenge.advance(9).unwrap();
    shown.debug("Progress", &progress);
    let Progress::More(await_challenge) = progress else {
        panic!("{progress:?}");
    };
    let (response, await_verdict) = deliver(await_challenge, &challenge.as_ref()[9..]).unwrap();
    shown.debug("Response", &response);
    let response = response.as_ref().to_vec();
    shown.debug("AwaitVerdict", &await_verdict);

    let identified = deliver(await_response, &response).unwrap();
    shown.debug("Identified", &identified);
    let (verdict, outcome) = identified.verify(Some(&key));
    shown.debug("Verdict", &verdict);
    shown.debug("Outcome", &outcome);
    let session = outcome.unwrap();
    shown.debug("Session", &session);
    let mut await_verdict = await_verdict;
    await_verdict.space().copy_from_slice(verdict.as_ref());
    let progress = await_verdict.advance(verdict.as_ref().len()).unwrap();
    shown.debug("Progress", &progress);

    shown.debug("Transcript", &clients);
    shown.debug("Transcript", &servers);

    // The values that are searched for are those that the handshake was made with.
    let derived = Derived::from(SECRET);
    let binding = [&b"\x2dtls-exporter:"[..], &EXPORTED].concat();
    let f1 = challenge.as_ref();
    let (f2_without_tc, tc) = response.split_last_chunk::<32>().unwrap();
    let mut transcript = [&b"\x09billing/2"[..], &binding, f1, f2_without_tc].concat();
    assert_eq!(hmac(&derived.kc, &transcript), *tc);
    transcript.extend([tc, &b"A"[..]].concat());
    assert_eq!(hmac(&derived.ks, &transcript), verdict.as_ref()[1..]);
    let x = hmac(&derived.kx, &transcript);
    let mut exported = [0; 32];
    session.export("label", b"", &mut exported).unwrap();
    let info = b"countersign/1 export\x05label\0\0\0\x20";
    assert_eq!(expand(&x, info), exported);

    let mut hidden = derived.hidden();
    hidden.push(Hidden {
        name: "X",
        octets: x.to_vec(),
    });
    hidden.push(Hidden {
        name: "what was exported from the session",
        octets: exported.to_vec(),
    });
    shown.hides(&hidden);
}

#[test]
fn no_client_server_or_ring_shows_a_secret() {
    let mut shown = Shown::default();
    let binding = Binding::tls_exporter(&EXPORTED);
    let client = Client::new(ours()).service("billing/2").unwrap();
    shown.debug("Client", &client.bound(&binding));
    shown.debug("Client", &client);
    let server = Server::new(ours()).service("billing/2").unwrap();
    shown.debug("Server", &server.bound(&binding));
    shown.debug("Server", &server);

    let ring = Keyring::new();
    ring.insert(ours());
    ring.insert_master("worker-", Key::new(SECRET).unwrap())
        .unwrap();
    shown.debug("Keyring", &ring);
    shown.debug("Server", &Server::new(ring));
    let key = ours();
    shown.debug("KeysFn", &keys_fn(move |_| Some(key.clone())));

    let (near, _far) = tcp_pair();
    shown.debug(
        "Deadline",
        &Deadline::new(&near, Duration::from_secs(1)).unwrap(),
    );
    shown.hides(&Derived::from(SECRET).hidden());
}

#[test]
fn no_error_of_the_core_shows_a_secret() {
    let mut shown = Shown::default();
    let invalid = [
        Key::new(SHORT).unwrap_err(),
        Key::new([SHORT[0]; 32]).unwrap_err(),
        ours().with_id(SECRET.repeat(3)).unwrap_err(),
        ours().child_secret(SECRET.repeat(3)).unwrap_err(),
        ours().child_secret("").unwrap_err(),
        Prologue::new(SECRET.repeat(8)).unwrap_err(),
    ];
    for error in invalid {
        shown.debug("InvalidInput", &error);
        shown.text("InvalidInput", error.to_string());
        shown.error("InvalidInput", error.into());
    }

    let altered = |flight: Flight, at: usize| {
        Pair::of(&ours()).run_through(|passing, octets| {
            if passing == flight {
                octets[at] ^= 1;
            }
        })
    };
    let mut unknown = Pair::of(&ours());
    unknown.server_key = None;
    let runs = [
        altered(Flight::Challenge, 0),
        altered(Flight::Challenge, 39),
        altered(Flight::Response, 6),
        altered(Flight::Response, 80),
        altered(Flight::Verdict, 0),
        altered(Flight::Verdict, 32),
        unknown.run(),
    ];
    let mut errors = vec![Secret::generate(&mut NoEntropy).unwrap_err()];
    for run in runs {
        shown.debug("Run", &run.client);
        shown.debug("Run", &run.server);
        for end in [run.client, run.server] {
            if let crate::support::End::Refused(error) = end {
                errors.push(error);
            }
        }
    }
    // Each kind was among them.
    let is_there = |is: fn(&handshake::Error) -> bool| assert!(errors.iter().any(is), "{errors:?}");
    is_there(|error| matches!(error, handshake::Error::Incompatible(_)));
    is_there(|error| matches!(error, handshake::Error::Denied));
    is_there(|error| matches!(error, handshake::Error::ServerNotAuthentic));
    is_there(|error| matches!(error, handshake::Error::ClientNotAuthentic { .. }));
    is_there(|error| matches!(error, handshake::Error::NoRandomness));
    for error in errors {
        shown.debug("handshake::Error", &error);
        shown.text("handshake::Error", error.to_string());
        shown.error("handshake::Error", error.into());
    }
    shown.hides(&Derived::from(SECRET).hidden());
}

#[test]
fn no_error_of_a_driver_shows_a_secret() {
    let mut shown = Shown::default();
    let to_server = |key: &Key| Wire::to(HonestServer::new(key, Prologue::EMPTY, b""));
    let to_client = |key: &Key| Wire::to(HonestClient::new(key, Prologue::EMPTY, b""));
    for driver in Driver::ALL {
        let client = |mut wire: Wire| {
            driver
                .client(&mut wire, &Client::new(ours()))
                .expect_err("a client that fails")
        };
        let server = |mut wire: Wire| {
            driver
                .server(&mut wire, &Server::new(ours()))
                .expect_err("a server that fails")
        };
        let unknown = ours().with_id("worker-8").unwrap();
        let other = io::ErrorKind::Other;
        let errors = [
            client(to_server(&theirs())),
            client(to_server(&ours()).read_until(40, Act::Nothing)),
            client(to_server(&ours()).read_until(72, Act::Fail(io::ErrorKind::TimedOut))),
            client(to_server(&ours()).read_until(72, Act::Fail(other))),
            client(to_server(&ours()).write_until(60, Act::Lie)),
            client(Wire::to(Says(SECRET.to_vec()))),
            server(to_client(&theirs())),
            server(to_client(&unknown)),
            server(to_client(&ours()).write_until(50, Act::Fail(other))),
            server(to_client(&ours()).write_until(50, Act::Nothing)),
            server(Wire::to(Says(SECRET.to_vec()))),
        ];
        let is_there = |is: fn(&Error) -> bool| assert!(errors.iter().any(is), "{errors:?}");
        is_there(|error| matches!(error, Error::Io { .. }));
        is_there(|error| matches!(error, Error::Closed(_)));
        is_there(|error| matches!(error, Error::TimedOut(_)));
        is_there(|error| matches!(error, Error::Incompatible(Incompatible::Foreign { .. })));
        is_there(|error| matches!(error, Error::Denied));
        for why in [Refusal::WrongProof, Refusal::UnknownKeyId] {
            assert!(errors.iter().any(
                |error| matches!(error, Error::ClientNotAuthentic { refusal, .. } if *refusal == why)
            ));
        }
        is_there(|error| matches!(error, Error::InvalidInput(_)));
        for error in errors {
            shown.error("Error", error);
        }
    }
    shown.hides(&Derived::from(SECRET).hidden());
}

#[test]
fn no_error_of_a_key_file_shows_what_is_in_it() {
    fn file(directory: &TempDir, content: &[u8]) -> PathBuf {
        let path = directory.path().join("worker-7");
        fs::write(&path, content).unwrap();
        #[cfg(unix)]
        set_mode(&path, 0o600);
        path
    }

    #[cfg(unix)]
    fn set_mode(path: &std::path::Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt;

        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    let mut shown = Shown::default();
    let directory = TempDir::new();
    let short = [SHORT, b"\n"].concat();
    let constant = [SHORT[0]; 32];
    let long = SECRET.repeat(2049);
    for content in [&short[..], &constant, &long] {
        let path = file(&directory, content);
        shown.error("a key file", Key::from_file(&path).unwrap_err());
        shown.error("a key file", Key::from_shared_file(&path).unwrap_err());
        shown.error("a ring", Keyring::from_dir(directory.path()).unwrap_err());
        if content.len() > 65_536 {
            let error = compat::secret_from_file(&path).unwrap_err();
            shown.error("a secret from a file", error);
        }
    }

    let path = file(&directory, SECRET);
    shown.debug("Result", &Key::from_file(&path));
    shown.debug("Result", &Keyring::from_dir(directory.path()));
    shown.debug("Result", &compat::secret_from_file(&path));
    #[cfg(unix)]
    {
        set_mode(&path, 0o644);
        shown.error("an exposed file", Key::from_file(&path).unwrap_err());
        let error = Keyring::from_dir(directory.path()).unwrap_err();
        shown.error("an exposed file", error);
    }
    fs::remove_file(&path).unwrap();
    shown.error("no file", Key::from_file(&path).unwrap_err());

    let mut hidden = Derived::from(SECRET).hidden();
    hidden.push(Hidden {
        name: "a constant secret",
        octets: constant.to_vec(),
    });
    shown.hides(&hidden);
}
