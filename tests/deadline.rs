//! One deadline for all that is read from a socket and written to it.

mod timeouts;

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use countersign::handshake::Message;
use countersign::{Client, Deadline, Error, Phase, Server, Session, Timeouts};

use crate::failures::incompatible;
use crate::sockets::LONG;
use crate::support::{key, tcp_pair};

/// Long enough to tell a deadline from a timeout that begins anew with each byte.
const TIMEOUT: Duration = Duration::from_millis(600);
/// How much later than its deadline a call may end.
const LATE: Duration = Duration::from_millis(250);
/// How long a call may take that has nothing to wait for.
const AT_ONCE: Duration = Duration::from_millis(250);

/// Calls a check, which is generic over the kind of socket, with two ends of each kind.
macro_rules! with_each_kind_of_socket {
    ($check:ident) => {
        $check(bounded(tcp_pair()));
        #[cfg(unix)]
        $check(bounded(UnixStream::pair().unwrap()));
    };
}

/// Gives two sockets a timeout of their own, so that no test hangs if a deadline does not end.
fn bounded<S: Timeouts>((near, far): (S, S)) -> (S, S) {
    for socket in [&near, &far] {
        socket.set_read_timeout(Some(LONG)).unwrap();
        socket.set_write_timeout(Some(LONG)).unwrap();
    }
    (near, far)
}

/// Asserts that `call` lasts exactly as long as its deadline.
fn lasts<T>(timeout: Duration, call: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = call();
    let elapsed = began.elapsed();
    assert!(
        (timeout..=timeout + LATE).contains(&elapsed),
        "ended after {elapsed:?} instead of {timeout:?}"
    );
    result
}

fn is_at_once<T>(call: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = call();
    let elapsed = began.elapsed();
    assert!(elapsed <= AT_ONCE, "took {elapsed:?}");
    result
}

fn timed_out_awaiting(message: Message, outcome: &Result<Session, Error>) {
    assert!(
        matches!(outcome, Err(Error::TimedOut(Phase::Awaiting(awaited))) if *awaited == message),
        "{outcome:?}"
    );
}

fn timed_out_sending(message: Message, outcome: &Result<Session, Error>) {
    assert!(
        matches!(outcome, Err(Error::TimedOut(Phase::Sending(sent))) if *sent == message),
        "{outcome:?}"
    );
}

/// Runs a client over a deadline.
fn client<S: Timeouts>(socket: &S, timeout: Duration) -> Result<Session, Error>
where
    for<'s> &'s S: Read + Write,
{
    Client::new(key("ours")).authenticate(&mut Deadline::new(socket, timeout).unwrap())
}

/// Runs a server over a deadline.
fn server<S: Timeouts>(socket: &S, timeout: Duration) -> Result<Session, Error>
where
    for<'s> &'s S: Read + Write,
{
    Server::new(key("ours")).authenticate(&mut Deadline::new(socket, timeout).unwrap())
}

/// A challenge, of which every byte is right.
fn challenge() -> Vec<u8> {
    [&b"CSIGN1S\0"[..], &[0x50; 32]].concat()
}

/// A response that is whole, and has a wrong proof.
fn response() -> Vec<u8> {
    [&b"CSIGN1C\0\0"[..], &[0xc0; 64]].concat()
}

