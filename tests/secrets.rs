//! No value and no error shows a part of a secret.

use std::error::Error as _;
use std::fmt;
use std::fs;
use std::io;
use std::time::Duration;

#[cfg(feature = "encrypt")]
use countersign::handshake::Encrypt;
use countersign::handshake::server::{self, Dummy};
use countersign::handshake::{
    self, Incompatible, Message, Mode, Progress, Prologue, Protect, Refusal, StreamError,
    Transcript, client,
};
use countersign::{
    Binding, Client, Deadline, Error, Found, Key, KeyFileError, Keyring, Malformed, Secret, Server,
    compat,
};

use crate::failures::{incompatible, is_denied, refusal, stream};
use crate::support::{
    Act, Draws, Driver, HonestClient, HonestServer, NoEntropy, Pair, Says, Schedule, TempDir, Wire,
    deliver, export, feed, hex, hmac, in_every_mode, lv, tcp_pair,
};
#[cfg(feature = "encrypt")]
use crate::support::{Exchanged, x25519};

/// Eight bytes of it cannot occur in a sentence by chance.
const SECRET: &[u8] = b"jX4q9Zt7Wv2Rm8Ky5Lb3Nc6Hd1Fg0SpA";
/// Too short for a secret, and easy to recognise.
const SHORT: &[u8] = b"Qe7uTz4iOp9aYx";
/// What a TLS connection exports.
const EXPORTED: [u8; 32] = *b"Bn5mVc3xLk8jHg2fDs6aPo0iUy4tRe7w";
const ID: &str = "worker-7";

/// Bytes that must not be shown.
struct Hidden {
    name: &'static str,
    bytes: Vec<u8>,
}

type Form = fn(&[u8]) -> Vec<u8>;

/// The forms in which bytes may be shown.
const FORMS: [(&str, Form); 5] = [
    ("raw", <[u8]>::to_vec),
    ("escaped", |bytes| bytes.escape_ascii().collect()),
    ("hexadecimal", |bytes| hex(bytes).into_bytes()),
    ("upper-case hexadecimal", |bytes| {
        hex(bytes).to_uppercase().into_bytes()
    }),
    ("list", |bytes| {
        let list: Vec<String> = bytes.iter().map(ToString::to_string).collect();
        list.join(",").into_bytes()
    }),
];

/// Looks for any eight bytes in a row, since a part of a secret must not be shown either. Returns
/// the form in which they are shown.
fn find(hidden: &Hidden, shown: &[u8]) -> Option<&'static str> {
    // `{:#?}` puts each byte on a line of its own.
    let unspaced: Vec<u8> = (shown.iter().copied())
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let contains = |needle: &[u8]| {
        [shown, &unspaced]
            .iter()
            .any(|shown| shown.windows(needle.len()).any(|window| window == needle))
    };
    FORMS.iter().find_map(|(name, form)| {
        (hidden.bytes.windows(8))
            .any(|part| contains(&form(part)))
            .then_some(*name)
    })
}

/// Texts that were shown, each with the name of the value.
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

    /// Shows an error, its sources, and the error as an [`io::Error`].
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

/// Everything that follows from the one secret, and the other bytes that must not be shown.
fn hidden() -> Vec<Hidden> {
    let keys = Schedule::of(SECRET);
    let child = keys.child(ID.as_bytes());
    let digits = hex(&child);
    let rows: [(_, &[u8]); 9] = [
        ("the secret", SECRET),
        ("a secret that is too short", SHORT),
        ("PRK", &keys.prk),
        ("Kc", &keys.kc),
        ("Ks", &keys.ks),
        ("Kx", &keys.kx),
        ("the child secret", digits.as_bytes()),
        ("the bytes that the child secret encodes", &child),
        ("the channel binding", &EXPORTED),
    ];
    rows.into_iter()
        .map(|(name, bytes)| Hidden {
            name,
            bytes: bytes.to_vec(),
        })
        .collect()
}

fn ours() -> Key {
    Key::new(SECRET).unwrap().with_id(ID).unwrap()
}

fn theirs() -> Key {
    crate::support::key("theirs").with_id(ID).unwrap()
}

