//! The program as a person calls it: check, version, help, exit codes.
//!
//! Owns: what the command line promises. Never knows: the code behind it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use respgate::internals::tls::dev_certs::write_all;

use crate::support::real_server::free_port;

/// Exit code, standard output, standard error.
fn respgate(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_respgate"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn version_and_help() {
    let version = concat!("respgate ", env!("CARGO_PKG_VERSION"), "\n").to_owned();
    assert_eq!(respgate(&["version"], &[]), (0, version.clone(), String::new()));
    assert_eq!(respgate(&["--version"], &[]), (0, version, String::new()));
    let (code, help, _) = respgate(&["--help"], &[]);
    assert_eq!(code, 0);
    for word in
        ["run", "check", "demo", "version", "Examples", "RESPGATE__UPSTREAM__ADDRESS", "Exit codes"]
    {
        assert!(help.contains(word), "{word}");
    }
    let (code, help, _) = respgate(&["run", "--help"], &[]);
    assert_eq!(code, 0);
    for word in [
        "--config",
        "--upstream",
        "--cert",
        "--key",
        "--ca",
        "--prefix",
        "--listen",
        "--password-file",
    ] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn wrong_command_line_is_2() {
    for arguments in [
        &[][..],
        &["serve"],
        &["run", "--colour"],
        &["check", "--config", "x", "--upstream", "h:1"],
        &["run", "--prefix", "a b"],
        &["explain", "--socket", "s", "--policy", "a&b", "PING"],
    ] {
        let (code, out, err) = respgate(arguments, &[]);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(!err.is_empty());
    }
}

#[test]
fn check_lists_every_problem_and_exits_with_1() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(
        directory.path(),
        "respgate.toml",
        "[[listener]]\naddress = \"0.0.0.0:6379\"\n[upstream]\naddress = \"h:1\"\n\
         [upstream.pool]\nidel_timeout = \"5m\"\n",
    );
    let (code, out, err) = respgate(&["check", "--config", &file], &[]);
    assert_eq!((code, out.as_str()), (1, ""));
    let places: Vec<&str> =
        err.lines().filter_map(|line| line.strip_prefix(&format!("{file}:"))).collect();
    assert_eq!(
        places,
        [
            "2:11: listener.0.address: other machines could connect",
            "3:1: upstream.tls: missing",
            "6:1: upstream.pool.idel_timeout: unknown key"
        ]
    );
    assert!(err.contains("\n  hint: did you mean idle_timeout?\n"), "{err}");
    assert!(err.ends_with("respgate: 3 problems\n"), "{err}");

    // `run` refuses in the same words.
    assert_eq!(respgate(&["run", "--config", &file], &[]), (1, String::new(), err));

    let (code, _, err) = respgate(&["check", "--config", "/nonexistent.toml"], &[]);
    assert_eq!(code, 1);
    assert!(err.starts_with("/nonexistent.toml: No such file"), "{err}");
}

#[test]
fn check_explains_a_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let file = write(
        directory.path(),
        "respgate.toml",
        &format!(
            "[[listener]]\naddress = \"127.0.0.1:6379\"\n[upstream]\naddress = \"redis.example.com:6380\"\n\
             tls = {{ cert = {:?}, key = {:?}, ca = {:?} }}\n\
             auth = {{ username = \"app1\", password_env = \"PW\" }}\n[policy]\npreset = \"cache\"\n",
            at("c"),
            at("k"),
            at("a")
        ),
    );
    let now = respgate::internals::base::clock::wall();
    let day = std::time::Duration::from_secs(86_400);
    let files = write_all(directory.path(), &["redis.example.com"], "app1", now, day).unwrap();
    std::fs::rename(&files.client_cert, at("c")).unwrap();
    let (code, out, err) = respgate(&["check", "--config", &file], &[]);
    assert_eq!((code, out.as_str()), (1, ""));
    for key in ["upstream.tls.key: ", "upstream.tls.ca: "] {
        assert!(err.contains(&format!("{file}:5:")) && err.contains(key), "{err}");
    }
    assert!(
        err.contains(&format!(
            "{file}:6:44: upstream.auth.password_env: environment variable PW is not set"
        )),
        "{err}"
    );
    assert_eq!(respgate(&["check", "--skip-files", "--config", &file], &[]).0, 0);

    std::fs::rename(&files.ca, at("a")).unwrap();
    std::fs::rename(&files.server_key, at("k")).unwrap();
    let (code, _, err) = respgate(&["check", "--config", &file], &[("PW", "hunter2")]);
    assert!(code == 1 && err.contains("k: does not belong to") && err.contains(":5:"), "{err}");
    std::fs::rename(&files.client_key, at("k")).unwrap();
    let (code, out, err) = respgate(&["check", "--config", &file], &[("PW", "hunter2")]);
    assert_eq!((code, err.as_str()), (0, ""));
    for words in
        ["no problems", "127.0.0.1:6379", "app1", "$PW", "redis.example.com:6380", "preset cache"]
    {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert!(!out.contains("hunter2"));
    assert!(out.lines().count() <= 24, "one screen");
}

