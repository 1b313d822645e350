//! The rooms of ARCHITECTURE.md: who may import whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms in the order of the list in ARCHITECTURE.md, from the top down.
fn rooms() -> Vec<String> {
    let text = include_str!("../ARCHITECTURE.md");
    let (_, list) = text.split_once("```text\n").unwrap();
    let (list, _) = list.split_once("```").unwrap();
    list.lines()
        .map(|line| line.split_once(".rs ").unwrap().0.to_owned())
        .collect()
}

/// The code of `src` without comments, by the path of its file without the ending:
/// `handshake/client`.
fn files() -> BTreeMap<String, String> {
    fn collect(directory: &Path, root: &Path, files: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, root, files);
                continue;
            }
            // The guides are Markdown.
            if path.extension().is_none_or(|ending| ending != "rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim().starts_with("//"));
            let code = code.collect::<Vec<_>>().join("\n");
            let name = path.strip_prefix(root).unwrap().with_extension("");
            let name = name
                .components()
                .map(|part| part.as_os_str().to_str().unwrap());
            let name = name.collect::<Vec<_>>().join("/");
            files.insert(name, code);
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    let mut files = BTreeMap::new();
    collect(&root, &root, &mut files);
    files
}

/// The names that `prefix` leads to: `a` and `b` of `prefix::a::x` and of `prefix::{a::x, b}`.
fn behind(code: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for rest in code.split(prefix).skip(1) {
        let group = rest.strip_prefix('{');
        let (mut depth, mut name, mut in_name) = (0, String::new(), true);
        for c in group.unwrap_or(rest).chars() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' if depth == 0 && group.is_some() => {
                    names.push(std::mem::take(&mut name));
                    in_name = true;
                }
                c if depth == 0 && in_name && c.is_whitespace() && name.is_empty() => {}
                c if depth == 0 && in_name && (c.is_alphanumeric() || c == '_') => name.push(c),
                ':' => in_name = false,
                _ if depth == 0 => break,
                _ => {}
            }
        }
        names.push(name);
    }
    names
}

fn room_of(file: &str) -> &str {
    file.split('/').next().unwrap()
}

#[test]
fn every_file_stands_in_a_room_of_the_list_and_every_room_exists() {
    let listed: BTreeSet<_> = rooms().into_iter().collect();
    let existing: BTreeSet<_> = files()
        .keys()
        .map(|file| room_of(file).to_owned())
        .collect();
    assert_eq!(listed, existing);
}

/// What a file imports, as paths from the root of the crate: `handshake/client`, `key`, `Key`.
fn imports(file: &str, code: &str) -> Vec<String> {
    let mut imports = behind(code, "crate::");
    // `super` is the parent of the file's module, and each further one the parent of that.
    let mut module: Vec<_> = file.split('/').collect();
    let mut chain = String::from("super::");
    while module.pop().is_some() {
        let parent = module.join("/");
        let names = behind(code, &chain)
            .into_iter()
            .filter(|name| name != "super");
        imports.extend(names.map(|name| match &*parent {
            "" => name,
            parent => format!("{parent}/{name}"),
        }));
        chain.push_str("super::");
    }
    imports.retain(|import| !import.is_empty() && !import.ends_with('/'));
    imports
}

/// The first import that points to the same room or up, if there is one.
fn wrong_arrow(rooms: &[String], file: &str, code: &str) -> Option<String> {
    let floor = |room: &str| rooms.iter().position(|other| other == room);
    let from = floor(room_of(file)).unwrap();
    imports(file, code).into_iter().find(|import| {
        // What is no room is a name that the root hands on, and so from anywhere.
        let to = floor(room_of(import));
        room_of(import) != room_of(file) && to.is_none_or(|to| to <= from)
    })
}

#[test]
fn a_room_imports_only_rooms_below_it() {
    let rooms = rooms();
    for (file, code) in files() {
        // The root hands on what is in all rooms.
        if file != "lib" {
            assert_eq!(wrong_arrow(&rooms, &file, &code), None, "{file}");
        }
    }
}

#[test]
fn an_arrow_that_points_up_is_found_however_it_is_written() {
    let rooms = rooms();
    for (file, code) in [
        ("handshake/server", "use crate::error::Error;"),
        ("handshake/server", "use crate::{Error, Keyring};"),
        ("handshake/server", "use super::super::blocking::Client;"),
        ("handshake", "use super::listener::Event;"),
        ("mac", "use super::key;"),
    ] {
        assert!(wrong_arrow(&rooms, file, code).is_some(), "{file}: {code}");
    }
    for (file, code) in [
        (
            "handshake/server",
            "use super::error::Error; use crate::key::Key;",
        ),
        (
            "tokio/listener",
            "use super::{Protected, Server}; use crate::listener::apart;",
        ),
    ] {
        assert_eq!(wrong_arrow(&rooms, file, code), None, "{file}: {code}");
    }
}

#[test]
fn no_two_files_of_a_room_import_each_other() {
    let files = files();
    let arrows: BTreeMap<&str, BTreeSet<String>> = files
        .iter()
        .map(|(file, code)| {
            let imports = imports(file, code).into_iter();
            let files = imports.filter(|import| import != file && files.contains_key(import));
            (file.as_str(), files.collect())
        })
        .collect();
    for start in arrows.keys() {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&str> = vec![start];
        while let Some(file) = next.pop() {
            for to in arrows.get(file).into_iter().flatten() {
                assert_ne!(to, start, "{start} and {file} import each other");
                if reached.insert(to) {
                    next.push(to);
                }
            }
        }
    }
}

#[test]
fn imports_are_read_from_paths_and_from_groups() {
    let code = "use super::error::Error; use super::{Progress, client::{start, AwaitVerdict}, b};";
    assert_eq!(
        behind(code, "super::"),
        ["error", "Progress", "client", "b"]
    );
}

#[test]
fn only_one_file_uses_the_primitives() {
    for (file, code) in files() {
        for primitive in ["hmac::", "sha2::", "subtle::", "md5::"] {
            let uses = code.contains(primitive);
            assert!(!uses || room_of(&file) == "mac", "{file} uses {primitive}");
        }
    }
}

#[test]
fn what_is_below_the_drivers_does_no_io() {
    for (file, code) in files() {
        // Reading a key file waits for a writer to finish.
        if ["tokio", "blocking", "keys"].contains(&room_of(&file)) {
            continue;
        }
        for outside in [
            "std::net",
            "std::thread;",
            "std::thread::",
            "tokio::net",
            "TcpStream",
        ] {
            let uses = code.contains(outside);
            // An event shows the address of its peer.
            let is_event = room_of(&file) == "listener" && outside == "std::net";
            assert!(!uses || is_event, "{file} uses {outside}");
        }
    }
}
