//! Echoes what authenticated clients send, behind a proxy that announces where they come from by the
//! PROXY protocol, version 1 or 2. Run it with `cargo run --example proxy_echo_server -- --help`.
//!
//! Let nobody but the proxy connect to this port. Whoever connects can claim any source address, so
//! use it for logs and not for authorisation: the key id is what a client proves.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::{process::ExitCode, thread};

use countersign::{Deadline, Error, Event, Listener, Outcome, Pending, Server, bind_tcp};
use proxy_header::ParseConfig;
use proxy_header::io::ProxiedStream;

#[path = "../common/options.rs"]
mod options;
#[path = "../common/server.rs"]
mod server;
use options::{Failure, while_doing};
use server::Settings;

const USAGE: &str = "\
usage: proxy_echo_server [--listen ADDR] [--key-file PATH] [--key-id ID] [--key-dir PATH]
                         [--service NAME] [--deadline SECONDS]

Each connection begins with a header of the PROXY protocol, which a proxy sends (HAProxy: send-proxy
or send-proxy-v2). The options are those of echo_server.";

/// A connection after its header.
type Proxied = ProxiedStream<Deadline<Pending<TcpStream>>>;

fn main() -> ExitCode {
    options::report("proxy_echo_server", run())
}

fn run() -> Result<(), Failure> {
    let Some(settings) = Settings::from_args(USAGE)? else {
        return Ok(());
    };
    let server = Server::new(settings.keys()?).service(&settings.identity.service)?;
    let address = &settings.address;
    let socket = bind_tcp(address).map_err(while_doing(format!("cannot listen on {address}")))?;
    println!("listening on {}", socket.local_addr()?);
    let log = |event: &Event| match &event.outcome {
        // Health checks end here, and port scans. A check is a connection without addresses (LOCAL),
        // which is served like any other, because some checks await the first bytes of the server.
        Outcome::Refused(Error::Closed(_)) => {}
        _ => eprintln!("{event}"),
    };
    let options = settings.listener_options().on_event(log);
    let listener = Listener::upgraded(socket, server, options, |stream| {
        let stream = Proxied::create_from_std(stream, ParseConfig::default())?;
        Ok((stream, None))
    })?;
    loop {
        let (stream, session) = listener.accept()?;
        let key_id = *session.key_id();
        let log = move |error| eprintln!("key id \"{key_id}\" failed: {error}");
        let serve = move || {
            let address = stream.proxy_header().proxied_address();
            let source = address.map_or("an unknown address".into(), |it| it.source.to_string());
            eprintln!("key id \"{key_id}\" connects from {source}");
            echo(stream).unwrap_or_else(log);
        };
        // If there can be no more threads, this client is cut, and the server goes on.
        (thread::Builder::new().spawn(serve)).map_or_else(log, drop);
    }
}

fn echo(mut stream: Proxied) -> io::Result<()> {
    let mut buf = [0; 4096];
    loop {
        let received = stream.read(&mut buf)?;
        if received == 0 {
            return Ok(());
        }
        stream.write_all(buf.get(..received).unwrap_or_default())?;
    }
}
