//! The guide for diagnosing has every sentence that an error can display.

use std::io;

use countersign::compat::multiprocessing::Problem;
use countersign::{Error, Hint, KeyId, Outcome, Reloaded};

use crate::errors::{sentences, streams};

/// The rows of the guide for diagnosing: what is quoted in the first column.
fn diagnosed() -> Vec<&'static str> {
    let guide = include_str!("../src/guide/diagnosing.md");
    let rows = guide.lines().filter_map(|line| line.strip_prefix("| `"));
    let first = rows.map(|row| row.split_once("` |").unwrap().0);
    first.flat_map(|cell| cell.split("`, `")).collect()
}

/// What the guide has in place of an error of the system.
const SYSTEM: &str = "the system's error";

const HINTS: [Hint; 6] = [
    Hint::Http,
    Hint::Tls,
    Hint::Ssh,
    Hint::Multiprocessing,
    Hint::Proxy,
    Hint::Native,
];

/// Whether a sentence has all parts of a row, in order.
fn fits(sentence: &str, row: &str) -> bool {
    let parts = row.split('…');
    let rest = parts.into_iter().try_fold(sentence, |rest, part| {
        rest.split_once(part).map(|(_, rest)| rest)
    });
    rest.is_some()
}

#[test]
fn every_sentence_is_in_the_guide_for_diagnosing_and_every_row_is_about_a_sentence() {
    let mut said = sentences();
    said.extend(other_sentences());
    said.extend(multiprocessing_problems().map(|problem| problem.to_string()));
    let rows = diagnosed();
    // Each hint by itself, and the system's errors by one name: a general row is not enough for them.
    said.extend(HINTS.map(|hint| hint.to_string()));
    let said = said.into_iter();
    let said: Vec<_> = said
        .map(|said| said.replace("as it says itself", SYSTEM))
        .collect();
    for sentence in &said {
        let row = rows.iter().any(|row| fits(sentence, row));
        assert!(row, "the guide does not say what to do about: {sentence}");
    }
    for row in rows {
        let sentence = said.iter().any(|sentence| fits(sentence, row));
        assert!(sentence, "nothing says: {row}");
    }
}

fn multiprocessing_problems() -> impl Iterator<Item = Problem> {
    [
        Problem::MessageLength(1 << 20),
        Problem::NotAChallenge,
        Problem::ChallengeTooShort { len: 19 },
        Problem::UnnamedDigest,
        Problem::UnknownDigest,
        Problem::NotADigest,
        Problem::Md5Only,
        Problem::BareSha256,
        Problem::NoMd5,
        Problem::NotAWelcome,
        Problem::Rejected,
        Problem::RejectedMd5,
        Problem::WrongDigest,
    ]
    .into_iter()
    .chain(streams().map(Problem::Stream))
}

/// What a listener and a reload say.
fn other_sentences() -> Vec<String> {
    let mut reloaded = Reloaded::default();
    let error = Error::NoDirectory;
    reloaded.kept = vec![(KeyId::new("worker-7").unwrap(), error)];
    let mut said = vec![reloaded.to_string()];
    let mut reloaded = Reloaded::default();
    reloaded.refused = vec![Error::NoDirectory];
    said.push(reloaded.to_string());
    let denied = || io::Error::other("as it says itself");
    let (max_pending, limit) = (1024, 1024);
    let outcomes = [
        Outcome::Evicted,
        Outcome::ShutDown,
        Outcome::Failed(denied()),
        Outcome::FewDescriptors { max_pending, limit },
    ];
    said.extend(outcomes.map(|outcome| outcome.to_string()));
    said
}
