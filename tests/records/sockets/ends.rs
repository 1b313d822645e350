//! How connections end, and that what was sent before arrives.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use countersign::{Client, record};

use super::pair::{protected, server_end, sockets, tcp_ends};
use crate::records::ends::{failed, pattern};
use crate::records::stream::{IntoStream, SocketStream};
use crate::records::via::{Kind, Via};
use crate::sockets::LONG;
use crate::support::key;

#[test]
fn a_request_is_answered_without_a_flush() {
    for via in Via::streams() {
        let (mut near, mut far) = tcp_ends(via, LONG);
        let far = thread::spawn(move || {
            let mut request = [0; 7];
            assert_eq!(far.read(&mut request).unwrap(), 7);
            far.write_all(b"answer").unwrap();
            // The answer has to come while this end is open.
            far.read(&mut request)
        });
        near.write_all(b"request").unwrap();
        let mut answer = [0; 6];
        assert_eq!(near.read(&mut answer).unwrap(), 6, "{via:?}");
        assert_eq!(&answer, b"answer", "{via:?}");
        near.close().unwrap();
        assert_eq!(far.join().unwrap().unwrap(), 0, "{via:?}");
    }
}

/// A client whose socket stays open after its close: a stream that was made without a timeout does
/// not know that it is over a socket.
fn client_end(kind: Kind, near: TcpStream) -> Box<dyn SocketStream> {
    let client = Client::new(key("ours"));
    match kind {
        Kind::Protected => client.protect(near).unwrap().into_stream(Via::WHOLE),
        #[cfg(feature = "encrypt")]
        Kind::Encrypted => client.encrypt(near).unwrap().into_stream(Via::WHOLE),
    }
}

/// More than the client takes at once, so that the end of it is still on its way, or not even sent, when
/// the server has written it.
const ANSWER: usize = 1 << 20;

#[test]
fn an_answer_arrives_though_the_client_sent_64_kib_after_its_close() {
    for via in Via::streams() {
        let (near, far) = sockets();
        let mut bare = near.try_clone().unwrap();
        let server = thread::spawn(move || {
            let mut far = server_end(via, far);
            let (received, ended) = far.read_to_end(100);
            ended.unwrap();
            assert_eq!(received, b"request");
            far.write_all(&pattern(ANSWER)).unwrap();
            far.finish(LONG)
        });
        let mut near = client_end(via.kind, near);
        near.write_all(b"request").unwrap();
        near.close().unwrap();
        bare.write_all(&vec![0; 64 * 1024]).unwrap();
        let (received, ended) = near.read_to_end(10_000);
        ended.unwrap();
        assert!(received == pattern(ANSWER), "{via:?}");
        drop((near, bare));
        server.join().unwrap().unwrap();
    }
}

#[test]
fn two_ends_that_finish_at_once_both_succeed_and_discard_what_is_on_its_way() {
    for via in Via::streams() {
        let (mut near, mut far) = tcp_ends(via, LONG);
        near.write_all(b"nobody reads this").unwrap();
        far.write_all(&vec![7; 20_000]).unwrap();
        let far = thread::spawn(move || far.finish(LONG));
        near.finish(LONG).unwrap();
        far.join().unwrap().unwrap();
    }
}

#[test]
fn finish_fails_if_the_peer_is_silent_or_ends_without_its_close() {
    for via in Via::streams() {
        let (near, _far) = tcp_ends(via, LONG);
        let began = Instant::now();
        let error = near.finish(Duration::from_millis(30)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{via:?}");
        assert!(began.elapsed() < LONG, "{via:?}");

        let (near, far) = tcp_ends(via, LONG);
        drop(far);
        assert_eq!(failed(near.finish(LONG)), record::Error::Truncated);
    }
}

#[test]
fn a_close_ends_that_direction_of_the_socket_too() {
    for via in Via::streams() {
        let (near, far) = sockets();
        let mut bare = near.try_clone().unwrap();
        let server = thread::spawn(move || {
            let mut far = server_end(via, far);
            far.write_all(b"hello").unwrap();
            for _ in 0..2 {
                far.close().unwrap();
            }
            // Reading goes on.
            far.read_to_end(100)
        });
        let mut near = client_end(via.kind, near);
        let (received, ended) = near.read_to_end(100);
        assert_eq!(received, b"hello", "{via:?}");
        ended.unwrap();
        assert_eq!(bare.read(&mut [0; 10]).unwrap(), 0, "{via:?}");

        near.write_all(b"still here").unwrap();
        near.close().unwrap();
        let (received, ended) = server.join().unwrap();
        assert_eq!(received, b"still here", "{via:?}");
        ended.unwrap();
    }
}

#[test]
fn a_reset_by_the_peer_comes_after_what_has_verified_and_is_a_truncation() {
    for via in Via::streams() {
        let (near, far) = sockets();
        let server = thread::spawn(move || {
            let mut far = server_end(via, far);
            // The peer's system resets the connection, since something is left unread there.
            far.write_all(b"unread").unwrap();
            let mut byte = [0];
            assert_eq!(far.read(&mut byte).unwrap(), 1);
            let (received, ended) = far.read_to_end(100);
            (received, ended)
        });
        let mut near = client_end(via.kind, near);
        near.write_all(b"x").unwrap();
        near.write_all(b"verified").unwrap();
        drop(near);
        let (received, ended) = server.join().unwrap();
        assert_eq!(received, b"verified", "{via:?}");
        let error = ended.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{via:?}");
        assert_eq!(error.to_string(), record::Error::Truncated.to_string());
    }
}

#[test]
fn a_deadline_over_a_secured_stream_loses_nothing() {
    let (mut near, mut far) = protected(sockets(), LONG);
    let mut deadline = countersign::Deadline::new(&mut near, Duration::from_millis(20));
    let error = deadline.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    far.write_all(b"late").unwrap();
    let mut received = [0; 4];
    near.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"late");
}
