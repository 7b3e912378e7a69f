//! What a login sends, and how answers are judged.
//!
//! Owns: its tests. Never knows: sockets.

use super::*;
use crate::traffic::Unavailable;

const KEY: PoolKey = PoolKey { protocol: Protocol::Resp2, database: 7 };

fn login_script(username: Option<&str>, password: Option<&str>) -> LoginScript {
    let login = Login {
        username: username.map(str::to_owned),
        password: password.map(|p| Secret::new(p.as_bytes().to_vec())),
        certificate: None,
        missing: None,
        expires_at: None,
        generation: 1,
    };
    LoginScript::new(KEY, Arc::new(login), OptionalCommands::default())
}

/// The words of the commands in `bytes`, one command after the other.
fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let words = text.split("\r\n").filter(|w| !w.starts_with('$'));
    words.map(|w| if w.starts_with('*') { ";" } else { w }).collect::<Vec<_>>().join(" ")
}

/// Feeds answers and returns how the login ended.
fn feed(login_script: &mut LoginScript, answers: &[&[u8]]) -> Result<Progress, DialError> {
    let mut last = Ok(Progress::More);
    for answer in answers {
        last = login_script.handle_reply(&Value::decode(answer, Protocol::Resp2).unwrap());
        if last.is_err() {
            break;
        }
    }
    last
}

const HELLO: &[u8] = b"*4\r\n+proto\r\n:2\r\n+id\r\n:5\r\n";
const NO: &[u8] = b"-NOPERM no\r\n";
const OK: &[u8] = b"+OK\r\n";

#[test]
fn login_is_sent_at_once_and_a_refused_optional_command_only_once() {
    let mut first = login_script(Some("app"), Some("apple"));
    assert_eq!(
        words(&first.begin()),
        "; hElLo 2 AUTH app apple SETNAME respgate ; cLiEnT SETINFO LIB-NAME respgate \
         ; sElEcT 7 ; pInG "
    );
    let Ok(Progress::Done { client_id, .. }) = feed(&mut first, &[HELLO, NO, OK, NO]) else {
        panic!()
    };
    assert_eq!(client_id, 5);
    assert_eq!(
        first.optional(),
        OptionalCommands { setinfo: false, ping: false, ..OptionalCommands::default() }
    );
    let mut second =
        LoginScript { optional: first.optional(), ..login_script(None, Some("apple")) };
    assert_eq!(words(&second.begin()), "; hElLo 2 AUTH default apple SETNAME respgate ; sElEcT 7 ");
    assert!(matches!(feed(&mut second, &[HELLO, OK]), Ok(Progress::Done { .. })));
    assert!(feed(&mut second, &[OK]).is_err(), "nothing more is expected");
}

/// An optional command that the server refuses with `BUSY` is sent again on the next connection.
#[test]
fn optional_command_refused_as_busy_is_sent_again() {
    let mut busy = LoginScript { key: PoolKey { database: 0, ..KEY }, ..login_script(None, None) };
    let _ = busy.begin();
    let line = b"-BUSY Redis is busy running a script.\r\n";
    assert!(matches!(feed(&mut busy, &[HELLO, line, line]), Ok(Progress::Done { .. })));
    assert_eq!(busy.optional(), OptionalCommands::default());
}

#[test]
fn answers_of_a_first_round_do_not_count_for_the_second() {
    let unknown = b"-ERR unknown command 'HELLO', with args beginning with: 'AUTH' 'apple'\r\n";
    let noauth = b"-NOAUTH Authentication required.\r\n";
    let mut old = login_script(None, Some("apple"));
    let _ = old.begin();
    let progress = feed(&mut old, &[unknown]);
    assert_eq!(format!("{progress:?}"), "Ok(Send(..))");
    let Ok(Progress::Send(second)) = progress else { panic!() };
    assert_eq!(
        words(&second),
        "; aUtH apple ; cLiEnT SETINFO LIB-NAME respgate ; sElEcT 7 ; pInG "
    );
    assert!(matches!(feed(&mut old, &[noauth, noauth, noauth]), Ok(Progress::More)));
    assert!(matches!(feed(&mut old, &[OK, NO, OK, OK]), Ok(Progress::Done { .. })));
    let mut refused = login_script(None, Some("apple"));
    let _ = refused.begin();
    let error = feed(&mut refused, &[unknown, OK, OK, OK, unknown]).unwrap_err();
    assert_eq!(error.what, Unavailable::Auth);
    assert!(!error.text.contains("apple"), "the echo of the server is not repeated");
}

#[test]
fn modules_are_reported_in_both_protocols() {
    let hello = b"*4\r\n+proto\r\n:2\r\n+modules\r\n*1\r\n*8\r\n$4\r\nname\r\n$2\r\nbf\r\n\
        $3\r\nver\r\n:20\r\n$4\r\npath\r\n$4\r\n/x/y\r\n$4\r\nargs\r\n*1\r\n$1\r\na\r\n";
    let mut login_script = LoginScript {
        optional: OptionalCommands { setinfo: false, ..OptionalCommands::default() },
        ..login_script(None, None)
    };
    let _ = login_script.begin();
    let Ok(Progress::Done { facts, .. }) = feed(&mut login_script, &[hello, OK, OK]) else {
        panic!()
    };
    let tail = &hello[hello.windows(4).position(|w| w == b"*1\r\n").unwrap()..];
    assert_eq!(facts.modules_resp2, tail);
    let resp3 = String::from_utf8(facts.modules_resp3).unwrap();
    assert_eq!(resp3, String::from_utf8_lossy(tail).replace("*8", "%4"));
}

