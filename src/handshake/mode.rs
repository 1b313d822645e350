//! What follows an accepted handshake, as types.

use core::fmt;

use super::Sealed;
#[cfg(feature = "encrypt")]
use super::exchange::KeyExchange;
use super::exchange::{Exchange, NoExchange};
use super::session::{Role, Session};
#[cfg(feature = "encrypt")]
use crate::record::Encryption;
use crate::record::{Integrity, Records};
#[cfg(feature = "encrypt")]
use crate::stack;

/// The mode of a handshake, which says what follows it: [`Authenticate`], [`Protect`] or, with
/// feature `encrypt`, `Encrypt`.
///
/// Each end is configured for one mode and refuses the others: there is no negotiation. It is
/// sealed: these are all there are.
pub trait Mode: Sealed + Copy + fmt::Debug + Send + Sync + 'static {
    /// The mode's number on the wire.
    const NUMBER: u8;

    /// The verb of the drivers that uses the mode.
    const VERB: &'static str;

    /// What a successful handshake yields.
    type Established: fmt::Debug + Send + 'static;

    #[doc(hidden)]
    type Exchange: Exchange;

    #[doc(hidden)]
    fn establish(
        session: Session,
        agreed: <Self::Exchange as Exchange>::Agreed,
        role: Role,
    ) -> Self::Established;

    #[doc(hidden)]
    fn session(established: &Self::Established) -> &Session;
}

/// Mode 0: the handshake only. The application's bytes follow as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Authenticate;

/// Mode 1: integrity-protected [records](crate::record) follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Protect;

/// Mode 2: encrypted [records](crate::record) follow, with forward secrecy.
#[cfg(feature = "encrypt")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Encrypt;

impl Sealed for Authenticate {}

impl Mode for Authenticate {
    const NUMBER: u8 = 0;
    const VERB: &'static str = "authenticate";
    type Established = Session;
    type Exchange = NoExchange;

    fn establish(session: Session, (): (), _: Role) -> Session {
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
    type Established = (Session, Records<Integrity>);
    type Exchange = NoExchange;

    fn establish(session: Session, (): (), role: Role) -> Self::Established {
        let (ours, theirs) = role.ours_and_theirs(session.integrity());
        (
            session,
            Records::new(Integrity::new(ours), Integrity::new(theirs)),
        )
    }

    fn session((session, _): &Self::Established) -> &Session {
        session
    }
}

#[cfg(feature = "encrypt")]
impl Sealed for Encrypt {}

#[cfg(feature = "encrypt")]
impl Mode for Encrypt {
    const NUMBER: u8 = 2;
    const VERB: &'static str = "encrypt";
    type Established = (Session, Records<Encryption>);
    type Exchange = KeyExchange;

    fn establish(
        session: Session,
        agreed: <KeyExchange as Exchange>::Agreed,
        role: Role,
    ) -> Self::Established {
        let (session, directions) = session.encryption(&agreed);
        stack::wipe();
        let (ours, theirs) = role.ours_and_theirs(directions);
        let records = Records::new(Encryption::new(ours), Encryption::new(theirs));
        stack::wipe();
        (session, records)
    }

    fn session((session, _): &Self::Established) -> &Session {
        session
    }
}
