//! Three implementations, each as client and as server of each, in every mode.

use std::fmt;
use std::net::TcpStream;
use std::thread;

use super::ours::{End, Talk, Verb};
use super::process::text;
use super::{NODE, Ours, PYTHON, Peer, Theirs, key_file, options};
use crate::support::{Driver, TempDir, tcp_pair};

const MESSAGE: &[u8] = b"Hello World";

/// One implementation. Rust is both of our drivers.
#[derive(Clone, Copy)]
enum Implementation {
    Rust,
    Other(&'static Peer),
}

impl Implementation {
    /// Returns all whose languages are installed, each with its name.
    fn all() -> Vec<(&'static str, Self)> {
        let others = [("Python", &PYTHON), ("JavaScript", &NODE)];
        let found = others.into_iter().filter(|(_, peer)| peer.is_installed());
        let others = found.map(|(name, peer)| (name, Self::Other(peer)));
        [("Rust", Self::Rust)].into_iter().chain(others).collect()
    }

    fn has(self, verb: Verb) -> bool {
        match self {
            Self::Rust => true,
            Self::Other(peer) => peer.verbs().any(|it| it == verb),
        }
    }
}

/// Both ends of one cell.
struct Cell<'a> {
    verb: Verb,
    options: &'a [&'a str],
    client: &'a End,
    server: &'a End,
}

impl Cell<'_> {
    fn run(&self, client: Implementation, server: Implementation) {
        use Implementation::{Other, Rust};

        for &driver in Driver::ALL {
            match (client, server) {
                (Rust, Rust) => self.ours(driver),
                (Rust, Other(peer)) => {
                    let ours = self.ours_as(driver, self.client);
                    let (outcome, output) =
                        self.theirs(peer).meet_client(&ours, Talk::Send(MESSAGE));
                    assert_eq!(outcome.unwrap().received, MESSAGE, "{}", said(&output));
                }
                (Other(peer), Rust) => {
                    let ours = self.ours_as(driver, self.server);
                    let (outcome, output) =
                        self.theirs(peer).meet_server(MESSAGE, &ours, Talk::Echo);
                    assert_eq!(outcome.unwrap().received, MESSAGE, "{}", said(&output));
                }
                (Other(client), Other(server)) => self.others(client, server),
            }
        }
    }

    fn theirs(&self, peer: &'static Peer) -> Theirs<'_> {
        Theirs {
            peer,
            verb: self.verb,
            options: self.options,
        }
    }

    fn ours_as<'e>(&self, driver: Driver, end: &'e End) -> Ours<'e> {
        let verb = self.verb;
        Ours { driver, verb, end }
    }

    fn ours(&self, driver: Driver) {
        let (near, far): (TcpStream, TcpStream) = tcp_pair();
        let (client, server) = (
            self.ours_as(driver, self.client),
            self.ours_as(driver, self.server),
        );
        thread::scope(|scope| {
            let server = scope.spawn(|| server.run(far, Talk::Echo).unwrap());
            let got = client.run(near, Talk::Send(MESSAGE)).unwrap();
            assert_eq!(got.received, MESSAGE);
            assert_eq!(server.join().unwrap().received, MESSAGE);
        });
    }

    fn others(&self, client: &'static Peer, server: &'static Peer) {
        let mut serving = self.theirs(server).serve();
        let address = serving.address().to_string();
        let connect = ["connect", "Hello World", "--connect", &address];
        let verb = ["--verb", self.verb.name()];
        let output = client.run(&[&connect[..], &verb, self.options].concat());
        assert_eq!(text(&output.stdout), "Hello World\n", "{}", said(&output));
        let output = serving.output();
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(text(&output.stderr).trim(), "accepted worker-7");
    }
}

fn said(output: &std::process::Output) -> impl fmt::Display {
    text(&output.stderr)
}

#[test]
fn each_implementation_meets_each_in_every_mode_and_both_roles() {
    let temp = TempDir::new();
    let (file, key) = key_file(&temp, "secret.key");
    let (client, server) = (super::native::client(&key), super::native::server(&key));
    let all = Implementation::all();
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let servers = all.iter().map(|(name, _)| format!("{name} server"));
    let mut table = row(["client".to_owned()].into_iter().chain(servers).collect());
    table += &["|---".repeat(1 + all.len()).as_str(), "|\n"].concat();
    for (name, as_client) in &all {
        let mut cells = vec![(*name).to_owned()];
        for (_, as_server) in &all {
            let mut modes = Vec::new();
            let verbs = Verb::ALL.iter().copied();
            for verb in verbs.filter(|&verb| as_client.has(verb) && as_server.has(verb)) {
                let cell = Cell {
                    verb,
                    options: &options(&file),
                    client: &client,
                    server: &server,
                };
                cell.run(*as_client, *as_server);
                modes.push(verb.mode().to_string());
            }
            cells.push(modes.join(", "));
        }
        table += &row(cells);
    }
    let has_all_verbs = |&(_, it): &(_, Implementation)| Verb::ALL.iter().all(|&verb| it.has(verb));
    if cfg!(feature = "encrypt") && all.len() == 3 && all.iter().all(has_all_verbs) {
        let readme = include_str!("../../peers/README.md");
        assert!(readme.contains(&table), "peers/README.md has not:\n{table}");
    }
}
