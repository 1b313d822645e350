//! The standard library, with the threads and locks of shuttle in the place of its own.

pub use ::std::*;

/// What shuttle has is shuttle's. The rest never waits.
pub mod sync {
    pub use ::std::sync::*;
    pub use shuttle::sync::{
        Arc, Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak, mpsc,
    };
}

/// Threads that shuttle schedules.
pub mod thread {
    pub use shuttle::thread::*;
}
