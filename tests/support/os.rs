//! A directory and a connection of one test's own.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, io, process};

/// Two ends of a TCP connection over the loopback interface.
pub fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, peer) = listener.accept().unwrap();
    assert_eq!(peer, near.local_addr().unwrap());
    (near, far)
}

/// A directory that only its owner may enter, and that ends with the test.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        static COUNTER: AtomicUsize = AtomicUsize::new(0);

        let builder = fs::DirBuilder::new();
        #[cfg(unix)]
        let builder = {
            let mut builder = builder;
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder
        };
        loop {
            let name = format!(
                "countersign-test-{}-{}",
                process::id(),
                COUNTER.fetch_add(1, Ordering::Relaxed)
            );
            let path = env::temp_dir().join(name);
            match builder.create(&path) {
                // A test that was killed left it, in a process with the same id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => {
                    created.unwrap();
                    return Self(path);
                }
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file that only its owner may read, in place of any that is there.
    pub fn key_file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).unwrap();
        file.write_all(content.as_ref()).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A test does not fail because its directory stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}
