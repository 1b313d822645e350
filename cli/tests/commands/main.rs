//! The commands that need no tunnel, run as processes: what they print, how they exit, and which
//! files they leave.
#![allow(
    missing_docs,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod check;
mod fingerprint;
mod help;
mod keygen;
mod rotate;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::process::{Command, Output};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// How long a test waits for the program. Only one that hangs takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A secret, a child of it and its fingerprint, from the worked example of PROTOCOL.md.
const MASTER: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const CHILD: &str = "eb2fc02b2d16370b2701cecfb83ba8021018ea4aaf813843c5adfe83135dabf5";
const FINGERPRINT_OF_MASTER: &str = "4bf4cb66";

/// What the program printed, and how it exited. There is no status after a signal.
#[derive(Debug)]
struct Ended {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_countersign"))
}

fn run<'a>(args: impl IntoIterator<Item = &'a str>) -> Ended {
    end(program().args(args))
}

/// Runs a command to its end.
fn end(command: &mut Command) -> Ended {
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        scope.spawn(move || sender.send(command.output()));
        let output = receiver.recv_timeout(PATIENCE);
        let Output {
            status,
            stdout,
            stderr,
        } = output.expect("the program ends").unwrap();
        Ended {
            status: status.code(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    })
}

impl Ended {
    /// Asserts success and what was printed, with nothing on standard error.
    #[track_caller]
    fn prints(&self, stdout: &str) {
        let right = self.status == Some(0) && self.stdout == stdout && self.stderr.is_empty();
        assert!(right, "expected {stdout:?}: {self:#?}");
    }

    /// Asserts this exit status, and one line on standard error that has these parts.
    #[track_caller]
    fn fails(&self, status: i32, parts: &[&str]) {
        let line = self.stderr.strip_prefix("countersign: ").unwrap_or("");
        let right = self.status == Some(status) && line.trim_end().lines().count() == 1;
        let has_all = parts.iter().all(|part| line.contains(part));
        assert!(right && has_all, "expected {status}, {parts:?}: {self:#?}");
    }

    /// Asserts that neither output has a part of this secret.
    #[track_caller]
    fn keeps(&self, secret: &str) {
        for part in secret.as_bytes().windows(12) {
            let part = str::from_utf8(part).unwrap();
            let shown = self.stdout.contains(part) || self.stderr.contains(part);
            assert!(!shown, "{self:#?}");
        }
    }
}

/// The files of a test, in a directory that only its owner may enter.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> String {
        let path = self.0.path().join(name);
        path.into_os_string().into_string().unwrap()
    }

    /// Writes a file that only its owner may read, and gives its path.
    fn write(&self, name: &str, content: &str) -> String {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(self.path(name)).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        self.path(name)
    }

    /// Makes a directory that only its owner may write, and gives its path.
    fn directory(&self, name: &str) -> String {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(self.path(name)).unwrap();
        self.path(name)
    }

    /// The names of all files, in their order.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Runs the program in a shell, after these commands of it.
#[cfg(unix)]
fn run_after<'a>(commands: &str, args: impl IntoIterator<Item = &'a str>) -> Ended {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{commands} exec \"$0\" \"$@\"")])
        .arg(program().get_program())
        .args(args);
    end(&mut shell)
}

/// A limit on the size of files stands for a disk that is full.
#[cfg(unix)]
const DISK_IS_FULL: &str = "trap '' XFSZ; ulimit -f 0;";

/// The same limit ends the program in the middle of its work, after it has made its file.
#[cfg(unix)]
const KILLED_MEANWHILE: &str = "ulimit -c 0; ulimit -f 0;";
