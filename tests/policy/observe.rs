//! A policy that is only observed, what can be learned from it, and the questions one may ask a running
//! respgate.
//!
//! Owns: the cases. Never knows: how decisions are made.
use crate::support;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use support::client::Target;
use support::proxy::{Proxy, configuration, directory, listener};
use support::real_server::{Brand, Server, free_port};

/// Runs respgate as an operator does: its exit code and standard output.
fn respgate(arguments: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_respgate")).args(arguments).output().unwrap();
    let printed = [stdout, stderr].concat();
    (status.code().unwrap(), String::from_utf8(printed).unwrap())
}

/// In front of `server`, with these lines under `[policy]` and a control socket.
fn serve(server: &Server, acl: &str, policy: &str) -> (Proxy, String) {
    serve_with(server, acl, policy, "")
}

/// With further sections.
fn serve_with(server: &Server, acl: &str, policy: &str, sections: &str) -> (Proxy, String) {
    let directory = directory();
    let socket = directory.path().join("control.sock").to_str().unwrap().to_owned();
    let (target, telemetry) = (Target::Tcp(free_port()), free_port());
    let text = configuration(server, &listener(&target, ""), acl, telemetry);
    let text = text.replace("[policy]\n", &format!("[policy]\n{policy}\n"));
    let text = format!("{text}\n[admin]\nsocket = {socket:?}\n{sections}");
    (Proxy::configured(directory, target, telemetry, &text), socket)
}

#[test]
fn observe_mode_refuses_nothing_and_reports_everything() {
    let server = Server::mutual_tls(Brand::Redis);
    let others = "[policies.writes]\nacl = \"+set ~*\"\n\
                  [policies.reads]\npreset = \"readonly\"\n";
    let (proxy, socket) = serve_with(&server, "+@read -keys ~app:*", "mode = \"observe\"", others);
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["SET", "app:1", "v"]), "+OK");
    assert_eq!(client.ask_text(&["GET", "other:1"]), "$-1");
    assert_eq!(client.ask_text(&["KEYS", "app:*"]), "*1\r\n$5\r\napp:1");
    assert_eq!(client.ask_text(&["GET", "app:1"]), "$1\r\nv");
    // It does not look like a policy that refuses.
    let info = proxy.metric("respgate_policy_info{policy=\"policy\",mode=\"observe\"}");
    assert!((info - 1.0).abs() < 0.1);
    let named = proxy.metric("respgate_policy_info{policy=\"policies.writes\",mode=\"enforce\"}");
    assert!((named - 1.0).abs() < 0.1);
    proxy.await_log(&["WARN", "POL-W002", "nothing is refused"]);
    // What the server would not understand, and what no proxy can carry, is refused all the same.
    assert!(client.ask_text(&["GET"]).starts_with("-ERR wrong number"));
    assert!(client.ask_text(&["NOSUCH"]).starts_with("-ERR unknown command"));
    assert!(client.ask_text(&["PSYNC", "?", "-1"]).starts_with("-NOPERM"));
    let would = "respgate_policy_would_deny_total";
    proxy.await_metric(&format!("{would}{{command=\"get\",rule=\"namespace\"}}"), |n| n > 0.5);
    proxy.await_metric(&format!("{would}{{command=\"set\",rule=\"command\"}}"), |n| n > 0.5);
    proxy.await_metric(&format!("{would}{{command=\"keys\",rule=\"command\"}}"), |n| n > 0.5);
    let line = proxy.await_log(&["POL-I001", "namespace"]);
    assert!(!line.contains("other:1"), "{line}");

    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (code, learned) = respgate(&["learn", "--socket", &socket]);
    assert_eq!(code, 0, "{learned}");
    assert!(learned.contains("acl = \"+get +keys +ping +set ~app:* %R~other:*\""), "{learned}");
    assert!(learned.contains("against the policy in force: command: keys 1, "), "{learned}");
    let refused = "# refused although rules are only observed: arity: get 1, command: psync 1, \
                   unknown: nosuch 1";
    assert!(learned.contains(refused), "{learned}");

    let (code, printed) = respgate(&["explain", "--socket", &socket, "SET app:1 v"]);
    assert_eq!(code, 0);
    assert!(printed.contains("passes, because the rule is in observe mode"), "{printed}");
    let (code, printed) = respgate(&["explain", "--socket", &socket, "GET", "app:1"]);
    assert_eq!(code, 0);
    assert!(printed.contains("because  +@read in policy.acl"), "{printed}");
    let named =
        |name: &str| respgate(&["explain", "--socket", &socket, "--policy", name, "SET a v"]);
    let (code, printed) = named("reads");
    assert_eq!(code, 1, "{printed}");
    assert!(
        printed.contains("verdict  refused") && printed.contains("rule     category"),
        "{printed}"
    );
    let (code, printed) = named("writes");
    assert!(code == 0 && printed.contains("because  +set in policies.writes.acl"), "{printed}");
    let (code, printed) = named("nobodys");
    let there = "there is no [policies.nobodys]; there are: reads, writes";
    assert!(code == 1 && printed.contains(there), "{printed}");
    let (code, printed) = respgate(&["learn", "--socket", "/nonexistent/control.sock"]);
    assert!(code == 3 && printed.contains("[admin] socket"), "{printed}");
}

