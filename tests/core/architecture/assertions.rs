//! How many assertions the functions of a folder have.
//!
//! Owns: this count and its floors. Never knows: what is asserted.

use super::source::{Source, end_of_group};

/// Where, and how many assertions a hundred functions there have at least. To be raised, never lowered. Of
/// `upstream` the files count that decide and never wait.
const FLOORS: &[(&str, &[&str], usize)] = &[
    ("session", &["src/session/"], 33),
    ("conversation", &["src/downstream/conversation/"], 120),
    ("upstream", &["src/upstream/"], 91),
    ("resp", &["src/resp/"], 28),
    (
        "the core of connections",
        &[
            "src/downstream/conversation/",
            "src/session/block_end.rs",
            "src/session/queue.rs",
            "src/session/remote.rs",
            "src/session/replies.rs",
            "src/session/state.rs",
            "src/upstream/",
        ],
        100,
    ),
];
const ASSERTS: &[&str] =
    &["assert", "assert_eq", "assert_ne", "debug_assert", "debug_assert_eq", "debug_assert_ne"];

/// Functions and assertions of a file; a trait's functions do nothing, what `const` asserts holds of no value.
fn counts(source: &Source) -> (usize, usize) {
    let live = &source.live;
    let text = |i: usize| live.get(i).map_or("", |token| token.text.as_str());
    let word = |i: usize| text(i).starts_with(|c: char| c.is_alphabetic() || c == '_');
    let (mut functions, mut assertions, mut i) = (0, 0, 0);
    while i < live.len() {
        if text(i) == "trait" && word(i + 1) {
            i = end_of_group(live, i + live[i..].iter().take_while(|t| t.text != "{").count());
            continue;
        }
        functions += usize::from(text(i) == "fn" && word(i + 1));
        let before = i.checked_sub(1).map_or("", text);
        let asserts = ASSERTS.contains(&text(i)) && text(i + 1) == "!" && before != "=";
        let checks = before == "."
            && matches!(text(i), "check_invariants" | "check_counts")
            && text(i + 1) == "(";
        assertions += usize::from(asserts || checks);
        i += 1;
    }
    (functions, assertions)
}

pub fn floors(sources: &[Source], decides: impl Fn(&Source) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, places, floor) in FLOORS {
        let within = |source: &&Source| places.iter().any(|place| source.path.starts_with(place));
        let counted = sources.iter().filter(within).filter(|source| decides(source)).map(counts);
        let (functions, assertions) =
            counted.fold((0, 0), |(functions, asserts), (f, a)| (functions + f, asserts + a));
        if assertions * 100 < functions * floor {
            faults.push(format!(
                "{name}: {assertions} assertions in {functions} functions, fewer than {floor} in 100"
            ));
        }
    }
    faults
}

#[test]
fn assertions_are_counted_per_function() {
    let count = |text: &str| counts(&Source::new("src/a.rs", text));
    let text = "trait A { fn a(); } impl A for B { fn a() { debug_assert!(x, \"y\"); } }";
    assert_eq!(count(text), (1, 1));
    assert_eq!(count("fn a(b: fn(u8)) { assert_eq!(1, 2); self.check_invariants(); }"), (1, 2));
    assert_eq!(count("const _: () = assert!(A < B); fn check_invariants(&self) {}"), (1, 0));
    assert_eq!(count("#[cfg(test)] mod tests { fn a() { assert!(x); } }"), (0, 0));
    let floored = |text: &str| floors(&[Source::new("src/resp/a.rs", text)], |_| true).len();
    assert_eq!(floored("fn a() {}"), 1, "too few");
    assert_eq!(floored("fn a() { assert!(x); }"), 0);
}
