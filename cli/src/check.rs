//! `countersign check`.

use std::fmt::Display;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueEnum;
#[cfg(unix)]
use countersign::Deadline;
use countersign::handshake::{self, Incompatible::Verdict, Message};
use countersign::{Client, Error, Key, Phase, Timed};
use tokio::runtime::Builder;

use crate::address::Address;
use crate::keygen::key_id;
use crate::{Failure, print};

const EXAMPLE: &str = "\
Example:
  countersign check billing:7000 --key-file worker-7.key --key-id worker-7

Exit status: 0 accepted, 1 refused, 2 no connection, 3 another protocol or verb.";

/// The total for connecting, and again for authenticating.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Logs in at a server once, and says how far that goes
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// HOST:PORT, [IPv6]:PORT or unix:PATH
    address: Address,
    /// The key file of this client
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// The name under which the server has the key
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    #[arg(value_parser = key_id)]
    key_id: String,
    /// The service that the server is
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    service: String,
    /// authenticate, protect or encrypt, as the server does
    #[arg(long, default_value = "encrypt", hide_possible_values = true)]
    verb: Verb,
}

#[derive(Clone, Copy, ValueEnum)]
enum Verb {
    Authenticate,
    Protect,
    Encrypt,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let key = Key::from_file(&args.key_file)?.with_id(&args.key_id)?;
    let client = Client::new(key).service(&args.service)?;
    let begin = Instant::now();
    match &args.address {
        Address::Tcp(address) => {
            let stream = connect(address)?;
            say_connected(stream.peer_addr()?, begin)?;
            log_in(args, &client, stream)
        }
        #[cfg(unix)]
        Address::Unix(path) => {
            let connected = Deadline::connect_unix(path, TIMEOUT).map_err(failure)?;
            say_connected(&args.address, begin)?;
            log_in(args, &client, connected.into_inner())
        }
        #[cfg(not(unix))]
        Address::Unix(_) => Err("this system has no Unix sockets".into()),
    }
}

/// Looking up the name is included in the timeout, which only the runtime offers.
fn connect(address: &str) -> Result<TcpStream, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let connected = runtime.block_on(countersign::tokio::connect(address, TIMEOUT));
    // A look-up that goes on is left behind.
    runtime.shutdown_background();
    let stream = connected.map_err(failure)?.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn say_connected(peer: impl Display, begin: Instant) -> Result<(), Failure> {
    print(format_args!(
        "connected to {peer} in {} from here",
        since(begin)
    ))
}

fn log_in<S>(args: &Args, client: &Client, stream: S) -> Result<(), Failure>
where
    S: Timed + Read + Write,
    for<'s> &'s S: Timed,
{
    let begin = Instant::now();
    let outcome = match args.verb {
        Verb::Authenticate => client.authenticate_timeout(stream, TIMEOUT).map(drop),
        // The server's application then reads an end and no truncation. Whether that arrives says
        // nothing about the login.
        Verb::Protect => {
            (client.protect_timeout(stream, TIMEOUT)).map(|mut stream| drop(stream.close()))
        }
        Verb::Encrypt => {
            (client.encrypt_timeout(stream, TIMEOUT)).map(|mut stream| drop(stream.close()))
        }
    };
    let took = since(begin);
    if outcome.as_ref().err().is_none_or(is_of_this_verb) {
        let verb = args.verb.to_possible_value();
        let verb = verb.as_ref().map_or("", |verb| verb.get_name());
        print(format_args!("the peer speaks countersign 1, {verb}"))?;
    }
    outcome.map_err(failure)?;
    let (id, service) = (args.key_id.as_bytes(), args.service.as_bytes());
    print(format_args!(
        "accepted as \"{}\", service \"{}\", in {took}",
        id.escape_ascii(),
        service.escape_ascii(),
    ))?;
    print("only the login was tried, and no service behind it")
}

/// Returns whether the peer has sent the challenge of this verb.
fn is_of_this_verb(error: &Error) -> bool {
    use handshake::Error::{AllZeroSecret, Incompatible, ServerNotAuthentic};

    match error {
        Error::Denied(_)
        | Error::Handshake(ServerNotAuthentic | AllZeroSecret | Incompatible(Verdict(_))) => true,
        Error::Closed(phase) | Error::TimedOut(phase) | Error::Io { phase, .. } => {
            *phase != Phase::Awaiting(Message::CHALLENGE)
        }
        _ => false,
    }
}

fn failure(error: Error) -> Failure {
    const AWAITED: Phase = Phase::Awaiting(Message::CHALLENGE);

    let status = match &error {
        // A server of another protocol may be silent, because there the client begins.
        Error::Handshake(handshake::Error::Incompatible(_))
        | Error::Closed(AWAITED)
        | Error::TimedOut(AWAITED) => 3,
        Error::Connect { .. } | Error::Closed(_) | Error::TimedOut(_) | Error::Io { .. } => 2,
        _ => 1,
    };
    let failure = match error {
        Error::Denied(_) => Failure::from(format!(
            "{error}; to compare the secrets, run `countersign fingerprint` on the key files of both \
             ends"
        )),
        error => Failure::from(error),
    };
    Failure { status, ..failure }
}

fn since(begin: Instant) -> String {
    format!("{:.1} ms", begin.elapsed().as_secs_f64() * 1000.0)
}
