#![no_main]
#![doc = "The target `record`."]

use fuzz::{harness::run, record::body};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(body, bytes));
