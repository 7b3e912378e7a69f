//! The page that lists every metric describes each as the program does.
//!
//! Owns: the form of `deploy/docs/metrics.md`. Never knows: what a metric means.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use prometheus::proto::MetricFamily;
use respgate::internals::config::MetricsProfile;
use respgate::internals::telemetry::Metrics;

/// Labels whose values are names, not a fixed set.
const NAMES: [&str; 6] = ["address", "command", "fingerprint", "policy", "revision", "version"];

const HEAD: &str = "\
# Metrics

`GET /metrics` on `[telemetry] address` answers in the Prometheus text format 0.0.4. This page is written by
a test from the program itself; after a change of a metric,
`RESPGATE_WRITE_DOCUMENTS=1 cargo test --test operation documents::catalogue` writes it anew.

* Every metric moves: a test produces each one before real servers and fails for one that stays as it was.
* No label holds a key, a value, a client's address or a text of a client. Label values are fixed sets, or
  names from the configuration up to a number.
* Few series: about 300 after a start, at most 400 after ordinary use, at most 550 whatever clients do. Plan
  for pods × 400.
* `telemetry.metrics = \"lean\"` has about 90 after ordinary use: those of the column *Lean*. \"yes\": the same
  series, \"sum\": one series without labels, the sum of all (of `respgate_command_duration_seconds` of all but
  class \"blocking\"). The alerts of `deploy/prometheus/rules.yaml` need no others; dashboards do. A reload
  changes it; counting goes on, and `respgate metrics` prints every metric in either profile.
* Series of small sets exist from the start at 0, so that `rate()` sees the first event. Series of large sets
  (`reason`, `code`, `command`) appear with their first event.
* Histograms also have `_sum` and `_count`. Time is in seconds, sizes in bytes.
* `respgate_config_hash` is the same in processes of one version with the same settings; secrets take no part
  in it.
* A large value, a command on a connection of its own and an answer of respgate's own are counted like any
  other command. `respgate_replies_total` and `respgate_commands_total` differ by what is in flight and by
  commands that have no reply (`CLIENT REPLY OFF`, what follows a closed connection).

Besides these there are the usual `process_*` metrics (processor time, memory, file descriptors, threads, start).

| Metric | Type | Labels | Lean | Meaning |
|---|---|---|---|---|
";

fn labels(family: &MetricFamily) -> String {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in family.get_metric().iter().flat_map(|metric| metric.get_label()) {
        let values = all.entry(pair.name().to_owned()).or_default();
        if !values.contains(&pair.value().to_owned()) {
            values.push(pair.value().to_owned());
        }
    }
    let show = |(name, values): (&String, &Vec<String>)| match NAMES.contains(&name.as_str()) {
        true => format!("`{name}`"),
        false => format!("`{name}`: {}", values.join(", ")),
    };
    all.iter().map(show).collect::<Vec<_>>().join("; ")
}

fn page() -> String {
    let metrics = Metrics::default();
    super::stir::stir(&metrics);
    let mut page = HEAD.to_owned();
    metrics.profile.set(MetricsProfile::Lean);
    let lean = metrics.scraped();
    let own = |family: &&MetricFamily| family.name().starts_with("respgate_");
    for family in metrics.families().iter().filter(own) {
        let kind = format!("{:?}", family.get_field_type()).to_lowercase();
        let (name, help) = (family.name(), family.help().replace('|', "\\|"));
        let series = |family: &MetricFamily| family.get_metric().len();
        let lean = match lean.iter().find(|lean| lean.name() == name) {
            None => "",
            Some(lean) if series(lean) < series(family) => "sum",
            Some(_) => "yes",
        };
        let labels = labels(family);
        writeln!(page, "| `{name}` | {kind} | {labels} | {lean} | {help} |").unwrap();
    }
    page
}

#[test]
fn catalogue_page_describes_each_metric_as_the_program_does() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/docs/metrics.md");
    let page = page();
    if std::env::var_os("RESPGATE_WRITE_DOCUMENTS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = page.lines().zip(written.lines()).find(|(new, old)| new != old);
    assert!(
        page == written,
        "deploy/docs/metrics.md is not up to date, first at {differs:#?}; \
         run: RESPGATE_WRITE_DOCUMENTS=1 cargo test --test operation documents::catalogue"
    );
}
