//! Requests that a server refuses because of their arguments: the words are the server's own, whatever
//! rules stand before it.
//!
//! Owns: the loop over the table of commands, what is wrong in each request. Never knows: keys that are
//! denied, how a request is judged.
use crate::support;
use respgate::internals::command::{Categories, Effect, Spec, all};
use support::client::{Client, encode, show};
use support::forms::{Form, forms, plain};
use support::proxy::Proxy;
use support::real_server::{Brand, Server};

/// Every name in the requests begins with it.
const NAMES: &str = "k:";
const SCRIPTS: &str = "[policy.scripts]\nmode = \"declared-keys\"\n";
/// Rules that look into a request, or change it: `acl`, further TOML. `~?*` is not every key, so that
/// keys are looked for, and fits every name here.
const RULES: [(&str, &str); 4] = [
    ("+@all ~k:* ~?* &?*", ""),
    ("+@all ~* &*", "[policy.keys]\nmode = \"rewrite\"\nprefix = \"app1:\"\n"),
    ("+@all ~* &*", "[policy.ttl]\non_missing = \"inject\"\ndefault = \"1h\"\nmax = \"2h\"\n"),
    (
        "+@all ~k:* ~?* &?*",
        "[policy.keys]\nmode = \"rewrite\"\nprefix = \"app1:\"\nmax_bytes = 100\n\
         [policy.ttl]\non_missing = \"inject\"\ndefault = \"1h\"\n",
    ),
];

/// What is different on purpose, by the first words of the request.
const DIFFERENT: &[(&str, &str)] = &[
    ("MIGRATE", "refused under a prefix: sends keys to another server"),
    ("MOVE", "refused where keys are bound: a key leaves them"),
    ("PUBSUB CHANNELS", "refused where channels are bound and no pattern is given"),
    ("PUBSUB SHARDCHANNELS", "the same"),
];

#[test]
fn redis_reports_what_is_wrong() {
    compare_all(Brand::Redis);
}

#[test]
fn valkey_reports_what_is_wrong() {
    if Brand::Valkey.available() {
        compare_all(Brand::Valkey);
    }
}

/// A wrong number of keys is what is wrong, although the names are outside of the patterns too: as with
/// the server's own ACL. Nothing of the names goes to the server.
#[test]
fn number_of_keys_is_wrong_before_the_names_are() {
    for brand in [Brand::Redis, Brand::Valkey].into_iter().filter(|brand| brand.available()) {
        let (straight, behind) = (Server::plain(brand), Server::plain(brand));
        let user = ["ACL", "SETUSER", "app", "on", "nopass", "+@all", "~app1:*", "&*"];
        assert_eq!(straight.observer().ask(&user), b"+OK\r\n");
        let rewrite = "[policy.keys]\nmode = \"rewrite\"\nprefix = \"app1:\"\n";
        for (acl, more) in [("+@all ~app1:* &*", ""), ("+@all ~app1:* &*", rewrite)] {
            let proxy = Proxy::with_policy(&behind, acl, &format!("{SCRIPTS}{more}"));
            let mut clients = [Client::connect(&straight.target()).unwrap(), proxy.client()];
            assert_eq!(clients[0].ask(&["AUTH", "app", "x"]), b"+OK\r\n");
            let mut monitor = behind.observer();
            monitor.ask(&["MONITOR"]);
            for line in wrong_numbers() {
                let words: Vec<&str> = line.split(' ').collect();
                let [direct, ours] = clients.each_mut().map(|client| client.ask_text(&words));
                // Valkey's ACL names the user, and does not look at the names after a wrong number.
                let acl = direct.starts_with("-NOPERM") || ours.starts_with("-NOPERM");
                let same = ours == direct || (acl && brand == Brand::Valkey);
                assert!(same, "{} {more:?}: {line}\n {direct}\n {ours}", brand.name());
                assert!(direct.starts_with('-'), "{line}: {direct}");
            }
            behind.observer().ask(&["ECHO", "the end"]);
            loop {
                let received = show(&monitor.reply());
                let outside = received.contains("secret") && !received.contains("app1:secret");
                assert!(!outside, "{received}");
                if received.contains("the end") {
                    break;
                }
            }
        }
    }
}

