//! Every command of the table under every kind of bound, beside a neighbour on the same server: nothing
//! of the neighbour is disclosed, and nothing of it or of the server is changed.
//!
//! Owns: the neighbour, what it must keep, the requests. Never knows: how a policy decides.

use std::time::Duration;

use super::support::client::{Client, Got, PATIENCE, encode};
use super::support::proxy::Proxy;
use super::support::real_server::{Brand, Server};
use super::*;

/// In every name and value of the neighbour, and in no request.
const MARK: &str = "zq7mark";
const LAST: &str = "zend";

/// Each kind of bound: rules, further settings, the database in which the neighbour is.
const BOUNDS: &[(&str, &str, &str)] = &[
    ("+@all ~app1:* &app1:*", "", "0"),
    ("+@all ~app1:* &*", "", "0"),
    ("+@all ~* &*", "[policy.keys]\nmode = \"rewrite\"\nprefix = \"app1:\"\n", "0"),
    ("+@all ~* &* db=0", "", "1"),
    ("+@all ~* &*", "[policy.keys]\ndeny = [\"*zq7mark*\"]\n", "0"),
];

/// What the neighbour has in its database, besides what [`Neighbour::new`] writes.
const FOREIGN: &[&str] = &[
    "SET zq7mark:string zq7mark",
    "RPUSH zq7mark:list zq7mark b",
    "SADD zq7mark:set zq7mark",
    "ZADD zq7mark:sorted 1 zq7mark",
    "HSET zq7mark:hash zq7mark zq7mark",
    "XADD zq7mark:stream 1-1 zq7mark v",
];

/// Commands that end or change the conversation itself, or wait.
const NOT_SAID: &[&str] =
    &["auth", "client|reply", "exec", "hello", "multi", "quit", "reset", "wait", "waitaof"];

/// What [`plain`] forms are too short for.
const LINES: &[&str] = &[
    "INFO",
    "INFO everything",
    "INFO all",
    "INFO keyspace",
    "INFO commandstats errorstats latencystats",
    "INFO KEYSPACE stats clients",
    "FUNCTION LIST WITHCODE",
    "FUNCTION LIST LIBRARYNAME *",
    "FUNCTION STATS",
    "FUNCTION FLUSH SYNC",
    "FUNCTION DELETE zq7",
    "FUNCTION DUMP",
    "FUNCTION RESTORE x FLUSH",
    "SCRIPT FLUSH SYNC",
    "SLOWLOG GET -1",
    "SLOWLOG RESET",
    "LATENCY HISTOGRAM",
    "LATENCY HISTORY command",
    "MEMORY STATS",
    "MEMORY DOCTOR",
    "CONFIG GET *",
    "CONFIG SET maxmemory 1",
    "CONFIG RESETSTAT",
    "ACL LIST",
    "ACL USERS",
    "ACL GETUSER default",
    "ACL LOG",
    "ACL SETUSER zq7 on",
    "ACL DRYRUN default GET x",
    "CLIENT LIST",
    "CLIENT KILL TYPE normal",
    "CLIENT PAUSE 100000",
    "CLIENT TRACKING ON BCAST",
    "MODULE LIST",
    "PUBSUB CHANNELS",
    "PUBSUB CHANNELS *",
    "PUBSUB SHARDCHANNELS",
    "PUBSUB NUMPAT",
    "COMMAND COUNT",
    "COMMAND GETKEYS GET x",
    "SCAN 0 COUNT 1000",
    "SCAN 0 MATCH * COUNT 1000",
    "SCAN 0 MATCH z* COUNT 1000",
    "KEYS *",
    "KEYS ?q*",
    "RANDOMKEY",
    "FLUSHALL SYNC",
    "FLUSHDB SYNC",
    "SWAPDB 0 1",
    "SELECT 1",
    "MOVE app1:k 1",
    "COPY app1:k app1:l DB 1",
    "SHUTDOWN NOSAVE",
    "FAILOVER",
    "REPLICAOF 127.0.0.1 1",
    "DEBUG RELOAD",
    "DEBUG SLEEP 0",
    "MONITOR",
    "SAVE",
    "BGSAVE",
];

