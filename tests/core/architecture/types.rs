//! Where the methods of one type are, and how the files with them call each other; what pure modules hold;
//! modules that nobody needs.
//!
//! Owns: these rules, and what is excepted from them. Never knows: what the methods do.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, Token, end_of_group, is_test};

/// Files that may hold the methods of one type.
const FILES_MAX: usize = 2;

/// Files of pure modules that hold wakers or cells, and why.
const SHARED: &[(&str, &str)] = &[
    ("src/session/limiter.rs", "a slot is free when it is dropped, also by a task that panics"),
    (
        "src/session/limiter_registry.rs",
        "what a connection has used is kept when it is dropped, also by a task that panics",
    ),
    (
        "src/session/roster.rs",
        "a client's task reads its own entry for each command, and others write to it: an entry that \
         belonged to the roster alone would be looked up by number there",
    ),
];
const CELLS: &[&str] = &["Waker", "Cell", "RefCell", "OnceCell", "Mutex", "RwLock", "UnsafeCell"];

/// Types of pure modules whose methods, or functions that are as good as methods, are in more files: in how
/// many, and why. The number is to be lowered, never raised.
const SPREAD: &[(&str, usize, &str)] = &[
    (
        "src/session/state.rs Session",
        18,
        "each family of commands has a file; what it changes are parts with methods of their own",
    ),
    (
        "src/downstream/conversation/state.rs Conversation",
        5,
        "judging a request, its clocks and the end of a lease have a file each",
    ),
];

/// A file's `impl` block of a type, without those of traits.
struct Block<'a> {
    name: &'a str,
    body: &'a [Token],
    is_impl: bool,
}

fn blocks(source: &Source) -> Vec<Block<'_>> {
    let live = &source.live;
    let text = |i: usize| live.get(i).map_or("", |token| token.text.as_str());
    let (mut found, mut i) = (Vec::new(), 0);
    while i < live.len() {
        let begins =
            text(i) == "impl" && (i == 0 || matches!(text(i - 1), "}" | ";" | "]" | "unsafe"));
        if !begins {
            i += 1;
            continue;
        }
        let open = i + live[i..].iter().take_while(|token| token.text != "{").count();
        let end = end_of_group(live, open);
        // Generic parameters are no names of types.
        let (mut depth, mut name, mut of_trait) = (0, "", false);
        for token in &live[i + 1..open.min(live.len())] {
            match token.text.as_str() {
                "<" => depth += 1,
                ">" => depth -= 1,
                "for" if depth == 0 => of_trait = true,
                "where" if depth == 0 => break,
                word if depth == 0 && word.starts_with(char::is_alphabetic) => name = word,
                _ => {}
            }
        }
        if !of_trait {
            found.push(Block { name, body: &live[open..end], is_impl: true });
        }
        i = end;
    }
    found
}

/// What a function outside any `impl` changes through `&mut T` it does as a method of `T`.
fn functions(source: &Source) -> Vec<Block<'_>> {
    let live = &source.live;
    let text = |i: usize| live.get(i).map_or("", |token| token.text.as_str());
    let (mut found, mut i) = (Vec::new(), 0);
    while i < live.len() {
        if matches!(text(i), "impl" | "trait" | "macro_rules") {
            i = end_of_group(live, i + live[i..].iter().take_while(|t| t.text != "{").count());
            continue;
        }
        if text(i) != "fn" {
            i += 1;
            continue;
        }
        let open = i + live[i..].iter().take_while(|token| token.text != "(").count();
        let parameters = &live[open..end_of_group(live, open)];
        let body = open + live[open..].iter().take_while(|token| token.text != "{").count();
        let end = end_of_group(live, body);
        let word = |at: usize| parameters.get(at).map_or("", |token| token.text.as_str());
        for at in 2..parameters.len() {
            let of = if word(at - 1).starts_with('\'') { word(at - 2) } else { word(at - 1) };
            if word(at) != "mut" || of != "&" {
                continue;
            }
            let mut name = at + 1;
            while word(name + 1) == "::" {
                name += 2;
            }
            found.push(Block { name: word(name), body: &live[body..end], is_impl: false });
        }
        i = end;
    }
    found
}

fn declares(source: &Source, name: &str) -> bool {
    let kinds = ["struct", "enum", "union"];
    source.live.windows(2).any(|w| kinds.contains(&&*w[0].text) && w[1].text == name)
}

/// The blocks of each type, by the file that declares it; within one module of the root names are enough.
fn types(
    sources: &[Source],
    is_pure: impl Fn(&Source) -> bool,
) -> BTreeMap<String, Vec<(&Source, Block<'_>)>> {
    let mut types: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for source in sources {
        for block in blocks(source) {
            let home = home(source, block.name, sources);
            types.entry(format!("{home} {}", block.name)).or_default().push((source, block));
        }
        for function in functions(source).into_iter().filter(|_| is_pure(source)) {
            let home = home(source, function.name, sources);
            if home != "elsewhere" && home != source.path {
                types
                    .entry(format!("{home} {}", function.name))
                    .or_default()
                    .push((source, function));
            }
        }
    }
    // A record without methods is what is handed to functions, and no type that they belong to.
    types.retain(|_, of| of.iter().any(|(_, block)| block.is_impl));
    types
}

/// The file that declares the type which a file calls by this name.
fn home<'a>(source: &'a Source, name: &str, sources: &'a [Source]) -> &'a str {
    let near = |other: &&Source| other.module().first() == source.module().first();
    let home = if declares(source, name) {
        Some(source)
    } else {
        sources.iter().filter(near).find(|other| declares(other, name))
    };
    home.map_or("elsewhere", |home| home.path.as_str())
}

