//! Holds the command table against running servers.
//!
//! Owns: what may differ between the table and a server, and why. Never knows: how the table is
//! written.
//!
//! `redis-server` must be installed. Asked too: `valkey-server` if it is on the `PATH` (or
//! `RESPGATE_TEST_VALKEY`, a path), and every server of `RESPGATE_TEST_SERVERS` (paths, separated
//! by `:`).

mod forms;
mod server;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use respgate::internals::command::{self, Access, KeyError, KeyKind, Lookup};
use respgate::internals::resp::RequestBuf;

use crate::command_table::forms::{Chance, OPTIONS, TRICKY, form_of, forms};
use crate::command_table::server::{Args, Reply, Server, ServerCommand};

/// What servers older than the table's newest describe otherwise: `+` is theirs alone, `-` the table's.
/// Of a server whose version is not here, only names and keys are compared.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "redis 7.0",
        "blmove +noscript; blpop +noscript; brpop +noscript; brpoplpush +noscript; bzpopmax \
         +noscript; bzpopmin +noscript; client|caching -allow_busy; client|getname \
         -allow_busy; client|getredir -allow_busy; client|id -allow_busy; client|no-evict \
         -allow_busy; client|reply -allow_busy; client|reply -no_multi; client|setname \
         -allow_busy; cluster|info -loading; cluster|myid -loading; cluster|nodes -loading; \
         cluster|replicate arity 3; cluster|shards -loading; cluster|slots -loading; \
         command|getkeys arity -4; command|getkeysandflags arity -4; memory|malloc-stats \
         -loading; memory|purge -loading; multi -no_multi; script|debug arity 3; \
         script|exists -stale; script|flush -stale; select -allow_busy; wait +noscript; wait \
         -@blocking; wait -blocking; watch -no_multi; zrank arity 3; zrevrank arity 3",
    ),
    (
        "redis 8.2",
        "client|caching -allow_busy; client|getname -allow_busy; client|getredir -allow_busy; \
         client|id -allow_busy; client|no-evict -allow_busy; client|no-touch -allow_busy; \
         client|reply -allow_busy; client|reply -no_multi; client|setinfo -allow_busy; \
         client|setname -allow_busy; cluster|info -loading; cluster|myid -loading; \
         cluster|myshardid -loading; cluster|nodes -loading; cluster|replicate arity 3; \
         memory|malloc-stats -loading; memory|purge -loading; multi -no_multi; script|debug \
         arity 3; script|exists -stale; script|flush -stale; select -allow_busy; watch \
         -no_multi",
    ),
    (
        "valkey 8.1",
        "client|caching -allow_busy; client|capa -allow_busy; client|getname -allow_busy; \
         client|getredir -allow_busy; client|id -allow_busy; client|no-evict -allow_busy; \
         client|no-touch -allow_busy; client|reply -allow_busy; client|reply -no_multi; \
         client|setinfo -allow_busy; client|setname -allow_busy; cluster|replicate arity 3; \
         exec +skip_commandlog; exec -skip_slowlog; script|debug arity 3; script|exists \
         -stale; script|flush -stale; script|show -stale; select -allow_busy",
    ),
    ("valkey 9.1", "exec +skip_commandlog; exec -skip_slowlog"),
];

#[test]
fn table_agrees_with_running_servers() {
    let mut binaries = vec![PathBuf::from("redis-server")];
    match std::env::var_os("RESPGATE_TEST_VALKEY") {
        Some(valkey) => binaries.push(valkey.into()),
        None if Command::new("valkey-server").arg("--version").output().is_ok() => {
            binaries.push("valkey-server".into());
        }
        None => {}
    }
    if let Some(more) = std::env::var_os("RESPGATE_TEST_SERVERS") {
        binaries.extend(std::env::split_paths(&more));
    }
    for binary in binaries {
        let mut server = Server::start(&binary);
        let version = server.version();
        eprintln!("{version} ({})", binary.display());
        let described = server.commands();
        descriptions(&version, &described);
        if version == "redis 7.0" {
            every_server_has(&described);
        }
        for line in TRICKY {
            let args = line.split(' ').map(|arg| if arg == "''" { "" } else { arg });
            keys(&mut server, &version, &[args.map(|arg| arg.as_bytes().to_vec()).collect()]);
        }
        let mut chance = Chance(0x5DEE_CE66);
        for command in described.iter().filter(|command| !command.container) {
            let spec = command::by_name(&command.name).unwrap();
            keys(&mut server, &version, &forms(spec, &mut chance));
        }
        for (begin, options, ends) in OPTIONS {
            for _ in 0..500 {
                let form = form_of(begin, options, ends, &mut chance);
                assert!(our_keys(&form).is_some(), "{version}: {form:?}");
                keys(&mut server, &version, &[form]);
            }
        }
    }
}

// ---- names, arity, flags, categories ----

fn descriptions(version: &str, described: &[ServerCommand]) {
    let mut found = BTreeSet::new();
    for command in described {
        let name = &command.name;
        let Some(spec) = command::by_name(name) else {
            found.insert(format!("{name} missing"));
            continue;
        };
        if i64::from(spec.arity) != command.arity {
            found.insert(format!("{name} arity {}", command.arity));
        }
        if spec.container != command.container {
            found.insert(format!("{name} container {}", command.container));
        }
        let flags = spec.flags.names().map(String::from).collect();
        let categories = spec.categories.names().map(|name| format!("@{name}")).collect();
        for (theirs, ours) in [(&command.flags, flags), (&command.categories, categories)] {
            let ours: BTreeSet<String> = ours;
            found.extend(theirs.difference(&ours).map(|word| format!("{name} +{word}")));
            found.extend(ours.difference(theirs).map(|word| format!("{name} -{word}")));
        }
    }
    let known = DIFFERENCES.iter().find(|(known, _)| *known == version);
    let Some((_, expected)) = known else {
        assert!(!found.iter().any(|line| line.ends_with(" missing")), "{version}: {found:#?}");
        return;
    };
    let expected = expected.split("; ").map(String::from).collect();
    assert_eq!(found, expected, "{version}");
}

