//! `countersign check`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener};
use std::thread;

use countersign::{Connection, Key, Listener, Server, Source};

use crate::{CHILD, Ended, Files, MASTER, run};

const VERBS: [&str; 3] = ["authenticate", "protect", "encrypt"];

/// An address where no program listens: the port belongs to a service that is long gone.
const NO_SERVER: &str = "127.0.0.1:1";

/// Checks a server that is `billing` and knows `worker-7`. The verb `encrypt` needs no option.
fn check(address: &str, verb: &str, key: &str, id: &str, service: &str) -> Ended {
    let verb = ["--verb", verb].into_iter().filter(|_| verb != "encrypt");
    let options = ["--key-file", key, "--key-id", id, "--service", service];
    run(["check", address].into_iter().chain(options).chain(verb))
}

/// Starts a listener, and returns a function that accepts one client.
fn listen<L, S>(source: L, verb: &str) -> Box<dyn FnOnce() -> Box<dyn Read> + Send>
where
    L: Source<Stream = S>,
    S: Connection + Read + Write + Send + 'static,
{
    let key = Key::new(MASTER).unwrap().with_id("worker-7").unwrap();
    let server = Server::new(key).service("billing").unwrap();
    match verb {
        "authenticate" => {
            let listener = Listener::new(source, server).unwrap();
            Box::new(move || Box::new(listener.accept().unwrap().0))
        }
        "protect" => {
            let listener = Listener::new_protected(source, server).unwrap();
            Box::new(move || Box::new(listener.accept().unwrap()))
        }
        _ => {
            let listener = Listener::new_encrypted(source, server).unwrap();
            Box::new(move || Box::new(listener.accept().unwrap()))
        }
    }
}

