//! Users while they are logged in: changed, disabled, deleted; files replaced under way.
//!
//! Owns: the cases. Never knows: certificates, other settings.

use std::time::Duration;

use super::support::client::{Got, PATIENCE};
use super::support::real_server::wait_until;
use super::*;

/// Sooner than a client that is only asked to leave.
fn ended(client: &mut Client) {
    assert_eq!(client.next(PATIENCE / 2), Got::End);
}

fn stays(client: &mut Client) {
    assert_eq!(client.next(Duration::from_millis(50)), Got::Silence);
}

fn logged_in(stage: &Stage, user: &str, password: &str) -> Client {
    let mut client = stage.client();
    assert_eq!(client.ask(&["AUTH", user, password]), OK);
    client
}

#[test]
fn policy_changes_under_its_users() {
    let stage = Stage::new("auth = \"users\"", &two_users());
    let mut client = logged_in(&stage, "app1", "sesame-1");
    assert_eq!(client.ask(&["SET", "one:k", "v"]), OK);
    stage.proxy.reconfigure("~one:*", "~uno:*");
    wait_until("the policy is another", || client.ask(&["SET", "uno:k", "v"]) == OK);
    assert!(is_noperm(&client.ask(&["SET", "one:k", "v"])));
    // Another policy of the same user.
    stage.proxy.reconfigure("policy = \"one\"", "policy = \"two\"");
    wait_until("the policy is another", || client.ask(&["SET", "two:k", "v"]) == OK);
    assert_eq!(user_of(&mut client), "app1");
}

/// The connection of a subscriber ends as soon as one of its channels is no longer allowed, as after Redis's ACL
/// SETUSER.
#[test]
fn subscription_that_is_no_longer_allowed_ends() {
    let channels = "&news:* &__keyspace@0__:two:*";
    let stage = Stage::new("auth = \"users\"", &two_users().replace("&*", channels));
    let mut writer = logged_in(&stage, "app2", "sesame-2");
    let mut subscribers: Vec<Client> =
        [vec!["SUBSCRIBE", "news:a"], vec!["PSUBSCRIBE", "news:*"], vec!["SSUBSCRIBE", "news:s"]]
            .iter()
            .map(|words| {
                let mut client = logged_in(&stage, "app2", "sesame-2");
                assert!(client.ask(words).starts_with(b"*3"), "{words:?}");
                client
            })
            .collect();
    let mut gone = logged_in(&stage, "app2", "sesame-2");
    gone.ask(&["SUBSCRIBE", "news:a"]);
    assert!(gone.ask(&["UNSUBSCRIBE"]).ends_with(b":0\r\n"));
    let mut other = logged_in(&stage, "app1", "sesame-1");
    // More channels are allowed, with other keys and without the command.
    stage.proxy.reconfigure(channels, &format!("{channels} &more -subscribe ~zwei:*"));
    wait_until("it is in force", || writer.ask(&["SET", "zwei:k", "v"]) == OK);
    assert_eq!(writer.ask(&["PUBLISH", "news:a", "x"]), b":2\r\n");
    for client in &mut subscribers[..2] {
        assert!(client.reply().ends_with(b"x\r\n"));
    }
    stage.proxy.reconfigure("&news:* &__", "&news:a &__");
    for client in &mut subscribers {
        ended(client);
    }
    for client in [&mut gone, &mut other, &mut writer] {
        stays(client);
    }
    assert_eq!(writer.ask(&["SET", "zwei:k", "v"]), OK);
    let cut = stage.proxy.metric("respgate_client_disconnects_total{reason=\"auth\"}");
    assert!((cut - 3.0).abs() < 0.1, "{cut}");
}

