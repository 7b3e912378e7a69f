//! The arguments of a request as a query, both ways.
//!
//! Owns: [`read`], [`write()`]. Never knows: which arguments there are.

use std::fmt::Write;

/// `name=value&name=value`, each percent-decoded; `None` when it is not that.
#[must_use]
pub(crate) fn read(query: &str) -> Option<Vec<(String, String)>> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
            Some((decode(name)?, decode(value)?))
        })
        .collect()
}

/// Writes pairs as a query; empty without any.
#[must_use]
pub(crate) fn write<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = String::new();
    for (name, value) in pairs {
        query.push(if query.is_empty() { '?' } else { '&' });
        encode(name, &mut query);
        query.push('=');
        encode(value, &mut query);
    }
    query
}

fn encode(text: &str, query: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            query.push(char::from(byte));
        } else {
            // A String takes every text.
            let _ = write!(query, "%{byte:02X}");
        }
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    u8::try_from(char::from(byte).to_digit(16)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_that_is_written_is_read() {
        let pairs = [("words", "config|set"), ("words", "@all a+b&c=%"), ("name", "ümlaut\n")];
        let query = write(pairs);
        assert!(query.starts_with("?words=config%7Cset&words=%40all%20a%2Bb"), "{query}");
        let back = read(query.strip_prefix('?').unwrap_or_default());
        let own = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(back, Some(own.to_vec()));
        assert_eq!(write([]), "");
    }

    #[test]
    fn invalid_query_is_refused() {
        assert_eq!(read("a=%"), None);
        assert_eq!(read("a=%4"), None);
        assert_eq!(read("a=%zz"), None);
        assert_eq!(read("a=%ff"), None, "not UTF-8");
        assert_eq!(read(""), Some(Vec::new()));
        assert_eq!(
            read("a+b&&c=+"),
            Some(vec![("a b".to_owned(), "true".to_owned()), ("c".to_owned(), " ".to_owned()),])
        );
    }
}
