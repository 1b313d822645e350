//! The echo programs on the native wire: each server with each client.

use std::io::Write;
use std::net::{TcpListener, TcpStream};

use super::process::{Running, Server, program, run};
use super::said;
use super::{CLIENTS, Files, NO_SERVER, SERVERS, with_each_pair};

#[test]
fn a_client_gets_its_message_back() {
    let files = Files::new();
    let key = &files.key("key");
    with_each_pair(|name, client| {
        let server = Server::start(name, ["--key-file", key]);
        let connect = ["--connect", &server.address];
        let with_key = ["--connect", &server.address, "--key-file", key];

        run(client, with_key).prints("Hello World");
        server.logs(said::ACCEPTED_NAMELESS);
        run(client, with_key.iter().chain(&["two words"])).prints("two words");
        server.logs(said::ACCEPTED_NAMELESS);
        let mut from_environment = program(client, connect);
        from_environment.env("COUNTERSIGN_KEY_FILE", key);
        let ended = Running::start(client, &mut from_environment).end();
        ended.prints("Hello World");
        server.logs(said::ACCEPTED_NAMELESS);
    });
}

#[test]
fn a_denied_client_is_told_nothing_but_what_it_sent_and_the_log_says_why() {
    let files = Files::new();
    let (key, other) = (&files.key("key"), &files.key("other"));
    with_each_pair(|name, client| {
        let server = Server::start(name, ["--key-file", key]);
        let connect = ["--connect", &server.address, "--key-file"];
        let denied = |args: &[&str]| {
            let ended = run(client, connect.iter().chain(args));
            ended.fails(said::DENIED);
            ended.stderr
        };

        let wrong_key = denied(&[other]);
        server.logs(said::WRONG_PROOF);
        let unknown_id = denied(&[key, "--key-id", "nobody"]);
        server.logs(said::UNKNOWN_KEY_ID);
        let other_service = denied(&[key, "--service", "billing/2"]);
        server.logs(said::WRONG_PROOF);
        assert_eq!(wrong_key, unknown_id.replace("\"nobody\"", "\"\""));
        assert_eq!(wrong_key, other_service.replace("\"billing/2\"", "\"\""));
    });
}

#[test]
fn key_id_and_service_are_given_at_both_ends() {
    let files = Files::new();
    let key = &files.key("key");
    with_each_pair(|name, client| {
        let identity = [
            "--key-file",
            key,
            "--key-id",
            "worker-7",
            "--service",
            "billing/2",
        ];
        let server = Server::start(name, identity);
        let connect = ["--connect", &server.address];
        run(client, connect.iter().chain(&identity)).prints("Hello World");
        server.logs(said::ACCEPTED_WORKER_7);
    });
}

#[test]
fn a_silent_client_delays_no_other_and_ends_at_the_deadline() {
    let files = Files::new();
    let key = &files.key("key");
    with_each_pair(|name, client| {
        let server = Server::start(name, ["--key-file", key, "--deadline", "2"]);
        let _silent = TcpStream::connect(&server.address).unwrap();
        let mut http = TcpStream::connect(&server.address).unwrap();
        http.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();

        run(client, ["--connect", &server.address, "--key-file", key]).prints("Hello World");
        server.logs(said::HTTP);
        let accepted = server.logs(said::ACCEPTED_NAMELESS);
        let given_up = server.logs(said::SILENT);
        assert!(accepted < given_up, "the client waited for the silent one");
    });
}

/// The options of the verbs with records.
const SECURED: &[&str] = &[
    "--protect",
    #[cfg(feature = "encrypt")]
    "--encrypt",
];

