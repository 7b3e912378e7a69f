//! A command that the server does not answer while it serves others.
//!
//! Owns: shared connections that are held up, what goes on another one, what waits. Never knows: dead
//! connections, servers that answer no client.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use respgate::internals::base::clock::now;

use super::support::client::Client;
use super::support::fake_server::{FakeServer, Order};
use super::support::proxy::Proxy;
use super::support::real_server::{Brand, Server, wait_until};
use super::{at_port, before, line, stays_silent};

/// Far below every timeout, far above what another connection and the next dial take.
const SOON: Duration = Duration::from_secs(15);

fn brands() -> impl Iterator<Item = Brand> {
    [Brand::Redis, Brand::Valkey].into_iter().filter(|brand| brand.available())
}

/// What comes back, and that it comes soon.
fn soon(client: &mut Client, words: &[&str]) -> String {
    let start = now();
    let text = client.ask_text(words);
    let taken = now() - start;
    assert!(taken < SOON, "{words:?} took {taken:?}: {text}");
    text
}

/// Bytes of the reply come far more often than a server is waited for that holds up a line.
#[test]
fn reply_that_comes_byte_by_byte_delays_no_other_client() {
    let server = FakeServer::start();
    let proxy = before(&server, "command_timeout = \"8s\"", "");
    let (mut reader, mut other) = (proxy.client(), proxy.client());
    assert_eq!(other.ask_text(&["SET", "k", "v"]), "+OK");
    server.order("GET large", Order::Never, 1);
    reader.send(&["GET", "large"]);
    let connection = server.connection_of("GET large");
    let ended = AtomicBool::new(false);
    let replies = std::thread::scope(|scope| {
        scope.spawn(|| {
            server.push_bytes(connection, b"$1000000\r\n");
            let until = now() + 2 * SOON;
            while !ended.load(Ordering::Relaxed) && now() < until {
                server.push_bytes(connection, b"x");
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let lines: [&[&str]; 3] = [&["GET", "k"], &["SET", "k", "w"], &["GET", "k"]];
        let replies = lines.map(|words| other.ask_text(words));
        ended.store(true, Ordering::Relaxed);
        replies
    });
    assert_eq!(replies, ["$1\r\nv", "+OK", "$1\r\nw"]);
    assert!(!server.is_closed(connection), "the reader still gets its reply");
}

#[test]
fn endless_script_delays_no_other_client() {
    for (brand, database) in brands().flat_map(|brand| [(brand, "0"), (brand, "9")]) {
        let server = Server::new(brand, false, &["--busy-reply-threshold", "300"]);
        let proxy = Proxy::before(&server, "");
        let (mut endless, mut other) = (proxy.client(), proxy.client());
        let mut more: Vec<Client> = (0..20).map(|_| proxy.client()).collect();
        // Redis 7.0 refuses SELECT, too, while it is busy.
        for client in more.iter_mut().chain([&mut endless, &mut other]) {
            assert_eq!(client.ask_text(&["SELECT", database]), "+OK");
        }
        assert_eq!(other.ask_text(&["SET", "k", "v"]), "+OK");
        for round in 0..2 {
            endless.send(&["EVAL", "while true do end", "0"]);
            proxy.await_metric("respgate_commands_in_flight", |count| count > 0.5);
            std::thread::sleep(Duration::from_millis(60));
            for client in &mut more {
                client.send(&["SET", "k", "w"]);
            }
            assert!(soon(&mut other, &["GET", "k"]).starts_with("-BUSY "), "{round}");
            for client in &mut more {
                assert!(line(client).starts_with("-BUSY "), "{round}");
            }
            let start = now();
            for _ in 0..20 {
                assert!(other.ask_text(&["SET", "k", "x"]).starts_with("-BUSY "));
            }
            assert!(now() - start < SOON, "at once by now");
            assert_eq!(more[0].ask_text(&["MULTI"]), "+OK");
            assert_eq!(more[0].ask_text(&["INCR", "n"]), "+QUEUED");
            let exec = soon(&mut more[0], &["EXEC"]);
            assert!(
                exec.starts_with("-EXECABORT Transaction discarded because of: BUSY "),
                "{exec}"
            );
            assert_eq!(soon(&mut other, &["SCRIPT", "KILL"]), "+OK");
            assert!(line(&mut endless).starts_with("-"), "{round}");
            wait_until("the server serves", || other.ask_text(&["GET", "k"]) == "$1\r\nv");
        }
        wait_until("what was held up is closed", || {
            proxy.metric("respgate_upstream_connections{state=\"draining\"}") < 0.5
        });
    }
}

/// Redis 7.0 refuses SELECT while it is busy, Valkey does not, and so no connection to another database is made.
#[test]
fn busy_server_is_dialed_rarely_for_another_database_and_serves_it_soon_afterwards() {
    let server = Server::new(Brand::Redis, false, &["--busy-reply-threshold", "50"]);
    let proxy = Proxy::before(&server, "");
    let (mut endless, mut operator) = (proxy.client(), proxy.client());
    endless.send(&["EVAL", "while true do end", "0"]);
    wait_until("it is busy", || operator.ask_text(&["GET", "k"]).starts_with("-BUSY "));
    let (begin, mut refused) = (now(), 0);
    let mut others: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
    while now() - begin < Duration::from_secs(4) || refused < 32 {
        others.iter_mut().for_each(|other| other.send(&["SELECT", "9"]));
        for other in &mut others {
            let received = line(other);
            assert!(received.starts_with("-BUSY "), "{received}");
            refused += 1;
        }
    }
    assert_eq!(soon(&mut operator, &["SCRIPT", "KILL"]), "+OK");
    let start = now();
    wait_until("it serves", || others[0].ask_text(&["SELECT", "9"]) == "+OK");
    assert!(now() - start < SOON, "after {:?}", now() - start);
    let connections = server.info("stats", "total_connections_received");
    assert!(connections < 40, "{connections} for {refused} refusals");
}

/// A database that the server does not select any more is looked for ever more rarely, and found again soon.
#[test]
fn server_that_refuses_a_database_is_dialed_ever_more_rarely_for_it() {
    let server = Server::plain(Brand::Redis);
    let proxy = at_port(server.port, "on_outage = \"error\"", "", "");
    let (mut operator, mut client) = (server.observer(), proxy.client());
    assert_eq!(client.ask_text(&["SELECT", "9"]), "+OK");
    assert_eq!(client.ask_text(&["SET", "k", "v"]), "+OK");
    assert_eq!(operator.ask_text(&["ACL", "SETUSER", "default", "-select"]), "+OK");
    operator.ask_text(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let before = server.info("stats", "total_connections_received");
    let (begin, mut refused) = (now(), 0);
    while now() - begin < Duration::from_secs(4) {
        let reply_text = client.ask_text(&["GET", "k"]);
        refused += usize::from(reply_text.starts_with('-'));
    }
    let connections = server.info("stats", "total_connections_received") - before;
    assert!(refused > 0 && connections <= 15, "{connections} for {refused} refusals");
    let mut operator = server.observer();
    assert_eq!(operator.ask_text(&["ACL", "SETUSER", "default", "+select"]), "+OK");
    let start = now();
    wait_until("it serves", || client.ask_text(&["GET", "k"]) == "$1\r\nv");
    assert!(now() - start < SOON, "after {:?}", now() - start);
}

/// A client that selects databases which the server does not have, in a loop, gets the server's error each time, and
/// few connections are made for that.
#[test]
fn missing_databases_are_selected_at_the_cost_of_few_connections() {
    let server = Server::plain(Brand::Redis);
    let proxy = at_port(server.port, "on_outage = \"error\"", "", "");
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["SELECT", "15"]), "+OK");
    let before = server.info("stats", "total_connections_received");
    for number in 0..400 {
        let database = (23 - number % 8).to_string();
        let reply_text = client.ask_text(&["SELECT", &database]);
        assert_eq!(reply_text, "-ERR DB index is out of range", "{database}");
    }
    let connections = server.info("stats", "total_connections_received") - before;
    assert!(connections < 30, "{connections} connections for 400 refusals");
    assert_eq!(client.ask_text(&["SELECT", "14"]), "+OK");
    assert_eq!(client.ask_text(&["SET", "k", "v"]), "+OK");
}

/// The server has refused so many databases that the next one waits: no longer than for any other connection.
#[test]
fn database_that_waits_for_others_which_were_refused_waits_for_acquire_timeout() {
    let server = Server::new(Brand::Redis, false, &["--databases", "2000"]);
    let outage = "on_outage = \"error\"";
    let proxy = at_port(server.port, outage, "acquire_timeout = \"100ms\"", "");
    let mut operator = server.observer();
    assert_eq!(operator.ask_text(&["ACL", "SETUSER", "default", "-select"]), "+OK");
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["SET", "k", "v"]), "+OK");
    let mut refuses =
        |database: u32| client.ask_text(&["SELECT", &database.to_string()]).starts_with("-NOPERM");
    // On a slow machine the first refusals may be old when the last database is selected.
    let is_given_up = |round: u32| (1..50).any(|number| !refuses(round * 50 + number));
    assert!((0..20).any(is_given_up), "each waits for a second");
}