#[test]
fn check_lists_what_each_user_may_do() {
    let directory = tempfile::tempdir().unwrap();
    let hash = format!("#{}", "0f".repeat(32));
    let accounts = write(directory.path(), "users.acl", "user a on >hunter2 ~a:* +get\nuser b\n");
    std::fs::set_permissions(&accounts, PermissionsExt::from_mode(0o600)).unwrap();
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:6379\"\nauth = \"users\"\npolicy = \"one\"\n\
         [upstream]\naddress = \"h:1\"\ninsecure_plaintext = true\n\
         [policies.one]\npreset = \"cache\"\nkeys = {{ prefix = \"one:\" }}\n\
         [[user]]\nname = \"app1\"\npasswords = [{hash:?}]\nuids = [1000]\n\
         [[user]]\nname = \"app2\"\nenabled = false\npolicy = \"one\"\n\
         [[user]]\nname = \"app3\"\n[users]\nacl_file = {accounts:?}\n\
         [[listener]]\naddress = \"unix:x\"\nauth = \"users\"\npolicy = \"one\"\n"
    );
    let file = write(directory.path(), "respgate.toml", &text);
    let (code, out, err) = respgate(&["check", "--config", &file], &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    for words in [
        "127.0.0.1:6379, users, policy one",
        "one: preset cache, keys one:*",
        "app1: a password or Unix socket of uid 1000; policy the listener's",
        "app2: disabled; policy one",
        "app3: no client can log in as it: no password, no uid; policy the listener's",
        "users.acl, each with its own rules: a, b (disabled)",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert!(!out.contains("hunter2") && !out.contains("0f0f"), "{out}");
    assert!(!out.contains("warning"), "{out}");
    let rewrite = |prefix: &str| format!("keys = {{ mode = \"rewrite\", prefix = {prefix:?} }}");
    let overlapping = text.replace("keys = { prefix = \"one:\" }", &rewrite("one:a:"));
    let two = "[[listener]]\naddress = \"unix:y\"\npolicy = \"two\"\n[policies.two]\n";
    let overlapping = format!("{overlapping}{two}{}\n", rewrite("one:"));
    write(directory.path(), "respgate.toml", &overlapping);
    let (code, out, _) = respgate(&["check", "--config", &file], &[]);
    let warning =
        "\n  warning    policies.two reaches the keys of policies.one: keys.prefix \"one:\" is";
    assert!(code == 0 && out.contains(warning), "{out}");
    let unasked = text.replace("auth = \"users\"", "");
    write(directory.path(), "respgate.toml", &unasked);
    let (code, _, err) = respgate(&["check", "--config", &file], &[]);
    let unused = ":22:12: users.acl_file: without effect: no listener has auth = \"users\"";
    assert!(code == 1 && err.contains(&format!("{file}{unused}")), "{err}");

    // Every problem has its place, in whichever file.
    write(
        directory.path(),
        "respgate.toml",
        &text.replace("preset = \"cache\"", "acl = \"+gett\""),
    );
    write(directory.path(), "users.acl", "user a on hunter2\nuser app1 >hunter2\n");
    let (code, _, err) = respgate(&["check", "--config", &file], &[]);
    assert_eq!(code, 1);
    assert!(
        err.contains(&format!("{file}:9:7: policies.one.acl: '+gett': unknown command")),
        "{err}"
    );
    assert!(err.contains(&format!("{accounts}:1:11: 'h…': not a word")), "{err}");
    assert!(!err.contains("hunter2"), "{err}");
    let limits = "[[policies.one.limit]]\ncommands = \"@all\"\n\
                  [[policies.one.limit]]\nconcurrency = 1\ncommands = \"gett\"\n";
    write(directory.path(), "respgate.toml", &format!("{text}{limits}"));
    let (code, _, err) = respgate(&["check", "--skip-files", "--config", &file], &[]);
    assert_eq!(code, 1);
    let place = ":31:12: policies.one.limit.1.commands: '+gett': unknown command";
    assert!(err.contains(place), "{err}");
    write(directory.path(), "respgate.toml", &text);
    write(directory.path(), "users.acl", "user app1 >hunter2\n");
    let (_, _, err) = respgate(&["check", "--config", &file], &[]);
    assert!(err.contains("users.acl_file: its user app1 is in the configuration too"), "{err}");
}

#[test]
fn check_lists_permitted_scripts_and_rate_limits() {
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:6379\"\n\
         [upstream]\naddress = \"h:1\"\ninsecure_plaintext = true\n\
         [[listener]]\naddress = \"unix:a\"\npolicy = \"open\"\n\
         [[listener]]\naddress = \"unix:b\"\npolicy = \"listed\"\n\
         [policy]\npreset = \"cache\"\nacl = \"+keys\"\nscripts = {{ mode = \"deny\" }}\n\
         [[policy.limit]]\ncommands = \"@write -ping\"\nrate = \"1000/s\"\nburst = 50\n\
         [[policy.limit]]\ncommands = \"keys\"\nconcurrency = 1\nrate = \"5/h\"\nper = \"client\"\n\
         on_exceed = \"error\"\n[[policy.limit]]\ncommands = \"get\"\nconcurrency = 3\n[policies.open]\n\
         [policies.listed.scripts]\nmode = \"allowlist\"\nallow = [{:?}]\ndirectory = {:?}\n\
         allow_functions = [\"f\", \"g\"]\n",
        "0f".repeat(20),
        directory.path()
    );
    let file = write(directory.path(), "respgate.toml", &text);
    let (code, out, err) = respgate(&["check", "--config", &file], &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    let lines: Vec<&str> = out.lines().map(str::trim).collect();
    let listed = format!(
        "listed: scripts: 1 by SHA-1, files in {}, functions f g; what they do inside is not seen",
        directory.path().display()
    );
    for line in [
        "limit on @write -ping: 1000 in 1s, 50 in a burst, all clients together; what is beyond waits, \
         at most 1s",
        "limit on keys: 5 in 1h, 1 at once, each client; what is beyond is refused",
        "limit on get: 3 at once, all clients together; what is beyond waits, at most 1s",
        &listed,
    ] {
        assert!(lines.contains(&line), "{line}\n{out}");
    }
    let open = "open: scripts: declared-keys: keys and commands inside a script are not seen";
    assert!(out.contains(open) && !out.contains("open: limit"), "{out}");
}

/// Settings that another makes void are errors of `check`, at their places; `run` starts, and warns.
#[test]
fn check_finds_settings_without_effect() {
    let directory = tempfile::tempdir().unwrap();
    let check = |more: &str| {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:6379\"\n\
             [upstream]\naddress = \"h:1\"\ninsecure_plaintext = true\n{more}"
        );
        let file = write(directory.path(), "respgate.toml", &text);
        let (code, _, err) = respgate(&["check", "--config", &file], &[]);
        let lines = err.lines().filter_map(|line| line.strip_prefix(&format!("{file}:")));
        (code, lines.map(str::to_owned).collect::<Vec<_>>())
    };
    for (more, expected) in [
        ("[policy]\npreset = \"cache\"\n", &[][..]),
        (
            "[policy]\npreset = \"cache\"\nscripts = { mode = \"allowlist\" }\n",
            &[
                "8:20: policy.scripts.mode: without effect: the rules permit no command that runs scripts",
            ],
        ),
        (
            "[policy]\nacl = \"+@all ~a\"\nkeys = { prefix = \"a:\" }\n",
            &["8:19: policy.keys.prefix: without effect: acl names keys, and they count alone"],
        ),
        (
            "[policy]\npreset = \"readonly\"\nvalues = { max_args = 3 }\nttl = { max = \"1h\" }\n",
            &[
                "8:23: policy.values.max_args: without effect: the rules permit no command that writes",
                "9:15: policy.ttl.max: without effect: the rules permit no command that writes",
            ],
        ),
        (
            "[policy]\nacl = \"+get ~*\"\n[commands.custom.\"A.B\"]\narity = 2\nflags = [\"readonly\"]\n",
            &["8:1: commands.custom.\"a.b\": without effect: no policy permits the command"],
        ),
        (
            "[policy]\nacl = \"+a.b ~*\"\n[commands.custom.\"A.B\"]\narity = 2\nflags = [\"readonly\"]\n",
            &[],
        ),
        (
            "[policy.keys]\nmode = \"rewrite\"\nprefix = \"a:\"\nflushdb = true\ndbsize = true\n",
            &[],
        ),
    ] {
        assert_eq!(
            check(more),
            (
                i32::from(!expected.is_empty()),
                expected.iter().map(|line| (*line).to_owned()).collect()
            ),
            "{more}"
        );
    }
}

