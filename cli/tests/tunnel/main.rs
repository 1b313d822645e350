//! `countersign tunnel`, run as its users run it: two processes on loopback, between a client and a
//! service that know nothing of it.
#![cfg(unix)]
#![allow(
    missing_docs,
    missing_debug_implementations,
    clippy::indexing_slicing,
    clippy::match_bool,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod carries;
mod ends;
mod guide;
mod keys;
mod limits;
mod listening;
mod log;
mod minute;
mod process;
mod reloads;
mod service;
mod signals;
mod sockets;
mod strangers;
mod system;
mod systemd;
