//! SIGTERM, and what becomes of connections then.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use countersign::{Client, Key};

use crate::process::{Files, PATIENCE, Process, SECRET, Tunnel, start_client, start_server};
use crate::service::{Service, connect, echoes, exchange, pattern};

/// Waits until nobody listens there.
fn wait_until_closed(address: &str) {
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < end, "{address} is still open");
    }
}

#[test]
fn a_successor_takes_the_port_while_connections_finish() {
    for stop_server in [true, false] {
        let service = Service::echo();
        let mut tunnel = Tunnel::to(&service);
        let mut open = connect(&tunnel.client.address);
        echoes(&mut *open).unwrap();
        let stopped = match stop_server {
            true => &mut tunnel.server,
            false => &mut tunnel.client,
        };
        stopped.signal("TERM");
        stopped.logs(&["INFO", "stopping connections=1"]);
        let address = stopped.address.clone();
        wait_until_closed(&address);
        let listen = ["--listen", &address];
        let successor = match stop_server {
            true => start_server(&tunnel.files, &service, &listen),
            false => start_client(&tunnel.files, &tunnel.server.address, &listen),
        };
        echoes(&mut *connect(&tunnel.client.address)).unwrap();
        echoes(&mut *open).unwrap();
        open.end();
        open.read_to_end(&mut Vec::new()).unwrap();
        let stopped = match stop_server {
            true => &mut tunnel.server,
            false => &mut tunnel.client,
        };
        assert!(stopped.wait().success());
        successor.logs(&["accepted"]);
    }
}

#[test]
fn a_stop_under_load_loses_no_byte() {
    for stop_server in [true, false] {
        let mut tunnel = Tunnel::to(&Service::echo());
        let transfers: Vec<_> = (0..8)
            .map(|seed| {
                let stream = connect(&tunnel.client.address);
                let (started, wait) = std::sync::mpsc::channel();
                let transfer = thread::spawn(move || {
                    let mut stream = stream;
                    echoes(&mut *stream).unwrap();
                    started.send(()).unwrap();
                    let sent = pattern(seed, 1 << 20);
                    assert!(exchange(stream, sent.clone()) == sent);
                });
                wait.recv().unwrap();
                transfer
            })
            .collect();
        match stop_server {
            true => tunnel.server.stop(),
            false => tunnel.client.stop(),
        }
        for transfer in transfers {
            transfer.join().unwrap();
        }
    }
}

#[test]
fn what_is_left_is_cut_after_the_grace_or_by_a_second_signal() {
    for (grace, signals) in [("1", 1), ("600", 2)] {
        let options = ["--grace", grace];
        let mut tunnel = Tunnel::with(&Service::echo(), &options, &options);
        let mut open = connect(&tunnel.client.address);
        echoes(&mut *open).unwrap();
        for _ in 0..signals {
            tunnel.client.signal("TERM");
            tunnel.client.logs(&["stopping"]);
        }
        assert!(tunnel.client.wait().success());
        tunnel
            .client
            .logs(&["WARN", "cut: the grace is over connections=1"]);
        let read = open.read(&mut [0; 1]).map_err(|error| error.kind());
        assert_eq!(read, Err(std::io::ErrorKind::ConnectionReset));
        tunnel.server.logs(&["WARN", "cut: reading the tunnel"]);
    }
}

#[test]
fn clients_that_the_system_has_accepted_are_carried_after_a_stop() {
    let service = Service::tcp();
    let mut tunnel = Tunnel::to(&service.address());
    // The program finds the connections and the signal at once.
    tunnel.client.signal("STOP");
    let streams: Vec<_> = (0..50)
        .map(|_| TcpStream::connect(&tunnel.client.address).unwrap())
        .collect();
    tunnel.client.signal("TERM");
    tunnel.client.signal("CONT");
    // They reach the service in any order.
    for mut stream in &streams {
        stream.write_all(b"x").unwrap();
    }
    for _ in &streams {
        service.accept().read_exact(&mut [0; 1]).unwrap();
    }
    drop(streams);
    assert!(tunnel.client.wait().success());
}

/// An echo that counts its connections.
struct Counting {
    service: Service,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Counting {
    /// Answers each connection of so many until its end.
    fn run(&self, connections: usize) {
        thread::scope(|scope| {
            for _ in 0..connections {
                let mut stream = self.service.accept();
                let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(now, Ordering::SeqCst);
                scope.spawn(move || {
                    let mut to = stream.another();
                    std::io::copy(&mut stream, &mut to).unwrap();
                    self.now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
    }
}

fn descriptors(process: &Process) -> usize {
    let open = fs::read_dir(format!("/proc/{}/fd", process.id()));
    open.unwrap().count()
}

#[test]
fn a_stop_lets_no_more_connections_in_than_there_are_places() {
    for end in 0..2 {
        let cap = ["--max-connections", "2"];
        let (client, server): (&[&str], &[&str]) = [(&cap[..], &[][..]), (&[], &cap)][end];
        let service = Counting {
            service: Service::tcp(),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        };
        let mut tunnel = Tunnel::with(&service.service.address(), client, server);
        thread::scope(|scope| {
            scope.spawn(|| service.run(12));
            let first = [(); 2].map(|()| {
                let mut stream = connect(&tunnel.client.address);
                echoes(&mut *stream).unwrap();
                stream
            });
            let before = descriptors(&tunnel.client);
            let others = [(); 10].map(|()| connect(&tunnel.client.address));
            let full = if end == 0 {
                let begun = Instant::now();
                while descriptors(&tunnel.client) < before + others.len() {
                    assert!(begun.elapsed() < PATIENCE, "they are not accepted");
                    thread::yield_now();
                }
                &mut tunnel.client
            } else {
                tunnel.client.logs_times(12, &["accepted"]);
                &mut tunnel.server
            };
            full.signal("TERM");
            full.logs(&["stopping"]);
            drop(first);
            thread::scope(|scope| {
                for mut stream in others {
                    scope.spawn(move || echoes(&mut *stream).unwrap());
                }
            });
            assert!(full.wait().success());
        });
        assert_eq!(service.most.load(Ordering::SeqCst), 2);
    }
}

#[test]
fn after_a_stop_a_login_may_finish_and_a_silent_stranger_delays_no_end() {
    let files = Files::new();
    let more = ["--grace", "600", "--verbose"];
    let mut server = start_server(&files, &Service::echo(), &more);
    // Who has read the first byte is accepted.
    let [login, _stranger] = [(); 2].map(|()| {
        let stream = TcpStream::connect(&server.address).unwrap();
        assert_eq!(stream.peek(&mut [0; 1]).unwrap(), 1);
        stream
    });
    server.signal("TERM");
    server.logs(&["stopping connections=0"]);
    let key = Key::new(SECRET).unwrap().with_id("worker-7").unwrap();
    let mut stream = Client::new(key).encrypt(login).unwrap();
    stream.write_all(b"hello\n").unwrap();
    stream.read_exact(&mut [0; 6]).unwrap();
    drop(stream);
    assert!(server.wait().success());
    // It would be refused when its time is over.
    let lines = server.lines();
    assert!(!lines.concat().contains("refused"), "{lines:#?}");
}
