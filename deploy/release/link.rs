//! The build script: gives the linker the order of functions.
//!
//! Owns: which builds are linked in that order. Never knows: the order, which is `order.ld`.

#![expect(clippy::print_stdout, reason = "Cargo reads it")]

use std::env;

/// Linux brings a program into memory 64 KiB at a time: functions that a running respgate executes, scattered among those of
/// other verbs, bring nearly all of these into memory. Debug builds have other functions.
fn main() {
    println!("cargo::rerun-if-changed=deploy/release/link.rs");
    println!("cargo::rerun-if-changed=deploy/release/order.ld");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") {
        let root = env!("CARGO_MANIFEST_DIR");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{root}/deploy/release/order.ld");
    }
}
