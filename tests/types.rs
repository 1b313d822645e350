//! What callers may do with the types: send them to other threads, share them, box them, and keep
//! many of them.

use std::fmt::Debug;

use countersign::compat::cookbook;
use countersign::handshake::client::{AwaitChallenge, AwaitVerdict};
use countersign::handshake::server::{AwaitResponse, Dummy, Identified};
use countersign::handshake::{
    self, Authenticate, Challenge, Incompatible, Message, Mode, Progress, Prologue, Protect,
    Refusal, StreamError, Transcript, Verdict,
};
use countersign::record::{self, Integrity, Opened, Opener, Protection, Records, Sealer};
use countersign::{
    Binding, Client, Deadline, Denial, Error, Event, Fingerprint, Found, Hint, Identity,
    InvalidInput, Key, KeyFileError, KeyId, Keyring, Listener, ListenerOptions, Malformed, Matched,
    NoRandomness, Outcome, Phase, Protected, ReadHalf, Reloaded, Secret, Server, Session,
    WriteHalf,
};

use crate::support::{Draws, OwnedClient, OwnedServer, Pair, deliver, in_every_mode, key};

#[test]
fn every_type_can_be_sent_and_shared() {
    fn sent_and_shared<T: Send + Sync + Unpin>() {}

    sent_and_shared::<Key>();
    sent_and_shared::<KeyId>();
    sent_and_shared::<Fingerprint>();
    sent_and_shared::<Secret>();
    sent_and_shared::<Session>();
    sent_and_shared::<Matched>();
    sent_and_shared::<Binding>();
    sent_and_shared::<Prologue>();
    sent_and_shared::<Client>();
    sent_and_shared::<Server<Key>>();
    sent_and_shared::<Deadline<&std::net::TcpStream>>();
    sent_and_shared::<Protected<std::net::TcpStream>>();
    sent_and_shared::<ReadHalf<std::net::TcpStream, Integrity>>();
    sent_and_shared::<WriteHalf<std::net::TcpStream, Integrity>>();
    #[cfg(feature = "encrypt")]
    sent_and_shared::<countersign::Encrypted<std::net::TcpStream>>();
    sent_and_shared::<Listener<(std::net::TcpStream, Session)>>();
    sent_and_shared::<Listener<Protected<std::net::TcpStream>>>();
    sent_and_shared::<ListenerOptions>();
    sent_and_shared::<Keyring>();
    sent_and_shared::<Reloaded>();

    sent_and_shared::<Dummy>();
    sent_and_shared::<AwaitChallenge<&mut Transcript, &Key, Authenticate>>();
    sent_and_shared::<AwaitVerdict<&mut Transcript, &Key, Authenticate>>();
    sent_and_shared::<AwaitResponse<&mut Transcript, &Dummy, Protect>>();
    sent_and_shared::<Identified<&mut Transcript, &Dummy, Protect>>();
    sent_and_shared::<Progress<OwnedClient<Authenticate>>>();
    sent_and_shared::<Progress<AwaitVerdict<Box<Transcript>, Key, Protect>>>();
    sent_and_shared::<Progress<OwnedServer<Protect>>>();
    sent_and_shared::<Challenge>();
    sent_and_shared::<Verdict>();
    sent_and_shared::<Message>();
    sent_and_shared::<Authenticate>();
    sent_and_shared::<Protect>();
    sent_and_shared::<Records<Integrity>>();
    sent_and_shared::<Sealer<Integrity>>();
    sent_and_shared::<Opener<Integrity>>();
    sent_and_shared::<Opened<'_>>();
    #[cfg(feature = "encrypt")]
    {
        use countersign::handshake::Encrypt;
        use countersign::record::Encryption;

        sent_and_shared::<AwaitChallenge<&mut Transcript, &Key, Encrypt>>();
        sent_and_shared::<AwaitVerdict<&mut Transcript, &Key, Encrypt>>();
        sent_and_shared::<AwaitResponse<&mut Transcript, &Dummy, Encrypt>>();
        sent_and_shared::<Identified<&mut Transcript, &Dummy, Encrypt>>();
        sent_and_shared::<Encrypt>();
        sent_and_shared::<Records<Encryption>>();
        sent_and_shared::<Sealer<Encryption>>();
        sent_and_shared::<Opener<Encryption>>();
    }

    sent_and_shared::<Error>();
    sent_and_shared::<Denial>();
    sent_and_shared::<Event>();
    sent_and_shared::<Outcome>();
    sent_and_shared::<Identity>();
    sent_and_shared::<KeyFileError>();
    sent_and_shared::<Malformed>();
    sent_and_shared::<Found>();
    sent_and_shared::<Phase>();
    sent_and_shared::<handshake::Error>();
    sent_and_shared::<Incompatible>();
    sent_and_shared::<Hint>();
    sent_and_shared::<Refusal>();
    sent_and_shared::<InvalidInput>();
    sent_and_shared::<NoRandomness>();
    sent_and_shared::<StreamError>();
    sent_and_shared::<cookbook::Problem>();
    sent_and_shared::<record::Error>();
}