#[test]
fn certificate_names_the_user_and_nothing_is_sent_for_it() {
    let script = |username: Option<&str>, allow_default| {
        let login = Login {
            username: username.map(str::to_owned),
            password: None,
            certificate: Some(crate::config::CertificateLogin { allow_default }),
            missing: None,
            expires_at: None,
            generation: 1,
        };
        let optional = OptionalCommands { setinfo: false, ..OptionalCommands::default() };
        LoginScript::new(PoolKey { database: 0, ..KEY }, Arc::new(login), optional)
    };
    let sent = words(&script(Some("app1"), false).begin());
    assert!(!sent.to_uppercase().contains("AUTH") && !sent.contains("app1"), "{sent}");
    const HELLO: &[u8] = b"*2\r\n$5\r\nproto\r\n:2\r\n";
    for (username, allow_default, answer, code) in [
        (None, false, "+app1", None),
        (Some("app1"), false, "$4\r\napp1", None),
        (Some("app1"), false, "+app2", Some("UPS-E126")),
        (Some("app1"), true, "+default", Some("UPS-E126")),
        (None, false, "+default", Some("UPS-E127")),
        (None, true, "+default", None),
        (Some("default"), false, "+default", None),
        (Some("app1"), false, "-NOPERM no permissions", None),
        (Some("app1"), false, "-NOAUTH Authentication required.", Some("UPS-E125")),
        (None, false, "-BUSY Redis is busy", Some("UPS-E128")),
        (None, false, "-LOADING Redis is loading", Some("UPS-E115")),
        (None, false, "-MASTERDOWN Link is down", Some("UPS-E116")),
    ] {
        let mut script = script(username, allow_default);
        drop(script.begin());
        let answer = format!("{answer}\r\n");
        let answers = feed(&mut script, &[HELLO, answer.as_bytes(), b"+PONG\r\n"]);
        let found = answers.as_ref().err().map(|error| error.code);
        assert_eq!(found, code, "{username:?} {allow_default} {answer}");
        assert_eq!(script.optional().whoami, !answer.starts_with("-NOPERM"));
    }
    let mut script = script(None, false);
    drop(script.begin());
    let refused = b"-NOAUTH HELLO must be called with the client already authenticated\r\n";
    let error = feed(&mut script, &[&refused[..]]).unwrap_err();
    assert_eq!(error.code, "UPS-E125");
}

/// What each error means as the answer to HELLO, to AUTH after a HELLO that is unknown, to the question for the user,
/// and to SELECT: a state of the server that passes, a login that an operator has to repair, or a missing database.
#[test]
fn error_at_the_login_is_a_state_that_passes_or_a_fault_of_the_login() {
    use Unavailable as U;
    const UNKNOWN: &[u8] = b"-ERR unknown command 'HELLO'\r\n";
    for (word, code, what, selected) in [
        ("LOADING", "UPS-E115", U::Loading, "UPS-E115"),
        ("MASTERDOWN", "UPS-E116", U::Loading, "UPS-E116"),
        ("BUSY", "UPS-E128", U::Loading, "UPS-E128"),
        ("CLUSTERDOWN", "UPS-E129", U::Loading, "UPS-E129"),
        ("TRYAGAIN", "UPS-E129", U::Loading, "UPS-E129"),
        ("OOM", "UPS-E129", U::Loading, "UPS-E129"),
        ("MISCONF", "UPS-E129", U::Loading, "UPS-E129"),
        ("NOREPLICAS", "UPS-E129", U::Loading, "UPS-E129"),
        ("WRONGPASS", "UPS-E111", U::Auth, "UPS-E122"),
        ("IDONTKNOW", "UPS-E130", U::Protocol, "UPS-E122"),
        ("no upstream host, apple", "UPS-E130", U::Protocol, "UPS-E122"),
        ("", "UPS-E130", U::Protocol, "UPS-E122"),
    ] {
        let line = format!("-{word} apple may be quoted\r\n");
        let line = line.as_bytes();
        let login = |answers: &[&[u8]]| {
            let mut login = login_script(None, Some("apple"));
            drop(login.begin());
            feed(&mut login, answers).unwrap_err()
        };
        let old: [&[u8]; 5] = [UNKNOWN, OK, OK, OK, line];
        for error in [login(&[line]), login(&old)] {
            assert_eq!((error.code, error.what), (code, what), "{word}: {error}");
            assert!(!error.text.contains("apple") && error.server_line.is_none(), "{error}");
            let named = error.text.contains(word) || word.contains("no ");
            assert!(named, "{word} is named in {error}");
        }
        let error = login(&[HELLO, OK, line]);
        assert_eq!(error.code, selected, "{word}: {error}");
    }
}

#[test]
fn refused_password_with_blank_ends_is_named_as_such() {
    for (password, blank) in [
        ("apple", false),
        ("apple ", true),
        ("\tapple", true),
        ("apple\r", true),
        ("a pple", false),
    ] {
        let mut login = login_script(Some("app"), Some(password));
        drop(login.begin());
        let error =
            feed(&mut login, &[b"-WRONGPASS invalid username-password pair\r\n"]).unwrap_err();
        assert_eq!(error.code, "UPS-E111");
        assert_eq!(
            error.text.contains("begins or ends with a space"),
            blank,
            "{password:?}: {error}"
        );
        assert!(!error.text.contains("pple"), "{error}");
    }
}
