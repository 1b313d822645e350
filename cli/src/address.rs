//! Where to connect to or to listen at.

use std::fmt;
use std::net::SocketAddrV6;
use std::path::PathBuf;
use std::str::FromStr;

use crate::shown;

/// `host:port`, `[::1]:port` or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A name or an IP address with a port, as `ToSocketAddrs` takes it.
    Tcp(String),
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("there is no path; write unix:PATH".into()),
                path => Ok(Self::Unix(path.into())),
            };
        }
        if text.contains('/') {
            return Err("a Unix socket is written as unix:PATH, and a URL is no address".into());
        }
        if text.starts_with('[') {
            return match text.parse::<SocketAddrV6>() {
                Ok(_) => Ok(Self::Tcp(text.into())),
                Err(_) => Err("an IPv6 address is written with its port as [::1]:7000".into()),
            };
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err("there is no port; write HOST:PORT, [IPv6]:PORT or unix:PATH".into());
        };
        if host.contains(':') {
            return Err("an IPv6 address needs brackets, as in [::1]:7000".into());
        }
        if host.is_empty() {
            return Err("there is no host before the port; write HOST:PORT".into());
        }
        // The parser of numbers takes a sign.
        if !port.bytes().all(|byte| byte.is_ascii_digit()) || port.parse::<u16>().is_err() {
            return Err("the port must be a number from 0 to 65535".into());
        }
        Ok(Self::Tcp(text.into()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", shown(path)),
        }
    }
}
