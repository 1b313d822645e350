//! Keys, and how they are read again.

use std::path::{Path, PathBuf};

use countersign::{Error, Key, Keyring};
use tracing::{error, info, warn};

/// The keys of a server. Its clones of the ring see each reload.
pub(super) struct Keys {
    pub(super) ring: Keyring,
    /// The file of a server that has one key.
    file: Option<KeyOfFile>,
}

impl Keys {
    pub(super) fn of_directory(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            ring: Keyring::from_dir(path)?,
            file: None,
        })
    }

    /// One key, with the empty key id.
    pub(super) fn of_file(path: &Path) -> Result<Self, Error> {
        let file = KeyOfFile::read(path, "")?;
        let ring = Keyring::new();
        ring.insert(file.key.clone());
        Ok(Self {
            ring,
            file: Some(file),
        })
    }

    /// Reads the keys again, and logs what changed.
    pub(super) fn reload(&mut self) {
        if let Some(file) = &mut self.file {
            file.reload();
            self.ring.insert(file.key.clone());
            return;
        }
        match self.ring.reload() {
            Ok(reloaded) if reloaded.is_clean() => info!("keys read again: {reloaded}"),
            Ok(reloaded) => warn!("keys read again: {reloaded}"),
            Err(error) => error!("all keys stay: {error}"),
        }
    }
}

/// A key, and the file that it is read from.
pub(super) struct KeyOfFile {
    path: PathBuf,
    pub(super) key: Key,
}

impl KeyOfFile {
    pub(super) fn read(path: &Path, id: &str) -> Result<Self, Error> {
        Ok(Self {
            path: path.into(),
            key: Key::from_file(path)?.with_id(id)?,
        })
    }

    /// Reads the key again, and logs what changed.
    pub(super) fn reload(&mut self) {
        let read = Key::from_file(&self.path).and_then(|key| Ok(key.with_id(self.key.id())?));
        let key = match read {
            Ok(key) => key,
            Err(error) => return error!("the key stays: {error}"),
        };
        let (before, after) = (fingerprints(&self.key), fingerprints(&key));
        self.key = key;
        if before == after {
            info!("key read again: nothing changed");
        } else {
            info!("key read again: it was {before} and is {after}");
        }
    }
}

fn fingerprints(key: &Key) -> String {
    let first = key.fingerprint();
    match key.accepted_fingerprint() {
        Some(accepted) => format!("{first} (accept: {accepted})"),
        None => first.to_string(),
    }
}
