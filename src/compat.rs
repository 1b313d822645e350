//! Compatibility protocols, for peers that do not speak this crate's own.
//!
//! [`cookbook`] is the recipe "authenticating clients simply", and [`multiprocessing`] the protocol of
//! Python's module. Each is weaker in its own way, which its module states. Their results are separate
//! types and never a [`Session`](crate::Session). They use the secret as it is, so give them one that
//! is used for nothing else. [`secret_from_file`] and [`secret_from_shared_file`] read it.

pub use crate::blocking::cookbook;
#[cfg(feature = "multiprocessing")]
pub use crate::blocking::multiprocessing;
pub use crate::keys::{secret_from_file, secret_from_shared_file};
