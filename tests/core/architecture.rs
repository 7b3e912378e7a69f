//! The rules of the house, held against every file of `src`.
//!
//! Owns: levels, purity, the form of a file. Never knows: what the code does. Each rule is a function
//! over the text of files, and has a made-up case that it must refuse.
mod assertions;
mod bounds;
mod language;
mod names;
mod source;
mod texts;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use source::{Source, Token, end_of_group, is_test, paths, read, stem};

/// A module may import from lower levels only; two modules of one level never meet.
const LEVELS: &[&[&str]] = &[
    &["base"],
    &["resp", "config"],
    &["command", "telemetry"],
    &["traffic", "tls"],
    &["policy", "audit"],
    &["session", "upstream"],
    &["downstream", "probe"],
    &["admin", "doctor", "security"],
    &["proxy"],
    &["cli"],
    &["internals"],
];
/// Modules that decide and never wait: time and chance are arguments.
const PURE: &[&str] =
    &["resp", "command", "traffic", "policy", "session", "downstream::conversation"];
/// Paths a pure module never names.
const IMPURE: &[&str] = &[
    "tokio",
    "hyper",
    "rustls",
    "socket2",
    "mio",
    "notify",
    "rand",
    "getrandom",
    "std::net",
    "std::fs",
    "std::os",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::SystemTime",
    "std::time::Instant::now",
    "Instant::now",
    "SystemTime",
    "crate::base::clock",
    "crate::base::entropy",
];
/// Types that make a `static` changeable; `Atomic*` besides.
const CHANGEABLE: &[&str] = &[
    "ArcSwap",
    "Cell",
    "LazyCell",
    "LazyLock",
    "Live",
    "Mutex",
    "OnceCell",
    "OnceLock",
    "RefCell",
    "RwLock",
    "UnsafeCell",
];
const LINES_MAX: usize = 500;

const RULES: &[fn(&Source) -> Vec<Fault>] = &[
    levels,
    purity,
    clocks,
    statics,
    length,
    header,
    unsafety,
    crashes,
    skipped_tests,
    gated_tests,
    leftovers,
    names_of_commands,
    stray_bounds,
    literal_bounds,
    stray_texts,
    test_names,
    plain_words,
    doc_openings,
];

#[test]
fn source_tree_keeps_its_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = read(root, "src", ".rs");
    assert!(sources.len() > 20, "the sources are elsewhere");
    let mut faults: Vec<String> = RULES
        .iter()
        .flat_map(|rule| sources.iter().flat_map(|s| rule(s).into_iter().map(|f| f.at(s))))
        .chain(circles(&sources))
        .chain(types::spread(&sources, |source| pure(source).is_some()))
        .chain(types::shared(&sources, |source| pure(source).is_some()))
        .chain(types::unused(&sources))
        .chain(assertions::floors(&sources, |source| {
            impure(source).is_empty() && !types::shares(source)
        }))
        .chain(bounds::outdated(&sources))
        .chain(bounds::outdated_literals(&sources))
        .collect();
    for source in ["tests", "benches"].iter().flat_map(|place| read(root, place, ".rs")) {
        // These files spell the words out that they refuse.
        let own = source.path.starts_with("tests/core/architecture");
        let spoken: &[fn(&Source) -> Vec<Fault>] =
            if own { &[] } else { &[plain_words, doc_openings] };
        let held = [unsafety, skipped_tests, leftovers, test_names];
        let found = held.iter().chain(spoken).flat_map(|rule| rule(&source));
        faults.extend(found.map(|f| f.at(&source)));
    }
    let kinds = [
        ".md", ".toml", ".yaml", ".json", ".py", ".sh", ".service", ".tpl", ".conf", ".txt", ".js",
        ".mjs", ".php", ".rb", ".tcl",
    ];
    for place in ["", "config", "deploy", "src", "tests", "benches"] {
        for source in kinds.iter().flat_map(|kind| read(root, place, kind)) {
            let found = [leftovers, plain_words].map(|rule| rule(&source));
            faults.extend(found.into_iter().flatten().map(|f| f.at(&source)));
        }
    }
    faults.sort();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

// What is held.

struct Fault {
    line: usize,
    what: String,
}

impl Fault {
    fn new(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }

