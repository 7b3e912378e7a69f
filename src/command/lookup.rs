//! From the first arguments of a request to the entry of the table.
//!
//! Owns: the numbered table and its index. Never knows: what a command means.

use super::table::ROWS;
use super::{
    Categories, CommandId, Cost, Effect, Flags, KeySpec, Miss, Reach, ReplyNames, Spec, Stores,
    TtlEffect,
};
use crate::resp::Request;

/// How many commands and subcommands there are.
pub(crate) const COMMANDS: usize = ROWS.len();
/// No name of a command or subcommand is longer.
const NAME_BYTES_MAX: usize = 32;
/// Places of the index: a power of two, with at least three of four empty.
const PLACES: usize = 2048;
const EMPTY: u16 = u16::MAX;
/// The container of a command that is not a subcommand.
const NONE: u16 = u16::MAX;

const _: () = assert!(COMMANDS * 4 <= PLACES);

/// The command that a request names.
#[derive(Clone, Copy, Debug)]
pub enum Lookup {
    Command(&'static Spec),
    /// The container exists, its subcommand does not.
    UnknownSubcommand(&'static Spec),
    Unknown,
}

/// Finds the command that a request names, in any letter case. A container without a second
/// argument is found itself, as the servers do it.
#[must_use]
pub fn lookup(request: &Request<'_>) -> Lookup {
    let Some(spec) = request.arg(0).and_then(|name| find(NONE, name)) else {
        return Lookup::Unknown;
    };
    if !spec.container || request.len() < 2 {
        return Lookup::Command(spec);
    }
    match request.arg(1).and_then(|name| find(spec.id.0, name)) {
        Some(subcommand) => Lookup::Command(subcommand),
        None => Lookup::UnknownSubcommand(spec),
    }
}

/// Finds a command by the name it has in the table (`get`, `config|get`), in any letter case.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Spec> {
    match name.split_once('|') {
        None => find(NONE, name.as_bytes()),
        Some((container, word)) => {
            let container = find(NONE, container.as_bytes())?;
            find(container.id.0, word.as_bytes())
        }
    }
}

/// Every command; each is at the index of its id.
#[must_use]
pub fn all() -> &'static [Spec] {
    &TABLE
}

/// A name in lower case, filled up with zeros, for comparing and hashing without a loop.
type Letters = [u8; NAME_BYTES_MAX];

/// What is compared for a command: its own word, without that of its container.
#[derive(Clone, Copy)]
struct Entry {
    letters: Letters,
    len: usize,
    parent: u16,
}

fn find(parent: u16, word: &[u8]) -> Option<&'static Spec> {
    let mut letters: Letters = [0; NAME_BYTES_MAX];
    letters.get_mut(..word.len())?.copy_from_slice(word);
    letters.make_ascii_lowercase();
    let mut place = hash(parent, word.len(), &letters);
    loop {
        let id = usize::from(*INDEX.get(place)?);
        let entry = ENTRIES.get(id)?;
        if entry.letters == letters && entry.len == word.len() && entry.parent == parent {
            return TABLE.get(id);
        }
        place = (place + 1) % PLACES;
    }
}

/// Spreads names over the places of the index.
#[allow(clippy::cast_possible_truncation, reason = "the top bits are kept on purpose")]
const fn hash(parent: u16, len: usize, letters: &Letters) -> usize {
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut state = parent as u64 ^ ((len as u64) << 32);
    let mut rest = letters.as_slice();
    // Eight letters at a time, as many as the name has.
    let mut done = 0;
    while done < len
        && let Some((chunk, after)) = rest.split_first_chunk::<8>()
    {
        state = (state.rotate_left(32) ^ u64::from_le_bytes(*chunk)).wrapping_mul(SPREAD);
        rest = after;
        done += 8;
    }
    (state >> (64 - PLACES.trailing_zeros())) as usize
}

/// The name without its container.
pub(super) const fn last_word(name: &str) -> &[u8] {
    let mut rest = name.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'|' {
            return rest;
        }
    }
    name.as_bytes()
}

static TABLE: [Spec; COMMANDS] = number();
static ENTRIES: [Entry; COMMANDS] = entries();
static INDEX: [u16; PLACES] = index();

