#![no_main]
#![doc = "The target `server`."]

use fuzz::{harness::run, server::body};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(body, bytes));