/// Under a prefix that respgate puts there, and with what it sends on its own: what was learned is a
/// policy in the application's names, and the rules for the server's user are in those of the server.
#[test]
fn learned_policy_serves_and_is_a_user_of_the_server() {
    let own = "mode = \"rewrite\"\nprefix = \"app1:\"\nflushdb = true\ndbsize = true\n\
               [policy.ttl]\non_missing = \"inject\"\ndefault = \"1h\"";
    let traffic: &[&[&str]] = &[
        &["PING"],
        &["CLIENT", "SETINFO", "lib-name", "x"],
        &["SET", "user:1", "x"],
        &["GET", "user:1"],
        &["LPUSH", "list:1", "a"],
        &["EVAL", "return redis.call('GET',KEYS[1])", "1", "user:1"],
        &["SCAN", "0", "COUNT", "1000"],
        &["DBSIZE"],
        &["MULTI"],
        &["INCR", "n"],
        &["EXEC"],
        &["SELECT", "1"],
        &["SELECT", "0"],
        &["PUBLISH", "news:1", "m"],
        &["FLUSHDB"],
    ];
    for keys in ["", own] {
        let server = Server::mutual_tls(Brand::Redis);
        let policy = |mode: &str| format!("mode = {mode:?}\n[policy.keys]\n{keys}\n");
        let (observed, socket) = serve_keys(&server, "", &policy("observe"));
        let mut client = observed.client();
        let replies: Vec<String> = traffic.iter().map(|words| client.ask_text(words)).collect();
        let (code, learned) = respgate(&["learn", "--socket", &socket]);
        assert_eq!(code, 0, "{learned}");
        drop((client, observed));

        let setuser = learned.lines().find_map(|line| line.strip_prefix("# ACL SETUSER default "));
        let mut operator = server.observer();
        let words: Vec<&str> = setuser.unwrap().split(' ').collect();
        let app = [&["ACL", "SETUSER", "app", ">secret"][..], &words].concat();
        assert_eq!(operator.ask_text(&app), "+OK", "{learned}");
        let acl = learned.lines().find_map(|line| line.strip_prefix("acl = \"")?.strip_suffix('"'));
        let scripts = learned.split("[policy.scripts]\n").nth(1).unwrap();
        let scripts = scripts.split("\n\n").next().unwrap();
        let enforced = format!("{}[policy.scripts]\n{scripts}\n", policy("enforce"));
        let user = "username = \"app\"\npassword_env = \"LEARNED\"\n";
        let (proxy, _) =
            serve_keys(&server, user, &format!("acl = {:?}\n{enforced}", acl.unwrap()));
        let mut client = proxy.client();
        for (words, before) in traffic.iter().zip(replies) {
            assert_eq!(client.ask_text(words), before, "{words:?} under {learned}");
        }
        assert!(client.ask_text(&["SET", "other:1", "x"]).starts_with("-NOPERM"), "{learned}");
        assert_eq!(operator.ask_text(&["ACL", "LOG"]), "*0", "{learned}");
        assert!(!proxy.log().contains("NOPERM"), "{}", proxy.log());
    }
}

