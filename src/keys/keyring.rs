//! Many keys by their ids, changed while servers use them.

use core::fmt;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::vec::Vec;

use super::file::Readers;
use super::{KeyLookup, directory};
use crate::error::Error;
use crate::invalid_input::InvalidInput;
use crate::key::{Key, KeyId};

/// A set of keys, looked up by id, and of master keys that answer for all of their children.
///
/// A `Keyring` is a handle: its clones are the same ring, and every change takes `&self`. A server
/// sees a change at its next handshake. Existing sessions are not affected.
///
/// Each id has one secret. **To rotate**, give the new key its own id, such as `worker-7.2026-12`
/// beside `worker-7.2026-11`: add the new key to every server, move the clients, then remove the
/// old key. No connection is refused meanwhile. If two ids share a secret, its holder can use
/// either id.
///
/// [`find`](KeyLookup::find) checks revoked ids first, then keys by their id, then masters. Deriving
/// a child takes some microseconds more than finding a key or nothing: in a ring with masters,
/// a stranger who measures the time can tell which ids a master answers for.
///
/// ```
/// use countersign::{Key, KeyLookup, Keyring, Server, generate_secret};
///
/// let ring = Keyring::new();
/// let server = Server::new(ring.clone());
/// ring.insert(Key::new(generate_secret()?)?.with_id("worker-7.2026-11")?);
/// ring.insert(Key::new(generate_secret()?)?.with_id("worker-7.2026-12")?);
/// ring.remove("worker-7.2026-11");
/// assert!(ring.find(b"worker-7.2026-11").is_none());
/// # Ok::<(), countersign::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Keyring {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Behind an `Arc` of its own, so that a whole ring is replaced in one step.
    ring: RwLock<Arc<Ring>>,
    source: Option<Source>,
}

/// The directory that the keys were loaded from.
struct Source {
    path: PathBuf,
    readers: Readers,
    /// Held while the directory is read and until its keys are in place, so that a reload never
    /// replaces the keys of a later one.
    reloading: Mutex<()>,
}

#[derive(Clone, Default)]
struct Ring {
    /// Each key is behind a pointer: a map moves its values, and moving leaves copies behind.
    keys: HashMap<KeyId, Arc<Key>>,
    /// By id prefix, the longest first.
    masters: Vec<(KeyId, Arc<Key>)>,
    revoked: HashSet<KeyId>,
}

impl Keyring {
    /// Makes a ring without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Loads the keys in the files of a directory, each under the name of its file.
    ///
    /// The whole file name is the key id, of 1 to 64 bytes. Hidden files, whose names begin with a
    /// dot, are skipped. Each file is read by the rules of [`Key::from_file`]. If the directory has
    /// an entry `..data`, as a mounted Kubernetes secret does, the files are read from the directory
    /// that it links to, so a load never mixes two versions of the secret.
    ///
    /// # Errors
    ///
    /// Returns [`Error::KeyFile`] with the path of the directory or file at fault: it cannot be
    /// read, it is no key file, its name cannot be a key id, or the directory has no key file.
    ///
    /// ```no_run
    /// # use countersign::{Keyring, Server};
    /// let server = Server::new(Keyring::from_dir("/etc/billing/keys")?);
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn from_dir(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load(path.as_ref(), Readers::OwnerOnly)
    }

    /// Like [`from_dir`](Self::from_dir), for files whose mode is not checked.
    ///
    /// For secrets that a platform mounts with mode 0444 or 0644 where only this program can see
    /// them, as Kubernetes does by default.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`from_dir`](Self::from_dir), except errors about the file mode.
    pub fn from_shared_dir(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load(path.as_ref(), Readers::Anybody)
    }

    /// Reads the directory of [`from_dir`](Self::from_dir) again.
    ///
    /// All keys of the ring are replaced by those in the directory. Masters and revoked ids stay.
    /// Nothing watches the directory: call this on a timer, on a signal, or when the program learns
    /// that its keys have changed.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`from_dir`](Self::from_dir), and [`Error::NoDirectory`] for a ring
    /// that was not loaded from a directory. The ring is then unchanged.
    ///
    /// ```no_run
    /// # use countersign::Keyring;
    /// # let ring = Keyring::from_dir("/etc/billing/keys")?;
    /// if let Err(error) = ring.reload() {
    ///     eprintln!("the old keys stay: {error}");
    /// }
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn reload(&self) -> Result<(), Error> {
        let source = self.shared.source.as_ref();
        let source = source.ok_or(Error::NoDirectory)?;
        let _alone = (source.reloading.lock()).unwrap_or_else(PoisonError::into_inner);
        let keys = directory::load(&source.path, source.readers)?;
        self.change(|ring| ring.keys = by_id(keys));
        Ok(())
    }

    /// Adds a key under its own id, and replaces the key that had this id.
    pub fn insert(&self, key: Key) {
        let key = Arc::new(key);
        self.change(|ring| ring.keys.insert(*key.id(), key));
    }

