//! Many keys by their ids, changed while servers use them.

use core::fmt;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::vec::Vec;

use super::{Keys, directory};
use crate::error::Error;
use crate::handshake::{InvalidInput, Key, KeyId};
use crate::key_file::Readers;

/// Keys by their ids, and masters that answer for all of their children.
///
/// A ring is a handle: its clones are the same ring, and every change takes `&self`. A server
/// sees a change at its next handshake; sessions that exist already stand.
///
/// Each id has one secret. **To rotate**, give the new key an id of its own, such as
/// `worker-7.2026-12` beside `worker-7.2026-11`: add the new key to every server, move the
/// clients, then remove the old key; no connection is refused on the way. Two ids with *one*
/// secret are possible, and then its holder may claim either.
///
/// [`find`](Keys::find) looks at revoked ids first, then at keys by their id, then at masters.
/// Deriving a child takes some microseconds that a look-up which finds a key, or nothing, does
/// not: in a ring with masters, a stranger who measures can tell which ids are answered by one.
///
/// ```
/// use countersign::{Key, Keyring, Keys, Server, generate_secret};
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

/// The directory that the keys came from.
struct Source {
    path: PathBuf,
    readers: Readers,
    /// Held while it is read and until what was read is in place: of two that reload, the later
    /// one must not be overtaken by what the other had read before.
    reloading: Mutex<()>,
}

#[derive(Clone, Default)]
struct Ring {
    /// Each key behind a pointer: a map moves what it holds, and what was moved is not wiped.
    keys: HashMap<KeyId, Arc<Key>>,
    /// By id prefix, the longest first.
    masters: Vec<(KeyId, Arc<Key>)>,
    revoked: HashSet<KeyId>,
}

impl Keyring {
    /// A ring without keys, which answers nobody.
    ///
    /// ```
    /// # use countersign::{Keyring, Keys};
    /// assert!(Keyring::new().find(b"").is_none());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The keys in the files of a directory, each under the name of its file.
    ///
    /// The whole file name is the key id, of 1 to 64 octets; hidden entries, whose names begin
    /// with a dot, are skipped. Each file is read by the rules of [`Key::from_file`]. Where the
    /// directory has an entry `..data`, as a mounted Kubernetes secret does, the files are read
    /// from what that leads to, so that a swap of the mount during the load gives all the keys of
    /// one version or an error, but never some of them.
    ///
    /// # Errors
    ///
    /// [`Error::KeyFile`] with the path of the directory or file at fault: it cannot be read,
    /// cannot be a key file, has a name that cannot be a key id, or the directory has no key
    /// file at all.
    ///
    /// ```no_run
    /// # use countersign::{Keyring, Server};
    /// let server = Server::new(Keyring::from_dir("/etc/billing/keys")?);
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn from_dir(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load(path.as_ref(), Readers::OwnerOnly)
    }

    /// [`from_dir`](Self::from_dir) for files whose mode is not looked at.
    ///
    /// For secrets that a platform mounts with 0444 or 0644 where only this program can see
    /// them, as Kubernetes does unless told otherwise.
    ///
    /// # Errors
    ///
    /// Those of [`from_dir`](Self::from_dir), less the one on the mode.
    ///
    /// ```no_run
    /// # use countersign::{Keyring, Server};
    /// let server = Server::new(Keyring::from_shared_dir("/var/run/secrets/billing")?);
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn from_shared_dir(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load(path.as_ref(), Readers::Anybody)
    }

