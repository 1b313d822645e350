#![no_main]
#![doc = "The target `key`."]

use fuzz::{harness::run, key::body};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(body, bytes));
