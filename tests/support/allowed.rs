//! The written list of differences between a server and a respgate before it, each with its reason.
//!
//! Owns: [`ALLOWED`], [`normalise`]. Never knows: where replies come from.

use super::client::reply_length;

/// What of a reply is still compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The type alone.
    Kind,
    /// All but the integer after the field `id`.
    AllButId,
    /// Of `name=value` text, all but the values of [`VARYING_FIELDS`].
    ClientFields,
    /// The names of the fields and sections of `INFO`.
    InfoNames,
}

/// One difference that is right.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// The first words of the command.
    pub command: &'static str,
    pub keep: Keep,
    pub why: &'static str,
}

const fn allowed(command: &'static str, keep: Keep, why: &'static str) -> Allowed {
    Allowed { command, keep, why }
}

/// The only differences that the comparing tests do not see.
pub const ALLOWED: &[Allowed] = &[
    allowed("HELLO", Keep::AllButId, "the id counts connections, and respgate has its own count"),
    allowed("CLIENT ID", Keep::Kind, "as the id of HELLO"),
    allowed(
        "CLIENT INFO",
        Keep::ClientFields,
        "ids, ports, ages, buffers are the connection's own",
    ),
    allowed("CLIENT LIST", Keep::Kind, "the connected clients differ on both sides"),
    allowed("CLIENT GETREDIR", Keep::Kind, "may be an id"),
    allowed("INFO", Keep::InfoNames, "figures of two processes"),
    allowed("TIME", Keep::Kind, "a clock"),
    allowed("LASTSAVE", Keep::Kind, "a clock"),
    allowed("TTL", Keep::Kind, "a clock; EXPIRETIME is compared"),
    allowed("PTTL", Keep::Kind, "a clock; PEXPIRETIME is compared"),
    allowed("RANDOMKEY", Keep::Kind, "chance"),
    allowed("SRANDMEMBER", Keep::Kind, "chance"),
    allowed("SPOP", Keep::Kind, "chance"),
    allowed("HRANDFIELD", Keep::Kind, "chance"),
    allowed("ZRANDMEMBER", Keep::Kind, "chance"),
    allowed("ACL GENPASS", Keep::Kind, "chance"),
    allowed("ACL LOG", Keep::Kind, "ages and client descriptions"),
    allowed("MEMORY STATS", Keep::Kind, "figures of two processes"),
    allowed("MEMORY DOCTOR", Keep::Kind, "figures of two processes"),
    allowed("SLOWLOG GET", Keep::Kind, "durations and client addresses"),
    allowed("SLOWLOG LEN", Keep::Kind, "how many commands were slow"),
    allowed("LATENCY DOCTOR", Keep::Kind, "figures of two processes"),
    allowed("LATENCY HISTOGRAM", Keep::Kind, "figures of two processes"),
    allowed("COMMAND", Keep::Kind, "the order follows the server's hash seed"),
    allowed("COMMAND INFO", Keep::Kind, "without names, the order follows the server's hash seed"),
    allowed("COMMAND LIST", Keep::Kind, "the order follows the server's hash seed"),
    allowed("COMMAND DOCS", Keep::Kind, "the order follows the server's hash seed"),
    allowed("SCAN", Keep::Kind, "cursors and order follow the server's hash seed"),
];

/// What respgate does differently on purpose, and no script sends.
pub const NOT_COMPARED: &[(&str, &str)] = &[
    ("a bulk string that does not end with CRLF", "refused; Redis skips any two bytes"),
    ("more than 1,048,576 arguments, or 64 MiB in one", "respgate's own limits are lower"),
];

/// Fields of `CLIENT INFO` whose values are the connection's own: numbers, ports, ages, memory.
const VARYING_FIELDS: &[&str] = &[
    "id",
    "addr",
    "laddr",
    "fd",
    "age",
    "idle",
    "flags",
    "qbuf",
    "qbuf-free",
    "argv-mem",
    "rbs",
    "rbp",
    "tot-mem",
    "tot-net-in",
    "tot-net-out",
    "tot-cmds",
];

/// The part of a reply that must be equal on both sides.
pub fn normalise(command: &[Vec<u8>], reply: &[u8]) -> Vec<u8> {
    if reply.starts_with(b"-") {
        return reply.to_vec();
    }
    let Some(allowed) = find(command) else { return reply.to_vec() };
    match allowed.keep {
        Keep::Kind => reply[..1].to_vec(),
        Keep::AllButId => without_id(reply),
        Keep::ClientFields => client_fields(reply),
        Keep::InfoNames => info_names(reply),
    }
}

/// The elements of the replies in the order of their bytes, for sets and the like.
pub fn in_any_order(replies: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut elements = Vec::new();
    for reply in replies {
        let mut at = reply.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
        let step = if reply[0] == b'%' { 2 } else { 1 };
        if !b"*~>%".contains(&reply[0]) {
            at = 0;
        }
        elements.push(reply[..at].to_vec());
        while at < reply.len() {
            let start = at;
            for _ in 0..step {
                at += reply_length(&reply[at..]).unwrap();
            }
            elements.push(reply[start..at].to_vec());
        }
    }
    elements.sort_unstable();
    elements
}

/// The longest entry whose words begin the command; `CONTAINER` alone covers no subcommand.
fn find(command: &[Vec<u8>]) -> Option<&'static Allowed> {
    let matches = |entry: &&Allowed| {
        let words: Vec<&str> = entry.command.split(' ').collect();
        words.len() <= command.len()
            && (entry.command != "COMMAND" || command.len() == 1)
            && words
                .iter()
                .zip(command)
                .all(|(word, got)| got.eq_ignore_ascii_case(word.as_bytes()))
    };
    ALLOWED.iter().filter(matches).max_by_key(|entry| entry.command.len())
}

fn without_id(reply: &[u8]) -> Vec<u8> {
    let mark = b"$2\r\nid\r\n:";
    let Some(at) = reply.windows(mark.len()).position(|window| window == mark) else {
        return reply.to_vec();
    };
    let (head, tail) = reply.split_at(at + mark.len());
    let digits = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
    [head, b"ID", &tail[digits..]].concat()
}

fn client_fields(reply: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body(reply)).replace("txt:", "");
    let lines = text.lines().map(|line| {
        let fields = line.split(' ').map(|field| {
            let name = field.split('=').next().unwrap();
            if VARYING_FIELDS.contains(&name) { name } else { field }
        });
        fields.collect::<Vec<_>>().join(" ")
    });
    [&reply[..1], lines.collect::<Vec<_>>().join("\n").as_bytes()].concat()
}

fn info_names(reply: &[u8]) -> Vec<u8> {
    const VARYING: &[&str] = &["cmdstat_", "errorstat_", "latency_percentiles_", "db", "io_thread"];
    let text = String::from_utf8_lossy(body(reply)).into_owned();
    let names = text.lines().filter_map(|line| {
        let name = line.split(':').next()?;
        (!VARYING.iter().any(|prefix| name.starts_with(prefix))).then_some(name)
    });
    [&reply[..1], names.collect::<Vec<_>>().join("\n").as_bytes()].concat()
}

/// The bytes after the header of a bulk or verbatim string.
fn body(reply: &[u8]) -> &[u8] {
    let head = reply.windows(2).position(|pair| pair == b"\r\n").map_or(0, |at| at + 2);
    &reply[head..]
}
