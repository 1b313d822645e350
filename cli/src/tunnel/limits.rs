//! How many descriptors the caps need.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Failure;

/// The standard streams, the listening socket, the runtime's own, key files, and connections that are
/// about to be closed.
const RESERVE: u64 = 32;

/// A connection has a socket at either side.
const SOCKETS: u64 = 2;

const DEFAULT_CONNECTIONS: u64 = 1024;

/// Returns how many connections there may be at once, beside `waiting` sockets of clients that are
/// not authenticated yet or wait for a place.
///
/// The soft limit of descriptors is raised if that is too low and the hard limit allows it.
pub(super) fn connections(asked: Option<u32>, waiting: u64) -> Result<usize, Failure> {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let fit = hard.saturating_sub(RESERVE + waiting) / SOCKETS;
    let connections = match asked {
        Some(asked) => u64::from(asked),
        None => fit.clamp(1, DEFAULT_CONNECTIONS),
    };
    let needed = SOCKETS * connections + waiting + RESERVE;
    if needed > hard {
        return Err(format!(
            "at most {hard} descriptors may be open, but {connections} connections of {SOCKETS} \
             sockets, {waiting} waiting clients and {RESERVE} others are {needed}; raise the limit \
             (ulimit -Hn, or LimitNOFILE= of systemd), or lower --max-connections to {fit}{}",
            if waiting > 0 { " or --max-pending" } else { "" }
        )
        .into());
    }
    if limit.current.is_some_and(|soft| soft < needed) {
        let raised = Rlimit {
            current: Some(needed),
            ..limit
        };
        setrlimit(Resource::Nofile, raised)
            .map_err(|error| format!("could not raise the limit of descriptors: {error}"))?;
    }
    Ok(usize::try_from(connections)?)
}
