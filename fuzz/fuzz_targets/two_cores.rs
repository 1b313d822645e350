#![no_main]
#![doc = "The target `two_cores`."]

use fuzz::{harness::run, two_cores::body};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(body, bytes));
