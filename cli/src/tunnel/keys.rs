//! Keys, and how they are read again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use countersign::{Error, Key, KeyId, KeyLookup, Keyring};
use tracing::{error, info, warn};

use crate::fingerprint::fingerprints;
use crate::shown;

/// The keys of a server. Its clones of the ring see each reload.
pub(super) struct Keys {
    pub(super) ring: Keyring,
    source: Source,
}

enum Source {
    Directory(PathBuf),
    /// The file of a server that has one key.
    File(Box<KeyOfFile>),
}

/// The most key ids that one line names.
const NAMED: usize = 20;

impl Keys {
    pub(super) fn of_directory(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            ring: Keyring::from_dir(path)?,
            source: Source::Directory(path.into()),
        })
    }

    /// One key, with the empty key id.
    pub(super) fn of_file(path: &Path) -> Result<Self, Error> {
        let file = KeyOfFile::read(path, "")?;
        let ring = Keyring::new();
        ring.insert(file.key());
        Ok(Self {
            ring,
            source: Source::File(Box::new(file)),
        })
    }

    /// Logs whose keys there are.
    pub(super) fn log(&self) {
        match &self.source {
            Source::Directory(_) => {
                let ids = self.ring.ids();
                let named: Vec<_> = ids
                    .iter()
                    .take(NAMED)
                    .map(|id| format!("\"{id}\""))
                    .collect();
                let more = if ids.len() > NAMED { ", …" } else { "" };
                if !ids.is_empty() {
                    info!(keys = ids.len(), "key ids: {}{more}", named.join(", "));
                }
                self.warn();
            }
            Source::File(file) => {
                let path = shown(&file.path);
                info!(keys = 1, "one key, for clients that name no key id: {path}");
            }
        }
    }

    /// Warns of keys that are hardly meant so.
    fn warn(&self) {
        let Source::Directory(path) = &self.source else {
            return;
        };
        let ids = self.ring.ids();
        if ids.is_empty() {
            let path = shown(path);
            warn!("nobody will be accepted: {path} has no key file; add ID.key, and send SIGHUP");
        }
        let mut holders = HashMap::new();
        for id in ids {
            let Some(key) = self.ring.find(id.as_bytes()) else {
                continue;
            };
            for fingerprint in [Some(key.fingerprint()), key.accepted_fingerprint()] {
                let other = fingerprint.and_then(|it| holders.insert(it.to_string(), id));
                if let Some(other) = other.filter(|other| *other != id) {
                    warn!(
                        "\"{other}\" and \"{id}\" have one secret, so the holder of either can use \
                         both key ids; give each a secret of its own"
                    );
                }
            }
        }
    }

    /// Reads the keys again, and logs what changed.
    pub(super) fn reload(&self) {
        if let Source::File(file) = &self.source {
            file.reload();
            self.ring.insert(file.key());
            return;
        }
        match self.ring.reload() {
            Ok(reloaded) if reloaded.is_clean() => info!("keys read again: {reloaded}"),
            Ok(reloaded) => warn!("keys read again: {reloaded}"),
            Err(error) => error!("all keys stay: {error}"),
        }
        self.warn();
    }
}

/// A key, and the file that it is read from.
pub(super) struct KeyOfFile {
    path: PathBuf,
    pub(super) id: KeyId,
    key: Mutex<Key>,
}

impl KeyOfFile {
    pub(super) fn read(path: &Path, id: &str) -> Result<Self, Error> {
        let key = Key::from_file(path)?.with_id(id)?;
        Ok(Self {
            path: path.into(),
            id: *key.id(),
            key: Mutex::new(key),
        })
    }

    pub(super) fn key(&self) -> Key {
        let key = self.key.lock();
        key.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the key again, and logs what changed.
    pub(super) fn reload(&self) {
        let read = Key::from_file(&self.path).and_then(|key| Ok(key.with_id(self.id)?));
        let key = match read {
            Ok(key) => key,
            Err(error) => return error!("the key stays: {error}"),
        };
        let (before, after) = (fingerprints(&self.key()), fingerprints(&key));
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = key;
        if before == after {
            info!("key read again: nothing changed");
        } else {
            info!("key read again: it was {before} and is {after}");
        }
    }
}
