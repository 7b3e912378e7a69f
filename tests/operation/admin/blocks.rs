//! `block` and `unblock` while clients are at work.
//!
//! Owns: the cases. Never knows: how a command is refused.

use super::house::{AdminState, await_end};
use super::support::client::{Client, Got, Target};

fn blocked(reply: &str) -> bool {
    reply.starts_with("-NOPERM respgate: ") && reply.contains("blocked by an operator")
}

#[test]
fn command_is_denied_at_once_over_a_reload_and_until_unblocked() {
    let house = AdminState::new("");
    let mut client = house.proxy.client();
    assert_eq!(client.ask_text(&["FLUSHALL"]), "+OK");
    let (code, printed) = house.ask(&["block", "--command", "FLUSHALL", "--command", "config|set"]);
    assert!(code == 0 && printed.contains("it concerns 1 connected client"), "{printed}");
    let denied = "-NOPERM respgate: 'flushall' is blocked by an operator (rule blocked)";
    assert_eq!(client.ask_text(&["FLUSHALL"]), denied);
    assert!(blocked(&client.ask_text(&["CONFIG", "SET", "maxmemory", "0"])));
    assert_eq!(client.ask_text(&["SET", "a", "1"]), "+OK");
    assert!(client.ask_text(&["CONFIG", "GET", "maxmemory"]).starts_with('*'));
    assert_eq!(client.ask_text(&["MULTI"]), "+OK");
    assert!(blocked(&client.ask_text(&["FLUSHALL"])));
    assert!(client.ask_text(&["EXEC"]).starts_with("-EXECABORT"));
    let metric = "respgate_blocked{what=\"command\"}";
    assert!((house.proxy.metric(metric) - 1.0).abs() < 0.1);
    house.proxy.await_metric(
        "respgate_commands_denied_total{command=\"flushall\",rule=\"blocked\"}",
        |count| count > 1.5,
    );
    let file = house.proxy.configuration_file();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("+@all ~* &*", "+@all ~* &* -keys")).unwrap();
    assert_eq!(house.ask(&["reload"]).0, 0);
    assert!(client.ask_text(&["KEYS", "*"]).starts_with("-NOPERM"));
    assert_eq!(client.ask_text(&["FLUSHALL"]), denied);
    assert_eq!(house.json(&["status"])["blocks"][0]["value"], "FLUSHALL config|set");
    assert_eq!(house.ask(&["unblock"]).0, 2);
    assert_eq!(house.ask(&["unblock", "7"]).0, 1);
    let (code, printed) = house.ask(&["unblock", "1"]);
    assert!(code == 0 && printed.contains("unblocked 1: command FLUSHALL config|set"), "{printed}");
    assert_eq!(client.ask_text(&["FLUSHALL"]), "+OK");
    assert!(house.proxy.metric(metric) < 0.1);
    house.proxy.await_log(&["ADM-I001", "verb=\"block\"", "command=FLUSHALL"]);
    assert_eq!(house.ask(&["block", "--command", "nosuch"]).0, 2);
}

#[test]
fn block_ends_by_its_time() {
    let house = AdminState::new("");
    let mut client = house.proxy.client();
    let (code, printed) = house.ask(&["block", "--command", "@write", "--for", "2s"]);
    assert!(code == 0 && printed.contains("until 20"), "{printed}");
    let reply = client.ask_text(&["SET", "a", "1"]);
    assert!(blocked(&reply) && reply.contains(" until 20"), "{reply}");
    house.await_status(|status| status["blocks"].as_array().unwrap().is_empty());
    house.proxy.await_log(&["ADM-I002"]);
    super::support::real_server::wait_until("the block has ended", || {
        client.ask_text(&["SET", "a", "1"]) == "+OK"
    });
}

#[test]
fn running_commands_end_with_the_block() {
    let house = AdminState::new("");
    let (mut subscribed, mut waiting, mut queued, mut idle) =
        (house.proxy.client(), house.proxy.client(), house.proxy.client(), house.proxy.client());
    assert_eq!(idle.ask_text(&["PING"]), "+PONG");
    assert!(subscribed.ask_text(&["SUBSCRIBE", "news"]).contains("subscribe"));
    waiting.send(&["BLPOP", "nothing", "0"]);
    assert_eq!(queued.ask_text(&["MULTI"]), "+OK");
    assert_eq!(queued.ask_text(&["SET", "a", "1"]), "+QUEUED");
    house.await_client(|client| client["state"] == "blocked");
    assert_eq!(house.ask(&["block", "--command", "subscribe", "--command", "blpop"]).0, 0);
    await_end(&mut subscribed);
    await_end(&mut waiting);
    assert!(queued.ask_text(&["EXEC"]).starts_with("-EXECABORT"), "it was judged by other rules");
    assert_eq!(idle.ask_text(&["PING"]), "+PONG");
    let reason = "respgate_client_disconnects_total{reason=\"blocked\"}";
    house.proxy.await_metric(reason, |count| count > 1.5);
}

