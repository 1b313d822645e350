#![no_main]
#![doc = "The target `server`."]

use fuzz::{harness::run, server::body};

libfuzzer_sys::fuzz_target!(|octets: &[u8]| run(body, octets));
