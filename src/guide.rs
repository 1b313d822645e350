//! Guides: how to use the crate, one task at a time.
//!
//! They are part of the documentation only. Each is one Markdown file in `src/guide`, and its examples
//! are tests.

#![doc = include_str!("../examples/README.md")]
#![allow(
    unused_imports,
    reason = "the links of the guides name what is at the root of the crate"
)]

use crate::*;

/// Makes a module of each guide.
macro_rules! guides {
    ($($(#[$summary:meta])* $name:ident: $file:literal,)*) => {$(
        $(#[$summary])*
        #[doc = ""]
        #[doc = include_str!($file)]
        pub mod $name {}
    )*};
}

guides! {
    /// Secrets, key files, rotation, passphrases, systemd and Kubernetes.
    keys: "guide/keys.md",
    /// A server with a key for each client.
    many_clients: "guide/many_clients.md",
    /// The same with tokio.
    asynchronous: "guide/asynchronous.md",
    /// A handshake that is bound to its TLS connection.
    inside_tls: "guide/inside_tls.md",
    /// What an attacker on the network can do, and which verb stops it.
    hostile_networks: "guide/hostile_networks.md",
    /// Load balancers and service meshes, in front of a server that speaks first.
    proxies: "guide/proxies.md",
    /// Programs that cannot be changed: `countersign tunnel`.
    tunnel: "guide/tunnel.md",
    /// A tunnel that stays: units, rotation, and what each line of its log means.
    operating_tunnels: "guide/operating_tunnels.md",
    /// Peers in Python and in JavaScript.
    other_languages: "guide/other_languages.md",
    /// From the recipe, from Python's `multiprocessing`, or from a token of your own.
    migrating: "guide/migrating.md",
    /// The core, for an event loop or a transport of your own.
    drivers: "guide/drivers.md",
    /// The core on a microcontroller.
    no_std: "guide/no_std.md",
    /// From each error to its causes and to a command.
    diagnosing: "guide/diagnosing.md",
    /// Limits, retries, logs and metrics.
    operating: "guide/operating.md",
}
