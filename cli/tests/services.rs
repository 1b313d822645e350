//! Services of Debian behind the tunnel, with their own clients: Redis and `PostgreSQL`.
#![cfg(unix)]
#![allow(
    missing_docs,
    missing_debug_implementations,
    dead_code,
    clippy::indexing_slicing,
    clippy::match_bool,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed, and what the tests of the tunnel share is not all used"
)]

#[path = "tunnel/process.rs"]
mod process;

use std::collections::VecDeque;
use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use process::{Files, PATIENCE, Process, Tunnel, client_args, connect_stranger, server_args};
use tempfile::TempDir;

/// A program of a Debian package that has to be there.
fn program(name: &str, package: &str) -> Command {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut directories: Vec<PathBuf> = versions
        .map(|version| version.unwrap().path().join("bin"))
        .collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    directories.extend(std::env::split_paths(&path));
    let found = directories
        .iter()
        .map(|it| it.join(name))
        .find(|it| it.is_file());
    let Some(found) = found else {
        panic!("{name} is not installed: apt-get install {package}");
    };
    Command::new(found)
}

/// Runs a program to its end, and returns what it printed.
#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{command:?}: {stdout}{stderr}");
    stdout
}

/// A port that was free a moment ago: these services cannot tell which one the system chose.
fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

/// A service that ends with its test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGTERM, so that PostgreSQL also ends its own processes.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn wait_until(mut ready: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !ready() {
        assert!(Instant::now() < end, "the service does not start");
        thread::sleep(Duration::from_millis(50));
    }
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}

/// Redis at a Unix socket and at a port.
fn redis(files: &Files) -> (Daemon, String) {
    let port = free_port();
    let mut server = program("redis-server", "redis-server");
    server.args(["--port", &port, "--bind", "127.0.0.1", "--save", ""]);
    server.args([
        "--unixsocket",
        &files.path("redis"),
        "--dir",
        &files.path(""),
    ]);
    let daemon = Daemon(server.stdout(Stdio::null()).spawn().unwrap());
    let address = format!("127.0.0.1:{port}");
    wait_until(|| TcpStream::connect(&address).is_ok());
    (daemon, address)
}

fn redis_cli(args: &[&str]) -> String {
    output(program("redis-cli", "redis-tools").args(args))
}

/// A command as a user types it in a directory, with this address in the place of the guide's.
fn typed(command: &str, [guide, address]: [&str; 2], directory: &TempDir) -> Command {
    assert!(command.contains(guide), "{guide} in {command}");
    let programs = Path::new(env!("CARGO_BIN_EXE_countersign")).parent();
    let programs = programs.unwrap().display();
    let command = command.replace(guide, address);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("PATH='{programs}':$PATH; {command}")]);
    shell.current_dir(directory);
    shell
}

#[test]
fn redis_works_by_the_commands_of_the_guide() {
    const SAME: [&str; 2] = [""; 2];

    let guide = include_str!("../../src/guide/tunnel.md");
    let (_, section) = guide.split_once("\n## Redis").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let blocks = section.split("```text\n").skip(1);
    let commands = blocks.flat_map(|block| block.split_once("\n```").unwrap().0.lines());
    let commands: Vec<_> = commands.collect();
    let [keygen, redis, server, check, client, ping] = commands[..] else {
        panic!("other commands than in this test: {commands:#?}");
    };

    let (there, here) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    output(&mut typed(keygen, SAME, &there));
    let mut redis = typed(&format!("exec {redis}"), SAME, &there);
    let _redis = Daemon(redis.stdout(Stdio::null()).spawn().unwrap());
    wait_until(|| UnixStream::connect(there.path().join("redis.sock")).is_ok());
    let port = ["0.0.0.0:7000", "127.0.0.1:0"];
    let server = Process::spawn(&mut typed(&format!("exec {server}"), port, &there));

    let key = "worker-7.key";
    fs::copy(there.path().join("keys").join(key), here.path().join(key)).unwrap();
    let port = ["redis.internal:7000", &server.address];
    output(&mut typed(check, port, &here));
    let _client = Process::spawn(&mut typed(&format!("exec {client}"), port, &here));
    assert_eq!(output(&mut typed(ping, SAME, &here)), "PONG\n");
}

#[test]
fn redis_works_through_the_tunnel_over_tcp_and_unix_sockets() {
    let files = Files::new();
    let (_redis, address) = redis(&files);
    let unix = format!("unix:{}", files.path("redis"));
    let plain = format!("unix:{}", files.path("plain"));
    for (to, listen) in [(&address, "127.0.0.1:0"), (&unix, plain.as_str())] {
        let tunnel = Tunnel::with(to, &["--listen", listen], &[]);
        let at = match tunnel.client.address.strip_prefix("unix:") {
            Some(path) => ["-s", path],
            None => ["-p", port(&tunnel.client.address)],
        };
        let cli = |args: &[&str]| redis_cli(&[&at, args].concat());
        assert_eq!(cli(&["ping"]), "PONG\n");
        // A value of 1 MiB, out and back.
        let big = files.path("big");
        fs::write(&big, "0123456789abcdef".repeat(1 << 16)).unwrap();
        let mut set = program("redis-cli", "redis-tools");
        set.args(at)
            .args(["-x", "set", "big"])
            .stdin(fs::File::open(&big).unwrap());
        assert!(set.output().unwrap().status.success());
        assert_eq!(
            cli(&["get", "big"]).trim_end(),
            fs::read_to_string(&big).unwrap()
        );

        let mut benchmark = program("redis-benchmark", "redis-tools");
        benchmark
            .args(at)
            .args(["-n", "4000", "-c", "50", "-P", "4", "--csv"]);
        let results = output(benchmark.args(["-t", "set,get,lpush,lrange_100"]));
        assert!(results.contains("\"GET\""), "{results}");
    }
}

