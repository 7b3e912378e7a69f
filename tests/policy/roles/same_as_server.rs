//! AUTH, HELLO, RESET: what a server with these users answers, respgate answers.
//!
//! Owns: the scripts. Never knows: what is right; the server shows it.

use super::*;

/// The users of one comparison, as `ACL SETUSER` takes them.
type Roles<'a> = &'a [(&'a str, &'a str)];

const APPLICATIONS: [(&str, &str); 4] = [
    ("app1", "on >one >uno ~a:* +@all -config"),
    ("app2", "on nopass ~b:* resetchannels &b:* +@read +@pubsub +@transaction +acl|whoami"),
    ("gone", "off >one ~* +@all"),
    ("mute", "on ~* +@all"),
];

const SCRIPT: &[&[&str]] = &[
    &["ACL", "WHOAMI"],
    &["GET", "a:1"],
    &["PING"],
    &["AUTH"],
    &["AUTH", "one"],
    &["AUTH", "default", "one"],
    &["ACL", "WHOAMI"],
    &["AUTH", "app1", "two"],
    &["AUTH", "app1", "one", "more"],
    &["AUTH", "app1", "uno"],
    &["ACL", "WHOAMI"],
    &["SET", "a:1", "x"],
    &["GET", "b:1"],
    &["CONFIG", "GET", "port"],
    &["AUTH", "stranger", "one"],
    &["AUTH", "gone", "one"],
    &["AUTH", "mute", ""],
    &["AUTH", "app2", "two"],
    &["ACL", "WHOAMI"],
    &["GET", "a:1"],
    &["GET", "b:1"],
    &["SET", "b:1", "x"],
    &["MULTI"],
    &["GET", "b:1"],
    &["ACL", "WHOAMI"],
    &["SET", "b:1", "x"],
    &["EXEC"],
    &["HELLO", "3", "AUTH", "app1", "wrong"],
    &["ACL", "WHOAMI"],
    &["HELLO", "3", "AUTH", "app1", "one", "SETNAME", "x"],
    &["ACL", "WHOAMI"],
    &["CLIENT", "GETNAME"],
    &["SET", "a:1", "y"],
    &["GET", "b:1"],
    &["HELLO", "9", "AUTH", "app2", "x"],
    &["ACL", "WHOAMI"],
    &["HELLO", "2", "AUTH", "gone", "one"],
    &["HELLO", "2", "AUTH", "app2"],
    &["HELLO"],
    &["RESET"],
    &["ACL", "WHOAMI"],
    &["GET", "a:1"],
    &["HELLO", "3"],
    &["HELLO", "2", "AUTH", "default", "one"],
    &["AUTH", "app1", "one"],
    &["ACL", "WHOAMI"],
    // A user that exists only where roles have databases.
    &["AUTH", "dbs", "x"],
    &["GET", "a:1"],
    &["SET", "a:1", "x"],
    &["PING"],
    &["SELECT", "3"],
    &["SELECT", "1"],
    &["SET", "a:1", "x"],
    &["MULTI"],
    &["SELECT", "2"],
    &["SET", "a:2", "y"],
    &["EXEC"],
    &["GET", "a:2"],
    &["MULTI"],
    &["SELECT", "0"],
    &["SET", "a:2", "y"],
    &["EXEC"],
    &["MULTI"],
    &["SELECT", "1"],
    &["SELECT", "3"],
    &["EXEC"],
    &["RESET"],
];

const WITH_DATABASES: [(&str, &str); 2] = [
    ("default", "on nopass ~* &* +@all alldbs"),
    ("dbs", "on nopass ~* +@all db=1,2 (~* +get db=0)"),
];

/// The number of the client is each side's own; later versions name HELLO's argument, and refuse in
/// other words.
fn without_id(reply: &[u8]) -> String {
    let text = reply.escape_ascii().to_string().replace("HELLO <proto> AUTH", "HELLO AUTH");
    if text.starts_with("-NOPERM") {
        return "-NOPERM".to_owned();
    }
    let Some((before, after)) = text.split_once("$2\\r\\nid\\r\\n:") else { return text };
    let end = after.find('\\').unwrap();
    format!("{before}{}", &after[end..])
}

fn compare(brand: Brand, roles: Roles<'_>) {
    if !brand.available() {
        return;
    }
    let home = proxy::directory();
    let file = home.path().join("users.acl");
    std::fs::write(&file, "").unwrap();
    let straight = Server::new(brand, false, &["--aclfile", file.to_str().unwrap()]);
    let mut observer = straight.observer();
    let admin = ["ACL", "SETUSER", "admin", "on", "nopass", "~*", "&*", "+@all"];
    assert_eq!(observer.ask(&admin), OK);
    assert_eq!(observer.ask(&["AUTH", "admin", ""]), OK);
    for (name, rules) in roles.iter().chain(&APPLICATIONS) {
        let words = ["ACL", "SETUSER", name, "reset"].into_iter().chain(rules.split(' '));
        assert_eq!(observer.ask(&words.collect::<Vec<_>>()), OK, "{name} {rules}");
    }
    assert_eq!(observer.ask(&["ACL", "SAVE"]), OK);

    let behind = Server::plain(brand);
    let (target, telemetry) = (Target::Tcp(free_port()), free_port());
    let listener = proxy::listener(&target, "auth = \"users\"");
    let text = proxy::configuration(&behind, &listener, "-@all", telemetry);
    let text = format!("{text}\n[users]\nacl_file = {file:?}\n");
    let proxy = Proxy::configured(home, target, telemetry, &text);

    let mut clients = [Client::connect(&straight.target()).unwrap(), proxy.client()];
    for words in SCRIPT {
        let [server, ours] = clients.each_mut().map(|client| without_id(&client.ask(words)));
        assert_eq!(ours, server, "{brand:?} {roles:?}: {words:?}");
    }
    // The same in one write.
    let all: Vec<u8> = SCRIPT.iter().flat_map(|words| encode(words)).collect();
    let mut clients = [Client::connect(&straight.target()).unwrap(), proxy.client()];
    for client in &mut clients {
        client.send_raw(&all);
    }
    for words in SCRIPT {
        let [server, ours] = clients.each_mut().map(|client| without_id(&client.reply()));
        assert_eq!(ours, server, "{brand:?} {roles:?}: {words:?} in one write");
    }
}

const DEFAULTS: [(&str, &str); 4] = [
    ("default", "on nopass ~* &* +@all"),
    ("default", "on >one ~a:* &* +@all"),
    ("default", "off nopass ~* &* +@all"),
    ("default", "on nopass ~b:* +@read +acl|whoami"),
];

#[test]
fn redis() {
    for default in DEFAULTS {
        compare(Brand::Redis, &[default]);
    }
}

#[test]
fn valkey() {
    for default in DEFAULTS {
        compare(Brand::Valkey, &[default]);
    }
    compare(Brand::Valkey, &WITH_DATABASES);
}
