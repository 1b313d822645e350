//! Both implementations of the native protocol, as client and as server, against both drivers.

#[cfg(feature = "encrypt")]
use std::io::{Read, Write};
use std::net::TcpStream;
#[cfg(feature = "encrypt")]
use std::thread;

use countersign::handshake::{Incompatible, Refusal};
use countersign::record::Error as RecordError;
use countersign::{Client, Key, Server};

use super::ours::{End, Failure, Talk, Verb};
use super::process::text;
#[cfg(feature = "encrypt")]
use super::{NODE, TIME, is_installed};
use super::{Ours, Peer, Theirs, key_file, options};
use crate::failures::{incompatible, is_denied, refusal};
use crate::support::TempDir;

pub fn client(key: &Key) -> End {
    let client = Client::new(key.clone().with_id("worker-7").unwrap());
    End::Client(client.service("billing/2").unwrap())
}

pub fn server(key: &Key) -> End {
    let server = Server::new(key.clone().with_id("worker-7").unwrap());
    End::Server(server.service("billing/2").unwrap())
}

/// No two parts of it are equal, so that none can stand for another.
fn long_message() -> Vec<u8> {
    let numbers = 0..(1_u32 << 18);
    numbers.flat_map(u32::to_be_bytes).collect()
}

/// Whether a secured stream ended without its close.
fn is_truncated(failure: &Failure) -> bool {
    matches!(failure, Failure::Later(error) if RecordError::of(error) == Some(RecordError::Truncated))
}

#[test]
fn our_client_and_a_peers_server_authenticate_each_other_and_no_byte_is_lost() {
    let temp = TempDir::new();
    let (file, key) = key_file(&temp, "secret.key");
    let (end, options, long) = (client(&key), options(&file), long_message());
    for (peer, verb, driver) in Peer::with_verbs() {
        for message in [&b""[..], b"Hello World", &long] {
            let theirs = Theirs {
                peer,
                verb,
                options: &options,
            };
            let ours = Ours {
                driver,
                verb,
                end: &end,
            };
            let (outcome, output) = theirs.meet_client(&ours, Talk::Send(message));
            let logged = text(&output.stderr);
            let got = outcome.unwrap();
            assert_eq!(&got.key_id, "worker-7");
            assert!(got.received == message, "{verb:?} {driver:?}: {logged}");
            assert_eq!(logged.trim(), "accepted worker-7");
            assert!(output.status.success());
        }
    }
}

#[test]
fn our_server_and_a_peers_client_authenticate_each_other_and_no_byte_is_lost() {
    let temp = TempDir::new();
    let (file, key) = key_file(&temp, "secret.key");
    let (end, options, long) = (server(&key), options(&file), long_message());
    for (peer, verb, driver) in Peer::with_verbs() {
        for message in [&b""[..], b"Hello World", &long] {
            let theirs = Theirs {
                peer,
                verb,
                options: &options,
            };
            let ours = Ours {
                driver,
                verb,
                end: &end,
            };
            let (outcome, output) = theirs.meet_server(message, &ours, Talk::Echo);
            let logged = text(&output.stderr);
            let got = outcome.unwrap();
            assert_eq!(&got.key_id, "worker-7");
            assert!(got.received == message, "{verb:?} {driver:?}: {logged}");
            assert!(output.stdout == [message, b"\n"].concat(), "{logged}");
            assert_eq!(logged, "");
            assert!(output.status.success());
        }
    }
}

#[test]
fn a_server_denies_a_client_with_another_secret_id_or_service() {
    let temp = TempDir::new();
    let (file, key) = key_file(&temp, "secret.key");
    let (other, _) = key_file(&temp, "other.key");
    let [ours_as_client, ours_as_server] = [client(&key), server(&key)];
    for (peer, verb, driver) in Peer::with_verbs() {
        for (at, value, reason) in [
            (1, other.as_str(), Refusal::WrongProof),
            (3, "nobody", Refusal::UnknownKeyId),
            (5, "billing/3", Refusal::WrongProof),
        ] {
            let mut options = options(&file);
            options[at] = value;
            let theirs = Theirs {
                peer,
                verb,
                options: &options,
            };
            let end = &ours_as_client;
            let (outcome, output) =
                theirs.meet_client(&Ours { driver, verb, end }, Talk::Send(b"Hello World"));
            assert!(is_denied(&outcome.unwrap_err().handshake()));
            let logged = text(&output.stderr);
            assert!(logged.starts_with("refused: "), "{logged}");
            assert_eq!(output.status.code(), Some(1));

            let end = &ours_as_server;
            let ours = Ours { driver, verb, end };
            let (outcome, output) = theirs.meet_server(b"Hello World", &ours, Talk::Echo);
            assert_eq!(refusal(&outcome.unwrap_err().handshake()), Some(reason));
            let logged = text(&output.stderr);
            assert!(logged.contains("denied"), "{logged}");
            assert_eq!(output.status.code(), Some(1));
        }
    }
}

#[test]
fn both_ends_name_both_verbs_if_they_differ() {
    let temp = TempDir::new();
    let (file, key) = key_file(&temp, "secret.key");
    let ends = [client(&key), server(&key)];
    for (peer, their_verb, driver) in Peer::with_verbs() {
        for &verb in Verb::ALL.iter().filter(|&&verb| verb != their_verb) {
            for end in &ends {
                let theirs = Theirs {
                    peer,
                    verb: their_verb,
                    options: &options(&file),
                };
                let ours = Ours { driver, verb, end };
                let (outcome, output) = match end {
                    End::Client(_) => theirs.meet_client(&ours, Talk::Echo),
                    End::Server(_) => theirs.meet_server(b"Hello World", &ours, Talk::Echo),
                };
                let expected = Incompatible::Mode {
                    ours: verb.mode(),
                    theirs: their_verb.mode(),
                };
                let error = outcome.unwrap_err().handshake();
                assert_eq!(incompatible(&error), Some(&expected));
                let logged = text(&output.stderr);
                let expected = format!(
                    "rong mode: the peer wants {}, this end {}",
                    verb.name(),
                    their_verb.name()
                );
                assert!(logged.contains(&expected), "{logged}");
                assert_eq!(output.status.code(), Some(1));
            }
        }
    }
}

