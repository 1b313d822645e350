#![no_main]
#![doc = "The target `cookbook`."]

use fuzz::{cookbook::body, harness::run};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(body, bytes));
