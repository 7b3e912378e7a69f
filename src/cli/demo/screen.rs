//! How the demonstration looks: headings, commands and replies, with colour only for people.
//!
//! Owns: [`Screen`], the short form of a reply. Never knows: what is shown.

use crate::cli::output::{Output, Paint};
use crate::resp::Value;

/// Longer replies are cut.
const CHARACTERS_MAX: usize = 160;

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    output: Output,
}

impl Screen {
    pub(super) fn new(output: Output) -> Self {
        Self { output }
    }

    pub(super) fn heading(self, text: &str) {
        self.output.print(&format!("\n{}", self.output.paint(Paint::Strong, text)));
    }

    pub(super) fn line(self, text: &str) {
        self.output.print(&format!("  {text}"));
    }

    /// A command of the client with this name.
    pub(super) fn command(self, client: &str, command: &[&str]) {
        let words: Vec<_> = command.iter().map(|word| shell_word(word)).collect();
        self.output.print(&format!(
            "  {} {}",
            self.output.paint(Paint::Faint, &format!("{client}>")),
            words.join(" ")
        ));
    }

    /// A reply; `to` names its client, where several are shown.
    pub(super) fn reply(self, to: &str, reply: &Value) {
        let text = show(reply);
        let error = matches!(reply, Value::Error(_));
        let text = if error { self.output.paint(Paint::Bad, &text) } else { text };
        self.output.print(&format!("  {}{text}", self.output.paint(Paint::Faint, to)));
    }
}

fn shell_word(word: &str) -> String {
    if word.is_empty() || word.contains(char::is_whitespace) {
        format!("'{word}'")
    } else {
        word.to_owned()
    }
}

/// One line, in the manner of redis-cli.
pub(super) fn show(value: &Value) -> String {
    let text: String = whole(value).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}

fn whole(value: &Value) -> String {
    let utf8 = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let list = |elements: &[Value]| elements.iter().map(whole).collect::<Vec<_>>().join(", ");
    match value {
        Value::Simple(text) => utf8(text),
        Value::Error(text) => format!("(error) {}", utf8(text)),
        Value::Integer(number) => format!("(integer) {number}"),
        Value::Bulk(text) | Value::Verbatim(text) => format!("{:?}", utf8(text)),
        Value::Null => "(nil)".to_owned(),
        Value::Array(elements) => format!("[{}]", list(elements)),
        Value::Set(elements) => format!("(set) [{}]", list(elements)),
        Value::Push(elements) => format!("(push) [{}]", list(elements)),
        Value::Map(pairs) => {
            let pair = |(key, value): &(Value, Value)| format!("{}: {}", whole(key), whole(value));
            format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        Value::Double(number) => format!("(double) {number}"),
        Value::Boolean(yes) => format!("({yes})"),
        Value::BigNumber(digits) => format!("(number) {}", utf8(digits)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_takes_one_line() {
        let bulk = |text: &str| Value::Bulk(text.as_bytes().to_vec());
        for (value, expected) in [
            (Value::Simple(b"OK".to_vec()), "OK"),
            (Value::Error(b"ERR no".to_vec()), "(error) ERR no"),
            (Value::Array(vec![Value::Integer(1), Value::Null]), "[(integer) 1, (nil)]"),
            (Value::Map(vec![(bulk("a"), bulk("b\r\n"))]), "{\"a\": \"b\\r\\n\"}"),
            (Value::Push(vec![Value::Boolean(true)]), "(push) [(true)]"),
            (Value::Simple(b"\x1b[2J".to_vec()), " [2J"),
        ] {
            assert_eq!(show(&value), expected);
        }
        assert_eq!(show(&bulk(&"é".repeat(1000))).chars().count(), CHARACTERS_MAX + 1);
        assert_eq!(shell_word("a b"), "'a b'");
    }
}
