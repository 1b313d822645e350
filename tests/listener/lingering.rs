//! Servers that have denied a client, and wait until it closes.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use countersign::handshake::Refusal;
use countersign::{Error, Server, Session};

use super::clients::{F1_LEN, F3_LEN, challenged, response, silent};
use super::running::{options, ring, worker};
use crate::failures::refusal;
use crate::identity::key_of;
use crate::sockets::LONG;
#[cfg(feature = "tokio")]
use crate::sockets::over_tokio;
#[cfg(feature = "tokio")]
use crate::support::block_on;
use crate::support::{Driver, tcp_pair};

/// How long a server lingers at most.
const LINGER: Duration = Duration::from_secs(1);
/// How much later a call may end.
const LATE: Duration = Duration::from_millis(500);

/// A response with a wrong proof, and `surplus` bytes behind it.
fn denied_response(challenge: &[u8], surplus: usize) -> Vec<u8> {
    let impostor = key_of("another secret", "worker-7");
    response(&impostor, challenge, &vec![7; surplus])
}

/// Reads a denial and then the end. A connection that is reset has no end.
#[track_caller]
fn assert_denied(mut stream: &TcpStream) {
    let mut verdict = Vec::new();
    stream.read_to_end(&mut verdict).unwrap();
    assert_eq!(verdict, [&b"D"[..], &[0; F3_LEN - 1]].concat());
}

#[test]
fn a_denial_arrives_at_a_client_that_sends_more_than_its_response() {
    for &driver in Driver::ALL {
        let listener = driver.listen(options(), ring());
        let (mut stream, challenge) = challenged(listener.address);
        stream
            .write_all(&denied_response(&challenge, 20_000))
            .unwrap();
        let peer = stream.local_addr().unwrap();
        // The server has nothing more to say by now.
        assert_eq!(listener.events.of(peer).outcome, "WrongProof");
        thread::sleep(Duration::from_millis(50));
        assert_denied(&stream);
    }
}

#[test]
fn a_client_that_was_denied_and_stays_can_be_evicted_and_is_reported_once() {
    for &driver in Driver::ALL {
        let listener = driver.listen(options().max_pending(1), ring());
        let (mut stream, challenge) = challenged(listener.address);
        stream.write_all(&denied_response(&challenge, 0)).unwrap();
        assert_denied(&stream);
        let peer = stream.local_addr().unwrap();
        assert_eq!(listener.events.of(peer).outcome, "WrongProof");

        let began = Instant::now();
        let another = silent(listener.address);
        // Its end is closed now, so one of its next bytes is refused.
        let refused = loop {
            if let Err(error) = stream.write_all(b"x") {
                break error;
            }
            thread::sleep(Duration::from_millis(5));
        };
        assert!(
            matches!(
                refused.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ),
            "{refused}"
        );
        assert!(began.elapsed() < LINGER / 2, "{:?}", began.elapsed());
        assert_eq!(listener.events.of(peer).outcome, "WrongProof");
        assert_eq!(listener.events.count("evicted"), 0);
        drop(another);
    }
}

/// Runs a server with a timeout.
fn serve(driver: Driver, stream: TcpStream, timeout: Duration) -> Result<Session, Error> {
    let server = Server::new(ring());
    match driver {
        Driver::Blocking => server.authenticate_timeout(stream, timeout),
        #[cfg(feature = "tokio")]
        Driver::Tokio => block_on(async {
            let server = countersign::tokio::Server::from(server);
            let mut stream = over_tokio(stream);
            server.authenticate_timeout(&mut stream, timeout).await
        }),
    }
}

#[test]
fn a_server_lingers_until_the_client_closes_and_no_longer_than_its_limits() {
    /// What a client does after its response.
    #[derive(Clone, Copy)]
    enum Then {
        Closes,
        Stays,
        SendsForEver,
    }

    let short = Duration::from_millis(400);
    for &driver in Driver::ALL {
        for (then, timeout, least, most) in [
            (Then::Closes, LONG, Duration::ZERO, LATE),
            (Then::Stays, LONG, LINGER, LINGER + LATE),
            (Then::Stays, short, short, short + LATE),
            (Then::SendsForEver, LONG, Duration::ZERO, LATE),
        ] {
            let (near, mut far) = tcp_pair();
            let (ended, end) = mpsc::channel();
            let server = thread::spawn(move || {
                let began = Instant::now();
                let outcome = serve(driver, near, timeout);
                ended.send(began.elapsed()).unwrap();
                outcome
            });
            let mut challenge = [0; F1_LEN];
            far.read_exact(&mut challenge).unwrap();
            far.write_all(&denied_response(&challenge, 20_000)).unwrap();
            let elapsed = match then {
                Then::Closes => {
                    assert_denied(&far);
                    drop(far);
                    end.recv_timeout(LONG).unwrap()
                }
                Then::Stays => end.recv_timeout(LONG).unwrap(),
                Then::SendsForEver => {
                    while far.write_all(&[7; 4096]).is_ok() {}
                    end.recv_timeout(LONG).unwrap()
                }
            };
            assert!((least..=most).contains(&elapsed), "{driver:?}: {elapsed:?}");
            let error = server.join().unwrap().unwrap_err();
            assert_eq!(refusal(&error), Some(Refusal::WrongProof));
        }
    }
}

#[test]
fn a_client_that_was_accepted_is_not_waited_for() {
    for &driver in Driver::ALL {
        let (near, mut far) = tcp_pair();
        let server = thread::spawn(move || serve(driver, near, LONG).unwrap());
        let mut challenge = [0; F1_LEN];
        far.read_exact(&mut challenge).unwrap();
        far.write_all(&response(&worker(7), &challenge, b""))
            .unwrap();
        let began = Instant::now();
        server.join().unwrap();
        assert!(began.elapsed() < LINGER / 2);
    }
}
