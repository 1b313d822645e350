//! What happens when something between a client and its service ends, hangs or is not there.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{Files, PATIENCE, Tunnel, start_client, start_server};
use crate::service::{Service, Stream, connect, echoes};

/// Asserts that a read fails at once, and does not find an end that looks complete.
#[track_caller]
fn is_cut(stream: &mut dyn Stream) {
    let read = stream.read(&mut [0; 100]);
    let kind = read.map_err(|error| error.kind());
    assert!(
        matches!(
            kind,
            Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
        ),
        "{kind:?}"
    );
}

#[test]
fn a_service_that_is_down_cuts_its_clients_until_it_is_back() {
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = service.local_addr().unwrap();
    drop(service);
    let tunnel = Tunnel::to(&address.to_string());
    is_cut(&mut *connect(&tunnel.client.address));
    let to = format!(
        "could not connect to {address}: Connection refused (os error 111); start the service, or \
         correct --to"
    );
    tunnel
        .server
        .logs(&["WARN", "key_id=worker-7", "peer=127.0.0.1:", &to]);
    tunnel.client.logs(&[
        "WARN",
        "reading the tunnel",
        "; the log of the other end says why",
        " silent=0.",
    ]);

    let service = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = service.accept().unwrap();
        let mut to = stream.try_clone().unwrap();
        io::copy(&mut stream, &mut to).unwrap();
    });
    echoes(&mut *connect(&tunnel.client.address)).unwrap();
}

#[test]
fn a_killed_end_is_seen_at_the_other_side_and_can_be_started_again() {
    for kill_server in [true, false] {
        let service = Service::tcp();
        let mut tunnel = Tunnel::to(&service.address());
        let mut near = connect(&tunnel.client.address);
        let mut far = service.accept();
        near.write_all(b"up").unwrap();
        far.read_exact(&mut [0; 2]).unwrap();
        let (killed, other) = match kill_server {
            true => (&mut tunnel.server, &tunnel.client),
            false => (&mut tunnel.client, &tunnel.server),
        };
        killed.kill();
        is_cut(&mut *near);
        is_cut(&mut *far);
        other.logs(&["WARN", "cut: reading the tunnel"]);

        let address = killed.address.clone();
        let (files, listen) = (&tunnel.files, ["--listen", &address]);
        let _again = match kill_server {
            true => start_server(files, &service.address(), &listen),
            false => start_client(files, &tunnel.server.address, &listen),
        };
        let mut near = connect(&tunnel.client.address);
        near.write_all(b"up").unwrap();
        service.accept().read_exact(&mut [0; 2]).unwrap();
    }
}

#[test]
fn a_killed_service_or_client_is_seen_at_the_other_side() {
    let service = Service::tcp();
    let tunnel = Tunnel::to(&service.address());
    for drop_client in [true, false] {
        let near = connect(&tunnel.client.address);
        let mut far = service.accept();
        // With bytes that nobody has read, the system resets the connection.
        let (mut gone, mut left) = match drop_client {
            true => {
                far.write_all(b"unread").unwrap();
                (near, far)
            }
            false => (far, near),
        };
        if !drop_client {
            left.write_all(b"unread").unwrap();
        }
        gone.read_exact(&mut [0; 1]).unwrap();
        drop(gone);
        is_cut(&mut *left);
    }
    tunnel.client.logs(&["WARN", "cut: reading the plain side"]);
    tunnel.server.logs(&["WARN", "cut: reading the plain side"]);
}

/// Carries bytes from a port to an address until it is told to end or to hang.
struct Between {
    address: String,
    hangs: Arc<AtomicBool>,
    streams: std::sync::mpsc::Receiver<[TcpStream; 2]>,
}

impl Between {
    fn new(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, streams) = std::sync::mpsc::channel();
        let hangs = Arc::<AtomicBool>::default();
        let hanging = Arc::clone(&hangs);
        thread::spawn(move || {
            while let Ok((near, _)) = listener.accept() {
                let far = TcpStream::connect(&to).unwrap();
                let ends = || [near.try_clone().unwrap(), far.try_clone().unwrap()];
                for [from, to] in [ends(), {
                    let [a, b] = ends();
                    [b, a]
                }] {
                    let hanging = Arc::clone(&hanging);
                    thread::spawn(move || carry(from, to, &hanging));
                }
                if sender.send(ends()).is_err() {
                    return;
                }
            }
        });
        Self {
            address,
            hangs,
            streams,
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, hangs: &AtomicBool) {
    let mut buf = [0; 4096];
    while let Ok(n) = from.read(&mut buf) {
        if hangs.load(Ordering::Relaxed) {
            // The sockets stay open, and nothing moves.
            loop {
                thread::park();
            }
        }
        if n == 0 || to.write_all(&buf[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn a_relay_that_ends_in_between_does_not_look_like_a_complete_transfer() {
    let service = Service::tcp();
    let files = Files::new();
    let server = start_server(&files, &service.address(), &[]);
    let between = Between::new(server.address.clone());
    let client = start_client(&files, &between.address, &[]);
    let mut near = connect(&client.address);
    let mut far = service.accept();
    far.write_all(b"a part").unwrap();
    near.read_exact(&mut [0; 6]).unwrap();
    // It ends the connection as politely as can be, without a reset.
    for stream in between.streams.recv_timeout(PATIENCE).unwrap() {
        // The second has ended by then, if the first was passed on.
        let _ = stream.shutdown(Shutdown::Both);
    }
    is_cut(&mut *near);
    is_cut(&mut *far);
}

#[test]
fn a_relay_that_hangs_in_between_ends_by_the_idle_timeout() {
    let service = Service::tcp();
    let files = Files::new();
    let idle = ["--idle-timeout", "1"];
    let server = start_server(&files, &service.address(), &idle);
    let between = Between::new(server.address.clone());
    let client = start_client(&files, &between.address, &idle);
    let mut near = connect(&client.address);
    let mut far = service.accept();
    near.write_all(b"up").unwrap();
    far.read_exact(&mut [0; 2]).unwrap();
    between.hangs.store(true, Ordering::Relaxed);
    near.write_all(b"lost").unwrap();
    is_cut(&mut *near);
    is_cut(&mut *far);
    for end in [&server, &client] {
        end.logs(&["WARN", "cut: waiting: the idle timeout has passed"]);
    }
}

#[test]
fn a_connection_that_carries_now_and_then_is_not_idle() {
    let idle = ["--idle-timeout", "1"];
    let tunnel = Tunnel::with(&Service::echo(), &idle, &idle);
    let mut stream = connect(&tunnel.client.address);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2500) {
        echoes(&mut *stream).unwrap();
        // Less than the timeout, and together more.
        thread::sleep(Duration::from_millis(250));
    }
    is_cut(&mut *stream);
}

#[test]
fn an_answer_arrives_from_a_service_that_does_not_take_the_rest_of_the_question() {
    let service = Service::tcp();
    let tunnel = Tunnel::to(&service.address());
    let mut near = connect(&tunnel.client.address);
    let mut far = service.accept();
    let mut to = near.another();
    let sending = thread::spawn(move || while to.write_all(&[0; 1 << 13]).is_ok() {});
    far.read_exact(&mut [0; 1000]).unwrap();
    far.write_all(b"413 too long").unwrap();
    far.end();
    // A service that is polite reads on for a moment; this one is not.
    drop(far);
    let mut answer = [0; 12];
    near.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"413 too long");
    sending.join().unwrap();
}
