//! What Redis 7.0 makes of a client's bytes, when all of them are there: slowly and obviously.
//!
//! Owns: [`read`]. Never knows: respgate's reader, pieces.

use respgate::internals::resp::Violation;

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    Request(Vec<Vec<u8>>),
    Refused(Violation),
}

const LINE_BYTES: usize = 64 << 10;
const BULK_BYTES: i64 = 512 << 20;

struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    authenticated: bool,
}

/// What is read before the data end or are refused.
pub fn read(data: &[u8], authenticated: bool) -> Vec<Read> {
    let mut reader = Reader { data, at: 0, authenticated };
    let mut all = Vec::new();
    loop {
        let next = match data.get(reader.at) {
            None => return all,
            Some(b'*') => reader.array(),
            Some(_) => reader.line(),
        };
        match next {
            Ok(Some(args)) if args.is_empty() => {}
            Ok(Some(args)) if is_http(&args[0]) => {
                all.push(Read::Refused(Violation::CrossProtocol));
                return all;
            }
            Ok(Some(args)) => all.push(Read::Request(args)),
            Ok(None) => return all,
            Err(violation) => {
                all.push(Read::Refused(violation));
                return all;
            }
        }
    }
}

type Next<T> = Result<Option<T>, Violation>;

impl Reader<'_> {
    /// Where `mark` is, unless the data end before, or a NUL comes first.
    fn find(&self, mark: u8, too_long: Violation) -> Next<usize> {
        let rest = &self.data[self.at..];
        let visible = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        match rest[..visible].iter().position(|byte| *byte == mark) {
            Some(found) => Ok(Some(self.at + found)),
            None if rest.len() > LINE_BYTES => Err(too_long),
            None => Ok(None),
        }
    }

    /// The text up to a CR and whatever follows it.
    fn header(&mut self, too_long: Violation) -> Next<Vec<u8>> {
        let Some(end) = self.find(b'\r', too_long)? else { return Ok(None) };
        if end + 1 >= self.data.len() {
            return Ok(None);
        }
        let text = self.data[self.at..end].to_vec();
        self.at = end + 2;
        Ok(Some(text))
    }

    fn array(&mut self) -> Next<Vec<Vec<u8>>> {
        let Some(text) = self.header(Violation::TooBigCount)? else { return Ok(None) };
        let count = number(&text[1..]).filter(|count| *count <= i64::from(i32::MAX));
        let count = count.ok_or(Violation::MultibulkLength)?;
        if count > 10 && !self.authenticated {
            return Err(Violation::UnauthenticatedMultibulkLength);
        }
        let mut args = Vec::new();
        while (args.len() as i64) < count {
            let Some(&first) = self.data.get(self.at) else { return Ok(None) };
            let Some(text) = self.header(Violation::TooBigLength)? else { return Ok(None) };
            if first != b'$' {
                return Err(Violation::ExpectedBulk(first));
            }
            let length = number(&text[1..]).filter(|length| (0..=BULK_BYTES).contains(length));
            let length = length.ok_or(Violation::BulkLength)?;
            if length > 16384 && !self.authenticated {
                return Err(Violation::UnauthenticatedBulkLength);
            }
            let end = self.at + usize::try_from(length).unwrap();
            if self.data.len() < end + 2 {
                return Ok(None);
            }
            args.push(self.data[self.at..end].to_vec());
            self.at = end + 2;
        }
        Ok(Some(args))
    }

    fn line(&mut self) -> Next<Vec<Vec<u8>>> {
        let Some(end) = self.find(b'\n', Violation::TooBigInline)? else { return Ok(None) };
        let line = &self.data[self.at..end];
        self.at = end + 1;
        words(line.strip_suffix(b"\r").unwrap_or(line)).map(Some)
    }
}

/// A number in the only spelling that there is for it.
fn number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}

fn is_http(name: &[u8]) -> bool {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let name = name[..end].to_ascii_lowercase();
    name == b"post" || name == b"host:"
}

fn is_blank(byte: u8) -> bool {
    [b' ', b'\t', b'\n', 0x0b, 0x0c, b'\r'].contains(&byte)
}

/// The arguments of a line, which has no NUL: index past its end gives one.
fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, Violation> {
    let at = |index: usize| line.get(index).copied().unwrap_or(0);
    let (mut all, mut p) = (Vec::new(), 0);
    loop {
        while is_blank(at(p)) {
            p += 1;
        }
        if at(p) == 0 {
            return Ok(all);
        }
        let (mut word, mut quote) = (Vec::new(), 0);
        loop {
            let byte = at(p);
            p += 1;
            if quote == 0 {
                match byte {
                    0 | b' ' | b'\t' | b'\n' | b'\r' => break,
                    b'"' | b'\'' => quote = byte,
                    other => word.push(other),
                }
            } else if byte == 0 {
                return Err(Violation::UnbalancedQuotes);
            } else if byte == quote {
                if at(p) != 0 && !is_blank(at(p)) {
                    return Err(Violation::UnbalancedQuotes);
                }
                break;
            } else if byte == b'\\' && quote == b'\'' && at(p) == b'\'' {
                word.push(b'\'');
                p += 1;
            } else if byte == b'\\' && quote == b'"' && at(p) != 0 {
                let digit = |index| char::from(at(index)).to_digit(16);
                match (at(p), digit(p + 1), digit(p + 2)) {
                    (b'x', Some(high), Some(low)) => {
                        word.push(u8::try_from(high * 16 + low).unwrap());
                        p += 3;
                    }
                    (letter, ..) => {
                        let pairs =
                            [(b'n', b'\n'), (b'r', b'\r'), (b't', b'\t'), (b'b', 8), (b'a', 7)];
                        let found = pairs.iter().find(|pair| pair.0 == letter);
                        word.push(found.map_or(letter, |pair| pair.1));
                        p += 1;
                    }
                }
            } else {
                word.push(byte);
            }
        }
        all.push(word);
    }
}
