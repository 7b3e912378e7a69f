//! Any text and any environment are settings that hold together, or problems with places.
//!
//! Owns: that statement. Never knows: which keys exist.

use std::collections::BTreeMap;

use respgate::internals::config::{Config, HostPort, ListenAddress, Place, Problem, diff, parse};

const NAME: &str = "respgate.toml";

/// Lines that begin like a variable are the environment, the others the file.
pub fn check(data: &[u8]) {
    let Ok(input) = std::str::from_utf8(data) else { return };
    let (variables, lines): (Vec<&str>, Vec<&str>) =
        input.split('\n').partition(|line| line.starts_with("RESPGATE__"));
    let environment: BTreeMap<String, String> = variables
        .iter()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let text = lines.join("\n");
    let result = parse(&text, NAME, environment.clone());
    assert_eq!(
        result,
        parse(&text, NAME, environment.clone().into_iter().rev()),
        "order of variables"
    );
    match result {
        Ok(config) => holds_together(&config),
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(problems.is_sorted_by(|a, b| a.place <= b.place));
            problems.iter().for_each(|problem| has_a_place(problem, &lines, &environment));
        }
    }
}

fn holds_together(config: &Config) {
    assert!(!config.listeners.is_empty());
    for listener in &config.listeners {
        if let ListenAddress::Tcp(address) = listener.address {
            assert!(
                address.ip().to_canonical().is_loopback()
                    || listener.allow_remote
                    || listener.requires_certificate()
            );
        }
    }
    let there = |place: &HostPort| !place.host.is_empty() && place.port != 0;
    assert!(config.upstream.address.tcp().is_none_or(there));
    if let Some(tls) = &config.upstream.tls {
        assert!(!tls.files().any(|path| path.as_os_str().is_empty()));
    }
    assert!(config.upstream.pool.min_idle <= config.upstream.pool.max_idle);
    assert!(config.limits.output_soft_bytes <= config.limits.output_hard_bytes);
    assert!(config.drain.min <= config.drain.max);
    assert!(diff(config, &config.clone()).is_empty());
}

fn has_a_place(problem: &Problem, lines: &[&str], environment: &BTreeMap<String, String>) {
    match &problem.place {
        Place::Text { name, position } => {
            assert_eq!(&**name, NAME);
            if let Some((line, column)) = *position {
                let length = lines.get(line - 1).map(|line| line.chars().count());
                assert!(length.is_some_and(|length| column <= length + 1), "{problem}");
            }
        }
        Place::Variable(name) => {
            assert!(environment.contains_key(name), "{problem}");
        }
        Place::Flag(_) => panic!("no flag was given: {problem}"),
    }
    assert!(problem.to_string().starts_with(&problem.place.to_string()));
}