/// Streams of the server's own data end too: MONITOR, and a replica.
#[test]
fn monitor_and_replication_end_with_the_block() {
    let house = AdminState::new("");
    let listener = house.listener();
    house.proxy.reconfigure("+@all ~*", "+@all +psync ~*");
    assert_eq!(house.ask(&["reload"]).0, 0);
    let blocks: [&[&str]; 3] = [
        &["--command", "monitor", "--command", "psync"],
        &["--command", "@dangerous"],
        &["--listener", &listener],
    ];
    for block in blocks {
        let (mut monitor, mut replica) = (house.proxy.client(), house.proxy.client());
        let mut other = house.proxy.client();
        assert_eq!(monitor.ask_text(&["MONITOR"]), "+OK");
        replica.send(&["PSYNC", "?", "-1"]);
        // The server sends empty lines while it prepares the stream.
        let patience = super::support::client::PATIENCE;
        let mut first = replica.bytes(1, patience);
        while first == b"\n" {
            first = replica.bytes(1, patience);
        }
        first.extend(replica.bytes(10, patience));
        assert_eq!(first, b"+FULLRESYNC", "{}", String::from_utf8_lossy(&first));
        assert_eq!(other.ask_text(&["PING"]), "+PONG");
        assert_eq!(house.ask(&[&["block"], block].concat()).0, 0);
        for mut client in [monitor, replica] {
            let (_, ended) = client.drain(super::support::client::PATIENCE);
            assert!(ended, "{block:?}");
        }
        let mut late = house.proxy.client();
        assert!(blocked(&late.ask_text(&["MONITOR"])), "{block:?}");
        assert_eq!(house.ask(&["unblock", "--all"]).0, 0);
        assert_eq!(other.ask_text(&["PING"]), "+PONG", "the others go on");
    }
}

#[test]
fn block_of_a_user_a_listener_or_a_uid_denies_every_command() {
    let users =
        "[[user]]\nname = \"app\"\nnopass = true\n[[user]]\nname = \"web\"\nnopass = true\n";
    let house = AdminState::with_listener("auth = \"users\"", users);
    let mut app = house.proxy.client();
    let mut web = house.proxy.client();
    assert_eq!(app.ask_text(&["AUTH", "app", "x"]), "+OK");
    assert_eq!(web.ask_text(&["AUTH", "web", "x"]), "+OK");
    assert_eq!(house.ask(&["block", "--user", "app", "--for", "1m"]).0, 0);
    assert!(blocked(&app.ask_text(&["GET", "a"])));
    assert_eq!(web.ask_text(&["GET", "a"]), "$-1");
    // A client that logs in as another user is that user, and the other way round.
    assert_eq!(app.ask_text(&["AUTH", "web", "x"]), "+OK");
    assert_eq!(app.ask_text(&["GET", "a"]), "$-1");
    assert_eq!(web.ask_text(&["AUTH", "app", "x"]), "+OK");
    assert!(blocked(&web.ask_text(&["GET", "a"])));
    let listener = house.listener();
    assert_eq!(house.ask(&["block", "--listener", &listener]).0, 0);
    assert!(app.ask_text(&["GET", "a"]).contains("this listener is blocked"));
    let mut fresh = house.proxy.client();
    assert_eq!(fresh.ask_text(&["AUTH", "web", "x"]), "+OK");
    assert!(blocked(&fresh.ask_text(&["GET", "a"])));
    assert_eq!(house.ask(&["block", "--listener", "127.0.0.1:1"]).0, 1);
    assert_eq!(house.ask(&["unblock", "--all"]).0, 0);
    assert_eq!(fresh.ask_text(&["GET", "a"]), "$-1");
    let path = house.unix_listener();
    let mut local = Client::connect(&Target::Unix(path)).unwrap();
    assert_eq!(local.ask_text(&["GET", "a"]), "$-1");
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&house.socket).unwrap());
    assert_eq!(house.ask(&["block", "--uid", &uid.to_string()]).0, 0);
    assert!(local.ask_text(&["GET", "a"]).contains("the uid of this client is blocked"));
    assert_eq!(fresh.ask_text(&["GET", "a"]), "$-1");
}

/// An attack of many connections that pipeline, and the block in the middle of it.
#[test]
fn block_holds_during_an_attack_and_others_are_served() {
    let house = AdminState::new("");
    let mut attackers: Vec<Client> = (0..20).map(|_| house.proxy.client()).collect();
    let mut good = house.proxy.client();
    let burst: Vec<Vec<&str>> = (0..50).map(|_| vec!["LPUSH", "flood", "x"]).collect();
    for attacker in &mut attackers {
        burst.iter().for_each(|words| attacker.send(words));
    }
    assert_eq!(house.ask(&["block", "--command", "lpush", "--for", "1m"]).0, 0);
    for attacker in &mut attackers {
        attacker.send(&["LPUSH", "flood", "last"]);
        let mut last = String::new();
        for _ in 0..=burst.len() {
            let Got::Reply(reply) = attacker.next(super::support::client::PATIENCE) else {
                panic!("the attacker is answered")
            };
            last = String::from_utf8_lossy(&reply).into_owned();
        }
        assert!(blocked(&last), "{last}");
    }
    assert_eq!(good.ask_text(&["SET", "a", "1"]), "+OK");
    let (code, printed) = house.ask(&["disconnect", "--listener", &house.listener()]);
    assert!(code == 0 && printed.contains("disconnected 21 clients"), "{printed}");
    assert_eq!(house.ask(&["unblock", "1"]).0, 0);
    assert!(house.proxy.client().ask_text(&["LPUSH", "flood", "x"]).starts_with(':'));
}
