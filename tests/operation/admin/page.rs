//! The page about the verbs of a running respgate is that of their table.
//!
//! Owns: that part of `deploy/docs/admin.md`. Never knows: what a verb does.

use std::fmt::Write;
use std::path::Path;

use respgate::internals::admin::{Argument, Kind, Verb};
use respgate::internals::proxy::AdminState;
use respgate::internals::proxy::verbs::VERBS;

const BEGIN: &str = "<!-- verbs: written by tests/operation/admin/page.rs -->\n";
const END: &str = "<!-- end of verbs -->";

/// What one argument is on the command line.
fn word(Argument { name, kind, .. }: &Argument) -> String {
    match kind {
        Kind::Word(what) => (*what).to_owned(),
        Kind::OptionalWord(what) => format!("[{what}]"),
        Kind::Words(what) => format!("{what}…"),
        Kind::Option(what) => format!("[--{name} {what}]"),
        Kind::Options(what) => format!("[--{name} {what}]…"),
        Kind::Flag => format!("[--{name}]"),
    }
}

fn section(page: &mut String, verb: &Verb<AdminState>) {
    let words: Vec<String> = verb.arguments.iter().map(word).collect();
    let line = format!("respgate {} {}", verb.name, words.join(" "));
    let paths: Vec<String> = std::iter::once(&verb.path)
        .chain(verb.also)
        .map(|path| format!("`{} {path}`", verb.effect.method()))
        .collect();
    let _ = write!(
        page,
        "\n### {}\n\n`{}`: {}. Over HTTP {}.\n",
        verb.name,
        line.trim(),
        verb.about,
        paths.join(", ")
    );
    if !verb.arguments.is_empty() {
        page.push_str("\n| argument | |\n|---|---|\n");
        for argument in verb.arguments {
            let help = argument.help.replace('|', "\\|");
            let _ = writeln!(page, "| `{}` | {help} |", argument.name);
        }
    }
    page.push_str("\n```\n");
    for (what, command) in verb.examples {
        let _ = writeln!(page, "{command}   # {what}");
    }
    let _ = write!(page, "```\n\nExit code 0: {}; 1: {}.\n", verb.done, verb.failed);
}

#[test]
fn verbs_page_lists_the_table_of_verbs() {
    let mut page = "\n| verb | route | what it does |\n|---|---|---|\n".to_owned();
    for verb in VERBS {
        let anchor = verb.name.replace(' ', "-");
        let (method, path) = (verb.effect.method(), verb.path);
        let _ =
            writeln!(page, "| [`{}`](#{anchor}) | `{method} {path}` | {} |", verb.name, verb.about);
    }
    VERBS.iter().for_each(|verb| section(&mut page, verb));
    page.push('\n');
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/docs/admin.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let (head, rest) = text.split_once(BEGIN).unwrap();
    let (own, tail) = rest.split_once(END).unwrap();
    if std::env::var_os("RESPGATE_WRITE_DOCUMENTS").is_some() {
        return std::fs::write(file, [head, BEGIN, &page, END, tail].concat()).unwrap();
    }
    let first = own.lines().zip(page.lines()).find(|(own, page)| own != page);
    assert!(
        own == page,
        "deploy/docs/admin.md is not up to date, first at {first:?}; \
         run: RESPGATE_WRITE_DOCUMENTS=1 cargo test --test operation documents::verbs_page"
    );
}
