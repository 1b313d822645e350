//! The code blocks of the README, one of which needs tokio.
#![cfg_attr(feature = "tokio", doc = include_str!("../README.md"))]
