//! The memory budget: what is counted, and which client makes room when it is exceeded.
//!
//! Owns: the cases. Never knows: single bounds of one client.

use std::time::Duration;

use super::support::client::{PATIENCE, Target};
use super::support::proxy::{configuration, directory, listener};
use super::support::real_server::{free_port, wait_until};
use super::*;

const EVICTED: &str = "respgate_client_disconnects_total{reason=\"memory_budget\"}";

/// A listener on which clients log in with the password `secret`.
fn with_password(server: &Server, limits: &str) -> Proxy {
    let (directory, target, telemetry) = (directory(), Target::Tcp(free_port()), free_port());
    let file = directory.path().join("secret");
    std::fs::write(&file, "secret").unwrap();
    let listener = listener(&target, &format!("password_file = {file:?}"));
    let head = configuration(server, &listener, "+@all ~* &*", telemetry);
    Proxy::configured(directory, target, telemetry, &format!("{head}\n[limits]\n{limits}\n"))
}

fn log_in(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    assert_eq!(client.ask(&["AUTH", "secret"]), b"+OK\r\n");
    client
}

fn is_gone(client: &mut Client) -> bool {
    !matches!(client.next(PATIENCE), Got::Reply(_))
}

#[test]
fn memory_budget_ends_those_before_login_before_all_others() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = with_password(&server, "memory_budget = \"4MiB\"");
    let mut honest = log_in(&proxy);
    // Half of a transaction is kept, and this client is idle.
    honest.ask(&["MULTI"]);
    for _ in 0..16 {
        honest.ask(&["SET", "k", &"v".repeat(20_000)]);
    }
    let half = [&b"*2\r\n$3\r\nGET\r\n$16000\r\n"[..], &[b'x'; 15_000]].concat();
    let mut strangers: Vec<Client> = (0..600)
        .map(|_| {
            let mut client = proxy.client();
            client.send_raw(&half);
            client
        })
        .collect();
    proxy.await_metric(EVICTED, |count| count >= 300.0);
    proxy.await_metric("respgate_buffer_bytes", |bytes| bytes <= 5e6);
    honest.send(&["EXEC"]);
    assert!(matches!(honest.next(PATIENCE), Got::Reply(reply) if reply.starts_with(b"*16\r\n")));
    strangers.clear();
}

#[test]
fn memory_budget_ends_the_largest_that_moves_least() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "[limits]\nmemory_budget = \"8MiB\"");
    server.observer().ask(&["SETRANGE", "k", "59999", "x"]);
    let mut readers: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
    let gets = encode(&["GET", "k"]);
    let mut hogs: Vec<Client> = (0..6).map(|_| proxy.client()).collect();
    for hog in &mut hogs {
        hog.send_raw(&gets.repeat(90));
    }
    // While the budget is exceeded again and again, clients that read their replies are served.
    let value = bulk(&[vec![0; 59_999], vec![b'x']].concat());
    for _ in 0..20 {
        for client in &mut readers {
            client.send_raw(&gets);
            assert!(client.bytes(value.len(), PATIENCE) == value);
        }
    }
    assert!(proxy.metric("respgate_buffer_bytes") <= 9e6);
    for client in &mut readers {
        client.send_raw(&gets);
        assert!(client.bytes(value.len(), PATIENCE) == value);
    }
}

#[test]
fn memory_budget_counts_the_names_that_clients_give_themselves() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "[limits]\nmemory_budget = \"16MiB\"");
    let name = "n".repeat(3 * MIB);
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&["CLIENT", "SETNAME", &name]);
        expect(client, b"+OK\r\n");
        let kept = (number + 1) * name.len();
        wait_until("the name is counted", || proxy.metric("respgate_buffer_bytes") >= kept as f64);
    }
    let mut more: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    for client in &mut more {
        client.send(&["HELLO", "3", "SETNAME", &name]);
    }
    proxy.await_metric(EVICTED, |count| count >= 3.0);
    assert!(clients.iter_mut().chain(&mut more).any(|client| {
        client.send(&["CLIENT", "GETNAME"]);
        is_gone(client)
    }));
    assert!(proxy.metric("respgate_buffer_bytes") <= 18e6);
    drop((clients, more));
    proxy.await_metric("respgate_buffer_bytes", |bytes| bytes < 1e5);
}

