//! Keys: wrong ones, and ones that change while the tunnel runs.

use std::fs;
use std::process::Command;

use crate::process::{Files, OTHER, PATIENCE, Process, SECRET, Tunnel, start_client, start_server};
use crate::service::{Service, connect, echoes};

/// Asserts that a connection is refused, and returns what each end logs about it.
#[track_caller]
fn refused(files: &Files, client: &[&str], server: &[&str]) -> [String; 2] {
    let server = start_server(files, &Service::echo(), server);
    let client = start_client(files, &server.address, client);
    let result = echoes(&mut *connect(&client.address));
    assert!(result.is_err());
    [
        client.logs(&["WARN", "cut: "]),
        server.logs(&["WARN", "refused: "]),
    ]
}

/// A client whose key is a file of its own, `mine.key`.
fn client_with(files: &Files, server: &str, secret: &str) -> Process {
    files.write("mine.key", secret);
    let mine = files.path("mine.key");
    let to = ["client", "--listen", "127.0.0.1:0", "--to", server];
    Process::start([&to[..], &["--key-file", &mine, "--key-id", "worker-7"]].concat())
}

#[test]
fn a_wrong_secret_at_either_end_is_explained_by_both_logs() {
    for (at_server, at_client) in [(SECRET, OTHER), (OTHER, SECRET)] {
        let files = Files::new();
        files.write("keys/worker-7.key", at_server);
        let server = start_server(&files, &Service::echo(), &[]);
        let client = client_with(&files, &server.address, at_client);
        assert!(echoes(&mut *connect(&client.address)).is_err());
        let differ = "the two ends differ in secret, service or channel binding";
        client.logs(&["WARN", "key_id=worker-7", "peer=127.0.0.1:", differ]);
        server.logs(&["WARN", " 127.0.0.1:", "refused: ", "\"worker-7\"", "secret"]);
    }
}

#[test]
fn another_id_service_or_verb_is_explained_by_both_logs() {
    let files = Files::new();
    let [client, server] = refused(&files, &["--service", "redis"], &["--service", "postgres"]);
    assert!(client.contains("service \"redis\""), "{client}");
    assert!(server.contains("service \"postgres\""), "{server}");

    let [client, server] = refused(&files, &["--verb", "protect"], &[]);
    assert!(
        client.contains("protect") && client.contains("encrypt"),
        "{client}"
    );
    assert!(
        server.contains("protect") && server.contains("encrypt"),
        "{server}"
    );

    let keys = Files::new();
    keys.write("keys/cron.key", SECRET);
    keys.remove("keys/worker-7.key");
    let server = start_server(&keys, &Service::echo(), &[]);
    let client = start_client(&files, &server.address, &[]);
    assert!(echoes(&mut *connect(&client.address)).is_err());
    client.logs(&["WARN", "the server does not know the key id"]);
    server.logs(&["WARN", "\"worker-7\""]);
}

#[test]
fn a_server_with_one_key_file_takes_clients_without_a_key_id() {
    let files = Files::new();
    let key = files.path("keys/worker-7.key");
    let service = Service::echo();
    let listen = ["--listen", "127.0.0.1:0", "--key-file", &key];
    let server = [&["server", "--to", &service][..], &listen].concat();
    let server = Process::start(server);
    let client = [&["client", "--to", &server.address][..], &listen].concat();
    let client = Process::start(client);
    echoes(&mut *connect(&client.address)).unwrap();

    files.write("keys/worker-7.key", OTHER);
    for end in [&server, &client] {
        end.signal("HUP");
        end.logs(&["key read again: it was ", " and is "]);
    }
    echoes(&mut *connect(&client.address)).unwrap();
    files.remove("keys/worker-7.key");
    for end in [&server, &client] {
        end.signal("HUP");
        end.logs(&["ERROR", "the key stays: key file "]);
    }
    echoes(&mut *connect(&client.address)).unwrap();
}

#[test]
fn a_reload_is_for_new_connections_and_says_what_changed() {
    let tunnel = Tunnel::to(&Service::echo());
    let mut before = connect(&tunnel.client.address);
    echoes(&mut *before).unwrap();

    tunnel.files.write("keys/cron.key", OTHER);
    tunnel.files.remove("keys/worker-7.key");
    tunnel.server.signal("HUP");
    tunnel.server.logs(&[
        "INFO",
        "keys read again: added \"cron\"; removed \"worker-7\"",
    ]);
    assert!(echoes(&mut *connect(&tunnel.client.address)).is_err());
    echoes(&mut *before).unwrap();

    tunnel.files.write("keys/broken.key", "short");
    tunnel.files.write("keys/worker-7.key", SECRET);
    tunnel.server.signal("HUP");
    tunnel.server.logs(&[
        "WARN",
        "added \"worker-7\"; not accepted: key file ",
        "broken.key",
    ]);
    echoes(&mut *connect(&tunnel.client.address)).unwrap();

    fs::remove_dir_all(tunnel.files.path("keys")).unwrap();
    tunnel.server.signal("HUP");
    tunnel
        .server
        .logs(&["ERROR", "all keys stay: key directory "]);
    echoes(&mut *connect(&tunnel.client.address)).unwrap();
    for line in [tunnel.server.lines(), tunnel.client.lines()].concat() {
        assert!(
            !line.contains(&SECRET[..12]) && !line.contains(&OTHER[..12]),
            "{line}"
        );
    }
}

