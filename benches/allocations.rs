//! Counts allocations per command in the pure core and the mailbox once their buffers have grown:
//! there must be none.
//!
//! Owns: the count and its bound. Never knows: sockets.
//!
//! `cargo bench --bench allocations`; fails when a command allocates.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    unnameable_types,
    missing_debug_implementations,
    reason = "a measurement may crash, and prints"
)]

#[path = "core/conversation.rs"]
mod conversation;

use std::alloc::System;

use conversation::{Conversation, RULES, request};
use respgate::base::clock::now;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TURNS: usize = 10_000;

fn main() {
    let value = "v".repeat(64);
    let set = request(&["SET", "app1:key", &value]);
    let get = request(&["GET", "app1:key"]);
    let mget = request(&["MGET", "app1:a", "app1:b", "app1:c"]);
    let bulk = format!("${}\r\n{value}\r\n", value.len());
    let cases = [
        ("SET", 1, set.clone(), "+OK\r\n".to_owned()),
        ("GET", 1, get.clone(), bulk.clone()),
        ("MGET of 3", 1, mget, format!("*3\r\n{}", bulk.repeat(3))),
        (
            "8 SET and 8 GET at once",
            16,
            [set, get].concat().repeat(8),
            format!("+OK\r\n{bulk}").repeat(8),
        ),
    ];
    println!("| allocations per command | |\n|---|---|");
    let mut most: f64 = 0.0;
    for (name, commands, requests, replies) in cases {
        let mut talk = Conversation::new(RULES, now());
        for _ in 0..100 {
            assert_eq!(talk.turn(&requests, replies.as_bytes()), commands);
        }
        let region = Region::new(ALLOCATOR);
        for _ in 0..TURNS {
            talk.turn(&requests, replies.as_bytes());
        }
        let change = region.change();
        let count = (change.allocations + change.reallocations) as f64 / (TURNS * commands) as f64;
        println!("| {name} | {count:.3} |");
        most = most.max(count);
    }
    assert!(most < 0.001, "a command in the steady state must not allocate");
}
