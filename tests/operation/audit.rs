//! The audit log of a running respgate: what is written, what never is, and what happens to a sink that fails.
//!
//! Owns: the cases. Never knows: how entries are made.
use crate::support;
mod follow;
mod million;
mod overflow;
mod rsyslog;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::client::{Client, PATIENCE};
use support::proxy::{self, Proxy};
use support::real_server::{Brand, Server, wait_until};

/// What no output may contain.
const SECRETS: [&str; 6] = [
    "s3cret-password",
    "s3cret-value",
    "s3cret-script",
    "s3cret-acl",
    "s3cret-hello",
    "s3cret-config",
];

fn file_sink(path: &Path) -> String {
    format!("[[audit.sink]]\ntype = \"file\"\npath = {path:?}\nfsync = \"never\"\n")
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // One that is being written has no end yet.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect()
}

fn of<'a>(entries: &'a [Value], event: &str) -> Vec<&'a Value> {
    entries.iter().filter(|entry| entry["event"] == event).collect()
}

fn verify(arguments: &[&str], files: &[&Path]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_respgate"));
    let output = command.args(["audit", "verify"]).args(arguments).args(files).output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
}

/// A proxy whose policy permits keys under `app1:`, with `audit` in its configuration.
fn proxy(server: &Server, audit: &str) -> Proxy {
    Proxy::with_policy(server, "+@all -flushall ~app1:* &*", audit)
}

#[test]
fn entries_name_the_client_the_command_and_the_line_of_the_configuration() {
    let (server, directory) = (Server::mutual_tls(Brand::Redis), proxy::directory());
    let path = directory.path().join("audit.log");
    let audit = format!(
        "[audit]\nreference = true\nkeys = \"plain\"\nsensitive = [\"GET\"]\n{}",
        file_sink(&path)
    );
    let mut proxy = proxy(&server, &audit);
    let mut client = proxy.client();
    client.ask(&["CLIENT", "SETNAME", "worker-1"]);
    let denied = client.ask_text(&["FLUSHALL"]);
    client.ask(&["SET", "other:1", "s3cret-value"]);
    client.ask(&["SET", "app1:1", "v"]);
    client.ask(&["GET", "app1:1"]);
    drop(client);
    assert!(proxy.terminate().success());
    let entries = lines(&path);
    let denials = of(&entries, "denied");
    let flush = denials[0];
    assert_eq!((&flush["command"], &flush["rule"]), (&"flushall".into(), &"command".into()));
    assert_eq!((&flush["name"], &flush["user"]), (&"worker-1".into(), &"default".into()));
    assert_eq!((&flush["setting"], &flush["word"]), (&"policy.acl".into(), &"-flushall".into()));
    let configuration = std::fs::read_to_string(proxy.configuration_file()).unwrap();
    let line = 1 + configuration.lines().position(|line| line.starts_with("acl = ")).unwrap();
    let place = flush["place"].as_str().unwrap();
    assert!(place.contains(&format!("respgate.toml:{line}:")), "{place}");
    let id = flush["id"].as_str().unwrap();
    assert!(denied.ends_with(&format!("(event {id})")), "{denied}");
    let foreign = denials[1];
    assert_eq!((&foreign["command"], &foreign["keys"][0]), (&"set".into(), &"other:1".into()));
    assert_eq!(foreign["place"], flush["place"], "the patterns are written there");
    assert!(of(&entries, "sensitive").iter().any(|entry| entry["command"] == "get"));
    assert_eq!(of(&entries, "denied").len(), 2, "a permitted command is none");
    for event in ["begin", "started", "connection-opened", "connection-closed", "stopped"] {
        assert!(!of(&entries, event).is_empty(), "{event}");
    }
    let numbers: Vec<u64> = entries.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=entries.len() as u64).collect::<Vec<_>>());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    let (whole, printed) = verify(&[], &[&path]);
    assert!(whole, "{printed}");
}