/// Another application on the server.
struct Neighbour {
    server: Server,
    database: &'static str,
    /// Its own listener, which shows in PUBSUB and CLIENT LIST.
    _listener: Client,
}

impl Neighbour {
    fn new(database: &'static str) -> Self {
        let server = Server::new(
            Brand::Redis,
            false,
            &["--notify-keyspace-events", "KEA", "--slowlog-log-slower-than", "0"],
        );
        let mut listener = server.observer();
        assert_eq!(listener.ask(&["CLIENT", "SETNAME", MARK]), b"+OK\r\n");
        listener.ask(&["SUBSCRIBE", &format!("{MARK}:news")]);
        listener.ask(&["SSUBSCRIBE", &format!("{MARK}:shard")]);
        listener.ask(&["PSUBSCRIBE", &format!("{MARK}:*")]);
        let neighbour = Self { server, database, _listener: listener };
        let mut own = neighbour.observer();
        for line in FOREIGN {
            let reply = own.ask(&line.split(' ').collect::<Vec<_>>());
            assert_ne!(reply[0], b'-', "{line}");
        }
        let library = format!(
            "#!lua name={MARK}\nredis.register_function('{MARK}', function() return 1 end)"
        );
        assert_ne!(own.ask(&["FUNCTION", "LOAD", &library])[0], b'-');
        assert_ne!(own.ask(&["SCRIPT", "LOAD", &format!("return '{MARK}'")])[0], b'-');
        own.ask(&["ACL", "SETUSER", MARK, "on", ">p", "+get", "~zq7mark*"]);
        neighbour
    }

    fn observer(&self) -> Client {
        let mut client = self.server.observer();
        assert_eq!(client.ask(&["SELECT", self.database]), b"+OK\r\n");
        client
    }

    /// All that must stay as it is.
    fn state(&self) -> Vec<Vec<u8>> {
        let mut own = self.observer();
        let names = FOREIGN.iter().map(|line| line.split(' ').nth(1).unwrap());
        let mut state: Vec<Vec<u8>> = names.map(|name| own.ask(&["DUMP", name])).collect();
        state.extend([
            own.ask(&["FUNCTION", "LIST", "WITHCODE"]),
            own.ask(&["ACL", "LIST"]),
            own.ask(&["CONFIG", "GET", "*"]),
            own.ask(&["INFO", "server"])
                .split(|b| *b == b'\n')
                .find(|l| l.starts_with(b"run_id"))
                .unwrap()
                .to_vec(),
            own.ask(&["PUBSUB", "CHANNELS"]),
            own.ask(&["ROLE"]).get(..12).unwrap().to_vec(),
        ]);
        state
    }
}

/// Sends a request on a new connection; returns everything that is answered.
fn send_words(app: &Proxy, words: &[Vec<u8>], resp3: bool, queued: bool) -> Vec<u8> {
    let mut client = app.client();
    if resp3 {
        assert!(client.ask(&["HELLO", "3"]).starts_with(b"%7\r\n"));
    }
    if queued {
        assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
    }
    client.send_raw(&encode(words));
    if queued {
        client.send(&["EXEC"]);
    }
    client.send(&["PING", LAST]);
    let mut all = Vec::new();
    loop {
        match client.next(PATIENCE) {
            Got::Reply(reply) => {
                let is_last = reply.windows(LAST.len()).any(|text| text == LAST.as_bytes());
                all.extend(reply);
                if is_last {
                    return all;
                }
            }
            other => panic!("{}: {other:?} after {}", show(words), all.escape_ascii()),
        }
    }
}

