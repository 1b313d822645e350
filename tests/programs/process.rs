//! A program that runs: its lines as they come, and its end.

use std::cell::RefCell;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for a program. Only one that hangs takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// The command that runs an example program.
///
/// # Panics
///
/// If it was not built since its sources were changed. `cargo test` builds it before the tests, but
/// does not when it is given the name of a test.
pub fn program(name: &str, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let tests = env::current_exe().unwrap();
    let build = tests.parent().and_then(Path::parent).unwrap();
    let path = (build.join("examples")).join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(
        is_up_to_date(&path),
        "{} is missing or out of date: run `cargo build --examples` with the features of this test",
        path.display()
    );
    let mut command = Command::new(path);
    command.args(args).env_remove("COUNTERSIGN_KEY_FILE");
    command
}

/// Whether the program is there and none of the sources that cargo lists for it is newer.
fn is_up_to_date(program: &Path) -> bool {
    let time = |path: &Path| path.metadata().and_then(|it| it.modified());
    let Ok(built) = time(program) else {
        return false;
    };
    let dependencies = fs::read_to_string(program.with_extension("d")).unwrap();
    let changed = |source: &str| time(Path::new(source)).is_ok_and(|changed| changed > built);
    !dependencies.split_whitespace().any(changed)
}

/// Runs an example program to its end.
pub fn run(name: &str, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ended {
    Running::start(name, &mut program(name, args)).end()
}

/// A program that is killed when this is dropped.
pub struct Running {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Running {
    /// Starts a program that puts this name before its errors.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            name: name.to_owned(),
            stdin: child.stdin.take(),
            stdout: lines(child.stdout.take().unwrap()),
            stderr: lines(child.stderr.take().unwrap()),
            child,
        }
    }

    /// Waits for the first line of a server, which has the address that it chose.
    #[track_caller]
    pub fn address(&self) -> String {
        let Ok(line) = self.stdout.recv_timeout(PATIENCE) else {
            let errors: Vec<_> = self.stderr.try_iter().collect();
            panic!("{} does not listen: {errors:?}", self.name);
        };
        let address = line.strip_prefix("listening on ");
        address.expect("a server says where it listens").to_owned()
    }

    /// Waits for the end of the program, and gives what it printed that was not read before.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        self.stdin = None;
        let stdout = rest(&self.stdout, deadline);
        let stderr = rest(&self.stderr, deadline);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Ended {
                    name: self.name.clone(),
                    status,
                    stdout,
                    stderr,
                };
            }
            assert!(Instant::now() < deadline, "{} does not end", self.name);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines on a thread, so that waiting for one can have a deadline.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

#[track_caller]
fn rest(lines: &Receiver<String>, deadline: Instant) -> String {
    let mut text = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => text.push(line),
            Err(RecvTimeoutError::Disconnected) => return text.join("\n"),
            Err(RecvTimeoutError::Timeout) => panic!("a program does not end: {text:?}"),
        }
    }
}

/// What a program printed, and how it exited.
#[derive(Debug)]
pub struct Ended {
    name: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Asserts success, and an output that matches the pattern, without errors.
    #[track_caller]
    pub fn prints(&self, pattern: &str) {
        self.succeeds(pattern, "");
    }

    /// Asserts success, and that both outputs match these patterns.
    #[track_caller]
    pub fn succeeds(&self, stdout: &str, stderr: &str) {
        let right = matches(&self.stdout, stdout) && matches(&self.stderr, stderr);
        assert!(self.status.success() && right, "{self:#?}");
    }

    /// Asserts that there was no output but one error, which matches the pattern after the name of
    /// the program.
    #[track_caller]
    pub fn fails(&self, pattern: &str) {
        let right = self.status.code() == Some(1) && self.stdout.is_empty();
        let error = self.stderr.strip_prefix(&format!("{}: ", self.name));
        let right = right && error.is_some_and(|error| matches(error, pattern));
        assert!(right, "expected {pattern:?}: {self:#?}");
    }
}

/// A server that logs to its standard error.
pub struct Server {
    pub address: String,
    running: Running,
    /// What it logged, in its order, and whether a call gave it already.
    log: RefCell<Vec<(String, bool)>>,
}

impl Server {
    /// Starts an example program on a port that the system chooses.
    #[track_caller]
    pub fn start<'a>(name: &str, args: impl IntoIterator<Item = &'a str>) -> Self {
        let listen = ["--listen", "127.0.0.1:0"];
        let mut command = program(name, listen.into_iter().chain(args));
        let running = Running::start(name, &mut command);
        Self {
            address: running.address(),
            running,
            log: RefCell::default(),
        }
    }

    /// Waits for a line of the log that matches the pattern and that no call gave before, and gives
    /// its place in the log.
    #[track_caller]
    pub fn logs(&self, pattern: &str) -> usize {
        let deadline = Instant::now() + PATIENCE;
        let mut log = self.log.borrow_mut();
        loop {
            let found = log
                .iter()
                .position(|(line, given)| !given && matches(line, pattern));
            if let Some(at) = found {
                log[at].1 = true;
                return at;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.running.stderr.recv_timeout(left) else {
                panic!("expected {pattern:?} in the log: {log:#?}");
            };
            log.push((line, false));
        }
    }

    /// Asserts that nothing was logged so far that matches the pattern.
    #[track_caller]
    pub fn has_not_logged(&self, pattern: &str) {
        let mut log = self.log.borrow_mut();
        log.extend(self.running.stderr.try_iter().map(|line| (line, false)));
        let found = log.iter().any(|(line, _)| matches(line, pattern));
        assert!(!found, "unexpected {pattern:?} in the log: {log:#?}");
    }

    /// Sends it this signal.
    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        let id = self.running.child.id().to_string();
        let status = Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(status.unwrap().success());
    }

    /// Sends a line to its standard input.
    pub fn send_line(&self) {
        let mut stdin = self.running.stdin.as_ref().expect("it is open");
        stdin.write_all(b"\n").unwrap();
    }

    /// Closes its standard input.
    pub fn close_stdin(&mut self) {
        self.running.stdin = None;
    }
}

/// Whether the pattern is the text, with any characters in the place of each `*`.
pub fn matches(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut text) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return text.is_empty();
    };
    for part in parts {
        let Some((_, after)) = text.split_once(part) else {
            return false;
        };
        text = after;
    }
    text.ends_with(last)
}

#[test]
fn a_pattern_is_the_text_with_stars_for_any_part_of_it() {
    for pattern in ["abcd", "*", "a*", "*d", "a*d", "a*b*d", "*b*", "abcd*"] {
        assert!(matches("abcd", pattern), "{pattern}");
    }
    for pattern in ["", "abc", "bcd", "*c", "b*", "a*c", "d*a", "*ba*", "abcd*d"] {
        assert!(!matches("abcd", pattern), "{pattern}");
    }
}