    fn at(self, source: &Source) -> String {
        format!("{}:{}: {}", source.path, self.line, self.what)
    }
}

fn stray_bounds(source: &Source) -> Vec<Fault> {
    bounds::stray(source).into_iter().map(|(line, what)| Fault::new(line, what)).collect()
}

fn literal_bounds(source: &Source) -> Vec<Fault> {
    bounds::literals(source).into_iter().map(|(line, what)| Fault::new(line, what)).collect()
}

fn stray_texts(source: &Source) -> Vec<Fault> {
    texts::stray(source).into_iter().map(|(line, what)| Fault::new(line, what)).collect()
}

fn test_names(source: &Source) -> Vec<Fault> {
    names::without_subject(source).into_iter().map(|(line, what)| Fault::new(line, what)).collect()
}

fn plain_words(source: &Source) -> Vec<Fault> {
    language::stray(source).into_iter().map(|(line, what)| Fault::new(line, what)).collect()
}

fn doc_openings(source: &Source) -> Vec<Fault> {
    language::openings(source).into_iter().map(|(line, what)| Fault::new(line, what)).collect()
}

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&module))
}

fn levels(source: &Source) -> Vec<Fault> {
    let Some(own) = source.module().first().copied() else { return Vec::new() };
    let Some(own_level) = level(own) else {
        return vec![Fault::new(1, format!("module {own} stands on no level"))];
    };
    let mut imports = source.resolved(&source.live);
    imports.extend(paths(&source.all)); // a test names `crate::` or it stays within its file
    imports.retain(|(path, _)| path[0] == "crate" && path.get(1).is_none_or(|to| to != own));
    let mut faults = BTreeSet::new();
    for (path, line) in imports {
        let to = path.get(1).map_or("", String::as_str);
        let what = match level(to) {
            None => format!("{own} imports crate::{to}, which stands on no level"),
            Some(l) if l > own_level => format!("{own} imports upwards: {to}"),
            Some(l) if l == own_level => format!("{own} imports from its own level: {to}"),
            Some(_) => continue,
        };
        faults.insert((line, what));
    }
    faults.into_iter().map(|(line, what)| Fault::new(line, what)).collect()
}

/// Circles between the files of one folder. `mod.rs` may re-export from the others, and the others may
/// use what it defines itself as long as it uses nothing of theirs.
fn circles(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for front in sources.iter().filter(|s| s.path.ends_with("/mod.rs")) {
        let folder = front.module();
        let children = front.children();
        let (exports, own) = exports(&front.live);
        let exported: BTreeMap<String, String> = front
            .resolved(&exports)
            .into_iter()
            .filter(|(path, _)| path.len() > folder.len() + 1)
            .map(|(path, _)| (path.last().unwrap().clone(), path[folder.len() + 1].clone()))
            .collect();
        let mut edges = BTreeSet::new();
        for source in sources.iter().filter(|s| s.module().starts_with(&folder)) {
            let from = source.module().get(folder.len()).map_or("mod", |name| name).to_owned();
            let tokens = if from == "mod" { &own } else { &source.live };
            for (path, _) in source.resolved(tokens) {
                let inside =
                    path[0] == "crate" && path[1..].iter().zip(&folder).all(|(a, b)| a == b);
                let Some(name) = path.get(folder.len() + 1).filter(|_| inside) else { continue };
                let file =
                    if children.contains(&name.as_str()) { Some(name) } else { exported.get(name) };
                let to = file.map_or("mod", String::as_str);
                if from != to {
                    edges.insert((from.clone(), to.to_owned()));
                }
            }
        }
        let mut before = 0;
        while before != edges.len() {
            before = edges.len();
            let (from, to): (BTreeSet<_>, BTreeSet<_>) = edges.iter().cloned().unzip();
            edges.retain(|(a, b)| to.contains(a) && from.contains(b));
        }
        let arrows: Vec<String> = edges.iter().map(|(a, b)| format!("{a} -> {b}")).collect();
        if !arrows.is_empty() {
            faults.push(format!("{}: circle: {}", front.path, arrows.join(", ")));
        }
    }
    faults
}