/// `check` reports what a policy lets through, and that it refuses nothing.
#[test]
fn check_lists_what_a_policy_does_not_refuse() {
    let directory = tempfile::tempdir().unwrap();
    let check = |policy: &str| {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:6379\"\n\
             [upstream]\naddress = \"h:1\"\ninsecure_plaintext = true\n[policy]\n{policy}"
        );
        let file = write(directory.path(), "respgate.toml", &text);
        let (code, out, err) = respgate(&["check", "--config", &file], &[]);
        assert_eq!((code, err.as_str()), (0, ""), "{policy}");
        out
    };
    let printed = check("keys = { mode = \"rewrite\", prefix = \"app1:\" }\n");
    for words in [
        "keys app1:* (rewrite: respgate puts the prefix before every key)",
        "scripts: guarded: every command inside a script is held to the same keys and rules",
    ] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    assert!(!printed.contains("warning"), "{printed}");
    let scripts = "scripts = { mode = \"declared-keys\" }\n";
    let printed = check(&format!("acl = \"+@all ~app1:*\"\n{scripts}"));
    let beyond = "  warning    policy: scripts.mode = \"declared-keys\": a script can use any key and run any \
                  command that the server's user may, FLUSHALL included; give that user the rules that \
                  respgate acl prints";
    assert!(printed.contains(beyond), "{printed}");
    let printed = check("mode = \"observe\"\n");
    let observed =
        "  warning    policy: observe: nothing is refused; what would be is counted and logged";
    assert!(printed.contains(observed), "{printed}");
    let printed = check("observe = [\"command\"]\n");
    let partly = "  warning    policy: enforce, but these rules refuse nothing: command";
    assert!(printed.contains(partly), "{printed}");
}

