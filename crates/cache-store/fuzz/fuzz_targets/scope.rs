//! See `cache_store::fuzzing::scope`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cache_store::fuzzing::scope(data));