/// With these lines for `[policy]`, its tables included, and for `[upstream.auth]`.
fn serve_keys(server: &Server, user: &str, policy: &str) -> (Proxy, String) {
    let directory = directory();
    let socket = directory.path().join("control.sock").to_str().unwrap().to_owned();
    std::fs::write(directory.path().join("secret"), "secret").unwrap();
    let (target, telemetry) = (Target::Tcp(free_port()), free_port());
    let text = configuration(server, &listener(&target, ""), "ACL", telemetry);
    let policy = if policy.starts_with("acl") {
        policy.to_owned()
    } else {
        format!("acl = \"+@all ~* &*\"\n{policy}")
    };
    let text = text.replace("acl = \"ACL\"\n", &policy);
    let file = directory.path().join("secret");
    let user = user.replace("password_env = \"LEARNED\"", &format!("password_file = {file:?}"));
    let auth = if user.is_empty() { String::new() } else { format!("[upstream.auth]\n{user}") };
    let text = format!("{text}\n{auth}[admin]\nsocket = {socket:?}\n");
    (Proxy::configured(directory, target, telemetry, &text), socket)
}

/// What was learned, put into force, passes the same traffic and nothing else.
#[test]
fn learned_policy_serves() {
    let server = Server::mutual_tls(Brand::Redis);
    let traffic: &[&[&str]] = &[
        &["SET", "user:1:name", "x"],
        &["MGET", "user:1:name", "user:2:name"],
        &["HSET", "session:9", "f", "v"],
        &["EXISTS", "flag"],
        &["SCAN", "0", "MATCH", "user:*"],
        &["PUBLISH", "news:1", "m"],
        &["CLIENT", "SETNAME", "x"],
        &["SORT", "list:1", "BY", "w:*", "GET", "#"],
    ];
    let (observed, socket) = serve(&server, "+@all", "mode = \"observe\"");
    let mut client = observed.client();
    let replies: Vec<String> = traffic.iter().map(|words| client.ask_text(words)).collect();
    let (_, learned) = respgate(&["learn", "--socket", &socket]);
    let acl = learned.lines().find_map(|line| line.strip_prefix("acl = \"")?.strip_suffix('"'));
    let acl = acl.unwrap();

    let (enforced, _) = serve(&server, acl, "mode = \"enforce\"");
    let mut client = enforced.client();
    for (words, before) in traffic.iter().zip(replies) {
        assert_eq!(client.ask_text(words).len(), before.len(), "{words:?} under {acl}");
    }
    for words in [&["GET", "user:1:name"][..], &["SET", "list:1", "x"], &["DBSIZE"]] {
        assert!(client.ask_text(words).starts_with("-NOPERM"), "{words:?} under {acl}");
    }
}

/// Every refused command is in the log at debug, and at info one of its kind; without keys and values.
#[test]
fn refused_command_is_in_the_log() {
    let server = Server::mutual_tls(Brand::Redis);
    for level in ["info", "debug"] {
        let sections = format!("[telemetry]\nlog_level = {level:?}\n");
        let directory = directory();
        let (target, telemetry) = (Target::Tcp(free_port()), free_port());
        let acl = "+@read +@transaction +ping ~app:*";
        let text = configuration(&server, &listener(&target, ""), acl, telemetry);
        let text = text.replace("[telemetry]\n", &sections);
        let proxy = Proxy::configured(directory, target, telemetry, &text);
        let mut client = proxy.client();
        for _ in 0..20 {
            assert!(client.ask_text(&["GET", "secret-key"]).starts_with("-NOPERM"));
        }
        client.ask(&["MULTI"]);
        client.ask(&["SET", "app:1", "secret-value"]);
        client.ask(&["EXEC"]);
        client.ask(&["JSON.GET\u{1b}x", "secret-key"]);
        let line = proxy.await_log(&["POL-I002", "namespace", "command=get", "policy"]);
        assert!(line.contains(&format!("listener=\"{}", listener_address(&proxy))), "{line}");
        proxy.await_log(&["POL-I002", "rule=\"command\"", "command=set"]);
        proxy.await_log(&["POL-I002", "unknown", "json.get?x"]);
        let log = proxy.log();
        let lines = |level: &str| {
            let of_get = |line: &&str| line.contains("command=get") && line.contains(level);
            log.lines().filter(of_get).count()
        };
        assert_eq!(
            (lines(" INFO "), lines("DEBUG")),
            (1, if level == "debug" { 20 } else { 0 }),
            "{log}"
        );
        assert!(!log.contains("secret"), "{log}");
    }
}

