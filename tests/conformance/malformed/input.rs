//! One input: commands, spelled oddly, broken, and cut into pieces.
//!
//! Owns: [`Input`]. Never knows: what is answered.

use super::support::choices::Choices;

/// What one client sends.
pub struct Input {
    pub seed: u64,
    pub kind: &'static str,
    pub pieces: Vec<Vec<u8>>,
}

/// Redis reads an inline line or a header of up to this length.
const LINE_BYTES: usize = 64 << 10;

type Kind = (&'static str, usize, fn(&mut Choices, &str) -> Vec<u8>);

/// Each with its weight.
const KINDS: &[Kind] = &[
    ("valid", 4, |random, key| pipeline(random, key, 0)),
    ("ends", 14, |random, key| pipeline(random, key, 60)),
    ("numbers", 14, numbers),
    ("counts", 6, counts),
    ("nothing", 10, nothing),
    ("no dollar", 8, no_dollar),
    ("inline", 14, inline),
    ("NUL", 12, nul),
    ("silence", 10, silence),
    ("HTTP", 6, http),
    ("mutated", 24, mutated),
    ("random", 8, random_bytes),
    ("TLS", 1, tls),
    ("long line", 2, long_line),
    ("large", 3, large),
];

impl Input {
    /// A stranger sends a password first, the right one or another, or none.
    pub fn new(seed: u64, stranger: bool, random: &mut Choices) -> Self {
        let key = name(seed);
        let weights: Vec<usize> = KINDS.iter().map(|kind| kind.1).collect();
        let (kind, _, make) = KINDS[random.weighted(&weights)];
        let mut bytes = make(random, &key);
        if stranger {
            let first = pick(random, &[b"", b"", b"AUTH wrong\r\n", b"AUTH secret\r\n"]);
            bytes.splice(0..0, first.iter().copied());
        }
        if random.chance(15) && kind != "HTTP" {
            bytes.truncate(random.below(bytes.len() + 1));
        }
        // Redis forgets answers that it has not written when a browser shows itself, and closes in
        // silence only if it still had something to write.
        let cuts =
            if matches!(kind, "HTTP" | "silence") { 0 } else { [0, 0, 1, 2, 5][random.below(5)] };
        Self { seed, kind, pieces: cut(&bytes, cuts, random) }
    }
}

fn pick<'a>(random: &mut Choices, texts: &[&'a [u8]]) -> &'a [u8] {
    texts[random.below(texts.len())]
}

/// A key that no change of one byte makes another's.
fn name(seed: u64) -> String {
    let mut random = Choices::from_seed(!seed);
    (0..10).map(|_| char::from(*random.pick(b"abcdefghijklmnopqrstuvwxyz"))).collect()
}