/// The tokens of `pub use` statements, and all others.
fn exports(live: &[Token]) -> (Vec<Token>, Vec<Token>) {
    let (mut exports, mut own, mut i) = (Vec::new(), Vec::new(), 0);
    while i < live.len() {
        let text = |n: usize| live.get(n).map_or("", |t| t.text.as_str());
        let visible = if text(i + 1) == "(" { end_of_group(live, i + 1) } else { i + 1 };
        if text(i) == "pub" && text(visible) == "use" {
            let end = i + live[i..].iter().take_while(|t| t.text != ";").count();
            exports.extend_from_slice(&live[visible + 1..end]);
            exports.push(live[i].clone());
            i = end;
        } else {
            own.push(live[i].clone());
            i += 1;
        }
    }
    (exports, own)
}

/// The pure module that the file is a part of.
fn pure(source: &Source) -> Option<&'static str> {
    let own = source.module().join("::") + "::";
    PURE.iter().find(|pure| own.starts_with(&format!("{pure}::"))).copied()
}

fn purity(source: &Source) -> Vec<Fault> {
    let Some(own) = pure(source) else { return Vec::new() };
    let named = impure(source).into_iter();
    named.map(|(line, path)| Fault::new(line, format!("{own} is pure and names {path}"))).collect()
}

/// What a file names that a pure module never does, and where.
fn impure(source: &Source) -> Vec<(usize, &'static str)> {
    let named = source.resolved(&source.live).into_iter().filter_map(|(path, line)| {
        let path = path.join("::") + "::";
        let impure = IMPURE.iter().find(|i| path.starts_with(&format!("{i}::")))?;
        Some((line, *impure))
    });
    named.collect()
}

fn clocks(source: &Source) -> Vec<Fault> {
    if source.path == "src/base/clock.rs" {
        return Vec::new();
    }
    let reads = paths(&source.all).into_iter().filter(|(path, _)| {
        matches!(path.as_slice(), [.., a, b] if (a == "Instant" || a == "SystemTime") && b == "now")
    });
    let now = reads.map(|(path, line)| (path.join("::"), line));
    let elapsed = sequences(&source.all, &[".", "elapsed", "(", ")"]);
    now.chain(elapsed.into_iter().map(|line| ("elapsed()".to_owned(), line)))
        .map(|(what, line)| Fault::new(line, format!("{what} reads a clock outside base/clock.rs")))
        .collect()
}

/// The lines where these tokens follow each other.
fn sequences(tokens: &[Token], wanted: &[&str]) -> Vec<usize> {
    let hit = |w: &&[Token]| w.iter().zip(wanted).all(|(token, text)| token.text == *text);
    tokens.windows(wanted.len()).filter(hit).map(|w| w[0].line).collect()
}

fn statics(source: &Source) -> Vec<Fault> {
    let changeable = |t: &Token| {
        t.text == "mut" || t.text.starts_with("Atomic") || CHANGEABLE.contains(&&*t.text)
    };
    let mut faults = Vec::new();
    for (i, token) in source.all.iter().enumerate() {
        let mut declaration = source.all[i..].iter().take_while(|t| t.text != "=" && t.text != ";");
        let fault = match token.text.as_str() {
            "static" => declaration.any(changeable),
            "thread_local" | "lazy_static" => source.all.get(i + 1).is_some_and(|t| t.text == "!"),
            _ => false,
        };
        if fault {
            faults.push(Fault::new(
                token.line,
                "a static that can change; hand a value down instead",
            ));
        }
    }
    faults
}

fn length(source: &Source) -> Vec<Fault> {
    let lines = source.text.lines().count();
    let fits = lines <= LINES_MAX || stem(&source.path).starts_with("table");
    if fits { Vec::new() } else { vec![Fault::new(lines, format!("more than {LINES_MAX} lines"))] }
}

fn header(source: &Source) -> Vec<Fault> {
    let lines = source.text.lines().map_while(|line| line.strip_prefix("//!"));
    let header: Vec<&str> = lines.map(str::trim).collect();
    let first = header.iter().take_while(|line| !line.is_empty()).last();
    let rest = header.join(" ");
    let (before, after) = rest.split_once(" Never knows: ").unwrap_or((&rest, ""));
    let owns = before.split_once(" Owns: ").map_or("", |(_, owns)| owns);
    let mut missing = Vec::new();
    if !first.is_some_and(|line| line.ends_with('.')) {
        missing.push("a first sentence");
    }
    if source.path != "src/lib.rs" {
        missing.extend(owns.trim().is_empty().then_some("`Owns: …`"));
        missing.extend(after.trim().is_empty().then_some("`Never knows: …`"));
    }
    missing.into_iter().map(|what| Fault::new(1, format!("the header lacks {what}"))).collect()
}