#[test]
fn flags_and_environment_are_a_configuration_too() {
    let flags = [
        "check",
        "--skip-files",
        "--upstream",
        "rediss://app1@redis:6380",
        "--cert",
        "c",
        "--key",
        "k",
        "--ca",
        "a",
        "--prefix",
        "app1:",
    ];
    let (code, out, err) = respgate(&flags, &[("RESPGATE__LIMITS__MAX_CLIENTS", "7")]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("preset default, then resetkeys ~app1:* resetchannels &app1:*"), "{out}");
    assert!(out.contains("7 clients"), "{out}");

    let (code, _, err) = respgate(&flags[..6], &[("RESPGATE__LIMIT__MAX_CLIENTS", "7")]);
    assert_eq!(code, 1);
    assert!(err.contains("command line: upstream.tls.key: missing\n  hint: give --key\n"), "{err}");
    assert!(err.contains("RESPGATE__LIMIT__MAX_CLIENTS: limit: unknown key\n"), "{err}");
    assert!(err.contains("did you mean RESPGATE__LIMITS"), "{err}");
}

#[test]
fn mistyped_arguments_get_a_suggestion() {
    for (arguments, suggestion) in [
        (&["chekc"][..], "'check'"),
        (&["check", "--conect"], "'--connect'"),
        (&["run", "--cofnig", "x"], "'--config'"),
        (&["completions", "bsh"], "'bash'"),
    ] {
        let (code, out, err) = respgate(arguments, &[]);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(err.contains(suggestion), "{arguments:?}: {err}");
    }
}

