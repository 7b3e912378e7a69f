//! The metrics of one moment, read from their text.
//!
//! Owns: [`Exposition`], [`Series`]. Never knows: which metrics there are, how the text arrived.

use std::collections::BTreeMap;

use crate::base::limits;
use crate::base::terminal::is_deceptive;

/// One value and what it is of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

impl Series {
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Whether it has all these labels with these values.
    pub(super) fn matches(&self, wanted: &[(&str, &str)]) -> bool {
        wanted.iter().all(|(name, value)| self.label(name) == Some(value))
    }
}

/// All values of one moment, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Exposition {
    metrics: BTreeMap<String, Vec<Series>>,
}

impl Exposition {
    /// Reads the text format of Prometheus (0.0.4). A line that does not fit it is left out.
    pub(super) fn parse(text: &str) -> Self {
        let mut metrics: BTreeMap<String, Vec<Series>> = BTreeMap::new();
        for (name, series) in text.lines().filter_map(line).take(limits::TOP_SERIES_MAX) {
            metrics.entry(name).or_default().push(series);
        }
        Self { metrics }
    }

    pub(super) fn series(&self, name: &str) -> &[Series] {
        self.metrics.get(name).map_or(&[], Vec::as_slice)
    }

    /// The sum of all series with these labels; `None` when there is none.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found = self.series(name).iter().filter(|series| series.matches(labels));
        found.map(|series| series.value).reduce(|a, b| a + b)
    }
}

/// `name{label="value",…} number`, and perhaps a time, which is left out.
fn line(line: &str) -> Option<(String, Series)> {
    let line = line.trim();
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with('#') {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((plain(name), Series { labels, value }))
}

/// The labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.push((plain(name.trim()), value));
        rest = after;
    }
}

/// The text up to the closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut letters) = (String::new(), text.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((plain(&value), text.get(at + 1..)?)),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

/// Without what could move the cursor of a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if is_deceptive(c) { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_with_labels_and_escapes() {
        let read = Exposition::parse(
            "# HELP a_total what \"it\" counts\n# TYPE a_total counter\n\
             a_total{x=\"1\",y=\"b\\\"}\\\\\"} 5\na_total{x=\"2\"} 1e3 1700000000\n\
             b 0.25\nc{} NaN\nd{le=\"+Inf\"} +Inf\n  e 1\r\n",
        );
        assert_eq!(read.series("a_total").len(), 2);
        assert_eq!(read.sum("a_total", &[]), Some(1005.0));
        assert_eq!(read.sum("a_total", &[("x", "1")]), Some(5.0));
        assert_eq!(read.sum("a_total", &[("x", "1"), ("y", "b\"}\\")]), Some(5.0));
        assert_eq!(read.sum("a_total", &[("x", "3")]), None);
        assert_eq!(read.sum("b", &[]), Some(0.25));
        assert!(read.sum("c", &[]).is_some_and(f64::is_nan));
        assert_eq!(read.sum("d", &[("le", "+Inf")]), Some(f64::INFINITY));
        assert_eq!(read.sum("e", &[]), Some(1.0));
        assert_eq!(read.sum("f", &[]), None);
    }

    #[test]
    fn lines_that_do_not_fit_are_left_out() {
        for text in [
            "",
            "a",
            "a{",
            "a{x",
            "a{x=\"",
            "a{x=\"\\",
            "a{x=\"1\"",
            "a{x=\"1\"}",
            "a{x=\"1\"} b",
            "{x=\"1\"} 1",
            " ",
            "<html>",
            "#",
            "é{é=\"",
        ] {
            assert!(Exposition::parse(text).metrics.is_empty(), "{text}");
        }
        let many = "a 1\n".repeat(limits::TOP_SERIES_MAX + 7);
        assert_eq!(Exposition::parse(&many).series("a").len(), limits::TOP_SERIES_MAX);
    }

    #[test]
    fn names_cannot_move_a_cursor() {
        let read = Exposition::parse("a\u{7}{x=\"\u{1b}[2J\\n\"} 1");
        assert_eq!(read.series("a?").first().and_then(|series| series.label("x")), Some("?[2J?"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "[a{}=\"\\\\, 1#\n\u{e9}]{0,40}") {
            let _ = Exposition::parse(&text);
        }
    }
}
