//! What is sent on a new connection, and what the server may reply.
//!
//! Owns: the cases. Never knows: certificates.

use respgate::internals::traffic::Unavailable;
use respgate::internals::upstream::credentials::Reload;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::certs::Lab;
use super::*;

/// Sends a command on an open connection and returns the answer as it comes.
async fn ask(link: &mut ServerConnection, command: &str) -> String {
    link.stream.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
    link.stream.flush().await.unwrap();
    let mut answer = vec![0; 4096];
    let n = link.stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..n]).into_owned()
}

/// Server options; each ACL user is one option of many words.
fn options(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

const fn database(key: PoolKey, database: u32) -> PoolKey {
    PoolKey { database, ..key }
}

#[tokio::test]
async fn key_has_the_protocol_of_the_connection() {
    let lab = Lab::new();
    let server = Server::plain(&lab, &[]);
    let dialer = plain_dialer(server.port, ServerAuth::default());
    for key in [RESP2, RESP3, database(RESP2, 3), database(RESP3, 15)] {
        let mut link = dialer.dial(key).await.unwrap();
        assert_eq!((link.key, link.generation, link.credentials_generation), (key, 0, 1));
        let info = ask(&mut link, "CLIENT INFO").await;
        for part in [format!(" db={} ", key.database), " name=respgate ".to_owned()] {
            assert!(info.contains(&part), "{part} in {info}");
        }
        let (resp, nil) = match key.protocol {
            Protocol::Resp2 => (2, "$-1\r\n"),
            Protocol::Resp3 => (3, "_\r\n"),
        };
        assert!(info.contains(&format!(" resp={resp}")), "{info}");
        assert!(info.contains(&format!("id={} ", link.client_id)), "{info}");
        assert_eq!(ask(&mut link, "GET nothing").await, nil);
        assert_eq!(link.facts.server, "redis");
        assert!(link.facts.version.starts_with(|c: char| c.is_ascii_digit()));
        assert_eq!((&*link.facts.mode, &*link.facts.role), ("standalone", "master"));
        assert_eq!(link.facts.modules_resp3, b"*0\r\n");
    }
}

#[tokio::test]
async fn database_that_is_not_there() {
    let lab = Lab::new();
    let server = Server::plain(&lab, &[]);
    let dialer = plain_dialer(server.port, ServerAuth::default());
    for key in [RESP2, RESP3] {
        let error = dialer.dial(database(key, 99)).await.unwrap_err();
        assert_eq!(error.server_line.as_deref(), Some(&b"ERR DB index is out of range"[..]));
        assert_eq!(error.what, Unavailable::Protocol);
    }
}

#[tokio::test]
async fn users_and_passwords() {
    let lab = Lab::new();
    let users = "--requirepass master
        --user app on >apple ~app:* +@all
        --user old on >older ~* +@all
        --user off off >offside ~* +@all";
    let server = Server::plain(&lab, &options(users));
    let check = async |auth: ServerAuth, expected: &str, part: &str| {
        for key in [RESP2, RESP3] {
            let result = plain_dialer(server.port, auth.clone()).dial(key).await;
            if let Err(error) = &result {
                assert!(error.text.contains(part), "{error}");
                for secret in ["apple", "wrong-one", "offside"] {
                    assert!(!format!("{error:?}").contains(secret), "{error:?}");
                }
                assert_eq!(error.what, Unavailable::Auth);
            }
            assert_eq!(verdict(result), expected);
        }
    };
    check(auth(&lab, Some("app"), "apple"), "ok", "").await;
    check(auth(&lab, None, "master"), "ok", "").await;
    check(auth(&lab, Some("default"), "master"), "ok", "").await;
    check(auth(&lab, Some("app"), "wrong-one"), "auth", "WRONGPASS").await;
    check(auth(&lab, Some("stranger"), "apple"), "auth", "WRONGPASS").await;
    check(auth(&lab, Some("off"), "offside"), "auth", "WRONGPASS").await;
    check(ServerAuth::default(), "auth", "NOAUTH").await;
}

#[tokio::test]
async fn new_password_is_probed_and_then_used() {
    let lab = Lab::new();
    let server = Server::plain(&lab, &options("--user app on >apple >pear ~* +@all"));
    let auth = auth(&lab, Some("app"), "apple");
    let settings = upstream(server.port, None, auth);
    let credentials = Credentials::open(&settings.auth).unwrap();
    let dialer = Dialer::new(Target::of(&settings).unwrap(), &settings, None, credentials.clone());
    let file = lab.path("password-apple");
    std::fs::write(&file, "plum").unwrap();
    let candidate = credentials.candidate().unwrap().unwrap();
    assert_eq!(dialer.probe(None, Some(&candidate)).await.unwrap_err().what, Unavailable::Auth);
    assert_eq!(dialer.dial(RESP2).await.unwrap().credentials_generation, 1);
    std::fs::write(&file, "pear").unwrap();
    let candidate = credentials.candidate().unwrap().unwrap();
    dialer.probe(None, Some(&candidate)).await.unwrap();
    assert_eq!(credentials.publish(candidate), 2);
    assert_eq!(dialer.dial(RESP2).await.unwrap().credentials_generation, 2);
    assert_eq!(credentials.reload().unwrap(), Reload::Unchanged);
}

/// A user of a shared cache may do next to nothing, and need not leave a trace at every connection.
#[tokio::test]
async fn user_without_ping_and_select() {
    let lab = Lab::new();
    let users = "--user root on >root ~* &* +@all
        --user app on >apple ~app:* +@read +@write -@dangerous -ping -client -select";
    let server = Server::plain(&lab, &options(users));
    let dialer = plain_dialer(server.port, auth(&lab, Some("app"), "apple"));
    let mut link = dialer.dial(RESP2).await.unwrap();
    assert_eq!(ask(&mut link, "PING").await.split(' ').next(), Some("-NOPERM"));
    let root = plain_dialer(server.port, auth(&lab, Some("root"), "root"));
    let mut root = root.dial(RESP2).await.unwrap();
    assert_eq!(ask(&mut root, "ACL LOG RESET").await, "+OK\r\n");
    dialer.dial(RESP3).await.unwrap();
    assert_eq!(ask(&mut root, "ACL LOG").await, "*0\r\n");
    let error = dialer.dial(database(RESP2, 1)).await.unwrap_err();
    assert!(error.server_line.unwrap().starts_with(b"NOPERM"));
}

#[tokio::test]
async fn server_without_hello() {
    let lab = Lab::new();
    let hidden = ["--rename-command", "HELLO", ""];
    let server = Server::plain(&lab, &[&hidden[..], &["--requirepass", "apple"]].concat());
    let dial = async |auth, key| plain_dialer(server.port, auth).dial(key).await;
    let good = auth(&lab, None, "apple");
    let mut link = dial(good.clone(), database(RESP2, 4)).await.unwrap();
    assert!(ask(&mut link, "CLIENT INFO").await.contains(" db=4 "));
    assert!(dial(auth(&lab, Some("default"), "apple"), RESP2).await.is_ok());
    let error = dial(auth(&lab, None, "wrong-one"), RESP2).await.unwrap_err();
    assert!(error.text.contains("WRONGPASS"), "{error}");
    let error = dial(ServerAuth::default(), RESP2).await.unwrap_err();
    assert!(error.text.contains("NOAUTH"), "{error}");
    let error = dial(good, RESP3).await.unwrap_err();
    assert_eq!(error.what, Unavailable::Protocol);
    assert!(error.text.contains("HELLO") && !error.text.contains("apple"), "{error}");

    let open = Server::plain(&lab, &hidden);
    assert!(plain_dialer(open.port, ServerAuth::default()).dial(RESP2).await.is_ok());
}

#[tokio::test]
async fn server_that_is_full() {
    let lab = Lab::new();
    let server = Server::plain(&lab, &["--maxclients", "1"]);
    let dialer = plain_dialer(server.port, ServerAuth::default());
    // The server may not have noticed yet that the connection of the wait for its start is closed.
    let _one = loop {
        if let Ok(link) = dialer.dial(RESP2).await {
            break link;
        }
    };
    let error = dialer.dial(RESP2).await.unwrap_err();
    assert_eq!(error.what, Unavailable::Connect);
    assert!(error.text.contains("maxclients"), "{error}");
}

#[tokio::test]
async fn server_that_sends_nothing_or_nonsense() {
    let lab = Lab::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let settings = upstream(port, None, ServerAuth::default());
    let pool = Pool { connect_timeout: Duration::from_secs(1), ..settings.pool.clone() };
    let credentials = Credentials::open(&settings.auth).unwrap();
    let settings = Upstream { pool, ..settings };
    let dialer = Dialer::new(Target::of(&settings).unwrap(), &settings, None, credentials);
    let error = dialer.dial(RESP2).await.unwrap_err();
    assert_eq!(error.what, Unavailable::Timeout);
    assert!(error.text.contains("no answer to the login"), "{error}");

    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let _first = listener.accept().await.unwrap();
    for (answer, part) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "RESP"),
        (b"+OK\r\n", "HELLO"),
        (b"*2\r\n$5\r\nproto\r\n:2\r\n+OK\r\n+PONG\r\n+MORE\r\n", "more than it was asked"),
        (b"$999999999999\r\n", ""),
        (b"*99999999\r\n", ""),
        (b"-What do you want\r\n", "answers an error to the login"),
    ] {
        let serve = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut hello = [0; 1024];
            let _ = socket.read(&mut hello).await.unwrap();
            socket.write_all(answer).await.unwrap();
            socket
        };
        let (result, _socket) = tokio::join!(dialer.dial(RESP2), serve);
        let error = result.unwrap_err();
        assert!(error.text.contains(part), "{part} in {error}");
    }
    drop(lab);
}

