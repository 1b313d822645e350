//! How many descriptors the caps need.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::serve::WAITING;
use crate::Failure;

/// The standard streams, the listening socket, the runtime's own, key files, and connections that are
/// about to be closed.
const RESERVE: u64 = 32;

/// A connection has a socket at either side.
const SOCKETS: u64 = 2;

const DEFAULT_CONNECTIONS: u64 = 1024;

/// Authenticated clients that the listener of a server holds.
pub(super) const READY: u32 = 16;

/// Returns how many connections there may be at once, beside sockets that wait for a place and, at a
/// server, clients that are not authenticated yet: `pending` at most.
///
/// The soft limit of descriptors is raised if that is too low and the hard limit allows it.
pub(super) fn connections(asked: Option<u32>, pending: Option<u32>) -> Result<usize, Failure> {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let held = u64::try_from(WAITING)? + pending.map_or(0, |_| u64::from(READY));
    let waiting = held + pending.map_or(0, u64::from);
    let fit = hard.saturating_sub(RESERVE + waiting) / SOCKETS;
    let connections = match asked {
        Some(asked) => u64::from(asked),
        None => fit.clamp(1, DEFAULT_CONNECTIONS),
    };
    let needed = SOCKETS * connections + waiting + RESERVE;
    if needed > hard {
        let pending = pending.map(|_| hard.saturating_sub(SOCKETS * connections + held + RESERVE));
        let less = [("connections", Some(fit)), ("pending", pending)];
        let less = less.map(|(cap, fit)| match fit {
            Some(fit @ 1..) => format!(", or lower --max-{cap} to {fit}"),
            _ => String::new(),
        });
        let s = if connections == 1 { "" } else { "s" };
        return Err(format!(
            "at most {hard} descriptors may be open, but {connections} connection{s} of {SOCKETS} \
             sockets, {waiting} waiting clients and {RESERVE} others are {needed}; raise the limit \
             (ulimit -Hn, or LimitNOFILE= of systemd) to {needed}{}",
            less.concat()
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
