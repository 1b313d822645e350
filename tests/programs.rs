//! The example programs, started as processes: what they print and how they exit.
//!
//! `cargo test` at the root of the repository builds them first. With the name of a test it does
//! not, so run `cargo build --examples` before `cargo test programs`, with the same features.

mod directory;
mod echo;
mod process;
#[cfg(feature = "multiprocessing")]
mod python;
mod said;
mod stories;
mod wires;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
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
        let path = self.0.path().join(name);
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

    /// Replaces what is in a file.
    fn write_over(&self, name: &str, content: &str) {
        fs::remove_file(self.path(name)).unwrap();
        self.write(name, content);
    }

    /// Makes a directory that only its owner may write, and gives its path.
    fn directory(&self, name: &str) -> String {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
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