#[test]
fn a_message_in_records_is_echoed() {
    // More than a record holds, and less than a system takes as one argument.
    let many_records = &"countersign ".repeat(if cfg!(windows) { 2_000 } else { 10_000 });
    let files = Files::new();
    let (key, other) = (&files.key("key"), &files.key("other"));
    with_each_pair(|name, client| {
        for verb in SECURED {
            let server = Server::start(name, ["--key-file", key, verb]);
            let connect = ["--connect", &server.address, verb, "--key-file"];

            for message in ["two words", "", many_records] {
                run(client, connect.iter().chain(&[key.as_str(), message])).prints(message);
                server.logs(said::ACCEPTED_NAMELESS);
            }
            run(client, connect.iter().chain(&[other.as_str()])).fails(said::DENIED);
            server.logs(said::WRONG_PROOF);
            server.has_not_logged("*failed*");
        }
    });
}

#[cfg(not(feature = "encrypt"))]
#[test]
fn a_program_without_the_feature_says_what_encrypt_needs() {
    for client in CLIENTS {
        let built = "this program was built without --features encrypt";
        run(client, ["--connect", NO_SERVER, "--encrypt"]).fails(built);
    }
}

#[test]
fn ends_of_different_modes_name_both() {
    let files = Files::new();
    let key = &files.key("key");
    with_each_pair(|name, client| {
        let server = Server::start(name, ["--key-file", key]);
        let args = ["--connect", &server.address, "--key-file", key, "--protect"];
        run(client, args).fails(said::PEER_AUTHENTICATES);
        server.logs(said::CLIENT_PROTECTS);

        let server = Server::start(name, ["--key-file", key, "--protect"]);
        let args = ["--connect", &server.address, "--key-file", key];
        run(client, args).fails(said::PEER_PROTECTS);
        server.logs(said::CLIENT_AUTHENTICATES);

        #[cfg(feature = "encrypt")]
        {
            let connect = ["--connect", &server.address, "--key-file", key, "--encrypt"];
            run(client, connect).fails("the peer wants protect (mode 1) and this end encrypt *");
            server.logs("* the peer wants encrypt (mode 2) and this end protect (mode 1); *");
        }
    });
}

#[test]
fn a_client_says_what_is_wrong_with_its_command_line() {
    let files = Files::new();
    let key = &files.key("key");
    for client in CLIENTS {
        run(client, ["--key-file", key]).fails("no server: give --connect ADDR");
        run(client, ["--verbose"]).fails("invalid option '--verbose'");
        run(client, ["--connect", NO_SERVER]).fails("no key: give --key-file PATH *");
    }
}

#[test]
fn a_server_without_a_key_says_how_to_get_one() {
    for server in SERVERS {
        run(server, [""; 0]).fails("no key: give --key-file PATH *");
    }
}

#[test]
fn a_key_file_that_is_missing_or_exposed_is_named() {
    let files = Files::new();
    let none = &files.path("none");
    let missing = std::fs::read(none).unwrap_err();
    for client in CLIENTS {
        let args = ["--connect", NO_SERVER, "--key-file", none];
        run(client, args).fails(&format!("key file {none}: {missing}; correct the path, *"));
    }
    #[cfg(unix)]
    {
        let exposed = &files.exposed("exposed");
        for client in CLIENTS {
            let args = ["--connect", NO_SERVER, "--key-file", exposed];
            run(client, args).fails(&format!("key file {exposed}: {}", said::EXPOSED));
        }
    }
}

#[test]
fn an_address_that_cannot_be_had_is_named() {
    let files = Files::new();
    let key = &files.key("key");
    let refused = TcpStream::connect(NO_SERVER).unwrap_err();
    for client in CLIENTS {
        let args = ["--connect", NO_SERVER, "--key-file", key];
        run(client, args).fails(&format!(
            "could not connect to {NO_SERVER}: {refused}; start the server, or correct the address"
        ));
    }
    for name in SERVERS {
        let server = Server::start(name, ["--key-file", key]);
        let taken = &server.address;
        let error = TcpListener::bind(taken).unwrap_err();
        run(name, ["--listen", taken, "--key-file", key])
            .fails(&format!("cannot listen on {taken}: {error}"));
    }
}
