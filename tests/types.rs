//! What callers may do with the types: send them to other threads, share them, box them, and
//! keep many of them.

use countersign::handshake::{
    self, Challenge, Fingerprint, Flight, Hint, Incompatible, InvalidInput, Mode, Progress,
    Prologue, Refusal, Response, Verdict, client, server,
};
use countersign::record::{self, Opened, Opener, Sealer};
use countersign::{
    Binding, Client, Deadline, Error, Key, KeyFileProblem, KeyId, Phase, Protected,
    ProtectedListener, ReadHalf, Secret, Server, Session, WriteHalf,
};

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
fn every_error_can_be_boxed_for_whoever_collects_errors() {
    fn boxed<E: std::error::Error + Send + Sync + 'static>() {}

    boxed::<Error>();
    boxed::<handshake::Error>();
    boxed::<Incompatible>();
    boxed::<InvalidInput>();
    boxed::<record::Error>();
}

#[test]
fn a_key_has_no_more_than_its_four_hmac_states() {
    // A server may hold one for each of many clients.
    assert!(size_of::<Key>() <= 700, "{} octets", size_of::<Key>());
}
