//! Timeouts of a secured stream over a socket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use countersign::record::Protection;
use countersign::{Client, Deadline, ReadHalf, Secured, Server};

use super::pair::{protected, sockets};
use crate::records::ends::pattern;
use crate::sockets::LONG;
use crate::support::key;

/// A socket on which what is written drips, once it is told so.
struct Dripping {
    socket: TcpStream,
    drips: Arc<AtomicBool>,
}

const DRIP: Duration = Duration::from_millis(20);

impl Read for Dripping {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buf)
    }
}

impl Write for Dripping {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if !self.drips.load(Ordering::Relaxed) {
            return self.socket.write(buf);
        }
        sleep(DRIP);
        self.socket.write(&buf[..1])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

trait SetReadTimeout: Read {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()>;
}

impl<P: Protection> SetReadTimeout for Secured<TcpStream, P> {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(timeout)
    }
}

impl<P: Protection> SetReadTimeout for ReadHalf<TcpStream, P> {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(timeout)
    }
}

/// Reads a record that drips in, with a timeout that is longer than the wait for a byte and much
/// shorter than the wait for the record.
fn read_what_drips<P: Protection>(
    mut near: impl SetReadTimeout,
    mut far: Secured<Dripping, P>,
    drips: &AtomicBool,
) {
    const TIMEOUT: Duration = Duration::from_millis(150);
    let payload = pattern(60);

    near.set_read_timeout(Some(TIMEOUT)).unwrap();
    drips.store(true, Ordering::Relaxed);
    thread::scope(|scope| {
        scope.spawn(|| far.write_all(&payload).unwrap());
        let began = Instant::now();
        let mut timeouts = 0;
        let mut received = [0; 100];
        let n = loop {
            let call = Instant::now();
            match near.read(&mut received) {
                Ok(n) => break n,
                Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
            }
            assert!(call.elapsed() >= TIMEOUT, "{:?}", call.elapsed());
            timeouts += 1;
            assert!(began.elapsed() < LONG);
        };
        assert_eq!(received[..n], payload);
        // It takes 78 drips, which are at least 1.56 s, or 10 timeouts.
        assert!(timeouts >= 3, "{timeouts} timeouts");
    });
}

macro_rules! ends {
    ($verb:ident, $drips:expr) => {{
        let (near, far) = sockets();
        let far = Dripping {
            socket: far,
            drips: Arc::clone(&$drips),
        };
        let near = thread::spawn(|| Client::new(key("ours")).$verb(near).unwrap());
        let far = Server::new(key("ours")).$verb(far).unwrap();
        (near.join().unwrap(), far)
    }};
}

#[test]
fn a_read_takes_no_longer_than_its_timeout_however_bytes_drip_in_and_loses_nothing() {
    thread::scope(|scope| {
        for halves in [false, true] {
            scope.spawn(move || {
                let drips = Arc::new(AtomicBool::new(false));
                let (near, far) = ends!(protect, drips);
                if halves {
                    read_what_drips(near.into_split().0, far, &drips);
                } else {
                    read_what_drips(near, far, &drips);
                }
            });
            #[cfg(feature = "encrypt")]
            scope.spawn(move || {
                let drips = Arc::new(AtomicBool::new(false));
                let (near, far) = ends!(encrypt, drips);
                if halves {
                    read_what_drips(near.into_split().0, far, &drips);
                } else {
                    read_what_drips(near, far, &drips);
                }
            });
        }
    });
}

