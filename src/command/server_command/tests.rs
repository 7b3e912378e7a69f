//! Descriptions that servers give, and those that none should.
//!
//! Owns: cases. Never knows: a server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may crash")]

use super::*;

fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

fn list(words: &str) -> Value {
    Value::Array(words.split_whitespace().map(|word| Value::Simple(word.into())).collect())
}

/// Pairs of a name and a number, as RESP2 has a map.
fn map(pairs: &[(&str, i64)]) -> Value {
    let pairs = pairs.iter().flat_map(|(name, number)| [bulk(name), Value::Integer(*number)]);
    Value::Array(pairs.collect())
}

/// A specification: flags, how it begins, how it goes on.
type Spec<'a> = (&'a str, (&'a str, &'a [(&'a str, i64)]), (&'a str, &'a [(&'a str, i64)]));

fn key_spec((flags, begin, find): &Spec<'_>) -> Value {
    let part = |(kind, spec): (&str, &[(&str, i64)])| {
        Value::Array(vec![bulk("type"), bulk(kind), bulk("spec"), map(spec)])
    };
    Value::Array(vec![
        bulk("flags"),
        list(flags),
        bulk("begin_search"),
        part(*begin),
        bulk("find_keys"),
        part(*find),
    ])
}

fn entry(
    name: &str,
    arity: i64,
    flags: &str,
    categories: &str,
    keys: &[Spec<'_>],
    subcommands: Vec<Value>,
) -> Value {
    let none = || Value::Integer(0);
    Value::Array(vec![
        bulk(name),
        Value::Integer(arity),
        list(flags),
        none(),
        none(),
        none(),
        list(categories),
        Value::Array(Vec::new()),
        Value::Array(keys.iter().map(key_spec).collect()),
        Value::Array(subcommands),
    ])
}

const AT_ONE: (&str, &[(&str, i64)]) = ("index", &[("index", 1)]);
const ONE_KEY: (&str, &[(&str, i64)]) = ("range", &[("lastkey", 0), ("keystep", 1), ("limit", 0)]);
const TO_END: (&str, &[(&str, i64)]) = ("range", &[("lastkey", -1), ("keystep", 2), ("limit", 0)]);

/// The reply of a server that describes these entries.
fn reply_of(entries: &[Value]) -> Vec<ServerCommand> {
    let mut found = Vec::new();
    entries.iter().for_each(|entry| take_entry(entry, &mut found));
    found
}

fn learned(entries: Vec<Value>) -> Learned {
    learn(&reply_of(&entries))
}

/// The keys of a command with these specifications, or why it stays unknown.
fn keys(flags: &str, specs: &[Spec<'_>]) -> Result<Vec<KeySpec>, &'static str> {
    let learned = learned(vec![entry("x.y", -2, flags, "@slow", specs, Vec::new())]);
    match (learned.definitions.first(), learned.refused.first()) {
        (Some(definition), None) => Ok(definition.keys.clone()),
        (None, Some((_, why))) => Err(why),
        _ => panic!("{learned:?}"),
    }
}

#[test]
fn specifications_that_are_complete() {
    let kind = KeyKind::Key;
    let (read, write) = (Access::READ, Access::WRITE);
    let at = |arg, access| KeySpec::At { arg, kind, access };
    assert_eq!(keys("readonly", &[("RO access", AT_ONE, ONE_KEY)]), Ok(vec![at(1, read)]));
    assert_eq!(keys("write", &[("OW update", AT_ONE, ONE_KEY)]), Ok(vec![at(1, write)]));
    assert_eq!(keys("write", &[("RM delete", AT_ONE, ONE_KEY)]), Ok(vec![at(1, write)]));
    assert_eq!(keys("readonly", &[("RO", AT_ONE, ONE_KEY)]), Ok(vec![at(1, Access::NONE)]));
    let span = |spare, access| KeySpec::Span { first: 1, step: 2, spare, least: 1, kind, access };
    let both = Access::READ_WRITE;
    assert_eq!(keys("write", &[("RW access update", AT_ONE, TO_END)]), Ok(vec![span(0, both)]));
    let spare = ("range", &[("lastkey", -2), ("keystep", 2), ("limit", 1)][..]);
    assert_eq!(keys("write", &[("OW insert", AT_ONE, spare)]), Ok(vec![span(1, write)]));
    let three = ("range", &[("lastkey", 4), ("keystep", 2), ("limit", 0)][..]);
    let expected = vec![at(1, read), at(3, read), at(5, read)];
    assert_eq!(keys("readonly", &[("RO access", AT_ONE, three)]), Ok(expected));
    let counted = ("keynum", &[("keynumidx", 0), ("firstkey", 1), ("keystep", 1)][..]);
    let expected = KeySpec::Counted { count: 1, step: 1, least: 0, access: read };
    assert_eq!(keys("readonly movablekeys", &[("RO access", AT_ONE, counted)]), Ok(vec![expected]));
    // A command without a description stays unknown.
    assert_eq!(keys("readonly", &[]), Ok(vec![KeySpec::Unknown]));
}

#[test]
fn commands_described_incompletely_stay_unknown() {
    let unknown = "a key specification that is unknown, or of a form that is not supported";
    let partial = "a key specification that is incomplete";
    let keyword = ("keyword", &[("startfrom", 1)][..]);
    let nothing = ("unknown", &[][..]);
    let half = ("range", &[("lastkey", -1), ("keystep", 1), ("limit", 2)][..]);
    let gap = ("keynum", &[("keynumidx", 0), ("firstkey", 2), ("keystep", 1)][..]);
    let still = ("range", &[("lastkey", -1), ("keystep", 0), ("limit", 0)][..]);
    let many = ("range", &[("lastkey", 1_000_000), ("keystep", 1), ("limit", 0)][..]);
    let before = ("index", &[("index", 0)][..]);
    for (spec, why) in [
        (("RO access", keyword, ONE_KEY), unknown),
        (("RO access", nothing, ONE_KEY), unknown),
        (("RO access", before, ONE_KEY), unknown),
        (("RO access", AT_ONE, nothing), unknown),
        (("RO access", AT_ONE, half), unknown),
        (("RO access", AT_ONE, gap), unknown),
        (("RO access", AT_ONE, still), unknown),
        (("RO access", AT_ONE, many), unknown),
        (("RO access incomplete", AT_ONE, ONE_KEY), partial),
        (("RO access variable_flags", AT_ONE, ONE_KEY), partial),
        (("not_key", AT_ONE, ONE_KEY), "a key specification of what is no key"),
    ] {
        assert_eq!(keys("readonly", &[spec]), Err(why), "{spec:?}");
        assert_eq!(keys("readonly", &[("RO access", AT_ONE, ONE_KEY), spec]), Err(why), "{spec:?}");
    }
    let moves = "its keys can be where no specification has them";
    assert_eq!(keys("readonly movablekeys", &[("RO access", AT_ONE, ONE_KEY)]), Err(moves));
    assert_eq!(keys("readonly movablekeys", &[]), Err(moves));
    // A server older than Redis 7 ends before them.
    let Value::Array(mut fields) = entry("x.y", -2, "readonly", "", &[], Vec::new()) else {
        panic!()
    };
    fields.truncate(7);
    let old = learned(vec![Value::Array(fields)]);
    assert_eq!(old.refused[..], [("x.y".to_owned(), "the server describes no key specifications")]);
}

#[test]
fn commands_that_change_a_connection_are_never_learned() {
    let spec = [("RO access", AT_ONE, ONE_KEY)];
    for flags in [
        "readonly no_auth",
        "readonly no_multi",
        "readonly pubsub",
        "readonly blocking",
        "readonly new_flag",
        "readonly write",
        "fast",
        "",
    ] {
        assert!(keys(flags, &spec).is_err(), "{flags}");
    }
    for category in ["@scripting", "@connection", "@transaction", "@pubsub", "@blocking"] {
        let entries = vec![entry("x.y", -2, "readonly", category, &spec, Vec::new())];
        assert_eq!(learned(entries).definitions, [], "{category}");
    }
    assert!(keys("readonly fast loading stale", &spec).is_ok());
}

#[test]
fn commands_outside_the_table_alone_are_learned() {
    let spec = [("RO access", AT_ONE, ONE_KEY)];
    let sub = |name: &str, flags: &str| entry(name, -3, flags, "", &spec, Vec::new());
    let described = reply_of(&[
        entry("GET", 2, "readonly", "", &spec, Vec::new()),
        entry("config", -2, "", "", &[], vec![sub("config|new", "readonly")]),
        entry(
            "FT.X",
            -2,
            "",
            "@slow @own",
            &[],
            vec![sub("ft.x|GET", "readonly fast"), sub("ft.x|move", "blocking readonly")],
        ),
        entry("bad name", 2, "readonly", "", &spec, Vec::new()),
        entry("a|b|c", 2, "readonly", "", &spec, Vec::new()),
        entry("zero", 0, "readonly", "", &spec, Vec::new()),
        Value::Integer(1),
        Value::Array(Vec::new()),
    ]);
    let learned = learn(&described);
    let names: Vec<&str> = learned.definitions.iter().map(|own| own.name.as_str()).collect();
    assert_eq!(names, ["ft.x", "ft.x|get"]);
    assert_eq!(learned.definitions.first().unwrap().categories, Categories::SLOW);
    assert_eq!(learned.refused.len(), 1, "{:?}", learned.refused);
    for no in [&b":1\r\n"[..], b"-NOPERM no\r\n", b"*1\r\n$3\r\nab", b"*", b""] {
        assert_eq!(describe(no), None, "{no:?}");
    }
    let reply =
        b"*3\r\n*7\r\n+x.y\r\n:2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n:7\r\n*0\r\n";
    let described = describe(reply).unwrap();
    assert_eq!(described.len(), 1);
    assert_eq!(described.first().unwrap().name, "x.y");
}

#[test]
fn differences_from_the_table() {
    let line = |entry: Value| {
        let found = differences(&reply_of(&[entry]));
        found.first().cloned().unwrap_or_default()
    };
    let get =
        |arity, flags: &str, spec: Spec<'_>| entry("get", arity, flags, "", &[spec], Vec::new());
    let read = ("RO access", AT_ONE, ONE_KEY);
    assert_eq!(line(get(2, "readonly fast", read)), "");
    assert_eq!(line(get(2, "", read)), "get: not readonly at the server, readonly here");
    assert_eq!(line(get(2, "readonly write", read)), "get: write at the server, not write here");
    assert_eq!(line(get(2, "readonly blocking", read)), "get: blocking at the server, not here");
    assert_eq!(line(get(-2, "readonly", read)), "get: arity -2 at the server, 2 here");
    assert!(line(get(2, "readonly", ("RW access update", AT_ONE, ONE_KEY))).contains("keys at"));
    assert!(line(get(2, "readonly", ("RO access", AT_ONE, TO_END))).contains("keys at"));
    // Narrower than the table.
    assert_eq!(line(entry("mget", -3, "readonly", "", &[], Vec::new())), "");
    assert_eq!(line(entry("never.declared", 2, "write", "", &[], Vec::new())), "");
}
