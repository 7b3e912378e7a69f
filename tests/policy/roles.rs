//! A client's identity decides what it may do: listeners, users, uids, ACL files.
//!
//! Owns: roles as seen by applications and operators. Never knows: how a policy decides.
use crate::support;
mod acl_file;
mod reload;
mod same_as_server;

use std::os::unix::fs::MetadataExt;

use respgate::internals::base::password::PasswordHash;
use sha2::{Digest, Sha256};
use support::client::{Client, Target, encode};
use support::proxy::{self, Proxy};
use support::real_server::{Brand, Server, free_port};

const OK: &[u8] = b"+OK\r\n";
const WRONGPASS: &[u8] = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";
const NOAUTH: &[u8] = b"-NOAUTH Authentication required.\r\n";

/// The hash of a password, as a configuration and an ACL file have it.
fn hash(password: &str) -> String {
    let digits: String =
        Sha256::digest(password).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(PasswordHash::parse(&digits), Some(PasswordHash::of(password.as_bytes())));
    format!("#{digits}")
}

/// A respgate on a TCP port and a Unix socket, both with `keys`; `sections` is further TOML.
struct Stage {
    _server: Server,
    proxy: Proxy,
    socket: Target,
}

impl Stage {
    fn new(keys: &str, sections: &str) -> Self {
        let home = proxy::directory();
        let server = Server::plain(Brand::Redis);
        let (tcp, telemetry) = (Target::Tcp(free_port()), free_port());
        let socket = Target::Unix(home.path().join("respgate.sock"));
        let listeners = [&tcp, &socket].map(|target| proxy::listener(target, keys)).concat();
        let text = proxy::configuration(&server, &listeners, proxy::OPEN_POLICY, telemetry);
        let text = format!("{text}log_level = \"trace\"\n{sections}\n");
        Self { proxy: Proxy::configured(home, tcp, telemetry, &text), socket, _server: server }
    }

    fn client(&self) -> Client {
        self.proxy.client()
    }

    fn local(&self) -> Client {
        Client::connect(&self.socket).unwrap()
    }
}

fn is_noperm(reply: &[u8]) -> bool {
    reply.starts_with(b"-NOPERM")
}

fn user_of(client: &mut Client) -> String {
    let reply = client.ask_text(&["ACL", "WHOAMI"]);
    reply.split("\r\n").last().unwrap().to_owned()
}

const TWO_USERS: &str = "[policies.one]\nacl = \"+@all ~one:* -flushall\"\n\
     [policies.two]\nacl = \"+@all ~two:* &*\"\n";

fn two_users() -> String {
    format!(
        "{TWO_USERS}[[user]]\nname = \"app1\"\npasswords = [{:?}, {:?}]\npolicy = \"one\"\n\
         [[user]]\nname = \"app2\"\npasswords = [{:?}]\npolicy = \"two\"\n",
        hash("sesame-1"),
        hash("sesame-1b"),
        hash("sesame-2")
    )
}

#[test]
fn listener_has_a_policy() {
    let server = Server::plain(Brand::Redis);
    let home = proxy::directory();
    let (open, reading, telemetry) =
        (Target::Tcp(free_port()), Target::Tcp(free_port()), free_port());
    let listeners = [
        proxy::listener(&open, ""),
        proxy::listener(&reading, "policy = \"reading\"\nauth = \"ignore\""),
    ];
    let text = proxy::configuration(&server, &listeners.concat(), proxy::OPEN_POLICY, telemetry);
    let text = format!("{text}\n[policies.reading]\npreset = \"readonly\"\n");
    let proxy = Proxy::configured(home, open, telemetry, &text);
    let mut writer = proxy.client();
    let mut reader = Client::connect(&reading).unwrap();
    assert_eq!(writer.ask(&["SET", "k", "v"]), OK);
    assert!(is_noperm(&reader.ask(&["SET", "k", "w"])));
    assert_eq!(reader.ask(&["GET", "k"]), b"$1\r\nv\r\n");
    // Whatever it calls itself, it is the listener's client.
    assert_eq!(reader.ask(&["AUTH", "admin", "x"]), OK);
    assert!(is_noperm(&reader.ask(&["SET", "k", "w"])));
    assert_eq!(user_of(&mut reader), "default");
}

