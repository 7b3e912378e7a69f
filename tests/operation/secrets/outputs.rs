//! Verbs that work on files alone print no secret of these files and of the environment.
//!
//! Owns: those cases, and the demonstration. Never knows: how a verb is made.

use std::process::Output;

use super::*;

const HASH_KEY: &str = "8Hn3Wm5Yc1Db7Sf0Gj4Ka6Pe2Ru9Xo1Lt";

/// Exit status, and everything that the program writes.
fn ran(directory: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_respgate"));
    command.args(arguments).current_dir(directory);
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.success(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

/// The texts of the files in a directory whose names end so.
fn texts(directory: &Path, end: &str) -> Vec<String> {
    let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let named = paths.filter(|path| path.to_str().unwrap().ends_with(end));
    named.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn keys_are_not_printed_when_they_are_made_and_inspected() {
    let home = proxy::directory();
    let mut printed = Vec::new();
    for words in [
        &["certs", "dev", "made"][..],
        &["certs", "dev", "made"],
        &["certs", "dev", "made", "--json"],
        &["certs", "dev", "other", "--json", "-vv"],
    ] {
        printed.push(ran(home.path(), words).1);
    }
    let mut keys = texts(&home.path().join("made"), ".key");
    keys.extend(texts(&home.path().join("other"), ".key"));
    assert_eq!(keys.len(), 6, "{printed:?}");
    let secrets: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
    let search = Search::new(&secrets);
    let key = std::fs::read_to_string(home.path().join("made/client.key")).unwrap();
    for (_, damage) in KEYS {
        std::fs::write(home.path().join("tls.key"), damage(&key)).unwrap();
        for words in [&["tls.key"][..], &["made/client.crt", "tls.key", "--json"]] {
            printed.push(ran(home.path(), &[&["certs", "inspect"], words].concat()).1);
        }
    }
    printed.push(ran(home.path(), &["certs", "inspect", "--for", "client", "tls.key", "-vv"]).1);
    for text in printed {
        assert!(!text.is_empty());
        search.assert_absent(&text, "certs");
    }
}

#[test]
fn key_of_the_audit_log_is_not_printed_with_its_files() {
    let stage = Stage::new();
    let name = |name: &str| stage.path(name).to_str().unwrap().to_owned();
    stage.write("key", HASH_KEY);
    let section = format!(
        "[audit]\nkeys = \"hmac\"\nkey_file = {:?}\nsensitive = [\"@all\"]\n\
         [[audit.sink]]\ntype = \"file\"\npath = {:?}\n",
        name("key"),
        name("audit.log")
    );
    let mut running = Proxy::before(&stage.server, &section);
    running.client().ask(&["SET", "k", PASSWORD]);
    assert!(running.terminate().success());
    let secrets = [HASH_KEY, PASSWORD, &stage.key];
    let search = Search::new(&secrets.map(str::as_bytes));
    let whole = std::fs::read_to_string(stage.path("audit.log")).unwrap();
    stage.write("damaged", whole.replace("\"set\"", &format!("\"{PASSWORD}\"")));
    stage.write("short", &HASH_KEY[..31]);
    stage.write("empty", "");
    for key_file in ["key", "short", "empty", "tls.key", "password", "nowhere"] {
        let hash = ran(stage.home.path(), &["audit", "hash", "--key-file", key_file, PASSWORD]);
        assert_eq!(hash.0, ["key", "tls.key", "password"].contains(&key_file), "{hash:?}");
        search.assert_absent(&hash.1, &format!("audit hash, {key_file}"));
        for file in ["audit.log", "damaged", "key", "password", "tls.key", "users.acl"] {
            for flags in [&[][..], &["--json"], &["-vv"]] {
                let words = [&["audit", "verify", "--key-file", key_file, file], flags].concat();
                let (whole, printed) = ran(stage.home.path(), &words);
                assert_eq!(whole, (key_file, file) == ("key", "audit.log"), "{words:?}: {printed}");
                search.assert_absent(&printed, &words.join(" "));
            }
        }
    }
}

/// A library that shows what variables are set to, as some do in a help, would show it here.
#[test]
fn variables_are_not_in_pages_helps_and_scripts_of_shells() {
    let home = proxy::directory();
    let names = damage::VARIABLES.iter().chain(&["RESPGATE_CONFIG", "RESPGATE_PASSWORD"]);
    let variables: Vec<(&str, &str)> = names.map(|name| (*name, PASSWORD)).collect();
    let search = Search::new(&[PASSWORD.as_bytes()]);
    let mut lines = vec![vec!["man", "."], vec!["--help"], vec!["run", "--help"], vec!["version"]];
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        lines.push(vec!["completions", shell]);
    }
    for words in lines {
        search.assert_absent(&printed(home.path(), &words, &variables), &words.join(" "));
    }
    let pages = texts(home.path(), ".1");
    assert!(pages.len() > 20, "{}", pages.len());
    for page in pages {
        search.assert_absent(&page, "a manual page");
    }
}

#[test]
fn secrets_of_the_demonstration_are_in_none_of_its_outputs_and_logs() {
    let Some(server) = Brand::Redis.available().then(|| Brand::Redis.program()).flatten() else {
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_respgate"));
    command.args(["demo", "--once", "--keep", "--listen", "127.0.0.1:0", "--server"]).arg(server);
    let Output { status, stdout, stderr } = command.env("TMPDIR", place.path()).output().unwrap();
    let printed = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(status.success(), "{printed}");
    let directory = std::fs::read_dir(place.path()).unwrap().next().unwrap().unwrap().path();
    let of = |folder: &str, end: &str| texts(&directory.join(folder), end);
    let secrets = [of("server", ".key"), of("tls", ".key"), of(".", "password")].concat();
    let search = Search::new(&secrets.iter().map(String::as_bytes).collect::<Vec<_>>());
    search.assert_absent(&printed, "what the demonstration shows");
    let logs = texts(&directory, ".log");
    assert!(secrets.len() == 3 && !logs.is_empty(), "{} {}", secrets.len(), logs.len());
    for log in logs {
        search.assert_absent(&log, "a log of the demonstration");
    }
}