#[test]
fn completions_are_scripts() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, err) = respgate(&["completions", shell], &[]);
        assert_eq!((code, err.as_str()), (0, ""), "{shell}");
        for word in ["explain", "password-file", "connect"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        let Some(parse) = ["bash", "zsh", "fish"].into_iter().find(|known| *known == shell) else {
            continue;
        };
        let directory = tempfile::tempdir().unwrap();
        let file = write(directory.path(), "script", &script);
        // Bash is everywhere; of the others, what is installed reads its script.
        match Command::new(parse).args(["-n", &file]).output() {
            Ok(Output { status, stderr, .. }) => {
                assert!(status.success(), "{shell}: {}", String::from_utf8_lossy(&stderr));
            }
            Err(error) => assert_ne!(shell, "bash", "{error}"),
        }
    }
    // What bash offers after the first letters of a verb and of a flag.
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "script", &respgate(&["completions", "bash"], &[]).1);
    for (words, expected) in [("respgate exp", "explain"), ("respgate check --con", "--connect")] {
        let script = format!(
            "source {file}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); \
             _respgate respgate \"${{COMP_WORDS[COMP_CWORD]}}\" x; echo \"${{COMPREPLY[@]}}\""
        );
        let Output { stdout, .. } = Command::new("bash").args(["-c", &script]).output().unwrap();
        let offered = String::from_utf8(stdout).unwrap();
        assert!(offered.split_whitespace().any(|word| word == expected), "{words}: {offered}");
    }
}

#[test]
fn manual_pages_are_written_for_every_verb() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap();
    let (code, out, err) = respgate(&["man", place], &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    let pages: Vec<&str> = out.lines().collect();
    assert!(pages.contains(&format!("{place}/respgate.1").as_str()));
    assert!(pages.contains(&format!("{place}/respgate-run.1").as_str()));
    for page in pages {
        let text = std::fs::read_to_string(page).unwrap();
        assert!(text.contains(".SH EXAMPLES") && text.contains("respgate"), "{page}");
        // Where groff is installed it finds nothing to warn of.
        if let Ok(done) = Command::new("groff").args(["-man", "-ww", "-z", "-Tutf8", page]).output()
        {
            let printed = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(done.status.success() && printed.is_empty(), "{page}: {printed}");
        }
    }
    let (code, out, err) = respgate(&["man", &format!("{place}/none")], &[]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("none/respgate.1: No such file"), "{err}");
}

/// Every verb that takes `--json` prints one JSON text on standard output, whatever the exit code.
#[test]
fn json_answers_parse() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[[listener]]\naddress = \"127.0.0.1:6379\"\n\
                [upstream]\naddress = \"127.0.0.1:1\"\ninsecure_plaintext = true\n\
                [policy]\npreset = \"cache\"\nkeys = { mode = \"rewrite\", prefix = \"a:\" }\n";
    let good = write(directory.path(), "good.toml", text);
    let bad = write(directory.path(), "bad.toml", &text.replace("preset", "prest"));
    let same = write(directory.path(), "acl", "user default on ~* &* +@all\n");
    let json = |arguments: &[&str]| -> (i32, serde_json::Value) {
        let (code, out, _) = respgate(arguments, &[]);
        (code, serde_json::from_str(&out).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {out}")))
    };

    let (code, answer) = json(&["version", "--json"]);
    assert_eq!((code, &answer["version"]), (0, &env!("CARGO_PKG_VERSION").into()));

    let (code, answer) = json(&["check", "--json", "--config", &good]);
    assert_eq!((code, &answer["valid"]), (0, &true.into()));
    assert_eq!(answer["summary"]["upstream"][0], "127.0.0.1:1");
    assert_eq!(answer.get("server"), None);
    let (code, answer) = json(&["check", "--json", "--connect", "--config", &good]);
    assert_eq!((code, &answer["server"]["usable"]), (3, &false.into()));
    let results: Vec<&str> = answer["server"]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["result"].as_str().unwrap())
        .collect();
    assert_eq!(results, ["ok", "failed", "not tried"]);
    let (code, answer) = json(&["check", "--json", "--config", &bad]);
    assert_eq!((code, &answer["valid"]), (1, &false.into()));
    let problem = &answer["problems"][0];
    assert_eq!((&problem["file"], &problem["line"]), (&bad.clone().into(), &7.into()));
    assert_eq!(problem["setting"], "policy.prest");
    assert_eq!(problem["hint"], "did you mean preset?");

    let (code, answer) = json(&["explain", "--json", "--config", &good, "SET k v"]);
    assert_eq!((code, &answer["verdict"]), (0, &"passes".into()));
    assert_eq!(answer["command"], serde_json::json!(["SET", "k", "v"]));
    assert_eq!(answer["sent"][0], "SET a:k v");
    let (code, answer) = json(&["explain", "--json", "--config", &good, "FLUSHALL"]);
    assert_eq!(
        (code, &answer["verdict"], &answer["rule"]),
        (1, &"refused".into(), &"category".into())
    );
    let (code, answer) = json(&["explain", "--json", "--config", &good, "GET 'k"]);
    assert!(code == 2 && answer["error"].as_str().unwrap().contains("not a command"), "{answer}");
    assert_eq!(json(&["explain", "--json", "--config", &bad, "PING"]).1["valid"], false);

    let (code, answer) = json(&["acl", "--json", "--config", &good]);
    assert_eq!((code, &answer["user"]), (0, &"default".into()));
    assert!(answer["rules"].as_array().unwrap().contains(&"~a:*".into()), "{answer}");
    let (code, answer) = json(&["acl", "--json", "--config", &good, "--diff", &same]);
    assert_eq!((code, &answer["same"]), (1, &false.into()));
    assert!(!answer["differences"].as_array().unwrap().is_empty());
    assert_eq!(respgate(&["version", "--json", "--quiet"], &[]).0, 2);
}

