//! What respgate itself answers about clients, and writes down about them, however long their names are.
//!
//! Owns: the cases. Never knows: replies of the server.

use std::time::Duration;

use super::*;

/// A client with a long name, and its number.
fn named(proxy: &Proxy, bytes: usize) -> (Client, String) {
    let mut client = proxy.client();
    client.send(&["CLIENT", "SETNAME", &"n".repeat(bytes)]);
    expect(&mut client, b"+OK\r\n");
    let id = client.ask_text(&["CLIENT", "ID"]);
    (client, id.trim_start_matches(':').to_owned())
}

#[test]
fn list_of_clients_is_no_longer_than_respgate_can_keep() {
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let (mut client, id) = named(&proxy, MIB);
    let mut few = vec!["CLIENT", "LIST", "ID"];
    few.extend([id.as_str(); 3]);
    client.send(&few);
    assert!(client.reply().len() > 3 * MIB);
    let mut many = vec!["CLIENT", "LIST", "ID"];
    many.extend(vec![id.as_str(); 400]);
    client.send(&many);
    expect_error(&mut client, &["longer than 32 MiB"]);
    assert!(proxy.memory("VmHWM") < 200 << 20, "{}", proxy.memory("VmHWM"));
    assert_eq!(client.ask(&["PING"]), b"+PONG\r\n");
}

#[test]
fn answers_within_a_transaction_are_no_longer_together_than_respgate_can_keep() {
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    for question in [&["CLIENT", "GETNAME"][..], &["CLIENT", "INFO"], &["CLIENT", "LIST"]] {
        let (mut client, _) = named(&proxy, MIB);
        client.ask(&["MULTI"]);
        for _ in 0..400 {
            client.ask(question);
        }
        client.ask(&["SET", "k", "v"]);
        client.send(&["EXEC"]);
        let Got::Reply(reply) = client.next(Duration::from_secs(60)) else {
            panic!("{question:?} is not answered");
        };
        assert!(reply.starts_with(b"*401\r\n") && reply.ends_with(b"+OK\r\n"), "{question:?}");
        assert!((30 * MIB..34 * MIB).contains(&reply.len()), "{question:?}: {}", reply.len());
        let errors = memchr::memmem::find_iter(&reply, b"longer than 32 MiB").count();
        assert!((360..400).contains(&errors), "{question:?}: {errors}");
    }
    assert!(proxy.memory("VmHWM") < 300 << 20, "{}", proxy.memory("VmHWM"));
}

/// An audit entry has the beginning of a name; so has the list for operators.
#[test]
fn audited_commands_cost_the_same_whatever_a_client_is_called() {
    let server = Server::plain(Brand::Redis);
    let directory = support::proxy::directory();
    let file = directory.path().join("audit.log");
    let sections = format!(
        "[audit]\nsensitive = [\"flushall\"]\n[[audit.sink]]\ntype = \"file\"\npath = {file:?}\n"
    );
    let proxy = Proxy::before(&server, &sections);
    let (mut client, _) = named(&proxy, 48 * MIB);
    let before = proxy.cpu_time();
    client.send_raw(&encode(&["FLUSHALL"]).repeat(100));
    for _ in 0..100 {
        expect(&mut client, b"+OK\r\n");
    }
    let took = proxy.cpu_time() - before;
    assert!(took < Duration::from_secs(2), "{took:?}");
    wait_until("the name is in the audit log", || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.contains(&format!("\"{}…\"", "n".repeat(128)))
    });
}

/// Clients that do nothing.
fn crowd(proxy: &Proxy, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| proxy.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask(&["PING"]), b"+PONG\r\n");
    }
    clients
}

const SEARCH: [&str; 4] = ["CLIENT", "KILL", "TYPE", "pubsub"];

#[test]
fn clients_that_one_transaction_looks_at_are_bounded() {
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let crowd = crowd(&proxy, 250);
    let mut client = proxy.client();
    let id = client.ask_text(&["CLIENT", "ID"]).replace(':', "");
    for (words, least, most) in [
        (SEARCH, 150, 250),
        (["CLIENT", "KILL", "ID", "99999"], 0, 0),
        (["CLIENT", "LIST", "TYPE", "pubsub"], 150, 250),
        (["CLIENT", "LIST", "ID", id.trim()], 0, 0),
    ] {
        let requests = encode(&words).repeat(1000);
        client.send_raw(&[encode(&["MULTI"]), requests, encode(&["EXEC"])].concat());
        expect(&mut client, b"+OK\r\n");
        for _ in 0..1000 {
            expect(&mut client, b"+QUEUED\r\n");
        }
        let reply = client.reply();
        assert!(reply.starts_with(b"*1000\r\n"), "{words:?}");
        let errors = memchr::memmem::find_iter(&reply, b"search too many clients").count();
        assert!((least..=most).contains(&errors), "{words:?}: {errors}");
    }
    drop(crowd);
}

#[test]
fn clients_are_served_between_the_searches_of_another() {
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let crowd = crowd(&proxy, 900);
    let (mut client, mut neighbour) = (proxy.client(), proxy.client());
    let searches = 1200;
    client.send_raw(&encode(&SEARCH).repeat(searches));
    expect(&mut client, b":0\r\n");
    let (mut answered, mut served) = (1, 0);
    while answered < searches {
        assert_eq!(neighbour.ask(&["PING"]), b"+PONG\r\n");
        served += 1;
        while let Got::Reply(reply) = client.next(Duration::ZERO) {
            assert_eq!(reply, b":0\r\n");
            answered += 1;
        }
    }
    assert!(served >= 50, "{served} requests of another client were served meanwhile");
    drop(crowd);
}
