//! What follows an accepted handshake, as types.

use core::fmt;

use super::Sealed;
use super::session::{Role, Session};
use crate::record::Records;

/// The mode of a handshake, which says what follows it: [`Authenticate`] or [`Protect`].
///
/// Each end is configured for one mode and refuses the other: there is no negotiation. It is
/// sealed: these two are all there are.
pub trait Mode: Sealed + Copy + fmt::Debug + Send + Sync + 'static {
    /// The mode's number on the wire.
    const NUMBER: u8;

    /// The verb of the drivers that uses the mode.
    const VERB: &'static str;

    /// What a successful handshake yields.
    type Established: fmt::Debug + Send + 'static;

    #[doc(hidden)]
    fn establish(session: Session, role: Role) -> Self::Established;

    #[doc(hidden)]
    fn session(established: &Self::Established) -> &Session;
}

/// Mode 0: the handshake only. The application's bytes follow as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Authenticate;

/// Mode 1: integrity-protected [records](crate::record) follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Protect;

impl Sealed for Authenticate {}

impl Mode for Authenticate {
    const NUMBER: u8 = 0;
    const VERB: &'static str = "authenticate";
    type Established = Session;

    fn establish(session: Session, _: Role) -> Session {
        session
    }

    fn session(session: &Session) -> &Session {
        session
    }
}

impl Sealed for Protect {}

impl Mode for Protect {
    const NUMBER: u8 = 1;
    const VERB: &'static str = "protect";
    type Established = (Session, Records);

    fn establish(session: Session, role: Role) -> (Session, Records) {
        let records = session.records(role);
        (session, records)
    }

    fn session((session, _): &(Session, Records)) -> &Session {
        session
    }
}