/// A pipe has no disk behind it.
#[test]
fn pipe_takes_entries_whatever_is_to_be_synced() {
    for fsync in ["second", "batch"] {
        let (server, directory) = (Server::mutual_tls(Brand::Redis), proxy::directory());
        let path = directory.path().join("audit.pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let mut options = std::fs::OpenOptions::new();
        let pipe = BufReader::new(options.read(true).write(true).open(&path).unwrap()).lines();
        let (denied, entries) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let lines = pipe.map_while(Result::ok);
            lines
                .filter(|line| line.contains("\"event\":\"denied\""))
                .try_for_each(|line| denied.send(line))
        });
        let mut proxy = proxy(&server, &file_sink(&path).replace("never", fsync));
        let mut client = proxy.client();
        for _ in 0..3 {
            client.ask(&["FLUSHALL"]);
            assert!(entries.recv_timeout(PATIENCE).is_ok(), "{fsync}: an entry is missing");
            std::thread::sleep(Duration::from_millis(600));
        }
        // A client that stays would be waited for.
        drop(client);
        assert!(proxy.terminate().success());
        let log = proxy.log();
        assert!(!log.contains("AUD-E001"), "{fsync}: {log}");
    }
}

#[test]
fn secrets_are_in_no_entry_whatever_the_form_of_keys() {
    for keys in ["plain", "prefix", "drop", "hmac"] {
        let (server, directory) = (Server::mutual_tls(Brand::Redis), proxy::directory());
        let (path, key) = (directory.path().join("audit.log"), directory.path().join("key"));
        std::fs::write(&key, [7; 32]).unwrap();
        let audit = format!(
            "[audit]\nsensitive = [\"@all\"]\nkeys = {keys:?}\nkey_file = {key:?}\n{}",
            file_sink(&path)
        );
        let mut proxy = Proxy::with_policy(&server, "+@all ~app1:* &*", &audit);
        let mut client = proxy.client();
        for command in [
            &["AUTH", "s3cret-password"][..],
            &["AUTH", "default", "s3cret-password"],
            &["HELLO", "2", "AUTH", "default", "s3cret-hello"],
            &["SET", "app1:k", "s3cret-value"],
            &["SET", "other:k", "s3cret-value"],
            &["HSET", "app1:h", "s3cret-value", "s3cret-value"],
            &["CONFIG", "SET", "requirepass", "s3cret-config"],
            &["ACL", "SETUSER", "x", ">s3cret-acl"],
            &["EVAL", "return 's3cret-script'", "0"],
            &["EVAL", "return 's3cret-script'", "1", "other:x", "s3cret-value"],
            &["NOSUCHCOMMAND", "s3cret-value"],
            // An unknown command is named in the log, and not here.
            &["s3cret-typed"],
        ] {
            client.ask(command);
        }
        drop(client);
        proxy.terminate();
        let text = std::fs::read_to_string(&path).unwrap();
        let (log, errors) = (proxy.log(), verify(&["--key-file", key.to_str().unwrap()], &[&path]));
        assert!(errors.0, "{}", errors.1);
        for secret in SECRETS {
            assert!(!text.contains(secret), "{keys}: {secret}\n{text}");
            assert!(!log.contains(secret), "{keys}: {secret}");
        }
        assert!(!text.contains("s3cret-typed"), "{keys}: {text}");
        assert_eq!(text.contains("other:k"), keys == "plain");
        if keys == "hmac" {
            let mut hash = Command::new(env!("CARGO_BIN_EXE_respgate"));
            let hash = hash.args(["audit", "hash", "--key-file"]).arg(&key).arg("other:k");
            let hash = String::from_utf8(hash.output().unwrap().stdout).unwrap();
            assert!(hash.starts_with("hmac:") && text.contains(hash.trim()), "{hash}");
            // Without the key nothing can be verified.
            assert!(!verify(&[], &[&path]).0);
        }
    }
}

