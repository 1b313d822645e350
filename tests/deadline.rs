//! One deadline for all that is read from a socket and written to it.

mod timeouts;

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use countersign::handshake::Message;
use countersign::{Client, Deadline, Error, Phase, Server, Session};

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

/// What the checks need of a kind of socket.
trait Socket: Read + Write + Send + Sync + Sized {
    fn deadline(&self, timeout: Duration) -> impl Read + Write + Send;
    fn set_timeouts(&self, read: Option<Duration>, write: Option<Duration>);
    fn timeouts(&self) -> (Option<Duration>, Option<Duration>);
    fn set_nonblocking(&self, nonblocking: bool);
    fn clone_of_it(&self) -> Self;
}

macro_rules! socket {
    ($socket:ty) => {
        impl Socket for $socket {
            fn deadline(&self, timeout: Duration) -> impl Read + Write + Send {
                Deadline::new(self, timeout)
            }

            fn set_timeouts(&self, read: Option<Duration>, write: Option<Duration>) {
                self.set_read_timeout(read).unwrap();
                self.set_write_timeout(write).unwrap();
            }

            fn timeouts(&self) -> (Option<Duration>, Option<Duration>) {
                (self.read_timeout().unwrap(), self.write_timeout().unwrap())
            }

            fn set_nonblocking(&self, nonblocking: bool) {
                self.set_nonblocking(nonblocking).unwrap();
            }

            fn clone_of_it(&self) -> Self {
                self.try_clone().unwrap()
            }
        }
    };
}

socket!(TcpStream);
#[cfg(unix)]
socket!(UnixStream);

