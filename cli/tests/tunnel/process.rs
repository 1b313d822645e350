//! The two ends of a tunnel as processes.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType};
use tempfile::TempDir;

/// How long a test waits. Only a program that hangs takes so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
pub const OTHER: &str = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A process that has said where it listens.
pub struct Process {
    child: Child,
    pub address: String,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

impl Process {
    pub fn start<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Self {
        Self::spawn(tunnel().args(args))
    }

    /// Starts it in a shell, after these commands.
    pub fn start_after<A: AsRef<OsStr>>(commands: &str, args: impl IntoIterator<Item = A>) -> Self {
        let mut shell = shell(commands);
        Self::spawn(shell.args(args))
    }

    /// Starts it, and leaves its log to [`read_log`](Self::read_log).
    pub fn start_unread<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Self {
        let mut process = Self::begin(tunnel().args(args));
        process.read_address();
        process
    }

    /// Starts a command that prints where it listens.
    pub fn spawn(command: &mut Command) -> Self {
        let mut process = Self::begin(command);
        process.read_log();
        process.read_address();
        process
    }

    fn begin(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self {
            child: command.spawn().unwrap(),
            address: String::new(),
            log: Arc::default(),
        }
    }

    /// Reads the log from now on.
    pub fn read_log(&mut self) {
        let stderr = BufReader::new(self.child.stderr.take().unwrap());
        let log = Arc::clone(&self.log);
        thread::spawn(move || {
            for line in stderr.lines() {
                log.push(Some(line.unwrap()));
            }
            log.push(None);
        });
    }

    fn read_address(&mut self) {
        let mut line = String::new();
        let stdout = self.child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").unwrap_or_else(|| {
            let log = self.log.wait(PATIENCE, |_, ended| ended);
            panic!("no address but {line:?}: {log:#?}");
        });
        self.address = address.trim_end().into();
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let kill = Command::new("kill")
            .args([&format!("-{name}"), &self.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
    }

    /// Waits until the process has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status,
                None if Instant::now() > end => panic!("it goes on: {:#?}", self.lines()),
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.wait().signal(), Some(9));
    }

    /// Sends SIGTERM, and waits for an end without an error.
    pub fn stop(&mut self) {
        self.signal("TERM");
        assert!(self.wait().success(), "{:#?}", self.lines());
    }

    pub fn lines(&self) -> Vec<String> {
        self.log.lines.lock().unwrap().0.clone()
    }

    /// Waits for a line of the log that has all of these parts, and returns it.
    #[track_caller]
    pub fn logs(&self, parts: &[&str]) -> String {
        self.logs_times(1, parts)
    }

    /// Waits for this many such lines, and returns the last one.
    #[track_caller]
    pub fn logs_times(&self, times: usize, parts: &[&str]) -> String {
        self.logs_within(PATIENCE, times, parts)
    }

    #[track_caller]
    pub fn logs_within(&self, time: Duration, times: usize, parts: &[&str]) -> String {
        let has_all = |line: &&String| parts.iter().all(|part| line.contains(part));
        let nth = |lines: &[String]| lines.iter().filter(has_all).nth(times - 1).cloned();
        let lines = self
            .log
            .wait(time, |lines, ended| ended || nth(lines).is_some());
        nth(&lines).unwrap_or_else(|| panic!("not {times} lines have {parts:?}: {lines:#?}"))
    }

    /// The most memory that it ever had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let (_, rest) = status.split_once("VmHWM:").unwrap();
        let kib: u64 = rest.split_whitespace().next().unwrap().parse().unwrap();
        kib * 1024
    }
}

impl Log {
    fn push(&self, line: Option<String>) {
        let mut lines = self.lines.lock().unwrap();
        match line {
            Some(line) => lines.0.push(line),
            None => lines.1 = true,
        }
        self.more.notify_all();
    }

    /// Returns all lines once this is true of them, or when it has taken too long.
    fn wait(&self, time: Duration, until: impl Fn(&[String], bool) -> bool) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        let waited = self
            .more
            .wait_timeout_while(lines, time, |lines| !until(&lines.0, lines.1));
        waited.unwrap().0.0.clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and that is fine too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn tunnel() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_countersign"));
    program.arg("tunnel");
    program
}

/// A shell that runs these commands, and then becomes the program.
pub fn shell(commands: &str) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{commands} exec \"$0\" tunnel \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_countersign"));
    shell
}

/// Runs a command to its end, which is an error, and returns what it says. One that goes on is killed.
#[track_caller]
pub fn error_of(command: &mut Command) -> String {
    let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let end = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() && Instant::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
    // One that has ended cannot be killed.
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    error
}

/// A directory with keys and sockets, which ends with its test.
pub struct Files(TempDir);

impl Files {
    /// With a directory `keys` that has one for `worker-7`.
    pub fn new() -> Self {
        let files = Self(TempDir::new().unwrap());
        let mut builder = DirBuilder::new();
        builder.mode(0o700).create(files.path("keys")).unwrap();
        files.write("keys/worker-7.key", SECRET);
        files
    }

    pub fn path(&self, name: &str) -> String {
        let path = self.0.path().join(name);
        path.into_os_string().into_string().unwrap()
    }

    /// Writes a file that only its owner may read, beside and then in place.
    pub fn write(&self, name: &str, content: &str) {
        let beside = self.path("new");
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&beside).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        fs::rename(beside, self.path(name)).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }
}

/// Both ends, and the files that they use.
pub struct Tunnel {
    pub client: Process,
    pub server: Process,
    pub files: Files,
}

impl Tunnel {
    /// To a service at this address.
    pub fn to(service: &str) -> Self {
        Self::with(service, &[], &[])
    }

    pub fn with(service: &str, client: &[&str], server: &[&str]) -> Self {
        let files = Files::new();
        let server = start_server(&files, service, server);
        let client = start_client(&files, &server.address, client);
        Self {
            client,
            server,
            files,
        }
    }
}

/// Connects from an address that no honest client has. Strangers who share the source of an honest
/// client can have it evicted if they come fast enough; these cannot.
pub fn connect_stranger(address: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 9], 0))).unwrap();
    rustix::net::connect(&socket, &address).unwrap();
    socket.into()
}

pub fn start_server(files: &Files, service: &str, more: &[&str]) -> Process {
    Process::start(server_args(files, service, more))
}

pub fn server_args(files: &Files, service: &str, more: &[&str]) -> Vec<String> {
    let keys = files.path("keys");
    args(["server", "--to", service, "--key-dir", &keys], more)
}

pub fn start_client(files: &Files, server: &str, more: &[&str]) -> Process {
    Process::start(client_args(files, server, more))
}

pub fn client_args(files: &Files, server: &str, more: &[&str]) -> Vec<String> {
    let key = files.path("keys/worker-7.key");
    let base = [
        "client",
        "--to",
        server,
        "--key-file",
        &key,
        "--key-id",
        "worker-7",
    ];
    args(base, more)
}

/// At a port that the system chooses, unless an address is given.
fn args<const N: usize>(base: [&str; N], more: &[&str]) -> Vec<String> {
    let port: &[&str] = if more.contains(&"--listen") || more.contains(&"--no-listen") {
        &[]
    } else {
        &["--listen", "127.0.0.1:0"]
    };
    let more = more.iter().filter(|arg| **arg != "--no-listen");
    base.iter()
        .chain(port)
        .chain(more)
        .map(|arg| (*arg).to_owned())
        .collect()
}