#[cfg(feature = "tokio")]
#[test]
fn every_type_over_tokio_can_be_sent_and_shared() {
    use countersign::tokio::{Client, Listener, Protected, ReadHalf, Server, WriteHalf};
    use tokio::net::TcpStream;

    fn sent_and_shared<T: Send + Sync + Unpin>() {}

    sent_and_shared::<Protected<TcpStream>>();
    sent_and_shared::<ReadHalf<TcpStream, Integrity>>();
    sent_and_shared::<WriteHalf<TcpStream, Integrity>>();
    #[cfg(feature = "encrypt")]
    sent_and_shared::<countersign::tokio::Encrypted<TcpStream>>();
    sent_and_shared::<Client>();
    sent_and_shared::<Server<Key>>();
    sent_and_shared::<Listener<(TcpStream, Session)>>();
    sent_and_shared::<Listener<Protected<TcpStream>>>();
}

#[test]
fn every_error_can_be_boxed() {
    fn boxed<E: std::error::Error + Send + Sync + 'static>() {}

    boxed::<Error>();
    boxed::<handshake::Error>();
    boxed::<Incompatible>();
    boxed::<InvalidInput>();
    boxed::<KeyFileError>();
    boxed::<NoRandomness>();
    boxed::<StreamError>();
    boxed::<cookbook::Problem>();
    boxed::<record::Error>();
}

#[test]
fn a_key_is_no_larger_than_the_four_hmac_states_of_two_secrets_and_its_id() {
    // A server may hold one for each of many clients.
    let (state, id) = (2 * (32 + 8), 64 + 3 * size_of::<usize>());
    let is_there = align_of::<u64>();
    assert_eq!(size_of::<KeyId>(), id);
    assert!(
        size_of::<Key>() <= 2 * 4 * state + is_there + id,
        "{} bytes",
        size_of::<Key>()
    );
}

#[test]
fn a_transcript_has_room_for_the_longest_handshake_and_for_no_more() {
    let share = if cfg!(feature = "encrypt") { 32 } else { 0 };
    let longest = 1 + 255 + 1 + 45 + 40 + 137 + 1 + share;
    let size = size_of::<Transcript>();
    assert!((longest..longest + 32).contains(&size), "{size} bytes");
}

#[test]
fn a_server_that_awaits_a_response_keeps_no_more_than_its_transcript_in_any_mode() {
    fn borrowed<M: Mode>(_: M) {
        let references = size_of::<&mut Transcript>() + size_of::<&Dummy>();
        assert_eq!(
            size_of::<AwaitResponse<&mut Transcript, &Dummy, M>>(),
            references
        );
    }

    in_every_mode!(borrowed);
}

#[test]
fn the_private_key_is_all_that_a_client_keeps_more_in_mode_2() {
    fn sizes<M: Mode>(_: M) -> [usize; 2] {
        [
            size_of::<AwaitChallenge<&mut Transcript, &Key, M>>(),
            size_of::<AwaitVerdict<&mut Transcript, &Key, M>>(),
        ]
    }

    assert_eq!(sizes(Protect), sizes(Authenticate));
    #[cfg(feature = "encrypt")]
    assert_eq!(
        sizes(handshake::Encrypt),
        sizes(Authenticate).map(|size| size + 32)
    );
}

#[test]
fn debug_shows_what_each_state_is() {
    shows_what_each_state_is(Protect, "Protect", 33);
    #[cfg(feature = "encrypt")]
    shows_what_each_state_is(handshake::Encrypt, "Encrypt", 65);
}

fn shows_what_each_state_is<P, M>(mode: M, name: &str, verdict_len: usize)
where
    P: Protection,
    M: Mode<Established = (Session, Records<P>)>,
    Records<P>: Debug,
{
    let key = key("a").with_id("worker-7").unwrap();
    let prologue = Prologue::new("billing/2").unwrap();
    let bound = (prologue.clone()).bound(Some(&Binding::tls_exporter(&[7; 32])));
    let pair = Pair::of(&key).with_prologues(prologue.clone(), prologue);
    let (challenge, at_server) = pair.server_in(mode);
    let at_client = pair.client_in(mode);
    let mut shown = vec![
        format!("{bound:?}"),
        format!("{:?}", Dummy::new()),
        format!("{at_server:?}"),
        format!("{at_client:?}"),
    ];
    let at_client = deliver(at_client, &challenge).unwrap();
    shown.extend([format!("{challenge:?}"), format!("{at_client:?}")]);
    let identified = deliver(at_server, at_client.response()).unwrap();
    shown.push(format!("{identified:?}"));
    let (verdict, session) = identified
        .verify(Some(&key), &mut Draws::from(0xe5))
        .unwrap();
    let (session, mut records) = session.unwrap();
    shown.extend([format!("{verdict:?}"), format!("{session:?}")]);
    records.sealer.close().unwrap();
    shown.push(format!("{records:?}"));
    shown.extend([format!("{key:?}"), format!("{:?}", Transcript::new())]);
    assert_eq!(
        shown,
        [
            r#"Prologue { service: "billing/2", bound: true }"#,
            "Dummy { .. }",
            &format!("AwaitResponse {{ mode: {name}, .. }}"),
            &format!("AwaitChallenge {{ mode: {name}, .. }}"),
            "Challenge(40 bytes)",
            &format!("AwaitVerdict {{ mode: {name}, .. }}"),
            &format!(r#"Identified {{ mode: {name}, key_id: "worker-7", .. }}"#),
            &format!("Verdict({verdict_len} bytes)"),
            r#"Session { key_id: "worker-7", matched: First, .. }"#,
            "Records { sealer: Sealer { seq: 1, .. }, opener: Opener { seq: 0, .. } }",
            r#"Key { id: "worker-7", .. }"#,
            "Transcript(0 bytes)",
        ]
    );
}