/// The oldest server: what it has, all later ones have.
fn every_server_has(described: &[ServerCommand]) {
    let first: BTreeSet<&str> = described.iter().map(|command| &*command.name).collect();
    let ours = command::all().iter().filter(|spec| spec.everywhere).map(|spec| spec.name);
    assert_eq!(ours.collect::<BTreeSet<_>>(), first);
}

// ---- keys ----

/// A key of a request and how it is used, in a form that both sides have.
type Key = (Vec<u8>, bool, bool);

fn keys(server: &mut Server, version: &str, forms: &[Args]) {
    for batch in forms.chunks(500) {
        let questions: Vec<Args> = batch
            .iter()
            .map(|form| {
                let words = [&b"COMMAND"[..], b"GETKEYSANDFLAGS"];
                words.into_iter().map(<[u8]>::to_vec).chain(form.iter().cloned()).collect()
            })
            .collect();
        let answers = server.call_all(&questions);
        for (form, answer) in batch.iter().zip(answers) {
            let theirs = reported_keys(answer);
            let ours = our_keys(form);
            if !agree(form, ours.as_deref(), theirs.as_deref()) && !refused(server, form) {
                let text = form.iter().map(|arg| arg.escape_ascii().to_string());
                let text = text.collect::<Vec<_>>().join(" ");
                panic!("{version}: {text}\n ours: {ours:?}\n theirs: {theirs:?}");
            }
        }
    }
}

/// The server's keys; nothing when it finds none or cannot find them.
fn reported_keys(answer: Reply) -> Option<Vec<Key>> {
    let Reply::Array(keys) = answer else { return None };
    let mut keys: Vec<Key> = keys
        .into_iter()
        .map(|key| {
            let [name, flags] = key.array().try_into().unwrap();
            let flags: BTreeSet<String> = flags.array().into_iter().map(Reply::text).collect();
            let write = ["insert", "update", "delete"].iter().any(|flag| flags.contains(*flag));
            (name.bytes(), flags.contains("access"), write)
        })
        .collect();
    keys.sort();
    Some(keys)
}

/// Our keys; nothing when the arguments do not fit.
fn our_keys(form: &Args) -> Option<Vec<Key>> {
    let request = RequestBuf::from_args(form);
    let request = request.as_request();
    let Lookup::Command(spec) = command::lookup(&request) else { panic!("{form:?}") };
    let mut found = Vec::new();
    match command::find_keys(spec, &request, &mut found) {
        Err(KeyError::Syntax | KeyError::Refused) => return None,
        Err(KeyError::NotYetKnown) => panic!("all of {form:?} is there"),
        Ok(()) => {}
    }
    let mut keys: Vec<Key> = found
        .iter()
        .filter(|at| at.kind == KeyKind::Key)
        .map(|at| {
            let arg = request.arg(at.arg as usize).unwrap();
            assert_eq!((at.start, at.len as usize), (0, arg.len()));
            let Access { read, write } = at.access;
            (arg.to_vec(), read, write)
        })
        .collect();
    keys.sort();
    Some(keys)
}

fn agree(form: &Args, ours: Option<&[Key]>, theirs: Option<&[Key]>) -> bool {
    let name = String::from_utf8_lossy(&form[0]).to_lowercase();
    let theirs = theirs.unwrap_or_default();
    match (ours, name.as_str()) {
        (None, _) => false,
        (Some(ours), _) if ours == theirs => true,
        // The server reports the last STORE alone; each is one that it may touch.
        (Some(ours), "sort" | "georadius" | "georadiusbymember") => {
            theirs.iter().all(|key| ours.contains(key))
                && ours.iter().all(|(_, read, write)| *read != *write)
        }
        // The server finds no key when the second specification does not fit.
        (Some(ours), "pfmerge") => ours.len() == 1 && form.len() == 2,
        // The server has no specification at all.
        (Some(ours), "debug") => theirs.is_empty() && ours.iter().all(|(_, _, write)| !write),
        (Some(_), _) => false,
    }
}

/// Whether the server refuses this request whatever it holds: then its keys do not matter.
fn refused(server: &mut Server, form: &Args) -> bool {
    let mut form = form.clone();
    // A script that is there and does nothing, so that only the arguments can be wrong.
    match String::from_utf8_lossy(&form[0]).to_lowercase().as_str() {
        "eval" | "eval_ro" => form[1] = b"return 1".to_vec(),
        "evalsha" | "evalsha_ro" => {
            let load = [&b"SCRIPT"[..], b"LOAD", b"return 1"].map(<[u8]>::to_vec);
            form[1] = server.call(&load.into()).bytes();
        }
        "fcall" | "fcall_ro" => {
            let load = [&b"FUNCTION"[..], b"LOAD", b"REPLACE", FUNCTION].map(<[u8]>::to_vec);
            form[1] = server.call(&load.into()).bytes();
        }
        _ => {}
    }
    let Reply::Error(text) = server.call(&form) else { return false };
    !text.contains("no such key")
}

/// A library `f` with a function `f`.
const FUNCTION: &[u8] = b"#!lua name=f\nredis.register_function{function_name='f', \
    callback=function() return 1 end, flags={'no-writes'}}";