#[test]
fn chain_survives_rotation_and_restart_and_names_the_first_broken_line() {
    let (server, directory) = (Server::mutual_tls(Brand::Redis), proxy::directory());
    let path = directory.path().join("audit.log");
    let sink = file_sink(&path).replace("fsync", "max_bytes = \"16KiB\"\nmax_files = 20\nfsync");
    for _ in 0..2 {
        let mut proxy = proxy(&server, &sink);
        let mut client = proxy.client();
        for _ in 0..150 {
            client.ask(&["FLUSHALL"]);
        }
        // Another program moves the file away, as logrotate does.
        drop(client);
        assert!(proxy.terminate().success());
    }
    let mut files: Vec<PathBuf> = (1..)
        .map(|number| directory.path().join(format!("audit.log.{number}")))
        .take_while(|file| file.exists())
        .collect();
    assert!(files.len() > 3, "{files:?}");
    files.reverse();
    files.push(path);
    let all: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let (whole, printed) = verify(&[], &all);
    assert!(whole, "{printed}");
    let denied: usize = files.iter().map(|file| of(&lines(file), "denied").len()).sum();
    assert_eq!(denied, 300, "no event is lost");
    assert!(files.iter().all(|file| std::fs::metadata(file).unwrap().len() <= 16 << 10));
    // A line is changed in the third file.
    let text = std::fs::read_to_string(all[2]).unwrap();
    let mut changed: Vec<&str> = text.lines().collect();
    let other = changed[4].replace("flushall", "get");
    changed[4] = &other;
    std::fs::write(all[2], format!("{}\n", changed.join("\n"))).unwrap();
    let (whole, printed) = verify(&[], &all);
    assert!(!whole && printed.contains(&format!("{}:5: ", all[2].display())), "{printed}");
}

#[test]
fn file_that_another_program_moves_away_is_opened_anew() {
    let (server, directory) = (Server::mutual_tls(Brand::Redis), proxy::directory());
    let (path, moved) = (directory.path().join("audit.log"), directory.path().join("moved"));
    let mut proxy = proxy(&server, &file_sink(&path));
    let mut client = proxy.client();
    client.ask(&["FLUSHALL"]);
    wait_until("the entry is there", || of(&lines(&path), "denied").len() == 1);
    std::fs::rename(&path, &moved).unwrap();
    wait_until("another file is there", || {
        client.ask(&["FLUSHALL"]);
        path.exists()
    });
    drop(client);
    assert!(proxy.terminate().success());
    let (whole, printed) = verify(&[], &[&moved, &path]);
    assert!(whole, "{printed}");
}

/// A disk without room: `/dev/full` takes no byte.
#[test]
fn full_disk_costs_events_with_drop_and_refuses_commands_with_fail_closed() {
    let server = Server::mutual_tls(Brand::Redis);
    let sink = "[[audit.sink]]\ntype = \"file\"\npath = \"/dev/full\"\nmax_bytes = \"0\"\n";
    let dropping = proxy(&server, &format!("[audit]\nqueue = \"64KiB\"\n{sink}"));
    let mut client = dropping.client();
    for _ in 0..400 {
        client.ask(&["FLUSHALL"]);
    }
    assert_eq!(client.ask_text(&["SET", "app1:k", "v"]), "+OK");
    dropping.await_log(&["AUD-E001"]);

    let audit = format!("[audit]\nqueue = \"64KiB\"\non_overflow = \"fail_closed\"\n{sink}");
    let closed = proxy(&server, &audit);
    let mut client = closed.client();
    let refused = |got: &str| got.contains("AUD-E003");
    let refusals = (0..400).filter(|_| refused(&client.ask_text(&["FLUSHALL"]))).count();
    assert!(refusals > 0);
    assert!(refused(&client.ask_text(&["SET", "app1:other", "v"])));
    assert_eq!(dropping.client().ask_text(&["EXISTS", "app1:other"]), ":0");

    let audit =
        format!("[audit]\nqueue = \"64KiB\"\non_overflow = \"block\"\nwait = \"200ms\"\n{sink}");
    let blocking = proxy(&server, &audit);
    let mut client = blocking.client();
    let began = respgate::internals::base::clock::now();
    wait_until("there is no room", || refused(&client.ask_text(&["FLUSHALL"])));
    assert!(respgate::internals::base::clock::now() - began >= Duration::from_millis(200));
}

