//! What the tests share, by subject.

#[cfg(target_os = "linux")]
mod again;
mod by_hand;
mod driver;
mod keys;
mod os;
mod pair;
mod peers;
mod random;
mod states;
mod wire;

#[cfg(target_os = "linux")]
pub use self::again::*;
pub use self::by_hand::*;
pub use self::driver::*;
pub use self::keys::*;
pub use self::os::*;
pub use self::pair::*;
pub use self::peers::*;
pub use self::random::*;
pub use self::states::*;
pub use self::wire::*;
