//! Commands that respgate's table does not have: refused, unless they are declared or learned, and then
//! held to the same rules as all others.
//!
//! Owns: the cases, before real servers whose commands have other names. Never knows: modules.
use crate::support;
mod relay;

use std::process::Command;

use relay::Relay;
use support::client::{Client, Target};
use support::proxy::{Proxy, configuration, directory, listener};
use support::real_server::{Brand, Server, free_port, wait_until};

/// Former names, and those that hide the commands.
const RENAMED: [(&str, &str); 11] = [
    ("get", "mod.get"),
    ("mget", "mod.mget"),
    ("lpush", "mod.push"),
    ("zunion", "mod.zunion"),
    ("set", "mod.set"),
    ("sort", "mod.sort"),
    ("randomkey", "mod.any"),
    ("blpop", "mod.wait"),
    ("watch", "mod.watch"),
    ("eval_ro", "mod.eval"),
    ("mset", "mod.pair"),
];
const ACL: &str = "+@all ~app1:* &*";
const DIFFERENCES: &str = "respgate_command_table_differences";
const MISSING: &str = "respgate_command_table_missing";

fn renamed(brand: Brand) -> Server {
    let pairs = RENAMED.iter().flat_map(|(from, to)| ["--rename-command", from, to]);
    Server::new(brand, false, &pairs.collect::<Vec<_>>())
}

/// Everything the server is asked while `work` is done, as `MONITOR` shows it.
fn seen(server: &Server, work: impl FnOnce()) -> String {
    let mut monitor = server.observer();
    assert_eq!(monitor.ask(&["MONITOR"]), b"+OK\r\n");
    work();
    server.observer().ask(&["ECHO", "that is all"]);
    let mut all = String::new();
    while !all.contains("that is all") {
        all += &String::from_utf8_lossy(&monitor.reply());
    }
    all
}

fn refused(client: &mut Client, line: &str, beginning: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let answer = client.ask_text(&words);
    assert!(answer.starts_with(beginning), "{line}: {answer}");
}

fn passes(client: &mut Client, line: &str, expected: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(client.ask_text(&words).replace("\r\n", " "), expected, "{line}");
}

const DECLARED: &str = r#"
[commands.custom]
"MOD.GET" = { arity = 2, flags = ["readonly", "fast"], categories = ["string"], keys = [{ at = 1, access = "read" }] }
"mod.mget" = { arity = -2, flags = ["readonly"], keys = [{ first = 1, access = "read" }] }
"mod.zunion" = { arity = -3, flags = ["readonly"], keys = [{ count = 1, access = "read" }] }
"mod.push" = { arity = -3, flags = ["write"] }
"mod.any" = { arity = 1, flags = ["readonly"], keys = [] }
"mod.wait" = { arity = -3, flags = ["write", "blocking"], connection = "pinned", keys = [{ first = 1, spare = 1 }] }
"#;

const NOKEY: &str = "-NOPERM this user has no permissions to access one of the keys";
const NORUN: &str = "-NOPERM this user has no permissions to run the 'mod.get' command";

