//! The kit as a whole.

use std::ops::RangeInclusive;

use super::file::{Fields, vectors};

/// The files that `kit/kit.py` makes.
pub const FILES: [&str; 3] = ["exchanges", "records", "inputs"];

/// Every file.
pub const ALL: [&str; 7] = [
    "handshake.txt",
    "encrypt.txt",
    "key-files.txt",
    "passphrases.txt",
    "exchanges.txt",
    "records.txt",
    "inputs.txt",
];

/// The words of `expect` that are no failure.
const POSITIVE: [&str; 5] = ["accepted", "close", "taken", "one secret", "two secrets"];

/// How the records end that `kit.py` sends to a server over a socket, in its order.
pub fn ends_of_records_to_a_server(mode: u8) -> Vec<String> {
    let end = |text: String| {
        let mut fields = Fields::parse(&text).unwrap();
        let is_sent = fields.text("role") == Ok("server")
            && fields.number("mode") == Ok(mode.into())
            && fields.number("skip") == Ok(0);
        is_sent.then(|| fields.text("expect").unwrap().to_owned())
    };
    vectors("records.txt").into_iter().filter_map(end).collect()
}

/// How many cases of a file are in one of these modes or in none.
pub fn count(file: &str, modes: &RangeInclusive<u8>) -> usize {
    let is_among = |text: &String| {
        let mut fields = Fields::parse(text).unwrap();
        !fields.has("mode") || modes.contains(&fields.text("mode").unwrap().parse().unwrap())
    };
    vectors(file).iter().filter(|text| is_among(text)).count()
}

#[test]
fn the_kit_has_as_many_cases_as_its_readme_says_each_with_a_name_of_its_own() {
    let readme = include_str!("README.md");
    let mut whole = [0; 2];
    for file in ALL {
        let mut names = Vec::new();
        let mut negative = 0;
        for text in vectors(file) {
            let mut fields = Fields::parse(&text).unwrap();
            names.push(fields.text("name").unwrap().to_owned());
            let expect = fields.text("expect").unwrap();
            negative += usize::from(!POSITIVE.contains(&expect));
        }
        let cases = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), cases, "{file}");
        let said = readme
            .lines()
            .find(|line| line.starts_with(&format!("| `{file}` |")));
        let counts = format!("| {cases} | {negative} |");
        assert!(
            said.is_some_and(|row| row.ends_with(&counts)),
            "{file} {counts}"
        );
        whole = [whole[0] + cases, whole[1] + negative];
    }
    let [cases, negative] = whole;
    let counts = format!("| all | | {cases} | {negative} |");
    assert!(readme.contains(&counts), "{counts}");
}

#[test]
fn every_section_that_the_kit_names_is_one_of_the_specification() {
    let specification = include_str!("../../PROTOCOL.md");
    for text in FILES
        .iter()
        .flat_map(|file| vectors(&format!("{file}.txt")))
    {
        let mut fields = Fields::parse(&text).unwrap();
        let section = fields.text("section").unwrap();
        let is_heading = |line: &str| {
            let line = line.trim_start_matches('#').trim_start();
            line.strip_prefix(section)
                .is_some_and(|rest| rest.starts_with(' ') || rest.starts_with(". "))
        };
        let headings = specification.lines().filter(|line| line.starts_with('#'));
        assert!(headings.into_iter().any(is_heading), "no section {section}");
    }
}