fn unsafety(source: &Source) -> Vec<Fault> {
    let lines = sequences(&source.all, &["unsafe"]);
    lines.into_iter().map(|line| Fault::new(line, "unsafe")).collect()
}

fn crashes(source: &Source) -> Vec<Fault> {
    let names = ["unwrap", "expect", "unwrap_err", "expect_err"];
    let calls = names.map(|name| (name, sequences(&source.live, &[".", name, "("])));
    let fault = |(name, lines): (&str, Vec<usize>)| {
        let name = name.to_owned();
        lines.into_iter().map(move |line| Fault::new(line, format!(".{name}() outside tests")))
    };
    calls.into_iter().flat_map(fault).collect()
}

fn skipped_tests(source: &Source) -> Vec<Fault> {
    let ignored = sequences(&source.all, &["#", "[", "ignore"]);
    let panicking = sequences(&source.all, &["should_panic"]);
    let lines = ignored.into_iter().chain(panicking);
    lines.map(|line| Fault::new(line, "a test is run, and names what it expects")).collect()
}

/// A file of tests is exempt from some rules, so it must be compiled for tests only.
fn gated_tests(source: &Source) -> Vec<Fault> {
    let test = source.children().into_iter().find(|child| is_test(child));
    test.map(|name| Fault::new(1, format!("mod {name} without #[cfg(test)]"))).into_iter().collect()
}

fn leftovers(source: &Source) -> Vec<Fault> {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let left = |line: &str| words.iter().any(|word| line.contains(word));
    let lines = source.text.lines().zip(1..).filter(|(line, _)| left(line));
    lines.map(|(_, n)| Fault::new(n, "unfinished business")).collect()
}

/// What is known of a command is a column of the table, where the compiler demands it of every command;
/// code that asks for a name forgets the next command that is alike.
fn names_of_commands(source: &Source) -> Vec<Fault> {
    let asks = [
        &["match", "spec", ".", "name", "{"][..],
        &["matches", "!", "(", "spec", ".", "name"],
        &["spec", ".", "name", "=", "=", ""],
        &["spec", ".", "name", "!", "=", ""],
    ];
    // A string is no token: a comparison with one goes on with what stands behind it.
    let word = |text: &str| text.starts_with(|c: char| c.is_alphabetic());
    let fits = |token: &Token, wanted: &str| match wanted {
        "" => !word(&token.text),
        _ => token.text == wanted,
    };
    let hit = |wanted: &[&str]| {
        let all = source.live.windows(wanted.len());
        let hit = |w: &&[Token]| w.iter().zip(wanted).all(|(token, text)| fits(token, text));
        all.filter(hit).map(|w| w[0].line).collect::<Vec<_>>()
    };
    let what = "a decision by a command's name; make it a column of src/command/table.rs";
    asks.into_iter().flat_map(hit).map(|line| Fault::new(line, what)).collect()
}

// What the rules refuse, and what they do not.

const HEADER: &str = "//! Does.\n//!\n//! Owns: a. Never knows: b.\n";

#[track_caller]
fn refuses(rule: fn(&Source) -> Vec<Fault>, cases: &[(&str, &str)]) {
    for (path, text) in cases {
        assert!(!rule(&Source::new(path, text)).is_empty(), "not refused: {path}: {text}");
    }
}

#[track_caller]
fn permits(rule: fn(&Source) -> Vec<Fault>, cases: &[(&str, &str)]) {
    for (path, text) in cases {
        let source = Source::new(path, text);
        let faults: Vec<String> = rule(&source).into_iter().map(|f| f.at(&source)).collect();
        assert!(faults.is_empty(), "{faults:?}: {text}");
    }
}

