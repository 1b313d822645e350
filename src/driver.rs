//! What the drivers make of a stream's answers, whether they wait for them or await them.

use std::io;

use crate::error::{Error, Phase};
use crate::handshake::InvalidInput;

/// How many octets came: 0 where the read was interrupted and is to be done again.
pub(crate) fn received(phase: Phase, read: io::Result<usize>) -> Result<usize, Error> {
    match read {
        Ok(0) => Err(Error::Closed(phase)),
        Ok(n) => Ok(n),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        Err(error) => Err(Error::transport(phase, error)),
    }
}

/// What is still to be sent of `octets`.
pub(crate) fn sent(
    phase: Phase,
    octets: &[u8],
    written: io::Result<usize>,
) -> Result<&[u8], Error> {
    match written {
        Ok(0) => Err(Error::transport(phase, io::ErrorKind::WriteZero.into())),
        // A stream that claims to have written more than it was given is broken; slicing by its
        // word would panic.
        Ok(len) => {
            let room = octets.len();
            Ok((octets.get(len..)).ok_or(InvalidInput::Overrun { room, len })?)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(octets),
        Err(error) => Err(Error::transport(phase, error)),
    }
}

/// Whether the flush is done, and not to be done again.
pub(crate) fn flushed(phase: Phase, flushed: io::Result<()>) -> Result<bool, Error> {
    match flushed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(Error::transport(phase, error)),
    }
}
