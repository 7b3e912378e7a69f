//! Whether the entries of audit files are whole, in their order and unchanged.
//!
//! Owns: [`Verifier`], [`Report`]. Never knows: files, the key file.

use std::collections::VecDeque;

use sha2::{Digest, Sha256};

use super::chain::Chain;
use crate::base::limits;
use crate::base::secret::Secret;

/// What was found in the lines so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub entries: u64,
    /// Events that were lost according to the log itself.
    pub lost: u64,
    /// Entries that a sink sent again on another connection; they are not counted twice.
    pub repeated: u64,
    /// The first line that does not fit, and why.
    pub broken: Option<(u64, &'static str)>,
    /// The chain begins here, not at the first entry of all.
    pub begins_within: bool,
}

/// Follows the chain through files, the oldest first.
#[derive(Debug)]
pub(crate) struct Verifier {
    chain: Chain,
    number: Option<u64>,
    /// The last entries by number and hash of the line.
    read: VecDeque<(u64, [u8; 32])>,
}

impl Verifier {
    #[must_use]
    pub(crate) const fn new(key: Option<Secret>) -> Self {
        Self { chain: Chain::new(key), number: None, read: VecDeque::new() }
    }

    /// Reads the next file's lines.
    pub(crate) fn read(&mut self, lines: impl Iterator<Item = String>) -> Report {
        let mut report = Report::default();
        for (line, at) in lines.zip(1..) {
            if let Err(why) = self.line(&line, &mut report)
                && report.broken.is_none()
            {
                report.broken = Some((at, why));
            }
        }
        report
    }

    /// Whether the same line was read before; remembers it if not.
    fn is_repeated(&mut self, number: u64, line: &str) -> bool {
        let own = (number, Sha256::digest(line.as_bytes()).into());
        if self.number.is_some_and(|last| number <= last) && self.read.contains(&own) {
            return true;
        }
        self.read.push_back(own);
        if self.read.len() > limits::AUDIT_REPEATED_MAX {
            self.read.pop_front();
        }
        false
    }

    fn line(&mut self, line: &str, report: &mut Report) -> Result<(), &'static str> {
        let entry: serde_json::Value =
            serde_json::from_str(line).map_err(|_| "the line is no entry, or is cut short")?;
        let number = entry.get("seq").and_then(serde_json::Value::as_u64);
        let number = number.ok_or("the entry has no number")?;
        if self.is_repeated(number, line) {
            report.repeated += 1;
            return Ok(());
        }
        let before = self.number.replace(number);
        report.entries += 1;
        report.lost += entry.get("lost").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if before.is_none() {
            // Older files may be gone: the first entry shows what came before.
            let previous = entry.get("previous").and_then(serde_json::Value::as_str);
            report.begins_within = number > 1;
            if previous.is_none_or(|previous| !self.chain.resume(previous)) {
                return Err("the first entry does not name the entry before it");
            }
        }
        if before.is_some() && number == 1 {
            let begun = self.chain.resume(&"0".repeat(64)) && self.chain.follow(line);
            return Err(if begun {
                "a new chain begins here, and entries before it may be missing"
            } else {
                "the entry was changed, or entries before it are missing"
            });
        }
        if !self.chain.follow(line) {
            return Err("the entry was changed, or entries before it are missing");
        }
        match before {
            Some(before) if number != before + 1 => Err("the numbers of entries have a gap"),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "a test may crash")]
    use super::*;

    fn log(entries: u64) -> Vec<String> {
        let mut chain = Chain::new(None);
        let line = |number: u64, chain: &mut Chain| {
            let members = match number {
                1 => format!("\"event\":\"begin\",\"previous\":\"{}\"", chain.value()),
                5 => "\"event\":\"gap\",\"lost\":7".to_owned(),
                _ => "\"event\":\"denied\"".to_owned(),
            };
            let (line, value) = chain.seal(format!("{{\"seq\":{number},{members}"));
            chain.advance(value);
            line.trim_end().to_owned()
        };
        (1..=entries).map(|number| line(number, &mut chain)).collect()
    }

    fn verify(lines: &[String]) -> Report {
        Verifier::new(None).read(lines.iter().cloned())
    }

    #[test]
    fn whole_log_is_whole_in_one_file_or_several() {
        let lines = log(20);
        let report = verify(&lines);
        assert_eq!((report.entries, report.lost, report.broken), (20, 7, None));
        let mut verifier = Verifier::new(None);
        let (first, second) = lines.split_at(8);
        assert_eq!(verifier.read(first.iter().cloned()).broken, None);
        assert_eq!(verifier.read(second.iter().cloned()).broken, None);
    }

    #[test]
    fn first_broken_line_is_named() {
        let lines = log(20);
        let without = |at: usize| {
            let mut lines = lines.clone();
            lines.remove(at);
            lines
        };
        assert_eq!(verify(&without(9)).broken.map(|(at, _)| at), Some(10));
        assert_eq!(verify(&without(0)).broken.map(|(at, _)| at), Some(1));
        let mut changed = lines.clone();
        if let Some(line) = changed.get_mut(13) {
            *line = line.replace("denied", "permitted");
        }
        assert_eq!(verify(&changed).broken.map(|(at, _)| at), Some(14));
        let mut cut = lines;
        if let Some(line) = cut.last_mut() {
            line.truncate(40);
        }
        assert_eq!(verify(&cut).broken, Some((20, "the line is no entry, or is cut short")));
    }

    #[test]
    fn entries_that_were_sent_again_are_not_broken_unless_they_were_changed() {
        let mut lines = log(20);
        // A connection ended behind 15; the receiver has 16 to 18 from the next one only.
        let again: Vec<String> = lines.drain(15..).collect();
        lines.extend_from_within(11..);
        lines.extend(again);
        let report = verify(&lines);
        assert_eq!((report.entries, report.repeated, report.broken), (20, 4, None));
        lines[17] = lines[17].replace("denied", "permitted");
        assert_eq!(verify(&lines).broken.map(|(at, _)| at), Some(18));
    }
}