#[test]
fn imports_go_down() {
    let refused = [
        ("src/resp/mod.rs", "use crate::{base::limits, config::Config};"),
        ("src/resp/a.rs", "fn f() { crate::command::lookup() }"),
        ("src/session/a.rs", "use crate::upstream::Pool;"),
        ("src/upstream/a.rs", "#[cfg(test)] mod tests { use crate::session::Session; }"),
        ("src/traffic.rs", "use super::policy::Policy;"),
        ("src/tls/mod.rs", "use super::{base, admin};"),
        ("src/config/a.rs", "use super::super::telemetry::Telemetry;"),
        ("src/policy/a.rs", "pub(crate) use crate::proxy as p;"),
        ("src/telemetry/a.rs", "fn f(_: &dyn Fn(crate::cli::Args)) {}"),
        ("src/cli/a.rs", "use crate::*;"),
        ("src/novel/mod.rs", ""),
    ];
    refuses(levels, &refused);
    permits(
        levels,
        &[
            ("src/session/a.rs", "use crate::{policy::{Policy, a::b}, session::x, traffic::*};"),
            ("src/session/a.rs", "use super::upstream; // of this folder\nuse other::upstream::x;"),
            ("src/resp/a.rs", "/// See [`crate::session`].\nconst A: &str = \"crate::cli::x\";"),
            ("src/main.rs", "fn main() { respgate::cli::main() }"),
            ("src/lib.rs", "pub mod cli; pub use crate::cli::main;"),
        ],
    );
}

#[test]
fn pure_modules_stay_pure() {
    let impure = [
        "use tokio::net::TcpStream;",
        "use std::{io, net::{IpAddr, TcpStream}};",
        "fn f() { std::fs::read(\"x\"); }",
        "fn f() { let _ = Instant::now(); }",
        "use std::time::{Duration, SystemTime};",
        "fn f() -> u64 { rand::random() }",
        "use crate::base::{clock, limits};",
        "use crate::base::entropy::Entropy;",
    ];
    for text in impure {
        refuses(purity, &[("src/policy/a.rs", text), ("src/traffic.rs", text)]);
        permits(purity, &[("src/upstream/a.rs", text)]);
    }
    permits(purity, &[("src/session/a.rs", "use std::time::{Duration, Instant}; use std::fmt;")]);
    permits(purity, &[("src/session/a.rs", "#[cfg(test)]\nmod tests { use std::fs::File; }")]);
    permits(purity, &[("src/session/a_tests.rs", "use std::fs::File;")]);
}

#[test]
fn methods_of_one_type_are_in_two_files_at_most_and_form_no_circle() {
    let spread = |files: &[(&str, &str)]| {
        let sources: Vec<Source> =
            files.iter().map(|(path, text)| Source::new(path, text)).collect();
        types::spread(&sources, |source| source.path != "src/x/shell.rs").len()
    };
    let state = ("src/x/a.rs", "struct A; impl A { fn a(&self) { self.b(); } }");
    let calls = ("src/x/b.rs", "impl<T: B> A<T> { fn b(&self) { self.a(); } }");
    let more = ("src/x/c.rs", "impl A { fn c(&self) {} }");
    let other = ("src/x/c.rs", "struct A; impl A { fn c(&self) { self.a(); } }");
    let of_trait = ("src/x/c.rs", "impl B<A> for A { fn c(&self) {} }");
    let quiet = ("src/x/b.rs", "impl A { fn b(&self) {} }");
    assert_eq!(spread(&[state, quiet]), 0);
    assert_eq!(spread(&[state, quiet, other, of_trait]), 0, "another type, and a trait's");
    assert_eq!(spread(&[state, quiet, more]), 1, "three files");
    for function in ["fn c(of: &mut A) {}", "fn c<'a>(x: u8, of: &'a mut super::a::A<u8>) {}"] {
        assert_eq!(spread(&[state, quiet, ("src/x/c.rs", function)]), 1, "{function}: a method");
        assert_eq!(spread(&[state, quiet, ("src/x/shell.rs", function)]), 0, "not pure");
        assert_eq!(spread(&[state, quiet, ("src/y/c.rs", function)]), 0, "another module's");
    }
    let other =
        ("src/x/c.rs", "struct B; impl B { fn c(of: &mut A) {} } fn d(of: &A, mut n: A) {}");
    assert_eq!(spread(&[state, quiet, other]), 0, "methods of another type, and one that reads");
    let record = ("src/x/a.rs", "struct A { pub b: u8 }");
    let uses = ["src/x/b.rs", "src/x/c.rs", "src/x/d.rs"].map(|at| (at, "fn c(of: &mut A) {}"));
    assert_eq!(spread(&[record, uses[0], uses[1], uses[2]]), 0, "a record without methods");
    assert_eq!(spread(&[state, calls]), 1, "a circle");
}

