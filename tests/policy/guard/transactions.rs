//! `EVALSHA` of a guarded script inside `MULTI`, where nothing can be sent a second time.
//!
//! Owns: what goes to a server that has never seen the guarded text. Never knows: how scripts are kept.

use super::super::support::client::Client;
use super::super::support::proxy::Proxy;
use super::super::support::real_server::{Brand, Server, wait_until};
use super::super::{flush_scripts, pipeline, sha};
use super::{POLICIES, server};

const ADD: &str = "return redis.call('INCRBY',KEYS[1],ARGV[1])";
const READ: &str = "return redis.call('GET',KEYS[1])";
/// One that clients wait for on connections of their own.
const SESSION: &str = "[upstream.pool]\nmode = \"session\"\n";

fn behind(server: &Server, sections: &str) -> Proxy {
    Proxy::with_policy(server, POLICIES[0].0, &format!("{}{sections}", POLICIES[0].1))
}

/// Both scripts in a transaction, by their names; the replies of `EXEC`.
fn by_name(client: &mut Client) -> String {
    let (add, read) = (sha(ADD), sha(READ));
    let commands: &[&[&str]] = &[
        &["MULTI"],
        &["EVALSHA", &add, "1", "n", "1"],
        &["evalsha_ro", &read, "1", "n"],
        &["EVALSHA", &add, "1", "n", "1"],
        &["EXEC"],
    ];
    let replies = pipeline(client, commands);
    assert_eq!(replies[..4], ["+OK", "+QUEUED", "+QUEUED", "+QUEUED"]);
    replies[4].clone()
}

fn know_both(client: &mut Client) {
    client.ask(&["SET", "n", "0"]);
    client.ask(&["EVAL", ADD, "1", "n", "0"]);
    client.ask(&["EVAL_RO", READ, "1", "n"]);
    assert_eq!(by_name(client), "*3 :1 $1 1 :2");
}

/// Whether a transaction goes to the server without the scripts' texts, which it has by now.
///
/// A connection that is opened or closed is a reason to send them again, so that this may take several trials.
fn goes_by_name(server: &Server, client: &mut Client) -> bool {
    server.observer().ask(&["CONFIG", "RESETSTAT"]);
    assert!(by_name(client).starts_with("*3 :"));
    let counts = server.observer().ask_text(&["INFO", "commandstats"]);
    ["evalsha:calls=2,", "evalsha_ro:calls=1,"]
        .iter()
        .all(|count| counts.contains(&format!("cmdstat_{count}")))
}

/// Other rules put another prologue before the same script.
#[test]
fn script_is_found_in_a_transaction_after_a_reload_of_the_rules() {
    for brand in [Brand::Redis, Brand::Valkey].into_iter().filter(|brand| brand.available()) {
        for sections in ["", SESSION] {
            let server = server(brand);
            let proxy = behind(&server, sections);
            let mut client = proxy.client();
            know_both(&mut client);
            let file = proxy.configuration_file();
            let rules = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, format!("{rules}\n[policy.values]\nmax_bytes = 100\n")).unwrap();
            proxy.hang_up();
            let long = "x".repeat(101);
            wait_until("the rules are in force", || {
                proxy.client().ask(&["SET", "long", &long]).starts_with(b"-NOPERM")
            });
            assert_eq!(by_name(&mut client), "*3 :3 $1 3 :4", "{brand:?} {sections}");
            wait_until("the texts are not sent again", || goes_by_name(&server, &mut client));
        }
    }
}

#[test]
fn script_is_found_in_a_transaction_after_a_restart_of_the_server() {
    let mut server = server(Brand::Redis);
    for sections in ["", SESSION] {
        let proxy = behind(&server, sections);
        know_both(&mut proxy.client());
        server.stop();
        server.start();
        wait_until("respgate has the server again", || {
            proxy.client().ask(&["PING"]) == b"+PONG\r\n"
        });
        assert_eq!(by_name(&mut proxy.client()), "*3 :1 $1 1 :2", "{sections}");
    }
}

/// What another client of the server has it forget meanwhile is answered as the server does.
#[test]
fn script_that_was_flushed_is_missing_in_a_transaction() {
    let server = server(Brand::Redis);
    let proxy = behind(&server, "");
    let mut client = proxy.client();
    know_both(&mut client);
    flush_scripts(&server);
    let missing = "-NOSCRIPT No matching script. Please use EVAL.";
    assert_eq!(by_name(&mut client), format!("*3 {missing} {missing} {missing}"));
    assert_eq!(client.ask(&["EVALSHA", &sha(ADD), "1", "n", "1"]), b":3\r\n");
    assert_eq!(client.ask(&["EVALSHA_RO", &sha(READ), "1", "n"]), b"$1\r\n3\r\n");
    assert_eq!(by_name(&mut client), "*3 :4 $1 4 :5");
}
