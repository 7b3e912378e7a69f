//! Reads scripts of the differential test: text into scenarios of steps.
//!
//! Owns: [`Scenario`], [`Step`], the notation. Never knows: servers, connections.
//!
//! ```text
//! # a comment
//! == name of a scenario [tags]     tags: resp2 resp3 redis valkey cut
//! A SET k "two words\r\n"          client A sends a command and reads one reply
//! A>2 SUBSCRIBE a b                … and reads two replies (or pushes); 0: reads nothing
//! A? SMEMBERS s                    … and reads one reply whose elements may come in any order
//! A?3 UNSUBSCRIBE                  … and reads three, as if their elements were of one reply
//! A*500 SET k{i} {100}             … 500 commands in one write, then 500 replies
//! A+ GET k                         puts a command aside; the next step of A sends it in one write
//!                                  with its own, and reads its reply before
//! A!2 "*1\r\n$4\r\nPING\r\n"       sends these bytes, reads two replies
//! A<2   A<quiet   A<end            reads two replies; nothing may come; the connection must end
//! A-                               client A leaves
//! blocked 1                        waits until the server counts one blocked client
//! pause 20                         waits milliseconds
//! ```
//! `{100}` is a value of 100 bytes, `{i}` the number of the command within its write.

/// Steps that begin with empty servers and no clients.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub place: String,
    pub name: String,
    pub tags: Vec<String>,
    pub steps: Vec<Line>,
}

/// A step and where it is written.
#[derive(Clone, Debug)]
pub struct Line {
    pub number: usize,
    pub text: String,
    pub step: Step,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Command { client: char, words: Vec<Vec<u8>>, read: usize, any_order: bool },
    Many { client: char, count: usize, words: Vec<Vec<u8>> },
    Aside { client: char, words: Vec<Vec<u8>> },
    Raw { client: char, bytes: Vec<u8>, read: usize },
    Read { client: char, count: usize },
    Quiet { client: char },
    End { client: char },
    Leave { client: char },
    Blocked(u64),
    Pause(u64),
}

impl Scenario {
    pub fn has(&self, tag: &str) -> bool {
        self.tags.iter().any(|one| one == tag)
    }
}

/// Reads one file.
///
/// # Panics
///
/// When a line is not in the notation.
pub fn parse(file: &str, text: &str) -> Vec<Scenario> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let number = index + 1;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix("==") {
            let (name, tags) = title.split_once('[').unwrap_or((title, ""));
            scenarios.push(Scenario {
                place: format!("{file}:{number}"),
                name: name.trim().to_owned(),
                tags: tags.trim_end_matches(']').split_whitespace().map(str::to_owned).collect(),
                steps: Vec::new(),
            });
            continue;
        }
        let step = step(line).unwrap_or_else(|why| panic!("{file}:{number}: {why}: {line}"));
        let scenario = scenarios.last_mut().unwrap_or_else(|| panic!("{file}:{number}: no =="));
        scenario.steps.push(Line { number, text: line.to_owned(), step });
    }
    scenarios
}

fn step(line: &str) -> Result<Step, &'static str> {
    let (head, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let number = |text: &str, default: usize| match text {
        "" => Ok(default),
        text => text.parse::<usize>().map_err(|_| "no number"),
    };
    match head {
        "blocked" => return rest.trim().parse().map(Step::Blocked).map_err(|_| "no number"),
        "pause" => return rest.trim().parse().map(Step::Pause).map_err(|_| "no number"),
        _ => {}
    }
    let client = head.chars().next().filter(char::is_ascii_uppercase).ok_or("no client")?;
    let mut operator = head[1..].chars();
    let kind = operator.next();
    let argument = operator.as_str();
    let words = || words(rest);
    Ok(match kind {
        None => Step::Command { client, words: words()?, read: 1, any_order: false },
        Some('?') => {
            let read = number(argument, 1)?;
            Step::Command { client, words: words()?, read, any_order: true }
        }
        Some('>') => {
            let read = number(argument, 0)?;
            Step::Command { client, words: words()?, read, any_order: false }
        }
        Some('*') => Step::Many { client, count: number(argument, 1)?, words: words()? },
        Some('+') => Step::Aside { client, words: words()? },
        Some('!') => Step::Raw { client, bytes: words()?.concat(), read: number(argument, 0)? },
        Some('<') => match argument {
            "quiet" => Step::Quiet { client },
            "end" => Step::End { client },
            count => Step::Read { client, count: number(count, 1)? },
        },
        Some('-') => Step::Leave { client },
        Some(_) => return Err("no such step"),
    })
}

/// Splits at blanks; quotes keep blanks together and know `\r \n \t \0 \\ \" \xHH`.
fn words(text: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_word(quoted)?
        } else {
            let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            (sized(word).unwrap_or_else(|| word.as_bytes().to_vec()), after)
        };
        words.push(word);
        rest = after.trim_start();
    }
    if words.is_empty() { Err("nothing to send") } else { Ok(words) }
}

fn quoted_word(text: &str) -> Result<(Vec<u8>, &str), &'static str> {
    let mut word = Vec::new();
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Ok((word, &text[at + 1..])),
            b'\\' => word.push(match bytes.next().ok_or("nothing after a backslash")?.1 {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'0' => 0,
                b'x' => {
                    let digits = text.get(at + 2..at + 4).ok_or("\\x needs two digits")?;
                    bytes.next();
                    bytes.next();
                    u8::from_str_radix(digits, 16).map_err(|_| "\\x needs two digits")?
                }
                other => other,
            }),
            other => word.push(other),
        }
    }
    Err("a quote is open")
}

/// `{N}`: N bytes that repeat with no period of two.
fn sized(word: &str) -> Option<Vec<u8>> {
    let count: usize = word.strip_prefix('{')?.strip_suffix('}')?.parse().ok()?;
    Some(b"0123456789abcdefghijklmnopqrstuvwxyz-".iter().copied().cycle().take(count).collect())
}
