//! The Markdown files and the front page: their links, their length and their words.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The files of the repository with one of these endings, without what is built.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    fn collect(directory: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                // Git's own directory, and what builds and runs leave behind.
                if !["target", ".git", "__pycache__", "node_modules", "venv"].contains(&name) {
                    collect(&path, endings, found);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    collect(&root(), endings, &mut found);
    found.sort();
    assert!(!found.is_empty());
    found
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().to_owned()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn guides() -> Vec<PathBuf> {
    let mut files = files(&[".md"]);
    files.retain(|path| shown(path).starts_with("src/guide/"));
    assert!(files.len() >= 12, "{files:?}");
    files
}

/// The README and the guides.
fn for_strangers() -> Vec<PathBuf> {
    let mut files = guides();
    files.push(root().join("README.md"));
    files
}

/// A Markdown text without blocks of code.
fn without_code(text: &str) -> String {
    let mut in_code = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// A text with `put` in the place of each span of code.
fn without_spans(text: &str, put: &str) -> String {
    let mut parts = text.split('`');
    let mut kept = parts.next().unwrap().to_owned();
    while let Some(span) = parts.next() {
        kept.push_str(if span.is_empty() { "" } else { put });
        kept.push_str(parts.next().unwrap_or_default());
    }
    kept
}

/// The targets of the links and pictures of a Markdown text.
fn links(text: &str) -> Vec<String> {
    let text = without_spans(&without_code(text), "code");
    let behind = text.split("](").skip(1);
    behind
        .map(|rest| rest.split_once(')').unwrap().0.to_owned())
        .collect()
}

/// The fragments of the headings of a Markdown text, as GitHub makes them.
fn fragments(text: &str) -> BTreeSet<String> {
    let text = without_code(text);
    let headings = text.lines().filter_map(|line| {
        let heading = line.trim_start_matches('#');
        (heading.len() < line.len()).then(|| heading.trim().to_lowercase())
    });
    let is_kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    let kept = headings.map(|heading| heading.chars().filter(is_kept).collect::<String>());
    kept.map(|heading| heading.replace(' ', "-")).collect()
}

/// Says what is wrong with a link of a Markdown file, if anything is.
fn fault(file: &Path, link: &str) -> Option<&'static str> {
    if link.starts_with("https://") || link.starts_with("http://") {
        return None;
    }
    let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
    let target = match path {
        "" => file.to_owned(),
        path => file.parent().unwrap().join(path),
    };
    if !target.exists() {
        return Some("there is no such file");
    }
    let has = |fragment| fragments(&read(&target)).contains(fragment);
    if !fragment.is_empty() && !has(fragment) {
        return Some("there is no such heading");
    }
    None
}

#[test]
fn no_link_of_a_markdown_file_is_dead() {
    let mut faults = Vec::new();
    for file in files(&[".md"]) {
        for link in links(&read(&file)) {
            // rustdoc checks its links between items and guides.
            let is_item = shown(&file).starts_with("src/guide/") && link.contains("::");
            if let Some(fault) = fault(&file, &link).filter(|_| !is_item) {
                faults.push(format!("{}: {link}: {fault}", shown(&file)));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_dead_link_is_found() {
    let readme = root().join("README.md");
    for (link, expected) in [
        ("https://example.org/", None),
        ("PROTOCOL.md", None),
        ("#set-up", None),
        ("fuzz/README.md", None),
        ("PROTOCOLL.md", Some("there is no such file")),
        ("#setup", Some("there is no such heading")),
        ("EVIDENCE.md#the-book", Some("there is no such heading")),
    ] {
        assert_eq!(fault(&readme, link), expected, "{link}");
    }
    let text = "[a](b.md#c) `[d](e)` ![f](g.svg)\n```\n[h](i)\n```\n[`j`](k)\n";
    assert_eq!(links(text), ["b.md#c", "g.svg", "k"]);
    let headings = fragments("# Where a `peer` is faster\n## It's 1.0\n```\n# no\n```\n");
    assert!(headings.iter().eq(["its-10", "where-a-peer-is-faster"]));
}

/// Whether a path begins with a directory of the repository. Patterns are not looked for, and paths
/// from another directory or of what is built neither.
fn is_of_repository(path: &str) -> bool {
    let Some((first, _)) = path.split_once('/') else {
        return false;
    };
    let is_pattern = path.contains('*') || path.contains("/foo/");
    !["", ".", "..", "target"].contains(&first) && !is_pattern && root().join(first).exists()
}

#[test]
fn every_example_and_every_file_that_a_text_names_exists() {
    let mut missing = Vec::new();
    for file in files(&[".md"]) {
        let text = read(&file);
        for named in text.split("--example ").skip(1) {
            let name = named.split([' ', '`', '\n']).next().unwrap();
            let places = ["examples", "examples/integrations"];
            let exists = |place| root().join(place).join(format!("{name}.rs")).exists();
            if !places.into_iter().any(exists) {
                missing.push(format!("{}: example {name}", shown(&file)));
            }
        }
        let text = without_code(&text);
        for span in text.split('`').skip(1).step_by(2) {
            let path = span.split(' ').next().unwrap();
            if is_of_repository(path) && !root().join(path).exists() {
                missing.push(format!("{}: {span}", shown(&file)));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// What the tables of `examples/README.md` list: the recipes, and the larger programs.
fn programs() -> [BTreeSet<String>; 2] {
    let text = read(&root().join("examples/README.md"));
    let parts = text.split_once("## Larger programs").unwrap();
    <[&str; 2]>::from(parts).map(|part| {
        let cells = part.lines().filter_map(|line| line.strip_prefix("| `"));
        let cells = cells.map(|row| row.split_once(" |").unwrap().0);
        let names = cells.flat_map(|cell| cell.split('`').step_by(2));
        let names = names.filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    })
}

/// The files of Rust in `examples` but tests, with their paths there.
fn example_files() -> impl Iterator<Item = (String, String)> {
    let files = files(&[".rs"]).into_iter();
    files.filter_map(|file| {
        let name = shown(&file).strip_prefix("examples/")?.to_owned();
        (!name.contains("/tests/")).then(|| (name, read(&file)))
    })
}

#[test]
fn every_program_of_the_examples_is_listed_with_them() {
    let [mut listed, mut larger] = programs();
    listed.append(&mut larger);
    let found: BTreeSet<_> = example_files()
        .filter(|(_, text)| text.contains("fn main("))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(listed, found);
}

#[test]
fn a_recipe_says_how_to_run_it_and_has_at_most_80_lines_in_a_file() {
    let [recipes, larger] = programs();
    for (name, text) in example_files() {
        // These have options, in files that they share.
        if larger.contains(&name) || name.starts_with("common/") {
            continue;
        }
        let lines = text.lines().count();
        assert!(lines <= 80, "{name} has {lines}");
        let comment = text.lines().take_while(|line| line.starts_with("//!"));
        let comment = comment.collect::<String>();
        let program = Path::new(&name).file_stem().unwrap().to_str().unwrap();
        let command = comment.split("`cargo run ").nth(1).unwrap_or_default();
        let is_told = command.split('`').next().unwrap().contains(program);
        assert!(is_told || !recipes.contains(&name), "{name}");
    }
}

/// Files of the repository are not in the built documentation.
#[test]
fn guides_link_to_items_and_never_to_files() {
    for guide in guides() {
        for link in links(&read(&guide)) {
            let is_item = link.contains("::") || link == "compat";
            assert!(is_item || link.starts_with("https://"), "{guide:?}: {link}");
        }
    }
}

#[test]
fn the_readme_and_the_guides_are_short() {
    let lines = |path: &Path| read(path).lines().count();
    assert!(lines(&root().join("README.md")) <= 150);
    for guide in guides() {
        assert!(lines(&guide) <= 100, "{guide:?}");
    }
}

/// The numbers of words in the sentences of a Markdown text, without tables, headings and code.
fn sentences(text: &str) -> Vec<usize> {
    let text = without_spans(&without_code(text), "code");
    let mut paragraphs = vec![String::new()];
    for line in text.lines().map(str::trim_start) {
        let item = line.strip_prefix("- ");
        let number = line
            .split_once(". ")
            .filter(|(n, _)| n.parse::<u8>().is_ok());
        let begins = item.or(number.map(|(_, rest)| rest));
        if line.is_empty() || line.starts_with(['|', '#', '!']) {
            paragraphs.push(String::new());
        } else if let Some(item) = begins {
            paragraphs.push(item.to_owned());
        } else {
            let paragraph = paragraphs.last_mut().unwrap();
            paragraph.push(' ');
            paragraph.push_str(line);
        }
    }
    let mut lengths = Vec::new();
    for paragraph in paragraphs {
        lengths.push(0);
        for word in paragraph.split_whitespace() {
            let word = word.trim_end_matches([')', '*', '"']);
            if word.contains(char::is_alphanumeric) {
                *lengths.last_mut().unwrap() += 1;
            }
            if word.ends_with(['.', '!', '?']) {
                lengths.push(0);
            }
        }
    }
    lengths.retain(|words| *words > 0);
    lengths
}

#[test]
fn half_of_the_sentences_of_the_readme_and_of_each_guide_have_at_most_16_words() {
    for file in for_strangers() {
        let mut lengths = sentences(&read(&file));
        lengths.sort_unstable();
        let median = lengths[lengths.len() / 2];
        assert!(median <= 16, "{}: {median} of {lengths:?}", shown(&file));
    }
}

#[test]
fn sentences_are_counted_without_code_and_tables() {
    let text = "# Title\n\nOne two, `a b c`. See [three\nfour](x.md)! | no\n\n| a | b |\n\n- Five 1.5.\n\
                ```text\nno. no.\n```\n1. Six";
    assert_eq!(sentences(text), [3, 3, 1, 2, 1]);
}

/// What nobody should have to read twice. The right words for each are in CONTRIBUTING.md.
const PHRASES: &[&str] = &[
    "Only our own processes may connect",
    "at the first octet of the application",
    "the two functions set none themselves",
    "one *total* deadline; the two",
    "as far as each client",
    "At most so many",
    "one more ends the",
    "Goes on by",
    "That of the socket",
    "of so much time",
    "so much time",
    "are one client, which may claim either",
    "a swap never gives half",
    "TLS that nobody verifies",
    "who learns the secret later",
    "Beside what else there is",
    "the work of a side without its draw",
    "however they are cut",
    "Why there is no session, for the caller",
    "Other people's wires",
    "Dropped, it is no longer counted",
    "Before anybody hears",
    "whatever waits for the stream below",
    "less one final LF",
    "less the one on the mode",
];

#[test]
fn no_phrase_is_used_that_readers_stumble_over() {
    let endings = [
        ".md", ".rs", ".toml", ".py", ".mjs", ".yml", ".pml", ".vp", "run",
    ];
    let mut found = Vec::new();
    for file in files(&endings) {
        let name = shown(&file);
        // They tell them to authors, or speak of octets.
        if ["PROTOCOL.md", "CONTRIBUTING.md", "tests/documents.rs"].contains(&&*name) {
            continue;
        }
        let comment = |line: &str| {
            let line = line.trim_start();
            line.trim_start_matches(['/', '!', '#']).trim().to_owned()
        };
        let text = read(&file)
            .lines()
            .map(comment)
            .collect::<Vec<_>>()
            .join(" ");
        for phrase in PHRASES.iter().filter(|phrase| text.contains(*phrase)) {
            found.push(format!("{name}: {phrase}"));
        }
        if (name == "README.md" || name.starts_with("src/")) && text.contains("octet") {
            found.push(format!("{name}: octet"));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_front_page_links_to_every_item_and_guide() {
    let root = read(&root().join("src/lib.rs"));
    let page: String = root
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .collect();
    let code: String = root
        .lines()
        .filter(|line| !line.starts_with("//"))
        .collect();
    let mut items = BTreeSet::new();
    for exported in code.split("pub use ").skip(1) {
        let (exported, _) = exported.split_once(';').unwrap();
        let names = exported.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        let names = names.map(|name| name.rsplit("::").next().unwrap());
        // What is left of a group is the module that it is from.
        let is_item =
            |name: &&str| exported.contains(name) && !exported.contains(&format!("{name}::"));
        items.extend(names.filter(|name| !name.is_empty()).filter(is_item));
    }
    let modules = code.split("pub mod ").skip(1);
    items.extend(modules.map(|rest| rest.split_once(';').unwrap().0));
    assert!(items.len() > 40, "{items:?}");
    for item in items {
        let is_linked =
            page.contains(&format!("[`{item}`]")) || page.contains(&format!("({item}::"));
        assert!(is_linked, "{item}");
    }
    for guide in guides() {
        let name = guide.file_stem().unwrap().to_str().unwrap();
        assert!(page.contains(&format!("(guide::{name})")), "{name}");
    }
}
