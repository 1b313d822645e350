//! Listeners of both drivers among honest clients, strangers and attackers.

#[cfg(feature = "tokio")]
mod awaited;
#[cfg(feature = "tokio")]
mod cancelled;
pub mod clients;
#[cfg(target_os = "linux")]
mod descriptors;
mod events;
mod handover;
#[cfg(feature = "tokio")]
mod hooks;
#[cfg(feature = "tokio")]
mod incoming;
mod lingering;
mod pending;
mod queue;
pub mod running;
mod sharing;
#[cfg(target_os = "linux")]
mod short;
mod shutdown;
mod sources;
mod strangers;
#[cfg(target_os = "linux")]
mod threads;
mod told;
#[cfg(unix)]
mod unix;
mod upgraded;
mod verbs;
