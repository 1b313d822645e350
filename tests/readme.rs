// One of its programs needs tokio.
#![cfg_attr(feature = "tokio", doc = include_str!("../README.md"))]