#[test]
fn syslog_servers_get_each_entry_as_rfc_5424_has_it() {
    let (server, directory) = (Server::mutual_tls(Brand::Redis), proxy::directory());
    let path = directory.path().join("log.sock");
    let datagrams = UnixDatagram::bind(&path).unwrap();
    datagrams.set_read_timeout(Some(PATIENCE)).unwrap();
    let stream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stream.local_addr().unwrap();
    let audit = format!(
        "[[audit.sink]]\ntype = \"syslog\"\naddress = \"unix:{}\"\n\
         [[audit.sink]]\ntype = \"syslog\"\naddress = \"tcp://{address}\"\nfacility = \"local3\"\n",
        path.display()
    );
    let mut proxy = proxy(&server, &audit);
    proxy.client().ask(&["FLUSHALL"]);
    let mut message = [0; 8192];
    let denied = std::iter::repeat_with(|| {
        let length = datagrams.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    })
    .find(|text| text.contains("\"denied\""))
    .unwrap();
    // authpriv (10) * 8 + notice (5).
    assert!(denied.starts_with("<85>1 2"), "{denied}");
    let (head, entry) = denied.split_once(" audit - ").unwrap();
    assert_eq!(head.split(' ').count(), 5, "priority and version, time, host, program, process");
    assert_eq!(serde_json::from_str::<Value>(entry).unwrap()["command"], "flushall");
    let (mut taken, _) = stream.accept().unwrap();
    assert!(proxy.terminate().success());
    let mut text = String::new();
    taken.read_to_string(&mut text).unwrap();
    let mut rest = text.as_str();
    let mut entries = 0;
    while let Some((length, more)) = rest.split_once(' ') {
        let (message, more) = more.split_at(length.parse().unwrap());
        assert!(message.starts_with("<157>1 "), "{message}");
        entries += 1;
        rest = more;
    }
    assert!(entries >= 4 && rest.is_empty(), "{text}");
}

#[test]
fn syslog_server_that_was_away_gets_what_waited() {
    let (server, directory) = (Server::mutual_tls(Brand::Redis), proxy::directory());
    let path = directory.path().join("log.sock");
    let audit =
        format!("[[audit.sink]]\ntype = \"syslog\"\naddress = \"unix:{}\"\n", path.display());
    let proxy = proxy(&server, &audit);
    let mut client: Client = proxy.client();
    for _ in 0..20 {
        client.ask(&["FLUSHALL"]);
    }
    wait_until("the failure is logged", || proxy.log().contains("AUD-E001"));
    let datagrams = UnixDatagram::bind(&path).unwrap();
    datagrams.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut message = [0; 8192];
    let mut denied = 0;
    while denied < 20 {
        let length = datagrams.recv(&mut message).unwrap();
        denied += usize::from(String::from_utf8_lossy(&message[..length]).contains("\"denied\""));
    }
    wait_until("the end of the failure is logged", || proxy.log().contains("AUD-I001"));
}

/// Every verb of an operator is an entry that names the operator; the last entries are shown without a file.
#[test]
fn verbs_of_operators_are_entries_and_the_last_entries_are_shown() {
    let (server, directory) = (Server::mutual_tls(Brand::Redis), proxy::directory());
    let (path, socket) = (directory.path().join("audit.log"), directory.path().join("admin.sock"));
    let audit = format!("[admin]\nsocket = {socket:?}\n{}", file_sink(&path));
    let proxy = proxy(&server, &audit);
    let ask = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_respgate"));
        let output = command.args(words).arg("--socket").arg(&socket).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    proxy.client().ask(&["FLUSHALL"]);
    assert_eq!(ask(&["block", "--command", "get", "--for", "5m"]).0, Some(0));
    let (code, recent) = ask(&["audit", "recent", "--json"]);
    assert_eq!(code, Some(0));
    let entries: Vec<Value> = serde_json::from_str(&recent).unwrap();
    let done = of(&entries, "administration");
    assert_eq!((&done[0]["command"], &done[0]["result"]), (&"block".into(), &"ok".into()));
    assert!(done[0]["user"].as_str().unwrap().starts_with("uid "), "{recent}");
    let (_, denied) = ask(&["audit", "recent", "--event", "denied", "--most", "1"]);
    assert!(denied.lines().count() == 1 && denied.contains("\"flushall\""), "{denied}");
    let (_, status) = ask(&["status"]);
    assert!(status.contains(&format!("file {}", path.display())), "{status}");
}