#[test]
fn pure_modules_hold_no_waker_and_no_cell() {
    let shared = |text: &str| {
        let sources = ["src/session/a.rs", "src/upstream/a.rs"].map(|path| Source::new(path, text));
        types::shared(&sources, |source| pure(source).is_some()).len()
    };
    assert_eq!(shared("use std::task::Waker;"), 1);
    assert_eq!(shared("struct A(std::cell::Cell<u8>);"), 1);
    assert_eq!(shared("#[cfg(test)] mod tests { use std::cell::Cell; }"), 0);
}

#[test]
fn every_module_is_used() {
    let unused = |text: &str| {
        let files = [("src/x/mod.rs", text), ("src/x/a.rs", "struct A; impl A { fn b() {} }")];
        types::unused(&files.map(|(path, text)| Source::new(path, text))).len()
    };
    assert_eq!(unused("mod a;"), 1);
    assert_eq!(unused("mod a; pub use a::A;"), 0);
}

#[test]
fn bounds_are_declared_in_one_place() {
    let bounds = [
        "const QUEUE_MAX: usize = 1;",
        "pub(super) const MAX_QUEUE: u8 = 1;",
        "const KEPT_BYTES: usize = 1;",
        "impl A { const READ_TIMEOUT: u64 = 1; }",
        "const TICK: std::time::Duration = Duration::from_secs(1);",
    ];
    for text in bounds {
        refuses(stray_bounds, &[("src/session/a.rs", text)]);
        permits(stray_bounds, &[("src/base/limits/a.rs", text)]);
    }
    permits(stray_bounds, &[("src/session/a.rs", "const A: usize = 1; fn f(max: Duration) {}")]);
    permits(stray_bounds, &[("src/a.rs", "struct A<B, const MAX: usize>(B);")]);
    permits(stray_bounds, &[("src/session/hello.rs", "const DATABASE_MAX: i64 = 1;")]);
    permits(stray_bounds, &[("src/a.rs", "#[cfg(test)] mod tests { const A_MAX: u8 = 1; }")]);
}

#[test]
fn durations_and_sizes_have_names() {
    for text in ["f(Duration::from_secs(5));", "let a = [0; 16 * 1024];", "a < 64 << 20"] {
        refuses(literal_bounds, &[("src/session/a.rs", text)]);
        permits(literal_bounds, &[("src/base/limits/a.rs", text)]);
    }
    let fine = ["Duration::from_secs(seconds)", "const A: u16 = 1 << 4;", "a * b", "a < 64"];
    fine.iter().for_each(|text| permits(literal_bounds, &[("src/a.rs", text)]));
}

#[test]
fn texts_for_clients_are_in_one_table() {
    let texts = [
        "put(\"-ERR no such thing\");",
        "const A: &str = \"NOPERM not {this}\";",
        "f(b\"LOADING x\")",
    ];
    for text in texts {
        refuses(stray_texts, &[("src/session/a.rs", text)]);
        permits(stray_texts, &[("src/base/client_text.rs", text)]);
    }
    let fine = [
        "line.starts_with(b\"ERR max number of clients\")",
        "text.strip_prefix(\"ERR \")",
        "matches!(code, \"NOPERM\" | \"ERR\")",
        "#[cfg(test)]\nmod tests { const A: &str = \"ERR no\"; }",
    ];
    fine.iter().for_each(|text| permits(stray_texts, &[("src/a.rs", text)]));
}

#[test]
fn test_names_begin_with_their_subject() {
    let named =
        |name: &str| format!("#[tokio::test(flavor = \"x\")]\n#[allow(x)]\nasync fn {name}() {{}}");
    for name in ["a_reload_keeps_x", "it_works", "what_is_kept", "the_pool", "finds_x", "told_by_y"]
    {
        refuses(
            test_names,
            &[("src/a.rs", &named(name)), ("tests/a.rs", &format!("#[test] fn {name}() {{}}"))],
        );
        permits(test_names, &[("src/a.rs", &format!("fn {name}() {{}}"))]);
    }
    permits(
        test_names,
        &[("src/a.rs", &named("reload_keeps_x")), ("src/a.rs", &named("atoms_last"))],
    );
}

