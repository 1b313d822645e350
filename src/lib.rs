//! Mutual authentication with a shared secret, over any byte stream.
//!
//! Two programs that share one secret prove it to each other over a TCP or Unix socket, TLS or a
//! pipe. One call at each end and three small messages authenticate *both* ends. The secret never
//! crosses the wire, and there are no certificates, no clock and no server to ask.
//!
//! ```
//! use countersign::{Client, Key, Server, generate_secret};
//! use std::{net::{TcpListener, TcpStream}, thread, time::Duration};
//!
//! let key = Key::new(generate_secret()?)?.with_id("worker-7")?; // or Key::from_file("secret.key")?
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let stream = TcpStream::connect(listener.local_addr()?)?;
//!
//! let server = Server::new(key.clone());
//! let server = thread::spawn(move || {
//!     let (stream, _) = listener.accept().expect("a connection");
//!     server.authenticate_timeout(&stream, Duration::from_secs(5))
//! });
//! Client::new(key).authenticate_timeout(&stream, Duration::from_secs(5))?;
//! assert_eq!(server.join().unwrap()?.key_id(), "worker-7");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it proves, and what it does not
//!
//! | | both ends are authentic | what follows cannot be altered | what follows cannot be read | forward secrecy |
//! |---|---|---|---|---|
//! | `authenticate` | yes | no | no | no |
//! | `protect` | yes | yes | no | no |
//! | `encrypt` | yes | yes | yes | yes |
//!
//! An attacker who controls the network can relay the three messages of `authenticate` and then read
//! and alter what follows. `protect` stops the alteration, and `encrypt` the reading too. Under TLS, a
//! [`Binding`] stops the relay. Without forward secrecy, anyone who later obtains the secret can
//! recompute the session secrets of recorded handshakes. Use random secrets: anyone who records one
//! handshake can test guesses offline.
//!
//! # Where to start
//!
//! - [`Client`] and [`Server`] have the verbs, with services, channel bindings and timeouts.
//!   [`client_authenticate`] and [`server_authenticate`] have no options.
//! - [`Listener`] is an accept loop that returns authenticated streams only.
//! - [`Key`] comes from a file or from [`generate_secret`]; a [`Keyring`] has a key for each client.
//! - [`Error`] says what went wrong, in a sentence.
//! - With feature `tokio`, module `tokio` has the verbs, streams and listener with `await`.
//! - [`handshake`] is the core, without I/O and without `std`; [`compat`] speaks the protocols of
//!   others.
//!
//! # Features
//!
//! - `std` (default): streams, key files and the operating system's random number generator.
//!   Without it: [`handshake`], [`record`] and keys, without allocation.
//! - `net` (default): deadlines over sockets, the verbs with a timeout, `connect`, and the blocking
//!   listener.
//! - `tokio`: the same over tokio's streams.
//! - `encrypt`: the verb `encrypt`, with X25519 and AES-256-GCM.
//! - `passphrase`: keys from passphrases, made slow to guess by scrypt.
//! - `multiprocessing`: the protocol of Python's `multiprocessing`, of CPython 3.12 and later.
//!   `multiprocessing-md5`: of CPython up to 3.11.
#![no_std]
#![forbid(unsafe_code)]
#![warn(unreachable_pub)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(feature = "net"),
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "the links lead to what needs `net`"
    )
)]

#[cfg(feature = "std")]
extern crate std;

#[macro_use]
mod opaque_debug;

mod buffer;
#[cfg(feature = "encrypt")]
mod exchange;
pub mod handshake;
mod invalid_input;
mod key;
mod mac;
mod random;
pub mod record;
#[cfg(feature = "encrypt")]
mod stack;

#[cfg(feature = "std")]
mod blocking;
#[cfg(feature = "std")]
pub mod compat;
#[cfg(feature = "std")]
pub mod endpoint;
#[cfg(feature = "std")]
mod error;
#[cfg(feature = "std")]
mod keys;
#[cfg(feature = "net")]
mod listener;
#[cfg(feature = "std")]
mod secured;
#[cfg(feature = "tokio")]
pub mod tokio;
#[cfg(feature = "std")]
mod wire;

pub use handshake::{Binding, Matched, Session};
pub use invalid_input::InvalidInput;
pub use key::{Fingerprint, Key, KeyId, Secret};
pub use random::NoRandomness;

#[cfg(all(feature = "std", feature = "encrypt"))]
pub use blocking::Encrypted;
#[cfg(all(unix, feature = "net"))]
pub use blocking::unix_socket::BoundUnix;
#[cfg(feature = "net")]
pub use {
    blocking::{
        Authenticated, Connection, Deadline, DeadlineHandle, Listener, Pause, Pending, Source,
        Timed,
    },
    listener::{Event, Identity, ListenerOptions, Outcome},
};
#[cfg(feature = "std")]
pub use {
    blocking::{
        Client, Protected, ReadHalf, Secured, Server, WriteHalf, client_authenticate,
        server_authenticate,
    },
    error::{Denial, Error, Found, Hint, KeyFileError, Malformed, Phase},
    keys::{KeyLookup, Keyring, Reloaded, Rotation, generate_secret},
};
