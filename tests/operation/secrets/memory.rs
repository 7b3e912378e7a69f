//! What the memory of a running respgate holds of secrets, those in force and those that were replaced.
//!
//! Owns: the reading of another process's memory, the cases. Never knows: which code keeps what.

use std::io::{Read, Seek, SeekFrom};

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use respgate::internals::base::clock::now;

use super::support::client::{PATIENCE, Target};
use super::support::proxy::{self, Proxy};
use super::support::real_server::{free_port, wait_until};
use super::*;

/// What is written to while the process runs: the heap, stacks, data.
fn writable(pid: u32) -> Option<Vec<(String, Vec<u8>)>> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let mut memory = std::fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut regions = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next()?, words.next()?);
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-')?;
        let [from, to] = [from, to].map(|number| u64::from_str_radix(number, 16).unwrap());
        memory.seek(SeekFrom::Start(from)).ok()?;
        let mut bytes = Vec::new();
        // Some of it may be gone by now.
        let _ = (&mut memory).take(to - from).read_to_end(&mut bytes);
        regions.push((line.to_owned(), bytes));
    }
    Some(regions)
}

/// Where a secret is.
fn places(memory: &[(String, Vec<u8>)], secret: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, bytes) in memory {
        let finder = memchr::memmem::find_iter(bytes, secret);
        found.extend(finder.map(|at| {
            let around = &bytes[at.saturating_sub(24)..(at + secret.len() + 24).min(bytes.len())];
            format!("{name} +{at:x}: {}", around.escape_ascii())
        }));
    }
    found
}

/// The private number of a key of P-256, in PKCS #8 or SEC 1: it follows `OCTET STRING, 32 bytes`. Libraries keep it
/// in this order or in the other.
fn numbers(pem: &str) -> [Vec<u8>; 2] {
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let der = der.secret_der();
    let at = memchr::memmem::find(der, &[0x02, 0x01, 0x01, 0x04, 0x20]).unwrap() + 5;
    let number = der[at..at + 32].to_vec();
    let reversed = number.iter().rev().copied().collect();
    [number, reversed]
}

/// A line of the text of a key.
fn line(pem: &str) -> Vec<u8> {
    pem.lines().nth(2).unwrap().as_bytes().to_vec()
}

/// The secrets that are looked for, by their names.
fn forms(key: &str, password: &str) -> Vec<(&'static str, Vec<u8>)> {
    let [number, reversed] = numbers(key);
    vec![
        ("password", password.as_bytes().to_vec()),
        ("private number", number),
        ("private number reversed", reversed),
        ("text of the key", line(key)),
    ]
}

fn found(pid: u32, secrets: &[(&'static str, Vec<u8>)]) -> Option<Vec<(&'static str, String)>> {
    let memory = writable(pid)?;
    let of = |(name, secret): &(&'static str, Vec<u8>)| {
        let name = *name;
        places(&memory, secret).into_iter().map(move |place| (name, place))
    };
    Some(secrets.iter().flat_map(of).collect())
}

#[test]
fn replaced_secrets_are_gone_from_the_memory_and_others_are_there_once() {
    let stage = Stage::new();
    let next = "pale-otter-lantern-gravel-20717";
    let both = [format!(">{PASSWORD}"), format!(">{next}")];
    let words = ["ACL", "SETUSER", "app", "on", &both[0], &both[1], "~*", "&*", "+@all"];
    stage.server.observer().ask(&words);
    let (port, telemetry) = (free_port(), free_port());
    let text = stage.configuration(port, telemetry).replace("trace", "info");
    let proxy = Proxy::configured(proxy::directory(), Target::Tcp(port), telemetry, &text);
    let mut client = proxy.client();
    assert_eq!(client.ask(&["AUTH", "u", PASSWORD]), b"+OK\r\n");
    let mut slow = proxy.client();
    slow.send_raw(format!("AUTH u {}", &PASSWORD[..20]).as_bytes());
    let old = forms(&stage.key, PASSWORD);
    let Some(before) = found(proxy.pid(), &old) else {
        eprintln!("skipped: the memory of another process cannot be read here");
        return;
    };
    slow.send_raw(format!("{}\r\n", &PASSWORD[20..]).as_bytes());
    assert_eq!(slow.reply(), b"+OK\r\n");
    let count = |all: &[(&str, String)], name| all.iter().filter(|one| one.0 == name).count();
    // The one that is sent to the server, and the number that signs.
    assert!(count(&before, "password") == 1, "{before:#?}");
    assert!(before.len() <= 2, "{before:#?}");
    let pki = stage.server.pki.as_ref().unwrap();
    let (cert, key) = pki.issue("client", 2090);
    stage.write("users.acl", "user u on nopass ~* +get\n");
    stage.write("password", next);
    stage.write("tls.crt", cert);
    stage.write("tls.key", &key);
    let applied = |what: &str| {
        let name = "respgate_reload_attempts_total";
        proxy.metric(&format!("{name}{{what={what:?},result=\"applied\"}}")) > 0.5
    };
    wait_until("both are in force", || applied("auth") && applied("tls_identity"));
    assert_eq!(client.ask(&["GET", "k"]), b"$-1\r\n");
    let mut left = Vec::new();
    let deadline = now() + PATIENCE;
    // Connections of the old identity carry its key until they are closed.
    while now() < deadline {
        left = found(proxy.pid(), &old).unwrap();
        if left.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(left.is_empty(), "{left:#?}");
    let present = found(proxy.pid(), &forms(&key, next)).unwrap();
    assert!(count(&present, "password") == 1 && present.len() <= 2, "{present:#?}");
}

/// The output of a program, and what is made of it, are wiped as files are.
#[test]
fn replaced_token_of_a_program_is_gone_from_the_memory() {
    let stage = Stage::new();
    let next = "pale-otter-lantern-gravel-20717";
    let more = format!(">{next}");
    stage.server.observer().ask(&["ACL", "SETUSER", "app", "on", &more]);
    let (port, telemetry) = (free_port(), free_port());
    stage.write("token", format!("{{\"password\":\"{PASSWORD}\"}}"));
    let old = format!("password_file = {:?}", stage.path("password"));
    let new = format!("password_command = [\"/bin/cat\", {:?}]", stage.path("token"));
    let text = stage.configuration(port, telemetry).replace(&old, &new).replace("trace", "info");
    let proxy = Proxy::configured(proxy::directory(), Target::Tcp(port), telemetry, &text);
    let secret = [("token", PASSWORD.as_bytes().to_vec())];
    let Some(before) = found(proxy.pid(), &secret) else {
        eprintln!("skipped: the memory of another process cannot be read here");
        return;
    };
    assert_eq!(before.len(), 1, "{before:#?}");
    stage.write("token", format!("{{\"password\":\"{next}\"}}"));
    proxy.hang_up();
    let applied = "respgate_reload_attempts_total{what=\"auth\",result=\"applied\"}";
    proxy.await_metric(applied, |count| count > 0.5);
    let mut left = before;
    wait_until("nothing is left of it", || {
        left = found(proxy.pid(), &secret).unwrap();
        left.is_empty()
    });
}
