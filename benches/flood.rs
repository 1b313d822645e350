//! Measures whether honest clients still get in while attackers flood the listeners with silent
//! connections, and how much memory such a connection costs.
//!
//! For each listener, with a cap of 1,024 and defaults otherwise:
//!
//! - 1,000 silent connections a second. Every honest login has to succeed at the first try, or
//!   this program fails.
//! - As many silent connections as two processes can open. That is more than the queue of the
//!   listening socket holds, with any listener. A client that finds the queue full tries again
//!   after a second.
//! - 1,000 silent connections over std and 5,000 over tokio that stay open, in a separate server:
//!   the resident memory of its process before and after. This is without the kernel's memory.
//!
//! Server, attackers and honest clients are separate processes, all on this machine, and the
//! attackers come from 200 addresses of its loopback interface. So they share the processor:
//! clients on other machines are faster than these. The bench needs Linux, and a hard limit of
//! about 6,000 file descriptors (`ulimit -Hn`).

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed bench panics"
)]

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdTcpListener};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fmt, fs, thread};

use countersign::tokio::{Client, Listener};
use countersign::{Key, ListenerOptions, Server};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{interval, sleep, timeout};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", kind, cap, deadline] => serve(kind, number(cap), seconds(deadline)),
        ["attack", address, nth, rate, time] => {
            attack(
                address.parse().unwrap(),
                number(nth),
                number(rate),
                seconds(time),
            );
        }
        ["hold", address, count] => hold(address.parse().unwrap(), number(count)),
        ["log-in", address, time] => log_in(address.parse().unwrap(), seconds(time)),
        // The process that starts the others.
        [..] => return conduct(&Plan::new(arguments.contains(&"--bench"))),
    }
    ExitCode::SUCCESS
}

fn number(argument: &str) -> u32 {
    argument.parse().unwrap()
}

fn seconds(argument: &str) -> Duration {
    Duration::from_secs(argument.parse().unwrap())
}

const CAP: u32 = 1024;
const RATE: u32 = 1000;
const AS_MANY_AS_CAN_BE: u32 = 0;
const ATTACKERS: u32 = 2;
/// The deadline of a listener, in seconds: the default, and one that is never reached.
const DEADLINE: &str = "10";
const ENDLESS: &str = "600";

/// The deadline of an honest client.
const PATIENCE: Duration = Duration::from_secs(10);
const CLIENTS: u32 = 4;
/// The pause between two logins of one client. All clients together log in up to 50 times a second.
const PAUSE: Duration = Duration::from_millis(80);

