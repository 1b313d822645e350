//! Directories as Kubernetes mounts them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use countersign::{KeyLookup, Keyring};

use super::directory::{path_of, write};
use super::faults::{in_words, key_file};
use super::found;
use crate::support::{TempDir, key, secret};

/// A secret as Kubernetes mounts it: files in a directory for each version, a link `..data` to the
/// present one, and for each file a link through `..data`.
struct Mount(TempDir);

impl Mount {
    fn new(version: &str, keys: &[(&str, &str)]) -> Self {
        let mount = Self(TempDir::new());
        mount.swap(version, keys);
        mount
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn swap(&self, version: &str, keys: &[(&str, &str)]) {
        self.swap_slowly(version, keys, || {});
    }

    /// Puts another version in place, in the order in which the kubelet does. Pauses while a
    /// single file of the former version is deleted.
    fn swap_slowly(&self, version: &str, keys: &[(&str, &str)], pause: impl FnOnce()) {
        let in_place = |name: &str| self.path().join(name);
        fs::create_dir(in_place(version)).unwrap();
        for (id, content) in keys {
            write(path_of(&in_place(version), id), secret(content));
        }
        let former = fs::read_link(in_place("..data")).map(|former| self.path().join(former));
        let first = former.as_ref().map(|former| path_of(former, keys[0].0));
        symlink(version, in_place("..data_tmp")).unwrap();
        fs::rename(in_place("..data_tmp"), in_place("..data")).unwrap();
        if let Ok(first) = first {
            fs::remove_file(first).unwrap();
        }
        pause();
        for (id, _) in keys {
            let link = path_of(self.path(), id);
            if fs::symlink_metadata(&link).is_err() {
                symlink(path_of(Path::new("..data"), id), link).unwrap();
            }
        }
        if let Ok(former) = former {
            fs::remove_dir_all(former).unwrap();
        }
    }
}

#[test]
fn a_reload_loads_the_version_that_a_mount_was_swapped_to() {
    let mount = Mount::new("..2026_11", &[("worker-7", "old"), ("worker-8", "ours")]);
    let by_link = mount.path().join(".link");
    symlink(mount.path(), &by_link).unwrap();
    let rings = [
        Keyring::from_dir(mount.path()).unwrap(),
        Keyring::from_shared_dir(mount.path()).unwrap(),
        Keyring::from_dir(&by_link).unwrap(),
    ];
    let content = |expected: [(&str, Option<&str>); 3]| {
        for (ring, (id, name)) in rings.iter().flat_map(|ring| expected.map(|it| (ring, it))) {
            let fingerprint = name.map(|name| key(name).fingerprint());
            assert_eq!(found(ring, id), fingerprint, "{id}");
        }
    };
    let old = [
        ("worker-7", Some("old")),
        ("worker-8", Some("ours")),
        ("worker-9", None),
    ];
    content(old);

    // The link of `worker-8` stays behind and leads nowhere, as it does for a moment in a
    // real mount. A load does not read it.
    mount.swap("..2026_12", &[("worker-7", "new"), ("worker-9", "ours")]);
    content(old);
    for ring in &rings {
        ring.reload().unwrap();
    }
    let new = [
        ("worker-7", Some("new")),
        ("worker-8", None),
        ("worker-9", Some("ours")),
    ];
    content(new);

    // A version that is deleted is an error, and the keys stay.
    fs::remove_dir_all(mount.path().join("..2026_12")).unwrap();
    for ring in &rings {
        let error = ring.reload().unwrap_err();
        assert!(error.to_string().contains(mount.path().to_str().unwrap()));
        let (_, problem) = key_file(error);
        assert_eq!(in_words(&problem), "NotFound");
    }
    content(new);
}

#[test]
fn all_files_are_read_from_where_the_data_link_leads() {
    let mount = Mount::new("..2026_11", &[("worker-7", "ours"), ("worker-8", "ours")]);
    // The files outside belong to another version, or to none.
    let elsewhere = TempDir::new();
    write(path_of(elsewhere.path(), "worker-7"), secret("elsewhere"));
    write(path_of(elsewhere.path(), "worker-9"), secret("elsewhere"));
    fs::remove_file(path_of(mount.path(), "worker-7")).unwrap();
    for id in ["worker-7", "worker-9"] {
        symlink(path_of(elsewhere.path(), id), path_of(mount.path(), id)).unwrap();
    }
    write(path_of(mount.path(), "beside"), secret("elsewhere"));
    write(path_of(mount.path(), "broken"), "");

    let ring = Keyring::from_dir(mount.path()).unwrap();
    for _ in 0..2 {
        let ours = Some(key("ours").fingerprint());
        for (id, expected) in [
            ("worker-7", ours),
            ("worker-8", ours),
            ("worker-9", None),
            ("beside", None),
        ] {
            assert_eq!(found(&ring, id), expected, "{id}");
        }
        ring.reload().unwrap();
    }
}

#[test]
fn a_data_link_that_leads_to_itself_is_an_error() {
    let directory = TempDir::new();
    write(path_of(directory.path(), "worker-7"), secret("ours"));
    assert!(Keyring::from_dir(directory.path()).is_ok());
    symlink("..data", directory.path().join("..data")).unwrap();
    let error = Keyring::from_dir(directory.path()).unwrap_err();
    let (_, problem) = key_file(error);
    assert_eq!(in_words(&problem), "FilesystemLoop");
}

#[test]
fn swaps_during_loads_never_mix_two_versions() {
    const SWAPS: usize = 500;

    let odd = [("worker-7", "odd"), ("worker-8", "odd")];
    let even = [("worker-7", "even"), ("worker-8", "even")];
    let mount = Mount::new("..0", &even);
    let ring = Keyring::from_dir(mount.path()).unwrap();
    let (loads, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let loading = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // A load that fails leaves the ring as it is.
                let _ = ring.reload();
                assert!(ring.find(b"worker-7").is_some());
                assert_eq!(found(&ring, "worker-7"), found(&ring, "worker-8"));
                loads.fetch_add(1, Ordering::Relaxed);
            }
        });
        for swap in 1..=SWAPS {
            let version = if swap % 2 == 0 { &even } else { &odd };
            mount.swap_slowly(&format!("..{swap}"), version, || {
                let before = loads.load(Ordering::Relaxed);
                let is_over = || loads.load(Ordering::Relaxed) > before;
                while !is_over() && !loading.is_finished() {
                    thread::yield_now();
                }
            });
        }
        stop.store(true, Ordering::Relaxed);
    });
    ring.reload().unwrap();
    assert_eq!(found(&ring, "worker-8"), Some(key("even").fingerprint()));
}
