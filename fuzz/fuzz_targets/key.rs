#![no_main]
#![doc = "The target `key`."]

use fuzz::{harness::run, key::body};

libfuzzer_sys::fuzz_target!(|octets: &[u8]| run(body, octets));
