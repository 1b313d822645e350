#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![warn(unreachable_pub)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "std")]
extern crate std;

pub mod handshake;
pub mod record;

#[cfg(feature = "std")]
mod blocking;
#[cfg(feature = "std")]
pub mod compat;
#[cfg(feature = "std")]
mod deadline;
#[cfg(feature = "std")]
mod driver;
#[cfg(feature = "std")]
mod endpoint;
#[cfg(feature = "std")]
mod error;
#[cfg(feature = "std")]
mod key_file;
#[cfg(feature = "std")]
mod keys;
#[cfg(feature = "std")]
mod listener;
#[cfg(feature = "std")]
mod protected;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use handshake::{Binding, Key, KeyId, Secret, Session};

#[cfg(feature = "std")]
pub use {
    blocking::{client_authenticate, server_authenticate},
    deadline::{Deadline, Timeouts},
    endpoint::{Client, Server},
    error::{Error, KeyFileProblem, Phase},
    key_file::generate_secret,
    keys::{Keyring, Keys, KeysFn, keys_fn},
    listener::{Event, Listener, Options as ListenerOptions, Outcome, ProtectedListener, Socket},
    protected::{Protected, ReadHalf, WriteHalf},
};
