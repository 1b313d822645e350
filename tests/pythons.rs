//! Every CPython on this machine: those on the path, and those of pyenv, of which only one is on
//! the path.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A CPython that has `multiprocessing`.
#[derive(Clone, Debug)]
pub struct Python {
    pub path: PathBuf,
    /// Such as 3.12.1.
    pub version: [u32; 3],
}

impl Python {
    /// Finds all of 3.8 and later, the oldest first.
    pub fn all() -> Vec<Self> {
        let candidates: BTreeSet<_> = candidates()
            .iter()
            .filter_map(|path| path.canonicalize().ok())
            .collect();
        // Two paths may still lead to the same CPython, for example in a virtual environment.
        let pythons: BTreeMap<_, _> = candidates
            .iter()
            .filter_map(|path| Self::ask(path))
            .map(|python| (python.path.clone(), python))
            .collect();
        let mut pythons: Vec<_> = pythons.into_values().collect();
        pythons.retain(|python| python.version >= [3, 8, 0]);
        pythons.sort_by_key(|python| python.version);
        pythons
    }

    /// Whether its `multiprocessing` knows other digests than MD5.
    pub fn knows_sha256(&self) -> bool {
        self.version >= [3, 12, 0]
    }

    fn ask(path: &Path) -> Option<Self> {
        const QUESTION: &str = "\
import os, platform, sys, multiprocessing.managers
print(platform.python_implementation(), '%d.%d.%d' % sys.version_info[:3], os.path.realpath(sys.executable))";

        let output = Command::new(path)
            .args(["-B", "-I", "-S", "-c", QUESTION])
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let answer = String::from_utf8(output.stdout).ok()?;
        let (version, path) = answer
            .trim_end()
            .strip_prefix("CPython ")?
            .split_once(' ')?;
        let numbers: Vec<_> = version.split('.').flat_map(str::parse).collect();
        Some(Self {
            path: path.into(),
            version: numbers.try_into().ok()?,
        })
    }
}

impl fmt::Display for Python {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.version;
        write!(f, "CPython {major}.{minor}.{patch}")
    }
}

fn candidates() -> Vec<PathBuf> {
    let names: Vec<_> = (8..30)
        .map(|minor| format!("python3.{minor}"))
        .chain(["python3".to_owned(), "python".to_owned()])
        .map(|name| name + env::consts::EXE_SUFFIX)
        .collect();
    let path = env::var_os("PATH").unwrap_or_default();
    let pyenv = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let pyenv = pyenv.or_else(|| Some(env::home_dir()?.join(".pyenv")));
    let pyenv = pyenv.unwrap_or_default();
    let versions = fs::read_dir(pyenv.join("versions")).into_iter().flatten();
    let versions = versions.flatten().map(|version| version.path().join("bin"));
    // The shims only run one of the versions.
    let shims = pyenv.join("shims");
    env::split_paths(&path)
        .filter(|directory| *directory != shims)
        .chain(versions)
        .flat_map(|directory| names.iter().map(move |name| directory.join(name)))
        .collect()
}