#[test]
fn user_decides_at_once() {
    let stage = Stage::new("auth = \"users\"", &two_users());
    let mut client = stage.client();
    assert_eq!(client.ask(&["GET", "one:k"]), NOAUTH);
    let set = |key| vec!["SET", key, "v"];
    let script: [(Vec<&str>, &[u8]); 13] = [
        (set("one:k"), NOAUTH),
        (vec!["AUTH", "app1", "sesame-1"], OK),
        (set("one:k"), OK),
        (set("two:k"), b"-NOPERM"),
        (vec!["AUTH", "app2", "sesame-2"], OK),
        (set("one:k"), b"-NOPERM"),
        (set("two:k"), OK),
        (vec!["AUTH", "app1", "sesame-2"], WRONGPASS),
        (set("two:k"), OK),
        (vec!["AUTH", "app1", "sesame-1b"], OK),
        (set("one:k"), OK),
        (vec!["RESET"], b"+RESET\r\n"),
        (set("one:k"), NOAUTH),
    ];
    let bytes: Vec<u8> = script.iter().flat_map(|(words, _)| encode(words)).collect();
    client.send_raw(&bytes);
    for (words, expected) in &script {
        let reply = client.reply();
        assert!(reply.starts_with(expected), "{words:?}: {}", reply.escape_ascii());
    }
    // HELLO waits for a connection that no session had before, and all behind it for HELLO.
    let hello = |user, password| encode(&["HELLO", "3", "AUTH", user, password]);
    let mut all = hello("app2", "sesame-2");
    all.extend(encode(&set("one:k")));
    all.extend(hello("app1", "sesame-1"));
    all.extend(encode(&set("one:k")));
    client.send_raw(&all);
    assert!(client.reply().starts_with(b"%7\r\n"));
    assert!(is_noperm(&client.reply()));
    assert!(client.reply().starts_with(b"%7\r\n"));
    assert_eq!(client.reply(), OK);
    assert_eq!(client.ask(&["HELLO", "2", "AUTH", "app2", "no"]), WRONGPASS);
    assert_eq!(user_of(&mut client), "app1");
    assert!(client.ask_text(&["CLIENT", "INFO"]).contains(" user=app1 "));
}

/// Two namespaces of one server, from one connection.
#[test]
fn prefix_is_that_of_the_user() {
    let rewrite = |prefix| {
        format!("acl = \"+@all ~* &*\"\nkeys = {{ mode = \"rewrite\", prefix = {prefix:?} }}")
    };
    let users = two_users()
        .replace("acl = \"+@all ~one:* -flushall\"", &rewrite("one:"))
        .replace("acl = \"+@all ~two:* &*\"", &rewrite("two:"));
    let stage = Stage::new("auth = \"users\"", &users);
    assert!(!stage.proxy.log().contains("POL-W001"));
    let mut client = stage.client();
    let one = ["HELLO", "3", "AUTH", "app1", "sesame-1"];
    let two = ["AUTH", "app2", "sesame-2"];
    let script: [&[&str]; 8] = [
        &one,
        &["SET", "k", "of one"],
        &two,
        &["GET", "k"],
        &["SET", "k", "of two"],
        &["AUTH", "app1", "sesame-1"],
        &["GET", "k"],
        &["KEYS", "*"],
    ];
    client.send_raw(&script.iter().flat_map(|words| encode(words)).collect::<Vec<_>>());
    let expected: [&[u8]; 8] =
        [b"%7", OK, OK, b"_\r\n", OK, OK, b"$6\r\nof one\r\n", b"*1\r\n$1\r\nk\r\n"];
    for (words, expected) in script.iter().zip(expected) {
        let reply = client.reply();
        assert!(reply.starts_with(expected), "{words:?}: {}", reply.escape_ascii());
    }
    // What was subscribed as one cannot arrive as the other.
    assert!(client.ask(&["SUBSCRIBE", "ch"]).starts_with(b">3"));
    let stays = b"-ERR respgate: the user cannot change while SUBSCRIBE";
    assert!(client.ask(&two).starts_with(stays));
    assert!(client.ask(&["HELLO", "3", "AUTH", "app2", "sesame-2"]).starts_with(stays));
    assert_eq!(client.ask(&["AUTH", "app1", "sesame-1b"]), OK, "still the same");
    assert_eq!(user_of(&mut client), "app1");
    let mut other = stage.client();
    assert_eq!(other.ask(&two), OK);
    assert_eq!(other.ask(&["PUBLISH", "ch", "to two"]), b":0\r\n");
    assert_eq!(other.ask(&["AUTH", "app1", "sesame-1"]), OK);
    assert_eq!(other.ask(&["PUBLISH", "ch", "to one"]), b":1\r\n");
    assert_eq!(client.reply(), b">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$6\r\nto one\r\n");
    assert!(client.ask(&["UNSUBSCRIBE"]).starts_with(b">3"));
    assert_eq!(client.ask(&two), OK);
    assert_eq!(client.ask(&["GET", "k"]), b"$6\r\nof two\r\n");
    // A prefix that is the beginning of the other separates nothing, which the log reports.
    stage.proxy.reconfigure("prefix = \"two:\"", "prefix = \"one:b:\"");
    let logged = ["POL-W001", "policies.one reaches the keys of policies.two"];
    stage.proxy.await_log(&logged);
    let users = users.replace("prefix = \"two:\"", "prefix = \"one:b:\"");
    Stage::new("auth = \"users\"", &users).proxy.await_log(&logged);
}

