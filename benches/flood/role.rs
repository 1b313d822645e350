//! The processes of the bench.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, fs, io, thread};

const ROOT: u32 = 0;
/// A user that needs no entry in the list of users, and under which nothing else runs.
const NOBODY_ELSE: u32 = 54_324;

/// What a process may have.
#[derive(Clone, Copy)]
pub enum Limit {
    /// The usual soft limit of descriptors.
    Usual,
    /// The same, and so many threads.
    Threads(u32),
    /// As many descriptors as the system lets it have.
    Raised,
}

impl Limit {
    /// Returns a command that runs its arguments.
    fn command(self) -> Command {
        const DESCRIPTORS: &str = "--nofile=1024:1024";
        match self {
            Self::Raised => {
                let mut command = Command::new("sh");
                command.args(["-c", "ulimit -n \"$(ulimit -Hn)\" && exec \"$0\" \"$@\""]);
                command
            }
            Self::Usual => {
                let mut command = Command::new("prlimit");
                command.arg(DESCRIPTORS);
                command
            }
            Self::Threads(threads) => {
                let threads = format!("--nproc={threads}:{threads}");
                // The system counts the threads of a user, and does not limit root.
                if fs::metadata("/proc/self").unwrap().uid() == ROOT {
                    let mut command = Command::new("prlimit");
                    command.args([DESCRIPTORS, &threads]);
                    command.uid(NOBODY_ELSE).gid(NOBODY_ELSE);
                    command
                } else {
                    let mut command = Command::new("unshare");
                    command.args(["--user", "prlimit", DESCRIPTORS, &threads]);
                    command
                }
            }
        }
    }
}

/// A process with one of the roles. Dropping it ends the process.
pub struct Role {
    process: Child,
    said: BufReader<ChildStdout>,
    /// Closing it ends a process that does not end by itself.
    life: Option<ChildStdin>,
}

impl Role {
    pub fn start(limit: Limit, arguments: &[String]) -> Self {
        let mut process = limit
            .command()
            .arg(env::current_exe().unwrap())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            said: BufReader::new(process.stdout.take().unwrap()),
            life: process.stdin.take(),
            process,
        }
    }

    /// Returns the next line that the process prints.
    pub fn says(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().into()
    }

    /// Waits until the process ends by itself, and returns what it printed.
    pub fn ends(mut self) -> String {
        let mut said = String::new();
        self.said.read_to_string(&mut said).unwrap();
        assert!(self.process.wait().unwrap().success());
        said
    }

    /// Like [`ends`](Self::ends), for a process that ends when it is told to.
    pub fn told_to_end(mut self) -> String {
        drop(self.life.take());
        self.ends()
    }

    /// Returns a number of the process's status: a count, or a size in KiB.
    pub fn status(&self, field: &str) -> usize {
        status(self.process.id(), field)
    }

    pub fn descriptors(&self) -> usize {
        let directory = format!("/proc/{}/fd", self.process.id());
        fs::read_dir(directory).unwrap().count()
    }

    pub fn watch_threads(&self) -> Threads {
        let most = Arc::new(AtomicUsize::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let (id, theirs, ends) = (self.process.id(), most.clone(), over.clone());
        let watch = thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                theirs.fetch_max(status(id, "Threads:"), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(10));
            }
        });
        Threads { most, over, watch }
    }
}

fn status(id: u32, field: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(field));
    let number = value.unwrap().split_whitespace().next().unwrap();
    number.parse().unwrap()
}

impl Drop for Role {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The number of threads of a process, which is watched.
pub struct Threads {
    most: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    watch: thread::JoinHandle<()>,
}

impl Threads {
    /// Returns the most that there were.
    pub fn most(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        self.watch.join().unwrap();
        self.most.load(Ordering::Relaxed)
    }
}

/// Waits until the process that started this one closes its standard input.
pub fn until_closed() {
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}
