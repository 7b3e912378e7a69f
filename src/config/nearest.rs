//! The known name that is closest to an unknown one.
//!
//! Owns: how near is near enough. Never knows: what the names name.

/// The candidate nearest to `name`, if any is near: about one slip in three characters.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours between two words, one point each.
/// Names longer than any key are far from everything: the work grows with the product of both lengths.
fn distance(from: &str, to: &str) -> usize {
    const CHARACTERS_MAX: usize = 64;
    if from.chars().count().max(to.chars().count()) > CHARACTERS_MAX {
        return usize::MAX;
    }
    strsim::osa_distance(from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("idle", "idle", 0),
            ("idel", "idle", 1),
            ("adress", "address", 1),
            ("kitten", "sitting", 3),
            ("max_conn", "max_connections", 7),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn nearest_name_is_what_was_meant_and_nothing_else() {
        let known = ["idle_timeout", "max_idle", "min_idle", "mode"];
        assert_eq!(nearest("idel_timeout", known.into_iter()), Some("idle_timeout"));
        assert_eq!(nearest("maxidle", known.into_iter()), Some("max_idle"));
        assert_eq!(nearest("colour", known.into_iter()), None);
        assert_eq!(nearest(&"x".repeat(10_000), known.into_iter()), None);
    }
}
