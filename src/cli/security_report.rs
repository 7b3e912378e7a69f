//! The security test as JSON, as JUnit's XML and as SARIF.
//!
//! Owns: these three forms. Never knows: checks, exit codes.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::security::{CHECKS, Check, Feature, Finding, Outcome};

const PAGE: &str = "deploy/docs/security-test.md";

/// For programs.
pub(super) fn json(findings: &[Finding]) -> Value {
    let rows = findings.iter().map(|finding| {
        let check = finding.check;
        json!({
            "id": check.id,
            "title": check.title,
            "features": check.features.iter().copied().map(Feature::name).collect::<Vec<_>>(),
            "result": finding.outcome.name(),
            "detail": finding.detail,
            "remedy": check.remedy,
        })
    });
    let count = |outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "passed": count(Outcome::Pass),
        "failed": count(Outcome::Fail),
        "warned": count(Outcome::Warn),
        "skipped": count(Outcome::Skip),
        "checks": rows.collect::<Vec<_>>(),
    })
}

/// For build servers: a warning is a test that passed, with a line of output.
pub(super) fn junit(findings: &[Finding]) -> String {
    let count = |outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuite name=\"redis-security\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\">\n",
        findings.len(),
        count(Outcome::Fail),
        count(Outcome::Skip)
    );
    for Finding { check, outcome, detail } in findings {
        let feature = check.features.first().map_or("", |feature| feature.name());
        let name = escape(&format!("{} {}", check.id, check.title));
        let _ = write!(text, "  <testcase classname=\"redis-security.{feature}\" name=\"{name}\"");
        let detail = escape(detail);
        let remedy = escape(check.remedy);
        let _ = match outcome {
            Outcome::Pass => writeln!(text, "/>"),
            Outcome::Skip => writeln!(text, "><skipped message=\"{detail}\"/></testcase>"),
            Outcome::Warn => writeln!(
                text,
                "><system-out>warning: {detail}; fix: {remedy}</system-out></testcase>"
            ),
            Outcome::Fail => {
                writeln!(text, "><failure message=\"{detail}\">fix: {remedy}</failure></testcase>")
            }
        };
    }
    text.push_str("</testsuite>");
    text
}

/// What XML does not take as it is; control characters it does not take at all.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// For scanners of code (SARIF 2.1.0): what failed and what is warned of.
pub(super) fn sarif(findings: &[Finding]) -> String {
    let rule = |check: &Check| {
        json!({
            "id": check.id,
            "shortDescription": {"text": check.title},
            "fullDescription": {"text": format!("Looked at: {}", check.looks)},
            "help": {"text": check.remedy},
        })
    };
    let result = |finding: &Finding| {
        let level = match finding.outcome {
            Outcome::Fail => "error",
            Outcome::Warn => "warning",
            Outcome::Pass | Outcome::Skip => return None,
        };
        let index = CHECKS.iter().position(|check| check.id == finding.check.id);
        let text =
            format!("{}. {} Fix: {}", finding.check.title, finding.detail, finding.check.remedy);
        Some(json!({
            "ruleId": finding.check.id,
            "ruleIndex": index,
            "level": level,
            "message": {"text": text},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": PAGE}}}],
        }))
    };
    let report = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "respgate",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": CHECKS.iter().map(rule).collect::<Vec<_>>(),
            }},
            "results": findings.iter().filter_map(result).collect::<Vec<_>>(),
        }],
    });
    format!("{report:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_xml_is_escaped() {
        assert_eq!(escape("a<b & \"c\"\u{1b}[1m"), "a&lt;b &amp; &quot;c&quot; [1m");
    }
}
