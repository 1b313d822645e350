//! What the tests share, by subject.

mod by_hand;
mod driver;
mod keys;
mod os;
mod pair;
mod peers;
mod random;
mod states;
mod wire;

pub use self::by_hand::*;
pub use self::driver::*;
pub use self::keys::*;
pub use self::os::*;
pub use self::pair::*;
pub use self::peers::*;
pub use self::random::*;
pub use self::states::*;
pub use self::wire::*;
