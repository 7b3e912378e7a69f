//! The lean profile: few series, and all that the alerts need.
//!
//! Owns: those promises. Never knows: which families the profile has besides.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use respgate::internals::config::MetricsProfile;

use super::support::client::Target;
use super::support::proxy::{Proxy, configuration, directory, listener};
use super::support::real_server::{Brand, Server, free_port, wait_until};
use super::{house, promtool, series, stir};

/// What `telemetry.metrics` in the reference promises is about 90.
const SERIES_MAX: usize = 110;

/// Words of `text` that begin with `prefix`; a colon is part of a word, as in names of rules.
fn words<'text>(text: &'text str, prefix: &str) -> BTreeSet<&'text str> {
    let is_end = |character: char| !(character.is_ascii_alphanumeric() || "_:".contains(character));
    text.split(is_end).filter(|word| word.starts_with(prefix)).collect()
}

/// The metrics that alerts use, by themselves or by a recording rule.
fn metrics_of_alerts() -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/rules.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let (mut recorded, mut alerts) = (BTreeMap::new(), Vec::new());
    let mut name = None;
    for line in text.lines().map(|line| line.trim().trim_start_matches("- ")) {
        if let Some(rule) = line.strip_prefix("record: ") {
            name = Some(rule);
        } else if line.starts_with("alert: ") {
            name = None;
        } else if let Some(expression) = line.strip_prefix("expr: ") {
            match name {
                Some(rule) => drop(recorded.insert(rule, expression)),
                None => alerts.push(expression),
            }
        }
    }
    assert!(alerts.len() >= 25 && recorded.len() >= 9, "{} {}", alerts.len(), recorded.len());
    let mut found = BTreeSet::new();
    for alert in alerts {
        let rules = words(alert, "respgate:");
        for expression in rules.iter().map(|rule| recorded[rule]).chain([alert]) {
            let own = words(expression, "respgate_");
            let all = own.into_iter().chain(words(expression, "process_"));
            found.extend(all.map(|word| word.trim_end_matches("_bucket").to_owned()));
        }
    }
    found
}

#[test]
fn lean_has_every_metric_of_an_alert() {
    let house = house();
    house.metrics.profile.set(MetricsProfile::Lean);
    stir(&house.metrics);
    let (_, body) = house.get("/metrics");
    let wanted = metrics_of_alerts();
    assert!(wanted.contains("respgate_upstream_queue_wait_seconds"), "{wanted:?}");
    for name in wanted {
        assert!(body.contains(&format!("# TYPE {name} ")), "{name} is missing");
    }
    let needed = ["upstream_up", "build_info", "circuit_state", "audit_events_total"];
    for name in needed {
        assert!(body.contains(&format!("# TYPE respgate_{name} ")), "{name} is missing");
    }
    if let Some(printed) = promtool(&body) {
        assert_eq!(printed, "");
    }
    assert!(series(&body).count() <= 160, "{} with everything stirred", series(&body).count());
}

/// Ordinary use, and a reload that changes the profile.
#[test]
fn lean_has_few_series_after_use_and_a_reload_changes_it() {
    if !Brand::Redis.available() {
        return;
    }
    let server = Server::mutual_tls(Brand::Redis);
    let (directory, target, telemetry) = (directory(), Target::Tcp(free_port()), free_port());
    let head = configuration(&server, &listener(&target, ""), "+@all -@dangerous ~* &*", telemetry);
    let text = head.replace("[telemetry]\n", "[telemetry]\nmetrics = \"lean\"\n");
    let proxy = Proxy::configured(directory, target, telemetry, &text);
    let mut client = proxy.client();
    for words in [
        &["SET", "k", "v"][..],
        &["GET", "k"],
        &["HGET", "k", "f"],
        &["MULTI"],
        &["EXEC"],
        &["BLPOP", "none", "0.01"],
        &["NONSENSE"],
        &["FLUSHALL"],
        &["KEYS", "*"],
    ] {
        client.ask(words);
    }
    let scrape = || proxy.get("/metrics").1;
    let lean = scrape();
    let count = series(&lean).count();
    assert!((70..=SERIES_MAX).contains(&count), "{count} series:\n{lean}");
    assert!(proxy.metric("respgate_commands_total") > 8.5, "{lean}");
    assert!(proxy.metric("respgate_command_duration_seconds_count") > 2.5, "{lean}");
    if let Some(printed) = promtool(&lean) {
        assert_eq!(printed, "");
    }
    proxy.reconfigure("metrics = \"lean\"", "metrics = \"full\"");
    proxy.hang_up();
    wait_until("every metric is shown", || scrape().contains("family=\"string\""));
    let full = series(&scrape()).count();
    assert!(full > 2 * count, "{full} and {count}");
}
