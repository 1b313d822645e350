//! What callers may do with the types: send them to other threads, share them, box them, and keep
//! many of them.

use countersign::handshake::{
    self, Challenge, Fingerprint, Flight, Hint, Incompatible, InvalidInput, Mode, Progress,
    Prologue, Refusal, Response, Transcript, Verdict, client, server,
};
use countersign::record::{self, Opened, Opener, Sealer};
use countersign::{
    Binding, Client, Deadline, Error, Key, KeyFileProblem, KeyId, Phase, Protected,
    ProtectedListener, ReadHalf, Secret, Server, Session, WriteHalf,
};

use crate::support::{Pair, deliver, key};

#[test]
fn every_type_can_be_sent_and_shared() {
    fn sent_and_shared<T: Send + Sync + Unpin>() {}

    sent_and_shared::<Key>();
    sent_and_shared::<KeyId>();
    sent_and_shared::<Fingerprint>();
    sent_and_shared::<Secret>();
    sent_and_shared::<Session>();
    sent_and_shared::<Binding>();
    sent_and_shared::<Prologue>();
    sent_and_shared::<Client>();
    sent_and_shared::<Server<Key>>();
    sent_and_shared::<Deadline<'_, std::net::TcpStream>>();
    sent_and_shared::<Protected<std::net::TcpStream>>();
    sent_and_shared::<ReadHalf<std::net::TcpStream>>();
    sent_and_shared::<WriteHalf<std::net::TcpStream>>();
    sent_and_shared::<ProtectedListener>();

    sent_and_shared::<server::Config>();
    sent_and_shared::<client::AwaitChallenge<'_>>();
    sent_and_shared::<client::AwaitVerdict<'_>>();
    sent_and_shared::<server::AwaitResponse<'_>>();
    sent_and_shared::<server::Identified<'_>>();
    sent_and_shared::<Progress<client::AwaitChallenge<'_>>>();
    sent_and_shared::<Progress<client::AwaitVerdict<'_>>>();
    sent_and_shared::<Progress<server::AwaitResponse<'_>>>();
    sent_and_shared::<Challenge>();
    sent_and_shared::<Response>();
    sent_and_shared::<Verdict>();
    sent_and_shared::<Flight>();
    sent_and_shared::<Mode>();
    sent_and_shared::<Sealer>();
    sent_and_shared::<Opener>();
    sent_and_shared::<Opened<'_>>();

    sent_and_shared::<Error>();
    sent_and_shared::<KeyFileProblem>();
    sent_and_shared::<Phase>();
    sent_and_shared::<handshake::Error>();
    sent_and_shared::<Incompatible>();
    sent_and_shared::<Hint>();
    sent_and_shared::<Refusal>();
    sent_and_shared::<InvalidInput>();
    sent_and_shared::<record::Error>();
}

#[cfg(feature = "tokio")]
#[test]
fn every_type_over_tokio_can_be_sent_and_shared() {
    use countersign::tokio::{Protected, ProtectedListener, ReadHalf, WriteHalf};
    use tokio::net::TcpStream;

    fn sent_and_shared<T: Send + Sync + Unpin>() {}

    sent_and_shared::<Protected<TcpStream>>();
    sent_and_shared::<ReadHalf<TcpStream>>();
    sent_and_shared::<WriteHalf<TcpStream>>();
    sent_and_shared::<ProtectedListener>();
}

#[test]
fn every_error_can_be_boxed() {
    fn boxed<E: std::error::Error + Send + Sync + 'static>() {}

    boxed::<Error>();
    boxed::<handshake::Error>();
    boxed::<Incompatible>();
    boxed::<InvalidInput>();
    boxed::<record::Error>();
}

#[test]
fn a_key_is_no_larger_than_its_four_hmac_states() {
    // A server may hold one for each of many clients.
    assert!(size_of::<Key>() <= 400, "{} bytes", size_of::<Key>());
}

#[test]
fn a_transcript_has_room_for_the_longest_handshake_and_for_no_more() {
    let longest = 1 + 255 + 1 + 45 + 40 + 137 + 1;
    let size = size_of::<Transcript>();
    assert!((longest..longest + 32).contains(&size), "{size} bytes");
}

#[test]
fn debug_shows_what_each_state_is() {
    let key = key("a").with_id("worker-7").unwrap();
    let prologue = Prologue::new("billing/2").unwrap();
    let bound = prologue.bound(&Binding::tls_exporter(&[7; 32]));
    let pair = Pair::of(&key)
        .in_modes(Mode::Protect, Mode::Protect)
        .with_prologues(prologue.clone(), prologue);
    let config = pair.config();
    let (challenge, at_server) = pair.server();
    let at_client = pair.client();
    let mut shown = vec![
        format!("{bound:?}"),
        format!("{config:?}"),
        format!("{at_server:?}"),
        format!("{at_client:?}"),
    ];
    let (response, at_client) = deliver(at_client, &challenge).unwrap();
    shown.extend([
        format!("{challenge:?} {response:?}"),
        format!("{at_client:?}"),
    ]);
    let identified = deliver(at_server, response).unwrap();
    shown.push(format!("{identified:?}"));
    let (verdict, session) = identified.verify(Some(&key));
    let mut session = session.unwrap();
    shown.extend([format!("{verdict:?}"), format!("{session:?}")]);
    let (mut sealer, opener) = session.records().unwrap();
    sealer.close().unwrap();
    shown.extend([format!("{sealer:?}"), format!("{opener:?}")]);
    shown.extend([format!("{key:?}"), format!("{:?}", Transcript::new())]);
    assert_eq!(
        shown,
        [
            r#"Prologue { service: "billing/2", bound: true }"#,
            r#"Config { prologue: Prologue { service: "billing/2", bound: false }, .. }"#,
            "AwaitResponse { mode: Protect, .. }",
            r#"AwaitChallenge { key: Key { id: "worker-7", .. }, mode: Protect, .. }"#,
            "Challenge(40 octets) Response(81 octets)",
            r#"AwaitVerdict { key: Key { id: "worker-7", .. }, .. }"#,
            r#"Identified { key_id: "worker-7", .. }"#,
            "Verdict(33 octets)",
            r#"Session { key_id: "worker-7", .. }"#,
            "Sealer { seq: 1, .. }",
            "Opener { seq: 0, .. }",
            r#"Key { id: "worker-7", .. }"#,
            "Transcript(0 octets)",
        ]
    );
}