/// Names of a configuration may turn the direction of what follows, or command a terminal.
#[test]
fn names_in_an_answer_do_not_change_how_the_rest_of_it_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let listener = "[[listener]]\naddress = \"127.0.0.1:16379\"\n";
    let name = r"u\u202ex\u2066y";
    let server = format!(
        "[upstream]\naddress = \"localhost:6379\"\ninsecure_plaintext = true\n[upstream.auth]\n\
         username = \"{name}\"\npassword_env = \"NONE\"\n"
    );
    for (text, code, shown) in [
        (format!("{listener}{server}"), 0, true),
        (format!("{listener}{server}[policies.\"{name}\"]\npreset = \"none\"\n"), 1, true),
        (format!("{listener}{server}[\"{name}\"]\n"), 1, true),
        (format!("{listener}{}", server.replace("localhost", name)), 1, false),
    ] {
        let file = write(directory.path(), "respgate.toml", &text);
        for json in [&[][..], &["--json"]] {
            let arguments = [&["check", "--config", &file], json].concat();
            let (ended, out, err) = respgate(&arguments, &[("NONE", "secret")]);
            let all = format!("{out}{err}");
            assert!(!all.contains(['\u{202e}', '\u{2066}']), "{all:?}");
            assert_eq!((ended, all.contains("202e")), (code, shown), "{all}");
            let parsed = serde_json::from_str::<serde_json::Value>(&out);
            assert!(json.is_empty() || parsed.is_ok(), "{out}");
        }
    }
}

/// No colours into a pipe, whatever is asked for.
#[test]
fn answers_in_a_pipe_hold_no_escape_sequences() {
    for environment in [&[][..], &[("TERM", "xterm-256color")], &[("NO_COLOR", "1")]] {
        for arguments in [
            &["--help"][..],
            &["run", "--help"],
            &["chekc"],
            &["check", "--upstream", "h:1"],
            &["check", "--skip-files", "--upstream", "h:1", "--insecure-plaintext"],
            &["check", "--connect", "--upstream", "127.0.0.1:1", "--insecure-plaintext"],
            &["explain", "--prefix", "a:", "FLUSHALL"],
            &["check", "-vv", "--connect", "--upstream", "127.0.0.1:1", "--insecure-plaintext"],
        ] {
            let (_, out, err) = respgate(arguments, environment);
            assert!(
                !out.contains('\u{1b}') && !err.contains('\u{1b}'),
                "{arguments:?}\n{out}{err}"
            );
        }
    }
}

/// What a command prints on a terminal.
fn on_a_terminal(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let line = format!("{} {}", env!("CARGO_BIN_EXE_respgate"), arguments.join(" "));
    let Output { stdout, .. } = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("TERM", "xterm")])
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    String::from_utf8(stdout).unwrap()
}

#[test]
fn answers_on_a_terminal_have_colours_unless_unwanted() {
    for arguments in [
        &["check", "--upstream", "h:1"][..],
        &["check", "--connect", "--upstream", "127.0.0.1:1", "--insecure-plaintext"],
        &["explain", "--prefix", "a:", "FLUSHALL"],
        &["--help"],
    ] {
        let shown = on_a_terminal(arguments, &[]);
        assert!(shown.contains("\u{1b}["), "{arguments:?}: {shown}");
        for plain in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let shown = on_a_terminal(arguments, &[plain]);
            assert!(!shown.contains('\u{1b}'), "{arguments:?} {plain:?}: {shown:?}");
            assert!(shown.lines().count() > 2, "{shown}");
        }
    }
}

