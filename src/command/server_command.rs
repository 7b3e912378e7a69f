//! The server's own `COMMAND` reply: what can be learned from it, and where it contradicts the table.
//!
//! Owns: [`ServerCommand`], [`learn`], [`differences`]. Never knows: when a server is asked.
//!
//! Only commands that are safe without review are learned: those that read or write data, and whose keys, if the
//! server describes any, are described completely and in a form that [`KeySpec`] has. All else stays unknown.

use super::definition::Definition;
use super::dictionary::NAME_BYTES_MAX;
use super::lookup::by_name;
use super::{Access, Categories, Effect, Flags, KeyKind, KeySpec, Spec};
use crate::base::limits;
use crate::config::ReplyKeys;
use crate::resp::{Protocol, ReplyScanner, Value};

/// One command or subcommand as the server's `COMMAND` reply describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerCommand {
    name: String,
    arity: i16,
    flags: Flags,
    /// The categories that rules can name.
    categories: Categories,
    /// A flag that respgate does not know.
    strange: bool,
    /// Why its keys are not known, unless they are.
    keys: Result<Vec<KeySpec>, &'static str>,
    container: bool,
}

/// Reads a reply to `COMMAND` (RESP2); `None` when it is no such reply. An entry that cannot be
/// read is left out. Entry after entry is decoded: the whole would take megabytes.
#[must_use]
pub(crate) fn describe(reply: &[u8]) -> Option<Vec<ServerCommand>> {
    let line = reply.split(|byte| *byte == b'\r').next()?;
    line.strip_prefix(b"*")?;
    let mut rest = reply.get(line.len() + 2..)?;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let advance = ReplyScanner::default().advance(rest).ok().filter(|advance| advance.done)?;
        let (entry, behind) = rest.split_at_checked(advance.used)?;
        rest = behind;
        let Ok(entry) = Value::decode(entry, Protocol::Resp2) else { continue };
        take_entry(&entry, &mut found);
    }
    Some(found)
}

fn take_entry(entry: &Value, found: &mut Vec<ServerCommand>) {
    let Some(fields) = entry.elements() else { return };
    let subcommands = fields.get(9).and_then(Value::elements).unwrap_or_default();
    found.extend(entry_of(fields, !subcommands.is_empty()));
    let fields = subcommands.iter().filter_map(Value::elements);
    found.extend(fields.filter_map(|fields| entry_of(fields, false)));
}

fn entry_of(fields: &[Value], container: bool) -> Option<ServerCommand> {
    let name = fields.first()?.as_bytes()?;
    let name = str::from_utf8(name).ok()?.to_ascii_lowercase();
    let mut parts = name.split('|');
    let fits = parts.all(|part| {
        (1..=NAME_BYTES_MAX).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_graphic())
    });
    if !fits || name.split('|').count() > 2 {
        return None;
    }
    let arity = i16::try_from(fields.get(1)?.as_i64()?).ok().filter(|arity| *arity != 0)?;
    let (mut flags, mut strange) = (Flags::default(), false);
    for word in words(fields.get(2)?) {
        match Flags::from_name(word) {
            Some(flag) => flags = flags.with(flag),
            None => strange = true,
        }
    }
    let mut categories = Categories::default();
    for word in fields.get(6).map(words).unwrap_or_default() {
        let known = word.strip_prefix('@').and_then(Categories::from_name);
        categories = categories.with(known.unwrap_or_default());
    }
    let keys = fields.get(8).map_or(Err("the server describes no key specifications"), all_keys);
    Some(ServerCommand { name, arity, flags, categories, strange, keys, container })
}

fn words(value: &Value) -> Vec<&str> {
    let elements = value.elements().unwrap_or_default().iter();
    elements.filter_map(|word| str::from_utf8(word.as_bytes()?).ok()).collect()
}

fn all_keys(specs: &Value) -> Result<Vec<KeySpec>, &'static str> {
    let mut keys = Vec::new();
    for spec in specs.elements().ok_or("key specifications in an unknown form")? {
        keys_of(spec, &mut keys)?;
    }
    Ok(keys)
}

/// One specification (server.h, `keySpec`; db.c, `getKeysUsingKeySpecs`).
fn keys_of(spec: &Value, keys: &mut Vec<KeySpec>) -> Result<(), &'static str> {
    let flags = spec.get("flags").map(words).ok_or("a key specification without flags")?;
    let has = |flag: &str| flags.iter().any(|word| word.eq_ignore_ascii_case(flag));
    if has("incomplete") || has("variable_flags") {
        return Err("a key specification that is incomplete");
    }
    if has("not_key") {
        return Err("a key specification of what is no key");
    }
    let part = |part: &str| {
        let part = spec.get(part)?;
        let number = |name: &str| part.get("spec").and_then(|spec| spec.get(name)?.as_i64());
        Some((part.get("type")?.as_bytes()?.to_vec(), number))
    };
    let unknown = "a key specification that is unknown, or of a form that is not supported";
    let (begin, number) = part("begin_search").ok_or(unknown)?;
    let position = number("index").filter(|_| begin == b"index").ok_or(unknown)?;
    let first = usize::try_from(position).ok().filter(|first| *first > 0).ok_or(unknown)?;
    let write = has("insert") || has("update") || has("delete");
    let (kind, access) = (KeyKind::Key, Access { read: has("access"), write });
    let (find, number) = part("find_keys").ok_or(unknown)?;
    let size = |name: &str| number(name).and_then(|number| usize::try_from(number).ok());
    match find.as_slice() {
        b"range" => {
            let step = size("keystep").filter(|step| *step > 0).ok_or(unknown)?;
            let last = number("lastkey").ok_or(unknown)?;
            if let Ok(spare) = usize::try_from(-1 - last) {
                if number("limit").is_some_and(|limit| limit > 1) {
                    return Err(unknown);
                }
                keys.push(KeySpec::Span { first, step, spare, least: 1, kind, access });
            } else if last < limits::COMMAND_SINGLE_KEYS_MAX {
                let last = first + usize::try_from(last).unwrap_or_default();
                let args = (first..=last).step_by(step);
                keys.extend(args.map(|arg| KeySpec::At { arg, kind, access }));
            } else {
                return Err(unknown);
            }
        }
        b"keynum" => {
            let (count, begin) = (size("keynumidx"), size("firstkey"));
            let step = size("keystep").filter(|step| *step > 0).ok_or(unknown)?;
            match (count, begin) {
                (Some(count), Some(begin)) if begin == count + 1 => {
                    keys.push(KeySpec::Counted { count: first + count, step, least: 0, access });
                }
                _ => return Err(unknown),
            }
        }
        _ => return Err(unknown),
    }
    Ok(())
}