#[test]
fn words_name_the_thing_and_what_it_does() {
    let refused = [
        ("src/a.rs", "/// Whoever waits."),
        ("src/a.rs", "const A: &str = \"nobody waits\";"),
        ("src/a.rs", "//! Owns: a. Never knows: b,\n//! who asks."),
        ("src/a.rs", "fn note_told(&self) {}"),
        ("src/a.rs", "fn note_said(&self) {}"),
        ("README.md", "The server tells its state."),
        ("README.md", "A request on its way."),
        ("README.md", "The log says why."),
        ("src/a.rs", "/// What the server said."),
        ("src/a.rs", "const A: &str = \"nothing to say\";"),
        ("src/a.rs", "fn seat_of() {}"),
    ];
    refuses(plain_words, &refused);
    let fine = [
        ("src/a.rs", "/// The log has it; the whole. A standalone program."),
        ("src/a.rs", "fn untold() { bystander() } /// Owns: [`Standing`]."),
        ("README.md", "For those who run it."),
    ];
    permits(plain_words, &fine);
}

#[test]
fn doc_comments_begin_with_the_thing() {
    for word in ["It", "As", "Those", "That", "Which"] {
        let line = format!("/// {word} is kept.");
        let field = format!("struct A {{\n    /// {word} is kept.\n    a: bool }}");
        let later = format!("/// A request.\n///\n/// {word} is kept.");
        for text in [line, field, later, format!("//! {word} is kept.")] {
            refuses(doc_openings, &[("src/a.rs", &text)]);
        }
        let within = format!("/// A request.\n/// {word} is kept.");
        permits(doc_openings, &[("src/a.rs", &within), ("src/a.rs", "/// Items. // It is.")]);
    }
}

#[test]
fn clocks_are_read_in_one_file() {
    let reads = ["fn f() { std::time::Instant::now(); }", "fn f() { SystemTime::now }"];
    for text in reads.into_iter().chain(["fn f(x: Instant) { x.elapsed() }"]) {
        refuses(clocks, &[("src/upstream/a.rs", text)]);
        permits(clocks, &[("src/base/clock.rs", text)]);
    }
    permits(clocks, &[("src/upstream/a.rs", "fn f(now: Instant) { clock::now(); now + x }")]);
}

#[test]
fn globals_are_constant() {
    let refused = [
        "static mut A: u8 = 0;",
        "pub static A: AtomicU64 = AtomicU64::new(0);",
        "static A: std::sync::OnceLock<u8> = OnceLock::new();",
        "fn f() { static A: Mutex<Vec<u8>> = Mutex::new(vec![]); }",
        "thread_local! { static A: u8 = 0; }",
    ];
    refused.iter().for_each(|text| refuses(statics, &[("src/a.rs", text)]));
    let fine = "static A: &[&'static str] = &[]; struct B { a: Mutex<&'static u8>, b: AtomicU8 }";
    permits(statics, &[("src/a.rs", fine)]);
}

#[test]
fn files_have_form() {
    let long = "\n".repeat(LINES_MAX + 1);
    refuses(length, &[("src/a/b.rs", &long)]);
    permits(length, &[("src/a/table_server.rs", &long), ("src/a/b.rs", &long[1..])]);

    let lacking = ["", "fn f() {}", "//! Does.\n", "// Does.\n//! Owns: a. Never knows: b."];
    lacking.iter().for_each(|text| refuses(header, &[("src/a/b.rs", text)]));
    refuses(header, &[("src/a/b.rs", "//! (under construction)\n")]);
    refuses(header, &[("src/a/b.rs", "//! Does\n//!\n//! Owns: a. Never knows: b.\n")]);
    refuses(header, &[("src/a/b.rs", "//! Does.\n//!\n//! Owns: . Never knows:\n")]);
    refuses(header, &[("src/a/b.rs", &format!("\n{HEADER}"))]);
    permits(header, &[("src/a/b.rs", HEADER), ("src/lib.rs", "//! A map.\n")]);
    let two = "//! Does a\n//! thing.\n//!\n//! Owns: a,\n//! b. Never knows: c.\nuse x;";
    permits(header, &[("src/a/b.rs", two)]);
}