/// A name is no work for the server; one that the server refuses on a connection of the client's own is not kept.
#[test]
fn names_of_clients_do_not_wait_for_a_script() {
    for (brand, mode) in brands().flat_map(|brand| [(brand, "shared"), (brand, "session")]) {
        let server = Server::new(brand, false, &["--busy-reply-threshold", "50"]);
        let proxy = Proxy::before(&server, &format!("[upstream.pool]\nmode = {mode:?}\n"));
        let (mut endless, mut other, mut operator) =
            (proxy.client(), proxy.client(), proxy.client());
        assert_eq!(other.ask_text(&["CLIENT", "SETNAME", "before"]), "+OK");
        let informs = &["CLIENT", "SETINFO", "LIB-NAME", "driver"][..];
        let knows = other.ask_text(informs) == "+OK";
        endless.send(&["EVAL", "while true do end", "0"]);
        wait_until("the script runs", || operator.ask_text(&["GET", "k"]).starts_with("-BUSY "));
        let named = soon(&mut other, &["CLIENT", "SETNAME", "within"]);
        let informed = soon(&mut other, informs);
        let refused = |text: &str| mode == "session" && text.starts_with("-BUSY ");
        assert!(named == "+OK" || refused(&named), "{mode}: {named}");
        assert!(informed == "+OK" || refused(&informed) || !knows, "{mode}: {informed}");
        assert_eq!(soon(&mut operator, &["SCRIPT", "KILL"]), "+OK");
        assert!(line(&mut endless).starts_with('-'));
        let name = if named == "+OK" { "within" } else { "before" };
        let shown = format!("${}\r\n{name}", name.len());
        assert_eq!(other.ask_text(&["CLIENT", "GETNAME"]), shown, "{mode}: {named}");
        let list = operator.ask_text(&["CLIENT", "LIST"]);
        assert!(list.contains(&format!(" name={name} ")), "{mode}: {named}: {list}");
    }
}

