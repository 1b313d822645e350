//! Two servers behind a load balancer, and several hundred clients that keep logging in, each with
//! an id and a secret of its own. Meanwhile all secrets are rotated and one server is killed.
//! `tests/fleet/run` runs this with `HAProxy` as the balancer.
//!
//! The exit status is 0 only if no honest login is refused, no client's id ever changes, nobody gets
//! in with an old secret after its removal, and the servers tell the balancer's health checks from
//! all else. A login that is cut because its server is killed is not a refusal, and its client tries
//! again. The balancer's log shows that it was this server.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::SocketAddr;
use std::ops::Range;
#[cfg(unix)]
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fmt, fs, process, thread};

use countersign::handshake::{self, Message, Refusal};
use countersign::tokio::{Client, Listener, Server};
use countersign::{
    Error, Key, Keyring, ListenerOptions, Matched, Outcome, Phase, Secret, Session, generate_secret,
};
use lexopt::{Arg, Parser, ValueExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "\
usage: fleet server --listen ADDR --key-dir DIR
       fleet drive --connect ADDR --server ADDR --server ADDR --dir DIR --log FILE

`drive` starts a server at each --server. Its clients connect to --connect, where a balancer
forwards them to the servers. When a connection ends, the balancer writes a line `login PORT
MILLISECONDS SERVER` to --log: the client's port, when it was accepted, and the address of the
server. --dir is an empty directory for the key directories.";

const SERVICE: &str = "fleet/1";
/// What a client asks once it has authenticated. The server answers with the key id.
const QUESTION: &[u8] = b"who am I?\n";
const CLIENTS: usize = 300;
/// How long a client pauses between two logins, on average.
const PAUSE: Duration = Duration::from_millis(250);
/// The time for a handshake or an answer at either end. Only one that hangs takes so long.
const DEADLINE: Duration = Duration::from_secs(10);
/// How many clients get their new key file only after the servers prefer the new secrets.
const LATE: usize = 20;
/// How many logins with removed secrets are tried at each address.
const PROBES: usize = 500;
const SECOND: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("fleet: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut parser = Parser::from_env();
    let mut role = None;
    let mut options: HashMap<String, Vec<String>> = HashMap::new();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("help") => {
                println!("{USAGE}");
                return Ok(());
            }
            Arg::Long(name) => {
                let name = name.to_owned();
                let value = parser.value()?.string()?;
                options.entry(name).or_default().push(value);
            }
            Arg::Value(value) if role.is_none() => role = Some(value.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let all = |name| options.get(name).map(Vec::as_slice).unwrap_or_default();
    let one = |name| match all(name) {
        [value] => Ok(value.as_str()),
        _ => Err(format!("give one --{name}\n{USAGE}")),
    };
    match role.as_deref() {
        Some("server") => serve(one("listen")?.parse()?, Path::new(one("key-dir")?)),
        Some("drive") => {
            let [a, b] = all("server") else {
                return Err(format!("give two of --server\n{USAGE}").into());
            };
            let balancer = one("connect")?.parse()?;
            let directory = Path::new(one("dir")?);
            let log = Path::new(one("log")?);
            drive(balancer, [a.parse()?, b.parse()?], directory, log)
        }
        _ => Err(USAGE.into()),
    }
}

// A server.

/// Tells authenticated clients their key ids. Each line on standard input is a command, whose answer
/// is a line on standard output. The server ends when its input does, and so with its driver.
#[tokio::main(flavor = "current_thread")]
async fn serve(address: SocketAddr, key_dir: &Path) -> Result<(), Failure> {
    // Kubernetes mounts secrets with mode 0644 by default.
    let ring = Keyring::from_shared_dir(key_dir)?;
    let counts = Arc::new(Mutex::new(Counts::default()));
    let options = ListenerOptions::new()
        .deadline(DEADLINE)
        // More than there are clients. After a stall of the machine all of them may be pending, and
        // none of them must be evicted.
        .max_pending(1024)
        .on_event({
            let counts = Arc::clone(&counts);
            move |event| {
                if !lock(&counts).take(&event.outcome) {
                    eprintln!("{address}: {event}");
                }
            }
        });
    let server = Server::new(ring.clone()).service(SERVICE)?;
    let listener = Listener::bind_with_options(address, server, options).await?;
    println!("listening");
    thread::spawn(move || obey(&ring, &counts));
    loop {
        let (mut stream, session) = listener.accept().await?;
        tokio::spawn(async move {
            let answer = answer_to(&session);
            let mut question = [0; QUESTION.len()];
            // If it fails, the client reports it.
            while stream.read_exact(&mut question).await.is_ok() {
                stream.write_all(&answer).await?;
            }
            Ok::<_, io::Error>(())
        });
    }
}

fn answer_to(session: &Session) -> Vec<u8> {
    [session.key_id().as_bytes(), b"\n"].concat()
}

fn obey(ring: &Keyring, counts: &Mutex<Counts>) {
    for command in io::stdin().lines().map_while(Result::ok) {
        match command.as_str() {
            "reload" => match ring.reload() {
                Ok(reloaded)
                    if reloaded.changed.len() == CLIENTS && ring.ids().len() == CLIENTS =>
                {
                    println!("changed");
                }
                Ok(reloaded) => println!("reloaded otherwise: {reloaded}"),
                Err(error) => println!("not reloaded: {error}"),
            },
            "counts" => println!("{}", lock(counts).to_line()),
            _ => println!("no such command"),
        }
    }
    process::exit(0);
}

/// How a server's connections ended.
#[derive(Clone, Copy, Default)]
struct Counts {
    /// Clients that used the first secret of their id.
    first: usize,
    /// Clients that used the accepted secret of their id.
    second: usize,
    /// Clients with a known key id and a wrong proof.
    denied: usize,
    /// Connections that closed before sending anything, as health checks do.
    silent: usize,
    /// Everything else, which should not happen.
    others: usize,
}

impl Counts {
    /// Counts an outcome, and returns whether it may happen.
    fn take(&mut self, outcome: &Outcome) -> bool {
        let count = match outcome {
            Outcome::Accepted { matched, .. } => match matched {
                Matched::First => &mut self.first,
                Matched::Accepted => &mut self.second,
            },
            Outcome::Refused(Error::Handshake(handshake::Error::ClientNotAuthentic {
                refusal: Refusal::WrongProof,
                ..
            })) => &mut self.denied,
            Outcome::Refused(Error::Closed(Phase::Awaiting(Message::RESPONSE))) => &mut self.silent,
            _ => {
                self.others += 1;
                return false;
            }
        };
        *count += 1;
        true
    }

    fn add(&mut self, more: Self) {
        self.first += more.first;
        self.second += more.second;
        self.denied += more.denied;
        self.silent += more.silent;
        self.others += more.others;
    }

    fn to_line(self) -> String {
        let numbers = [
            self.first,
            self.second,
            self.denied,
            self.silent,
            self.others,
        ];
        numbers.map(|number| number.to_string()).join(" ")
    }

    fn from_line(line: &str) -> Result<Self, Failure> {
        let numbers: Result<Vec<_>, _> = line.split(' ').map(str::parse).collect();
        match numbers?[..] {
            [first, second, denied, silent, others] => Ok(Self {
                first,
                second,
                denied,
                silent,
                others,
            }),
            _ => Err(format!("'{line}' are no counts").into()),
        }
    }
}

// Its driver.

/// Starts the servers and the clients and changes their keys. The clients run on other threads, so
/// this one may block.
fn drive(
    balancer: SocketAddr,
    [a, b]: [SocketAddr; 2],
    directory: &Path,
    log: &Path,
) -> Result<(), Failure> {
    let start = Instant::now();
    let report = |what: &str| println!("{:>4.0} s  {what}", start.elapsed().as_secs_f32());
    let runtime = Runtime::new()?;
    let members = (0..CLIENTS).map(Member::new);
    let members = members.collect::<Result<Vec<_>, _>>()?;
    let first = members.first().ok_or("no clients")?;

    report("1. Both servers have the old secrets, and all clients use them.");
    let mut a = Node::start(a, directory.join("a"), &members)?;
    let mut b = Node::start(b, directory.join("b"), &members)?;
    let doors = [balancer, a.address, b.address];
    wait_until_up(&runtime, balancer, first, [&mut a, &mut b])?;
    for door in doors {
        runtime.block_on(deny(door, [&first.new]))?;
    }
    let fleet = Arc::new(Fleet::new(balancer, &members));
    let clients = fleet.start(&runtime);
    sleep(5 * SECOND);

    report("2. The servers accept the new secrets too, one server after the other.");
    for node in [&mut a, &mut b] {
        node.mount(&members, Stage::Added)?;
        sleep(2 * SECOND);
    }

    report("3. The clients get the new secrets, one client after the other, but a few are late.");
    let mut next = members.iter().zip(&fleet.clients);
    let mut give = |clients: usize| {
        for (member, slot) in next.by_ref().take(clients) {
            *lock(slot) = Arc::clone(&member.new);
            sleep(SECOND / 30);
        }
    };
    give(CLIENTS / 3);
    report("   A server is killed.");
    let killed = SystemTime::now();
    b.kill()?;
    give(CLIENTS / 3);
    b.launch()?;
    let back = SystemTime::now();
    report("   It is back.");
    give(CLIENTS / 3 - LATE);

    report("4. The servers put the new secrets first, one server after the other.");
    for node in [&mut a, &mut b] {
        node.mount(&members, Stage::Swapped)?;
        sleep(2 * SECOND);
    }
    if old_secrets_used_in(SECOND, [&mut a, &mut b])? == 0 {
        return Err("the log does not show the clients that are late".into());
    }
    give(LATE);
    report("   The last clients have got theirs.");
    while old_secrets_used_in(2 * SECOND, [&mut a, &mut b])? > 0 {}
    report("   The servers no longer see an old secret.");
    // The old secrets still work, so that a later denial shows that they were removed.
    for door in doors {
        runtime.block_on(async { log_in(&mut connect(door).await?, &first.old).await })?;
    }

    report("5. The old secrets are removed from the servers, one server after the other.");
    let olds = members.iter().map(|member| &member.old);
    let probes = || olds.clone().cycle().take(PROBES);
    for node in [&mut a, &mut b] {
        node.mount(&members, Stage::New)?;
        runtime.block_on(deny(node.address, probes()))?;
        sleep(SECOND);
    }
    for door in doors {
        runtime.block_on(deny(door, probes()))?;
    }
    let denials = doors.len() + 5 * PROBES;
    sleep(5 * SECOND);
    fleet.stop.store(true, Ordering::Relaxed);
    let mut tally = Tally::default();
    for client in clients {
        tally.add(runtime.block_on(client)?);
    }
    // The balancer logs a connection only after its end.
    sleep(SECOND);
    report("The end.");

    let mut counts = Counts::default();
    for node in [&mut a, &mut b] {
        counts.add(node.counts()?);
    }
    tally.print();
    println!(
        "denials            {denials}, all but {} of old secrets",
        doors.len()
    );
    println!("health checks      {}", counts.silent);

    for refusal in tally.refusals.iter().take(10) {
        eprintln!("refused: {refusal}");
    }
    if !tally.refusals.is_empty() {
        return Err(format!("{} honest logins were refused", tally.refusals.len()).into());
    }
    BalancerLog::read(log)?.explains(&tally.cuts, b.address, killed..back)?;
    if counts.others > 0 {
        return Err(format!("the servers saw {} other events", counts.others).into());
    }
    if counts.denied != denials {
        return Err(format!("the servers denied {} clients", counts.denied).into());
    }
    Ok(())
}

/// Returns how many logins the servers accept by an old secret in this time, once they have put the
/// new ones first.
fn old_secrets_used_in(time: Duration, nodes: [&mut Node; 2]) -> Result<usize, Failure> {
    let mut used = 0;
    for node in nodes {
        let before = node.counts()?.second;
        sleep(time);
        used += node.counts()?.second - before;
    }
    Ok(used)
}

/// A client's id, and its secrets: the old one and the new one.
struct Member {
    id: String,
    secrets: [Secret; 2],
    old: Arc<Client>,
    new: Arc<Client>,
}

impl Member {
    fn new(number: usize) -> Result<Self, Failure> {
        let id = format!("client-{number}");
        let secrets = [generate_secret()?, generate_secret()?];
        let client = |secret: &Secret| -> Result<_, Failure> {
            let key = Key::new(secret)?.with_id(&id)?;
            Ok(Arc::new(Client::new(key).service(SERVICE)?))
        };
        let [old, new] = &secrets;
        let (old, new) = (client(old)?, client(new)?);
        Ok(Self {
            id,
            secrets,
            old,
            new,
        })
    }

    /// The name of its key file.
    fn file(&self) -> String {
        format!("{}.key", self.id)
    }

    /// What a server's key file has at this stage.
    fn content(&self, stage: Stage) -> Vec<u8> {
        let [old, new] = self.secrets.each_ref().map(Secret::as_ref);
        match stage {
            Stage::Old => [old, b"\n"].concat(),
            Stage::Added => [old, b"\naccept:", new, b"\n"].concat(),
            Stage::Swapped => [new, b"\naccept:", old, b"\n"].concat(),
            Stage::New => [new, b"\n"].concat(),
        }
    }
}

/// What the key files of a server have.
#[derive(Clone, Copy)]
enum Stage {
    /// The old secret alone.
    Old,
    /// The old secret, and the new one as `accept:`.
    Added,
    /// The new secret, and the old one as `accept:`.
    Swapped,
    /// The new secret alone.
    New,
}

/// A server and its key directory. The directory looks like a secret that Kubernetes mounts: the
/// files are in a directory for their version, `..data` is a link to it, and for each file there is
/// a link through `..data`.
struct Node {
    address: SocketAddr,
    directory: PathBuf,
    version: u32,
    process: Process,
    /// What its earlier processes counted.
    earlier: Counts,
}

impl Node {
    fn start(address: SocketAddr, directory: PathBuf, members: &[Member]) -> Result<Self, Failure> {
        fs::create_dir(&directory)?;
        swap(&directory, 1, members, Stage::Old)?;
        let process = Process::launch(address, &directory)?;
        Ok(Self {
            address,
            directory,
            version: 1,
            process,
            earlier: Counts::default(),
        })
    }

    /// Replaces the server's key files. The secrets of all ids must change, and no id.
    fn mount(&mut self, members: &[Member], stage: Stage) -> Result<(), Failure> {
        self.version += 1;
        swap(&self.directory, self.version, members, stage)?;
        match self.process.ask("reload")?.as_str() {
            "changed" => Ok(()),
            answer => Err(answer.into()),
        }
    }

    fn counts(&mut self) -> Result<Counts, Failure> {
        let mut counts = Counts::from_line(&self.process.ask("counts")?)?;
        counts.add(self.earlier);
        Ok(counts)
    }

    /// Kills the server with SIGKILL, so that it closes nothing in an orderly way. It is stopped
    /// for a moment before, so that several logins are under way.
    fn kill(&mut self) -> Result<(), Failure> {
        self.earlier = self.counts()?;
        let id = self.process.child.id().to_string();
        if !Command::new("kill")
            .args(["-STOP", &id])
            .status()?
            .success()
        {
            return Err("a server cannot be stopped".into());
        }
        sleep(SECOND / 4);
        Ok(self.process.kill()?)
    }

    fn launch(&mut self) -> Result<(), Failure> {
        self.process = Process::launch(self.address, &self.directory)?;
        Ok(())
    }
}

fn swap(directory: &Path, version: u32, members: &[Member], stage: Stage) -> io::Result<()> {
    let data = directory.join("..data");
    let former = fs::read_link(&data).ok();
    let version = PathBuf::from(format!("..{version}"));
    fs::create_dir(directory.join(&version))?;
    for member in members {
        let file = directory.join(&version).join(member.file());
        fs::write(file, member.content(stage))?;
    }
    symlink(&version, directory.join("..data_tmp"))?;
    fs::rename(directory.join("..data_tmp"), data)?;
    for member in members {
        let file = member.file();
        match symlink(Path::new("..data").join(&file), directory.join(&file)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            linked => linked?,
        }
    }
    former.map_or(Ok(()), |former| fs::remove_dir_all(directory.join(former)))
}

#[cfg(not(unix))]
fn symlink(_: impl AsRef<Path>, _: impl AsRef<Path>) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// A process of this program as a server.
struct Process {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    fn launch(address: SocketAddr, directory: &Path) -> Result<Self, Failure> {
        let mut child = Command::new(env::current_exe()?)
            .args(["server", "--listen", &address.to_string(), "--key-dir"])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (commands, answers) = pipes.ok_or("a child without pipes")?;
        let mut process = Self {
            child,
            commands,
            answers: BufReader::new(answers),
        };
        match process.answer()?.as_str() {
            "listening" => Ok(process),
            answer => Err(answer.into()),
        }
    }

    fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    fn ask(&mut self, command: &str) -> Result<String, Failure> {
        writeln!(self.commands, "{command}")?;
        self.answer()
    }

    fn answer(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        match line.pop() {
            Some('\n') => Ok(line),
            _ => Err("a server has ended".into()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}

/// Waits until the balancer has checked both servers and forwards clients to both.
fn wait_until_up(
    runtime: &Runtime,
    balancer: SocketAddr,
    member: &Member,
    mut nodes: [&mut Node; 2],
) -> Result<(), Failure> {
    for _ in 0..100 {
        // It may fail until the servers are up.
        let _ =
            runtime.block_on(async { log_in(&mut connect(balancer).await?, &member.old).await });
        let mut ready = true;
        for node in &mut nodes {
            let counts = node.counts()?;
            ready &= counts.first > 0 && counts.silent > 0;
        }
        if ready {
            return Ok(());
        }
        sleep(SECOND / 10);
    }
    Err("the balancer does not forward to both servers".into())
}

/// Fails unless each of these clients is denied.
async fn deny(
    door: SocketAddr,
    clients: impl IntoIterator<Item = &Arc<Client>>,
) -> Result<(), Failure> {
    for client in clients {
        match log_in(&mut connect(door).await?, client).await {
            Err(End::Denied) => {}
            Ok(()) => return Err(format!("a wrong secret got in at {door}").into()),
            Err(end) => return Err(end.into()),
        }
    }
    Ok(())
}

// Its clients.

struct Fleet {
    balancer: SocketAddr,
    /// What each client uses for its next login.
    clients: Vec<Mutex<Arc<Client>>>,
    stop: AtomicBool,
}

impl Fleet {
    fn new(balancer: SocketAddr, members: &[Member]) -> Self {
        let clients = members.iter().map(|it| Mutex::new(Arc::clone(&it.old)));
        Self {
            balancer,
            clients: clients.collect(),
            stop: AtomicBool::new(false),
        }
    }

    fn start(self: &Arc<Self>, runtime: &Runtime) -> Vec<JoinHandle<Tally>> {
        // Pauses of different lengths keep the clients from logging in all at once.
        let mut pause = PAUSE / 2;
        let start = |number| {
            pause += Duration::from_micros(800);
            runtime.spawn(Arc::clone(self).keep_logging_in(number, pause))
        };
        (0..CLIENTS).map(start).collect()
    }

    async fn keep_logging_in(self: Arc<Self>, number: usize, pause: Duration) -> Tally {
        let mut tally = Tally::default();
        let Some(slot) = self.clients.get(number) else {
            return tally;
        };
        while !self.stop.load(Ordering::Relaxed) {
            tokio::time::sleep(pause).await;
            tally.log_in(self.balancer, slot).await;
        }
        tally
    }
}

#[derive(Default)]
struct Tally {
    latencies: Vec<Duration>,
    cuts: Vec<Cut>,
    refusals: Vec<End>,
}

impl Tally {
    /// Logs in, and tries again after each cut.
    async fn log_in(&mut self, balancer: SocketAddr, slot: &Mutex<Arc<Client>>) {
        let start = Instant::now();
        loop {
            let client = Arc::clone(&lock(slot));
            let began = SystemTime::now();
            let (port, end) = match connect(balancer).await {
                Ok(mut stream) => (
                    stream.local_addr().map_or(0, |address| address.port()),
                    log_in(&mut stream, &client).await,
                ),
                Err(end) => (0, Err(end)),
            };
            match end {
                Ok(()) => return self.latencies.push(start.elapsed()),
                Err(End::Cut(how)) => self.cuts.push(Cut {
                    port,
                    began,
                    ended: SystemTime::now(),
                    how,
                }),
                Err(end) => return self.refusals.push(end),
            }
        }
    }

    fn add(&mut self, mut other: Self) {
        self.latencies.append(&mut other.latencies);
        self.cuts.append(&mut other.cuts);
        self.refusals.append(&mut other.refusals);
    }

    fn print(&mut self) {
        self.latencies.sort_unstable();
        let percentile = |percent: usize| {
            let at = self.latencies.len() * percent / 100;
            self.latencies.get(at).copied().unwrap_or_default()
        };
        println!("honest logins      {}", self.latencies.len());
        println!(
            "latency            p50 {:.1?}, p99 {:.1?}",
            percentile(50),
            percentile(99)
        );
        println!("cuts by the kill   {}", self.cuts.len());
        let mut ways = BTreeMap::new();
        for cut in &self.cuts {
            *ways.entry(&cut.how).or_insert(0) += 1;
        }
        for (how, times) in ways {
            println!("   {times:>4} x {how}");
        }
    }
}

/// A login whose connection was cut.
struct Cut {
    /// The client's port.
    port: u16,
    began: SystemTime,
    ended: SystemTime,
    how: String,
}

/// Why a login failed.
#[derive(Debug)]
enum End {
    Denied,
    /// The connection was closed or reset after it was made.
    Cut(String),
    Otherwise(String),
}

async fn connect(door: SocketAddr) -> Result<TcpStream, End> {
    let connected = timeout(DEADLINE, TcpStream::connect(door)).await;
    let failed =
        |error: &dyn fmt::Display| End::Otherwise(format!("cannot connect to {door}: {error}"));
    connected
        .map_err(|late| failed(&late))?
        .map_err(|error| failed(&error))
}

/// Authenticates, and checks that the server knows this client by its own id.
async fn log_in(stream: &mut TcpStream, client: &Client) -> Result<(), End> {
    let authenticated = client.authenticate_timeout(stream, DEADLINE).await;
    let session = authenticated.map_err(|error| match error {
        Error::Denied(_) => End::Denied,
        Error::Closed(_) => End::Cut(error.to_string()),
        _ => End::Otherwise(error.to_string()),
    })?;
    let expected = answer_to(&session);
    let exchange = async {
        stream.write_all(QUESTION).await?;
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    match timeout(DEADLINE, exchange).await {
        Ok(Ok(answer)) if answer == expected => Ok(()),
        Ok(Err(error)) => {
            let how = format!("no answer: {error}");
            Err(match error.kind() {
                ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe => End::Cut(how),
                _ => End::Otherwise(how),
            })
        }
        Ok(Ok(answer)) => Err(End::Otherwise(format!(
            "the server took it for '{}'",
            answer.escape_ascii()
        ))),
        Err(_) => Err(End::Otherwise("no answer: timed out".to_owned())),
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("denied"),
            Self::Cut(how) => write!(f, "cut: {how}"),
            Self::Otherwise(how) => f.write_str(how),
        }
    }
}

impl std::error::Error for End {}

/// Which servers the connections from each port went to, and when they were accepted.
struct BalancerLog(HashMap<u16, Vec<(Duration, SocketAddr)>>);

impl BalancerLog {
    fn read(path: &Path) -> Result<Self, Failure> {
        let mut logins: HashMap<_, Vec<_>> = HashMap::new();
        for line in fs::read_to_string(path)?.lines() {
            let mut words = line.split(' ');
            if words.next() != Some("login") {
                continue;
            }
            let (Some(port), Some(time), Some(server)) = (words.next(), words.next(), words.next())
            else {
                return Err(format!("the log has the line '{line}'").into());
            };
            // There is no address if the balancer found no server.
            if let Ok(server) = server.parse() {
                let time = Duration::from_millis(time.parse()?);
                logins
                    .entry(port.parse()?)
                    .or_default()
                    .push((time, server));
            }
        }
        Ok(Self(logins))
    }

    /// Fails unless each login was cut because this server was down at this time.
    fn explains(
        &self,
        cuts: &[Cut],
        server: SocketAddr,
        down: Range<SystemTime>,
    ) -> Result<(), Failure> {
        for cut in cuts {
            let at = self.server_of(cut);
            if cut.ended < down.start || cut.began > down.end || at != Some(server) {
                return Err(format!("cut at {at:?}, and not by the kill: {}", cut.how).into());
            }
        }
        Ok(())
    }

    /// Returns the server of a login that was cut. A port is used again, so of its connections this
    /// takes the one that was accepted at about that time.
    fn server_of(&self, cut: &Cut) -> Option<SocketAddr> {
        let began = cut.began.duration_since(UNIX_EPOCH).ok()?;
        let logins = self.0.get(&cut.port)?;
        let (accepted, server) = logins.iter().min_by_key(|(time, _)| time.abs_diff(began))?;
        (accepted.abs_diff(began) < SECOND).then_some(*server)
    }
}

/// Locks a mutex. A poisoned lock is used too, since no thread here panics while it holds one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
