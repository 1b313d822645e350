//! Keys from a directory of files.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec::Vec;

use super::file::{self, Readers};
use crate::error::{Error, KeyFileError};
use crate::key::Key;

/// How often a directory is read whose files are replaced meanwhile.
const ATTEMPTS: usize = 4;

/// Loads the keys in the files of a directory, each under the name of its file.
pub(super) fn load(directory: &Path, readers: Readers) -> Result<Vec<Arc<Key>>, Error> {
    let failed = |error| Error::key_file(directory, error);
    let mut files = resolve(directory).map_err(failed)?;
    for _ in 0..ATTEMPTS {
        let keys = read(directory, &files, readers);
        // A version that was replaced may have been removed while it was read, file by file.
        let now = resolve(directory).map_err(failed)?;
        if now == files {
            return keys;
        }
        files = now;
    }
    Err(failed(io::Error::other("it is replaced again and again")))
}

fn read(directory: &Path, files: &Path, readers: Readers) -> Result<Vec<Arc<Key>>, Error> {
    let failed = |error: io::Error| Error::key_file(directory, error);
    let mut keys = Vec::new();
    for entry in fs::read_dir(files).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let id = bytes(&name);
        if id.starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let key = file::load(&path, readers)?;
        let key = key.with_id(id);
        let key = key.map_err(|invalid| Error::key_file(&path, KeyFileError::Name(invalid)))?;
        keys.push(Arc::new(key));
    }
    if keys.is_empty() {
        return Err(Error::key_file(directory, KeyFileError::NoKeys));
    }
    Ok(keys)
}

/// Returns where the files are: behind `..data` in a mounted Kubernetes secret, whose files are
/// links through it. The link is followed here and not for each file, so that all files come from
/// one version of the secret.
fn resolve(directory: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(directory.join("..data")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::canonicalize(directory),
        resolved => resolved,
    }
}

#[cfg(unix)]
fn bytes(name: &OsStr) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(name)
}

/// Returns a name as UTF-8. A name that is not Unicode has bytes that no key id has.
#[cfg(not(unix))]
fn bytes(name: &OsStr) -> &[u8] {
    name.as_encoded_bytes()
}
