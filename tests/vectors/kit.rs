//! The kit as a whole.

use super::file::{Fields, vectors};

/// The files that `kit/kit.py` makes.
pub const FILES: [&str; 3] = ["exchanges", "records", "inputs"];

/// Every file, and the words of `expect` that are no failure.
const ALL: [&str; 7] = [
    "handshake.txt",
    "encrypt.txt",
    "key-files.txt",
    "passphrases.txt",
    "exchanges.txt",
    "records.txt",
    "inputs.txt",
];
const POSITIVE: [&str; 5] = ["accepted", "close", "taken", "one secret", "two secrets"];

#[test]
fn the_kit_has_hundreds_of_cases_most_of_them_negative_and_each_with_a_name_of_its_own() {
    let (mut cases, mut negative) = (0, 0);
    for file in ALL {
        let mut names = Vec::new();
        for text in vectors(file) {
            let mut fields = Fields::parse(&text).unwrap();
            names.push(fields.text("name").unwrap().to_owned());
            let expect = fields.text("expect").unwrap();
            negative += usize::from(!POSITIVE.contains(&expect));
        }
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{file}");
        cases += all;
    }
    assert!(cases >= 1000 && negative >= 800, "{cases}, {negative}");
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
