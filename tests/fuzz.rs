//! The bodies of the fuzz targets, over the inputs that are kept for them and over alterations of
//! these.
//!
//! The directory `fuzz` of the repository has the targets themselves, which call the same bodies.

mod client;
mod cookbook;
mod harness;
mod key;
#[cfg(feature = "multiprocessing-md5")]
mod multiprocessing;
mod record;
mod server;
mod two_cores;

use std::fs;
use std::path::Path;

use self::harness::{Draws, run};

#[test]
fn no_octets_without_the_secret_get_a_session_of_a_server() {
    replay("server", server::body);
}

#[test]
fn no_octets_without_the_secret_get_a_session_of_a_client() {
    replay("client", client::body);
}

#[test]
fn of_records_that_were_tampered_with_only_what_comes_before_is_delivered() {
    replay("record", record::body);
}

#[test]
fn no_octets_without_the_secret_succeed_on_the_recipes_wire() {
    replay("cookbook", cookbook::body);
}

#[cfg(feature = "multiprocessing-md5")]
#[test]
fn no_octets_without_the_authkey_succeed_on_the_wire_of_multiprocessing() {
    replay("multiprocessing", multiprocessing::body);
}

#[test]
fn two_cores_agree_or_do_not_succeed_whatever_is_between_them() {
    replay("two_cores", two_cores::body);
}

#[test]
fn octets_are_a_secret_an_id_or_a_service_or_are_refused_by_their_rules() {
    replay("key", key::body);
}

/// The inputs that are made by altering those in the corpus.
const ALTERED: usize = 400;

/// Runs a body over each file of its corpus, and over the same number of alterations of each.
fn replay(target: &str, body: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let entries = fs::read_dir(corpus.join(target)).expect("each target has a corpus");
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus of {target} is empty");

    for file in &files {
        // Shown if the test fails.
        println!("{}", file.display());
        let octets = fs::read(file).unwrap();
        run(body, &octets);
        let mut draws = Draws::of(&octets);
        for _ in 0..ALTERED.div_ceil(files.len()) {
            let altered = altered(&octets, &mut draws);
            println!("altered to {}", altered.escape_ascii());
            run(body, &altered);
        }
    }
}

/// One to four octets are changed, or one is left out or put in, or the end is cut off.
fn altered(octets: &[u8], draws: &mut Draws) -> Vec<u8> {
    let mut octets = octets.to_vec();
    for _ in 0..=draws.below(4) {
        let at = draws.below(octets.len() + 1);
        let octet = u8::try_from(draws.below(256)).unwrap();
        match draws.below(8) {
            0 => octets.insert(at, octet),
            1 if at < octets.len() => drop(octets.remove(at)),
            2 => octets.truncate(at),
            _ => {
                if let Some(there) = octets.get_mut(at) {
                    *there = octet;
                }
            }
        }
    }
    octets
}