/// A wrong number of keys in every command that counts them.
fn wrong_numbers() -> Vec<String> {
    let line = |command: &str, numbers: &[&str]| -> Vec<String> {
        numbers.iter().map(|number| command.replace('#', number)).collect()
    };
    let numbers =
        ["x", "", "-1", "01", "+1", "1x", "4", "9223372036854775807", "9223372036854775808"];
    let mut lines = Vec::new();
    for command in [
        "EVAL return # secret",
        "EVAL_RO return # secret secret",
        "EVALSHA x # secret",
        "FCALL f # secret",
        "LMPOP # secret LEFT",
        "BLMPOP 1 # secret LEFT",
        "ZMPOP # secret MIN",
        "BZMPOP 1 # secret MIN",
        "SINTERCARD # secret",
        "ZUNION # secret",
        "ZINTER # secret",
        "ZDIFF # secret",
        "ZINTERCARD # secret",
        "ZUNIONSTORE app1:d # secret",
        "ZINTERSTORE app1:d # secret",
        "ZDIFFSTORE app1:d # secret",
    ] {
        lines.extend(line(command, &numbers));
        if !command.contains("EVAL") && !command.contains("FCALL") {
            lines.extend(line(command, &["0"]));
        }
    }
    lines.extend(
        [
            "EVAL s x",
            "ZUNION 0",
            "LMPOP -1",
            "XREAD STREAMS secret a 0",
            "XREAD STREAMS secret",
            "XREADGROUP GROUP g c STREAMS secret secret >",
        ]
        .map(str::to_owned),
    );
    lines
}

fn compare_all(brand: Brand) {
    let mut differences = Vec::new();
    for (acl, more) in RULES {
        let (straight, behind) = (Server::plain(brand), Server::plain(brand));
        let proxy = Proxy::with_policy(&behind, acl, &format!("{SCRIPTS}{more}"));
        let mut clients = [Client::connect(&straight.target()).unwrap(), proxy.client()];
        let mut requests = 0;
        for spec in all().iter().filter(|spec| is_compared(spec)) {
            for server in [&straight, &behind] {
                server.observer().ask(&["FLUSHALL"]);
            }
            for words in malformed(spec) {
                let [direct, ours] = clients.each_mut().map(|client| {
                    client.send_raw(&encode(&words));
                    client.reply()
                });
                requests += 1;
                if direct.starts_with(b"-ERR unknown ") {
                    // A command of other servers: respgate counts its arguments itself.
                    continue;
                }
                let wrong = direct.starts_with(b"-") || ours.starts_with(b"-");
                if wrong && direct != ours && !is_different(&words) {
                    let line = words.iter().map(|word| word.escape_ascii().to_string());
                    let line = line.collect::<Vec<_>>().join(" ");
                    differences.push(format!(
                        "{acl} {more:?}: {line}\n  {}\n  {}",
                        show(&direct),
                        show(&ours)
                    ));
                }
            }
        }
        assert!(requests > 4000, "{requests}");
    }
    let count = differences.len();
    assert!(count == 0, "{brand:?}: {count} differences\n{}", differences.join("\n"));
}

/// Whether a command names keys and is forwarded like most others.
fn is_compared(spec: &Spec) -> bool {
    let travels =
        spec.effect.leaves_nothing() || matches!(spec.effect, Effect::Block(_) | Effect::Watch);
    travels && !spec.container && !spec.keys.is_empty() && !spec.categories.has(Categories::ADMIN)
}

fn is_different(words: &[Vec<u8>]) -> bool {
    let line = words.join(&b' ').to_ascii_uppercase();
    DIFFERENT.iter().any(|(begin, _)| line.starts_with(begin.as_bytes()))
}

/// Too few and too many arguments, and each argument that is no name replaced by what does not fit.
fn malformed(spec: &'static Spec) -> Vec<Vec<Vec<u8>>> {
    let own = spec.name.split('|').count();
    let mut all = forms(spec, NAMES);
    if all.is_empty() {
        all.push(plain(spec));
    }
    let mut requests = Vec::new();
    // A timeout of 0 is for ever.
    let wrong: &[&str] = if matches!(spec.effect, Effect::Block(_)) {
        &["-1", "x", "", "9223372036854775808"]
    } else {
        &["-1", "0", "01", "+1", "x", "", "4", "99", "9223372036854775807", "9223372036854775808"]
    };
    for Form { words, places, .. } in all {
        for len in own..words.len() {
            requests.push(words[..len].to_vec());
        }
        for more in [&["x"][..], &["x", "y"], &["NX"], &["EX"], &["EX", "x"], &["COUNT", "x"]] {
            requests.push(
                [words.clone(), more.iter().map(|word| word.as_bytes().to_vec()).collect()]
                    .concat(),
            );
        }
        for at in own..words.len() {
            if places.iter().any(|(place, _)| *place == at) {
                continue;
            }
            for text in wrong {
                let mut request = words.clone();
                request[at] = text.as_bytes().to_vec();
                requests.push(request);
            }
        }
        requests.push(words);
    }
    requests
}
