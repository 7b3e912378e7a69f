//! Hands the fuzzer's bytes to `config::check`.
//!
//! Owns: nothing. Never knows: what is checked.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| respgate_fuzz::config::check(data));
