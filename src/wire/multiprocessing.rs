//! The protocol of Python's `multiprocessing.connection`, without I/O.

mod frame;
pub(crate) mod messages;
mod problem;
mod states;

pub use self::problem::Problem;
pub use self::states::KnowsAuthkey;
pub(crate) use self::states::{Authkey, CHALLENGE, DIGEST, Digests, Verified, WELCOME, Welcomed};