/// The extent of the bench: under `cargo bench` enough to measure, and otherwise enough to show that
/// the bench works.
struct Plan {
    measures: bool,
    /// The seconds that a flood lasts, the first of them to reach the cap, and the seconds in which
    /// clients then log in.
    flood: u32,
    fills: u32,
    logins: u32,
    held: [(&'static str, u32); 2],
}

impl Plan {
    fn new(measures: bool) -> Self {
        let [std, tokio] = if measures { [1000, 5000] } else { [50, 100] };
        let (fills, logins) = if measures { (2, 5) } else { (0, 1) };
        Self {
            measures,
            flood: fills + logins + 1,
            fills,
            logins,
            held: [("std", std), ("tokio", tokio)],
        }
    }
}

fn conduct(plan: &Plan) -> ExitCode {
    let mut all_got_in = true;
    for (kind, held) in plan.held {
        println!("\nThe listener over {kind}");
        all_got_in &= flooded(plan, kind, RATE);
        flooded(plan, kind, AS_MANY_AS_CAN_BE);
        crowded(plan, kind, held);
    }
    if plan.measures && !all_got_in {
        println!("\nFAILED: an honest login did not succeed among {RATE} silent ones a second");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Logs in while `rate` silent connections a second flood the server. Returns whether all logins
/// succeeded.
fn flooded(plan: &Plan, kind: &str, rate: u32) -> bool {
    let mut server = Role::start(&["serve", kind, &CAP.to_string(), DEADLINE]);
    let address = server.says();
    let attackers: Vec<Role> = (0..ATTACKERS)
        .map(|nth| {
            let [nth, rate, time] = [nth, rate, plan.flood].map(|number| number.to_string());
            Role::start(&["attack", &address, &nth, &rate, &time])
        })
        .collect();
    thread::sleep(Duration::from_secs(plan.fills.into()));
    let logins = log_ins(&address, plan.logins);
    let opened = attackers.into_iter().map(|one| number(one.ends().trim()));
    println!(
        "  {} silent connections a second: {logins}",
        opened.sum::<u32>() / plan.flood
    );
    logins.failures.is_empty()
}

/// Logs in while silent connections stay open, and measures the memory of each of these.
fn crowded(plan: &Plan, kind: &str, count: u32) {
    // The cap is higher than `count`, so that no login evicts a silent connection.
    let cap = count + 100;
    let mut server = Role::start(&["serve", kind, &cap.to_string(), ENDLESS]);
    let address = server.says();
    // These logins allocate what the server needs once.
    log_ins(&address, 1);
    let before = server.resident();
    let mut holder = Role::start(&["hold", &address, &count.to_string()]);
    assert_eq!(holder.says(), "held");
    let each = (server.resident() - before) / f64::from(count);
    let logins = log_ins(&address, plan.logins);
    println!("  {count} silent connections that stay, of {each:.1} KiB each: {logins}");
}

fn log_ins(address: &str, time: u32) -> Logins {
    Logins::of(&Role::start(&["log-in", address, &time.to_string()]).ends())
}

/// A process with one of the roles. Dropping it ends the process.
struct Role {
    process: Child,
    said: BufReader<ChildStdout>,
    /// Closing it ends a process that does not end by itself.
    _life: ChildStdin,
}

impl Role {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new("sh")
            .args(["-c", "ulimit -n \"$(ulimit -Hn)\" && exec \"$0\" \"$@\""])
            .arg(env::current_exe().unwrap())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            said: BufReader::new(process.stdout.take().unwrap()),
            _life: process.stdin.take().unwrap(),
            process,
        }
    }

    /// Returns the next line that the process prints.
    fn says(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().into()
    }

    /// Waits until the process ends by itself, and returns what it printed.
    fn ends(mut self) -> String {
        let mut said = String::new();
        self.said.read_to_string(&mut said).unwrap();
        assert!(self.process.wait().unwrap().success());
        said
    }

    /// Returns the memory of the process, in KiB.
    fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
        number(kib).into()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The results of honest logins.
struct Logins {
    /// In ascending order.
    times: Vec<Duration>,
    failures: BTreeMap<String, u32>,
}

impl Logins {
    /// Parses lines that are a time in microseconds or an error.
    fn of(lines: &str) -> Self {
        let (mut times, mut failures) = (Vec::new(), BTreeMap::new());
        for line in lines.lines() {
            match line.parse() {
                Ok(micros) => times.push(Duration::from_micros(micros)),
                Err(_) => *failures.entry(line.into()).or_default() += 1,
            }
        }
        assert!(!lines.is_empty(), "no client tried to log in");
        times.sort();
        Self { times, failures }
    }

    fn percentile(&self, percent: usize) -> f64 {
        let at = (self.times.len() * percent / 100).min(self.times.len().saturating_sub(1));
        let time = self.times.get(at).copied().unwrap_or_default();
        time.as_secs_f64() * 1e3
    }
}

impl fmt::Display for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let succeeded = u32::try_from(self.times.len()).unwrap();
        let tried = succeeded + self.failures.values().sum::<u32>();
        write!(
            f,
            "{succeeded} of {tried} honest logins at the first try ({:.1} %), p50 {:.1} ms, \
             p99 {:.1} ms",
            100.0 * f64::from(succeeded) / f64::from(tried),
            self.percentile(50),
            self.percentile(99),
        )?;
        for (failure, count) in &self.failures {
            write!(f, "\n    {count} times: {failure}")?;
        }
        Ok(())
    }
}

fn key() -> Key {
    Key::new("what the server and its clients share").unwrap()
}

fn serve(kind: &str, cap: u32, deadline: Duration) {
    let options = ListenerOptions::new()
        .max_pending(cap.try_into().unwrap())
        .deadline(deadline);
    let server = Server::new(key());
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    match kind {
        "std" => {
            let socket = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = socket.local_addr().unwrap();
            let listener = countersign::Listener::with_options(socket, server, options).unwrap();
            thread::spawn(move || while listener.accept().is_ok() {});
            println!("{address}");
        }
        "tokio" => {
            runtime.spawn(async move {
                let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                let address = socket.local_addr().unwrap();
                let listener = Listener::with_options(socket, server.into(), options).unwrap();
                println!("{address}");
                while listener.accept().await.is_ok() {}
            });
        }
        other => panic!("there is no listener over {other}"),
    }
    until_closed();
}

/// Waits until the process that started this one closes its standard input.
fn until_closed() {
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Connects from one of many addresses.
async fn silent(nth: u32, address: SocketAddr) -> io::Result<TcpStream> {
    let last = u8::try_from(nth % 200).unwrap() + 2;
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
    socket.connect(address).await
}

/// Opens its share of `rate` silent connections a second, or as many as it can, and prints how many
/// it opened.
fn attack(address: SocketAddr, attacker: u32, rate: u32, time: Duration) {
    let opened = Arc::new(AtomicU32::new(0));
    let flood = async {
        let mut connections = JoinSet::new();
        if rate == AS_MANY_AS_CAN_BE {
            for slot in 0..AT_ONCE {
                connections.spawn(renew(attacker + ATTACKERS * slot, address, opened.clone()));
            }
            connections.join_next().await;
        } else {
            let mut tick = interval(Duration::from_secs(1) * ATTACKERS / rate);
            for nth in 0.. {
                tick.tick().await;
                connections.spawn(stay(attacker + ATTACKERS * nth, address, opened.clone()));
                while connections.try_join_next().is_some() {}
            }
        }
    };
    // The flood only ends by the timeout.
    let _ = runtime().block_on(async { timeout(time, flood).await });
    println!("{}", opened.load(Ordering::Relaxed));
}

/// Opens one connection and waits for its end.
async fn stay(nth: u32, address: SocketAddr, opened: Arc<AtomicU32>) {
    if let Ok(mut stream) = silent(nth, address).await {
        opened.fetch_add(1, Ordering::Relaxed);
        while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
    }
}

const AT_ONCE: u32 = 256;

/// Opens one connection after the other, and waits for the end of none: if the queue of a listening
/// socket overflows, some connections exist at this end only.
async fn renew(mut nth: u32, address: SocketAddr, opened: Arc<AtomicU32>) {
    // All attackers together hold twice as many as may be pending, so that the server evicts a
    // connection before its attacker drops it.
    const HELD: u32 = 2 * CAP / ATTACKERS / AT_ONCE;
    const SOON: Duration = Duration::from_millis(100);

    let mut held = VecDeque::new();
    loop {
        // The system repeats an unanswered attempt after a second, which is too late here.
        if let Ok(Ok(stream)) = timeout(SOON, silent(nth, address)).await {
            opened.fetch_add(1, Ordering::Relaxed);
            held.push_back(stream);
        }
        if held.len() > HELD as usize {
            held.pop_front();
        }
        nth += 1;
        yield_now().await;
    }
}

/// Opens silent connections, prints a line once the server has sent F1 to all of them, and keeps them
/// open.
fn hold(address: SocketAddr, count: u32) {
    const AT_ONCE: u32 = 50;

    let runtime = runtime();
    let held = runtime.block_on(async {
        let mut connections = JoinSet::new();
        for first in 0..AT_ONCE {
            connections.spawn(async move {
                let mut held = Vec::new();
                for nth in (first..count).step_by(AT_ONCE as usize) {
                    let mut stream = silent(nth, address).await.unwrap();
                    stream.read_exact(&mut [0; 40]).await.unwrap();
                    held.push(stream);
                }
                held
            });
        }
        let held = async { connections.join_all().await };
        timeout(3 * PATIENCE, held).await.unwrap()
    });
    println!("held");
    until_closed();
    drop(held);
}

/// Runs clients that log in repeatedly for this time. Each prints how long a login took or why it
/// failed.
fn log_in(address: SocketAddr, time: Duration) {
    runtime().block_on(async {
        let clients: JoinSet<()> = (0..CLIENTS).map(|_| client(address, time)).collect();
        clients.join_all().await;
    });
}

async fn client(address: SocketAddr, time: Duration) {
    let client = Client::new(key());
    let began = Instant::now();
    while began.elapsed() < time {
        let first = Instant::now();
        let attempt = async {
            let mut stream = TcpStream::connect(address).await?;
            let _session = client.authenticate_timeout(&mut stream, PATIENCE).await?;
            Ok::<_, io::Error>(())
        };
        match timeout(PATIENCE, attempt).await {
            Ok(Ok(())) => println!("{}", first.elapsed().as_micros()),
            Ok(Err(error)) => println!("{error}"),
            Err(_) => println!("timed out"),
        }
        sleep(PAUSE).await;
    }
}