fn listener_address(proxy: &Proxy) -> String {
    match proxy.target() {
        Target::Tcp(port) => format!("127.0.0.1:{port}"),
        Target::Unix(path) => format!("unix:{}", path.display()),
    }
}

#[test]
fn learning_without_traffic_gives_no_policy() {
    let server = Server::mutual_tls(Brand::Redis);
    let (proxy, socket) = serve(&server, "+@all ~* &*", "");
    assert_eq!(proxy.client().ask(&["SET", "k", "v"]), b"+OK\r\n");
    let (code, printed) = respgate(&["learn", "--socket", &socket]);
    assert!(code == 1 && printed.starts_with("# Nothing observed yet"), "{printed}");
    assert!(!printed.contains("acl") && !printed.contains("ACL"), "{printed}");
}

#[test]
fn observed_rule_leaves_the_others_in_force() {
    let server = Server::mutual_tls(Brand::Redis);
    let (proxy, _) = serve(&server, "+@read +@transaction ~app:*", "observe = [\"namespace\"]");
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["GET", "other:1"]), "$-1");
    assert!(client.ask_text(&["SET", "other:1", "v"]).starts_with("-NOPERM"));
    client.ask(&["MULTI"]);
    assert_eq!(client.ask_text(&["GET", "other:1"]), "+QUEUED");
    assert!(client.ask_text(&["SET", "app:1", "v"]).starts_with("-NOPERM"));
    assert!(client.ask_text(&["EXEC"]).starts_with("-EXECABORT"));
}