#[test]
fn unknown_commands_never_pass() {
    let server = renamed(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let mut client = proxy.client();
    let shown = seen(&server, || {
        for (_, name) in RENAMED {
            let line = format!("{name} app1:a b c");
            refused(&mut client, &line, &format!("-ERR unknown command '{name}'"));
        }
    });
    assert!(!shown.contains("app1:a"), "{shown}");
}

#[test]
fn declared_commands_are_held_to_the_rules() {
    let server = renamed(Brand::Redis);
    let proxy = Proxy::with_policy(&server, ACL, DECLARED);
    let mut client = proxy.client();
    server.observer().ask(&["mod.set", "app1:a", "1"]);
    passes(&mut client, "Mod.Get app1:a", "$1 1");
    passes(&mut client, "MOD.MGET app1:a app1:b", "*2 $1 1 $-1");
    passes(&mut client, "MOD.ZUNION 1 app1:z", "*0");
    passes(&mut client, "MOD.ANY", "$6 app1:a");
    refused(&mut client, "MOD.GET", "-ERR wrong number of arguments for 'mod.get' command");
    let shown = seen(&server, || {
        refused(&mut client, "MOD.GET foreign", NOKEY);
        refused(&mut client, "mod.mget app1:a foreign", NOKEY);
        refused(&mut client, "mod.zunion 2 app1:a foreign", NOKEY);
        refused(&mut client, "mod.zunion 02 app1:a foreign", "-ERR syntax error");
        refused(&mut client, "mod.wait app1:a foreign 0", NOKEY);
        refused(
            &mut client,
            "mod.push app1:foreign x",
            "-NOPERM respgate: the key positions of 'mod.push' are unknown (rule namespace)",
        );
        refused(&mut client, "mod.set app1:foreign x", "-ERR unknown command 'mod.set'");
        for line in ["MULTI", "MOD.GET foreign", "EXEC"] {
            refused(
                &mut client,
                line,
                match line {
                    "MULTI" => "+OK",
                    "EXEC" => "-EXECABORT",
                    _ => NOKEY,
                },
            );
        }
    });
    assert!(!shown.contains("foreign"), "{shown}");
    // Where every key is allowed, it need not be known where they stand.
    proxy.reconfigure(ACL, "+@all ~* &*");
    wait_until("every key is allowed", || client.ask(&["mod.push", "list", "x"]) == b":1\r\n");
    passes(&mut client, "mod.get other", "$-1");
}

#[test]
fn rules_can_name_declared_commands() {
    let server = renamed(Brand::Redis);
    let proxy = Proxy::with_policy(&server, ACL, DECLARED);
    let mut client = proxy.client();
    let mut now = ACL.to_owned();
    for (acl, get, any) in [
        ("+@all -mod.get ~app1:*", false, true),
        ("+@all -@read ~app1:*", false, false),
        ("+@all -@string ~app1:*", false, true),
        ("+@all -@slow ~app1:*", true, false),
        ("+Mod.Get ~app1:*", true, false),
        ("+@read ~app1:*", true, true),
        ("+@string (+mod.any) ~app1:*", true, true),
        ("+@write %W~app1:*", false, false),
        ("+@all %W~app1:*", false, true),
    ] {
        proxy.reconfigure(&now, acl);
        proxy.hang_up();
        now = acl.to_owned();
        let mut is = |line: &[&str]| !client.ask(line).starts_with(b"-NOPERM");
        wait_until(acl, || is(&["mod.get", "app1:a"]) == get && is(&["mod.any"]) == any);
    }
    refused(&mut client, "mod.get app1:a", NOKEY);
    proxy.reconfigure(&now, "+@all -mod.get ~*");
    wait_until("the command is denied", || client.ask_text(&["mod.get", "a"]).starts_with(NORUN));
    // What is declared may change, and may go.
    proxy.reconfigure("\"MOD.GET\"", "\"MOD.OTHER\"");
    proxy.await_log(&["REL-E001", "unknown command", "mod.get"]);
    proxy.reconfigure("-mod.get", "");
    wait_until("it is unknown", || client.ask(&["mod.get", "a"]).starts_with(b"-ERR unknown"));
}

/// Names are put before their keys, times to live behind what they write; where no declaration names which
/// arguments are keys, neither is possible.
#[test]
fn rules_know_declared_commands() {
    let server = renamed(Brand::Redis);
    let known = "\n\"mod.set\" = { arity = 3, flags = [\"write\"], keys = [{ at = 1, access = \"write\" }] }\n";
    let rules = "[policy.keys]\nmode = \"rewrite\"\nprefix = \"p:\"\n[policy.ttl]\ndefault = \"1h\"\n\
                 on_missing = \"inject\"\n";
    let sections = format!("{DECLARED}{known}{rules}");
    let proxy = Proxy::before(&server, &sections);
    let mut client = proxy.client();
    passes(&mut client, "mod.set a 1", "+OK");
    passes(&mut client, "mod.get a", "$1 1");
    passes(&mut client, "mod.mget a p:a", "*2 $1 1 $-1");
    let mut observer = server.observer();
    assert_eq!(observer.ask(&["mod.get", "p:a"]), b"$1\r\n1\r\n");
    assert_eq!(observer.ask(&["TTL", "p:a"]), b":3600\r\n");
    let shown = seen(&server, || {
        refused(&mut client, "mod.push foreign x", "-NOPERM respgate: the key positions");
    });
    assert!(!shown.contains("foreign"), "{shown}");
}

/// A time to live is required whatever a declaration has for the other keys: it cannot mark one as a source only.
#[test]
fn every_key_that_a_declared_command_writes_has_a_time_to_live() {
    let server = renamed(Brand::Redis);
    let rules = "[policy.ttl]\ndefault = \"1h\"\non_missing = \"inject\"\n";
    for (one, other) in [("write", "readwrite"), ("readwrite", "write"), ("readwrite", "readwrite")]
    {
        let pair = format!(
            "[commands.custom]\n\"mod.pair\" = {{ arity = 5, flags = [\"write\"], keys = [\
             {{ at = 1, access = {one:?} }}, {{ at = 3, access = {other:?} }}] }}\n{rules}"
        );
        let proxy = Proxy::before(&server, &pair);
        let mut client = proxy.client();
        passes(&mut client, "mod.pair a 1 b 2", "+OK");
        for key in ["a", "b"] {
            assert_eq!(server.observer().ask(&["TTL", key]), b":3600\r\n", "{one} {other} {key}");
        }
        assert_eq!(client.ask(&["DEL", "a", "b"]), b":2\r\n");
    }
}

/// The prefix comes off where a declaration states that a reply has keys; one of others is not shown.
#[test]
fn keys_in_the_replies_of_declared_commands() {
    let server = renamed(Brand::Redis);
    let rules = "[policy.keys]\nmode = \"rewrite\"\nprefix = \"p:\"\n";
    let eval = |reply| {
        format!(
            "[commands.custom]\n\"mod.eval\" = {{ arity = -3, flags = [\"readonly\"], \
             keys = [{{ count = 2, access = \"read\" }}], reply_keys = {reply:?} }}\n\
             \"mod.wait\" = {{ arity = -3, flags = [\"write\", \"blocking\"], connection = \"pinned\", \
             keys = [{{ first = 1, spare = 1 }}], reply_keys = \"first\" }}\n{rules}"
        )
    };
    let proxy = Proxy::before(&server, &eval("all"));
    let mut client = proxy.client();
    assert_eq!(client.ask(&["RPUSH", "l", "p:v"]), b":1\r\n");
    passes(&mut client, "mod.wait l 0", "*2 $1 l $3 p:v");
    let ask = |client: &mut Client, script| client.ask_text(&["mod.eval", script, "1", "k"]);
    let all = "return {KEYS[1], 1, 'p:2'}";
    assert_eq!(ask(&mut client, all), "*3\r\n$1\r\nk\r\n:1\r\n$1\r\n2");
    assert!(
        ask(&mut client, "return {KEYS[1], 'foreign'}").contains("-ERR respgate: the server sent")
    );
    assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
    assert_eq!(ask(&mut client, all), "+QUEUED");
    assert_eq!(client.ask_text(&["EXEC"]), "*1\r\n*3\r\n$1\r\nk\r\n:1\r\n$1\r\n2");
    let each = "return {{KEYS[1], 'p:v'}, {'p:2', {'p:w'}}}";
    let printed = "*2\r\n*2\r\n$1\r\nk\r\n$3\r\np:v\r\n*2\r\n$1\r\n2\r\n*1\r\n$3\r\np:w";
    // What a command is may change while it is known.
    proxy.reconfigure("\"all\"", "\"each\"");
    wait_until("the other parts are keys", || ask(&mut client, each) == printed);
    assert_eq!(client.ask_text(&["HELLO", "3"]).get(..1), Some("%"));
    assert_eq!(ask(&mut client, each), printed);
    proxy.reconfigure("\"each\"", "\"some\"");
    proxy.await_log(&["REL-E001", "reply_keys"]);
}

/// A client that waits on a pinned connection delays no other client.
#[test]
fn pinned_command() {
    let server = renamed(Brand::Redis);
    let proxy = Proxy::with_policy(&server, ACL, DECLARED);
    let (mut waits, mut other) = (proxy.client(), proxy.client());
    waits.send(&["mod.wait", "app1:list", "0"]);
    server.await_blocked(1);
    passes(&mut other, "mod.get app1:a", "$-1");
    server.observer().ask(&["mod.push", "app1:list", "x"]);
    assert_eq!(waits.reply(), b"*2\r\n$9\r\napp1:list\r\n$1\r\nx\r\n");
    passes(&mut waits, "mod.get app1:a", "$-1");
    for (line, expected) in
        [("MULTI", "+OK"), ("mod.wait app1:list 0", "+QUEUED"), ("EXEC", "*1 *-1")]
    {
        passes(&mut waits, line, expected);
    }
}

/// Through a relay that lets the server list the names under which its commands can be run.
fn learning(server: &Server, relay: &Relay, acl: &str, sections: &str) -> Proxy {
    let (target, telemetry) = (Target::Tcp(free_port()), free_port());
    let text = configuration(server, &listener(&target, ""), acl, telemetry);
    let from = format!("localhost:{}", server.port);
    let text = text.replace(&from, &format!("127.0.0.1:{}", relay.port));
    let text = format!("{text}\n{sections}\n");
    Proxy::configured(directory(), target, telemetry, &text)
}

const LEARN: &str = "[commands]\nlearn = true\n";

fn learned_commands(brand: Brand) {
    if !brand.available() {
        return;
    }
    let server = renamed(brand);
    let relay = Relay::new(server.port);
    relay.exchange(&RENAMED);
    let proxy = learning(&server, &relay, "+@all -mod.mget ~app1:*", LEARN);
    let mut client = proxy.client();
    server.observer().ask(&["mod.set", "app1:a", "1"]);
    wait_until("it is learned", || client.ask(&["MOD.get", "app1:a"]) == b"$1\r\n1\r\n");
    passes(&mut client, "mod.push app1:list x", ":1");
    passes(&mut client, "mod.zunion 1 app1:z", "*0");
    refused(&mut client, "mod.mget app1:a", "-NOPERM this user has no permissions to run");
    let shown = seen(&server, || {
        refused(&mut client, "mod.get foreign", NOKEY);
        refused(&mut client, "mod.zunion 2 app1:a foreign", NOKEY);
        refused(&mut client, "mod.zunion 3 app1:a foreign", "-ERR syntax error");
        refused(&mut client, "mod.any", "-NOPERM respgate: the key positions of 'mod.any'");
        // Keys that depend on options, or are unknown; waiting, watching, scripts.
        for line in [
            "mod.set app1:foreign x",
            "mod.sort app1:foreign BY foreign*",
            "mod.wait app1:foreign 0",
            "mod.watch app1:foreign",
            "mod.eval foreign 0",
        ] {
            refused(&mut client, line, "-ERR unknown command");
        }
    });
    assert!(!shown.contains("foreign") && !shown.contains("mod.any"), "{shown}");
    let line = proxy.await_log(&["CMD-I001", "mod.get", "mod.sort"]);
    assert!(line.contains("mod.set (a key specification that is incomplete)"), "{line}");
    proxy.await_metric(MISSING, |count| (count - 11.0).abs() < 0.1);
    assert!(proxy.metric(DIFFERENCES) < 0.5);
    // Every key is allowed.
    proxy.reconfigure("~app1:*", "~*");
    wait_until("every key is allowed", || client.ask(&["mod.any"]).starts_with(b"$"));
    refused(&mut client, "mod.mget app1:a", "-NOPERM this user has no permissions to run");
    refused(&mut client, "mod.set a b", "-ERR unknown command");
}

/// A transaction with a command of the table that this server does not have runs nothing, and reports why.
#[test]
fn transaction_with_a_command_that_the_server_lacks_runs_nothing() {
    let server = Server::new(Brand::Redis, false, &["--rename-command", "GETDEL", ""]);
    for mode in ["shared", "session"] {
        let proxy = Proxy::before(&server, &format!("[upstream.pool]\nmode = {mode:?}\n"));
        let mut client = proxy.client();
        passes(&mut client, "MULTI", "+OK");
        passes(&mut client, "INCR n", "+QUEUED");
        client.ask(&["GETDEL", "a"]);
        let answer = client.ask_text(&["EXEC"]);
        assert!(answer.starts_with("-EXECABORT"), "{mode}: {answer}");
        passes(&mut client, "GET n", "$-1");
        refused(&mut client, "GETDEL a", "-ERR unknown command");
    }
}

#[test]
fn commands_learned_from_redis() {
    learned_commands(Brand::Redis);
}

#[test]
fn commands_learned_from_valkey() {
    learned_commands(Brand::Valkey);
}

/// What is declared precedes what is learned; a reload forgets nothing; without the setting
/// nothing is learned.
#[test]
fn declared_before_learned_and_off_again() {
    let server = renamed(Brand::Redis);
    let relay = Relay::new(server.port);
    relay.exchange(&RENAMED);
    let declared =
        "[commands.custom.\"mod.get\"]\narity = 2\nflags = [\"write\"]\nkeys = [{ at = 1 }]\n";
    let proxy = learning(&server, &relay, ACL, &format!("{LEARN}{declared}"));
    let mut client = proxy.client();
    wait_until("it is learned", || client.ask(&["mod.mget", "app1:a"]) == b"*1\r\n$-1\r\n");
    proxy.reconfigure(ACL, "+@all -@write ~app1:*");
    let mut denied = || client.ask_text(&["mod.get", "app1:a"]).starts_with(NORUN);
    wait_until("what is declared to write is denied", &mut denied);
    passes(&mut client, "mod.mget app1:a", "*1 $-1");
    proxy.reconfigure("learn = true", "learn = false");
    wait_until("it is unknown", || {
        client.ask(&["mod.mget", "app1:a"]).starts_with(b"-ERR unknown")
    });
    refused(&mut client, "mod.get app1:a", NORUN);
    proxy.reconfigure("learn = false", "learn = true");
    wait_until("it is known", || client.ask(&["mod.mget", "app1:a"]) == b"*1\r\n$-1\r\n");
}

/// Asked again: when the server is another, and on request.
#[test]
fn changed_server_is_asked_for_its_commands() {
    let server = renamed(Brand::Redis);
    let info = server.observer().ask_text(&["INFO", "server"]);
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap();
    let relay = Relay::new(server.port);
    let proxy = learning(&server, &relay, "+@all +mod.typo ~app1:*", LEARN);
    let mut client = proxy.client();
    proxy.await_log(&["CMD-W003", "mod.typo"]);
    refused(&mut client, "mod.get app1:a", "-ERR unknown command");

    relay.exchange(&[("get", "mod.get")]);
    relay.cut();
    proxy.hang_up();
    wait_until("it is learned", || {
        matches!(proxy.client().ask(&["mod.get", "app1:a"])[..], [b'$', ..])
    });

    relay.exchange(&[("mget", "mod.mget"), (version.trim(), "99.1")]);
    relay.cut();
    wait_until("it is forgotten and another learned", || {
        let mut client = proxy.client();
        client.ask(&["mod.get", "app1:a"]).starts_with(b"-ERR unknown")
            && client.ask(&["mod.mget", "app1:a"]) == b"*1\r\n$-1\r\n"
    });
}

/// The server's own description is held against the table.
#[test]
fn server_that_disagrees() {
    for brand in [Brand::Redis, Brand::Valkey] {
        if !brand.available() {
            continue;
        }
        let server = Server::plain(brand);
        let relay = Relay::new(server.port);
        relay.exchange(&[("lpush", "strlen"), ("strlen", "nothing"), ("hget", "set")]);
        let proxy = learning(&server, &relay, ACL, "");
        let line = proxy.await_log(&["CMD-W001"]);
        for words in ["strlen: write at the server, not write here", "set: not write at the server"]
        {
            assert!(line.contains(words), "{line}");
        }
        proxy.await_metric(DIFFERENCES, |count| (count - 2.0).abs() < 0.1);
        // What respgate knows is what counts.
        let mut client = proxy.client();
        passes(&mut client, "STRLEN app1:a", ":0");
        refused(&mut client, "STRLEN foreign", NOKEY);
    }
}

#[test]
fn servers_as_they_are_agree_with_the_table() {
    for brand in [Brand::Redis, Brand::Valkey] {
        if !brand.available() {
            continue;
        }
        let server = Server::plain(brand);
        // The relay reports when the request has been answered.
        let relay = Relay::new(server.port);
        relay.exchange(&[("getdel", "mod.getdel")]);
        let proxy = learning(&server, &relay, ACL, "");
        proxy.await_log(&["CMD-I001", "mod.getdel", "declare them"]);
        assert!((proxy.metric(MISSING) - 1.0).abs() < 0.1, "{}", proxy.log());
        assert!(proxy.metric(DIFFERENCES) < 0.5, "{}", proxy.log());
        assert!(!proxy.log().contains("CMD-W"), "{}", proxy.log());
    }
}

/// A server that has renamed COMMAND does not describe its commands; nothing depends on that.
#[test]
fn server_without_command_is_served() {
    let server = Server::new(Brand::Redis, false, &["--rename-command", "COMMAND", ""]);
    let proxy = Proxy::before(&server, LEARN);
    proxy.await_log(&["CMD-I002", "unknown command"]);
    passes(&mut proxy.client(), "SET a b", "+OK");
}

/// Every mistake with its place, by `check` and by `run`.
#[test]
fn mistakes_are_reported_with_their_place() {
    let directory = directory();
    let file = directory.path().join("respgate.toml");
    let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[upstream]\naddress = \"localhost:1\"\n\
                insecure_plaintext = true\n[commands.custom]\n\"Get\" = { arity = 2 }\n\
                \"x.y\" = { arity = 2, flags = [\"red\"] }\n\
                \"x.z\" = { arity = 2, categories = [\"jason\"] }\n";
    std::fs::write(&file, text).unwrap();
    for command in ["check", "run"] {
        let output = Command::new(env!("CARGO_BIN_EXE_respgate"))
            .args([command, "--config"])
            .arg(&file)
            .output()
            .unwrap();
        let printed =
            String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{printed}");
        for line in [
            "respgate.toml:7:9: commands.custom.\"get\": respgate knows the command 'get' already",
            "respgate.toml:8:30: commands.custom.\"x.y\".flags: 'red' is no flag for it",
            "respgate.toml:9:35: commands.custom.\"x.z\".categories: there is no category 'jason'",
            "hint: ACL CAT of the server lists them",
        ] {
            assert!(printed.contains(line), "{line}\n{printed}");
        }
    }
}

/// `explain` knows what is declared.
#[test]
fn explained() {
    let directory = directory();
    let file = directory.path().join("respgate.toml");
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[upstream]\naddress = \"localhost:1\"\n\
         insecure_plaintext = true\n[policy]\nacl = {ACL:?}\n{DECLARED}"
    );
    std::fs::write(&file, text).unwrap();
    for (line, code, words) in [
        ("mod.get app1:a", 0, "key, read"),
        ("mod.get foreign", 1, "one of the keys"),
        ("mod.push app1:a x", 1, "the key positions"),
        ("mod.wait app1:a 0", 0, "a connection of its own until"),
        ("mod.unknown", 1, "unknown command"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_respgate"))
            .args(["explain", "--config"])
            .arg(&file)
            .arg(line)
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {printed}");
        assert!(printed.contains(words), "{line}: {printed}");
    }
}

/// A reply larger than any delays no client.
#[test]
fn answer_without_end() {
    let server = renamed(Brand::Redis);
    let relay = Relay::new(server.port);
    let long = "x".repeat(2 << 20);
    relay.exchange(&[("get", &long)]);
    let proxy = learning(&server, &relay, ACL, LEARN);
    let mut client = proxy.client();
    passes(&mut client, "STRLEN app1:a", ":0");
    relay.exchange(&RENAMED);
    proxy.hang_up();
    wait_until("it is learned", || client.ask(&["mod.get", "app1:a"]).starts_with(b"$"));
}
