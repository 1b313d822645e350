//! Keys from a directory of files.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec::Vec;

use super::file;
use super::permissions::{Readers, Rule, check_directory, check_mount, identity, owner};
use crate::error::{Error, KeyFileError};
use crate::key::{Key, KeyId};

/// How often a directory is read whose files are replaced meanwhile.
const ATTEMPTS: usize = 4;

/// What the name of a key file ends with. What stands before it is the key id.
const SUFFIX: &[u8] = b".key";

/// What a directory has: a key or an error for each key id, and the files whose names are no key ids.
#[derive(Default)]
pub(super) struct Loaded {
    pub(super) keys: Vec<(KeyId, Result<Arc<Key>, Error>)>,
    pub(super) unnamed: Vec<Error>,
}

/// Loads the key files of a directory.
///
/// The error is about the directory itself, which then says nothing about any key.
pub(super) fn load(directory: &Path, readers: Readers) -> Result<Loaded, Error> {
    let mut files = resolve(directory)?;
    for _ in 0..ATTEMPTS {
        let loaded = read(&files, readers);
        // A version that was replaced may have been removed while it was read, file by file.
        let now = resolve(directory)?;
        if now == files {
            return loaded.map_err(|error| Error::key_directory(&files.path, error));
        }
        files = now;
    }
    Err(Error::key_directory(directory, KeyFileError::Changing))
}

/// Where the files are.
#[derive(PartialEq)]
struct Files {
    path: PathBuf,
    /// Another directory may have been moved to the same path.
    identity: (u64, u64),
    owner: u32,
}

/// Returns where the files are: behind a link `..data` in a mounted Kubernetes secret, whose files are
/// links through it. The link is followed here and not for each file, so that all files come from
/// one version of the secret.
fn resolve(directory: &Path) -> Result<Files, Error> {
    let data = directory.join("..data");
    if fs::symlink_metadata(&data).is_ok_and(|entry| entry.is_symlink()) {
        follow(directory, &data)
    } else {
        let failed = |error: io::Error| Error::key_directory(directory, error);
        let path = fs::canonicalize(directory).map_err(failed)?;
        checked(path)
    }
}

/// Where everybody may write the mount, the owners of its links show who made them, and the sticky bit
/// keeps others from replacing them.
fn follow(directory: &Path, data: &Path) -> Result<Files, Error> {
    let failed = |error: io::Error| Error::key_directory(directory, error);
    let mount = fs::metadata(directory).map_err(failed)?;
    check_mount(&mount).map_err(|error| Error::key_directory(directory, error))?;
    let rule = Rule {
        readers: Readers::OwnerOnly,
        directory: Some(owner(&mount)),
    };
    let path = fs::canonicalize(data).map_err(|error| Error::key_directory(data, error))?;
    let links = rule.check_links(data);
    links.map_err(|error| Error::key_directory(data, error))?;
    let version = fs::metadata(&path).map_err(failed)?;
    (rule.check_owner(&version)).map_err(|error| Error::key_directory(&path, error))?;
    checked(path)
}

fn checked(path: PathBuf) -> Result<Files, Error> {
    let metadata = fs::metadata(&path).map_err(|error| Error::key_directory(&path, error))?;
    check_directory(&metadata).map_err(|error| Error::key_directory(&path, error))?;
    Ok(Files {
        identity: identity(&metadata),
        owner: owner(&metadata),
        path,
    })
}

fn read(files: &Files, readers: Readers) -> io::Result<Loaded> {
    let rule = Rule {
        readers,
        directory: Some(files.owner),
    };
    let mut loaded = Loaded::default();
    for entry in fs::read_dir(&files.path)? {
        let name = entry?.file_name();
        let Some(id) = bytes(&name).strip_suffix(SUFFIX) else {
            continue;
        };
        if bytes(&name).starts_with(b".") {
            continue;
        }
        let path = files.path.join(&name);
        let id = match KeyId::new(id) {
            Ok(id) => id,
            Err(invalid) => {
                let error = Error::key_file(&path, KeyFileError::Name(invalid));
                loaded.unnamed.push(error);
                continue;
            }
        };
        let key = match (load_file(&path, rule, id), fs::symlink_metadata(&path)) {
            // A file that was removed since the directory was read.
            (Err(_), Err(gone)) if gone.kind() == io::ErrorKind::NotFound => continue,
            // No file can be looked at in a directory that this user may not search.
            (Err(_), Err(error)) => Err(Error::key_directory(&files.path, error)),
            (key, _) => key.map(Arc::new),
        };
        loaded.keys.push((id, key));
    }
    Ok(loaded)
}

fn load_file(path: &Path, rule: Rule, id: KeyId) -> Result<Key, Error> {
    let links = rule.check_links(path);
    links.map_err(|error| Error::key_file(path, error))?;
    let key = file::load(path, rule)?;
    key.with_id(id)
        .map_err(|invalid| Error::key_file(path, KeyFileError::Name(invalid)))
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
