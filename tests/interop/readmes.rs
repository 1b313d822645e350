//! What the READMEs of the peers show, and what their servers bear.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use super::process::text;
use super::{NODE, PYTHON, Peer, Process, key_file, options};
use crate::support::TempDir;

const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers");

/// How the examples of a language run: what stands in them, and what the test puts in its place.
struct Language {
    peer: &'static Peer,
    readme: &'static str,
    fence: &'static str,
    script: &'static str,
    /// The import of the module, and one of the module in its directory.
    import: [&'static str; 2],
    /// How a server begins to listen, and how it also says where.
    listens: [&'static str; 2],
}

const LANGUAGES: [Language; 2] = [
    Language {
        peer: &PYTHON,
        readme: include_str!("../../peers/python/README.md"),
        fence: "```python\n",
        script: "example.py",
        import: [
            "from countersign import",
            "import sys; sys.path.insert(0, 'PEERS/python')\nfrom countersign import",
        ],
        listens: [
            "(\"127.0.0.1\", 18000)) as listener:\n",
            "(\"127.0.0.1\", 0)) as listener:\n    print(\"listening on 127.0.0.1:%d\" % \
             listener.getsockname()[1], flush=True)\n",
        ],
    },
    Language {
        peer: &NODE,
        readme: include_str!("../../peers/node/README.md"),
        fence: "```js\n",
        script: "example.mjs",
        import: ["'countersign'", "'PEERS/node/countersign.mjs'"],
        listens: [
            ".listen(18000, '127.0.0.1');",
            ".listen(0, '127.0.0.1', function () { console.log(`listening on \
             127.0.0.1:${this.address().port}`); });",
        ],
    },
];

impl Language {
    /// Returns the examples: the recipe's server and its client, and the ones with this protocol.
    fn examples(&self) -> [[&'static str; 2]; 2] {
        let blocks = self.readme.split(self.fence).skip(1);
        let blocks: Vec<_> = blocks.map(|it| it.split_once("```").unwrap().0).collect();
        let [server, client, our_server, our_client] = blocks[..] else {
            panic!("{} examples", blocks.len());
        };
        [[server, client], [our_server, our_client]]
    }

    fn start(&self, temp: &TempDir, code: &str, key_file: &str) -> Process {
        let [import, from] = self.import;
        let code = code.replace(import, &from.replace("PEERS", PEERS));
        let path = temp.path().join(self.script);
        fs::write(&path, code.replace("secret.key", key_file)).unwrap();
        let interpreter = self.peer.command[0];
        Process::start(interpreter, &[path.to_str().unwrap()])
    }

    fn serve(&self, temp: &TempDir, code: &str, key_file: &str) -> (Process, SocketAddr) {
        let [listens, and_says] = self.listens;
        assert!(code.contains(listens), "{code}");
        let mut process = self.start(temp, &code.replace(listens, and_says), key_file);
        let address = process.address();
        (process, address)
    }
}

#[test]
fn the_examples_of_each_peer_echo_and_ours_survive_a_probe_and_a_silent_client() {
    let temp = TempDir::new();
    let (file, _) = key_file(&temp, "secret.key");
    for language in LANGUAGES.iter().filter(|it| it.peer.is_installed()) {
        let [insecure, ours] = language.examples();
        for [server, client] in [insecure, ours] {
            let (_server, address) = language.serve(&temp, server, &file);
            let strangers = (server == ours[0]).then(|| strangers(address));
            let client = client.replace("18000", &address.port().to_string());
            let output = language.start(&temp, &client, &file).output();
            let said = text(&output.stderr);
            assert_eq!(text(&output.stdout), "Hello World\n", "{said}");
            assert!(output.status.success(), "{said}");
            drop(strangers);
        }
    }
}

/// Connects and disconnects, as a port probe does, and connects again and is silent.
fn strangers(address: SocketAddr) -> TcpStream {
    drop(TcpStream::connect(address).unwrap());
    let mut silent = TcpStream::connect(address).unwrap();
    // The server has begun with it.
    silent.read_exact(&mut [0; 40]).unwrap();
    silent
}

#[test]
fn the_server_of_each_peer_survives_a_probe_and_a_silent_client() {
    let temp = TempDir::new();
    let (file, _) = key_file(&temp, "secret.key");
    for peer in Peer::all() {
        let serve = ["serve", "--connections", "3"];
        let mut server = peer.start(&[&serve[..], &options(&file)].concat());
        let address = server.address();
        let silent = strangers(address);
        let connect = ["connect", "--connect", &address.to_string()];
        let output = peer.run(&[&connect[..], &options(&file)].concat());
        assert_eq!(text(&output.stdout), "Hello World\n");
        drop(silent);
        let log = text(&server.output().stderr);
        let mut lines: Vec<_> = log.lines().collect();
        lines.sort_unstable();
        let [accepted, refused @ ..] = &lines[..] else {
            panic!("the server said nothing");
        };
        assert_eq!(*accepted, "accepted worker-7");
        assert_eq!(refused.len(), 2, "{log}");
        assert!(
            refused.iter().all(|it| it.starts_with("refused: ")),
            "{log}"
        );
    }
}