    /// Removes the key with this id, and returns whether there was one.
    ///
    /// A master may still answer for the id; use [`revoke`](Self::revoke) to prevent that.
    pub fn remove(&self, id: impl AsRef<[u8]>) -> bool {
        self.change(|ring| ring.keys.remove(id.as_ref()).is_some())
    }

    /// Adds a master: for every id that begins with `prefix`, the ring derives the child of
    /// `master` ([`Key::child_secret`]) and stores none.
    ///
    /// The longest matching prefix wins, so masters rotate as keys do: `worker.2026-12.` beside
    /// `worker.2026-11.`. The empty prefix matches every id, but the empty id has no child. A master
    /// replaces the one with the same prefix. The key id of `master` itself is not used.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidInput::KeyIdTooLong`] for a prefix of more than 64 bytes.
    ///
    /// ```
    /// # use countersign::{Key, KeyLookup, Keyring, generate_secret};
    /// let master = Key::new(generate_secret()?)?;
    /// let ring = Keyring::new();
    /// ring.insert_master("worker-", master.clone())?;
    ///
    /// let found = ring.find(b"worker-7").expect("a child");
    /// let child = Key::new(master.child_secret("worker-7")?)?;
    /// assert_eq!(found.fingerprint(), child.fingerprint());
    /// assert!(ring.find(b"cron-1").is_none());
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn insert_master(&self, prefix: impl AsRef<[u8]>, master: Key) -> Result<(), InvalidInput> {
        let prefix = KeyId::new(prefix)?;
        let master = Arc::new(master);
        self.change(|ring| {
            ring.masters.retain(|(other, _)| *other != prefix);
            ring.masters.push((prefix, master));
            (ring.masters).sort_by_key(|(prefix, _)| core::cmp::Reverse(prefix.as_bytes().len()));
        });
        Ok(())
    }

    /// Removes the master with this prefix, and returns whether there was one.
    pub fn remove_master(&self, prefix: impl AsRef<[u8]>) -> bool {
        self.change(|ring| {
            let before = ring.masters.len();
            (ring.masters).retain(|(other, _)| other.as_bytes() != prefix.as_ref());
            ring.masters.len() < before
        })
    }

    /// Refuses this id from now on, even if a key or a master would answer for it.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidInput::KeyIdTooLong`] for more than 64 bytes.
    pub fn revoke(&self, id: impl AsRef<[u8]>) -> Result<(), InvalidInput> {
        let id = KeyId::new(id)?;
        self.change(|ring| ring.revoked.insert(id));
        Ok(())
    }

    /// Replaces all keys, masters and revoked ids of this ring by a copy of what `other` has, in one step.
    ///
    /// The two stay separate rings: later changes of one do not affect the other.
    pub fn replace(&self, other: &Self) {
        // One lock at a time, because two threads may replace two rings by each other.
        let next = Arc::clone(&other.read());
        let mut ring = (self.shared.ring.write()).unwrap_or_else(PoisonError::into_inner);
        *ring = next;
    }

    fn load(path: &Path, readers: Readers) -> Result<Self, Error> {
        let ring = Ring {
            keys: by_id(directory::load(path, readers)?),
            ..Ring::default()
        };
        Ok(Self {
            shared: Arc::new(Shared {
                ring: RwLock::new(Arc::new(ring)),
                source: Some(Source {
                    path: path.into(),
                    readers,
                    reloading: Mutex::new(()),
                }),
            }),
        })
    }

    /// A poisoned lock is used all the same: every change leaves a complete ring at every step.
    fn read(&self) -> RwLockReadGuard<'_, Arc<Ring>> {
        (self.shared.ring.read()).unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the ring in place, or a copy of it if another ring shares its content.
    fn change<T>(&self, change: impl FnOnce(&mut Ring) -> T) -> T {
        let mut ring = (self.shared.ring.write()).unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut ring))
    }
}

impl KeyLookup for Keyring {
    fn find(&self, id: &[u8]) -> Option<Cow<'_, Key>> {
        let ring = self.read();
        if !ring.revoked.is_empty() && ring.revoked.contains(id) {
            return None;
        }
        if let Some(key) = ring.keys.get(id) {
            return Some(Cow::Owned(Key::clone(key)));
        }
        let (_, master) =
            (ring.masters.iter()).find(|(prefix, _)| id.starts_with(prefix.as_bytes()))?;
        let secret = master.child_secret(id).ok()?;
        let child = Key::new(secret).and_then(|child| child.with_id(id));
        child.ok().map(Cow::Owned)
    }
}

/// The numbers of keys, masters and revoked ids.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.read();
        f.debug_struct("Keyring")
            .field("keys", &ring.keys.len())
            .field("masters", &ring.masters.len())
            .field("revoked", &ring.revoked.len())
            .finish()
    }
}

fn by_id(keys: Vec<Arc<Key>>) -> HashMap<KeyId, Arc<Key>> {
    keys.into_iter().map(|key| (*key.id(), key)).collect()
}
