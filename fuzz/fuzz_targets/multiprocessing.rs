#![no_main]
#![doc = "The target `multiprocessing`."]

use fuzz::{harness::run, multiprocessing::body};

libfuzzer_sys::fuzz_target!(|octets: &[u8]| run(body, octets));
