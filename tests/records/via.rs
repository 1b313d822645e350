//! What is under test: which end, in which mode.

use countersign::Session;
#[cfg(feature = "encrypt")]
use countersign::handshake::Encrypt;
use countersign::handshake::Mode;
use countersign::handshake::Protect;
use countersign::record::{Error, OVERHEAD, Opened, Opener, Protection, Records, Sealer};

use crate::support::{Draws, Pair, key};

/// The core, or a stream on top of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Core,
    Blocking,
    BlockingHalves,
    #[cfg(feature = "tokio")]
    Tokio,
    #[cfg(feature = "tokio")]
    TokioHalves,
}

/// The modes after which records follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Protected,
    #[cfg(feature = "encrypt")]
    Encrypted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via {
    pub how: How,
    pub kind: Kind,
}

impl Kind {
    pub const ALL: &[Self] = &[
        Self::Protected,
        #[cfg(feature = "encrypt")]
        Self::Encrypted,
    ];
}

impl How {
    const STREAMS: &[Self] = &[
        Self::Blocking,
        Self::BlockingHalves,
        #[cfg(feature = "tokio")]
        Self::Tokio,
        #[cfg(feature = "tokio")]
        Self::TokioHalves,
    ];
}

impl Via {
    /// A whole stream, for a stream whose driver and mode are known otherwise.
    pub const WHOLE: Self = Self {
        how: How::Blocking,
        kind: Kind::Protected,
    };

    /// The streams in each mode.
    pub fn streams() -> impl Iterator<Item = Self> {
        Kind::ALL.iter().flat_map(|&kind| {
            let streams = How::STREAMS.iter();
            streams.map(move |&how| Self { how, kind })
        })
    }

    /// The streams, and the core below them.
    pub fn all() -> impl Iterator<Item = Self> {
        let core = |&kind| Self {
            how: How::Core,
            kind,
        };
        Kind::ALL.iter().map(core).chain(Self::streams())
    }

    pub fn is_core(self) -> bool {
        self.how == How::Core
    }

    pub fn is_halves(self) -> bool {
        match self.how {
            How::BlockingHalves => true,
            #[cfg(feature = "tokio")]
            How::TokioHalves => true,
            _ => false,
        }
    }

    pub fn is_blocking(self) -> bool {
        matches!(self.how, How::Blocking | How::BlockingHalves)
    }
}

/// Makes records in either mode.
pub trait Seal: Send {
    fn seal(&mut self, record: &mut [u8]) -> Result<(), Error>;
    fn close(&mut self) -> Result<[u8; OVERHEAD], Error>;
}

/// Opens records in either mode.
pub trait Open: Send {
    fn open<'r>(&mut self, record: &'r mut [u8]) -> Result<Opened<'r>, Error>;
}

impl<P: Protection> Seal for Sealer<P> {
    fn seal(&mut self, record: &mut [u8]) -> Result<(), Error> {
        self.seal(record)
    }

    fn close(&mut self) -> Result<[u8; OVERHEAD], Error> {
        self.close()
    }
}

impl<P: Protection> Open for Opener<P> {
    fn open<'r>(&mut self, record: &'r mut [u8]) -> Result<Opened<'r>, Error> {
        self.open(record)
    }
}

/// The two directions of a session in either mode.
pub struct AnyRecords {
    pub sealer: Box<dyn Seal>,
    pub opener: Box<dyn Open>,
}

impl<P: Protection> From<Records<P>> for AnyRecords {
    fn from(records: Records<P>) -> Self {
        Self {
            sealer: Box::new(records.sealer),
            opener: Box::new(records.opener),
        }
    }
}

/// The records of the client and the server of a handshake between two cores, with this nonce or
/// private key of the client.
pub fn session_of(kind: Kind, client_draws: Draws) -> [AnyRecords; 2] {
    match kind {
        Kind::Protected => session_in(Protect, client_draws),
        #[cfg(feature = "encrypt")]
        Kind::Encrypted => session_in(Encrypt, client_draws),
    }
}

fn session_in<M, P>(mode: M, client_draws: Draws) -> [AnyRecords; 2]
where
    M: Mode<Established = (Session, Records<P>)>,
    P: Protection,
{
    let pair = Pair {
        client_draws,
        ..Pair::of(&key("ours"))
    };
    pair.establish(mode).map(|(_, records)| records.into())
}
