//! The bodies of the targets. They are among the tests of the crate, which run them over the corpora.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic of a body is a finding"
)]
#![allow(
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    missing_debug_implementations,
    missing_docs,
    reason = "the bodies are tests, and no package depends on them"
)]

#[path = "../../tests/fuzz/client.rs"]
pub mod client;
#[path = "../../tests/fuzz/cookbook.rs"]
pub mod cookbook;
#[path = "../../tests/fuzz/harness.rs"]
pub mod harness;
#[path = "../../tests/fuzz/key.rs"]
pub mod key;
#[path = "../../tests/fuzz/key_file.rs"]
pub mod key_file;
#[path = "../../tests/fuzz/multiprocessing.rs"]
pub mod multiprocessing;
#[path = "../../tests/fuzz/record.rs"]
pub mod record;
#[path = "../../tests/fuzz/server.rs"]
pub mod server;
#[path = "../../tests/fuzz/two_cores.rs"]
pub mod two_cores;

const _: () = assert!(
    cfg!(debug_assertions),
    "fuzz with debug assertions, which find more"
);