#[test]
fn the_search_finds_every_form_of_every_part() {
    let bytes = hmac(b"a key", b"a message");
    let hidden = Hidden {
        name: "a tag",
        bytes: bytes.to_vec(),
    };
    let part = &bytes[11..20];
    let digits = hex(part);
    let rows: [(&str, Vec<u8>); 8] = [
        ("raw", part.to_vec()),
        ("escaped", part.escape_ascii().to_string().into_bytes()),
        ("hexadecimal", digits.clone().into_bytes()),
        ("upper-case hexadecimal", digits.to_uppercase().into_bytes()),
        ("list", format!("{part:?}").into_bytes()),
        ("list", format!("{part:#?}").into_bytes()),
        ("list", format!("{:?}", Some(bytes)).into_bytes()),
        ("list", format!("{:#?}", Some(bytes)).into_bytes()),
    ];
    for (form, text) in rows {
        let around = [&b"Key { prk: "[..], &text, b", .. }"].concat();
        assert_eq!(find(&hidden, &around), Some(form));
    }
    // A text without it, and seven of its bytes, which are too few.
    assert_eq!(find(&hidden, b"Key { id: \"worker-7\", .. }"), None);
    assert_eq!(find(&hidden, &bytes[..7]), None);

    // A secret that is text, as many are.
    let hidden = Hidden {
        name: "a text",
        bytes: SECRET.to_vec(),
    };
    let text = format!("secret: {:?}", str::from_utf8(SECRET).unwrap());
    assert_eq!(find(&hidden, text.as_bytes()), Some("raw"));
}

#[test]
fn no_value_of_a_handshake_shows_a_secret() {
    in_every_mode!(no_value_shows_a_secret);
}

fn no_value_shows_a_secret<M: Mode>(mode: M) {
    let mut shown = Shown::default();
    let key = ours();
    let binding = Binding::tls_exporter(&EXPORTED);
    let prologue = Prologue::new("billing/2").unwrap().bound(Some(&binding));
    let dummy = Dummy::new();

    let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
    let rng = &mut Draws::from(0x50);
    let started = server::start(&mut servers, &dummy, &prologue, mode, rng);
    let (challenge, await_response) = started.unwrap();
    let started = client::start(&mut clients, &key, &prologue, mode, rng);
    let await_challenge = started.unwrap();
    shown.debug("Key", &key);
    shown.debug("Key", &theirs().accepting(SECRET).unwrap());
    shown.debug("KeyId", key.id());
    shown.text("KeyId", key.id().to_string());
    shown.debug("Fingerprint", &key.fingerprint());
    shown.text("Fingerprint", key.fingerprint().to_string());
    shown.debug("Secret", &key.child_secret(ID).unwrap());
    shown.debug("Binding", &binding);
    shown.debug("Prologue", &prologue);
    shown.debug("Dummy", &dummy);
    shown.debug("AwaitChallenge", &await_challenge);
    shown.debug("AwaitResponse", &await_response);
    shown.debug("Challenge", &challenge);

    let (progress, _) = feed(await_challenge, &challenge.as_ref()[..9], 9).unwrap();
    shown.debug("Progress", &progress);
    let Progress::More(await_challenge) = progress else {
        panic!("{progress:?}");
    };
    let await_verdict = deliver(await_challenge, &challenge.as_ref()[9..]).unwrap();
    let response = await_verdict.response().to_vec();
    shown.debug("AwaitVerdict", &await_verdict);

    let identified = deliver(await_response, &response).unwrap();
    shown.debug("Identified", &identified);
    let (verdict, outcome) = identified
        .verify(Some(&key), &mut Draws::from(0x60))
        .unwrap();
    shown.debug("Verdict", &verdict);
    shown.debug("Outcome", &outcome);
    let established = outcome.unwrap();
    let session = M::session(&established);
    shown.debug("Session", session);
    shown.debug("Matched", &session.matched());
    let (progress, _) = feed(await_verdict, verdict.as_ref(), usize::MAX).unwrap();
    shown.debug("Progress", &progress);

    shown.debug("Transcript", &clients);
    shown.debug("Transcript", &servers);

    // The handshake was made with the values that are searched for.
    let keys = Schedule::of(SECRET);
    let binding = [&b"tls-exporter:"[..], &EXPORTED].concat();
    let prologue = [lv(b"billing/2"), lv(&binding)].concat();
    let f1 = challenge.as_ref();
    let (f2_without_tc, tc) = response.split_last_chunk::<32>().unwrap();
    assert_eq!(keys.client_proof(&prologue, f1, f2_without_tc), *tc);
    let share = &verdict.as_ref()[1..verdict.as_ref().len() - 32];
    let f3 = keys.acceptance_with(share, &prologue, f1, &response);
    assert_eq!(f3, verdict.as_ref());
    let x = keys.session_with(share, &prologue, f1, &response);
    let mut exported = [0; 32];
    session.export("label", b"", &mut exported).unwrap();

    let mut hidden = hidden();
    let mut hide = |name, bytes: &[u8]| {
        let bytes = bytes.to_vec();
        hidden.push(Hidden { name, bytes });
    };
    hide("X", &x);
    hide("what was exported from the session", &exported);
    #[cfg(feature = "encrypt")]
    if let Ok(share) = share.try_into() {
        // The draws after the server's nonce.
        let (client, server) = ([0x51; 32], [0x60; 32]);
        let z = x25519(client, share);
        let exchanged = Exchanged::of(&x, &z);
        assert_eq!(export(&exchanged.ke, b"label", b"", 32), exported);
        hide("ec", &client);
        hide("es", &server);
        hide("Z", &z);
        hide("Xe", &exchanged.xe);
        hide("Ke", &exchanged.ke);
        for sender in ["client", "server"] {
            hide("S[0]", &exchanged.state(sender, 0));
            hide("K[0]", &exchanged.key(sender, 0));
        }
        return shown.hides(&hidden);
    }
    assert_eq!(export(&x, b"label", b"", 32), exported);
    shown.hides(&hidden);
}

