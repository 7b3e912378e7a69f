//! `man`: the help of respgate and of each verb as manual pages.
//!
//! Owns: names and sections of the pages. Never knows: the content of the help.

use std::io::{self, Write};
use std::process::ExitCode;

use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, roman};

use super::args::Man;
use super::command_line::CommandLine;
use super::output::Output;
use super::verb::Verb;
use crate::config::io_cause;

impl Verb for Man {
    fn run(self, output: Output) -> ExitCode {
        for (name, page) in pages() {
            let path = self.directory.join(format!("{name}.1"));
            if let Err(error) = std::fs::write(&path, page) {
                output.print_error(&format!("respgate: {}: {}", path.display(), io_cause(&error)));
                return ExitCode::FAILURE;
            }
            output.print(&path.display().to_string());
        }
        ExitCode::SUCCESS
    }
}

/// The name of each page and its text: respgate's own, and one for each verb.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut definition = CommandLine::definition();
    // Gives every verb the flags that all have, and the names by which it is called.
    definition.build();
    let mut pages = Vec::new();
    add(&definition, &mut pages);
    pages
}

fn add(command: &clap::Command, pages: &mut Vec<(String, Vec<u8>)>) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    // Writing to memory does not fail.
    if render(command, &mut page).is_ok() {
        pages.push((name, page));
    }
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        add(verb, pages);
    }
}

fn render(command: &clap::Command, out: &mut dyn Write) -> io::Result<()> {
    let page = Page::new(command.clone()).manual("respgate").date("").source(concat!(
        env!("CARGO_PKG_NAME"),
        " ",
        env!("CARGO_PKG_VERSION")
    ));
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    if command.has_subcommands() {
        page.render_subcommands_section(out)?;
    }
    sections(&command.get_after_help().map(ToString::to_string).unwrap_or_default()).to_writer(out)
}

/// The text after the flags: a line that begins at the margin and ends with a colon begins a section,
/// and what follows is shown as it is.
fn sections(text: &str) -> Roff {
    let mut page = Roff::new();
    let mut open = false;
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
            Some(heading) => {
                if open {
                    page.control("fi", []);
                }
                let heading = heading.to_ascii_uppercase();
                page.control("SH", [heading.as_str()]);
                page.control("nf", []);
                open = true;
            }
            None => {
                page.text([roman(line)]);
            }
        }
    }
    if open {
        page.control("fi", []);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page_with_its_sections() {
        let pages = pages();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.first(), Some(&"respgate"));
        assert!(names.contains(&"respgate-run") && names.contains(&"respgate-completions"));
        for (name, page) in &pages {
            let page = String::from_utf8(page.clone()).unwrap();
            // A page of verbs has one page more for each of them.
            let group = pages.iter().any(|(other, _)| other.starts_with(&format!("{name}-")));
            let has = |text: &str| assert!(page.contains(text), "{name}: {text}\n{page}");
            [".TH ", ".SH NAME\n", ".SH SYNOPSIS\n", ".SH DESCRIPTION\n", ".SH OPTIONS\n"]
                .into_iter()
                .chain([".SH EXAMPLES\n", ".SH \"EXIT CODES\"\n"])
                .for_each(has);
            assert_eq!(group, page.contains(".SH SUBCOMMANDS"), "{name}");
            assert_eq!(page.matches("\n.nf\n").count(), page.matches("\n.fi\n").count(), "{name}");
        }
    }

    #[test]
    fn examples_keep_their_lines_and_backslashes() {
        let page =
            sections("Examples:\n  Do:\n    a \\\n      -b\n\nExit codes:\n  0  x").to_roff();
        assert!(page.contains(".SH Examples\n") || page.contains(".SH EXAMPLES\n"), "{page}");
        assert!(page.contains("    a \\e") || page.contains("    a \\\\"), "{page}");
    }
}
