//! Reads Rust as the rules of the house see it: tokens and paths, without comments and literals.
//!
//! Owns: [`Source`], [`Token`]. Never knows: the rules.

use std::fs;
use std::path::Path;

/// Folders that hold what programs have made, as `.gitignore` has them.
const GENERATED: &[&str] = &["node_modules", "target"];

/// All files below `place` whose name ends with `kind`, but generated ones; of the root itself only the top.
pub fn read(root: &Path, place: &str, kind: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let Ok(entries) = fs::read_dir(root.join(place)) else { return sources };
    for entry in entries.map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let generated = GENERATED.contains(&name.as_str());
        let path = if place.is_empty() { name } else { format!("{place}/{name}") };
        if entry.file_type().unwrap().is_dir() {
            if !place.is_empty() && !generated {
                sources.extend(read(root, &path, kind));
            }
        } else if path.ends_with(kind) {
            sources.push(Source::new(&path, &fs::read_to_string(entry.path()).unwrap()));
        }
    }
    sources
}

/// A file and its tokens; comments and literals are no tokens.
pub struct Source {
    pub path: String,
    pub text: String,
    pub all: Vec<Token>,
    /// Without what is compiled for tests only.
    pub live: Vec<Token>,
    /// Comments and literals, line by line.
    pub prose: Vec<Token>,
}

#[derive(Clone, Debug)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let rust = path.ends_with(".rs");
        let (all, prose) = if rust { tokens(text) } else { (Vec::new(), Vec::new()) };
        let live = if is_test(stem(path)) { Vec::new() } else { without_tests(&all) };
        Self { path: path.to_owned(), text: text.to_owned(), all, live, prose }
    }

    /// `src/a/b.rs` is `[a, b]`, `src/a/mod.rs` and `src/a.rs` are `[a]`, `src/lib.rs` is `[]`.
    pub fn module(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut module: Vec<&str> = path.split('/').collect();
        if matches!(module.last(), Some(&("mod" | "lib" | "main"))) {
            module.pop();
        }
        module
    }

    /// The paths of `tokens` as seen from the root of the crate; those into other crates as they are.
    pub fn resolved(&self, tokens: &[Token]) -> Vec<(Vec<String>, usize)> {
        let module: Vec<String> = self.module().into_iter().map(str::to_owned).collect();
        let children = if self.path.ends_with("/mod.rs") { self.children() } else { Vec::new() };
        let mut found = paths(tokens);
        for (path, _) in &mut found {
            let supers = path.iter().take_while(|s| *s == "super").count();
            let above = &module[..module.len().saturating_sub(supers)];
            if supers > 0 {
                path.splice(..supers, [&["crate".to_owned()][..], above].concat());
            } else if path[0] == "self" {
                path.splice(..1, [&["crate".to_owned()][..], &module].concat());
            } else if children.contains(&path[0].as_str()) {
                path.splice(..0, [&["crate".to_owned()][..], &module].concat());
            }
        }
        found
    }

    /// The modules this file declares.
    pub fn children(&self) -> Vec<&str> {
        let declared = self.live.windows(3).filter(|w| w[0].text == "mod" && w[2].text == ";");
        declared.map(|w| w[1].text.as_str()).collect()
    }
}

pub fn stem(path: &str) -> &str {
    path.rsplit('/').next().unwrap().trim_end_matches(".rs")
}

pub fn is_test(module: &str) -> bool {
    module == "tests" || module.ends_with("_tests")
}

/// Tokens; and comments and literals, line by line.
fn tokens(text: &str) -> (Vec<Token>, Vec<Token>) {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut tokens, mut prose, mut i, mut line) = (Vec::new(), Vec::new(), 0, 1);
    while i < chars.len() {
        let (end, counts) = if at(i) == '/' && at(i + 1) == '/' {
            (i + chars[i..].iter().take_while(|c| **c != '\n').count(), false)
        } else if at(i) == '/' && at(i + 1) == '*' {
            (end_of_comment(&chars, i), false)
        } else if let Some(end) = end_of_literal(&chars, i) {
            (end, false)
        } else if word(at(i)) || at(i) == '\'' {
            (i + 1 + chars[i + 1..].iter().take_while(|c| word(**c)).count(), true)
        } else {
            (i + if at(i) == ':' && at(i + 1) == ':' { 2 } else { 1 }, !at(i).is_whitespace())
        };
        let text: String = chars[i..end].iter().collect();
        if counts {
            tokens.push(Token { text, line });
        } else if end > i + 1 {
            prose.extend(
                text.lines().zip(line..).map(|(text, line)| Token { text: text.into(), line }),
            );
        }
        line += chars[i..end].iter().filter(|c| **c == '\n').count();
        i = end;
    }
    (tokens, prose)
}