#[test]
fn code_neither_crashes_nor_cheats() {
    refuses(unsafety, &[("src/a.rs", "fn f() { unsafe { g() } }")]);
    permits(
        unsafety,
        &[("src/a.rs", "#![forbid(unsafe_code)] // unsafe\nconst A: &str = \"unsafe\";")],
    );

    let refused =
        ["x.unwrap()", "x\n .expect(\"\")", "x.unwrap_err()", "#[cfg(not(test))] x.unwrap()"];
    for text in refused {
        refuses(crashes, &[("src/a.rs", text)]);
        permits(crashes, &[("src/a.rs", &format!("#[cfg(test)]\nmod tests {{ {text} }}"))]);
    }
    refuses(crashes, &[("src/a.rs", "#[cfg(test)] mod tests { } fn f() { x.unwrap() }")]);
    refuses(crashes, &[("src/a.rs", "#[cfg(test)] use a::{b, c}; fn f() { x.unwrap() }")]);
    permits(
        crashes,
        &[("src/a.rs", "x.unwrap_or(1); r#\"a\" x.unwrap()\"#; '\"'; y // .unwrap()\n")],
    );
    refuses(crashes, &[("src/a.rs", "let c = '\"'; let l: &'a u8 = x.unwrap(); \"\"")]);

    refuses(skipped_tests, &[("src/a.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}")]);
    refuses(
        skipped_tests,
        &[("tests/a.rs", "#[test] #[should_panic(expected = \"x\")] fn f() {}")],
    );
    permits(skipped_tests, &[("src/a.rs", "enum A { #[default] Ignore } fn ignore() {}")]);

    refuses(gated_tests, &[("src/a/mod.rs", "mod tests;"), ("src/a/mod.rs", "mod pool_tests;")]);
    permits(gated_tests, &[("src/a/mod.rs", "#[cfg(test)]\nmod tests;\nmod testing;")]);

    for text in ["match spec.name { }", "if spec.name == \"get\" {", "(spec.name != \"get\")"] {
        refuses(names_of_commands, &[("src/a.rs", text)]);
    }
    refuses(names_of_commands, &[("src/a.rs", "matches!(spec.name, \"get\" | \"set\")")]);
    permits(names_of_commands, &[("src/a.rs", "spec.name == definition.name; f(spec.name)")]);

    let left = concat!("// TO", "DO: more\n");
    refuses(leftovers, &[("src/a.rs", left), ("README.md", left)]);
    permits(leftovers, &[("src/a.rs", "// what there is to do\n")]);
}

#[test]
fn files_of_a_folder_make_no_circle() {
    let circle = |files: &[(&str, &str)]| {
        let sources: Vec<Source> = files.iter().map(|(p, t)| Source::new(p, t)).collect();
        circles(&sources).concat()
    };
    let front = ("src/x/mod.rs", "mod a; mod b; pub use b::{B, C}; pub enum Own {}");
    let a_uses_b = ("src/x/a.rs", "use super::B; use crate::x::Own;");
    assert_eq!(circle(&[front, a_uses_b, ("src/x/b.rs", "use crate::base::a;")]), "");
    assert_eq!(circle(&[front, a_uses_b, ("src/x/b.rs", "#[cfg(test)] use super::a::A;")]), "");

    for back in ["use super::a::A;", "fn f() { crate::x::a::f() }", "use super::{Own, a};"] {
        let found = circle(&[front, a_uses_b, ("src/x/b.rs", back)]);
        assert_eq!(found, "src/x/mod.rs: circle: a -> b, b -> a", "{back}");
    }
    let working_front = ("src/x/mod.rs", "mod a; use a::A; pub struct Own(A);");
    let found = circle(&[working_front, ("src/x/a.rs", "use super::Own; pub struct A;")]);
    assert_eq!(found, "src/x/mod.rs: circle: a -> mod, mod -> a");
    let folder =
        [front, a_uses_b, ("src/x/b/mod.rs", "mod c;"), ("src/x/b/c.rs", "use crate::x::a::A;")];
    assert_eq!(circle(&folder), "src/x/mod.rs: circle: a -> b, b -> a");
}
