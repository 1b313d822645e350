//! Many keys by their ids, changed while servers use them.

use core::fmt;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::vec::Vec;

use super::directory::{self, Loaded};
use super::permissions::Readers;
use super::{KeyLookup, Reloaded};
use crate::error::{Error, KeyFileError};
use crate::invalid_input::InvalidInput;
use crate::key::{Key, KeyId};

/// A set of keys, looked up by id, and of master keys that answer for all of their children.
///
/// A `Keyring` is a handle: its clones are the same ring, and every change takes `&self`. A server
/// sees a change at its next handshake. Existing sessions are not affected.
///
/// Each id has one secret, and a second one while it is rotated ([`Key::accepting`]), so an id is a
/// stable name by which an application can authorise. If two ids share a secret, its holder can use
/// either id.
///
/// [`find`](KeyLookup::find) checks revoked ids first, then keys by their id, then masters. A key
/// file that is at fault keeps masters from answering for its id. Deriving a child takes some
/// microseconds more than finding a key or nothing, and twice as long for a master with two secrets:
/// in a ring with masters, a stranger who measures the time can tell which ids a master answers for,
/// and whether it is being rotated.
///
/// ```
/// use countersign::{Key, Keyring, Server, generate_secret};
///
/// let ring = Keyring::new();
/// let server = Server::new(ring.clone());
/// ring.insert(Key::new(generate_secret()?)?.with_id("worker-7")?);
/// assert!(ring.contains("worker-7"));
/// # Ok::<(), countersign::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Keyring {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: RwLock<State>,
    source: Option<Source>,
    /// Counts the reloads that began.
    begun: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Behind an `Arc` of its own, so that a whole ring is replaced in one step.
    ring: Arc<Ring>,
    /// The reload that was installed last. One that began earlier must not replace its keys.
    installed: u64,
}

/// The directory that the keys were loaded from.
struct Source {
    path: PathBuf,
    readers: Readers,
}

/// How often a directory is read if the program changes the ring meanwhile.
const RELOADS: usize = 100;

#[derive(Clone, Default)]
struct Ring {
    /// Each key is behind a pointer: a map moves its values, and moving leaves copies behind.
    keys: HashMap<KeyId, Arc<Key>>,
    /// By id prefix, the longest first.
    masters: Vec<(KeyId, Arc<Key>)>,
    revoked: HashSet<KeyId>,
    /// Ids whose files are at fault and that have no former key. No master answers for them, because
    /// the file may be there to replace a child that was stolen.
    faulty: HashSet<KeyId>,
}

impl Keyring {
    /// Makes a ring without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Loads the key files of a directory: `<key id>.key` for each client.
    ///
    /// Nothing else in the directory is read, and neither are hidden files. A key id has 1 to 64
    /// bytes; ids with a slash cannot be files. Each file is read by the rules of
    /// [`Key::from_file`], and symbolic links to regular files are followed. An empty directory means
    /// that nobody is accepted.
    ///
    /// The directory is the list of who is accepted. So on Unix nobody but its owner may write it,
    /// and each file, and each link on the way to it, must belong to root or to the owner of the
    /// directory. If the directory has a link `..data`, as a mounted Kubernetes secret does, this
    /// rule is about the directory that it leads to, and the files are read from there, so that a
    /// load never mixes two versions of the secret. systemd places the files of
    /// `LoadCredential=keys:/etc/billing/keys` in one directory as `keys_<file name>`: give the
    /// program the original directory, or one credential for each file.
    ///
    /// # Errors
    ///
    /// Returns [`Error::KeyDirectory`] if the directory itself is at fault, and [`Error::KeyFile`] for
    /// the first file at fault.
    ///
    /// ```no_run
    /// # use countersign::{Keyring, Server};
    /// let server = Server::new(Keyring::from_dir("/etc/billing/keys")?);
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn from_dir(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load(path.as_ref(), Readers::OwnerOnly)
    }

    /// Like [`from_dir`](Self::from_dir), for files that anybody may read.
    ///
    /// For secrets that a platform mounts with mode 0444 or 0644 where only this program can see
    /// them, as Kubernetes does by default. The rules about writers and owners stay.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`from_dir`](Self::from_dir), except [`KeyFileError::Readable`](crate::KeyFileError::Readable).
    pub fn from_shared_dir(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load(path.as_ref(), Readers::Anybody)
    }

    /// Reads the directory of [`from_dir`](Self::from_dir) again, and returns what changed.
    ///
    /// A key whose file is gone is removed, whatever other files are like. A file that is at fault
    /// keeps the former key of its own id and is reported. If there was no former key, this
    /// id is refused until the file is mended or removed, even if a master covers it. Masters and
    /// revoked ids stay. Nothing watches the directory: call this on a timer, on a signal, or when the
    /// program learns that its keys have changed.
    ///
    /// # Errors
    ///
    /// Returns [`Error::KeyDirectory`] if the directory itself cannot be read or is refused, and
    /// [`Error::NoDirectory`] for a ring that was not loaded from a directory. The ring is then
    /// unchanged.
    ///
    /// ```no_run
    /// # use countersign::Keyring;
    /// # let ring = Keyring::from_dir("/etc/billing/keys")?;
    /// match ring.reload() {
    ///     Ok(reloaded) => println!("{reloaded}"),
    ///     Err(error) => eprintln!("all keys stay: {error}"),
    /// }
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn reload(&self) -> Result<Reloaded, Error> {
        let source = self.shared.source.as_ref();
        let source = source.ok_or(Error::NoDirectory)?;
        for _ in 0..RELOADS {
            let began = self.shared.begun.fetch_add(1, Ordering::Relaxed) + 1;
            let former = Arc::clone(&self.read().ring);
            // No lock is held here: a file system may take its time.
            let loaded = directory::load(&source.path, source.readers)?;
            let (ring, reloaded) = former.reloaded(loaded);

            let mut state = self.write();
            if began < state.installed {
                return Ok(Reloaded::default());
            }
            // What the program changed meanwhile must not be undone: the directory is read again.
            if Arc::ptr_eq(&state.ring, &former) {
                state.ring = Arc::new(ring);
                state.installed = began;
                return Ok(reloaded);
            }
        }
        Err(Error::key_directory(&source.path, KeyFileError::Changing))
    }