/// Gives two sockets a timeout of their own, so that no test hangs if a deadline does not end.
fn bounded<S: Socket>((near, far): (S, S)) -> (S, S) {
    for socket in [&near, &far] {
        socket.set_timeouts(Some(LONG), Some(LONG));
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
fn client(socket: &impl Socket, timeout: Duration) -> Result<Session, Error> {
    Client::new(key("ours")).authenticate(&mut socket.deadline(timeout))
}

/// Runs a server over a deadline.
fn server(socket: &impl Socket, timeout: Duration) -> Result<Session, Error> {
    Server::new(key("ours")).authenticate(&mut socket.deadline(timeout))
}

/// A challenge, of which every byte is right.
fn challenge() -> Vec<u8> {
    [&b"CSIGN1S\0"[..], &[0x50; 32]].concat()
}

/// A response that is whole, and has a wrong proof.
fn response() -> Vec<u8> {
    [&b"CSIGN1C\0\0"[..], &[0xc0; 64]].concat()
}

/// Whether a socket is in blocking mode, if there is nothing to read.
fn blocks(socket: &mut impl Socket) -> bool {
    let former = socket.timeouts();
    socket.set_timeouts(Some(Duration::from_millis(50)), former.1);
    let began = Instant::now();
    socket.read(&mut [0]).unwrap_err();
    let waited = began.elapsed() >= Duration::from_millis(25);
    socket.set_timeouts(former.0, former.1);
    waited
}

#[test]
fn a_deadline_touches_no_timeout_and_no_flag_of_a_socket() {
    fn check<S: Socket>((mut near, mut far): (S, S)) {
        let (three, seven) = (Duration::from_secs(3), Duration::from_secs(7));
        for (read, write, nonblocking) in [
            (None, None, false),
            (Some(three), None, false),
            (None, Some(three), true),
            (Some(three), Some(seven), true),
        ] {
            near.set_timeouts(read, write);
            near.set_nonblocking(nonblocking);
            let former = near.timeouts();
            let mut clone = near.clone_of_it();

            // During use, after success, after a timeout, and after an error of the handshake.
            far.write_all(b"x").unwrap();
            let mut deadline = near.deadline(LONG);
            deadline.read_exact(&mut [0]).unwrap();
            deadline.write_all(b"x").unwrap();
            deadline.flush().unwrap();
            assert_eq!(near.timeouts(), former);
            drop(deadline);
            assert_eq!(near.timeouts(), former);

            let mut deadline = near.deadline(Duration::from_millis(100));
            deadline.write_all(b"x").unwrap();
            let error = deadline.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_eq!(near.timeouts(), former);
            assert_eq!(blocks(&mut clone), !nonblocking);
            drop(deadline);

            // A byte that begins no challenge.
            far.write_all(b"G").unwrap();
            let error = client(&near, LONG).unwrap_err();
            assert!(incompatible(&error).is_some(), "{error:?}");
            assert_eq!(near.timeouts(), former);
            assert_eq!(blocks(&mut near), !nonblocking);
        }
    }

    with_each_kind_of_socket!(check);
}

#[test]
fn a_handshake_with_a_silent_peer_ends_at_the_deadline() {
    fn check<S: Socket>((near, _far): (S, S)) {
        let error = lasts(TIMEOUT, || near.deadline(TIMEOUT).read(&mut [0; 16]));
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
fn discard(socket: &impl Socket) {
    let mut deadline = socket.deadline(Duration::from_millis(20));
    while deadline.read(&mut [0; 16]).is_ok_and(|n| n > 0) {}
}

#[test]
fn a_handshake_with_a_slow_peer_ends_at_the_deadline() {
    fn check<S: Socket>((near, mut far): (S, S)) {
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
    fn check<S: Socket>((near, _far): (S, S)) {
        // The buffers on the way hold a few MiB at most.
        let error = lasts(TIMEOUT, || fill(&mut near.deadline(TIMEOUT), 64 * 1024));
        assert_eq!(error.kind(), ErrorKind::TimedOut);

        // Nothing fits now, and one write has more than all buffers together.
        let large = vec![0; 64 * 1024 * 1024];
        let error = lasts(TIMEOUT, || near.deadline(TIMEOUT).write_all(&large));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
    }

    with_each_kind_of_socket!(check);
}

#[test]
fn a_write_that_is_larger_than_the_buffers_ends_at_the_deadline() {
    fn check<S: Socket>((near, _far): (S, S)) {
        let large = vec![0; 64 * 1024 * 1024];
        let error = lasts(TIMEOUT, || near.deadline(TIMEOUT).write_all(&large));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
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
        let error = fill(&mut Deadline::new(&near, soon), piece);
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
    fn check<S: Socket>((near, mut far): (S, S)) {
        far.write_all(b"there is something to read").unwrap();
        is_at_once(|| {
            let mut deadline = near.deadline(Duration::ZERO);
            let errors = [
                deadline.read(&mut [0]).unwrap_err(),
                deadline.write(b"x").unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::TimedOut, "{error:?}");
            }
            timed_out_awaiting(Message::CHALLENGE, &client(&near, Duration::ZERO));
            timed_out_sending(Message::CHALLENGE, &server(&near, Duration::ZERO));
        });

        far.set_timeouts(Some(Duration::from_millis(20)), None);
        let nothing = far.read(&mut [0]);
        assert!(nothing.is_err(), "something was sent: {nothing:?}");
    }

    with_each_kind_of_socket!(check);
}

#[test]
fn the_longest_timeouts_are_allowed() {
    fn check<S: Socket>((near, far): (S, S)) {
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

#[test]
fn a_nonblocking_socket_is_waited_for_as_well() {
    fn check<S: Socket>((near, far): (S, S)) {
        near.set_nonblocking(true);
        far.set_nonblocking(true);
        let error = lasts(TIMEOUT, || near.deadline(TIMEOUT).read(&mut [0]));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);

        thread::scope(|scope| {
            let server = scope.spawn(|| server(&far, LONG).unwrap());
            let client = client(&near, LONG).unwrap();
            assert_eq!(client.key_id(), server.join().unwrap().key_id());
        });
    }

    with_each_kind_of_socket!(check);
}

#[test]
fn a_reader_and_a_writer_of_one_socket_keep_their_own_deadlines() {
    fn check<S: Socket>((near, _far): (S, S)) {
        let clone = near.clone_of_it();
        let former = near.timeouts();
        thread::scope(|scope| {
            // It fills the buffers and is over first.
            let writer = scope.spawn(|| {
                let error = lasts(TIMEOUT / 2, || fill(&mut clone.deadline(TIMEOUT / 2), 4096));
                assert_eq!(error.kind(), ErrorKind::TimedOut);
            });
            let error = lasts(TIMEOUT, || near.deadline(TIMEOUT).read(&mut [0]));
            assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
            writer.join().unwrap();
        });
        assert_eq!(near.timeouts(), former);
    }

    with_each_kind_of_socket!(check);
}

/// Both may wake up for the byte, and then one of them finds nothing. It takes some rounds to happen.
#[cfg(unix)] // Elsewhere the other reader waits on, as `Timed` says.
#[test]
fn of_two_readers_of_one_byte_one_ends_at_its_deadline() {
    fn check<S: Socket>((near, mut far): (S, S)) {
        const SHORT: Duration = Duration::from_millis(20);

        let clone = near.clone_of_it();
        for _ in 0..100 {
            thread::scope(|scope| {
                let readers = [&near, &clone].map(|socket| {
                    scope.spawn(move || {
                        let began = Instant::now();
                        let read = socket.deadline(SHORT).read(&mut [0; 16]);
                        (read, began.elapsed())
                    })
                });
                thread::sleep(SHORT / 4);
                far.write_all(b"x").unwrap();
                let mut ends = readers.map(|reader| reader.join().unwrap());
                ends.sort_by_key(|(read, _)| read.is_err());
                let [(first, _), (second, elapsed)] = ends;
                assert_eq!(first.unwrap(), 1);
                assert_eq!(second.unwrap_err().kind(), ErrorKind::TimedOut);
                assert!((SHORT..=SHORT + LATE).contains(&elapsed), "{elapsed:?}");
            });
        }
    }

    with_each_kind_of_socket!(check);
}

/// The time for which this thread has run, and not waited.
#[cfg(target_os = "linux")]
fn time_on_a_core() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[cfg(target_os = "linux")]
#[test]
fn waiting_for_a_deadline_is_no_busy_loop() {
    fn check<S: Socket>((near, _far): (S, S)) {
        near.set_nonblocking(true);
        fill(&mut near.deadline(Duration::from_millis(50)), 64 * 1024);
        let before = time_on_a_core();
        near.deadline(TIMEOUT).read(&mut [0]).unwrap_err();
        fill(&mut near.deadline(TIMEOUT), 4096);
        let busy = time_on_a_core().saturating_sub(before);
        assert!(busy < TIMEOUT / 4, "{busy:?}");
    }

    with_each_kind_of_socket!(check);
}

#[test]
fn a_deadline_owns_its_socket_and_is_lifted_from_outside() {
    let (near, mut far) = bounded(tcp_pair());
    let mut deadline = Deadline::new(near, Duration::from_millis(50));
    let (handle, other) = (deadline.handle(), deadline.handle());
    let mut boxed: Box<dyn Read> = Box::new(deadline);
    let mut read = || boxed.read(&mut [0; 4]);
    assert_eq!(read().unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(read().unwrap_err().kind(), ErrorKind::TimedOut);

    handle.lift();
    drop(handle);
    let late = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        far.write_all(b"late").unwrap();
    });
    assert_eq!(read().unwrap(), 4);
    late.join().unwrap();
    assert_eq!(read().unwrap(), 0, "the other end has closed");
    other.lift();
}

#[test]
fn a_stream_whose_deadline_is_lifted_is_as_without_one() {
    fn check<S: Socket>((near, mut far): (S, S))
    where
        for<'s> Deadline<&'s S>: Read + Write,
    {
        near.set_timeouts(Some(Duration::from_millis(50)), Some(LONG));
        let mut deadline = Deadline::new(&near, Duration::ZERO);
        deadline.handle().lift();
        let error = deadline.read(&mut [0]).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            "{error:?}"
        );
        // All parts of a vectored write go out at once, as they do without a deadline.
        let parts = [b"he", b"ll", b"o!"].map(|part| IoSlice::new(part));
        assert_eq!(deadline.write_vectored(&parts).unwrap(), 6);
        deadline.flush().unwrap();
        far.read_exact(&mut [0; 6]).unwrap();

        let mut deadline = Deadline::new(&near, LONG);
        let parts = [b"".as_slice(), b"hello"].map(IoSlice::new);
        assert_eq!(deadline.write_vectored(&parts).unwrap(), 5);
        far.read_exact(&mut [0; 5]).unwrap();
    }

    with_each_kind_of_socket!(check);
}

#[test]
fn a_socket_of_another_crate_takes_a_deadline() {
    let [near, mut far] = <[_; 2]>::from(bounded(tcp_pair())).map(socket2::Socket::from);
    let error = lasts(TIMEOUT, || Deadline::new(&near, TIMEOUT).read(&mut [0]));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);

    thread::scope(|scope| {
        let server = Server::new(key("ours"));
        let server = scope.spawn(move || server.authenticate_timeout(&mut far, LONG).unwrap());
        let client = Client::new(key("ours")).authenticate_timeout(Box::new(near), LONG);
        assert_eq!(client.unwrap().key_id(), server.join().unwrap().key_id());
    });
}

#[cfg(unix)] // A pipe of Windows is no `AsSocket`, and does not compile.
#[test]
fn a_pipe_with_a_deadline_is_an_error_that_says_so() {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"there is something to read").unwrap();
    let mut deadlines = (Deadline::new(reader, LONG), Deadline::new(writer, LONG));
    let errors = [
        deadlines.0.read(&mut [0; 4]).unwrap_err(),
        deadlines.1.write(b"x").unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("needs a socket"), "{error}");
    }
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
    fn check<S: Socket>((near, far): (S, S)) {
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
