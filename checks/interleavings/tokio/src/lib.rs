//! tokio, with the tasks of shuttle and a time limit that never ends. Its notifications, channels and
//! pipes are its own: they need no runtime.

pub use ::tokio::io;

pub use self::task::spawn;

/// What tasks share.
pub mod sync {
    use std::time::Duration;

    pub use ::tokio::sync::*;
    use shuttle::thread;

    /// A notification. Other tasks may run before each of its steps.
    #[derive(Default)]
    pub struct Notify(::tokio::sync::Notify);

    impl Notify {
        #[must_use]
        pub fn new() -> Self {
            Self::default()
        }

        pub fn notified(&self) -> futures::Notified<'_> {
            thread::sleep(Duration::ZERO);
            self.0.notified()
        }

        pub fn notify_waiters(&self) {
            thread::sleep(Duration::ZERO);
            self.0.notify_waiters();
        }
    }
}

/// Tasks that shuttle schedules.
pub mod task {
    pub use shuttle::future::{AbortHandle, JoinHandle, spawn, yield_now};
}

/// The runtime, which is shuttle.
pub mod runtime {
    use std::convert::Infallible;
    use std::future::Future;

    use shuttle::thread;

    use crate::task::{self, JoinHandle};

    #[derive(Clone)]
    pub struct Handle(());

    impl Handle {
        /// Returns the runtime.
        ///
        /// # Errors
        ///
        /// Returns none.
        pub fn try_current() -> Result<Self, Infallible> {
            Ok(Self(()))
        }

        pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
        where
            F: Future<Output: Send> + Send + 'static,
        {
            task::spawn(future)
        }

        pub fn spawn_blocking(&self, call: impl FnOnce() + Send + 'static) {
            thread::spawn(call);
        }
    }
}

/// The types of sockets. They cannot be used, because shuttle has no reactor.
pub mod net {
    use std::io;

    pub use ::tokio::net::*;

    /// A socket that can be made without a reactor, since the listener asks whether there is one.
    pub struct UnixDatagram(());

    impl UnixDatagram {
        /// Makes a socket that does nothing.
        ///
        /// # Errors
        ///
        /// Returns none.
        pub fn unbound() -> io::Result<Self> {
            Ok(Self(()))
        }
    }
}

/// Shuttle knows no time.
pub mod time {
    use std::convert::Infallible;
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    pub use ::tokio::time::Instant;

    /// Lets the other tasks run.
    pub async fn sleep(_: Duration) {
        crate::task::yield_now().await;
    }

    /// Awaits `future`, without a limit: what has to be woken must not rely on it.
    ///
    /// # Errors
    ///
    /// Returns none.
    pub async fn timeout<F: Future>(_: Duration, future: F) -> Result<F::Output, Infallible> {
        Ok(future.await)
    }

    /// Never ends: what has to be woken must not rely on it.
    pub struct Sleep;

    /// Sleeps for ever.
    pub fn sleep_until(_: Instant) -> Sleep {
        Sleep
    }

    impl Future for Sleep {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }
}
