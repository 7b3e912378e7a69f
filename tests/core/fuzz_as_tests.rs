//! Runs what the fuzzer checks without a fuzzer: over the committed corpus and over mutations of it
//! that a seed decides.
//!
//! Owns: the mutations. Never knows: what is checked.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use respgate::internals::base::entropy::Entropy;

#[path = "../fuzz/src/lib.rs"]
mod checks;

/// Mutations of each input; a fuzzer makes more.
const ROUNDS: usize = 400;

#[test]
fn request() {
    run("request", checks::request::check);
}

#[test]
fn reply() {
    run("reply", checks::reply::check);
}

#[test]
fn acl_rule() {
    run("acl_rule", checks::acl_rule::check);
}

#[test]
fn config() {
    run("config", checks::config::check);
}

#[test]
fn rewrite() {
    run("rewrite", checks::rewrite::check);
}

#[test]
fn session_operations() {
    run("session_operations", checks::session_operations::check);
}

/// Runs `check` over `corpus/<name>` and its mutations. A failure shows the input; it belongs into
/// the corpus.
fn run(name: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(!corpus.is_empty());
    let mut entropy = Entropy::from_seed(0);
    for input in &corpus {
        run_one(input, check);
        for _ in 0..ROUNDS {
            run_one(&mutated(input, &corpus, &mut entropy), check);
        }
    }
}

fn run_one(input: &[u8], check: fn(&[u8])) {
    let held = catch_unwind(AssertUnwindSafe(|| check(input))).is_ok();
    assert!(held, "the input was b\"{}\"", input.escape_ascii());
}

/// One to four changes: a byte replaced, bits flipped, bytes removed, doubled, or taken from
/// another input.
fn mutated(input: &[u8], corpus: &[Vec<u8>], entropy: &mut Entropy) -> Vec<u8> {
    let mut data = input.to_vec();
    for _ in 0..=entropy.below(4) {
        let part = range(data.len(), entropy);
        match entropy.below(5) {
            0 => data
                .splice(part.start..part.start, [INTERESTING[pick(INTERESTING.len(), entropy)]])
                .for_each(drop),
            1 => {
                if let Some(byte) = data.get_mut(part.start) {
                    *byte ^= 1 << entropy.below(8);
                }
            }
            2 => data.drain(part).for_each(drop),
            3 => data.extend_from_within(part),
            _ => {
                let other = &corpus[pick(corpus.len(), entropy)];
                let theirs = other[range(other.len(), entropy)].to_vec();
                data.splice(part, theirs).for_each(drop);
            }
        }
    }
    data
}

const INTERESTING: &[u8] = b"\0\r\n \"'\\*$+-:;.?|%~>_#,(!=0129x\xff";

fn pick(bound: usize, entropy: &mut Entropy) -> usize {
    usize::try_from(entropy.below(bound as u64)).unwrap()
}

fn range(len: usize, entropy: &mut Entropy) -> std::ops::Range<usize> {
    let (a, b) = (pick(len + 1, entropy), pick(len + 1, entropy));
    a.min(b)..a.max(b)
}
