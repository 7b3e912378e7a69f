//! The way of a command through the pure core and the mailbox, there and back, allocates nothing once
//! the buffers have grown.
//!
//! Owns: the count and its bound. Never knows: sockets.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    unnameable_types,
    missing_debug_implementations,
    reason = "a test may crash"
)]

#[path = "../benches/core/conversation.rs"]
mod conversation;

use std::alloc::System;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use conversation::{RULES, Talk, request};
use respgate::internals::base::clock::now;
use respgate::internals::config::{Encoding, KeyRules, OnMissing, Rules, TtlRules, ValueRules};
use respgate::internals::policy::Rule;
use respgate::internals::telemetry::{Metrics, Refused};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The allocator counts the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const TURNS: usize = 1000;
/// The process counts as a whole; what another thread allocates is not there every time.
const ATTEMPTS: usize = 5;

/// Allocations of as many turns, at the best attempt.
fn allocations(rules: &Rules, requests: &[u8], replies: &[u8], commands: usize) -> usize {
    let mut talk = Talk::new(rules, now());
    for _ in 0..100 {
        assert_eq!(talk.turn(requests, replies), commands);
    }
    let attempts = (0..ATTEMPTS).map(|_| {
        let region = Region::new(ALLOCATOR);
        for _ in 0..TURNS {
            talk.turn(requests, replies);
        }
        let change = region.change();
        change.allocations + change.reallocations
    });
    attempts.min().unwrap()
}

#[test]
fn no_command_allocates() {
    let _alone = alone();
    let value = "v".repeat(64);
    let set = request(&["SET", "app1:key", &value]);
    let get = request(&["GET", "app1:key"]);
    let bulk = format!("${}\r\n{value}\r\n", value.len());
    let many = [set.as_slice(), &get].concat().repeat(8);
    for (name, requests, replies, commands) in [
        ("SET", set, "+OK\r\n".to_owned(), 1),
        ("GET", get, bulk.clone(), 1),
        ("a pipeline of both", many, format!("+OK\r\n{bulk}").repeat(8), 16),
    ] {
        for (rules, build) in RULES {
            let count = allocations(&build(), &requests, replies.as_bytes(), commands);
            assert_eq!(count, 0, "{name}, rules: {rules}");
        }
    }
    let counted = Region::new(ALLOCATOR);
    drop(std::hint::black_box(Box::new(0_u8)));
    assert!(counted.change().allocations > 0, "the count counts");
}

/// Rules that look into requests, or change them. What respgate adds behind a command counts as one
/// more.
#[test]
fn no_rule_allocates() {
    let _alone = alone();
    let ttl = TtlRules {
        default: Some(Duration::from_secs(60)),
        max: Some(Duration::from_secs(3600)),
        on_missing: OnMissing::Inject,
        exempt: vec!["app1:lock:*".to_owned()],
        ..TtlRules::default()
    };
    let keys = KeyRules { max_bytes: Some(100), ..KeyRules::default() };
    let values =
        ValueRules { max_bytes: Some(1000), encoding: Encoding::Json, ..ValueRules::default() };
    let acl = Some("+@all ~app1:*".to_owned());
    let rules = Rules { acl, keys, values, ttl, ..Rules::default() };
    for (words, replies, commands) in [
        (&["SET", "app1:key", "[1,2,{}]"][..], "+OK\r\n", 1),
        (&["SET", "app1:key", "1", "EX", "9999"], "+OK\r\n", 1),
        (&["INCR", "app1:n"], ":1\r\n:1\r\n", 2),
    ] {
        let allocations = allocations(&rules, &request(words), replies.as_bytes(), commands);
        assert_eq!(allocations, 0, "{words:?}");
    }
}

/// What one writer of metrics keeps, whatever clients send: commands are counted by names of the table, in as many
/// series as there are places, and policies by their first sixteen.
#[test]
fn metrics_shard_has_a_bound() {
    const BYTES_MAX: usize = 12 * 1024;
    let _alone = alone();
    let names: Vec<&'static str> = (0..500).map(|n| &*format!("command{n}").leak()).collect();
    let policies: Vec<String> = (0..1000).map(|n| format!("policy{n}")).collect();
    let kept = (0..ATTEMPTS).map(|_| {
        let metrics = Metrics::default();
        // The first set is made with the process; another writer's is measured.
        let _first = metrics.shard();
        let region = Region::new(ALLOCATOR);
        let shard = metrics.shard();
        for name in &names {
            for rule in &Rule::ALL {
                shard.commands_denied_total.inc(*rule, Refused::Kept(name));
                shard.policy_would_deny_total.inc(*rule, Refused::Named(name));
            }
        }
        for policy in &policies {
            shard.policy_commands_total.of(policy).inc();
            shard.policy_denied_total.of(policy).inc();
            shard.listener_connections_total.of(policy).inc();
        }
        let change = region.change();
        change.bytes_allocated.saturating_sub(change.bytes_deallocated)
    });
    let kept = kept.min().unwrap();
    assert!(kept > 0 && kept <= BYTES_MAX, "{kept} bytes");
}
