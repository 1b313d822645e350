#![no_main]
#![doc = "The target `multiprocessing`."]

use fuzz::{harness::run, multiprocessing::body};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(body, bytes));