/// A server that takes no user from the certificate serves it as `default`, or wants a login.
#[tokio::test]
async fn certificate_login_is_checked_with_the_server() {
    let lab = Lab::new();
    let certificate = |username: Option<&str>, allow_default| ServerAuth {
        username: username.map(str::to_owned),
        certificate: Some(CertificateLogin { allow_default }),
        ..ServerAuth::default()
    };
    let code = async |server: &Server, auth: ServerAuth| {
        let mut codes = Vec::new();
        for key in [RESP2, RESP3] {
            let result = plain_dialer(server.port, auth.clone()).dial(key).await;
            codes.push(result.map_or_else(|error| error.code, |_| "ok"));
        }
        codes
    };
    let open = Server::plain(&lab, &[]);
    assert_eq!(code(&open, certificate(None, false)).await, ["UPS-E127"; 2]);
    assert_eq!(code(&open, certificate(None, true)).await, ["ok"; 2]);
    assert_eq!(code(&open, certificate(Some("default"), false)).await, ["ok"; 2]);
    assert_eq!(code(&open, certificate(Some("app"), true)).await, ["UPS-E126"; 2]);
    let closed = Server::plain(&lab, &["--requirepass", "master"]);
    assert_eq!(code(&closed, certificate(None, true)).await, ["UPS-E125"; 2]);
    let silent = Server::plain(&lab, &options("--user default on nopass ~* +@all -acl"));
    assert_eq!(code(&silent, certificate(None, false)).await, ["ok"; 2], "where it may be asked");
}

