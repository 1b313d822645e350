#![no_main]
#![doc = "The target `key_file`."]

use fuzz::{harness::run, key_file::body};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(body, bytes));