#[test]
fn no_client_server_or_keyring_shows_a_secret() {
    let mut shown = Shown::default();
    let binding = Binding::tls_exporter(&EXPORTED);
    let client = Client::new(ours()).service("billing/2").unwrap();
    shown.debug("Client", &client.bound(Some(&binding)));
    shown.debug("Client", &client);
    let server = Server::new(ours()).service("billing/2").unwrap();
    shown.debug("Server", &server.bound(Some(&binding)));
    shown.debug("Server", &server);

    let ring = Keyring::new();
    ring.insert(ours());
    ring.insert_master("worker-", Key::new(SECRET).unwrap())
        .unwrap();
    shown.debug("Keyring", &ring);
    shown.debug("Server", &Server::new(ring));
    let key = ours();
    let closure = move |_: &[u8]| Some(key.clone());
    shown.debug("Server", &Server::new(closure));

    let (near, _far) = tcp_pair();
    shown.debug("Deadline", &Deadline::new(&near, Duration::from_secs(1)));
    shown.hides(&hidden());
}

#[test]
fn no_error_of_the_core_shows_a_secret() {
    let mut shown = Shown::default();
    let invalid = [
        Key::new(SHORT).unwrap_err(),
        Key::new([SHORT[0]; 32]).unwrap_err(),
        ours().accepting(SHORT).unwrap_err(),
        ours().accepting([SHORT[0]; 32]).unwrap_err(),
        #[cfg(feature = "passphrase")]
        Key::from_passphrase(SHORT, "").unwrap_err(),
        #[cfg(feature = "passphrase")]
        Key::from_passphrase(&SHORT[..7], ID).unwrap_err(),
        #[cfg(feature = "passphrase")]
        Key::from_passphrase(SHORT, SECRET.repeat(3)).unwrap_err(),
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

    let altered = |message: Message, at: usize| {
        Pair::of(&ours()).run_through(|passing, bytes| {
            if passing == message {
                bytes[at] ^= 1;
            }
        })
    };
    let mut unknown = Pair::of(&ours());
    unknown.server_key = None;
    let runs = [
        altered(Message::CHALLENGE, 0),
        altered(Message::CHALLENGE, 39),
        altered(Message::RESPONSE, 6),
        altered(Message::RESPONSE, 80),
        altered(Message::VERDICT, 0),
        altered(Message::VERDICT, 32),
        unknown.run(),
        Pair::of(&ours()).run_in(Protect, Protect),
        #[cfg(feature = "encrypt")]
        Pair::of(&ours()).run_in(Encrypt, Encrypt),
    ];
    let no_randomness = Secret::generate(&mut NoEntropy).unwrap_err();
    shown.debug("NoRandomness", &no_randomness);
    shown.text("NoRandomness", no_randomness.to_string());
    let mut errors = vec![handshake::Error::from(no_randomness)];
    for run in runs {
        shown.debug("Run", &run.client);
        shown.debug("Run", &run.server);
        for end in [run.client, run.server] {
            errors.extend(end.refusal());
        }
    }
    // The errors are of every kind.
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
    shown.hides(&hidden());
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
        is_there(|error| matches!(incompatible(error), Some(Incompatible::Foreign { .. })));
        is_there(is_denied);
        is_there(|error| refusal(error) == Some(Refusal::WrongProof));
        is_there(|error| refusal(error) == Some(Refusal::UnknownKeyId));
        is_there(|error| matches!(stream(error), Some(StreamError::Overrun { .. })));
        for error in errors {
            shown.error("Error", error);
        }
    }
    shown.hides(&hidden());
}