/// Half a reply holds up its own connection alone: writes do not wait there as while the server holds them.
#[test]
fn replies_that_never_end_delay_no_write_of_others() {
    let server = FakeServer::start();
    server.order("GET endless", Order::Instead(b"*2147483647\r\n".to_vec()), usize::MAX);
    let proxy = before(&server, "", "");
    let mut other = proxy.client();
    let mut readers = Vec::new();
    for number in 1..=3 {
        let mut reader = proxy.client();
        reader.send(&["GET", "endless"]);
        readers.push(reader);
        proxy.await_metric("respgate_upstream_connections{state=\"draining\"}", |count| {
            count > f64::from(number) - 0.5
        });
        for _ in 0..5 {
            assert_eq!(soon(&mut other, &["SET", "k", "1"]), "+OK", "{number}");
        }
    }
}

#[test]
fn reads_are_served_while_writes_are_paused() {
    for brand in brands() {
        let server = Server::plain(brand);
        let proxy = Proxy::before(&server, "");
        let (mut reader, mut operator) = (proxy.client(), proxy.client());
        assert_eq!(reader.ask_text(&["SET", "k", "v"]), "+OK");
        assert_eq!(operator.ask_text(&["CLIENT", "PAUSE", "100000", "WRITE"]), "+OK");
        let mut writers: Vec<Client> = (0..30).map(|_| proxy.client()).collect();
        for (number, writer) in writers.iter_mut().enumerate() {
            writer.send(&["INCR", "n"]);
            // A read of the same client waits for its write, as on the server itself.
            writer.send(&["GET", "n"]);
            if number % 3 == 0 {
                assert_eq!(soon(&mut reader, &["GET", "k"]), "$1\r\nv");
                assert!(soon(&mut operator, &["INFO", "server"]).contains("tcp_port"));
            }
        }
        let start = now();
        for _ in 0..50 {
            assert_eq!(reader.ask_text(&["GET", "k"]), "$1\r\nv");
        }
        assert!(now() - start < SOON, "at once by now");
        let aside = proxy.metric("respgate_upstream_connections{state=\"draining\"}");
        assert!((1.0..=2.0).contains(&aside), "{aside} connections for 30 writers");
        assert_eq!(soon(&mut operator, &["CLIENT", "UNPAUSE"]), "+OK");
        let mut counts: Vec<String> = writers
            .iter_mut()
            .map(|writer| {
                let count = line(writer);
                assert!(count.starts_with(':'), "{count}");
                assert!(line(writer).starts_with('$'));
                count
            })
            .collect();
        counts.sort();
        counts.dedup();
        assert_eq!(counts.len(), 30, "each once");
        wait_until("what was held up is closed", || {
            proxy.metric("respgate_upstream_connections{state=\"draining\"}") < 0.5
        });
        assert_eq!(soon(&mut reader, &["SET", "k", "w"]), "+OK");
    }
}