#[test]
fn redis_works_while_5000_strangers_are_silent_and_others_flood_the_port() {
    let files = Files::new();
    let (_redis, address) = redis(&files);
    let few = "ulimit -n 1024;";
    let server = Process::start_after(few, server_args(&files, &address, &[]));
    let client = Process::start_after(few, client_args(&files, &server.address, &[]));
    let public = server.address.parse().unwrap();
    let done = &AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut silent = VecDeque::new();
            for _ in 0..5000 {
                silent.push_back(connect_stranger(public));
                // The server has evicted the first of so many.
                if silent.len() > 600 {
                    silent.pop_front();
                }
            }
            // The flood: each waits for the challenge and goes.
            while !done.load(Ordering::Relaxed) {
                let mut stranger = connect_stranger(public);
                stranger.set_read_timeout(Some(PATIENCE)).unwrap();
                let _ = stranger.read(&mut [0; 40]);
            }
        });
        let mut benchmark = program("redis-benchmark", "redis-tools");
        benchmark.args(["-p", port(&client.address), "-t", "get", "-k", "0", "--csv"]);
        // Without -k, each request has a connection of its own.
        let results = output(benchmark.args(["-n", "500", "-c", "5"]));
        done.store(true, Ordering::Relaxed);
        assert!(results.contains("\"GET\""), "{results}");
    });
    assert_eq!(redis_cli(&["-p", port(&client.address), "ping"]), "PONG\n");
    let cut = client
        .lines()
        .into_iter()
        .find(|line| line.contains("WARN"));
    assert_eq!(cut, None);
}

/// A cluster of `PostgreSQL`, which refuses to run as root.
fn postgres(files: &Files) -> (Daemon, String) {
    let directory = files.path("postgres");
    fs::create_dir(&directory).unwrap();
    let data = format!("{directory}/data");
    let root = output(Command::new("id").arg("-u")) == "0\n";
    let as_user = |command: &Command| {
        if !root {
            let mut same = Command::new(command.get_program());
            same.args(command.get_args());
            return same;
        }
        let mut user = Command::new("setpriv");
        user.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        user.arg(command.get_program())
            .args(command.get_args())
            .current_dir("/");
        user
    };
    if root {
        output(Command::new("chown").args(["postgres", &directory]));
        output(Command::new("chmod").args(["o+x", &files.path("")]));
    }
    let mut init = program("initdb", "postgresql");
    init.args([
        "-D",
        &data,
        "-U",
        "test",
        "--auth=trust",
        "--no-sync",
        "--encoding=UTF8",
    ]);
    output(&mut as_user(&init));
    let port = free_port();
    let mut server = program("postgres", "postgresql");
    server.args([
        "-D",
        &data,
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-k",
        &directory,
    ]);
    server.args(["-c", "fsync=off", "-c", "max_connections=50"]);
    let mut server = as_user(&server);
    let daemon = Daemon(
        server
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    wait_until(|| {
        let mut ready = program("pg_isready", "postgresql");
        let ready = ready.args(["-h", "127.0.0.1", "-p", &port]);
        ready.output().unwrap().status.success()
    });
    (daemon, format!("127.0.0.1:{port}"))
}

#[test]
fn a_rotation_during_20_seconds_of_pgbench_cuts_and_refuses_nobody() {
    let files = Files::new();
    let (_postgres, address) = postgres(&files);
    let tunnel = Tunnel::to(&address);
    let key = tunnel.files.path("keys/worker-7.key");
    tunnel.files.write("mine.key", process::SECRET);
    let mine = tunnel.files.path("mine.key");
    let to = [
        "client",
        "--listen",
        "127.0.0.1:0",
        "--to",
        &tunnel.server.address,
    ];
    let client = Process::start([&to[..], &["--key-file", &mine, "--key-id", "worker-7"]].concat());
    let pgbench = |args: &[&str]| {
        let mut pgbench = program("pgbench", "postgresql");
        pgbench.args(["-h", "127.0.0.1", "-p", port(&client.address), "-U", "test"]);
        pgbench.args(args).arg("postgres");
        pgbench
    };
    output(&mut pgbench(&["-i", "-q", "-s", "1"]));
    thread::scope(|scope| {
        let steady = scope.spawn(|| output(&mut pgbench(&["-T", "20", "-c", "4", "-n"])));
        // Each transaction has a connection of its own, and so a handshake.
        let reconnecting =
            scope.spawn(|| output(&mut pgbench(&["-T", "20", "-c", "2", "-C", "-S", "-n"])));
        for step in ["add", "promote", "client", "drop"] {
            thread::sleep(Duration::from_secs(4));
            if step == "client" {
                let content = fs::read_to_string(&key).unwrap();
                tunnel
                    .files
                    .write("mine.key", content.lines().next().unwrap());
                client.signal("HUP");
                client.logs(&["key read again: it was "]);
            } else {
                let mut rotate = Command::new(env!("CARGO_BIN_EXE_countersign"));
                output(rotate.args(["rotate", &key, step]));
                tunnel.server.signal("HUP");
            }
        }
        for result in [steady, reconnecting] {
            let result = result.join().unwrap();
            assert!(
                result.contains("number of failed transactions: 0 "),
                "{result}"
            );
        }
    });
    for line in [tunnel.server.lines(), client.lines()].concat() {
        assert!(!line.contains("WARN") && !line.contains("ERROR"), "{line}");
    }
    let reloads = tunnel.server.lines();
    let reloads = reloads
        .iter()
        .filter(|line| line.contains("changed \"worker-7\""))
        .count();
    assert_eq!(reloads, 3);
}
