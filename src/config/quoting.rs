//! The values that an error may repeat: a secret at the wrong key must not reach a log.
//!
//! Owns: [`quoted`], [`is_telling`]. Never knows: what a value is for.

/// A value as an error repeats it: quoted and escaped, where a person has written it; else not at all.
pub(super) fn quoted(text: &str) -> String {
    if is_telling(text) { format!("{text:?}") } else { "this value".to_owned() }
}

/// The longest value that is repeated.
const CHARACTERS_MAX: usize = 64;
/// The longest that has no parts as addresses, paths, names of hosts and patterns have: a passphrase is longer.
const WORD_CHARACTERS_MAX: usize = 24;
/// What is as short is repeated in any case.
const SHORT_CHARACTERS_MAX: usize = 6;
/// How often digits follow letters, letters digits, and capitals small letters, in what a person names: a password or
/// token that a program has made changes more often.
const CHANGES_MAX: usize = 3;

/// Whether a value looks like what a person names or counts, and not like a password, token or key. A password that is
/// a plain word looks like any other word.
pub(super) fn is_telling(text: &str) -> bool {
    let count = text.chars().count();
    let has_parts = text.contains(['/', ':', '*', '.', ',', '@']);
    let most = if has_parts { CHARACTERS_MAX } else { WORD_CHARACTERS_MAX };
    count <= SHORT_CHARACTERS_MAX || (count <= most && changes(text) <= CHANGES_MAX)
}

fn changes(text: &str) -> usize {
    let kind = |character: char| match character {
        _ if character.is_numeric() => Some('0'),
        _ if character.is_uppercase() => Some('A'),
        _ if character.is_alphabetic() => Some('a'),
        _ => None,
    };
    let pairs = text.chars().zip(text.chars().skip(1));
    // A capital before small letters begins a word.
    let counts = |pair: &(char, char)| match (kind(pair.0), kind(pair.1)) {
        (Some('A'), Some('a')) | (None, _) | (_, None) => false,
        (before, after) => before != after,
    };
    pairs.filter(counts).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_person_are_repeated() {
        for text in [
            "",
            "64MiB",
            "10sec",
            "ten",
            "yes",
            "warn1ng",
            "X25519MLKEM768",
            "127.0.0.1:63790",
            "localhost",
            "redis-1.example.com:6380",
            "unix:/run/redis/a.sock",
            "team-2:app-1:*",
            "spiffe://prod/ns/blue/sa/app1",
            "TLS13_AES_256_GCM_SHA384",
            "-1",
            "1e3",
            "dns:*.*",
            "e0e1f9",
        ] {
            assert_eq!(quoted(text), format!("{text:?}"));
        }
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
    }

    #[test]
    fn generated_words_and_passphrases_are_not_repeated() {
        for text in [
            "correct-horse-battery-staple-9431",
            "Zx81Qm4vTt0LpWq9Rk2bYc7N",
            "7tq-Hb2.xW9_Lm4",
            "c2VjcmV0LXRva2VuLXdpdGgtYmFzZTY0",
            "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
            "550e8400-e29b-41d4-a716-446655440000",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhcHAifQ.x",
            "AKIAIOSFODNN7EXAMPLEKEYS0123",
            &"ab/".repeat(30),
        ] {
            assert_eq!(quoted(text), "this value", "{text}");
        }
    }
}