/// What lasts over a second is named on a terminal, and leaves nothing behind.
#[test]
fn progress_is_shown_while_a_server_does_not_answer() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let arguments = ["check", "--connect", "--insecure-plaintext", "--upstream", &address];
    let limit = ("RESPGATE__UPSTREAM__POOL__CONNECT_TIMEOUT", "1500ms");
    let shown = on_a_terminal(&arguments, &[limit]);
    let line = format!("\r\u{1b}[Kconnecting to {address} (1 s)\r\u{1b}[K");
    assert!(shown.contains(&line), "{shown:?}");
    let (code, _, err) = respgate(&arguments, &[limit]);
    assert!(code == 3 && !err.contains("connecting to") && !err.contains('\r'), "{err:?}");
}

#[test]
fn verbose_logs_and_quiet_leaves_the_exit_code() {
    let check = ["check", "--connect", "--upstream", "127.0.0.1:1", "--insecure-plaintext"];
    let (code, out, err) = respgate(&[&check[..], &["-v"]].concat(), &[]);
    assert_eq!(code, 3);
    assert!(out.contains("no problems"), "{out}");
    assert!(err.contains("connection is opened") && err.contains("FAILED"), "{err}");
    let (code, out, err) = respgate(&["explain", "-q", "--prefix", "a:", "FLUSHALL"], &[]);
    assert_eq!((code, out.as_str(), err.as_str()), (1, "", ""));
    assert_eq!(respgate(&["version", "-q", "-v"], &[]).0, 2);
}

/// A reader that has gone away is no error: `respgate check | head -1`.
#[test]
fn closed_pipe_ends_quietly() {
    let program = env!("CARGO_BIN_EXE_respgate");
    for verb in ["--help", "version", "completions bash", "explain --prefix a: PING"] {
        let line = format!("{program} {verb} | true; echo ${{PIPESTATUS[0]}}");
        let Output { stdout, stderr, .. } =
            Command::new("bash").args(["-c", &line]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&stdout).trim(), "0", "{verb}");
        assert_eq!(String::from_utf8_lossy(&stderr), "", "{verb}");
    }
}

/// A respgate that serves metrics and has no server behind it; killed when dropped.
struct Lonely(std::process::Child);

impl Lonely {
    fn start() -> (Self, String) {
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new(env!("CARGO_BIN_EXE_respgate"))
            .args(["run", "-q", "--upstream", "127.0.0.1:1", "--insecure-plaintext"])
            .args(["--listen", "127.0.0.1:0", "--telemetry", &address])
            .spawn()
            .unwrap();
        let until = respgate::internals::base::clock::now() + std::time::Duration::from_secs(30);
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(respgate::internals::base::clock::now() < until, "no metrics");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        (Self(child), address)
    }
}

