//! The tests that need no socket and no process. `checks/core` builds them alone, for WASI and for
//! Miri, which have neither. Elsewhere they are a part of `main.rs`.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed, which is what it is for"
)]
#![allow(
    dead_code,
    unused_imports,
    reason = "what the tests share is for tests with sockets too"
)]
#![allow(
    clippy::too_many_lines,
    clippy::type_complexity,
    clippy::single_match_else,
    reason = "a table of cases is as long and as wide as the cases are"
)]

mod attacks;
#[cfg(feature = "encrypt")]
mod encrypt;
mod identity;
mod specification;
mod states;
mod support;
mod vectors;