/// A client with a write behind the command that is not answered waits with all its requests.
#[test]
fn order_of_each_client_is_kept() {
    let server = FakeServer::start();
    let proxy = before(&server, "", "");
    let (mut one, mut two, mut three) = (proxy.client(), proxy.client(), proxy.client());
    assert_eq!(one.ask_text(&["SET", "k", "0"]), "+OK");
    server.order("EVAL", Order::Gate("go"), 1);
    one.send(&["EVAL", "x", "0"]);
    let old = server.connection_of("EVAL");
    two.send(&["SET", "k", "1"]);
    server.connection_of("SET k 1");
    two.send(&["GET", "k"]);
    assert_eq!(soon(&mut three, &["GET", "k"]), "$1\r\n1", "the fake server has executed SET");
    assert_eq!(soon(&mut three, &["SET", "j", "1"]), "+OK");
    assert_ne!(server.connection_of("SET j"), old);
    stays_silent(&mut two);
    server.release("go");
    assert_eq!(line(&mut one), "+OK");
    assert_eq!(line(&mut two), "+OK");
    assert_eq!(line(&mut two), "$1\r\n1");
    assert_eq!(two.ask_text(&["SET", "i", "1"]), "+OK");
    assert_eq!(server.connection_of("SET i"), server.connection_of("SET j"));
    wait_until("the old connection goes", || server.is_closed(old));
}

/// A server that is slow for all clients answers no new connection either: nothing moves, nothing is lost.
#[test]
fn server_that_stalls_costs_no_connections() {
    let server = Server::plain(Brand::Redis);
    if !Brand::Redis.available() {
        return;
    }
    let proxy = Proxy::before(&server, "[upstream.pool]\nmin_idle = 0\n");
    let mut clients: Vec<Client> = (0..20).map(|_| proxy.client()).collect();
    assert_eq!(clients[0].ask_text(&["SET", "n", "0"]), "+OK");
    let before = server.info("clients", "connected_clients");
    server.hold();
    for client in &mut clients {
        client.send(&["INCR", "n"]);
    }
    std::thread::sleep(Duration::from_millis(1500));
    server.release();
    for client in &mut clients {
        assert!(line(client).starts_with(':'));
    }
    assert_eq!(clients[0].ask_text(&["GET", "n"]), "$2\r\n20");
    wait_until("there are as many connections as before", || {
        server.info("clients", "connected_clients") <= before
    });
}
