//! All tests are one binary, so that it links once and shared helpers are a module.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed, which is what it is for"
)]
#![allow(
    clippy::too_many_lines,
    clippy::type_complexity,
    clippy::single_match_else,
    reason = "a table of cases is as long and as wide as the cases are"
)]
mod after_the_end;
mod allocations;
mod architecture;
#[cfg(all(feature = "encrypt", feature = "multiprocessing"))]
mod attack_book;
mod attacks;
mod connect;
mod cookbook;
mod deadline;
#[cfg(feature = "multiprocessing")]
mod diagnosing;
mod disk;
#[cfg(unix)] // The texts are the same everywhere, and their paths are written with `/`.
mod documents;
#[cfg(feature = "encrypt")]
mod encrypt;
mod endpoints;
mod errors;
mod failures;
mod fuzz;
mod hostile;
mod identity;
mod interop;
mod keyring;
mod keys;
mod listener;
#[cfg(feature = "multiprocessing")]
mod multiprocessing;
#[cfg(feature = "multiprocessing")]
mod multiprocessing_interop;
mod over_tls;
mod programs;
mod properties;
#[cfg(feature = "multiprocessing")]
mod pythons;
mod records;
mod secrets;
mod side;
mod sockets;
mod specification;
mod states;
mod support;
mod types;
mod vectors;
