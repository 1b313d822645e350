//! One deadline over a socket, whatever the peer does and does not.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use countersign::handshake::Flight;
use countersign::{Client, Deadline, Error, Phase, Server, Session, Timeouts};

use crate::support::{key, tcp_pair};

/// Long enough to tell a total time from one that begins anew with each octet.
const TIME: Duration = Duration::from_millis(600);
/// How much later than its deadline a call may end.
const LATE: Duration = Duration::from_millis(250);
/// What happens at once takes no longer.
const AT_ONCE: Duration = Duration::from_millis(250);
/// A time that is over only where a test would hang.
const LONG: Duration = Duration::from_secs(20);

/// Runs a check that is generic over the kind of socket with the two ends of each kind.
macro_rules! with_each_kind_of_socket {
    ($check:ident) => {
        $check(bounded(tcp_pair()));
        #[cfg(unix)]
        $check(bounded(UnixStream::pair().unwrap()));
    };
}

/// Two sockets that fail where a deadline over them does not, so that no test hangs.
fn bounded<S: Timeouts>((near, far): (S, S)) -> (S, S) {
    for socket in [&near, &far] {
        socket.set_read_timeout(Some(LONG)).unwrap();
        socket.set_write_timeout(Some(LONG)).unwrap();
    }
    (near, far)
}

/// Calls `call` and expects it to last exactly as long as its deadline.
fn lasts<T>(time: Duration, call: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = call();
    let elapsed = began.elapsed();
    assert!(
        (time..=time + LATE).contains(&elapsed),
        "ended after {elapsed:?} instead of {time:?}"
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

fn timed_out_awaiting(flight: Flight, outcome: &Result<Session, Error>) {
    assert!(
        matches!(outcome, Err(Error::TimedOut(Phase::Awaiting(awaited))) if *awaited == flight),
        "{outcome:?}"
    );
}

fn timed_out_sending(flight: Flight, outcome: &Result<Session, Error>) {
    assert!(
        matches!(outcome, Err(Error::TimedOut(Phase::Sending(sent))) if *sent == flight),
        "{outcome:?}"
    );
}

/// The client of a test, over a deadline.
fn client<S: Timeouts>(socket: &S, time: Duration) -> Result<Session, Error>
where
    for<'s> &'s S: Read + Write,
{
    Client::new(key("ours")).authenticate(&mut Deadline::new(socket, time).unwrap())
}

/// The server of a test, over a deadline.
fn server<S: Timeouts>(socket: &S, time: Duration) -> Result<Session, Error>
where
    for<'s> &'s S: Read + Write,
{
    Server::new(key("ours")).authenticate(&mut Deadline::new(socket, time).unwrap())
}

#[test]
fn the_socket_gets_its_former_timeouts_back() {
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

            // Without any use, after success, after an error of its own and of the peer's.
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

            // An octet that cannot belong to a challenge.
            far.write_all(b"G").unwrap();
            let error = client(&near, LONG).unwrap_err();
            assert!(matches!(error, Error::Incompatible(_)), "{error:?}");
            assert_eq!(timeouts(), former);
        }
    }

    with_each_kind_of_socket!(check);
}

#[test]
fn a_silent_peer_is_cut_off_at_the_deadline() {
    fn check<S: Timeouts>((near, _far): (S, S))
    where
        for<'s> &'s S: Read + Write,
    {
        let error = lasts(TIME, || {
            Deadline::new(&near, TIME).unwrap().read(&mut [0; 16])
        });
        assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);

        timed_out_awaiting(Flight::Challenge, &lasts(TIME, || client(&near, TIME)));
        timed_out_awaiting(Flight::Response, &lasts(TIME, || server(&near, TIME)));
    }

    with_each_kind_of_socket!(check);
}

/// Calls `call` while the peer sends `octets`, one every tenth of a second.
fn while_dripping<S: Write + Send, T>(
    far: &mut S,
    octets: &[u8],
    call: impl FnOnce() -> T,
) -> (T, usize) {
    let (stop, stopped) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let dripping = scope.spawn(move || {
            for (dripped, octet) in octets.iter().enumerate() {
                far.write_all(&[*octet]).unwrap();
                match stopped.recv_timeout(Duration::from_millis(100)) {
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    _ => return dripped + 1,
                }
            }
            octets.len()
        });
        let result = call();
        drop(stop);
        (result, dripping.join().unwrap())
    })
}

/// Reads what came with the deadline or after it.
fn discard<S: Timeouts>(socket: &S)
where
    for<'s> &'s S: Read + Write,
{
    let mut deadline = Deadline::new(socket, Duration::from_millis(20)).unwrap();
    while deadline.read(&mut [0; 16]).is_ok_and(|n| n > 0) {}
}

#[test]
fn a_peer_that_drips_is_cut_off_at_the_deadline() {
    fn check<S>((near, mut far): (S, S))
    where
        S: Timeouts + Write + Send + Sync,
        for<'s> &'s S: Read + Write,
    {
        // Each would be a whole flight in the end.
        let challenge = [&b"CSIGN1S\0"[..], &[0x50; 32]].concat();
        let response = [&b"CSIGN1C\0\0"[..], &[0xc0; 64]].concat();

        // One that stops half-way shows whether the last wait was shorter than the first.
        for most in [usize::MAX, 4] {
            let octets = &challenge[..most.min(challenge.len())];
            let (outcome, dripped) =
                while_dripping(&mut far, octets, || lasts(TIME, || client(&near, TIME)));
            timed_out_awaiting(Flight::Challenge, &outcome);
            assert!((3..=9).contains(&dripped), "{dripped} octets");
            discard(&near);

            let octets = &response[..most.min(response.len())];
            let (outcome, dripped) =
                while_dripping(&mut far, octets, || lasts(TIME, || server(&near, TIME)));
            timed_out_awaiting(Flight::Response, &outcome);
            assert!((3..=9).contains(&dripped), "{dripped} octets");
            discard(&near);
        }
    }

    with_each_kind_of_socket!(check);
}