/// Changed passwords, disabled users and removed users take effect as after Redis's ACL SETUSER and ACL DELUSER.
#[test]
fn passwords_states_and_ends() {
    let stage = Stage::new("auth = \"users\"", &two_users());
    let mut first = logged_in(&stage, "app1", "sesame-1");
    let mut second = logged_in(&stage, "app2", "sesame-2");
    let mut stranger = stage.client();
    stage.proxy.reconfigure(&hash("sesame-1"), &hash("other"));
    wait_until("the new password is right", || {
        stage.client().ask(&["AUTH", "app1", "other"]) == OK
    });
    assert_eq!(stage.client().ask(&["AUTH", "app1", "sesame-1"]), WRONGPASS);
    assert_eq!(first.ask(&["SET", "one:k", "v"]), OK);

    stage.proxy.reconfigure("name = \"app1\"", "name = \"app1\"\nenabled = false");
    wait_until("it is disabled", || stage.client().ask(&["AUTH", "app1", "other"]) == WRONGPASS);
    assert_eq!(first.ask(&["SET", "one:k", "v"]), OK);

    let mut blocked = logged_in(&stage, "app2", "sesame-2");
    blocked.send(&["BLPOP", "two:list", "0"]);
    let mut listening = logged_in(&stage, "app2", "sesame-2");
    listening.ask(&["SUBSCRIBE", "ch"]);
    stage.proxy.reconfigure("name = \"app2\"", "name = \"app3\"");
    // The connections end although their clients send nothing.
    for client in [&mut second, &mut blocked, &mut listening] {
        ended(client);
    }
    stays(&mut first);
    stays(&mut stranger);
    assert_eq!(first.ask(&["SET", "one:k", "v"]), OK);
    assert_eq!(stranger.ask(&["AUTH", "app3", "sesame-2"]), OK);
    let gone = stage.proxy.metric("respgate_client_disconnects_total{reason=\"auth\"}");
    assert!((gone - 3.0).abs() < 0.1, "{gone}");
}

#[test]
fn listener_that_requires_users_and_no_longer_does() {
    let stage = Stage::new("auth = \"off\"", &two_users());
    let mut early = stage.client();
    assert_eq!(early.ask(&["SET", "any", "v"]), OK);
    stage.proxy.reconfigure("auth = \"off\"", "auth = \"users\"");
    // There is no user "default" for it to be.
    ended(&mut early);
    let mut client = logged_in(&stage, "app1", "sesame-1");
    assert!(is_noperm(&client.ask(&["SET", "any", "v"])));
    stage.proxy.reconfigure("auth = \"users\"", "auth = \"off\"");
    wait_until("it is open", || client.ask(&["SET", "any", "v"]) == OK);
    assert_eq!(user_of(&mut client), "default");
}

/// Files beside the configuration: loaded when they change, in whole or not at all.
#[test]
fn acl_file_changes() {
    let home = proxy::directory();
    let file = home.path().join("users.acl");
    let write = |text: &str| {
        let beside = file.with_extension("beside");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, &file).unwrap();
    };
    write("user a on >sesame-a ~a:* +@all\nuser b on >sesame-b ~b:* +@all\n");
    let stage = Stage::new("auth = \"users\"", &format!("[users]\nacl_file = {file:?}\n"));
    let mut a = logged_in(&stage, "a", "sesame-a");
    let mut b = logged_in(&stage, "b", "sesame-b");
    assert!(is_noperm(&a.ask(&["SET", "x:1", "v"])));

    let mut c = logged_in(&stage, "b", "sesame-b");
    assert_eq!(c.ask(&["MULTI"]), OK);
    assert_eq!(c.ask(&["SET", "b:1", "v"]), b"+QUEUED\r\n");
    write("user a on >sesame-a ~z:* +@all\nuser  b on >sesame-bb  ~b:* +@all\n");
    wait_until("a's policy is another", || a.ask(&["SET", "z:1", "v"]) == OK);
    assert_eq!(c.ask(&["EXEC"]), b"*1\r\n+OK\r\n", "b's is the same");

    write("user a on >sesame-a ~x:* +@all\n");
    ended(&mut b);
    assert_eq!(a.ask(&["SET", "x:1", "v"]), OK);
    assert!(is_noperm(&a.ask(&["SET", "a:1", "v"])));

    write("user a on sesame-x ~y:* +gett\n");
    let line = stage.proxy.await_log(&["REL-E001", "users.acl:1:11", "users.acl:1:25"]);
    assert!(line.contains("'+gett': unknown command; nearest: get"), "{line}");
    assert_eq!(a.ask(&["SET", "x:1", "v"]), OK);
    assert!(!stage.proxy.log().contains("sesame"), "{}", stage.proxy.log());
}

/// The configuration may name a file that was not watched before.
#[test]
fn file_that_is_named_later() {
    let stage = Stage::new("auth = \"users\"", &two_users());
    // Within reach of the sandbox.
    let file = stage.proxy.directory().join("later");
    std::fs::write(&file, "sesame-3").unwrap();
    stage.proxy.reconfigure(
        "[[user]]\nname = \"app2\"",
        &format!("[[user]]\nname = \"app2\"\npassword_file = {file:?}"),
    );
    let admits = |password: &str| stage.client().ask(&["AUTH", "app2", password]) == OK;
    wait_until("it is loaded", || admits("sesame-3"));
    std::fs::write(&file, "sesame-4").unwrap();
    wait_until("it is read again", || admits("sesame-4"));
    assert!(!admits("sesame-3"));
    assert!(admits("sesame-2"), "the other one is as before");
}