    /// Returns the ids of all keys that are accepted, in order. Children of masters are not listed.
    #[must_use]
    pub fn ids(&self) -> Vec<KeyId> {
        let ring = Arc::clone(&self.read().ring);
        let ids = ring.keys.keys().filter(|id| !ring.revoked.contains(*id));
        let mut ids: Vec<_> = ids.copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Returns whether a key with this id is accepted. Children of masters do not count.
    #[must_use]
    pub fn contains(&self, id: impl AsRef<[u8]>) -> bool {
        let (id, ring) = (id.as_ref(), &self.read().ring);
        ring.keys.contains_key(id) && !ring.revoked.contains(id)
    }

    /// Adds a key under its own id, and replaces the key that had this id.
    ///
    /// In a ring that was loaded from a directory, the next [`reload`](Self::reload) removes it if it
    /// has no file.
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
    /// The longest matching prefix wins. The empty prefix matches every id, but the empty id has no
    /// child. A master replaces the one with the same prefix, and rotates as keys do: the children of
    /// both its secrets are accepted. The key id of `master` itself is not used.
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
        let next = Arc::clone(&other.read().ring);
        self.write().ring = next;
    }

    fn load(path: &Path, readers: Readers) -> Result<Self, Error> {
        let mut keys = HashMap::new();
        let loaded = directory::load(path, readers)?;
        if let Some(error) = loaded.unnamed.into_iter().next() {
            return Err(error);
        }
        for (id, key) in loaded.keys {
            keys.insert(id, key?);
        }
        let ring = Ring {
            keys,
            ..Ring::default()
        };
        Ok(Self {
            shared: Arc::new(Shared {
                state: RwLock::new(State {
                    ring: Arc::new(ring),
                    installed: 0,
                }),
                source: Some(Source {
                    path: path.into(),
                    readers,
                }),
                begun: AtomicU64::new(0),
            }),
        })
    }

    /// A poisoned lock is used all the same: every change leaves a complete ring at every step.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        (self.shared.state.read()).unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        (self.shared.state.write()).unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the ring in place, or a copy of it if another ring or a reload shares its content.
    fn change<T>(&self, change: impl FnOnce(&mut Ring) -> T) -> T {
        change(Arc::make_mut(&mut self.write().ring))
    }
}

impl KeyLookup for Keyring {
    fn find(&self, id: &[u8]) -> Option<Cow<'_, Key>> {
        let ring = &self.read().ring;
        if !ring.revoked.is_empty() && ring.revoked.contains(id) {
            return None;
        }
        if let Some(key) = ring.keys.get(id) {
            return Some(Cow::Owned(Key::clone(key)));
        }
        if ring.faulty.contains(id) {
            return None;
        }
        let (_, master) =
            (ring.masters.iter()).find(|(prefix, _)| id.starts_with(prefix.as_bytes()))?;
        let child = KeyId::new(id).and_then(|id| master.child(id));
        child.ok().map(Cow::Owned)
    }
}

impl Ring {
    /// Returns this ring with the keys of a load in place of its own, and reports what changed.
    fn reloaded(&self, loaded: Loaded) -> (Self, Reloaded) {
        let mut reloaded = Reloaded::default();
        let (mut keys, mut faulty) = (HashMap::new(), HashSet::new());
        let mut former_keys = self.keys.clone();
        for (id, key) in loaded.keys {
            match (key, former_keys.remove(id.as_bytes())) {
                (Ok(key), former) => {
                    match former {
                        None => reloaded.added.push(id),
                        Some(former) if former.has_secrets_of(&key) => {}
                        Some(_) => reloaded.changed.push(id),
                    }
                    keys.insert(id, key);
                }
                (Err(error), Some(former)) => {
                    keys.insert(id, former);
                    reloaded.kept.push((id, error));
                }
                (Err(error), None) => {
                    faulty.insert(id);
                    reloaded.refused.push(error);
                }
            }
        }
        reloaded.removed.extend(former_keys.into_keys());
        reloaded.refused.extend(loaded.unnamed);
        for ids in [
            &mut reloaded.added,
            &mut reloaded.changed,
            &mut reloaded.removed,
        ] {
            ids.sort_unstable();
        }
        reloaded.kept.sort_unstable_by_key(|(id, _)| *id);
        let ring = Self {
            keys,
            masters: self.masters.clone(),
            revoked: self.revoked.clone(),
            faulty,
        };
        (ring, reloaded)
    }
}

/// The numbers of keys, masters and revoked ids.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = &self.read().ring;
        f.debug_struct("Keyring")
            .field("keys", &ring.keys.len())
            .field("masters", &ring.masters.len())
            .field("revoked", &ring.revoked.len())
            .finish()
    }
}
