//! The constructors of a listener, defined once for both drivers and all verbs.

/// Defines the constructors of a driver's `Listener`.
///
/// They call what the driver defines: the function that it names for an address, and `start_bare` and
/// `start_upgraded` of its `Listener`, with a function that makes what the listener returns. A driver
/// whose function for an address has to be awaited says so, and says what an upgrade is.
macro_rules! constructors {
    (@verb
        $mode:literal,
        $Yields:ident, $Mode:ident, $of_socket:ident, $of_stream:ident,
        $new:ident, $with_options:ident, $bind:ident, $bind_with_options:ident, $bind_unix:ident, $upgraded:ident,
        sockets: $Tcp:ident, $Unix:ident,
        listen: $listen:ident,
        bind: [$($async:tt)?] [$($await:tt)*],
        upgrade: [$($upgrade:tt)+] [$($future:ident: $($bounds:tt)+)?],
        from: [$($socket:tt)*],
        over: [$($stream:tt)+]
    ) => {
        #[doc = concat!("Over a source of connections, in ", $mode, ".")]
        impl<S: $($socket)* Send + 'static> Listener<$Yields<S>> {
            /// Starts to accept connections from `source`, with the default
            /// [`ListenerOptions`](crate::ListenerOptions).
            ///
            /// # Errors
            ///
            /// Returns an error if the thread or the task that accepts cannot be started: over tokio,
            /// outside a runtime whose time and I/O are enabled.
            pub fn $new<L, K>(source: L, server: Server<K>) -> io::Result<Self>
            where
                L: Source<Stream = S>,
                K: Lookup + Send + Sync + 'static,
            {
                Self::$with_options(source, server, ListenerOptions::new())
            }

            #[doc = concat!("Like [`", stringify!($new), "`](Self::", stringify!($new), "), with options.")]
            ///
            /// # Errors
            ///
            #[doc = concat!("Returns the errors of [`", stringify!($new), "`](Self::", stringify!($new), ").")]
            pub fn $with_options<L, K>(
                source: L,
                server: Server<K>,
                options: ListenerOptions,
            ) -> io::Result<Self>
            where
                L: Source<Stream = S>,
                K: Lookup + Send + Sync + 'static,
            {
                Self::start_bare(source, server, options, $Mode, $of_socket)
            }
        }

        #[doc = concat!("At an address, in ", $mode, ".")]
        impl Listener<$Yields<$Tcp>> {
            /// Listens at `address`, with the default [`ListenerOptions`](crate::ListenerOptions).
            /// With port 0 the system chooses one, which [`local_addr`](Self::local_addr) returns.
            ///
            /// The socket is one of [`bind_tcp`], so up to 4,096 connections may wait to be accepted.
            ///
            /// # Errors
            ///
            /// Returns an error if the address cannot be looked up or bound, and the errors of
            #[doc = concat!("[`", stringify!($new), "`](Self::", stringify!($new), ").")]
            pub $($async)? fn $bind<K>(
                address: impl ToSocketAddrs,
                server: Server<K>,
            ) -> io::Result<Self>
            where
                K: Lookup + Send + Sync + 'static,
            {
                Self::$bind_with_options(address, server, ListenerOptions::new()) $($await)*
            }

            #[doc = concat!("Like [`", stringify!($bind), "`](Self::", stringify!($bind), "), with options.")]
            ///
            /// # Errors
            ///
            #[doc = concat!("Returns the errors of [`", stringify!($bind), "`](Self::", stringify!($bind), ").")]
            pub $($async)? fn $bind_with_options<K>(
                address: impl ToSocketAddrs,
                server: Server<K>,
                options: ListenerOptions,
            ) -> io::Result<Self>
            where
                K: Lookup + Send + Sync + 'static,
            {
                let socket = $listen(address) $($await)*?;
                Self::$with_options(socket, server, options)
            }
        }

        #[doc = concat!("At the path of a Unix socket, in ", $mode, ".")]
        #[cfg(unix)]
        impl Listener<$Yields<$Unix>> {
            /// Listens at `path`, on a socket whose file has this `mode`: with 0o600 only its owner
            /// can connect. Some systems ignore the mode. There, put it into a directory that only
            /// those users can enter.
            ///
            /// Up to 4,096 connections may wait to be accepted, or fewer if the system has a lower
            /// limit.
            ///
            /// If there is a socket at the path already and nobody listens on it, it is replaced. The
            /// file is removed when the listener stops.
            ///
            /// # Errors
            ///
            /// Returns an error of kind [`AddrInUse`](io::ErrorKind::AddrInUse) if somebody listens
            /// there or if it is no socket, of kind
            /// [`ResourceBusy`](io::ErrorKind::ResourceBusy) if another process locks the directory
            /// for longer than a second, the errors of binding, and the errors of
            #[doc = concat!("[`", stringify!($new), "`](Self::", stringify!($new), ").")]
            pub fn $bind_unix<K>(
                path: impl AsRef<Path>,
                mode: u32,
                server: Server<K>,
                options: ListenerOptions,
            ) -> io::Result<Self>
            where
                K: Lookup + Send + Sync + 'static,
            {
                let socket = listen_unix(path.as_ref(), mode)?;
                Self::$with_options(socket, server, options)
            }
        }

        #[doc = concat!("Over connections that are upgraded first, in ", $mode, ".")]
        impl<U: $($stream)+ + Send + 'static> Listener<$Yields<U>> {
            /// Starts to accept connections that `upgrade` is called with before the handshake: for
            /// TLS, or for a header of a proxy. It returns the upgraded stream and, if there is one,
            /// the channel binding of this connection. For an address, `source` is what [`bind_tcp`]
            /// returns.
            ///
            /// The upgrade counts against the deadline of the handshake, and can be evicted. If it
            /// fails, the connection is reported as refused, with [`Phase::Upgrading`](crate::Phase::Upgrading).
            /// An upgrade that has another use for a connection, or for its end, can return an error
            /// of kind [`ConnectionAborted`](io::ErrorKind::ConnectionAborted): it is reported as
            /// [`Error::Closed`](crate::Error::Closed), like a port scan.
            ///
            /// # Errors
            ///
            #[doc = concat!("Returns the errors of [`", stringify!($new), "`](Self::", stringify!($new), ").")]
            pub fn $upgraded<L, K, G $(, $future)?>(
                source: L,
                server: Server<K>,
                options: ListenerOptions,
                upgrade: G,
            ) -> io::Result<Self>
            where
                L: Source,
                K: Lookup + Send + Sync + 'static,
                G: $($upgrade)+ + Send + Sync + 'static,
                $($future: $($bounds)+,)?
            {
                Self::start_upgraded(source, server, options, $Mode, upgrade, $of_stream)
            }
        }
    };
    ($($driver:tt)*) => {
        constructors!(@verb
            "mode 0: what follows is neither protected nor encrypted",
            Authenticated, Authenticate, authenticated, authenticated,
            new, with_options, bind, bind_with_options, bind_unix, upgraded,
            $($driver)*
        );
        constructors!(@verb
            "mode 1: what follows is protected from alteration",
            Protected, Protect, secured_socket, secured,
            new_protected, protected_with_options, bind_protected, bind_protected_with_options,
            bind_unix_protected, upgraded_protected,
            $($driver)*
        );
        #[cfg(feature = "encrypt")]
        constructors!(@verb
            "mode 2: what follows is encrypted",
            Encrypted, Encrypt, secured_socket, secured,
            new_encrypted, encrypted_with_options, bind_encrypted, bind_encrypted_with_options,
            bind_unix_encrypted, upgraded_encrypted,
            $($driver)*
        );
    };
}
pub(crate) use constructors;