#[test]
fn a_peer_sends_on_after_our_close() {
    let temp = TempDir::new();
    let (file, key) = key_file(&temp, "secret.key");
    let (end, long) = (server(&key), long_message());
    for (peer, verb, driver) in Peer::with_verbs() {
        let theirs = Theirs {
            peer,
            verb,
            options: &options(&file),
        };
        let ours = Ours {
            driver,
            verb,
            end: &end,
        };
        let (outcome, output) = theirs.meet_server(&long, &ours, Talk::Send(b"no echo"));
        let logged = text(&output.stderr);
        assert!(
            outcome.unwrap().received == long,
            "{verb:?} {driver:?}: {logged}"
        );
        assert_eq!(text(&output.stdout), "no echo\n");
        assert!(logged.contains("he answer is not the message"), "{logged}");
    }
}

/// What arrives in place of our first record, and what a peer says of it.
const BAD_ENDS: [(&[u8], &str); 4] = [
    (b"", "truncated"),
    (b"\x00", "truncated"),
    (b"\x40\x01", "bad length"),
    (b"\x00\x01x----------------", "bad tag"),
];

#[test]
fn a_peer_notices_a_stream_that_is_cut_or_forged() {
    let temp = TempDir::new();
    let (file, key) = key_file(&temp, "secret.key");
    let ends = [client(&key), server(&key)];
    for (peer, verb, driver) in Peer::with_verbs() {
        if verb == Verb::Authenticate {
            continue;
        }
        for (bytes, reason) in BAD_ENDS {
            for end in &ends {
                let theirs = Theirs {
                    peer,
                    verb,
                    options: &options(&file),
                };
                let ours = Ours { driver, verb, end };
                let logged = match end {
                    End::Client(_) => {
                        let (outcome, output) = theirs.meet_client(&ours, Talk::Raw(bytes));
                        let failure = outcome.unwrap_err();
                        assert!(is_truncated(&failure), "{failure:?}");
                        assert_eq!(output.status.code(), Some(1));
                        text(&output.stderr).replace("accepted worker-7\nended: ", "")
                    }
                    End::Server(_) => {
                        // The peer may have sent its own close before.
                        let (_, output) = theirs.meet_server(b"", &ours, Talk::Raw(bytes));
                        assert_eq!(output.status.code(), Some(1));
                        text(&output.stderr)
                    }
                };
                let logged = logged.to_lowercase();
                assert!(
                    logged.contains(reason),
                    "{verb:?} {driver:?} {bytes:?}: {logged}"
                );
                assert!(!logged.contains("ended"), "{logged}");
            }
        }
    }
}

#[test]
fn our_end_notices_a_peer_that_is_killed() {
    let temp = TempDir::new();
    let (file, key) = key_file(&temp, "secret.key");
    let [ours_as_client, ours_as_server] = [client(&key), server(&key)];
    // More than the system's buffers hold, so that the peer's close cannot be among what arrives.
    let message = vec![b'x'; 32 << 20];
    for (peer, verb, driver) in Peer::with_verbs() {
        if verb == Verb::Authenticate {
            continue;
        }
        let theirs = Theirs {
            peer,
            verb,
            options: &options(&file),
        };
        let mut process = theirs.serve();
        let socket = TcpStream::connect(process.address()).unwrap();
        let end = &ours_as_client;
        let ours = Ours { driver, verb, end };
        let outcome = ours.run(socket, Talk::Call(&mut || process.kill()));
        assert!(outcome.is_err_and(|failure| is_truncated(&failure)));

        let (mut process, socket) = theirs.connect(&temp, &message);
        let end = &ours_as_server;
        let ours = Ours { driver, verb, end };
        let outcome = ours.run(socket, Talk::Call(&mut || process.kill()));
        assert!(outcome.is_err_and(|failure| is_truncated(&failure)));
    }
}

/// Many small records, because a step has 65,536 of them however long they are.
#[cfg(feature = "encrypt")]
#[test]
fn a_connection_with_the_javascript_peer_goes_on_across_a_step() {
    const RECORDS: usize = 65_536 + 100;

    if !is_installed(NODE.command[0]) {
        return;
    }
    let temp = TempDir::new();
    let (file, key) = key_file(&temp, "secret.key");
    let theirs = Theirs {
        peer: &NODE,
        verb: Verb::Encrypt,
        options: &options(&file),
    };
    let mut process = theirs.serve();
    let socket = TcpStream::connect(process.address()).unwrap();
    let End::Client(client) = client(&key) else {
        unreachable!("this is a client")
    };
    let stream = client.encrypt_timeout(socket, TIME).unwrap();
    let (mut reader, mut writer) = stream.into_split();
    reader.set_read_timeout(Some(TIME)).unwrap();
    writer.set_write_timeout(Some(TIME)).unwrap();
    let mut received = Vec::new();
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..RECORDS {
                writer.write_all(b"x").unwrap();
            }
            writer.close().unwrap();
        });
        reader.read_to_end(&mut received).unwrap();
    });
    assert!(received == vec![b'x'; RECORDS], "{} bytes", received.len());
    assert!(process.output().status.success());
}