#[test]
fn no_report_of_a_reload_shows_what_is_in_the_files() {
    let mut shown = Shown::default();
    let directory = TempDir::new();
    let both = |first: &[u8], second: &[u8]| [first, b"\naccept:", second].concat();
    for id in ["changed", "removed", "kept"] {
        directory.key_file(&format!("{id}.key"), SECRET);
    }
    let ring = Keyring::from_dir(directory.path()).unwrap();
    directory.key_file("added.key", SECRET);
    directory.key_file("changed.key", both(SECRET, &SECRET.repeat(2)));
    directory.key_file("kept.key", both(SECRET, SHORT));
    directory.key_file("refused.key", [SECRET, b" "].concat());
    fs::remove_file(directory.path().join("removed.key")).unwrap();
    let reloaded = ring.reload().unwrap();
    shown.debug("Reloaded", &reloaded);
    shown.text("Reloaded", reloaded.to_string());
    // It has something to say in every part.
    assert_eq!(reloaded.added, ["added"]);
    assert_eq!(reloaded.changed, ["changed"]);
    assert_eq!(reloaded.removed, ["removed"]);
    assert_eq!((reloaded.kept.len(), reloaded.refused.len()), (1, 1));
    for (_, error) in reloaded.kept {
        shown.error("a file whose former key is kept", error);
    }
    for error in reloaded.refused {
        shown.error("a file that is refused", error);
    }
    shown.debug("Keyring", &ring);
    shown.debug("KeyId", &ring.ids());
    shown.hides(&hidden());
}

#[test]
fn no_error_of_a_key_file_shows_what_is_in_it() {
    #[cfg(unix)]
    fn set_mode(path: &std::path::Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt;

        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    let mut shown = Shown::default();
    let directory = TempDir::new();
    let secret = |content: &[u8]| [content, b"\n"].concat();
    let constant = [SHORT[0]; 32];
    let mut seen = Vec::new();
    for content in [
        secret(SHORT),
        constant.to_vec(),
        SECRET.repeat(2049),
        // A key file must not have these, on either line.
        [b"\xef\xbb\xbf", SECRET].concat(),
        [b"\xff\xfe", SECRET].concat(),
        [b"-----BEGIN KEY-----\n", SECRET].concat(),
        secret(&[SECRET, b" "].concat()),
        secret(&[SECRET, b"\0"].concat()),
        secret(&[SECRET, b"\r\r"].concat()),
        secret(&[SECRET, b"\xe9"].concat()),
        secret(&[b"\"", SECRET, b"\""].concat()),
        [SECRET, b"\n\n"].concat(),
        [SECRET, b"\n", SECRET].concat(),
        [SECRET, b"\naccept:"].concat(),
        [SECRET, b"\naccept:", SHORT].concat(),
        [SECRET, b"\naccept:", &constant].concat(),
        [SECRET, b"\naccept:", SECRET, b" "].concat(),
        [SECRET, b"\naccept:'", SECRET, b"'"].concat(),
        [SECRET, b"\naccept:", SECRET, b"\n", SECRET].concat(),
        [b"accept:", SECRET].concat(),
    ] {
        let path = directory.key_file("worker-7.key", &content);
        let of_key = Key::from_file(&path).unwrap_err();
        let of_secret = compat::secret_from_file(&path).err();
        for error in [Some(of_key), of_secret].into_iter().flatten() {
            if let Error::KeyFile {
                error: KeyFileError::Content(Malformed { found, .. }),
                ..
            } = error
            {
                seen.push(found);
            }
            shown.error("a key file", error);
        }
        shown.error("a key file", Key::from_shared_file(&path).unwrap_err());
        shown.error("a ring", Keyring::from_dir(directory.path()).unwrap_err());
    }
    for found in [
        Found::Nothing,
        Found::ByteOrderMark,
        Found::Utf16,
        Found::Pem,
        Found::Nul,
        Found::Space,
        Found::Control,
        Found::NotAscii,
        Found::Quoted,
        Found::EmptyLine,
        Found::SecondLine,
        Found::ThirdLine,
        Found::AcceptFirst,
        Found::AcceptLine,
    ] {
        assert!(seen.contains(&found), "{found:?}");
    }

    let path = directory.key_file("worker-7.key", SECRET);
    shown.debug("Result", &Key::from_file(&path));
    shown.debug("Result", &Keyring::from_dir(directory.path()));
    shown.debug("Result", &compat::secret_from_file(&path));
    #[cfg(unix)]
    for mode in [0o644, 0o622] {
        set_mode(&path, mode);
        shown.error("an exposed file", Key::from_file(&path).unwrap_err());
        let error = Keyring::from_dir(directory.path()).unwrap_err();
        shown.error("an exposed file", error);
    }
    fs::remove_file(&path).unwrap();
    shown.error("no file", Key::from_file(&path).unwrap_err());

    let mut hidden = hidden();
    hidden.push(Hidden {
        name: "a constant secret",
        bytes: constant.to_vec(),
    });
    shown.hides(&hidden);
}
