//! How a handshake failed. The variants of the crate's errors are named here once, so that a test
//! says only which failure it expects.

use countersign::compat::cookbook;
#[cfg(feature = "multiprocessing")]
use countersign::compat::multiprocessing;
use countersign::handshake::{Error as Core, Incompatible, Refusal, StreamError};
use countersign::{Error, KeyId};

/// The server told the client that it is denied.
pub fn is_denied(error: &Error) -> bool {
    matches!(error, Error::Denied(_))
}

/// The client found that the server does not know the secret.
pub fn is_impostor(error: &Error) -> bool {
    matches!(error, Error::Handshake(Core::ServerNotAuthentic))
}

/// Why the server refused the client that claims this key id.
pub fn refusal_of(error: &Error, id: &KeyId) -> Refusal {
    match error {
        Error::Handshake(Core::ClientNotAuthentic { key_id, refusal }) if key_id == id => *refusal,
        other => panic!("{other:?}"),
    }
}

/// Why the server refused the client, if it did.
pub fn refusal(error: &Error) -> Option<Refusal> {
    match error {
        Error::Handshake(Core::ClientNotAuthentic { refusal, .. }) => Some(*refusal),
        _ => None,
    }
}

/// How the peer is incompatible, if it is.
pub fn incompatible(error: &Error) -> Option<&Incompatible> {
    match error {
        Error::Handshake(Core::Incompatible(incompatible)) => Some(incompatible),
        _ => None,
    }
}

/// How the stream contradicted itself, if it did.
pub fn stream(error: &Error) -> Option<StreamError> {
    match error {
        Error::Handshake(Core::Stream(error))
        | Error::Cookbook(cookbook::Problem::Stream(error)) => Some(*error),
        #[cfg(feature = "multiprocessing")]
        Error::Multiprocessing(multiprocessing::Problem::Stream(error)) => Some(*error),
        _ => None,
    }
}
