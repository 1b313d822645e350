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
        let missing = fs::read_dir(keys).unwrap_err();
        run(server, ["--key-dir", keys]).fails(&format!("key file {keys}: {missing}"));
        fs::create_dir(keys).unwrap();
        run(server, ["--key-dir", keys]).fails(&format!("key file {keys}: {}", said::NO_KEYS));

        let key = &files.key("keys/worker-7");
        for options in [["--key-file", key], ["--key-id", "worker-7"]] {
            run(server, ["--key-dir", keys].into_iter().chain(options))
                .fails("--key-dir takes the place of --key-file and --key-id");
        }
        #[cfg(unix)]
        {
            let exposed = files.exposed("keys/worker-9");
            run(server, ["--key-dir", keys])
                .fails(&format!("key file {exposed}: {}", said::EXPOSED));
        }
    }
}

#[test]
fn a_server_reads_its_directory_again_for_each_line_of_its_input() {
    for name in SERVERS {
        let files = Files::new();
        let keys = &files.path("keys");
        fs::create_dir(keys).unwrap();
        let seven = &files.key("worker-7");
        let eight = &files.key("worker-8");
        let in_keys = |name| files.path(&format!("keys/{name}"));
        fs::copy(seven, in_keys("worker-7")).unwrap();

        let mut server = Server::start(name, ["--key-dir", keys]);
        let address = server.address.clone();
        let client = |key, id| {
            let args = ["--connect", &address, "--key-file", key, "--key-id", id];
            run("echo_client", args)
        };
        client(seven, "worker-7").prints("Hello World");
        server.logs(said::ACCEPTED_WORKER_7);

        // Nothing watches the directory.
        fs::copy(eight, in_keys("worker-8")).unwrap();
        client(eight, "worker-8").fails(said::DENIED);
        server.send_line();
        server.logs("reloaded");
        client(eight, "worker-8").prints("Hello World");
        client(eight, "worker-7").fails(said::DENIED);

        fs::remove_file(in_keys("worker-7")).unwrap();
        server.send_line();
        server.logs("reloaded");
        client(seven, "worker-7").fails(said::DENIED);

        // A bad file leaves the keys as they were.
        #[cfg(unix)]
        let bad = files.exposed("keys/worker-9");
        #[cfg(not(unix))]
        let bad = files.write("keys/worker-9", "short");
        fs::remove_file(in_keys("worker-8")).unwrap();
        server.send_line();
        server.logs(&format!("not reloaded: key file {bad}: *"));
        client(eight, "worker-8").prints("Hello World");

        server.close_stdin();
        client(eight, "worker-8").prints("Hello World");
    }
}