#[test]
fn a_socket_gets_its_former_timeouts_back() {
    fn check<S: Timeouts + Write>((near, mut far): (S, S))
    where
        for<'s> &'s S: Read + Write,
    {
        let (three, seven) = (Duration::from_secs(3), Duration::from_secs(7));
        for (read, write) in [
            (None, None),
            (Some(three), None),
            (None, Some(three)),
            (Some(three), Some(seven)),
        ] {
            near.set_read_timeout(read).unwrap();
            near.set_write_timeout(write).unwrap();
            let timeouts = || (near.read_timeout().unwrap(), near.write_timeout().unwrap());
            let former = timeouts();
            let changed = |timeouts: (Option<Duration>, Option<Duration>)| {
                timeouts.0 != former.0 && timeouts.1 != former.1
            };

            // After no use, after success, after a timeout, and after an error of the handshake.
            drop(Deadline::new(&near, LONG).unwrap());
            assert_eq!(timeouts(), former);

            far.write_all(b"x").unwrap();
            let mut deadline = Deadline::new(&near, LONG).unwrap();
            deadline.read_exact(&mut [0]).unwrap();
            deadline.write_all(b"x").unwrap();
            deadline.flush().unwrap();
            assert!(changed(timeouts()), "the test sees no change");
            drop(deadline);
            assert_eq!(timeouts(), former);

            let mut deadline = Deadline::new(&near, Duration::from_millis(100)).unwrap();
            deadline.write_all(b"x").unwrap();
            let error = deadline.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(changed(timeouts()), "the test sees no change");
            drop(deadline);
            assert_eq!(timeouts(), former);

            // A byte that begins no challenge.
            far.write_all(b"G").unwrap();
            let error = client(&near, LONG).unwrap_err();
            assert!(incompatible(&error).is_some(), "{error:?}");
            assert_eq!(timeouts(), former);
        }
    }

    with_each_kind_of_socket!(check);
}

#[test]
fn a_handshake_with_a_silent_peer_ends_at_the_deadline() {
    fn check<S: Timeouts>((near, _far): (S, S))
    where
        for<'s> &'s S: Read + Write,
    {
        let error = lasts(TIMEOUT, || {
            Deadline::new(&near, TIMEOUT).unwrap().read(&mut [0; 16])
        });
        assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);

        timed_out_awaiting(
            Message::CHALLENGE,
            &lasts(TIMEOUT, || client(&near, TIMEOUT)),
        );
        timed_out_awaiting(
            Message::RESPONSE,
            &lasts(TIMEOUT, || server(&near, TIMEOUT)),
        );
    }

    with_each_kind_of_socket!(check);
}

/// Calls `call` while the peer sends `bytes`, one every tenth of a second. Also returns how many of
/// them it sent.
fn while_dripping<S: Write + Send, T>(
    far: &mut S,
    bytes: &[u8],
    call: impl FnOnce() -> T,
) -> (T, usize) {
    let (stop, stopped) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let dripping = scope.spawn(move || {
            for (dripped, byte) in bytes.iter().enumerate() {
                far.write_all(&[*byte]).unwrap();
                match stopped.recv_timeout(Duration::from_millis(100)) {
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    _ => return dripped + 1,
                }
            }
            bytes.len()
        });
        let result = call();
        drop(stop);
        (result, dripping.join().unwrap())
    })
}

/// Reads what arrived at the deadline or later.
fn discard<S: Timeouts>(socket: &S)
where
    for<'s> &'s S: Read + Write,
{
    let mut deadline = Deadline::new(socket, Duration::from_millis(20)).unwrap();
    while deadline.read(&mut [0; 16]).is_ok_and(|n| n > 0) {}
}

#[test]
fn a_handshake_with_a_slow_peer_ends_at_the_deadline() {
    fn check<S>((near, mut far): (S, S))
    where
        S: Timeouts + Write + Send + Sync,
        for<'s> &'s S: Read + Write,
    {
        let (challenge, response) = (challenge(), response());

        // A peer that stops half-way shows whether the last wait was shorter than the first.
        for most in [usize::MAX, 4] {
            let bytes = &challenge[..most.min(challenge.len())];
            let (outcome, dripped) = while_dripping(&mut far, bytes, || {
                lasts(TIMEOUT, || client(&near, TIMEOUT))
            });
            timed_out_awaiting(Message::CHALLENGE, &outcome);
            assert!((3..=9).contains(&dripped), "{dripped} bytes");
            discard(&near);

            let bytes = &response[..most.min(response.len())];
            let (outcome, dripped) = while_dripping(&mut far, bytes, || {
                lasts(TIMEOUT, || server(&near, TIMEOUT))
            });
            timed_out_awaiting(Message::RESPONSE, &outcome);
            assert!((3..=9).contains(&dripped), "{dripped} bytes");
            discard(&near);
        }
    }

    with_each_kind_of_socket!(check);
}

