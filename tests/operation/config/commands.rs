//! `[commands]`: what is declared, and the words for each mistake.

use super::*;

#[test]
fn declared_commands() {
    let text = r#"
[commands]
learn = true
[commands.custom]
"TS.ADD" = { arity = -4, flags = ["WRITE"], keys = [{ at = 1, access = "write" }] }
[commands.custom."JSON.MGET"]
arity = -3
flags = ["readonly"]
categories = ["JSON"]
keys = [{ first = 1, step = 2, spare = 1, access = "read" }, { count = 3 }, { at = 9, channel = true }]
[commands.custom."ft.config|GET"]
arity = 3
keys = []
connection = "pinned"
"#;
    let commands = good(&format!("{MINIMAL}{text}")).commands;
    assert!(commands.learn);
    let names: Vec<&str> = commands.custom.iter().map(|own| own.name.as_str()).collect();
    assert_eq!(names, ["json.mget", "ts.add", "ft.config|get"]);
    let [mget, add, config] = &commands.custom[..] else { panic!("{names:?}") };
    assert_eq!((config.arity, config.pinned, config.keys.as_deref()), (3, true, Some(&[][..])));
    assert_eq!((&add.flags[..], add.categories.len()), (&["write".to_owned()][..], 0));
    assert_eq!(mget.categories, ["json"]);
    let place = |span, access, channel| KeyPlace { span, access, channel };
    assert_eq!(
        mget.keys.as_deref().unwrap(),
        [
            place(KeySpan::From { first: 1, step: 2, spare: 1 }, KeyAccess::Read, false),
            place(KeySpan::Counted { count: 3, step: 1 }, KeyAccess::ReadWrite, false),
            place(KeySpan::At(9), KeyAccess::ReadWrite, true),
        ]
    );
    let none = good(&format!("{MINIMAL}[commands.custom.X]\narity = 1"));
    assert_eq!(none.commands.custom[0].keys, None);
    assert_eq!(good(MINIMAL).commands, Commands::default());
}

#[test]
fn declared_commands_come_from_a_variable() {
    let value = "{ \"JSON.GET\" = { arity = -2, keys = [{ at = 1 }] } }";
    let variables = env(&[("RESPGATE__COMMANDS__CUSTOM", value)]);
    let config = parse(MINIMAL, "f", variables).unwrap();
    assert_eq!(config.commands.custom[0].name, "json.get");
}

#[test]
fn mistakes_of_declared_commands_are_at_their_place() {
    let keys = |keys: &str| format!("[commands.custom.\"X.Y\"]\narity = 2\nkeys = {keys}");
    let at = |column: usize, key: &str, problem: &str| {
        vec![format!("f:8:{column}: commands.custom.\"X.Y\".{key}: {problem}")]
    };
    for (text, expected) in [
        (keys("1"), at(8, "keys", "expected a list of tables")),
        (keys("[1]"), at(9, "keys.0", "expected a table")),
        (keys("[{}]"), at(9, "keys.0", "neither at, first nor count")),
        (
            keys("[{ at = 1 }, { at = 1, first = 2 }]"),
            at(21, "keys.1", "more than one of at, first and count"),
        ),
        (keys("[{ at = 0 }]"), at(16, "keys.0.at", "not the number of an argument")),
        (keys("[{ first = 1, step = 0 }]"), at(29, "keys.0.step", "not the number of an argument")),
        (keys("[{ at = -1 }]"), at(16, "keys.0.at", "\"-1\" is not a whole number in range")),
        (keys("[{ at = 1, step = 2 }]"), at(9, "keys.0", "keys that do not go together")),
        (keys("[{ count = 1, spare = 1 }]"), at(9, "keys.0", "keys that do not go together")),
        (keys("[{ at = 1, acces = 'read' }]"), at(19, "keys.0.acces", "unknown key")),
        (
            keys("[{ at = 1, access = 'r' }]"),
            at(28, "keys.0.access", "\"r\" is not one of the known words"),
        ),
    ] {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(&text, &expected);
    }
    let own = |text: &str| format!("[commands.custom.\"X.Y\"]\n{text}");
    check(&own("keys = []"), &["f:6:18: commands.custom.\"X.Y\".arity: missing"]);
    for arity in ["0", "'2'", "1.5", "40000"] {
        check(
            &own(&format!("arity = {arity}")),
            &["f:7:9: commands.custom.\"X.Y\".arity: not a number of arguments, the name included"],
        );
    }
    check(
        "[commands.custom.\"X|Y\"]\narity = 1",
        &["f:7:9: commands.custom.\"X|Y\".arity: not a number of arguments, the name included"],
    );
    check(&own("arity = 1\nflag = []"), &["f:8:1: commands.custom.\"X.Y\".flag: unknown key"]);
    check(
        &own("arity = 1\nconnection = 'own'"),
        &["f:8:14: commands.custom.\"X.Y\".connection: \"own\" is not one of the known words"],
    );
    check("[commands]\ncustom = 1", &["f:7:10: commands.custom: expected a table"]);
    check(
        "[commands]\nlearn = 1",
        &["f:7:9: commands.learn: expected true or false, found a number"],
    );
    for name in ["a|b|c", "a b", "a|", "", "\\\"", &"x".repeat(65)] {
        let text = format!("[commands.custom]\n\"{name}\" = {{ arity = 1 }}");
        let problems = parse(&format!("{MINIMAL}{text}"), "f", none()).unwrap_err();
        assert_eq!(problems[0].problem, "not the name of a command", "{name}");
        assert!(problems[0].to_string().starts_with("f:7:1: "), "{}", problems[0]);
    }
    check(
        "[commands.custom]\n\"x.y\" = { arity = 1 }\n\"X.Y\" = { arity = 1 }",
        &[
            "f:7:1: commands.custom.\"x.y\": given twice: letter case does not count in the name of a command",
        ],
    );
    assert!(hint(&keys("[{ at = 1, acces = 'read' }]")).contains("did you mean access?"));
    assert!(hint(&own("keys = []")).contains("COMMAND INFO"));
}
