//! What systemd passes to the program, and what it is told.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use crate::process::{
    Files, PATIENCE, Process, client_args, error_of, server_args, shell, start_client,
};
use crate::service::{Service, connect, echoes};

/// Returns a shell that passes a socket to the program as systemd does: as descriptor 3.
pub fn passing(socket: impl Into<OwnedFd>) -> Command {
    let mut shell = shell("exec 3<&0 < /dev/null; export LISTEN_PID=$$ LISTEN_FDS=1;");
    shell.stdin(Stdio::from(socket.into()));
    shell
}

fn activated(socket: impl Into<OwnedFd>, args: Vec<String>) -> Process {
    Process::spawn(passing(socket).args(args))
}

/// A socket where systemd is told what the program does.
pub struct Systemd {
    path: String,
    pub socket: UnixDatagram,
}

impl Systemd {
    pub fn new(files: &Files) -> Self {
        let path = files.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { path, socket }
    }

    pub fn start(&self, args: Vec<String>) -> Process {
        let export = format!("export NOTIFY_SOCKET='{}';", self.path);
        Process::start_after(&export, args)
    }

    /// Waits for the next message, which begins like this.
    #[track_caller]
    pub fn is_told(&self, begin: &str) {
        let mut message = [0; 200];
        let n = self.socket.recv(&mut message).unwrap();
        let message = String::from_utf8_lossy(&message[..n]);
        assert!(message.starts_with(begin), "{message}");
    }

    /// Sends messages until there is no room for another.
    pub fn fill(&self) {
        let error = loop {
            let socket = UnixDatagram::unbound().unwrap();
            socket.set_nonblocking(true).unwrap();
            if let Err(error) = socket.send_to(b"X_FULL=1", &self.path) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn a_socket_that_is_passed_is_listened_at_and_outlives_the_program() {
    let files = Files::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let passed = || OwnedFd::from(socket.try_clone().unwrap());
    let args = server_args(&files, &Service::echo(), &["--no-listen"]);
    let mut server = activated(passed(), args.clone());
    assert_eq!(server.address, address);

    let path = files.path("plain");
    let unix = UnixListener::bind(&path).unwrap();
    let client = activated(unix, client_args(&files, &address, &["--no-listen"]));
    assert_eq!(client.address, format!("unix:{path}"));
    echoes(&mut *connect(&client.address)).unwrap();

    server.stop();
    // It waits in the queue of the socket for the next one.
    let mut waiting = connect(&client.address);
    let _server = activated(passed(), args);
    echoes(&mut *waiting).unwrap();
    drop(client);
    assert!(Path::new(&path).exists());
}

#[test]
fn a_socket_of_the_wrong_kind_is_refused_with_what_was_passed() {
    let files = Files::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let bound = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&bound, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let packets = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    let path = SocketAddrUnix::new(files.path("packets")).unwrap();
    rustix::net::bind(&packets, &path).unwrap();
    rustix::net::listen(&packets, 1).unwrap();
    let (unix, _other_end) = UnixStream::pair().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let other = "what is neither a TCP socket nor a Unix stream socket";
    let sockets: [(OwnedFd, &str); 7] = [
        (connected.into(), "a single connection"),
        (unix.into(), "a single connection"),
        (bound, "a socket that does not listen"),
        (udp.into(), "a socket of datagrams"),
        (
            UnixDatagram::unbound().unwrap().into(),
            "a socket of datagrams",
        ),
        (packets, other),
        (fs::File::open("/dev/null").unwrap().into(), other),
    ];
    for (socket, what) in sockets {
        for args in [server_args, client_args] {
            let args = args(&files, "127.0.0.1:1", &["--no-listen"]);
            let error = error_of(passing(socket.try_clone().unwrap()).args(args));
            let says = format!("systemd passes {what}; give the socket unit ListenStream= with ");
            assert!(error.contains(&says), "{error}");
        }
    }
}

#[test]
fn nowhere_or_two_places_to_listen_are_refused() {
    let files = Files::new();
    let error = |args: Vec<String>, commands: &str| {
        let socket = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        error_of(shell(commands).args(args).stdin(Stdio::from(socket)))
    };
    let nowhere = error(server_args(&files, "127.0.0.1:1", &["--no-listen"]), "");
    assert!(
        nowhere.contains("give --listen, or pass a socket by LISTEN_FDS"),
        "{nowhere}"
    );
    let pass = "exec 3<&0 4<&0; export LISTEN_FDS=";
    let both = error(
        server_args(&files, "127.0.0.1:1", &[]),
        &format!("{pass}1;"),
    );
    assert!(both.contains("leave one of them out"), "{both}");
    let two = server_args(&files, "127.0.0.1:1", &["--no-listen"]);
    let two = error(two, &format!("{pass}2;"));
    assert!(two.contains("2 sockets"), "{two}");
}

#[test]
fn systemd_is_told_of_readiness_reloads_and_the_stop() {
    let files = Files::new();
    let systemd = Systemd::new(&files);
    let mut server = systemd.start(server_args(&files, &Service::echo(), &[]));
    systemd.is_told("READY=1");
    // It accepts by then.
    let client = start_client(&files, &server.address, &[]);
    echoes(&mut *connect(&client.address)).unwrap();
    server.signal("HUP");
    systemd.is_told("RELOADING=1\nMONOTONIC_USEC=");
    systemd.is_told("READY=1");
    server.stop();
    systemd.is_told("STOPPING=1");
}

#[test]
fn the_unit_files_are_accepted_by_systemd() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let files = Files::new();
    let mut paths = Vec::new();
    for unit in fs::read_dir(units).unwrap() {
        let unit = unit.unwrap().path();
        let content = fs::read_to_string(&unit).unwrap();
        // The program is not installed where the units expect it.
        let content = content.replace("/usr/bin/countersign", env!("CARGO_BIN_EXE_countersign"));
        let name = unit.file_name().unwrap().to_str().unwrap();
        files.write(name, &content);
        paths.push(files.path(name));
    }
    assert_eq!(paths.len(), 4);
    let mut verify = Command::new("systemd-analyze");
    match verify.arg("verify").args(&paths).output() {
        Ok(output) => {
            let errors = String::from_utf8(output.stderr).unwrap();
            let about_units = errors.contains("countersign-tunnel");
            assert!(output.status.success() && !about_units, "{errors}");
        }
        Err(error) => assert_eq!(
            error.kind(),
            ErrorKind::NotFound,
            "systemd-analyze is optional"
        ),
    }
}
