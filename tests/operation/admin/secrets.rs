//! No secret is in an answer, an error, a help or the log: passwords, tokens, keys, values.
//!
//! Owns: that case. Never knows: how a secret is kept.

use super::house::{self, AdminState, TOKEN};
use super::search::Search;
use super::shapes::verbs;

const UPSTREAM: &str = "Qx7vT2pLk9ZrMd3y";
const AUDIT_KEY: &str = "8Hn3Wm5Yc1Db7Sf0Gj4Ka6Pe2Ru9Xo1Lt";
const USER: &str = "Jq4Xw8Bz6Nt1Vr";
const WRONG: &str = "Ec5Mh2Vy7DsPb0";
const VALUE: &str = "Tg3Rf9Uk0Ol8Zq";
const OTHER_TOKEN: &str = "Wb7Ni5Xs3Aq1Hm6Td";

fn sections(house_directory: &std::path::Path) -> String {
    let file = |name: &str, text: &str| {
        let path = house_directory.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (password, key) = (file("password", UPSTREAM), file("audit.key", AUDIT_KEY));
    let hash = house::sha256(USER);
    format!(
        "[upstream.auth]\nusername = \"default\"\npassword_file = {password:?}\n\
         [[user]]\nname = \"app\"\npasswords = [\"#{hash}\"]\n\
         [slowlog]\nthreshold = \"1ms\"\n[hotkeys]\nsample = 1\nbig = \"1KiB\"\n\
         [audit]\nsensitive = [\"@all\"]\nkeys = \"hmac\"\nkey_file = {key:?}\n\
         [[audit.sink]]\ntype = \"file\"\npath = \"audit.log\"\n"
    )
}

/// Commands with secrets in every place in which a client can put one.
fn feed(house: &AdminState) {
    let mut client = house.proxy.client();
    assert!(client.ask_text(&["AUTH", "app", WRONG]).starts_with("-WRONGPASS"));
    assert!(client.ask_text(&["HELLO", "2", "AUTH", "app", WRONG]).starts_with("-WRONGPASS"));
    assert_eq!(client.ask_text(&["AUTH", "app", USER]), "+OK");
    let large = VALUE.repeat(200);
    let slow = format!("local a = '{VALUE}'; for i = 1, 3000000 do end");
    for command in [
        &["SET", "a", VALUE][..],
        &["SET", "large", &large],
        &["HSET", "h", VALUE, VALUE],
        &["EVAL", &slow, "1", "a", VALUE],
        &["ACL", "SETUSER", "another", &format!(">{VALUE}")],
        &["CONFIG", "SET", "masterauth", VALUE],
        &["MIGRATE", "127.0.0.1", "1", "a", "0", "1", "AUTH", VALUE],
        &["NOSUCHCOMMAND", VALUE],
        &["GET", "a", VALUE],
    ] {
        client.ask(command);
    }
}

#[test]
fn secrets_are_in_no_answer_no_error_no_help_and_no_log() {
    let house = AdminState::with_secrets(sections);
    let key = std::fs::read_to_string(house.client_key()).unwrap();
    let secrets = [UPSTREAM, AUDIT_KEY, USER, WRONG, VALUE, OTHER_TOKEN, TOKEN, &key];
    let search = Search::new(&secrets.map(str::as_bytes));
    feed(&house);
    let (config, address) = (house.proxy.configuration_file(), house.address());
    let config = config.to_str().unwrap();
    let token = house.token_file();
    let other = house.proxy.directory().join("other-token");
    std::fs::write(&other, OTHER_TOKEN).unwrap();
    let at = [
        &["--socket", &house.socket][..],
        &["--admin-address", &address, "--token-file", &token],
        &["--admin-address", &address, "--token-file", other.to_str().unwrap()],
    ];
    let mut lines: Vec<Vec<&str>> = Vec::new();
    for words in [
        &["status"][..],
        &["clients"],
        &["metrics"],
        &["logs", "recent"],
        &["audit", "recent"],
        &["learn"],
        &["slowlog"],
        &["hotkeys"],
        &["hotkeys", "--big"],
        &["health", "upstream"],
        &["log-level", "debug"],
        &["block", "--user", "stranger"],
        &["unblock", "--all"],
        &["disconnect", "--name", "stranger"],
        &["reload"],
        &["wait", "--timeout", "300ms"],
    ] {
        lines.push([words, at[0], &["--json"]].concat());
        lines.extend(at.map(|place| [words, place].concat()));
    }
    for words in [
        &["check"][..],
        &["check", "--connect"],
        &["check", "--connect", "-vv"],
        &["acl"],
        &["acl", "--diff"],
        &["doctor"],
        &["doctor", "-v"],
        &["test"],
        &["explain"],
        &["top", "--once", "--interval", "200ms"],
    ] {
        let tail = if words[0] == "explain" { &["GET a"][..] } else { &[] };
        lines.push([words, &["--config", config], tail].concat());
        if !["top", "test"].contains(&words[0]) && !words.contains(&"-v") && !words.contains(&"-vv")
        {
            lines.push([words, &["--config", config, "--json"], tail].concat());
        }
    }
    let key = house.client_key();
    lines.push(vec!["certs", "inspect", key.to_str().unwrap()]);
    for words in &lines {
        let (_, printed) = house::respgate(words, &[]);
        search.assert_absent(&printed, &words.join(" "));
    }
    let mut all = Vec::new();
    verbs(&[], &mut all);
    for (verb, help) in all {
        search.assert_absent(&help, &verb);
    }
    search.assert_absent(&house.proxy.log(), "the log");
    let audit = std::fs::read_to_string(house.proxy.directory().join("audit.log")).unwrap();
    search.assert_absent(&audit, "the audit log");
}