/// Writes pieces of this size until that fails.
fn fill(stream: &mut impl Write, piece: usize) -> io::Error {
    let piece = vec![0; piece];
    let error = (0..1024 * 1024).find_map(|_| stream.write(&piece).err());
    error.expect("no buffer is so large")
}

#[test]
fn a_peer_that_does_not_read_cannot_hold_a_writer_past_the_deadline() {
    fn check<S: Timeouts>((near, _far): (S, S))
    where
        for<'s> &'s S: Read + Write,
    {
        // The buffers on the way hold a few MiB at most.
        let error = lasts(TIME, || {
            fill(&mut Deadline::new(&near, TIME).unwrap(), 64 * 1024)
        });
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    with_each_kind_of_socket!(check);
}

/// Not over TCP: a stack whose buffers are full may find room for a whole flight a moment later,
/// when it has asked the peer's whether it would take more.
#[cfg(unix)]
#[test]
fn a_peer_that_does_not_read_cannot_hold_a_driver_past_the_deadline() {
    let (near, mut far) = bounded(UnixStream::pair().unwrap());
    for piece in [64 * 1024, 1] {
        let soon = Duration::from_millis(50);
        let error = fill(&mut Deadline::new(&near, soon).unwrap(), piece);
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
    timed_out_sending(Flight::Challenge, &lasts(TIME, || server(&near, TIME)));

    let challenge = [&b"CSIGN1S\0"[..], &[0x50; 32]].concat();
    far.write_all(&challenge).unwrap();
    timed_out_sending(Flight::Response, &lasts(TIME, || client(&near, TIME)));
}

#[test]
fn no_time_at_all_is_over_at_once() {
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
            timed_out_awaiting(Flight::Challenge, &client(&near, Duration::ZERO));
            timed_out_sending(Flight::Challenge, &server(&near, Duration::ZERO));
        });

        far.set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let nothing = (&far).read(&mut [0]);
        assert!(nothing.is_err(), "something was sent: {nothing:?}");
    }

    with_each_kind_of_socket!(check);
}

#[test]
fn a_time_without_end_is_a_time_like_any_other() {
    fn check<S: Timeouts + Send + Sync>((near, far): (S, S))
    where
        for<'s> &'s S: Read + Write,
    {
        // The second is more than some clocks can name, and less than all of them cannot.
        for time in [
            Duration::MAX,
            Duration::from_secs(u64::MAX / 4),
            Duration::from_secs(u64::from(u32::MAX)),
        ] {
            thread::scope(|scope| {
                let server = scope.spawn(|| server(&far, time).unwrap());
                let client = client(&near, time).unwrap();
                assert_eq!(client.key_id(), server.join().unwrap().key_id());
            });
        }
    }

    with_each_kind_of_socket!(check);
}

/// A socket type of somebody else's. It waits for only a part of the time it is told to, as
/// where the timer of a kernel is early or another holder of the socket has set a shorter one.
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
fn a_socket_of_another_type_that_wakes_too_early_is_waited_for_again() {
    let (near, far) = bounded(tcp_pair());
    let near = Hasty {
        socket: near,
        waits: Cell::new(0),
    };
    timed_out_awaiting(Flight::Challenge, &lasts(TIME, || client(&near, TIME)));
    assert!(near.waits.get() > 3, "{} waits", near.waits.get());

    thread::scope(|scope| {
        let server = scope.spawn(|| server(&far, LONG).unwrap());
        let client = client(&near, LONG).unwrap();
        assert_eq!(client.key_id(), server.join().unwrap().key_id());
    });
}

/// Sockets that can be put out of blocking mode.
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
fn a_socket_that_does_not_block_is_refused_instead_of_spun_on() {
    fn check<S: Timeouts + SetNonblocking>((near, _far): (S, S))
    where
        for<'s> &'s S: Read + Write,
    {
        near.set_nonblocking(true).unwrap();
        for time in [TIME, LONG, Duration::MAX] {
            let mut deadline = Deadline::new(&near, time).unwrap();
            let error = is_at_once(|| deadline.read(&mut [0])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("blocking mode"), "{error}");

            let outcome = is_at_once(|| client(&near, time));
            assert!(
                matches!(&outcome, Err(Error::Io { phase, source })
                    if *phase == Phase::Awaiting(Flight::Challenge)
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

/// A client that meets nobody who speaks first.
fn awaited_a_challenge_in_vain(outcome: &Result<Session, Error>) {
    timed_out_awaiting(Flight::Challenge, outcome);
    let sentence = outcome.as_ref().unwrap_err().to_string();
    assert!(
        sentence.contains("awaiting F1 (the server's challenge)"),
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
            let other = scope.spawn(|| lasts(TIME, || client(&far, TIME)));
            awaited_a_challenge_in_vain(&lasts(TIME, || client(&near, TIME)));
            awaited_a_challenge_in_vain(&other.join().unwrap());
        });
    }

    with_each_kind_of_socket!(check);
}

#[test]
fn a_client_of_a_listener_that_never_accepts_waits_until_its_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    awaited_a_challenge_in_vain(&lasts(TIME, || client(&socket, TIME)));
}