fn bind(address: impl Into<SocketAddr>) -> (TcpListener, String) {
    let socket = TcpListener::bind(address.into()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

fn loopback() -> (TcpListener, String) {
    bind((Ipv4Addr::LOCALHOST, 0))
}

/// Asserts the steps of a success, and that the server's stream ends as it should.
#[track_caller]
fn succeeds<L, S>(source: L, address: &str, shown: &str, verb: &str)
where
    L: Source<Stream = S>,
    S: Connection + Read + Write + Send + 'static,
{
    let files = Files::new();
    let key = files.write("a.key", MASTER);
    let accept = listen(source, verb);
    let server = thread::spawn(|| {
        accept()
            .read(&mut [0; 16])
            .map_err(|error| error.to_string())
    });
    let ended = check(address, verb, &key, "worker-7", "billing");
    let lines: Vec<_> = ended.stdout.lines().collect();
    let [connected, speaks, accepted, only] = &*lines else {
        panic!("{ended:#?}");
    };
    assert!(
        connected.starts_with(&format!("connected to {shown} in ")),
        "{connected}"
    );
    assert!(connected.ends_with(" ms from here"), "{connected}");
    assert_eq!(*speaks, format!("the peer speaks countersign 1, {verb}"));
    assert!(
        accepted.starts_with("accepted as \"worker-7\", service \"billing\", in "),
        "{accepted}"
    );
    assert_eq!(*only, "only the login was tried, and no service behind it");
    assert_eq!((ended.status, &*ended.stderr), (Some(0), ""));
    ended.keeps(MASTER);
    assert_eq!(server.join().unwrap(), Ok(0), "an end, and no truncation");
}

#[test]
fn each_step_of_a_login_is_said_with_each_verb() {
    for verb in VERBS {
        let (socket, address) = loopback();
        succeeds(socket, &address, &address, verb);
    }
}

#[test]
fn an_address_may_be_of_ipv6_or_a_name() {
    let (socket, address) = bind((Ipv6Addr::LOCALHOST, 0));
    assert!(address.starts_with("[::1]:"), "{address}");
    succeeds(socket, &address, &address, "encrypt");

    let (socket, address) = loopback();
    let name = address.replace("127.0.0.1", "localhost");
    succeeds(socket, &name, &address, "encrypt");
}

#[cfg(unix)]
#[test]
fn an_address_may_be_the_path_of_a_unix_socket() {
    use std::os::unix::net::UnixListener;

    let files = Files::new();
    for verb in VERBS {
        let path = files.path(verb);
        let socket = UnixListener::bind(&path).unwrap();
        let address = format!("unix:{path}");
        succeeds(socket, &address, &address, verb);
        // The file is still there, but nobody listens any more.
        check(&address, verb, &path, "", "").fails(1, &["key file ", &path]);
        let key = files.write(&format!("{verb}.key"), MASTER);
        check(&address, verb, &key, "", "").fails(2, &["could not connect", "start the server"]);
        let missing = format!("{address}-missing");
        check(&missing, verb, &key, "", "").fails(2, &["could not connect", "correct the address"]);
    }
}

#[test]
fn a_client_that_is_refused_learns_what_to_compare() {
    let files = Files::new();
    let (right, wrong) = (files.write("a.key", MASTER), files.write("b.key", CHILD));
    for verb in VERBS {
        let (socket, address) = loopback();
        let _accept = listen(socket, verb);
        for (key, id, service) in [
            (&wrong, "worker-7", "billing"),
            (&right, "worker-8", "billing"),
            (&right, "", "billing"),
            (&right, "worker-7", ""),
            (&right, "worker-7", "shipping"),
        ] {
            let ended = check(&address, verb, key, id, service);
            let (id, service) = (format!("key id \"{id}\""), format!("service \"{service}\""));
            let said = [
                "denied this client",
                &id,
                &service,
                "`countersign fingerprint`",
            ];
            ended.fails(1, &said);
            let speaks = format!("\nthe peer speaks countersign 1, {verb}\n");
            assert!(ended.stdout.ends_with(&speaks), "{ended:#?}");
            ended.keeps(MASTER);
            ended.keeps(CHILD);
        }
    }
}

#[test]
fn another_verb_is_named_at_this_end_and_there() {
    let files = Files::new();
    let key = files.write("a.key", MASTER);
    for there in VERBS {
        let (socket, address) = loopback();
        let _accept = listen(socket, there);
        for here in VERBS.into_iter().filter(|here| *here != there) {
            let ended = check(&address, here, &key, "worker-7", "billing");
            let (wants, this) = (format!("wants {there}"), format!("this end {here}"));
            ended.fails(3, &[&wants, &this, "use the same verb at both ends"]);
            assert_eq!(ended.stdout.lines().count(), 1, "{ended:#?}");
        }
    }
}

/// Checks, with `authenticate`, a server that sends `first` when a client has connected and `then`
/// after its response, and closes.
fn check_against(first: &[u8], then: &[u8]) -> Ended {
    let files = Files::new();
    let key = files.write("a.key", MASTER);
    let (socket, address) = loopback();
    let (first, then) = (first.to_vec(), then.to_vec());
    thread::spawn(move || {
        let (mut stream, _) = socket.accept().unwrap();
        stream.write_all(&first).unwrap();
        if !then.is_empty() {
            // The response to key id `worker-7`.
            stream.read_exact(&mut [0; 81]).unwrap();
            stream.write_all(&then).unwrap();
        }
        // The client may be gone already.
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    check(&address, "authenticate", &key, "worker-7", "billing")
}

#[test]
fn another_protocol_is_named_where_it_can_be_told() {
    for (bytes, parts) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            &["look like HTTP"][..],
        ),
        (b"SSH-2.0-OpenSSH_9.6\r\n", &["look like SSH"]),
        (b"\x15\x03\x03\x00\x02\x02\x28", &["look like TLS"]),
        (
            b"-ERR unknown command\r\n",
            &["does not speak this protocol"],
        ),
        (b"CSIGN2S\0", &["version '2'", "same version"]),
        (b"CSIGN1C\0", &["the peer is a client too"]),
        (b"", &["closed the connection", "is no countersign server"]),
    ] {
        let ended = check_against(bytes, b"");
        ended.fails(3, parts);
        assert_eq!(ended.stdout.lines().count(), 1, "{ended:#?}");
    }
}

#[test]
fn a_server_that_says_nothing_speaks_another_protocol() {
    let files = Files::new();
    let key = files.write("a.key", MASTER);
    let (_socket, address) = loopback();
    let ended = check(&address, "encrypt", &key, "", "");
    ended.fails(3, &["timed out", "waits for the client to begin"]);
    assert_eq!(ended.stdout.lines().count(), 1, "{ended:#?}");
}

#[test]
fn what_happens_after_the_challenge_is_said_after_the_verb() {
    let challenge = [&b"CSIGN1S\0"[..], &[7; 32]].concat();
    let false_verdict = [b"A", &[0; 32][..]].concat();
    for (then, status, part) in [
        (&false_verdict[..], 1, "the server is not authentic"),
        (b"CSIGN1C", 3, "neither accepts nor denies"),
        (
            b"A",
            2,
            "closed the connection while awaiting the server's verdict",
        ),
    ] {
        let ended = check_against(&challenge, then);
        ended.fails(status, &[part]);
        let speaks = "\nthe peer speaks countersign 1, authenticate\n";
        assert!(ended.stdout.ends_with(speaks), "{ended:#?}");
    }
}

#[test]
fn without_a_connection_nothing_is_said_but_why() {
    let files = Files::new();
    let key = files.write("a.key", MASTER);
    for address in [NO_SERVER, "[::1]:1"] {
        let ended = check(address, "encrypt", &key, "", "");
        ended.fails(2, &["could not connect to", address, "start the server"]);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn a_key_file_at_fault_is_found_before_anybody_is_called() {
    let files = Files::new();
    let (path, bad) = (files.path("none"), files.write("b.key", "short"));
    check(NO_SERVER, "encrypt", &path, "", "").fails(1, &["key file ", &path]);
    check(NO_SERVER, "encrypt", &bad, "", "").fails(1, &["key file ", &bad, "too short"]);
}

#[test]
fn an_address_that_is_none_is_an_error_of_the_command_line() {
    for (address, part) in [
        ("localhost", "there is no port"),
        ("", "there is no port"),
        ("::1:7000", "needs brackets"),
        ("::1", "needs brackets"),
        ("[::1]", "[::1]:7000"),
        ("[::1:7000", "[::1]:7000"),
        ("[localhost]:7000", "[::1]:7000"),
        (":7000", "there is no host"),
        ("localhost:", "the port must be a number"),
        ("localhost:http", "the port must be a number"),
        ("localhost:+80", "the port must be a number"),
        ("localhost:65536", "the port must be a number"),
        ("unix:", "there is no path"),
        ("/run/billing.sock", "unix:PATH"),
        ("http://localhost:80/", "a URL is no address"),
    ] {
        let ended = check(address, "encrypt", "a.key", "", "");
        assert_eq!(ended.status, Some(64), "{address}: {ended:#?}");
        assert!(ended.stderr.contains(part), "{address}: {ended:#?}");
    }
}
