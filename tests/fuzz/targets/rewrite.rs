//! Hands the fuzzer's bytes to `rewrite::check`.
//!
//! Owns: nothing. Never knows: what is checked.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| respgate_fuzz::rewrite::check(data));
