//! What one command costs in the pure core, in nanoseconds: framing, lookup, policy, session, replies.
//!
//! Owns: the list of measurements. Never knows: sockets.
//!
//! `cargo bench --bench core_cost`. Medians of many short batches; the machine should do little else.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unnameable_types,
    missing_debug_implementations,
    reason = "a measurement may crash, and prints"
)]

#[path = "core/conversation.rs"]
mod conversation;

use std::hint::black_box;

use conversation::{RULES, Talk, request};
use respgate::internals::base::clock::now;
use respgate::internals::command::{self, Lookup};
use respgate::internals::policy::{EvalContext, Scratch, compile};
use respgate::internals::resp::{ReplyScanner, RequestBuf, RequestLimits, RequestScanner, Scan};

const BATCHES: usize = 401;
/// Short enough that most batches run undisturbed.
const BATCH_CALLS: u32 = 1_000;

/// Prints the median cost of one call, shared among its `commands`.
fn measure(name: &str, commands: u32, mut call: impl FnMut()) {
    let mut costs: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let begin = now();
            for _ in 0..BATCH_CALLS {
                call();
            }
            (now() - begin).as_nanos() as f64 / f64::from(BATCH_CALLS) / f64::from(commands)
        })
        .collect();
    costs.sort_by(f64::total_cmp);
    println!("| {name} | {:.1} | {:.1} |", costs[BATCHES / 2], costs[0]);
}

fn main() {
    println!("| per command | median ns | least ns |\n|---|---|---|");
    let value = "v".repeat(64);
    let set = ["SET", "app1:key:0001", &value];
    let get = ["GET", "app1:key:0001"];
    framing(&set, &get);
    judging(&set, &get);
    replies(&value);
    conversations(&set, &get, &value);
}

fn limits() -> RequestLimits {
    RequestLimits {
        max_args: 1 << 20,
        max_bulk_bytes: 64 << 20,
        max_inline_bytes: 64 << 10,
        large_bytes: 64 << 10,
        authenticated: true,
    }
}

fn framing(set: &[&str], get: &[&str]) {
    let limits = limits();
    let sixteen: Vec<u8> = (0..8).flat_map(|_| [request(set), request(get)].concat()).collect();
    for (name, commands, bytes) in [
        ("request framer: SET of 64 bytes", 1, request(set)),
        ("request framer: GET", 1, request(get)),
        ("request framer: 8 SET and 8 GET at once", 16, sixteen),
    ] {
        let mut scanner = RequestScanner::default();
        measure(name, commands, || {
            let mut rest = black_box(bytes.as_slice());
            while let Ok(Scan::Request { used }) = scanner.scan(rest, &limits) {
                black_box(scanner.request(rest).raw());
                rest = &rest[used..];
            }
        });
    }
}

fn judging(set: &[&str], get: &[&str]) {
    let mut scratch = Scratch::default();
    for (name, args) in [("SET", set), ("GET", get)] {
        let owned = RequestBuf::from_args(args.iter().map(|arg| arg.as_bytes()));
        let request = owned.as_request();
        measure(&format!("lookup: {name}"), 1, || {
            black_box(command::lookup(black_box(&request)));
        });
        let Lookup::Command(spec) = command::lookup(&request) else { panic!("{name} is unknown") };
        for (rules, build) in RULES {
            let policy = compile(&build()).unwrap();
            let moment = EvalContext::default();
            measure(&format!("policy, rules {rules}: {name}"), 1, || {
                let grant = policy.permit(spec, black_box(&request), &moment, &mut scratch);
                if black_box(grant).unwrap().changed {
                    let wire = scratch.take_wire();
                    scratch.reuse(wire);
                }
            });
        }
    }
}

fn replies(value: &str) {
    let bulk = format!("${}\r\n{value}\r\n", value.len());
    for (name, count, text) in [
        ("reply framer: OK", 1, "+OK\r\n".to_owned()),
        ("reply framer: 64 bytes", 1, bulk.clone()),
        ("reply framer: array of 10 strings", 1, format!("*10\r\n{}", bulk.repeat(10))),
        ("reply framer: 16 replies at once", 16, format!("+OK\r\n{bulk}").repeat(8)),
    ] {
        let mut scanner = ReplyScanner::default();
        measure(name, count, || {
            let mut rest = black_box(text.as_bytes());
            while !rest.is_empty() {
                let advance = scanner.advance(rest).unwrap();
                rest = &rest[advance.used..];
            }
        });
    }
}

fn conversations(set: &[&str], get: &[&str], value: &str) {
    let bulk = format!("${}\r\n{value}\r\n", value.len());
    let pairs = |count: usize| {
        let requests: Vec<u8> =
            (0..count).flat_map(|_| [request(set), request(get)].concat()).collect();
        (requests, format!("+OK\r\n{bulk}").repeat(count).into_bytes())
    };
    for (rules, build) in RULES {
        let mut talk = Talk::new(&build(), now());
        let (single, ok) = (request(set), b"+OK\r\n".to_vec());
        measure(&format!("there and back, rules {rules}: SET"), 1, || {
            assert_eq!(talk.turn(black_box(&single), black_box(&ok)), 1);
        });
        let (requests, replies) = pairs(8);
        measure(&format!("there and back, rules {rules}: 8 SET and 8 GET at once"), 16, || {
            assert_eq!(talk.turn(black_box(&requests), black_box(&replies)), 16);
        });
    }
}
