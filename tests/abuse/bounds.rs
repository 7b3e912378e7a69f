//! What one client may cost: sizes, counts, times, and what it may never cost the others.
//!
//! Owns: the bounds as an application and a process table see them. Never knows: how they are kept.
use crate::support;
mod answers;
mod clocks;
mod files;
mod memory;
mod replies;
mod requests;
mod together;
mod turns;
mod unread;
mod work;

use support::client::{Client, Got, encode, show};
use support::proxy::Proxy;
use support::real_server::{Brand, Server, wait_until};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The server may take as long as it likes for its replies.
const UNHURRIED: &str = "[upstream.pool]\ncommand_timeout = \"10m\"\nstall_timeout = \"10m\"\n\
     acquire_timeout = \"1m\"\nconnect_timeout = \"30s\"\n";

/// A server behind mutual TLS and a respgate with these limits before it.
fn stage(limits: &str) -> (Server, Proxy) {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, &format!("[limits]\n{limits}"));
    (server, proxy)
}

/// Bytes that no two places share, so that a lost or doubled piece shows.
fn filler(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    let mut number = 0_u32;
    while bytes.len() < length {
        bytes.extend_from_slice(format!("{number:07} ").as_bytes());
        number += 1;
    }
    bytes.truncate(length);
    bytes
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// The next reply must be this one.
fn expect(client: &mut Client, expected: &[u8]) {
    let reply = client.reply();
    assert!(reply == expected, "{} instead of {}", show(&reply), show(expected));
}

/// The next reply must begin and go on like this.
fn expect_error(client: &mut Client, words: &[&str]) {
    let reply = String::from_utf8(client.reply()).unwrap();
    assert!(reply.starts_with('-') && words.iter().all(|word| reply.contains(word)), "{reply}");
}

fn words<'a>(words: &[&'a str], last: &'a [u8]) -> Vec<u8> {
    let mut all: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    all.push(last);
    encode(&all)
}
