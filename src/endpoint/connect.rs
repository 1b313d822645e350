//! How long a client tries to connect, for both drivers.

use core::fmt;
use core::time::Duration;
use std::format;
use std::io;
use std::sync::Arc;

use super::{ClientRole, Endpoint};
use crate::error::Error;

pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

impl<D> Endpoint<ClientRole, D> {
    /// Sets the timeout of `connect` and the other verbs that connect first, 10 seconds by default.
    ///
    /// It is the total for connecting and authenticating.
    #[must_use]
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        let role = ClientRole {
            key: self.role.key.clone(),
            connect_timeout: timeout,
        };
        Self {
            role: Arc::new(role),
            ..self
        }
    }

    pub(crate) fn time_to_connect(&self) -> Duration {
        self.role.connect_timeout
    }
}

/// Returns an equal share of the time that is left, for one of the addresses that are still to try.
pub(crate) fn share(left: Duration, to_try: usize) -> Duration {
    left / u32::try_from(to_try).unwrap_or(u32::MAX).max(1)
}

/// Makes an error of what could not be connected to. Debug escapes control characters.
pub(crate) fn not_connected(address: &dyn fmt::Debug, source: io::Error) -> Error {
    Error::Connect {
        address: format!("{address:?}"),
        source,
    }
}
