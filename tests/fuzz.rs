//! Runs the bodies of the fuzz targets over the corpora and over alterations of their files.
//!
//! The directory `fuzz` of the repository has the targets, which call the same bodies.

mod client;
mod cookbook;
mod harness;
mod key;
mod key_file;
#[cfg(feature = "multiprocessing-md5")]
mod multiprocessing;
mod record;
mod server;
mod two_cores;

use std::fs;
use std::path::Path;

use self::harness::{Draws, run};

#[test]
fn no_input_gets_a_session_from_a_server_without_the_secret() {
    replay("server", server::body);
}

#[test]
fn no_input_gets_a_session_from_a_client_without_the_secret() {
    replay("client", client::body);
}

#[test]
fn only_the_records_before_the_first_altered_one_are_delivered() {
    replay("record", record::body);
}

#[test]
fn no_input_succeeds_in_the_cookbook_protocol_without_the_secret() {
    replay("cookbook", cookbook::body);
}

#[cfg(feature = "multiprocessing-md5")]
#[test]
fn no_input_succeeds_in_the_multiprocessing_protocol_without_the_authkey() {
    replay("multiprocessing", multiprocessing::body);
}

#[test]
fn two_cores_agree_or_fail_whatever_happens_to_their_messages() {
    replay("two_cores", two_cores::body);
}

#[test]
fn bytes_become_a_secret_an_id_or_a_service_exactly_if_the_rules_allow_it() {
    replay("key", key::body);
}

#[test]
fn a_key_file_is_loaded_or_refused_exactly_as_its_content_says() {
    replay("key_file", key_file::body);
}

/// The number of altered inputs for each target.
const ALTERED: usize = 400;

/// Runs a body over each file of its corpus, and over the same number of alterations of each file.
fn replay(target: &str, body: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let entries = fs::read_dir(corpus.join(target)).expect("each target has a corpus");
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus of {target} is empty");

    for file in &files {
        // The test harness shows this if the test fails.
        println!("{}", file.display());
        let bytes = fs::read(file).unwrap();
        run(body, &bytes);
        let mut draws = Draws::of(&bytes);
        for _ in 0..ALTERED.div_ceil(files.len()) {
            let altered = altered(&bytes, &mut draws);
            println!("altered to {}", altered.escape_ascii());
            run(body, &altered);
        }
    }
}

/// Alters the input one to four times: changes a byte, removes one, inserts one, or cuts off the end.
fn altered(bytes: &[u8], draws: &mut Draws) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=draws.below(4) {
        let at = draws.below(bytes.len() + 1);
        let byte = u8::try_from(draws.below(256)).unwrap();
        match draws.below(8) {
            0 => bytes.insert(at, byte),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            _ => {
                if let Some(there) = bytes.get_mut(at) {
                    *there = byte;
                }
            }
        }
    }
    bytes
}
