//! Mutual authentication with a shared secret, over any byte stream.
//!
//! Two programs that share one secret prove it to each other over a TCP or Unix socket, TLS or a
//! pipe. Three small messages authenticate *both* ends. The secret never crosses the wire, and there
//! are no certificates, no clock and no server to ask.
//!
//! ```
//! use countersign::{Client, Key, Listener, Server, generate_secret};
//!
//! // In two programs: Key::from_file("worker-7.key")?.with_id("worker-7")?
//! let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
//! let listener = Listener::bind("127.0.0.1:0", Server::new(key.clone()))?;
//! let (stream, session) = Client::new(key).connect(listener.local_addr().unwrap())?;
//!
//! let (stream, session) = listener.accept()?;
//! assert_eq!(session.key_id(), "worker-7");
//! // The next byte read from either stream is application data.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | verb | both ends are authentic | what follows cannot be altered | nor read | forward secrecy |
//! |---|---|---|---|---|
//! | [`authenticate`](endpoint::Endpoint::authenticate) | yes | no | no | no |
//! | [`protect`](endpoint::Endpoint::protect) | yes | yes | no | no |
//! | [`encrypt`](endpoint::Endpoint::encrypt) | yes | yes | yes | yes |
//!
//! Secrets must come from a random generator: anyone who records one login can test guesses offline.
//!
//! **Guides:** [keys and rotation](guide::keys), [many clients](guide::many_clients),
//! [async](guide::asynchronous), [inside TLS](guide::inside_tls),
//! [hostile networks](guide::hostile_networks), [proxies](guide::proxies), [tunnels](guide::tunnel),
//! [operating tunnels](guide::operating_tunnels),
//! [Python and Node peers](guide::other_languages), [migrating](guide::migrating),
//! [drivers](guide::drivers), [`no_std`](guide::no_std), [diagnosing](guide::diagnosing),
//! [operating](guide::operating). **[Recipes](guide#recipes)** for axum, tonic, QUIC and others.
//!
//! **Features:** `std` and `net` (default): streams, key files, deadlines and the listener. `tokio`: the
//! same with `await`. `encrypt`: the verb. `passphrase`: [`Key::from_passphrase`]. `multiprocessing`:
//! the protocol of Python's `multiprocessing`; `multiprocessing-md5`: the same for CPython up to 3.11.
//! Without `std`, the core is left, which allocates nothing.
//!
//! # Interface
//!
//! | | |
//! |---|---|
//! | the two ends | [`Client`], [`Server`]; without options [`client_authenticate`], [`server_authenticate`]; what they have in common is [`endpoint::Endpoint`] |
//! | keys | [`Key`], [`KeyId`], [`Secret`], [`Fingerprint`], [`generate_secret`]; many of them [`Keyring`], [`Reloaded`], [`KeyLookup`]; a key file in steps [`Rotation`] |
//! | the result | [`Session`], [`Matched`]; [`Protected`], [`Encrypted`], which are [`Secured`], and its [`ReadHalf`] and [`WriteHalf`] |
//! | the accept loop | [`Listener`], [`ListenerOptions`], [`Authenticated`]; for your log [`Event`], [`Outcome`], [`Identity`], [`Process`]; other sources [`Source`], [`Connection`], [`Pending`], [`Pause`]; other loops [`Trouble`]; a port or a path alone [`bind_tcp`], [`BoundUnix`] |
//! | the stream below | [`Deadline`], [`DeadlineHandle`], [`Timed`]; [`Binding`] to TLS |
//! | errors | [`Error`], [`Denial`], [`Hint`], [`Phase`], [`InvalidInput`], [`NoRandomness`]; of files [`KeyFileError`], [`Malformed`], [`Found`] |
//! | modules | [`tokio`]: all of it with `await`; [`handshake`] and [`record`]: the core, without I/O; [`compat`]: other protocols |
#![no_std]
#![forbid(unsafe_code)]
#![warn(unreachable_pub)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(all(
        feature = "tokio",
        feature = "encrypt",
        feature = "passphrase",
        feature = "multiprocessing-md5"
    )),
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "the links lead to what needs a feature"
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
// Its examples need these features. Its text does not: whoever documents a program of their own, with
// other features, has the guides too.
#[cfg(any(
    doc,
    all(
        doctest,
        feature = "tokio",
        feature = "encrypt",
        feature = "passphrase",
        feature = "multiprocessing"
    )
))]
pub mod guide;
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

#[doc(inline)]
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
        Timed, bind_tcp,
    },
    listener::{Event, Identity, ListenerOptions, Outcome, Process, Trouble},
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
