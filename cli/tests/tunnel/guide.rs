//! The guide for operators has a row for every sentence of the tunnel.

use std::fs;
use std::path::Path;

/// What is quoted in the first column of the guide's tables.
fn rows() -> Vec<&'static str> {
    let guide = include_str!("../../../src/guide/operating_tunnels.md");
    let rows = guide.lines().filter_map(|line| line.strip_prefix("| `"));
    let first = rows.map(|row| row.split_once("` |").unwrap().0);
    first.flat_map(|cell| cell.split("`, `")).collect()
}

/// The strings of Rust code, with `…` in the place of what is put into them.
fn strings(code: &str) -> Vec<String> {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let code: Vec<_> = code.lines().filter(is_code).map(str::trim_start).collect();
    let code = code.join("\n").replace("\\\n", "").replace("\\\"", "\u{1}");
    let strings = code.split('"').skip(1).step_by(2);
    let filled = strings.map(|string| {
        let mut parts = string.split(['{', '}']);
        let mut filled = parts.next().unwrap_or_default().to_owned();
        while let (Some(_), Some(rest)) = (parts.next(), parts.next()) {
            filled.push('…');
            filled.push_str(rest);
        }
        filled.replace('\u{1}', "\"")
    });
    filled.collect()
}

/// Whether a text has all parts of another, in order.
fn fits(text: &str, parts: &str) -> bool {
    let mut parts = parts.split('…');
    let rest = parts.try_fold(text, |rest, part| Some(rest.split_once(part)?.1));
    rest.is_some()
}

/// Words that are not the rest of a sentence.
fn is_sentence(text: &str) -> bool {
    let words = text.contains(' ') && text.contains(char::is_alphabetic);
    words && !text.starts_with([';', ',', ' '])
}

/// The command line is refused before it comes to this.
const NEVER: &str = "give --key-dir or --key-file";

#[test]
fn every_sentence_of_the_tunnel_is_in_the_guide_and_every_row_is_about_a_sentence() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tunnel");
    let mut said = Vec::new();
    for file in fs::read_dir(source).unwrap() {
        said.extend(strings(&fs::read_to_string(file.unwrap().path()).unwrap()));
    }
    let (rows, is_about) = (rows(), |a: &str, b: &str| fits(a, b) || fits(b, a));
    let sentences: Vec<_> = said.iter().filter(|it| is_sentence(it)).collect();
    // Some are put together from several strings.
    for sentence in &sentences {
        let row = rows.iter().any(|row| is_about(row, sentence));
        assert!(
            row || *sentence == NEVER,
            "the guide has no row for: {sentence}"
        );
    }
    for row in rows {
        let sentence = sentences.iter().any(|sentence| is_about(row, sentence));
        assert!(
            sentence || said.iter().any(|it| it == row),
            "nothing says: {row}"
        );
    }
}

#[test]
fn strings_of_code_are_found() {
    let code = "// \"no\"\nlet a = \"one {two} \\\n    three\"; f(\"\", \"{a} \\\"b\\\"\");";
    assert_eq!(strings(code), ["one … three", "", "… \"b\""]);
    assert!(fits("one two three", "one … three") && !fits("one two", "two…one"));
    assert!(is_sentence("one …") && !is_sentence("; one …") && !is_sentence("one"));
}