/// Writes pieces of this size until a write fails.
fn fill(stream: &mut impl Write, piece: usize) -> io::Error {
    let piece = vec![0; piece];
    let error = (0..1024 * 1024).find_map(|_| stream.write(&piece).err());
    error.expect("a write that fails, as no buffer is so large")
}

#[test]
fn a_write_to_a_peer_that_does_not_read_ends_at_the_deadline() {
    fn check<S: Timeouts>((near, _far): (S, S))
    where
        for<'s> &'s S: Read + Write,
    {
        // The buffers on the way hold a few MiB at most.
        let error = lasts(TIMEOUT, || {
            fill(&mut Deadline::new(&near, TIMEOUT).unwrap(), 64 * 1024)
        });
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    with_each_kind_of_socket!(check);
}

/// Not over TCP: its buffers may be full now and have room for a whole message a moment later, once
/// the peer's side has answered a window probe.
#[cfg(unix)]
#[test]
fn a_handshake_with_a_peer_that_does_not_read_ends_at_the_deadline() {
    let (near, mut far) = bounded(UnixStream::pair().unwrap());
    for piece in [64 * 1024, 1] {
        let soon = Duration::from_millis(50);
        let error = fill(&mut Deadline::new(&near, soon).unwrap(), piece);
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
    timed_out_sending(
        Message::CHALLENGE,
        &lasts(TIMEOUT, || server(&near, TIMEOUT)),
    );

    far.write_all(&challenge()).unwrap();
    timed_out_sending(
        Message::RESPONSE,
        &lasts(TIMEOUT, || client(&near, TIMEOUT)),
    );
}

#[test]
fn a_deadline_of_zero_is_over_at_once() {
    fn check<S: Timeouts + Write>((near, mut far): (S, S))
    where
        for<'s> &'s S: Read + Write,
    {
        far.write_all(b"there is something to read").unwrap();
        is_at_once(|| {
            let mut deadline = Deadline::new(&near, Duration::ZERO).unwrap();
            let errors = [
                deadline.read(&mut [0]).unwrap_err(),
                deadline.write(b"x").unwrap_err(),
                deadline.flush().unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::TimedOut, "{error:?}");
            }
            timed_out_awaiting(Message::CHALLENGE, &client(&near, Duration::ZERO));
            timed_out_sending(Message::CHALLENGE, &server(&near, Duration::ZERO));
        });

        far.set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let nothing = (&far).read(&mut [0]);
        assert!(nothing.is_err(), "something was sent: {nothing:?}");
    }

    with_each_kind_of_socket!(check);
}

#[test]
fn the_longest_timeouts_are_allowed() {
    fn check<S: Timeouts + Send + Sync>((near, far): (S, S))
    where
        for<'s> &'s S: Read + Write,
    {
        // The second is more than some clocks can represent, and not more than a `Duration` can.
        for timeout in [
            Duration::MAX,
            Duration::from_secs(u64::MAX / 4),
            Duration::from_secs(u64::from(u32::MAX)),
        ] {
            thread::scope(|scope| {
                let server = scope.spawn(|| server(&far, timeout).unwrap());
                let client = client(&near, timeout).unwrap();
                assert_eq!(client.key_id(), server.join().unwrap().key_id());
            });
        }
    }

    with_each_kind_of_socket!(check);
}

/// A socket type of another crate. It waits for only a part of its timeout, as a socket does if the
/// kernel's timer is early or if another holder of the socket has set a shorter timeout.
struct Hasty {
    socket: TcpStream,
    waits: Cell<u32>,
}

impl Timeouts for Hasty {
    fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.socket.read_timeout()
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.waits.set(self.waits.get() + 1);
        let hasty = timeout.map(|timeout| timeout.mul_f64(0.4).max(Duration::from_millis(2)));
        self.socket.set_read_timeout(hasty)
    }

    fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.socket.write_timeout()
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_write_timeout(timeout)
    }
}

