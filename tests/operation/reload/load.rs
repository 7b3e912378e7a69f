//! Clients that know what every reply must be.
//!
//! Owns: [`under_load`]. Never knows: what happens meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use super::support::client::{Client, encode, show};
use super::support::proxy::Proxy;

const CLIENTS: usize = 8;
/// Streamed, so that it travels on a pinned connection.
const LARGE: usize = 100_000;

/// On a slow machine a client goes on until it has done so many.
const ROUNDS_MIN: u32 = 3;

/// What one client counted.
struct Count {
    rounds: u32,
    increments: u64,
}

/// Runs `meanwhile` while eight clients send tagged commands and compare every reply.
///
/// # Panics
///
/// When a reply is missing, an error, or another client's.
pub fn under_load(proxy: &Proxy, meanwhile: impl FnOnce()) {
    let done = AtomicBool::new(false);
    let counts: Vec<Count> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let done = &done;
                scope.spawn(move || exchange(proxy, number, done))
            })
            .collect();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(meanwhile));
        done.store(true, Ordering::Relaxed);
        let counts = clients.into_iter().map(|client| client.join().unwrap()).collect();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
        counts
    });
    // What was acknowledged is there, once.
    let mut client = proxy.client();
    for (number, count) in counts.iter().enumerate() {
        let counted = client.ask_text(&["GET", &format!("count:{number}")]);
        assert!(counted.ends_with(&format!("\n{}", count.increments)), "{counted}");
    }
}

fn exchange(proxy: &Proxy, number: usize, done: &AtomicBool) -> Count {
    let mut client = proxy.client();
    if number % 2 == 1 {
        client.ask(&["HELLO", "3"]);
    }
    let mut count = Count { rounds: 0, increments: 0 };
    while !done.load(Ordering::Relaxed) || count.rounds < ROUNDS_MIN {
        round(&mut client, number, &mut count);
    }
    count
}

/// One write with commands of every kind of connection, then every reply.
fn round(client: &mut Client, number: usize, count: &mut Count) {
    let tag = format!("{number}:{}", count.rounds);
    let (key, counter, list) =
        (format!("key:{number}"), format!("count:{number}"), format!("list:{number}"));
    let large = count.rounds % 8 == 3;
    let body = format!("{tag} {}", "x".repeat(if large { LARGE } else { 20 }));
    let mut sent = vec![encode(&["SET", &key, &body]), encode(&["GET", &key])];
    let bulk = format!("${}\r\n{body}\r\n", body.len());
    let mut expected = vec![b"+OK\r\n".to_vec(), bulk.into_bytes()];
    for step in 0..10 {
        let echo = format!("{tag}:{step}");
        count.increments += 1;
        sent.extend([encode(&["ECHO", &echo]), encode(&["INCR", &counter])]);
        expected.push(format!("${}\r\n{echo}\r\n", echo.len()).into_bytes());
        expected.push(format!(":{}\r\n", count.increments).into_bytes());
    }
    count.increments += 1;
    sent.extend([
        encode(&["WATCH", &counter]),
        encode(&["MULTI"]),
        encode(&["INCR", &counter]),
        encode(&["EXEC"]),
        encode(&["RPUSH", &list, &tag]),
        encode(&["BLPOP", &list, "5"]),
    ]);
    expected.extend([
        b"+OK\r\n".to_vec(),
        b"+OK\r\n".to_vec(),
        b"+QUEUED\r\n".to_vec(),
        format!("*1\r\n:{}\r\n", count.increments).into_bytes(),
        b":1\r\n".to_vec(),
        format!("*2\r\n${}\r\n{list}\r\n${}\r\n{tag}\r\n", list.len(), tag.len()).into_bytes(),
    ]);
    client.send_raw(&sent.concat());
    for expected in expected {
        let reply = client.reply();
        assert!(reply == expected, "{tag}: {} instead of {}", show(&reply), show(&expected));
    }
    count.rounds += 1;
}