#[test]
fn a_write_that_finds_no_room_times_out_in_the_next_call_and_loses_nothing() {
    const TIMEOUT: Duration = Duration::from_millis(50);
    let data = pattern(64 << 20);

    let (mut near, mut far) = protected(sockets(), LONG);
    near.set_write_timeout(Some(TIMEOUT)).unwrap();
    let mut written = 0;
    // The sockets hold less than this, so the loop ends.
    let error = loop {
        let began = Instant::now();
        match near.write(&data[written..]) {
            Ok(n) => written += n,
            Err(error) => {
                assert!(began.elapsed() >= TIMEOUT);
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                // The system may have made more room meanwhile.
                if let Err(error) = near.flush() {
                    break error;
                }
            }
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(near.close().unwrap_err().kind(), ErrorKind::TimedOut);

    let reading = thread::spawn(move || {
        let mut received = Vec::new();
        far.read_to_end(&mut received).map(|_| received)
    });
    near.set_write_timeout(None).unwrap();
    near.flush().unwrap();
    near.write_all(b"and more").unwrap();
    near.close().unwrap();
    let received = reading.join().unwrap().unwrap();
    assert!(received == [&data[..written], b"and more"].concat());
}

#[test]
fn the_timeouts_of_a_stream_are_its_own_and_not_zero() {
    let (mut near, _far) = protected(sockets(), LONG);
    let of_the_socket = |near: &Secured<TcpStream, _>| {
        let socket = near.get_ref();
        (
            socket.read_timeout().unwrap(),
            socket.write_timeout().unwrap(),
        )
    };
    let former = of_the_socket(&near);
    assert_eq!(near.read_timeout(), None);
    assert_eq!(near.write_timeout(), None);
    for timeout in [Some(Duration::from_secs(1)), None, Some(Duration::MAX)] {
        near.set_read_timeout(timeout).unwrap();
        near.set_write_timeout(timeout).unwrap();
        assert_eq!(near.read_timeout(), timeout);
        assert_eq!(near.write_timeout(), timeout);
        assert_eq!(of_the_socket(&near), former);
    }
    let zero = Some(Duration::ZERO);
    let error = near.set_read_timeout(zero).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = near.set_write_timeout(zero).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_timeout_of_the_socket_below_loses_no_data() {
    let (mut near, mut far) = protected(sockets(), LONG);
    let set_timeout = |near: &Secured<TcpStream, _>, timeout| {
        near.get_ref().set_read_timeout(timeout).unwrap();
    };
    set_timeout(&near, Some(Duration::from_millis(1)));
    let error = near.read(&mut [0; 8]).unwrap_err();
    assert!(matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    far.write_all(b"late").unwrap();
    far.close().unwrap();
    set_timeout(&near, None);
    let mut received = Vec::new();
    near.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"late");
}

/// Writes until the socket has no room, so that a rest is still to be sent.
fn fill<P: Protection>(stream: &mut Secured<TcpStream, P>) {
    stream
        .set_write_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    while stream.write(&[7; 16_384]).is_ok() {}
    stream.set_write_timeout(None).unwrap();
}

#[test]
fn what_has_come_is_read_though_a_rest_is_still_to_be_sent() {
    let (mut near, mut far) = protected(sockets(), LONG);
    far.write_all(b"has come").unwrap();
    fill(&mut near);
    let mut received = [0; 8];

    // The peer reads nothing, so the rest stays.
    near.set_read_timeout(Some(LONG)).unwrap();
    near.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"has come");

    far.write_all(b"has come").unwrap();
    let mut deadline = Deadline::new(&mut near, LONG);
    deadline.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"has come");

    far.write_all(b"has come").unwrap();
    near.set_read_timeout(None).unwrap();
    near.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"has come");
}

#[test]
fn two_ends_that_both_have_a_rest_to_send_and_then_only_read_go_on() {
    let (mut near, mut far) = protected(sockets(), LONG);
    let read_all = |mut stream: Secured<TcpStream, _>| {
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut buf = vec![0; 1 << 16];
        let mut sum = 0;
        // As much as both buffers of the system hold at least.
        while sum < 100_000 {
            sum += stream.read(&mut buf).unwrap();
        }
        // Dropped before the other end has read, it could reset the connection.
        stream
    };
    thread::scope(|scope| {
        let filled = scope.spawn(|| fill(&mut far));
        fill(&mut near);
        filled.join().unwrap();
    });
    thread::scope(|scope| {
        let far = scope.spawn(|| read_all(far));
        let _near = read_all(near);
        far.join().unwrap();
    });
}

#[test]
fn a_stream_that_was_put_together_again_has_the_timeouts_of_both_halves() {
    // The verb without a timeout does not know that this is a socket.
    let (near, far) = sockets();
    let client = thread::spawn(|| Client::new(key("ours")).protect(near).unwrap());
    let _server = Server::new(key("ours")).protect(far).unwrap();
    let (mut reader, writer) = client.join().unwrap().into_split();
    let timeout = Some(Duration::from_millis(20));
    reader.set_read_timeout(timeout).unwrap();
    let mut stream = reader.reunite(writer).unwrap();
    assert_eq!(stream.read_timeout(), timeout);
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[test]
fn finishing_succeeds_once_both_closes_have_verified_though_the_peer_keeps_its_socket() {
    let (near, far) = sockets();
    // The verb without a timeout does not know that this is a socket, so its close ends only the
    // direction of the records.
    let client = thread::spawn(|| Client::new(key("ours")).protect(near).unwrap());
    let server = Server::new(key("ours"));
    let far = server.protect_timeout(far, LONG).unwrap();
    let mut near = client.join().unwrap();
    near.close().unwrap();
    far.finish(Duration::from_millis(50)).unwrap();
    drop(near);
}
