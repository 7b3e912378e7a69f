//! The configuration file: policy, limits, log level; and what only a restart can change.
//!
//! Owns: the cases. Never knows: certificates and passwords.

use super::support::client::encode;
use super::support::proxy::OPEN_POLICY;
use super::*;

const SECTIONS: &str = "[limits]\nmax_bulk = \"1MiB\"\nmax_clients = 100\n";

fn stage() -> (Server, Proxy) {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, SECTIONS);
    (server, proxy)
}

fn applied(proxy: &Proxy) -> f64 {
    attempts(proxy, "config", "applied")
}

/// By the watch alone, and for sessions that are open already.
#[test]
fn policy_by_writing_the_file() {
    let (_server, proxy) = stage();
    let mut client = proxy.client();
    assert_eq!(client.ask(&["INCR", "n"]), b":1\r\n");
    assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
    assert_eq!(client.ask(&["INCR", "n"]), b"+QUEUED\r\n");
    proxy.reconfigure(OPEN_POLICY, "+@all -incr ~app1:* &*");
    wait_until("it is applied", || applied(&proxy) > 0.5);
    // What was queued was permitted; what comes is not.
    assert!(client.ask(&["INCR", "n"]).starts_with(b"-NOPERM"));
    assert!(client.ask(&["EXEC"]).starts_with(b"-EXECABORT"));
    assert!(client.ask(&["INCR", "app1:n"]).starts_with(b"-NOPERM"));
    assert!(client.ask(&["GET", "n"]).starts_with(b"-NOPERM"));
    assert_eq!(client.ask(&["GET", "app1:n"]), b"$-1\r\n");
    // And as an editor does, in place.
    let file = proxy.configuration_file();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("+@all -incr ~app1:* &*", OPEN_POLICY)).unwrap();
    wait_until("and back", || client.ask(&["GET", "n"]) == b"$1\r\n1\r\n");
}

#[test]
fn limits_and_log_level_by_signal() {
    let (_server, proxy) = stage();
    let set = |length: usize| proxy.client().ask(&["SET", "k", &"x".repeat(length)]);
    assert_eq!(set(900_000), b"+OK\r\n");
    proxy.reconfigure("max_bulk = \"1MiB\"", "max_bulk = \"100KiB\"");
    proxy.hang_up();
    wait_until("the limit is smaller", || set(900_000).starts_with(b"-ERR respgate"));
    proxy.reconfigure("max_clients = 100", "max_clients = 2");
    proxy.hang_up();
    let mut kept = vec![proxy.client()];
    wait_until("there is room for two", || {
        kept.push(proxy.client());
        kept.last_mut().unwrap().ask(&["PING"]) == b"-ERR max number of clients reached\r\n"
    });
    assert_eq!(kept[0].ask(&["PING"]), b"+PONG\r\n", "a connected client stays connected");
    drop(kept);

    let telemetry = "[telemetry]\n";
    proxy.reconfigure(telemetry, "[telemetry]\nlog_level = \"error\"\n");
    let before = applied(&proxy);
    proxy.hang_up();
    wait_until("it is applied", || applied(&proxy) > before);
    proxy.reconfigure(telemetry, "[telemetry]\nnonsense = 1\n");
    wait_until("it is rejected", || rejections(&proxy, "config", "invalid_config") > 0.5);
    assert!(!proxy.log().contains("REL-E001"), "warnings are not written: {}", proxy.log());
    proxy.reconfigure("[telemetry]\nnonsense = 1\nlog_level = \"error\"\n", telemetry);
    let before = applied(&proxy);
    proxy.hang_up();
    wait_until("it is applied", || applied(&proxy) > before);
    proxy.reconfigure(telemetry, "[telemetry]\nnonsense = 1\n");
    proxy.await_log(&["REL-E001", "nonsense"]);
}

