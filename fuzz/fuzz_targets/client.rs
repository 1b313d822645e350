#![no_main]
#![doc = "The target `client`."]

use fuzz::{client::body, harness::run};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(body, bytes));
