//! What a reload changed.

use core::fmt;
use std::vec::Vec;

use crate::error::Error;
use crate::key::KeyId;

/// What [`Keyring::reload`](crate::Keyring::reload) changed. `Display` makes one line of it.
///
/// Every id that is not listed is as it was before. All of it is empty if nothing changed, or if a
/// reload that began later was faster.
#[non_exhaustive]
#[derive(Debug, Default)]
pub struct Reloaded {
    /// Ids that have a key now and had none before.
    pub added: Vec<KeyId>,
    /// Ids whose secrets were replaced.
    pub changed: Vec<KeyId>,
    /// Ids whose keys are gone. A master may still answer for them.
    pub removed: Vec<KeyId>,
    /// Ids whose files are at fault, and which keep their former keys.
    pub kept: Vec<(KeyId, Error)>,
    /// Files that are at fault and have no former key. Nobody is accepted under their ids, not even
    /// by a master, until they are mended or removed.
    pub refused: Vec<Error>,
}

impl Reloaded {
    /// Returns whether every key file was loaded.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.kept.is_empty() && self.refused.is_empty()
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (what, ids) in [
            ("added", &self.added),
            ("changed", &self.changed),
            ("removed", &self.removed),
        ] {
            if !ids.is_empty() {
                write!(f, "{separator}{what}")?;
                separator = "; ";
            }
            for id in ids {
                write!(f, " \"{id}\"")?;
            }
        }
        for (id, error) in &self.kept {
            write!(f, "{separator}kept the former key of \"{id}\": {error}")?;
            separator = "; ";
        }
        for error in &self.refused {
            write!(
                f,
                "{separator}not accepted: {error}; its id is refused until the file is mended"
            )?;
            separator = "; ";
        }
        if separator.is_empty() {
            f.write_str("nothing changed")?;
        }
        Ok(())
    }
}