impl Read for &Hasty {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&self.socket).read(buf)
    }
}

impl Write for &Hasty {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&self.socket).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.socket).flush()
    }
}

#[test]
fn a_socket_whose_timeout_is_early_is_waited_for_again() {
    let (near, far) = bounded(tcp_pair());
    let near = Hasty {
        socket: near,
        waits: Cell::new(0),
    };
    timed_out_awaiting(
        Message::CHALLENGE,
        &lasts(TIMEOUT, || client(&near, TIMEOUT)),
    );
    assert!(near.waits.get() > 3, "{} waits", near.waits.get());

    thread::scope(|scope| {
        let server = scope.spawn(|| server(&far, LONG).unwrap());
        let client = client(&near, LONG).unwrap();
        assert_eq!(client.key_id(), server.join().unwrap().key_id());
    });
}

/// Sockets that can be made nonblocking.
trait SetNonblocking {
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()>;
}

impl SetNonblocking for TcpStream {
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.set_nonblocking(nonblocking)
    }
}

#[cfg(unix)]
impl SetNonblocking for UnixStream {
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.set_nonblocking(nonblocking)
    }
}

#[test]
fn a_nonblocking_socket_is_an_error_and_no_busy_loop() {
    fn check<S: Timeouts + SetNonblocking>((near, _far): (S, S))
    where
        for<'s> &'s S: Read + Write,
    {
        near.set_nonblocking(true).unwrap();
        for timeout in [TIMEOUT, LONG, Duration::MAX] {
            let mut deadline = Deadline::new(&near, timeout).unwrap();
            let error = is_at_once(|| deadline.read(&mut [0])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("blocking mode"), "{error}");

            let outcome = is_at_once(|| client(&near, timeout));
            assert!(
                matches!(&outcome, Err(Error::Io { phase, source })
                    if *phase == Phase::Awaiting(Message::CHALLENGE)
                        && source.kind() == ErrorKind::InvalidInput),
                "{outcome:?}"
            );
        }

        let mut deadline = Deadline::new(&near, LONG).unwrap();
        for piece in [64 * 1024, 1] {
            let error = fill(&mut deadline, piece);
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
        drop(deadline);

        let outcome = is_at_once(|| server(&near, LONG));
        assert!(
            matches!(&outcome, Err(Error::Io { source, .. })
                if source.kind() == ErrorKind::InvalidInput),
            "{outcome:?}"
        );
    }

    with_each_kind_of_socket!(check);
}

/// The client timed out awaiting a challenge, and its error suggests why.
fn timed_out_without_a_challenge(outcome: &Result<Session, Error>) {
    timed_out_awaiting(Message::CHALLENGE, outcome);
    let sentence = outcome.as_ref().unwrap_err().to_string();
    assert!(
        sentence.contains("awaiting the server's challenge (F1)"),
        "{sentence}"
    );
    assert!(sentence.contains("another client"), "{sentence}");
}

#[test]
fn two_clients_that_meet_wait_for_a_challenge_until_their_deadlines() {
    fn check<S: Timeouts + Send + Sync>((near, far): (S, S))
    where
        for<'s> &'s S: Read + Write,
    {
        thread::scope(|scope| {
            let other = scope.spawn(|| lasts(TIMEOUT, || client(&far, TIMEOUT)));
            timed_out_without_a_challenge(&lasts(TIMEOUT, || client(&near, TIMEOUT)));
            timed_out_without_a_challenge(&other.join().unwrap());
        });
    }

    with_each_kind_of_socket!(check);
}

#[test]
fn a_client_of_a_listener_that_never_accepts_waits_until_its_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    timed_out_without_a_challenge(&lasts(TIMEOUT, || client(&socket, TIMEOUT)));
}
