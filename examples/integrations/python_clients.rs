//! Serves a counter to Python processes, which connect with `multiprocessing.connection.Client`.
//! The other end is `examples/python/client.py`.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use countersign::compat::{self, multiprocessing};
use countersign::{Deadline, bind_tcp};
use lexopt::{Arg, Parser, ValueExt};
use serde_json::{Value, json};

#[path = "../common/options.rs"]
mod options;
use options::{Failure, while_doing};

const USAGE: &str = "usage: python_clients --key-file PATH [--listen ADDR]";

/// The longest request that is accepted, in bytes.
const REQUEST_MAX: usize = 1024;

fn main() -> ExitCode {
    options::report("python_clients", run())
}

fn run() -> Result<(), Failure> {
    let mut address = "127.0.0.1:7000".to_owned();
    let mut key_file = None;
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("listen") => address = parser.value()?.string()?,
            Arg::Long("key-file") => key_file = Some(PathBuf::from(parser.value()?)),
            Arg::Long("help") => {
                println!("{USAGE}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let authkey = Arc::new(compat::secret_from_file(key_file.ok_or(USAGE)?)?);
    let total = Arc::new(AtomicI64::new(0));

    let listener =
        bind_tcp(&address).map_err(while_doing(format!("cannot listen on {address}")))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let started = listener.accept().and_then(|(socket, peer)| {
            let (authkey, total) = (Arc::clone(&authkey), Arc::clone(&total));
            // Each client has a thread, so that a silent one does not delay the others.
            thread::Builder::new().spawn(move || match serve(socket, &authkey, &total) {
                Ok(()) => eprintln!("{peer} served"),
                Err(error) => eprintln!("{peer} failed: {error}"),
            })
        });
        // Descriptors or threads have run out. Trying again at once would spin.
        if let Err(error) = started {
            eprintln!("cannot serve a client: {error}");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

fn serve(socket: TcpStream, authkey: &[u8], total: &AtomicI64) -> Result<(), Failure> {
    let mut deadline = Deadline::new(&socket, Duration::from_secs(5));
    let knows = multiprocessing::server_authenticate(&mut deadline, authkey)?;
    drop(deadline); // An authenticated client may pause between requests.

    let mut connection = multiprocessing::Connection::new(socket, knows);
    while let Some(request) = connection.recv_bytes(REQUEST_MAX)? {
        let request: Value = serde_json::from_slice(&request)?;
        let number = request.get("add").and_then(Value::as_i64);
        let number = number.ok_or("a request needs a number to add")?;
        let total = total
            .fetch_add(number, Ordering::Relaxed)
            .wrapping_add(number);
        connection.send_bytes(json!({ "total": total }).to_string().as_bytes())?;
    }
    Ok(())
}