/// Runs a proxy with this sink that refuses `denials` commands, and ends it.
fn refuse(server: &Server, path: &Path, denials: usize) {
    let mut proxy = proxy(server, &file_sink(path));
    let mut client = proxy.client();
    for _ in 0..denials {
        client.ask(&["FLUSHALL"]);
    }
    drop(client);
    assert!(proxy.terminate().success());
}

#[test]
fn chain_goes_on_behind_a_line_that_a_crash_has_cut_short() {
    let (server, directory) = (Server::mutual_tls(Brand::Redis), proxy::directory());
    let path = directory.path().join("audit.log");
    refuse(&server, &path, 3);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole, &b"{\"seq\":99,\"time\""[..]].concat()).unwrap();
    assert!(!verify(&[], &[&path]).0);
    refuse(&server, &path, 2);
    let (good, printed) = verify(&[], &[&path]);
    assert!(good, "{printed}");
    let entries = lines(&path);
    assert_eq!(of(&entries, "denied").len(), 5);
    assert_eq!(of(&entries, "begin")[1]["removed_bytes"], 16);
}

#[test]
fn chain_goes_on_after_the_file_was_rotated_while_nothing_ran() {
    let (server, directory) = (Server::mutual_tls(Brand::Redis), proxy::directory());
    let (path, old) = (directory.path().join("audit.log"), directory.path().join("audit.log.1"));
    refuse(&server, &path, 3);
    std::fs::rename(&path, &old).unwrap();
    refuse(&server, &path, 2);
    let (good, printed) = verify(&[], &[&old, &path]);
    assert!(good, "{printed}");
    let (good, printed) = verify(&[], &[&path]);
    assert!(good && printed.contains("the chain begins before this file"), "{printed}");
}

#[test]
fn entries_that_a_full_disk_refused_go_to_the_file_that_takes_its_place() {
    let (server, directory) = (Server::mutual_tls(Brand::Redis), proxy::directory());
    let path = directory.path().join("audit.log");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let sink = file_sink(&path).replace("fsync", "max_bytes = \"0\"\nfsync");
    let mut proxy = proxy(&server, &sink);
    let mut client = proxy.client();
    for _ in 0..50 {
        client.ask(&["FLUSHALL"]);
    }
    wait_until("the failure is logged", || proxy.log().contains("AUD-E001"));
    std::fs::remove_file(&path).unwrap();
    wait_until("the entries are there", || of(&lines(&path), "denied").len() == 50);
    drop(client);
    assert!(proxy.terminate().success());
    let (good, printed) = verify(&[], &[&path]);
    assert!(good, "{printed}");
}

#[test]
fn sensitive_commands_that_are_not_executed_are_recorded_as_such() {
    let (server, directory) = (Server::mutual_tls(Brand::Redis), proxy::directory());
    let path = directory.path().join("audit.log");
    let audit = format!("[audit]\nsensitive = [\"get\"]\nreference = true\n{}", file_sink(&path));
    let mut proxy = proxy(&server, &audit);
    let mut client = proxy.client();
    client.ask(&["GET", "app1:k"]);
    // respgate sends the server nothing for a driver's probe, and the probe is no event.
    let probe = client.ask_text(&["CLIENT", "MAINT_NOTIFICATIONS", "ON"]);
    assert!(probe.starts_with('-') && !probe.contains("(event"), "{probe}");
    client.ask(&["MULTI"]);
    client.ask(&["GET"]);
    drop(client);
    assert!(proxy.terminate().success());
    let entries = lines(&path);
    let results: Vec<&Value> = of(&entries, "sensitive").iter().map(|one| &one["result"]).collect();
    assert_eq!(results, ["passed"], "a wrong number of arguments is refused, not sensitive");
    assert!(of(&entries, "denied").iter().all(|one| one["command"] != "client"), "{entries:?}");
}