fn end_of_comment(chars: &[char], start: usize) -> usize {
    let (mut depth, mut i) = (0, start);
    while i < chars.len() {
        match chars[i..].get(..2) {
            Some(['/', '*']) => (depth, i) = (depth + 1, i + 2),
            Some(['*', '/']) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

/// The end of a string or character that begins at `start`; a lifetime is neither.
fn end_of_literal(chars: &[char], start: usize) -> Option<usize> {
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut i = start;
    i += usize::from(matches!(at(i), 'b' | 'c') && matches!(at(i + 1), '"' | '\'' | 'r'));
    let raw = at(i) == 'r' && matches!(at(i + 1), '"' | '#');
    i += usize::from(raw);
    let marks = if raw { chars[i..].iter().take_while(|c| **c == '#').count() } else { 0 };
    i += marks;
    let quote = at(i);
    let character = quote == '\'' && !raw && (at(i + 1) == '\\' || at(i + 2) == '\'');
    if quote != '"' && !character {
        return None;
    }
    i += 1;
    while i < chars.len() {
        if at(i) == '\\' && !raw {
            i += 2;
        } else if at(i) == quote && (1..=marks).all(|n| at(i + n) == '#') {
            return Some(i + 1 + marks);
        } else {
            i += 1;
        }
    }
    Some(chars.len())
}

/// Takes out each item under `#[cfg(test)]`, or everything after `#![cfg(test)]`.
fn without_tests(all: &[Token]) -> Vec<Token> {
    let (mut live, mut i) = (Vec::new(), 0);
    while i < all.len() {
        let is = |n: usize, text: &str| all.get(i + n).is_some_and(|t| t.text == text);
        let inner = usize::from(is(1, "!"));
        let attribute = is(0, "#") && is(1 + inner, "[") && is(2 + inner, "cfg");
        let close = if attribute { end_of_group(all, i + 1 + inner) } else { i };
        let cfg = &all[i..close];
        let for_tests = cfg.iter().any(|t| t.text == "test") && cfg.iter().all(|t| t.text != "not");
        if !for_tests {
            live.push(all[i].clone());
            i += 1;
        } else if inner == 1 {
            break;
        } else {
            i = end_of_item(all, close);
        }
    }
    live
}

/// The place after the bracket that closes the one at `open`.
pub fn end_of_group(all: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (i, token) in all.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    all.len()
}

fn end_of_item(all: &[Token], start: usize) -> usize {
    let mut i = start;
    while let Some(token) = all.get(i) {
        match token.text.as_str() {
            ";" | "," => return i + 1,
            "{" => return end_of_group(all, i),
            "(" | "[" => i = end_of_group(all, i),
            _ => i += 1,
        }
    }
    i
}

/// Every path of two or more parts, `a::{b, c::d}` taken apart, with its line.
pub fn paths(tokens: &[Token]) -> Vec<(Vec<String>, usize)> {
    let text = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
    let name = |s: &str| s.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let (mut found, mut i) = (Vec::new(), 0);
    while i < tokens.len() {
        let inside =
            i > 0 && text(i - 1) == "::" && i > 1 && (name(text(i - 2)) || text(i - 2) == ">");
        if name(text(i)) && text(i + 1) == "::" && !inside {
            i = tree(tokens, i, &[], &mut found).max(i + 1);
        } else {
            i += 1;
        }
    }
    found
}

fn tree(
    tokens: &[Token],
    start: usize,
    above: &[String],
    found: &mut Vec<(Vec<String>, usize)>,
) -> usize {
    let text = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
    let (mut path, mut i) = (above.to_vec(), start);
    loop {
        if text(i) == "{" {
            let end = end_of_group(tokens, i);
            i += 1;
            while i < end - 1 {
                i = tree(tokens, i, &path, found).max(i + 1);
                i += tokens[i..end].iter().take_while(|t| !matches!(&*t.text, "," | "}")).count()
                    + 1;
            }
            return end;
        }
        path.push(text(i).to_owned());
        i += 1;
        let next = text(i + 1);
        let goes_on = next.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '{' | '*'));
        if text(i) != "::" || !goes_on {
            break;
        }
        i += 1;
    }
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    found.push((path, tokens[start].line));
    i
}