    /// Reads the directory of [`from_dir`](Self::from_dir) again.
    ///
    /// All keys of the ring are replaced by those that are in the directory now; masters and
    /// revoked ids stay. Nothing watches the directory: call this on a timer, on a signal, or on
    /// whatever tells the program that its keys have changed.
    ///
    /// # Errors
    ///
    /// Those of [`from_dir`](Self::from_dir), and the ring is then as it was;
    /// [`InvalidInput::NoDirectory`] for a ring that was not made from a directory.
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
        let source = source.ok_or(InvalidInput::NoDirectory)?;
        let _alone = (source.reloading.lock()).unwrap_or_else(PoisonError::into_inner);
        let keys = directory::load(&source.path, source.readers)?;
        self.change(|ring| ring.keys = by_id(keys));
        Ok(())
    }

    /// Adds a key under its own id, in the place of the one that had it.
    ///
    /// ```
    /// # use countersign::{Key, Keyring, Keys, generate_secret};
    /// # let ring = Keyring::new();
    /// ring.insert(Key::new(generate_secret()?)?.with_id("worker-7")?);
    /// assert!(ring.find(b"worker-7").is_some());
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn insert(&self, key: Key) {
        let key = Arc::new(key);
        self.change(|ring| ring.keys.insert(*key.id(), key));
    }

    /// Removes the key with this id, and says whether there was one.
    ///
    /// A master may still answer for the id; [`revoke`](Self::revoke) rules that out.
    ///
    /// ```
    /// # use countersign::Keyring;
    /// assert!(!Keyring::new().remove("worker-7"));
    /// ```
    pub fn remove(&self, id: impl AsRef<[u8]>) -> bool {
        self.change(|ring| ring.keys.remove(id.as_ref()).is_some())
    }

    /// Adds a master: for every id that begins with `prefix` the ring answers with that child of
    /// `master` ([`Key::child_secret`]), and stores none.
    ///
    /// Of several prefixes the longest wins, so that masters rotate as keys do:
    /// `worker.2026-12.` beside `worker.2026-11.`. The empty prefix is that of every id; the
    /// empty id has no child. A master under a prefix that has one takes its place. The key id
    /// of `master` itself is not consulted.
    ///
    /// # Errors
    ///
    /// [`InvalidInput::KeyIdTooLong`] for a prefix of more than 64 octets.
    ///
    /// ```
    /// # use countersign::{Key, Keyring, Keys, generate_secret};
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

    /// Removes the master with this prefix, and says whether there was one.
    ///
    /// ```
    /// # use countersign::Keyring;
    /// assert!(!Keyring::new().remove_master("worker-"));
    /// ```
    pub fn remove_master(&self, prefix: impl AsRef<[u8]>) -> bool {
        self.change(|ring| {
            let before = ring.masters.len();
            (ring.masters).retain(|(other, _)| other.as_bytes() != prefix.as_ref());
            ring.masters.len() < before
        })
    }

    /// Refuses this id from now on, whatever key or master would answer for it.
    ///
    /// # Errors
    ///
    /// [`InvalidInput::KeyIdTooLong`] over 64 octets.
    ///
    /// ```
    /// # use countersign::{Key, Keyring, Keys, generate_secret};
    /// # let ring = Keyring::new();
    /// ring.insert_master("", Key::new(generate_secret()?)?)?;
    /// ring.revoke("worker-7")?;
    /// assert!(ring.find(b"worker-7").is_none());
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn revoke(&self, id: impl AsRef<[u8]>) -> Result<(), InvalidInput> {
        let id = KeyId::new(id)?;
        self.change(|ring| ring.revoked.insert(id));
        Ok(())
    }

    /// Replaces everything in this ring by what is in `other`, in one step: keys, masters and
    /// revoked ids.
    ///
    /// The two stay two rings; later changes of one do not show in the other.
    ///
    /// ```
    /// # use countersign::{Key, Keyring, Keys, generate_secret};
    /// # let running = Keyring::new();
    /// let next = Keyring::new();
    /// next.insert(Key::new(generate_secret()?)?.with_id("worker-8")?);
    /// running.replace(&next);
    /// assert!(running.find(b"worker-8").is_some());
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn replace(&self, other: &Self) {
        // One lock at a time: two threads may replace two rings by each other.
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

    /// A lock is poisoned where a thread panicked while it held it. Every change here leaves a
    /// whole ring at every step, so what is found is fit for use.
    fn read(&self) -> RwLockReadGuard<'_, Arc<Ring>> {
        (self.shared.ring.read()).unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the ring in place, or a copy where another ring has the same content.
    fn change<T>(&self, change: impl FnOnce(&mut Ring) -> T) -> T {
        let mut ring = (self.shared.ring.write()).unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut ring))
    }
}

impl Keys for Keyring {
    fn find(&self, id: &[u8]) -> Option<Cow<'_, Key>> {
        let ring = self.read();
        // Most rings have neither of the two that can make an id more than a look-up.
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

/// How many keys, masters and revoked ids there are.
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
