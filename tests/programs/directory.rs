//! The echo servers with a directory of keys, and what is changed in it while they run.

use std::fs;

use super::process::{Server, run};
use super::said;
use super::{Files, SERVERS};

#[test]
fn a_server_says_what_is_wrong_with_its_directory() {
    for server in SERVERS {
        let files = Files::new();
        let keys = &files.path("keys");
        let missing = fs::canonicalize(keys).unwrap_err();
        run(server, ["--key-dir", keys]).fails(&format!(
            "key directory {keys}: {missing}; correct the path, *"
        ));

        files.directory("keys");
        let key = &files.key("keys/worker-7.key");
        for options in [["--key-file", key], ["--key-id", "worker-7"]] {
            run(server, ["--key-dir", keys].into_iter().chain(options))
                .fails("--key-dir takes the place of --key-file and --key-id");
        }
        files.write("keys/worker-8.key", "a secret with spaces\n");
        let bad = files.resolved("keys/worker-8.key");
        run(server, ["--key-dir", keys]).fails(&format!("key file {bad}: at byte 1 it has *"));
        fs::remove_file(bad).unwrap();
        #[cfg(unix)]
        {
            let exposed = files.exposed("keys/worker-9.key");
            run(server, ["--key-dir", keys])
                .fails(&format!("key file {exposed}: {}", said::EXPOSED));
        }
    }
}

#[test]
fn a_server_with_an_empty_directory_runs_and_denies_everybody() {
    for name in SERVERS {
        let files = Files::new();
        let keys = &files.directory("keys");
        let key = &files.key("worker-7");
        // Without the suffix it is no key.
        fs::copy(key, files.path("keys/worker-7")).unwrap();
        let server = Server::start(name, ["--key-dir", keys]);
        let connect = ["--connect", &server.address, "--key-file", key];
        run("echo_client", connect.iter().chain(&["--key-id", "nobody"])).fails(said::DENIED);
        server.logs(said::UNKNOWN_KEY_ID);
        run(
            "echo_client",
            connect.iter().chain(&["--key-id", "worker-7"]),
        )
        .fails(said::DENIED);
    }
}

#[test]
fn a_server_reads_its_directory_again_for_each_line_of_its_input() {
    for name in SERVERS {
        let files = Files::new();
        let keys = &files.directory("keys");
        let seven = &files.key("worker-7");
        let eight = &files.key("worker-8");
        let in_keys = |id| files.path(&format!("keys/{id}.key"));
        fs::copy(seven, in_keys("worker-7")).unwrap();

        let mut server = Server::start(name, ["--key-dir", keys]);
        let address = server.address.clone();
        let client = |key, id| {
            let args = ["--connect", &address, "--key-file", key, "--key-id", id];
            run("echo_client", args)
        };
        client(seven, "worker-7").prints("Hello World");
        server.logs(said::ACCEPTED_WORKER_7);
        server.send_line();
        server.logs("reloaded: nothing changed");

        // Nothing watches the directory.
        fs::copy(eight, in_keys("worker-8")).unwrap();
        client(eight, "worker-8").fails(said::DENIED);
        server.send_line();
        server.logs(r#"reloaded: added "worker-8""#);
        client(eight, "worker-8").prints("Hello World");
        client(eight, "worker-7").fails(said::DENIED);

        fs::remove_file(in_keys("worker-7")).unwrap();
        server.send_line();
        server.logs(r#"reloaded: removed "worker-7""#);
        client(seven, "worker-7").fails(said::DENIED);

        // A bad file is named, and hinders no removal.
        #[cfg(unix)]
        files.exposed("keys/worker-9.key");
        #[cfg(not(unix))]
        files.write("keys/worker-9.key", "short");
        let bad = files.resolved("keys/worker-9.key");
        fs::remove_file(in_keys("worker-8")).unwrap();
        server.send_line();
        server.logs(&format!(
            r#"reloaded: removed "worker-8"; not accepted: key file {bad}: *"#
        ));
        client(eight, "worker-8").fails(said::DENIED);

        // What is there already keeps its key.
        fs::remove_file(&bad).unwrap();
        fs::copy(eight, in_keys("worker-8")).unwrap();
        server.send_line();
        server.logs(r#"reloaded: added "worker-8""#);
        files.write_over("keys/worker-8.key", "short\n");
        server.send_line();
        server.logs(r#"reloaded: kept the former key of "worker-8": key file *"#);
        client(eight, "worker-8").prints("Hello World");

        // A directory that cannot be read says nothing about any key.
        let moved = files.path("moved");
        fs::rename(keys, &moved).unwrap();
        server.send_line();
        server.logs(&format!("not reloaded: key directory {keys}: *"));
        fs::rename(&moved, keys).unwrap();
        client(eight, "worker-8").prints("Hello World");

        server.close_stdin();
        client(eight, "worker-8").prints("Hello World");
    }
}

#[test]
fn a_log_shows_which_secret_of_an_id_a_client_used_while_it_is_rotated() {
    for name in SERVERS {
        let files = Files::new();
        let keys = &files.directory("keys");
        let (old, new) = (&files.key("old"), &files.key("new"));
        let line = |key| fs::read_to_string(key).unwrap();
        let rotated = |first, second| format!("{}accept:{}", line(first), line(second));
        files.write("keys/worker-7.key", &rotated(old, new));
        let server = Server::start(name, ["--key-dir", keys]);
        let client = |key: &str| {
            let connect = ["--connect", &server.address, "--key-id", "worker-7"];
            run("echo_client", connect.iter().chain(&["--key-file", key]))
        };
        for (used, accepted) in [(old, new), (new, old)] {
            files.write_over("keys/worker-7.key", &rotated(used, accepted));
            server.send_line();
            server.logs("reloaded: *");
            client(used).prints("Hello World");
            server.logs(said::ACCEPTED_WORKER_7);
            client(accepted).prints("Hello World");
            server.logs(said::ACCEPTED_BY_ITS_OTHER_SECRET);
        }
        files.write_over("keys/worker-7.key", &line(new));
        server.send_line();
        server.logs(r#"reloaded: changed "worker-7""#);
        client(old).fails(said::DENIED);
        server.logs(said::WRONG_PROOF);
        client(new).prints("Hello World");
    }
}
