//! `countersign tunnel`: carries connections of programs that cannot be changed.

mod client;
mod connection;
mod keys;
mod limits;
mod log;
mod proxy_header;
mod relay;
mod serve;
mod server;
mod socket;

use std::thread::available_parallelism;
use std::time::Duration;

use clap::ValueEnum;
use tokio::runtime::Builder;

use self::log::Log;
use crate::Failure;
use crate::address::Address;

const EXAMPLE: &str = "\
Example: what a tunnel server is told
  countersign tunnel server --help";

const CLIENT_EXAMPLE: &str = "\
Example: Redis of another host at a port of this one
  countersign tunnel client --listen 127.0.0.1:6379 --to billing.internal:7000 \\
    --key-file worker-7.key --key-id worker-7
SIGHUP reads the key again, and SIGTERM lets connections finish.";

const SERVER_EXAMPLE: &str = "\
Example: Redis of this host for clients that hold a key
  countersign tunnel server --listen 0.0.0.0:7000 --to 127.0.0.1:6379 \\
    --key-dir /etc/countersign/keys";

#[derive(clap::Subcommand)]
#[command(after_help = EXAMPLE)]
pub enum Args {
    /// Takes plain connections, and carries them to a tunnel server
    #[command(after_help = CLIENT_EXAMPLE)]
    #[command(override_usage = "countersign tunnel client --to ADDRESS --key-file FILE [OPTIONS]")]
    Client(client::Args),
    /// Takes connections of tunnel clients, and carries them to a plain service
    #[command(after_help = SERVER_EXAMPLE)]
    #[command(override_usage = "countersign tunnel server --to ADDRESS --key-dir DIR [OPTIONS]")]
    Server(server::Args),
}

/// What both ends are told.
#[derive(clap::Args)]
struct Common {
    /// HOST:PORT or unix:PATH; left out under systemd
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<Address>,
    /// Where connections are carried to
    #[arg(long, value_name = "ADDRESS")]
    to: Address,
    /// Service that both ends have to name
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    service: String,
    /// encrypt (default) or protect, at both ends
    #[arg(long, value_name = "VERB", default_value = "encrypt")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    verb: Verb,
    /// More have to wait [default: 1024, or what fits]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: Option<u32>,
    /// Cuts what carries nothing for so long
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    idle_timeout: Option<Duration>,
    /// Time to finish after SIGTERM [default: 30]
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    #[arg(hide_default_value = true)]
    grace: Duration,
    /// Lines on standard error: text (default) or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    log_format: log::Format,
    /// Logs strangers, and logins when they begin
    #[arg(long)]
    verbose: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Verb {
    Encrypt,
    Protect,
}

pub fn run(args: Args) -> Result<(), Failure> {
    match args {
        Args::Client(args) => client::run(args),
        Args::Server(args) => server::run(args),
    }
}

/// Runs an end of a tunnel, with a log.
///
/// Half of the cores is left to the service and to the system's side of the sockets. With a thread for
/// each core, waking them costs more than they carry.
fn start<F>(format: log::Format, verbose: bool, run: impl FnOnce(Log) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let log = Log::start(format, verbose);
    let threads = available_parallelism()?.get().div_ceil(2);
    let mut runtime = Builder::new_multi_thread();
    let runtime = runtime.worker_threads(threads).enable_all().build()?;
    // A task of the workers is woken faster than this thread would be.
    let ended = runtime.block_on(runtime.spawn(run(log)));
    // What is left is cut. A log that is stuck must not prevent the end.
    runtime.shutdown_background();
    ended?
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        Ok(0) => Err("must be at least 1 second".into()),
        Ok(seconds) => Ok(Duration::from_secs(seconds.into())),
        Err(_) => Err("must be a whole number of seconds".into()),
    }
}