/// What a server's description adds to the table.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    pub definitions: Vec<Definition>,
    /// Commands that stay unknown, and why.
    pub refused: Vec<(String, &'static str)>,
}

/// The commands that the table does not have.
#[must_use]
pub(crate) fn learn(described: &[ServerCommand]) -> Learned {
    let mut learned = Learned::default();
    for command in described {
        let head = command.name.split('|').next().unwrap_or_default();
        if by_name(head).is_some() {
            continue;
        }
        match definition(command) {
            Ok(definition) => learned.definitions.push(definition),
            Err(why) => learned.refused.push((command.name.clone(), why)),
        }
    }
    learned
}

fn definition(command: &ServerCommand) -> Result<Definition, &'static str> {
    let ServerCommand { name, arity, flags, categories, strange, keys, container } = command;
    if *container {
        // Only its subcommands can be asked for.
        return Ok(Definition { categories: *categories, ..Definition::container(name) });
    }
    let about_connection = Flags::NO_AUTH
        .with(Flags::NO_MULTI)
        .with(Flags::PUBSUB)
        .with(Flags::BLOCKING)
        .with(Flags::SENTINEL)
        .with(Flags::ONLY_SENTINEL);
    let of_connections = Categories::PUBSUB
        .with(Categories::BLOCKING)
        .with(Categories::CONNECTION)
        .with(Categories::TRANSACTION);
    if flags.intersects(about_connection) || categories.intersects(of_connections) {
        return Err("it waits, or is about the connection");
    }
    if categories.has(Categories::SCRIPTING) {
        return Err("it runs scripts");
    }
    if *strange {
        return Err("a flag that is not known");
    }
    if flags.has(Flags::READONLY) == flags.has(Flags::WRITE) {
        return Err("it neither reads nor writes data, or both");
    }
    let keys = keys.clone()?;
    let counted = |key: &KeySpec| matches!(key, KeySpec::Counted { .. });
    if flags.has(Flags::MOVABLEKEYS) && !keys.iter().any(counted) {
        return Err("its keys can be where no specification has them");
    }
    let keys = if keys.is_empty() { vec![KeySpec::Unknown] } else { keys };
    Ok(Definition {
        name: name.clone(),
        arity: *arity,
        flags: flags.with(Flags::MODULE),
        categories: *categories,
        keys,
        effect: Effect::Shared,
        reply_keys: ReplyKeys::None,
    })
}

/// Where the server describes a command otherwise than the table does: each difference as a line for
/// people.
#[must_use]
pub(crate) fn differences(described: &[ServerCommand]) -> Vec<String> {
    let known = described.iter().filter_map(|command| Some((by_name(&command.name)?, command)));
    known.filter_map(|(spec, command)| difference(spec, command)).collect()
}

fn difference(spec: &Spec, command: &ServerCommand) -> Option<String> {
    let ServerCommand { name, flags, arity, .. } = command;
    for flag in [Flags::WRITE, Flags::READONLY] {
        if flags.has(flag) != spec.flags.has(flag) {
            let word = flag.name().unwrap_or_default();
            let (server, table) = if flags.has(flag) { ("", "not ") } else { ("not ", "") };
            return Some(format!("{name}: {server}{word} at the server, {table}{word} here"));
        }
    }
    for flag in [Flags::BLOCKING, Flags::PUBSUB] {
        if flags.has(flag) && !spec.flags.has(flag) {
            let word = flag.name().unwrap_or_default();
            return Some(format!("{name}: {word} at the server, not here"));
        }
    }
    if !covers_arity(spec.arity, *arity) {
        return Some(format!("{name}: arity {arity} at the server, {} here", spec.arity));
    }
    // What the server itself calls incomplete is described by the table in a form of its own.
    let theirs = command.keys.as_ref().ok()?;
    let special = |key: &KeySpec| {
        !matches!(key, KeySpec::At { .. } | KeySpec::Span { .. } | KeySpec::Counted { .. })
    };
    if spec.keys.iter().any(special) {
        return None;
    }
    let missing = theirs.iter().find(|their| !spec.keys.iter().any(|own| covers(own, their)))?;
    Some(format!("{name}: the server finds keys at {missing:?}"))
}

/// Whether every number of arguments that the server accepts is accepted here.
const fn covers_arity(own: i16, their: i16) -> bool {
    if own < 0 { their.unsigned_abs() >= own.unsigned_abs() } else { their == own }
}

/// Whether two specifications mean the same, but for how many keys there must be at least.
fn covers(own: &KeySpec, their: &KeySpec) -> bool {
    let free = |mut key: KeySpec| {
        if let KeySpec::Span { least, .. } | KeySpec::Counted { least, .. } = &mut key {
            *least = 0;
        }
        key
    };
    free(*own) == free(*their)
}

#[cfg(test)]
mod tests;
