//! What the documents name exists: links, files, codes, versions.
//!
//! Owns: that comparison. Never knows: whether a document is understood.

#[path = "telemetry/catalogue.rs"]
mod catalogue;
#[path = "admin/page.rs"]
mod page;
#[path = "telemetry/stir.rs"]
mod stir;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below `directory` with this ending.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found
}

/// Words such as `TLS-E001` in `text`, between quotation marks or back quotes.
fn codes(text: &str, quote: char) -> BTreeSet<String> {
    let is_code = |word: &&str| {
        let Some((area, number)) = word.split_once('-') else { return false };
        area.len() == 3
            && area.bytes().all(|byte| byte.is_ascii_uppercase())
            && number.len() == 4
            && number.starts_with(['E', 'W', 'I'])
            && number.bytes().skip(1).all(|byte| byte.is_ascii_digit())
    };
    text.split(quote).filter(is_code).map(str::to_owned).collect()
}

#[test]
fn codes_page_lists_each_code_of_the_program_and_no_other() {
    let sources = files(&root().join("src"), "rs");
    let used: BTreeSet<String> = sources.iter().flat_map(|path| codes(&read(path), '"')).collect();
    assert!(used.len() > 40, "the codes are elsewhere: {used:?}");
    assert_eq!(used, codes(&read(&root().join("deploy/docs/codes.md")), '`'));
}

#[test]
fn links_of_the_documents_lead_to_files() {
    let mut documents = files(&root().join("deploy/docs"), "md");
    documents.extend(
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "src/ARCHITECTURE.md"]
            .map(|name| root().join(name)),
    );
    let mut links = 0;
    for document in documents {
        let text = read(&document);
        for rest in text.split("](").skip(1) {
            let target = rest.split_once(')').map_or(rest, |(target, _)| target);
            let (target, anchor) = target.split_once('#').unwrap_or((target, ""));
            if target.contains("://") {
                continue;
            }
            links += 1;
            let path = match target {
                "" => document.clone(),
                _ => document.parent().unwrap().join(target),
            };
            assert!(path.exists(), "{}: no file {target}", document.display());
            if !anchor.is_empty() && target.ends_with(".md") | target.is_empty() {
                let headings = read(&path);
                let found =
                    headings.lines().any(|line| line.starts_with('#') && slug(line) == anchor);
                assert!(
                    found,
                    "{}: no heading #{anchor} in {}",
                    document.display(),
                    path.display()
                );
            }
        }
    }
    assert!(links >= 5, "the documents have lost their links");
}

/// The anchor of a heading, as GitHub makes it.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The versions, as 1.2.3, that follow `marker` in `text`.
fn versions<'text>(text: &'text str, marker: &str) -> Vec<&'text str> {
    let is_version =
        |word: &&str| word.split('.').filter(|part| part.parse::<u32>().is_ok()).count() == 3;
    let word =
        |rest: &'text str| rest.split(|end: char| !end.is_ascii_digit() && end != '.').next();
    text.split(marker)
        .skip(1)
        .filter_map(word)
        .map(|word| word.trim_end_matches('.'))
        .filter(is_version)
        .collect()
}

#[test]
fn version_of_the_crate_is_that_of_image_charts_documents_and_changes() {
    let mut places = vec![root().join("README.md"), root().join("Dockerfile")];
    places.extend(
        ["yaml", "md", "toml", "sh"]
            .iter()
            .flat_map(|ending| files(&root().join("deploy"), ending)),
    );
    let markers = [
        "respgate:",
        "respgate ",
        "respgate  ",
        "newTag: ",
        "tag: \"",
        "appVersion: ",
        "image.version=\"",
    ];
    let mut found = 0;
    for place in places {
        let text = read(&place);
        let chart = if place.ends_with("Chart.yaml") {
            &["\nversion: ", "\n    version: "][..]
        } else {
            &[]
        };
        for marker in markers.iter().chain(chart) {
            for version in versions(&text, marker) {
                found += 1;
                assert_eq!(
                    version,
                    env!("CARGO_PKG_VERSION"),
                    "{}, behind {marker:?}",
                    place.display()
                );
            }
        }
    }
    assert!(found > 12, "the versions are elsewhere: {found}");
    let changes = read(&root().join("CHANGELOG.md"));
    let newest =
        changes.split("\n## ").skip(1).find(|section| !section.starts_with("Not released"));
    assert!(
        newest.is_some_and(|section| section.starts_with(env!("CARGO_PKG_VERSION"))),
        "CHANGELOG.md"
    );
}

#[test]
fn architecture_page_names_files_that_exist() {
    let text = read(&root().join("src/ARCHITECTURE.md"));
    let names = text.split('`').skip(1).step_by(2).filter(|word| {
        let is_path =
            word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
        is_path && Path::new(word).extension().is_some_and(|ending| ending.len() < 5)
    });
    let mut count = 0;
    for name in names {
        count += 1;
        assert!(
            ["src", ""].iter().any(|place| root().join(place).join(name).exists()),
            "no file {name}"
        );
    }
    assert!(count > 60, "the page names {count} files");
}

/// A text of the program as the page shows it: `…` for what is filled in.
fn shown(text: &str) -> String {
    let parts = text.split(['{', '}']).enumerate();
    parts.map(|(index, part)| if index % 2 == 0 { part } else { "…" }).collect()
}

/// The page with its lists of texts as the program has them.
fn errors_page(page: &str) -> String {
    use respgate::internals::base::client_text::{OWN, REDIS, Text};

    let row =
        |text: &Text| format!("| `{}` | {} | {} |\n", shown(text.text), text.executed, text.advice);
    let mut lists: Vec<(&str, String)> = OWN
        .iter()
        .map(|section| {
            let head = "| text | executed | what to do |\n|---|---|---|\n";
            (section.title, head.to_owned() + &section.texts.iter().map(row).collect::<String>())
        })
        .collect();
    let line = |text: &&str| format!("* `{}`\n", shown(text).trim_end());
    lists.push(("In the words of Redis", REDIS.iter().map(line).collect()));

    let mut page = page.to_owned();
    for (title, list) in lists {
        let begin = format!("<!-- {title}: written by tests/operation/documents.rs -->\n");
        let (head, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no list: {title}"));
        let (_, tail) = rest.split_once("<!-- end -->").unwrap();
        page = [head, &begin, &list, "<!-- end -->", tail].concat();
    }
    page
}

/// Denials of the policy are composed; the page lists them by rule.
#[test]
fn errors_page_has_each_text_of_the_program_and_no_other() {
    let path = root().join("deploy/docs/errors.md");
    let page = read(&path);
    let written = errors_page(&page);
    if std::env::var_os("RESPGATE_WRITE_DOCUMENTS").is_some() {
        return std::fs::write(path, written).unwrap();
    }
    let first = page.lines().zip(written.lines()).find(|(is, should)| is != should);
    assert!(
        page == written,
        "deploy/docs/errors.md is not up to date, first at {first:?}; \
         run: RESPGATE_WRITE_DOCUMENTS=1 cargo test --test operation documents::errors_page"
    );
    for rule in respgate::internals::policy::Rule::ALL {
        assert!(page.contains(&format!("`{}`", rule.label())), "no rule {}", rule.label());
    }
    for why in ["dns", "tcp", "tls", "auth", "timeout", "protocol", "loading", "overloaded"] {
        assert!(page.contains(&format!("`{why}`")), "no cause {why}");
    }
}