/// Gives every row its id, and its parent to every subcommand.
#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::panic,
    reason = "runs in the compiler: a mistake of the table does not compile"
)]
const fn number() -> [Spec; COMMANDS] {
    const BLANK: Spec = Spec {
        id: CommandId(0),
        name: "",
        arity: 0,
        flags: Flags::from_bits(0),
        categories: Categories::from_bits(0),
        keys: &[] as &[KeySpec],
        effect: Effect::Shared,
        reach: Reach::Named,
        stores: Stores::Nothing,
        lifetime: TtlEffect::Untouched,
        names: ReplyNames::Errors,
        script: None,
        cost: Cost::Linear,
        miss: Miss::No,
        everywhere: false,
        parent: None,
        container: false,
    };
    let mut table = [BLANK; COMMANDS];
    let mut container = None;
    let mut i = 0;
    while i < COMMANDS {
        let row = &ROWS[i];
        let own_word = last_word(row.name);
        assert!(own_word.len() <= NAME_BYTES_MAX, "a name is too long");
        let subcommand = own_word.len() < row.name.len();
        if !subcommand {
            container = Some(i);
        }
        table[i] = Spec {
            id: CommandId(i as u16),
            name: row.name,
            arity: row.arity,
            flags: Flags::from_bits(row.flags),
            categories: Categories::from_bits(row.categories),
            keys: row.keys,
            effect: row.effect,
            reach: row.reach,
            stores: row.stores,
            lifetime: row.lifetime,
            names: row.names,
            script: row.script,
            cost: row.cost,
            miss: row.miss,
            everywhere: row.everywhere,
            parent: None,
            container: false,
        };
        if subcommand {
            let Some(parent) = container else { panic!("a subcommand without a container") };
            table[parent].container = true;
            table[i].parent = Some(CommandId(parent as u16));
        }
        i += 1;
    }
    table
}

#[allow(clippy::indexing_slicing, reason = "runs in the compiler")]
const fn entries() -> [Entry; COMMANDS] {
    let mut entries = [Entry { letters: [0; NAME_BYTES_MAX], len: 0, parent: NONE }; COMMANDS];
    let table = number();
    let mut i = 0;
    while i < COMMANDS {
        let word = last_word(table[i].name);
        let mut at = 0;
        while at < word.len() {
            assert!(!word[at].is_ascii_uppercase(), "names are in lower case");
            entries[i].letters[at] = word[at];
            at += 1;
        }
        entries[i].len = word.len();
        if let Some(CommandId(parent)) = table[i].parent {
            entries[i].parent = parent;
        }
        i += 1;
    }
    entries
}

#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "runs in the compiler"
)]
const fn index() -> [u16; PLACES] {
    let mut index = [EMPTY; PLACES];
    let entries = entries();
    let mut i = 0;
    while i < COMMANDS {
        let entry = &entries[i];
        let mut place = hash(entry.parent, entry.len, &entry.letters);
        while index[place] != EMPTY {
            place = (place + 1) % PLACES;
        }
        index[place] = i as u16;
        i += 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::RequestBuf;

    fn found(line: &str) -> &'static str {
        let request = RequestBuf::from_args(line.split(' '));
        match lookup(&request.as_request()) {
            Lookup::Command(spec) => spec.name,
            Lookup::UnknownSubcommand(_) => "unknown subcommand",
            Lookup::Unknown => "unknown",
        }
    }

    #[test]
    fn names_are_found_in_any_case_and_only_whole() {
        assert_eq!(found("GET k"), "get");
        assert_eq!(found("gEt k"), "get");
        assert_eq!(found("GETS k"), "unknown");
        assert_eq!(found("GE k"), "unknown");
        assert_eq!(found(" GET k"), "unknown");
        assert_eq!(found(" k"), "unknown");
        assert_eq!(found("GET\0 k"), "unknown");
        assert_eq!(found("restore-asking k"), "restore-asking");
        // Bytes that differ from a letter in the same bit as the letter's two cases do.
        assert_eq!(found("RESTORE\rASKING k"), "unknown");
        assert_eq!(found("GEORADIUS\x7fRO k"), "unknown");
        assert_eq!(found(&"G".repeat(33)), "unknown");
        assert_eq!(found(&format!("{}{}", "get", "\0".repeat(30))), "unknown");
    }

    #[test]
    fn subcommands_are_found_under_their_container() {
        assert_eq!(found("CONFIG Get x"), "config|get");
        assert_eq!(found("ACL GETUSER x"), "acl|getuser");
        assert_eq!(found("CONFIG GETUSER x"), "unknown subcommand");
        assert_eq!(found("CONFIG  x"), "unknown subcommand");
        assert_eq!(found("CONFIG|GET x"), "unknown");
        assert_eq!(found("CONFIG"), "config");
        assert_eq!(found("COMMAND"), "command");
        assert_eq!(found(&format!("CONFIG {}", "G".repeat(33))), "unknown subcommand");
        // Not a container: its second argument is an argument.
        assert_eq!(found("DEBUG OBJECT k"), "debug");
        assert_eq!(found("GET GET"), "get");
    }

    #[test]
    fn every_entry_is_found_at_its_place() {
        for (place, spec) in all().iter().enumerate() {
            assert_eq!(usize::from(spec.id.0), place);
            assert_eq!(by_name(spec.name).map(|found| found.id), Some(spec.id), "{}", spec.name);
            assert_eq!(by_name(&spec.name.to_uppercase()).map(|found| found.id), Some(spec.id));
            match spec.name.split_once('|') {
                None => assert!(spec.parent.is_none()),
                Some((container, _)) => {
                    let parent = &all()[usize::from(spec.parent.unwrap().0)];
                    assert_eq!(parent.name, container);
                    assert!(parent.container);
                }
            }
        }
        assert!(by_name("config|nothing").is_none());
        assert!(by_name("get|get").is_none());
    }
}