impl Drop for Lonely {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn top_prints_one_picture_or_why_not() {
    let (_respgate, address) = Lonely::start();
    let once = ["top", "--once", "--interval", "200ms", "--telemetry", &address];
    let (code, out, err) = respgate(&once, &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    for words in ["Commands 0/s", "NOT REACHABLE", "! the server cannot be reached", &address] {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert!(out.lines().count() == 24 && !out.contains('\u{1b}'), "{out}");
    // Without a terminal there is nothing to draw on.
    let (code, out, err) = respgate(&once[..1], &[]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("--once"), "{err}");
    let (code, out, err) = respgate(&["top", "--once", "--telemetry", "127.0.0.1:1"], &[]);
    assert_eq!((code, out.as_str()), (3, ""));
    assert!(err.contains("127.0.0.1:1: connection refused; is respgate running"), "{err}");
    assert_eq!(respgate(&["top", "--interval", "1"], &[]).0, 2);
}

/// Runs this on a terminal until it shows a picture; also returns what was shown.
fn begin_on_a_terminal(line: &str) -> (std::process::Child, Vec<u8>) {
    let mut script = Command::new("script")
        .args(["-qec", &format!("bash -c '{line}'"), "/dev/null"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (mut shown, mut part) = (Vec::new(), [0; 4096]);
    // Of a picture only cells that are not blank are sent.
    while !String::from_utf8_lossy(&shown).contains("REACHABLE") {
        let read = std::io::Read::read(script.stdout.as_mut().unwrap(), &mut part).unwrap();
        assert!(read > 0 && shown.len() < 1 << 20, "{}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&part[..read]);
    }
    (script, shown)
}

/// However the view ends, the terminal shows what it showed before.
#[test]
fn top_restores_the_terminal() {
    let (_respgate, address) = Lonely::start();
    let directory = tempfile::tempdir().unwrap();
    for (name, end) in [("key", "q"), ("control", "\u{3}"), ("term", "TERM"), ("hup", "HUP")] {
        let pid = directory.path().join(name);
        let line = format!(
            "stty rows 24 cols 80; stty -a > {0}.before; (echo $BASHPID > {0}; exec {1} top \
             --interval 100ms --telemetry {address}); echo code $?; stty -a > {0}.after",
            pid.display(),
            env!("CARGO_BIN_EXE_respgate")
        );
        let (mut script, mut shown) = begin_on_a_terminal(&line);
        if end.len() == 1 {
            let stdin = script.stdin.as_mut().unwrap();
            std::io::Write::write_all(stdin, end.as_bytes()).unwrap();
        } else {
            let pid = std::fs::read_to_string(&pid).unwrap();
            let kill = Command::new("bash").args(["-c", &format!("kill -{end} {pid}")]).status();
            assert!(kill.unwrap().success(), "{name}");
        }
        std::io::Read::read_to_end(script.stdout.as_mut().unwrap(), &mut shown).unwrap();
        drop(script.stdin.take());
        assert!(script.wait().unwrap().success(), "{name}");
        let shown = String::from_utf8_lossy(&shown);
        let (entered, left) = (shown.find("\u{1b}[?1049h"), shown.rfind("\u{1b}[?1049l"));
        assert!(entered.is_some() && entered < left, "{name}: {shown:?}");
        assert!(shown.contains("code 0"), "{name}: {shown:?}");
        let state = |when: &str| std::fs::read_to_string(pid.with_extension(when)).unwrap();
        assert_eq!(state("before"), state("after"), "{name}");
    }
}

/// No signal ends it whose session is not that of the terminal.
#[test]
fn top_ends_with_its_terminal() {
    let (_respgate, address) = Lonely::start();
    let directory = tempfile::tempdir().unwrap();
    let pid = directory.path().join("pid");
    let line = format!(
        "stty rows 24 cols 80; (echo $BASHPID > {}; exec setsid {} top --interval 100ms --telemetry {address})",
        pid.display(),
        env!("CARGO_BIN_EXE_respgate")
    );
    let (mut script, _) = begin_on_a_terminal(&line);
    let top = std::fs::read_to_string(&pid).unwrap();
    let program = format!("/proc/{}/cmdline", top.trim());
    assert!(std::fs::read_to_string(&program).unwrap().contains("respgate"));
    script.kill().unwrap();
    script.wait().unwrap();
    let runs = || std::fs::read(&program).is_ok_and(|words| !words.is_empty());
    let ended = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        !runs()
    });
    if !ended {
        _ = Command::new("bash").args(["-c", &format!("kill -9 {top}")]).status();
    }
    assert!(ended, "it reads from a terminal that is gone");
}

/// A command that lasts longer than a second shows progress on standard error, if that is a terminal.
#[test]
fn progress_is_shown_to_a_person_at_a_terminal_alone() {
    let program = env!("CARGO_BIN_EXE_respgate");
    let wait = format!("{program} wait --timeout 1500ms --socket /nonexistent/x.sock");
    let shown = |line: &str| {
        let out = Command::new("script").args(["-qec", line, "/dev/null"]).output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let progress = "waiting for respgate to be ready (1 s)";
    // Longer here: the thread that shows it may be late on a busy machine.
    let text = shown(&wait.replace("1500ms", "3s"));
    assert!(text.contains(progress) && text.contains("there is no such socket"), "{text:?}");
    // Beside each other, as each lasts its time.
    std::thread::scope(|scope| {
        for quiet in ["--json", "-q", "-v", "2>&1 | cat"] {
            let line = format!("{wait} {quiet}");
            scope.spawn(move || {
                let text = shown(&line);
                assert!(!text.contains("(1 s)"), "{quiet}: {text:?}");
            });
        }
    });
}