/// The printed rules are taken by a real server, and pass what respgate passes.
#[test]
fn server_takes_the_rules_and_holds_them() {
    let server = Server::mutual_tls(Brand::Redis);
    let (proxy, _) = serve(&server, "+@all -@dangerous ~app:* &app:*", "");
    let file = proxy.configuration_file();
    let (code, printed) = respgate(&["acl", "--config", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{printed}");
    let words: Vec<&str> = printed.split_whitespace().collect();
    assert_eq!(words[..3], ["ACL", "SETUSER", "default"]);
    let mut operator = server.observer();
    let mut setuser = words.clone();
    setuser[2] = "app";
    assert_eq!(operator.ask_text(&setuser), "+OK");
    for (command, passes) in [
        (&["GET", "app:1"][..], true),
        (&["SET", "app:1", "v"], true),
        (&["GET", "other:1"], false),
        (&["CONFIG", "GET", "*"], false),
        (&["EVAL", "return 1", "1", "app:1"], true),
        (&["MULTI"], true),
        (&["SELECT", "1"], true),
    ] {
        let dry = [&["ACL", "DRYRUN", "app"][..], command].concat();
        assert_eq!(operator.ask_text(&dry) == "+OK", passes, "{command:?}");
    }
}

/// One user of the server may what each policy in use allows, and nothing of two together.
#[test]
fn server_takes_the_rules_of_several_policies() {
    for brand in [Brand::Redis, Brand::Valkey] {
        if !brand.available() {
            continue;
        }
        let home = directory();
        let at = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
        let accounts = "user c on nopass ~c:* +incr (+get ~d)\nuser off off +@all ~*\n";
        std::fs::write(at("users.acl"), accounts).unwrap();
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:1\"\npolicy = \"a\"\n\
             [[listener]]\naddress = \"127.0.0.1:2\"\nauth = \"users\"\n\
             [upstream]\naddress = \"localhost:3\"\ninsecure_plaintext = true\n\
             auth = {{ username = \"app\" }}\n\
             [policies.a]\nacl = \"+get +select ~a:* (+set ~both)\"\n\
             [policies.b]\nacl = \"+set +flushall ~*\"\n\
             keys = {{ mode = \"rewrite\", prefix = \"b:\" }}\n\
             [policies.nobodys]\nacl = \"+del ~*\"\n\
             [[user]]\nname = \"b\"\nnopass = true\npolicy = \"b\"\n\
             [users]\nacl_file = {:?}\n",
            at("users.acl")
        );
        std::fs::write(at("respgate.toml"), text).unwrap();
        let file = at("respgate.toml");
        let acl = |more: &[&str]| respgate(&[&["acl", "--config", &file], more].concat());
        let (code, printed) = acl(&[]);
        assert_eq!(code, 0, "{printed}");
        let server = Server::plain(brand);
        let mut operator = server.observer();
        assert_eq!(operator.ask_text(&printed.split_whitespace().collect::<Vec<_>>()), "+OK");
        for (command, passes) in [
            (&["GET", "a:1"][..], true),
            (&["SET", "both", "v"], true),
            (&["SET", "b:1", "v"], true),
            (&["INCR", "c:1"], true),
            (&["GET", "d"], true),
            (&["PING"], true),
            (&["SET", "a:1", "v"], false),
            (&["GET", "b:1"], false),
            (&["GET", "c:1"], false),
            (&["DEL", "a:1"], false),
            (&["FLUSHALL"], false),
        ] {
            let dry = [&["ACL", "DRYRUN", "app"][..], command].concat();
            assert_eq!(operator.ask_text(&dry) == "+OK", passes, "{command:?} {printed}");
        }
        let list = at("list");
        let mut diff = |words: &[&str], more: &[&str]| {
            let setuser = [&["ACL", "SETUSER", "app"][..], words].concat();
            assert_eq!(operator.ask_text(&setuser), "+OK");
            std::fs::write(&list, operator.ask_text(&["ACL", "LIST"])).unwrap();
            acl(&[more, &["--diff", &list]].concat())
        };
        let (code, printed) = diff(&[], &[]);
        let same = "the server's user app has the rules of the policies";
        assert_eq!((code, printed.trim_end()), (0, same));
        let (code, printed) = diff(&[], &["--policy", "a"]);
        assert!(code == 1 && printed.contains("the server permits besides: incr"), "{printed}");
        let (code, printed) = diff(&["(~a:* ~b:* +get +set)"], &[]);
        let more = "the server has further rules on: ~a:* ~b:*";
        assert_eq!((code, printed.trim_end()), (1, more));
    }
}

/// Differences of the server's user are reported; after the printed command there is none.
#[test]
fn rules_of_the_servers_user_are_compared() {
    let server = Server::mutual_tls(Brand::Redis);
    let (proxy, _) = serve(&server, "+@all -@dangerous ~app:* &app:*", "");
    let file = proxy.configuration_file();
    let file = file.to_str().unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    let diff = |more: &[&str]| respgate(&[&["acl", "--config", file, "--diff"], more].concat());

    // The default user may do everything, on all keys.
    let (code, printed) = diff(&[]);
    assert_eq!(code, 1, "{printed}");
    assert!(
        printed.contains("the server permits besides: ") && printed.contains("flushall"),
        "{printed}"
    );
    assert!(printed.contains("names the server does not have: ~app:* &app:*"), "{printed}");
    assert!(printed.contains("names the server has besides: ~* &*"), "{printed}");
    assert!(!printed.contains("the server refuses"), "{printed}");

    // Another user, which may not read its rules; what an operator may see is compared.
    let mut operator = server.observer();
    let (_, rules) = respgate(&["acl", "--config", file]);
    let mut words: Vec<&str> = rules.split_whitespace().collect();
    words[2] = "app";
    words.push(">secret");
    assert_eq!(operator.ask_text(&words), "+OK");
    let password = proxy.directory().join("password");
    std::fs::write(&password, "secret").unwrap();
    let auth =
        format!("[upstream.auth]\nusername = \"app\"\npassword_file = {password:?}\n\n[policy]");
    std::fs::write(file, text.replace("[policy]", &auth)).unwrap();
    let (code, printed) = diff(&[]);
    assert!(
        code == 2 && printed.contains("NOPERM") && printed.contains("redis-cli ACL LIST"),
        "{printed}"
    );

    let list = proxy.directory().join("list");
    let list = list.to_str().unwrap();
    let write = |operator: &mut support::client::Client| {
        let printed = operator.ask_text(&["ACL", "LIST"]);
        std::fs::write(list, printed).unwrap();
    };
    write(&mut operator);
    let (code, printed) = diff(&[list]);
    assert_eq!(
        (code, printed.trim_end()),
        (0, "the server's user app has the rules of the policy")
    );
    assert_eq!(operator.ask_text(&["ACL", "SETUSER", "app", "-get", "+config", "~x"]), "+OK");
    write(&mut operator);
    let (code, printed) = diff(&[list]);
    assert_eq!(code, 1);
    assert!(printed.contains("the server refuses: get\n"), "{printed}");
    assert!(
        printed.contains("the server permits besides: ") && printed.contains("config|set"),
        "{printed}"
    );
    assert!(printed.contains("names the server has besides: ~x"), "{printed}");
}