/// Text that discloses something of others: the mark, and what `INFO` counts over all clients.
fn disclosure(reply: &[u8]) -> Option<&'static str> {
    let forbidden = [
        MARK,
        "db0:keys",
        "db1:keys",
        "cmdstat_",
        "errorstat_",
        "latency_percentiles_",
        "keyspace_hits",
    ];
    forbidden.into_iter().find(|text| reply.windows(text.len()).any(|part| part == text.as_bytes()))
}

/// Every request that names no key, and many that show or touch what they do not name.
fn requests() -> Vec<Vec<Vec<u8>>> {
    let is_sent = |spec: &&command::Spec| {
        !spec.container
            && !NOT_SAID.contains(&spec.name)
            && !matches!(spec.effect, Effect::Never | Effect::Monitor)
    };
    let keyless = command::all().iter().filter(is_sent).filter(|spec| spec.keys.is_empty());
    let mut all: Vec<Vec<Vec<u8>>> = keyless.map(|spec| plain(spec).words).collect();
    all.extend(LINES.iter().map(|line| line.split(' ').map(Into::into).collect()));
    all
}

fn apart(bound: &(&'static str, &'static str, &'static str)) {
    for pool in ["shared", "session"] {
        apart_in(pool, bound);
    }
}

fn apart_in(pool: &str, (acl, keys, database): &(&'static str, &'static str, &'static str)) {
    let neighbour = Neighbour::new(database);
    let sections = format!("{keys}[upstream.pool]\nmode = '{pool}'\n");
    let app = Proxy::with_policy(&neighbour.server, acl, &sections);
    let before = neighbour.state();
    let only_denies = keys.contains("deny");
    for words in requests() {
        let text = show(&words);
        let name = text.split(' ').next().unwrap().to_lowercase();
        // What only denies keys bounds nothing else: the server may be administered.
        let administers = ["config", "acl", "shutdown", "failover", "client", "function", "script"];
        let administers = only_denies
            && (administers.contains(&&*name)
                || ["bgsave", "save", "bgrewriteaof", "module", "pubsub", "latency", "cluster"]
                    .contains(&&*name));
        // A client that may receive every channel may know their names.
        let receives_all = acl.contains("&*") && !keys.contains("rewrite") && name == "pubsub";
        if administers || receives_all || (only_denies && name == "info") {
            continue;
        }
        for (resp3, queued) in [(false, false), (true, false), (false, true)] {
            let reply = send_words(&app, &words, resp3, queued);
            let disclosed = disclosure(&reply);
            assert_eq!(disclosed, None, "{acl} {keys} {pool}: {text}: {}", reply.escape_ascii());
        }
    }
    assert!(neighbour.state() == before, "{acl} {keys}: something of the neighbour has changed");
}

#[test]
fn keys_within_patterns() {
    apart(&BOUNDS[0]);
    apart(&BOUNDS[1]);
}

#[test]
fn keys_with_a_prefix() {
    apart(&BOUNDS[2]);
}

#[test]
fn keys_of_a_database() {
    apart(&BOUNDS[3]);
}

#[test]
fn keys_that_are_not_denied() {
    apart(&BOUNDS[4]);
}

/// What drivers read of `INFO` is there, and a client that may see all sees all.
#[test]
fn report_has_what_drivers_need() {
    let server = Server::plain(Brand::Redis);
    for (acl, keys) in [
        ("+@all ~app1:*", ""),
        ("+@all ~* db=0", ""),
        ("+@all ~*", "[policy.keys]\nmode = \"rewrite\"\nprefix = \"app1:\"\n"),
    ] {
        let app = Proxy::with_policy(&server, acl, keys);
        for resp3 in [false, true] {
            let words = [b"INFO".to_vec()];
            let report = String::from_utf8(send_words(&app, &words, resp3, false)).unwrap();
            for field in [
                "\r\nredis_version:7.",
                "\r\nredis_mode:standalone\r\n",
                "\r\nrun_id:",
                "\r\nloading:0\r\n",
                "\r\nrole:master\r\n",
                "\r\nmaster_repl_offset:",
                "\r\nmaxmemory_policy:",
                "\r\ncluster_enabled:0\r\n",
                "\r\n# Keyspace\r\n",
            ] {
                assert!(report.contains(field), "{acl}: {field}: {report}");
            }
            for field in ["used_memory:", "connected_clients:", "total_commands_processed:"] {
                assert!(!report.contains(field), "{acl}: {field}: {report}");
            }
        }
    }
    let open = Proxy::with_policy(&server, "+@all ~* &*", "");
    let report = String::from_utf8(send_words(&open, &[b"INFO".to_vec()], false, false)).unwrap();
    assert!(report.contains("used_memory:") && report.contains("connected_clients:"), "{report}");
}

/// Why `CLIENT TRACKING` is refused where databases are bounded: the server remembers names without their
/// database, and an invalidation is the same whichever database the key was changed in.
#[test]
fn invalidations_do_not_name_their_database() {
    for brand in [Brand::Redis, Brand::Valkey] {
        if !brand.available() {
            continue;
        }
        let server = Server::plain(brand);
        let (mut client, mut other) = (server.observer(), server.observer());
        assert!(client.ask(&["HELLO", "3"]).starts_with(b"%"));
        assert_eq!(client.ask(&["CLIENT", "TRACKING", "ON"]), b"+OK\r\n");
        assert_eq!(other.ask(&["SELECT", "1"]), b"+OK\r\n");
        client.ask(&["GET", "k"]);
        other.ask(&["SET", "k", "v"]);
        assert_eq!(client.reply(), b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
        let app = Proxy::with_policy(&server, "+@all ~* &* db=0", "");
        let reply = app.client().ask_text(&["CLIENT", "TRACKING", "ON"]);
        assert!(reply.contains("do not name their database"), "{reply}");
    }
}

/// Events and invalidations of other databases and of denied keys do not arrive.
#[test]
fn listener_receives_its_own_messages() {
    for bound in [&BOUNDS[3], &BOUNDS[4]] {
        let (acl, keys, database) = bound;
        let neighbour = Neighbour::new(database);
        let app = Proxy::with_policy(&neighbour.server, acl, keys);
        let mut client = app.client();
        client.send(&["HELLO", "3"]);
        assert!(client.reply().starts_with(b"%"));
        for line in [
            "PSUBSCRIBE *",
            "PSUBSCRIBE __key*__:*",
            "PSUBSCRIBE __keyspace@*__:*",
            "PSUBSCRIBE __keyevent@1__:*",
            "SUBSCRIBE __keyevent@1__:set",
            "SUBSCRIBE __keyspace@1__:zq7mark",
            "CLIENT TRACKING ON BCAST",
        ] {
            client.send(&line.split(' ').collect::<Vec<_>>());
            let reply = client.reply();
            assert!(reply.starts_with(b"-NOPERM"), "{acl}: {line}: {}", reply.escape_ascii());
        }
        let own = "SUBSCRIBE __keyspace@0__:app1:last";
        client.send(&own.split(' ').collect::<Vec<_>>());
        assert!(client.reply().starts_with(b">3"), "{acl}");
        // The same name in the neighbour's database, or a name that is denied.
        let name = if *database == "1" { "app1:x" } else { "zq7mark" };
        assert_eq!(neighbour.observer().ask(&["SET", name, "1"]), b"+OK\r\n");
        let mut same = neighbour.server.observer();
        assert_eq!(same.ask(&["SET", "app1:last", "1"]), b"+OK\r\n");
        let received = client.reply();
        assert!(
            received.windows(9).any(|text| text == b"app1:last"),
            "{acl}: {}",
            received.escape_ascii()
        );
        assert!(matches!(client.next(Duration::from_millis(50)), Got::Silence));
    }
}