fn cut(bytes: &[u8], cuts: usize, random: &mut Choices) -> Vec<Vec<u8>> {
    let mut ends: Vec<usize> = (0..cuts).map(|_| random.below(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut begin = 0;
    let mut pieces = Vec::new();
    for end in ends {
        if end > begin {
            pieces.push(bytes[begin..end].to_vec());
            begin = end;
        }
    }
    pieces
}

/// Words of one command.
fn command(random: &mut Choices, key: &str) -> Vec<Vec<u8>> {
    let value = value(random);
    let texts: &[&[u8]] = match random.below(12) {
        0 => &[b"PING"],
        1 => &[b"ping", &value],
        2 => &[b"ECHO", &value],
        3 => &[b"SET", key.as_bytes(), &value],
        4 => &[b"Get", key.as_bytes()],
        5 => &[b"INCR", key.as_bytes()],
        6 => &[b"NOSUCH", &value, key.as_bytes()],
        7 => &[b"GET"],
        8 => &[b"APPEND", key.as_bytes(), &value],
        9 => &[b"CLIENT", b"NOSUCH"],
        10 => &[b"STRLEN", key.as_bytes()],
        _ => &[&value, b"x"],
    };
    texts.iter().map(|text| text.to_vec()).collect()
}

fn value(random: &mut Choices) -> Vec<u8> {
    let alphabets: [&[u8]; 4] =
        [b"abcxyz", b"\r\n$*0123456789PING", b" \t\r\n\0\x01\x1b\x7f\x80\xff'\"\\", b"0123456789"];
    let alphabet = random.pick(&alphabets);
    let length = random.below(14);
    let mut text: Vec<u8> = (0..length).map(|_| *random.pick(alphabet)).collect();
    if text.eq_ignore_ascii_case(b"quit") {
        text.clear();
    }
    text
}

fn two(random: &mut Choices, odd: usize) -> Vec<u8> {
    if !random.chance(odd) {
        return b"\r\n".to_vec();
    }
    (0..2).map(|_| *random.pick(b"\r\n\0 x*$:\xff1")).collect()
}

fn line_end(random: &mut Choices, odd: usize) -> Vec<u8> {
    let end = two(random, odd);
    vec![b'\r', end[1]]
}

/// A command as an array; `odd` percent of all line ends are not CRLF.
fn array(words: &[Vec<u8>], random: &mut Choices, odd: usize) -> Vec<u8> {
    let mut bytes = format!("*{}", words.len()).into_bytes();
    bytes.extend(line_end(random, odd));
    for word in words {
        bytes.extend(format!("${}", word.len()).bytes());
        bytes.extend(line_end(random, odd));
        bytes.extend(word);
        bytes.extend(two(random, odd));
    }
    bytes
}

fn pipeline(random: &mut Choices, key: &str, odd: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=random.below(4) {
        let words = command(random, key);
        bytes.extend(array(&words, random, odd));
    }
    bytes
}

/// A pipeline, then `odd`, then a pipeline.
fn around(odd: &[u8], random: &mut Choices, key: &str) -> Vec<u8> {
    let before = if random.chance(60) { pipeline(random, key, 0) } else { Vec::new() };
    let behind = if random.chance(60) { pipeline(random, key, 0) } else { Vec::new() };
    [before, odd.to_vec(), behind].concat()
}

fn odd_number(random: &mut Choices) -> Vec<u8> {
    let texts: [&[u8]; 32] = [
        b"",
        b"+1",
        b"01",
        b"00",
        b"-0",
        b"-1",
        b"-2",
        b"--1",
        b"1 ",
        b" 1",
        b"1e0",
        b"0x1",
        b"1-",
        b"-",
        b"1\n",
        b"\n1",
        b"a",
        b"1\xff",
        b"9223372036854775807",
        b"9223372036854775808",
        b"-9223372036854775808",
        b"-9223372036854775809",
        b"18446744073709551617",
        b"4294967298",
        b"2147483648",
        b"536870913",
        b"99999999999999999999",
        b"000000000000000000001",
        b"\t1",
        b"1.0",
        b"16384",
        b"16385",
    ];
    random.pick(&texts).to_vec()
}

fn numbers(random: &mut Choices, key: &str) -> Vec<u8> {
    let number = odd_number(random);
    let end = line_end(random, 30);
    let odd = if random.chance(50) {
        [b"*", &number[..], &end, b"$4\r\nPING\r\n"].concat()
    } else {
        [b"*2\r\n$4\r\nECHO\r\n$", &number[..], &end, b"x\r\n"].concat()
    };
    around(&odd, random, key)
}

fn counts(random: &mut Choices, key: &str) -> Vec<u8> {
    let texts = [
        "1048575",
        "1048576",
        "1048577",
        "2000000",
        "99999999",
        "2147483646",
        "2147483647",
        "2147483648",
        "11",
    ];
    let count = random.pick(&texts);
    let first = pipeline(random, key, 0);
    let odd = [&b"*"[..], count.as_bytes(), b"\r\n$4\r\nPING\r\n"].concat();
    if random.chance(50) {
        [first, odd, random_bytes(random, key)].concat()
    } else {
        [first, odd].concat()
    }
}

const NOTHINGS: [&[u8]; 10] = [
    b"\r\n",
    b"\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"*-10\r\n",
    b" \r\n",
    b"\t \x0b\x0c\n",
    b"*0\rx",
    b"\r\r\n",
    b"\r \n",
];

fn nothing(random: &mut Choices, key: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=random.below(5) {
        bytes.extend(*random.pick(&NOTHINGS));
        if random.chance(50) {
            bytes.extend(pipeline(random, key, 10));
        }
    }
    bytes
}

fn no_dollar(random: &mut Choices, key: &str) -> Vec<u8> {
    let byte = [*random.pick(b":+-*%~>|_#,(!=;.\r\n\0\x01\x80\xffaA0 ")];
    let text: &[u8] = pick(random, &[b"4\r\nPING\r\n", b"1\r\n", b"1\r", b"1", b"\r\n", b"\n\n"]);
    let first: &[u8] = pick(random, &[b"", b"$4\r\nECHO\r\n", b"$0\r\n\r\n"]);
    let odd = [b"*3\r\n", first, &byte, text].concat();
    around(&odd, random, key)
}

fn inline(random: &mut Choices, key: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=random.below(4) {
        let word: &[u8] = pick(random, &[b"PING", b"ECHO", b"GET", b"NOSUCH", b"", b"\"PING\""]);
        bytes.extend(word);
        bytes.push(*random.pick(b"  \t\r\x0b'"));
        for _ in 0..random.below(12) {
            bytes.push(*random.pick(b"\"\"''\\\\xX41abtnr \t\r\x0b\x0c\xff\x01"));
        }
        if random.chance(20) {
            bytes.extend(key.as_bytes());
        }
        let end: &[u8] = pick(random, &[b"\r\n", b"\n", b"\r\r\n", b" \n", b"\"\r\n"]);
        bytes.extend(end);
    }
    bytes
}

fn nul(random: &mut Choices, key: &str) -> Vec<u8> {
    let mut bytes = if random.chance(50) { inline(random, key) } else { pipeline(random, key, 20) };
    for _ in 0..=random.below(2) {
        bytes.insert(random.below(bytes.len() + 1), 0);
    }
    bytes
}

fn silence(random: &mut Choices, key: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=random.below(6) {
        let modes: [&[u8]; 5] = [
            b"CLIENT REPLY SKIP\r\n",
            b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nskip\r\n",
            b"CLIENT REPLY OFF\r\n",
            b"CLIENT REPLY ON\r\n",
            b"CLIENT REPLY NO\r\n",
        ];
        match random.below(10) {
            0..4 => bytes.extend(*random.pick(&modes)),
            4..7 => bytes.extend(*random.pick(&NOTHINGS)),
            7 => bytes.extend(inline(random, key)),
            _ => bytes.extend(pipeline(random, key, 10)),
        }
    }
    bytes
}

fn http(random: &mut Choices, key: &str) -> Vec<u8> {
    let lines: [&[u8]; 13] = [
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\nPING\r\n",
        b"post\r\n",
        b"Host: localhost\r\nPING\r\n",
        b"host:\n",
        b"Host:localhost\r\nPING\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nPING\r\n",
        b"\"POST\" x\r\n",
        b"\"pOsT\\x00y\" x\r\nPING\r\n",
        b"*2\r\n$4\r\nPOST\r\n$1\r\nx\r\nPING\r\n",
        b"*2\r\n$4\r\nPOST\r\n$1\r\n",
        b"*1\r\n$5\r\nHOST:\r\n",
        b"*2\r\n$4\r\nPOST\r\n:1\r\n",
        b"*1\r\n$6\r\npost\0x\r\nPING\r\n",
    ];
    let line = *random.pick(&lines);
    if random.chance(40) { [&pipeline(random, key, 0)[..], line].concat() } else { line.to_vec() }
}

fn mutated(random: &mut Choices, key: &str) -> Vec<u8> {
    let mut bytes = match random.below(4) {
        0 => inline(random, key),
        1 => nothing(random, key),
        _ => pipeline(random, key, 10),
    };
    for _ in 0..=random.below(4) {
        let (one, other) = (random.below(bytes.len() + 1), random.below(bytes.len() + 1));
        let part = one.min(other)..one.max(other);
        match random.below(5) {
            0 => bytes.insert(one, *random.pick(b"\0\r\n \"'\\*$+-:0129x\xff")),
            1 if one < bytes.len() => bytes[one] ^= 1 << random.below(8),
            2 if part.len() < 12 => drop(bytes.drain(part)),
            3 => bytes.extend_from_within(part),
            _ if one < bytes.len() => bytes[one] = *random.pick(b"\0\r\n*$19 "),
            _ => {}
        }
    }
    bytes
}

fn random_bytes(random: &mut Choices, _key: &str) -> Vec<u8> {
    let alphabets: [&[u8]; 3] =
        [b"*$123\r\n", b"*$1\r\nPING \0", b"\0\x01\r\n\t \"'\\ab\x80\xfe\xff*$:"];
    let alphabet = random.pick(&alphabets);
    (0..random.below(40)).map(|_| *random.pick(alphabet)).collect()
}

fn tls(random: &mut Choices, _key: &str) -> Vec<u8> {
    let mut bytes = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec();
    bytes.extend((0..200).map(|_| random.below(256).to_le_bytes()[0]));
    bytes
}

/// Lines that do not end, up to and beyond the limit; and such as end below it.
fn long_line(random: &mut Choices, key: &str) -> Vec<u8> {
    let begin: &[u8] = pick(random, &[b"*", b"*1\r\n$", b"*1\r\n", b"PING ", b"\"", b"PING\0"]);
    let length =
        *random.pick(&[LINE_BYTES - 50, LINE_BYTES, LINE_BYTES + 1, LINE_BYTES + 50, 100_000]);
    let fill = *random.pick(b"1a\n\0 ");
    let mut bytes = [&pipeline(random, key, 0)[..], begin, &vec![fill; length]].concat();
    if length < LINE_BYTES {
        let end: &[u8] = pick(random, &[b"\r\n", b"\n", b"\r"]);
        bytes.extend(end);
        bytes.extend(pipeline(random, key, 0));
    }
    bytes
}

/// Arguments that respgate does not store, with odd ends and with something broken behind them.
fn large(random: &mut Choices, key: &str) -> Vec<u8> {
    let value = vec![b'v'; 66_000 + random.below(9000)];
    let words: &[&[u8]] = match random.below(6) {
        0 => &[b"SET", key.as_bytes(), &value],
        1 => &[b"ECHO", &value],
        2 => &[b"MSET", key.as_bytes(), &value, key.as_bytes(), &value],
        3 => &[b"GET", key.as_bytes(), &value],
        4 => &[b"APPEND", key.as_bytes(), &value],
        _ => &[b"DEL", &value, key.as_bytes(), b"x"],
    };
    let words: Vec<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
    let mut bytes = pipeline(random, key, 0);
    let begin = bytes.len();
    bytes.extend(array(&words, random, 30));
    match random.below(3) {
        0 => {}
        1 => {
            // A header behind the large argument, or what should be one.
            let near = bytes.len() - 1 - random.below(24.min(bytes.len() - begin - 1));
            bytes[near] = *random.pick(b"\0\r\n*$19 ");
        }
        _ => bytes.truncate(bytes.len() - random.below(30)),
    }
    if random.chance(50) {
        bytes.extend(pipeline(random, key, 0));
    }
    bytes
}