/// All or nothing: a good change beside a bad one is not applied either.
#[test]
fn invalid_configuration_changes_nothing() {
    let (_server, proxy) = stage();
    let file = proxy.configuration_file();
    let good = std::fs::read_to_string(&file).unwrap();
    let stricter = good.replace(OPEN_POLICY, "+@all -incr ~* &*");
    let cases = [
        (format!("{stricter}\n[nonsense]\nx = 1\n"), "nonsense"),
        (stricter.replace("max_bulk = \"1MiB\"", "max_bulk = \"much\""), "max_bulk"),
        (stricter.replace("max_bulk = \"1MiB\"", "max_bulk = \"1TiB\""), "max_bulk"),
        (format!("{stricter}\nthis is no TOML"), "respgate.toml"),
        (good.replace(OPEN_POLICY, "+@all -nosuchcommand ~*"), "nosuchcommand"),
        (
            format!("{stricter}\n[upstream.pool]\nmax_connections = 3\n"),
            "only a restart can change upstream.pool",
        ),
        (stricter.replace("[[listener]]", "[[listener]]\nmode = \"0600\""), "mode"),
        (
            stricter.replace(
                "[upstream]",
                "[[listener]]\naddress = \"unix:/tmp/x.sock\"\n\n[upstream]",
            ),
            "only a restart can change listener",
        ),
        (stricter.replace("ca.crt", "other.crt"), "only a restart can change upstream.tls"),
        (String::new(), "upstream"),
    ];
    let mut client = proxy.client();
    for (number, (text, word)) in (1..).zip(&cases) {
        std::fs::write(&file, text).unwrap();
        wait_until(word, || {
            rejections(&proxy, "config", "invalid_config") > f64::from(number) - 0.5
        });
        proxy.await_log(&["WARN", "REL-E001", word]);
        assert!(client.ask(&["INCR", "n"]).starts_with(b":"), "{word}");
    }
    std::fs::remove_file(&file).unwrap();
    let before = attempts(&proxy, "config", "rejected");
    proxy.hang_up();
    wait_until("it is missed", || attempts(&proxy, "config", "rejected") > before);
    assert!(client.ask(&["INCR", "n"]).starts_with(b":"));
    rename_over(&file, &stricter);
    wait_until("it is applied", || client.ask(&["INCR", "n"]).starts_with(b"-NOPERM"));
}

/// A file with the same settings in other words is not a change.
#[test]
fn equal_configuration_in_other_words() {
    let (server, proxy) = stage();
    serves(&proxy);
    let old = connections_after(&server, &["set", "blpop"]);
    assert_eq!(old.len(), 2);
    proxy.reconfigure("max_bulk = \"1MiB\"", "# one mebibyte\nmax_bulk = \"1024KiB\"");
    proxy.hang_up();
    wait_until("it looks", || attempts(&proxy, "config", "unchanged") > 0.5);
    assert!(applied(&proxy) < 0.5);
    assert!(old.iter().all(|id| connections(&server).contains(id)));
}

/// A client under a policy that stays as it is notices nothing of what else is changed.
#[test]
fn transaction_across_a_change_of_something_else() {
    let (_server, proxy) = stage();
    let mut client = proxy.client();
    assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
    assert_eq!(client.ask(&["INCR", "n"]), b"+QUEUED\r\n");
    let spaced = OPEN_POLICY.replace(' ', "  ");
    for (number, (from, to)) in (1..).zip([
        ("max_clients = 100", "max_clients = 99"),
        ("[policy]\n", "[policies.other]\nacl = \"+get\"\n\n[policy]\n"),
        (OPEN_POLICY, spaced.as_str()),
    ]) {
        proxy.reconfigure(from, to);
        proxy.hang_up();
        wait_until(to, || applied(&proxy) > f64::from(number) - 0.5);
        assert_eq!(client.ask(&["INCR", "n"]), b"+QUEUED\r\n", "{to}");
    }
    assert_eq!(client.ask(&["EXEC"]), b"*4\r\n:1\r\n:2\r\n:3\r\n:4\r\n");
}

/// What a pipeline has sent when the policy changes is judged once, by one or the other.
#[test]
fn pipeline_across_a_change() {
    let (_server, proxy) = stage();
    let mut client = proxy.client();
    client.send_raw(&encode(&["INCR", "n"]).repeat(20_000));
    assert_eq!(client.reply(), b":1\r\n");
    proxy.reconfigure(OPEN_POLICY, "+@all -incr ~* &*");
    proxy.hang_up();
    let mut served = 1;
    for _ in 1..20_000 {
        let reply = client.reply();
        if reply.starts_with(b":") {
            served += 1;
            assert_eq!(reply, format!(":{served}\r\n").into_bytes());
        } else {
            assert!(reply.starts_with(b"-NOPERM"));
        }
    }
    let counted = client.ask_text(&["GET", "n"]);
    assert!(counted.ends_with(&format!("\n{served}")), "{served} {counted}");
}
