//! The echo programs on the compatibility protocols.

#[cfg(feature = "multiprocessing")]
use std::net::TcpStream;

use super::process::{Server, run};
use super::said;
use super::{Files, NO_SERVER};

const SECRET: &str = "peekaboo\n";

#[test]
fn the_wire_of_the_recipe_echoes_without_key_ids() {
    let files = Files::new();
    let (secret, other) = (&files.write("secret", SECRET), &files.key("other"));
    let server = Server::start("echo_server", ["--wire", "cookbook", "--key-file", secret]);
    let connect = ["--connect", &server.address, "--key-file"];
    let client = |args: &[&str]| run("echo_client", connect.iter().chain(args));

    client(&[secret, "--wire", "cookbook"]).prints("Hello World");
    server.logs("127.0.0.1:* accepted");
    client(&[other, "--wire", "cookbook"]).fails("*");
    server.logs(said::WRONG_DIGEST);
    client(&[other]).fails(said::INCOMPATIBLE);
    client(&[secret]).fails(said::TOO_SHORT);
}

#[test]
fn an_option_of_the_native_wire_alone_is_refused_on_another() {
    let files = Files::new();
    let secret = &files.write("secret", SECRET);
    let cookbook = ["--wire", "cookbook", "--key-file", secret];
    let client = ["--connect", NO_SERVER].into_iter().chain(cookbook);

    run("echo_client", client.clone().chain(["--protect"]))
        .fails("--protect and --encrypt need the native wire");
    run("echo_client", client.chain(["--service", "billing"]))
        .fails("--key-id and --service need the native wire");
    let protect = cookbook.into_iter().chain(["--protect"]);
    run("echo_server", protect).fails("--protect and --encrypt need the native wire");
    let directory = ["--key-dir", &files.path("")];
    run(
        "echo_server",
        ["--wire", "cookbook"].iter().chain(&directory),
    )
    .fails("--key-dir needs the native wire");
    #[cfg(feature = "multiprocessing")]
    run(
        "echo_server",
        ["--wire", "multiprocessing"].iter().chain(&directory),
    )
    .fails("--key-dir needs the native wire");
}

#[cfg(feature = "multiprocessing")]
#[test]
fn the_wire_of_multiprocessing_echoes_messages_without_key_ids() {
    let files = Files::new();
    let (secret, other) = (&files.write("secret", SECRET), &files.key("other"));
    let args = [
        "--wire",
        "multiprocessing",
        "--key-file",
        secret,
        "--deadline",
        "2",
    ];
    let server = Server::start("echo_server", args);
    let connect = ["--connect", &server.address, "--key-file"];
    let client = |args: &[&str]| run("echo_client", connect.iter().chain(args));

    let silent = TcpStream::connect(&server.address).unwrap();
    for message in ["Hello World", ""] {
        client(&[secret, "--wire", "multiprocessing", message]).prints(message);
        server.logs("127.0.0.1:* accepted");
    }
    client(&[other, "--wire", "multiprocessing"]).fails(said::REJECTED);
    server.logs(said::WRONG_DIGEST_OF_AUTHKEY);
    client(&[other]).fails("*multiprocessing*");
    server.logs(said::SILENT_ABOUT_AUTHKEY);
    drop(silent);
}

#[cfg(not(feature = "multiprocessing"))]
#[test]
fn a_wire_that_was_not_built_in_says_how_it_would_be() {
    let args = ["--connect", NO_SERVER, "--wire", "multiprocessing"];
    run("echo_client", args).fails("this program was built without --features multiprocessing");
}

#[cfg(feature = "tokio")]
#[test]
fn the_echo_programs_over_tokio_refuse_other_wires() {
    const ONLY_NATIVE: &str = "the echo programs over tokio have no --wire: *";

    let files = Files::new();
    let cookbook = [
        "--wire",
        "cookbook",
        "--key-file",
        &files.write("secret", SECRET),
    ];
    run(
        "tokio_echo_client",
        ["--connect", NO_SERVER].iter().chain(&cookbook),
    )
    .fails(ONLY_NATIVE);
    run("tokio_echo_server", cookbook).fails(ONLY_NATIVE);
}