fn excepted(list: &[(&str, &str)], subject: &str) -> bool {
    list.iter().any(|(of, reason)| *of == subject && !reason.is_empty())
}

/// Exceptions that nothing needs any more.
fn idle(list: &[(&str, &str)], needed: &BTreeSet<String>) -> Vec<String> {
    let idle = list.iter().filter(|(subject, _)| !needed.contains(*subject));
    idle.map(|(subject, _)| format!("{subject}: an exception that nothing needs")).collect()
}

pub fn spread(sources: &[Source], is_pure: impl Fn(&Source) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, mut blocks) in types(sources, is_pure) {
        let files: BTreeSet<&str> = blocks.iter().map(|(file, _)| file.path.as_str()).collect();
        let excepted = SPREAD.iter().find(|(of, ..)| *of == name);
        let most = excepted.map_or(FILES_MAX, |(_, most, _)| *most);
        if files.len() > most {
            let files: Vec<&str> = files.iter().copied().collect();
            faults.push(format!("{name}: methods in {} files: {}", files.len(), files.join(", ")));
        } else if excepted.is_some() && files.len() < most {
            faults.push(format!("{name}: methods in {} files by now: lower it", files.len()));
        }
        blocks.retain(|(_, block)| block.is_impl);
        faults.extend(circle(&blocks).map(|arrows| format!("{name}: circle of methods: {arrows}")));
    }
    faults
}

/// The files of a type's methods that call each other in a circle.
fn circle(blocks: &[(&Source, Block<'_>)]) -> Option<String> {
    let mut homes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (file, block) in blocks {
        let names = block.body.windows(2).filter(|w| w[0].text == "fn").map(|w| &*w[1].text);
        names.for_each(|name| _ = homes.entry(name).or_default().insert(&file.path));
    }
    let mut edges = BTreeSet::new();
    for (file, block) in blocks {
        for w in block.body.windows(4) {
            let own = (w[0].text == "self" && w[1].text == ".")
                || (w[0].text == "Self" && w[1].text == "::");
            if !own || w[3].text != "(" {
                continue;
            }
            // Two methods of one name are of two types of one name.
            let Some(to) = homes.get(&*w[2].text).filter(|homes| homes.len() == 1) else {
                continue;
            };
            edges.extend(to.iter().filter(|to| **to != file.path).map(|to| (&*file.path, *to)));
        }
    }
    let mut before = 0;
    while before != edges.len() {
        before = edges.len();
        let (from, to): (BTreeSet<_>, BTreeSet<_>) = edges.iter().copied().unzip();
        edges.retain(|(a, b)| to.contains(a) && from.contains(b));
    }
    let arrows: Vec<String> = edges.iter().map(|(a, b)| format!("{a} -> {b}")).collect();
    (!arrows.is_empty()).then(|| arrows.join(", "))
}

fn cell(source: &Source) -> Option<&Token> {
    source.live.iter().find(|token| CELLS.contains(&&*token.text))
}

/// Whether a file holds wakers or cells.
pub fn shares(source: &Source) -> bool {
    cell(source).is_some()
}

/// A pure module decides by its arguments alone: it wakes nothing and shares nothing that changes.
pub fn shared(sources: &[Source], is_pure: impl Fn(&Source) -> bool) -> Vec<String> {
    let (mut faults, mut needed) = (Vec::new(), BTreeSet::new());
    for source in sources.iter().filter(|source| is_pure(source)) {
        let Some(cell) = cell(source) else { continue };
        if excepted(SHARED, &source.path) {
            needed.insert(source.path.clone());
        } else {
            faults.push(format!("{}:{}: pure, and holds a {}", source.path, cell.line, cell.text));
        }
    }
    if sources.len() > 2 {
        faults.extend(idle(SHARED, &needed));
    }
    faults
}

/// Modules that no other file names, and that have no methods of a type of another file.
pub fn unused(sources: &[Source]) -> Vec<String> {
    // Who names what, taken apart once.
    let named: Vec<(&Source, BTreeSet<Vec<String>>)> = sources
        .iter()
        .map(|source| {
            let own: Vec<String> = source.module().into_iter().map(str::to_owned).collect();
            let children = source.children();
            let mut all = BTreeSet::new();
            for (path, _) in source.resolved(&source.live) {
                let path = match path.first().map(String::as_str) {
                    Some("crate") => path[1..].to_vec(),
                    Some(first) if children.contains(&first) => [&own[..], &path].concat(),
                    _ => continue,
                };
                all.extend((1..=path.len()).map(|end| path[..end].to_vec()));
            }
            (source, all)
        })
        .collect();
    let mut faults = Vec::new();
    for source in sources {
        let module: Vec<String> = source.module().into_iter().map(str::to_owned).collect();
        if module.len() < 2 || module.iter().any(|part| is_test(part)) {
            continue;
        }
        let within = |other: &Source| {
            let own = other.module();
            own.len() >= module.len() && own.iter().zip(&module).all(|(a, b)| a == b)
        };
        let used = named.iter().any(|(other, all)| !within(other) && all.contains(&module));
        // The compiler lets it be named from outside: tests do.
        let outside = sources.iter().any(|other| {
            let words = ["pub", "mod", module[module.len() - 1].as_str(), ";"];
            let is = |w: &[Token]| w.iter().zip(words).all(|(token, word)| token.text == word);
            other.module() == module[..module.len() - 1] && other.live.windows(4).any(is)
        });
        let methods = blocks(source).iter().any(|block| !declares(source, block.name));
        let of_trait = source.live.iter().any(|token| token.text == "for");
        if !used && !outside && !methods && !of_trait {
            faults.push(format!("{}: a module that nobody uses", source.path));
        }
    }
    faults
}
