//! The example programs, started as processes: what they print and how they exit.
//!
//! `cargo test` at the root of the repository builds them first. With the name of a test it does
//! not, so run `cargo build --examples` before `cargo test programs`, with the same features.

#[cfg(unix)]
mod burst;
mod directory;
mod echo;
mod process;
mod proxied;
#[cfg(feature = "multiprocessing")]
mod python;
mod said;
mod stories;
mod wires;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;

use crate::support::TempDir;

/// The echo programs, which all say the same.
const SERVERS: &[&str] = &[
    "echo_server",
    #[cfg(feature = "tokio")]
    "tokio_echo_server",
];
const CLIENTS: &[&str] = &[
    "echo_client",
    #[cfg(feature = "tokio")]
    "tokio_echo_client",
];

/// An address where no program listens: the port belongs to a service that is long gone.
const NO_SERVER: &str = "127.0.0.1:1";

/// Runs a test with each server and each client, all at once.
fn with_each_pair(test: impl Fn(&'static str, &'static str) + Sync) {
    let test = &test;
    thread::scope(|scope| {
        for &server in SERVERS {
            for &client in CLIENTS {
                scope.spawn(move || test(server, client));
            }
        }
    });
}

/// The key files of a test.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new())
    }

    fn path(&self, name: &str) -> String {
        // With the separator of the system, as the programs show it.
        let path = self
            .0
            .path()
            .components()
            .chain(Path::new(name).components());
        let path: PathBuf = path.collect();
        path.into_os_string().into_string().unwrap()
    }

    /// Writes a file that only its owner may read, and gives its path.
    fn write(&self, name: &str, content: &str) -> String {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(self.path(name)).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        self.path(name)
    }

    /// The path as the directory of keys shows it: without links on the way.
    fn resolved(&self, name: &str) -> String {
        let path = fs::canonicalize(self.path(name)).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    /// Replaces what is in a file.
    fn write_over(&self, name: &str, content: &str) {
        fs::remove_file(self.path(name)).unwrap();
        self.write(name, content);
    }

    /// Makes a directory that only its owner may write, and gives its path.
    fn directory(&self, name: &str) -> String {
        let builder = DirBuilder::new();
        #[cfg(unix)]
        let builder = {
            let mut builder = builder;
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder
        };
        builder.create(self.path(name)).unwrap();
        self.path(name)
    }

    /// Writes a key file whose secret is like no other's.
    fn key(&self, name: &str) -> String {
        self.write(name, &format!("the-secret-of-{name}-in-this-test\n"))
    }

    /// Writes a key file that others may read.
    #[cfg(unix)]
    fn exposed(&self, name: &str) -> String {
        use std::fs::{Permissions, set_permissions};
        use std::os::unix::fs::PermissionsExt;

        let path = self.key(name);
        set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        path
    }
}
