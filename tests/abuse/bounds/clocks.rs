//! Every state in which a client can rest has a time limit; each is tried here.
//!
//! Owns: the states. Never knows: which deadline is kept where.

use super::support::client::{PATIENCE, Target};
use super::support::proxy::{configuration, directory, listener};
use super::support::real_server::free_port;
use super::*;

const TIMES: &str = "[limits]\nlogin_timeout = \"1s\"\ntransfer_timeout = \"500ms\"\n\
     [upstream.pool]\ncommand_timeout = \"5s\"\nacquire_timeout = \"20s\"\nmax_connections = 8\n";

/// Brings a client into some state, in which it sends nothing more.
type Rest = fn(&mut Client);

fn half_a_large_value(client: &mut Client) {
    client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$200000\r\nxxxx");
}

/// So much that neither side's socket takes it.
fn unread(client: &mut Client, key: &str, times: usize) {
    client.send_raw(&encode(&["GET", key]).repeat(times));
}

const STATES: &[(&str, Rest)] = &[
    ("half an array header", |client| client.send_raw(b"*3")),
    ("half a request", |client| client.send_raw(b"*2\r\n$3\r\nGET\r\n$5\r\nab")),
    ("half an inline request", |client| client.send_raw(b"GET a")),
    ("a whole request and half of the next", |client| {
        client.send_raw(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPI");
    }),
    ("half a request in a transaction", |client| {
        client.ask(&["MULTI"]);
        client.send_raw(b"*2\r\n$3\r\nGE");
    }),
    ("half a request with a watch", |client| {
        client.ask(&["WATCH", "k"]);
        client.send_raw(b"*2\r\n$3\r\nGE");
    }),
    ("half a large value", half_a_large_value),
    ("half a large value that is denied", |client| {
        client.send_raw(b"*3\r\n$6\r\nDEBUG1\r\n$1\r\nk\r\n$200000\r\nxxxx");
    }),
    ("half a value that is longer than permitted", |client| {
        client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$99000000\r\nxxxx");
    }),
    ("half a script that is collected", |client| {
        client.send_raw(b"*4\r\n$4\r\nEVAL\r\n$100000\r\n--");
    }),
    ("unread replies", |client| unread(client, "k", 100)),
    ("an unread large reply", |client| unread(client, "large", 1)),
    ("unread large replies", |client| unread(client, "large", 3)),
    ("unread replies of a transaction", |client| {
        client.ask(&["MULTI"]);
        for _ in 0..100 {
            client.ask(&["GET", "k"]);
        }
        client.send(&["EXEC"]);
    }),
    ("unread messages", |client| {
        wait_until("it is subscribed", || client.ask(&["SUBSCRIBE", "news"]).starts_with(b"*3"));
    }),
];

#[test]
fn clocks_end_every_state_in_which_a_client_can_rest() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, TIMES);
    server.observer().ask(&["SETRANGE", "k", "59999", "x"]);
    server.observer().ask(&["SETRANGE", "large", "7999999", "x"]);
    let mut clients: Vec<(&str, Client)> = Vec::new();
    for (state, rest) in STATES {
        let mut client = proxy.client();
        client.keep_little_unread();
        rest(&mut client);
        clients.push((state, client));
    }
    let mut publisher = proxy.client();
    let message = "m".repeat(50_000);
    for _ in 0..200 {
        publisher.ask(&["PUBLISH", "news", &message]);
    }
    // Others are served all the while, and also on connections of their own once these are free again.
    let ended = || {
        proxy.sum("respgate_client_disconnects_total")
            - proxy.metric("respgate_client_disconnects_total{reason=\"client\"}")
    };
    wait_until("respgate has disconnected all of them", || {
        let mut other = proxy.client();
        assert_eq!(other.ask(&["ECHO", "a"]), b"$1\r\na\r\n");
        ended() >= STATES.len() as f64
    });
    let mut other = proxy.client();
    assert_eq!(other.ask(&["BLPOP", "nothing", "0.01"]), b"*-1\r\n");
    let open: Vec<&str> = clients
        .iter_mut()
        .filter_map(|(state, client)| (!client.drain(PATIENCE).1).then_some(*state))
        .collect();
    assert!(open.is_empty(), "still open: {open:?}");
    let log = proxy.log();
    assert!(log.contains("CLI-E007"), "{log}");
}

#[test]
fn timeouts_spare_clients_that_wait_for_the_server_or_are_idle() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, TIMES);
    let mut idle = proxy.client();
    idle.ask(&["GET", "k"]);
    let mut blocked = proxy.client();
    blocked.send(&["BLPOP", "queue", "0"]);
    let mut subscribed = proxy.client();
    subscribed.ask(&["SUBSCRIBE", "news"]);
    let mut watching = proxy.client();
    watching.ask(&["WATCH", "k"]);
    let mut queueing = proxy.client();
    queueing.ask(&["MULTI"]);
    server.await_blocked(1);
    std::thread::sleep(std::time::Duration::from_millis(5500));
    assert_eq!(idle.ask(&["SET", "other", "v"]), b"+OK\r\n");
    idle.ask(&["RPUSH", "queue", "v"]);
    assert_eq!(blocked.reply(), b"*2\r\n$5\r\nqueue\r\n$1\r\nv\r\n");
    idle.ask(&["PUBLISH", "news", "m"]);
    assert!(subscribed.reply().starts_with(b"*3\r\n$7\r\nmessage"));
    watching.ask(&["MULTI"]);
    assert_eq!(watching.ask(&["EXEC"]), b"*0\r\n");
    assert_eq!(queueing.ask(&["EXEC"]), b"*0\r\n");
}

#[test]
fn login_timeout_ends_clients_that_do_not_log_in_whatever_they_send() {
    let server = Server::mutual_tls(Brand::Redis);
    let (directory, target, telemetry) = (directory(), Target::Tcp(free_port()), free_port());
    let file = directory.path().join("secret");
    std::fs::write(&file, "secret").unwrap();
    let listener = listener(&target, &format!("password_file = {file:?}"));
    let head = configuration(&server, &listener, "+@all ~* &*", telemetry);
    let proxy = Proxy::configured(directory, target, telemetry, &format!("{head}\n{TIMES}"));
    let mut silent = proxy.client();
    let mut wrong = proxy.client();
    let mut welcome = proxy.client();
    wait_until("a client logs in within its time", || {
        welcome = proxy.client();
        welcome.send(&["AUTH", "secret"]);
        welcome.next(PATIENCE) == Got::Reply(b"+OK\r\n".to_vec())
    });
    let begun = respgate::internals::base::clock::now();
    let mut answered = 0;
    loop {
        wrong.send(&["PING"]);
        match wrong.next(PATIENCE) {
            Got::Reply(_) => answered += 1,
            _ => break,
        }
        assert!(begun.elapsed() < PATIENCE, "a client that is never logged in stays");
    }
    assert!(answered > 0);
    assert!(silent.drain(PATIENCE).1);
    assert_eq!(welcome.ask(&["PING"]), b"+PONG\r\n");
    let ended = "respgate_client_disconnects_total{reason=\"login_timeout\"}";
    proxy.await_metric(ended, |count| count >= 2.0);
}
