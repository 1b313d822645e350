//! Works for a Python program: does the jobs that a `multiprocessing.connection.Listener` sends,
//! until that closes the connection. The other end is `examples/python/jobs.py`.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use countersign::Deadline;
use countersign::compat::{self, multiprocessing};
use lexopt::{Arg, Parser, ValueExt};
use serde_json::{Value, json};

#[path = "../common/options.rs"]
mod options;
use options::{Failure, connecting_to};

const USAGE: &str = "usage: python_worker --connect ADDR --key-file PATH";

/// The longest job that is accepted, in bytes.
const JOB_MAX: usize = 1024;

fn main() -> ExitCode {
    options::report("python_worker", run())
}

fn run() -> Result<(), Failure> {
    let mut address = None;
    let mut key_file = None;
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("connect") => address = Some(parser.value()?.string()?),
            Arg::Long("key-file") => key_file = Some(PathBuf::from(parser.value()?)),
            Arg::Long("help") => {
                println!("{USAGE}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let address = address.ok_or(USAGE)?;
    let authkey = compat::secret_from_file(key_file.ok_or(USAGE)?)?;

    let socket = TcpStream::connect(&address).map_err(connecting_to(&address))?;
    let mut deadline = Deadline::new(&socket, Duration::from_secs(10));
    let knows = multiprocessing::client_authenticate(&mut deadline, &authkey)?;
    drop(deadline); // A job may come much later.

    let mut connection = multiprocessing::Connection::new(socket, knows);
    let mut done = 0;
    while let Some(job) = connection.recv_bytes(JOB_MAX)? {
        let job: Value = serde_json::from_slice(&job)?;
        let limit = job.get("primes_below").and_then(Value::as_u64);
        let limit = limit.ok_or("a job needs a limit")?;
        let result = json!({ "job": job.get("job"), "primes": primes_below(limit) });
        connection.send_bytes(result.to_string().as_bytes())?;
        done += 1;
    }
    println!("did {done} jobs");
    Ok(())
}

/// Counts primes by trial division, which is slow enough to be a job.
fn primes_below(limit: u64) -> usize {
    let is_prime = |n: &u64| {
        (2..*n)
            .take_while(|d| d * d <= *n)
            .all(|d| !n.is_multiple_of(d))
    };
    (2..limit).filter(is_prime).count()
}