#[test]
fn a_client_that_has_read_its_key_again_names_its_service_as_before() {
    let service = ["--service", "redis"];
    let tunnel = Tunnel::with(&Service::echo(), &service, &service);
    tunnel.client.signal("HUP");
    tunnel.client.logs(&["key read again: nothing changed"]);
    echoes(&mut *connect(&tunnel.client.address)).unwrap();
}

#[test]
fn a_rotation_by_the_three_commands_refuses_nobody() {
    let tunnel = Tunnel::to(&Service::echo());
    let client = client_with(&tunnel.files, &tunnel.server.address, SECRET);
    let key = tunnel.files.path("keys/worker-7.key");
    let mut whole_time = connect(&client.address);
    for (step, matched) in [
        ("add", "first"),
        ("promote", "accept:"),
        ("copy", "first"),
        ("drop", "first"),
    ] {
        if step == "copy" {
            // The client gets the new secret, which is the first line now.
            let content = fs::read_to_string(&key).unwrap();
            tunnel
                .files
                .write("mine.key", content.lines().next().unwrap());
            client.signal("HUP");
            client.logs(&["key read again: it was "]);
        } else {
            let mut rotate = Command::new(env!("CARGO_BIN_EXE_countersign"));
            assert!(
                rotate
                    .args(["rotate", &key, step])
                    .output()
                    .unwrap()
                    .status
                    .success()
            );
            let reloads = || {
                let lines = tunnel.server.lines();
                lines
                    .iter()
                    .filter(|line| line.contains("keys read again"))
                    .count()
            };
            let before = reloads();
            tunnel.server.signal("HUP");
            let end = std::time::Instant::now() + PATIENCE;
            while reloads() == before {
                assert!(std::time::Instant::now() < end);
                std::thread::yield_now();
            }
        }
        echoes(&mut *connect(&client.address)).unwrap();
        echoes(&mut *whole_time).unwrap();
        tunnel.server.logs(&[
            "accepted",
            "key_id=worker-7",
            &format!("secret=\"{matched}\""),
        ]);
    }
    assert!(
        !tunnel
            .server
            .lines()
            .iter()
            .any(|line| line.contains("refused"))
    );
}

#[test]
fn a_server_says_whose_keys_it_has_and_warns_of_none_and_of_a_shared_secret() {
    let service = Service::echo();
    let files = Files::new();
    files.write("keys/metrics.key", OTHER);
    let server = start_server(&files, &service, &[]);
    server.logs(&["INFO", "key ids: \"metrics\", \"worker-7\" keys=2"]);
    assert_eq!(server.lines().len(), 1);

    // A copy is as good as the original, also while it is rotated.
    files.write(
        "keys/copy.key",
        &format!("{}\naccept:{SECRET}", OTHER.replace("ff", "fe")),
    );
    server.signal("HUP");
    let both = "\"copy\" and \"worker-7\" have one secret";
    server.logs(&["WARN", both, "give each a secret of its own"]);

    for name in ["copy", "metrics", "worker-7"] {
        files.remove(&format!("keys/{name}.key"));
    }
    files.write("keys/worker-7.pem", SECRET);
    let nobody = format!(
        "nobody will be accepted: {} has no key file",
        files.path("keys")
    );
    server.signal("HUP");
    server.logs(&["WARN", &nobody]);
    let server = start_server(&files, &service, &[]);
    server.logs(&["WARN", &nobody]);

    files.write("one.key", SECRET);
    let one = files.path("one.key");
    let args = [
        "--listen",
        "127.0.0.1:0",
        "--to",
        &service,
        "--key-file",
        &one,
    ];
    let server = Process::start([&["server"][..], &args].concat());
    let line = format!("one key, for clients that name no key id: {one}");
    server.logs(&["INFO", &line]);
}

#[test]
fn a_client_that_names_no_key_id_is_told_so_by_the_server() {
    let files = Files::new();
    let server = start_server(&files, &Service::echo(), &[]);
    let key = files.path("keys/worker-7.key");
    let to = ["client", "--listen", "127.0.0.1:0", "--to", &server.address];
    let client = Process::start([&to[..], &["--key-file", &key]].concat());
    assert!(echoes(&mut *connect(&client.address)).is_err());
    server.logs(&[
        "WARN",
        "the client named none; give it its key id",
        "--key-id",
    ]);
}
