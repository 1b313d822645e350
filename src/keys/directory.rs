//! Keys from a directory of files.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec::Vec;

use crate::error::{Error, KeyFileProblem};
use crate::handshake::Key;
use crate::key_file::{self, Readers};

/// How often a directory is read whose files are replaced meanwhile.
const ATTEMPTS: usize = 4;

/// The keys in the files of a directory, each under the name of its file.
pub(super) fn load(directory: &Path, readers: Readers) -> Result<Vec<Arc<Key>>, Error> {
    let failed = |error| at(directory, KeyFileProblem::Io(error));
    let mut files = resolve(directory).map_err(failed)?;
    for _ in 0..ATTEMPTS {
        let keys = read(directory, &files, readers);
        // A version that was replaced may have been taken away while it was read, file by file.
        let now = resolve(directory).map_err(failed)?;
        if now == files {
            return keys;
        }
        files = now;
    }
    Err(failed(io::Error::other("it is replaced again and again")))
}

fn read(directory: &Path, files: &Path, readers: Readers) -> Result<Vec<Arc<Key>>, Error> {
    let failed = |error| at(directory, KeyFileProblem::Io(error));
    let mut keys = Vec::new();
    for entry in fs::read_dir(files).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // Reading a directory gives no entry without a name.
        let id = octets(path.file_name().unwrap_or_default());
        if id.starts_with(b".") {
            continue;
        }
        let key = key_file::load(&path, readers)?;
        let key = key.with_id(id);
        let key = key.map_err(|invalid| at(&path, KeyFileProblem::Name(invalid)))?;
        keys.push(Arc::new(key));
    }
    if keys.is_empty() {
        return Err(at(directory, KeyFileProblem::NoKeys));
    }
    Ok(keys)
}

fn at(path: &Path, problem: KeyFileProblem) -> Error {
    Error::KeyFile {
        path: path.into(),
        problem,
    }
}

/// Where the files are: behind `..data` in a mounted Kubernetes secret, whose files are links
/// through it. It is followed here and not for each file, so that all of them come from one version
/// of the secret.
fn resolve(directory: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(directory.join("..data")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::canonicalize(directory),
        resolved => resolved,
    }
}

#[cfg(unix)]
fn octets(name: &OsStr) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(name)
}

/// The UTF-8 of a name; a name that is not Unicode has some that no key id has.
#[cfg(not(unix))]
fn octets(name: &OsStr) -> &[u8] {
    name.as_encoded_bytes()
}