#[test]
fn inside_a_transaction() {
    let stage = Stage::new("auth = \"users\"", &two_users());
    let mut client = stage.client();
    assert_eq!(client.ask(&["AUTH", "app1", "sesame-1"]), OK);
    assert_eq!(client.ask(&["MULTI"]), OK);
    assert_eq!(client.ask(&["ACL", "WHOAMI"]), b"+QUEUED\r\n");
    assert_eq!(client.ask(&["SET", "one:k", "v"]), b"+QUEUED\r\n");
    assert_eq!(client.ask(&["EXEC"]), b"*2\r\n$4\r\napp1\r\n+OK\r\n");
    assert_eq!(client.ask(&["MULTI"]), OK);
    assert!(is_noperm(&client.ask(&["SET", "two:k", "v"])));
    assert!(client.ask(&["EXEC"]).starts_with(b"-EXECABORT"));
}

#[test]
fn peer_needs_no_password() {
    let uid = std::fs::metadata("/proc/self").unwrap().uid();
    let users =
        two_users().replace("policy = \"two\"\n", &format!("policy = \"two\"\nuids = [{uid}]\n"));
    let stage = Stage::new("auth = \"users\"", &users);
    let mut local = stage.local();
    assert_eq!(local.ask(&["SET", "two:k", "v"]), OK);
    assert!(is_noperm(&local.ask(&["SET", "one:k", "v"])));
    assert_eq!(user_of(&mut local), "app2");
    assert_eq!(local.ask(&["AUTH", "app1", "sesame-1"]), OK);
    assert_eq!(local.ask(&["SET", "one:k", "v"]), OK);
    assert_eq!(local.ask(&["RESET"]), b"+RESET\r\n");
    assert_eq!(user_of(&mut local), "app2");
    assert_eq!(local.ask(&["SET", "two:k", "v"]), OK);
    // The uid at the other end of TCP is unknown.
    assert_eq!(stage.client().ask(&["GET", "two:k"]), NOAUTH);
}

#[test]
fn uid_of_another_user() {
    let uid = std::fs::metadata("/proc/self").unwrap().uid() + 1;
    let users =
        two_users().replace("policy = \"two\"\n", &format!("policy = \"two\"\nuids = [{uid}]\n"));
    let stage = Stage::new("auth = \"users\"", &users);
    assert_eq!(stage.local().ask(&["GET", "two:k"]), NOAUTH);
}

/// Passwords stand in the configuration as hashes, in files, in clients' requests; nowhere else.
#[test]
fn no_secret_is_written_down() {
    let home = proxy::directory();
    let file = home.path().join("file-password");
    std::fs::write(&file, "sesame-3\n").unwrap();
    let users = format!("{}[[user]]\nname = \"app3\"\npassword_file = {file:?}\n", two_users());
    let stage = Stage::new("auth = \"users\"", &users);
    let mut client = stage.client();
    assert_eq!(client.ask(&["AUTH", "app3", "sesame-3"]), OK);
    assert_eq!(client.ask(&["SET", "any", "v"]), OK, "without a policy of its own: the listener's");
    assert_eq!(client.ask(&["AUTH", "app1", "sesame-1"]), OK);
    assert_eq!(client.ask(&["AUTH", "app1", "sesame-x"]), WRONGPASS);
    assert_eq!(client.ask(&["AUTH", "sesame-y"]), WRONGPASS);
    stage.proxy.reconfigure("auth = \"users\"", "auth = \"users\"\npolicy = \"one\"");
    stage.proxy.await_log(&["new configuration in force", "listener.policy"]);
    let log = stage.proxy.log();
    assert!(!log.contains("sesame"), "{log}");
    for password in ["sesame-1", "sesame-1b", "sesame-2", "sesame-3"] {
        assert!(!log.contains(&hash(password)[1..]), "{log}");
    }
    let failed = stage.proxy.metric("respgate_client_auth_total{result=\"failed\"}");
    let ok = stage.proxy.metric("respgate_client_auth_total{result=\"ok\"}");
    assert!((failed - 2.0).abs() < 0.1 && (ok - 2.0).abs() < 0.1, "{failed} {ok}");
}