/// While a script runs, the server does not report which user it mapped the certificate to, but serves that user once
/// the script has ended: respgate sends `ACL WHOAMI` again.
#[tokio::test]
async fn certificate_login_is_checked_with_a_server_that_was_busy() {
    let lab = Lab::new();
    let server = Server::plain(&lab, &["--busy-reply-threshold", "1"]);
    let auth = ServerAuth {
        certificate: Some(CertificateLogin { allow_default: false }),
        ..ServerAuth::default()
    };
    let dialer = plain_dialer(server.port, auth);
    let mut script = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    script.write_all(b"EVAL 'while true do end' 0\r\n").await.unwrap();
    let mut operator = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    let mut received = [0; 64];
    while !received.starts_with(b"-BUSY") {
        operator.write_all(b"PING\r\n").await.unwrap();
        let _ = operator.read(&mut received).await.unwrap();
    }
    for key in [RESP2, RESP3, database(RESP2, 3)] {
        let error = dialer.dial(key).await.unwrap_err();
        assert_eq!(error.code, "UPS-E128", "{error}");
        let line = String::from_utf8(error.server_line.unwrap()).unwrap();
        assert!(line.starts_with("BUSY "), "a client gets the server's words: {line}");
    }
    operator.write_all(b"SCRIPT KILL\r\n").await.unwrap();
    let _ = script.read(&mut received).await.unwrap();
    for key in [RESP2, RESP3] {
        assert_eq!(dialer.dial(key).await.unwrap_err().code, "UPS-E127");
    }
}
