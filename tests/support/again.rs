//! Tests that run again in a process of their own.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{any, env, fs, thread};

const CHILD: &str = "COUNTERSIGN_TEST_IN_A_PROCESS_OF_ITS_OWN";
const LIMIT: Duration = Duration::from_secs(60);

const ROOT: u32 = 0;
/// A user that needs no entry in the list of users, and under which nothing else runs.
const NOBODY_ELSE: u32 = 54_323;

/// What a process may have.
#[derive(Clone, Copy, Debug)]
pub enum Few {
    Descriptors(usize),
    Threads(usize),
    /// As much as the process that starts it.
    Nothing,
}

impl Few {
    /// Returns a command that runs its arguments with this limit.
    fn command(self) -> Command {
        match self {
            Self::Descriptors(few) => {
                let mut command = Command::new("prlimit");
                command.arg(format!("--nofile={few}:{few}"));
                command
            }
            Self::Threads(few) => {
                let limit = format!("--nproc={few}:{few}");
                // The system counts the threads of a user, and does not limit root.
                if fs::metadata("/proc/self").unwrap().uid() == ROOT {
                    let mut command = Command::new("prlimit");
                    command.arg(limit).uid(NOBODY_ELSE).gid(NOBODY_ELSE);
                    command
                } else {
                    // In a namespace of its own, a user has no other threads.
                    let mut command = Command::new("unshare");
                    command.args(["--user", "prlimit"]).arg(limit);
                    command
                }
            }
            Self::Nothing => Command::new("env"),
        }
    }
}

/// Calls `body` in a process of its own that has few of something, and waits until it has passed.
///
/// `test` is the test that calls this.
pub fn again<T: Copy>(test: T, few: Few, body: impl FnOnce()) {
    if env::var_os(CHILD).is_some() {
        return body();
    }
    // The test harness wants the path without the name of the crate.
    let (_, name) = any::type_name_of_val(&test).split_once("::").unwrap();
    let mut child = few
        .command()
        // Another user may not be allowed to enter the directory of this program.
        .stdin(File::open(env::current_exe().unwrap()).unwrap())
        .arg("/proc/self/fd/0")
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = [
        gather(child.stdout.take().unwrap()),
        gather(child.stderr.take().unwrap()),
    ];
    let succeeded = ends(&mut child);
    let [stdout, stderr] = output.map(|output| output.join().unwrap());
    assert!(
        succeeded && stdout.contains("1 passed"),
        "{few:?}\n{stdout}\n{stderr}"
    );
}

/// Waits until the process ends, and returns whether it succeeded. It is killed if it hangs.
fn ends(child: &mut Child) -> bool {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        if began.elapsed() > LIMIT {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn gather(mut output: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