/// What is known of a request until it is answered counts, whichever connection carries it.
#[test]
fn memory_budget_counts_requests_on_pinned_connections_as_on_shared_ones() {
    const CLIENTS: usize = 40;
    const REQUESTS: usize = 32;
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let held_by = |asked: &[&str]| {
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| proxy.client()).collect();
        clients.iter_mut().for_each(|client| drop(client.ask(asked)));
        proxy.await_metric("respgate_buffer_bytes", |bytes| bytes < 20_000.0);
        server.hold();
        let requests = encode(&["GET", "k"]).repeat(REQUESTS);
        clients.iter_mut().for_each(|client| client.send_raw(&requests));
        let count = (CLIENTS * REQUESTS) as f64;
        proxy.await_metric("respgate_commands_in_flight", |in_flight| in_flight >= count);
        // The figure is brought up to date once a second.
        std::thread::sleep(Duration::from_millis(1500));
        let held = proxy.metric("respgate_buffer_bytes");
        server.release();
        held
    };
    let (shared, pinned) = (held_by(&["PING"]), held_by(&["WATCH", "k"]));
    assert!(pinned > shared / 2.0, "{pinned} bytes on pinned connections, {shared} on shared ones");
}

/// MULTI, many of the same command and a write, and the clients that wait with them.
fn queue(proxy: &Proxy, words: &[&str], commands: usize, clients: usize) -> Vec<Client> {
    let write = encode(&["SET", "k", "v"]);
    let request = [encode(&["MULTI"]), encode(words).repeat(commands), write].concat();
    let answers = [&b"+OK\r\n"[..], &b"+QUEUED\r\n".repeat(commands + 1)].concat();
    let begin = |_| {
        let mut client = proxy.client();
        client.send_raw(&request);
        assert!(client.bytes(answers.len(), PATIENCE) == answers, "{}", words[1]);
        client
    };
    (0..clients).map(begin).collect()
}

/// What is kept of transactions that are queued, and of those that run, is counted as what it takes.
#[test]
fn memory_of_transactions_is_counted_until_they_are_answered() {
    let name = "n".repeat(40 * KIB);
    let kinds: [(&[&str], usize); 3] = [
        (&["CLIENT", "GETNAME"], 15_000),
        (&["CLIENT", "SETNAME", &name], 40),
        (&["HELLO", "2", "SETNAME", &name], 40),
    ];
    for (words, commands) in kinds {
        let server = Server::plain(Brand::Redis);
        let proxy = Proxy::before(
            &server,
            "[limits]\nmemory_budget = \"1GiB\"\n\
             [upstream.pool]\ncommand_timeout = \"10m\"\nstall_timeout = \"10m\"",
        );
        let mut observer = server.observer();
        drop(queue(&proxy, words, commands, 2));
        proxy.await_metric("respgate_buffer_bytes", |bytes| bytes < 1e5);
        let before = proxy.memory("VmRSS") as f64;
        let mut clients = queue(&proxy, words, commands, 30);
        // The metric follows within a turn.
        let check = |state: &str| {
            let mut counted = 0.0;
            wait_until(&format!("{} {state} is counted", words[1]), || {
                counted = proxy.metric("respgate_buffer_bytes");
                counted >= 0.8 * (proxy.memory("VmRSS") as f64 - before)
            });
            counted
        };
        let queued = check("queued");
        assert_eq!(observer.ask(&["CLIENT", "PAUSE", "600000", "WRITE"]), b"+OK\r\n");
        clients.iter_mut().for_each(|client| client.send(&["EXEC"]));
        proxy.await_metric("respgate_commands_in_flight", |commands| commands >= 30.0);
        let runs = check("running");
        assert!(runs > 0.4 * queued, "{}: {queued} queued, {runs} in flight", words[1]);
        assert_eq!(observer.ask(&["CLIENT", "UNPAUSE"]), b"+OK\r\n");
        for client in &mut clients {
            let answers = client.next(PATIENCE * 4);
            let count = format!("*{}\r\n", commands + 1);
            assert!(matches!(answers, Got::Reply(all) if all.starts_with(count.as_bytes())));
        }
        drop(clients);
        proxy.await_metric("respgate_buffer_bytes", |bytes| bytes < 1e5);
    }
}
