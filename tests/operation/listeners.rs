//! Where applications connect, which may, and the error that the others get.
//!
//! Owns: addresses, socket files, client authentication. Never knows: what clients do once admitted.
use crate::support;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use support::client::{Client, Got, PATIENCE, Target, encode};
use support::proxy::{OPEN_POLICY, Proxy, configuration, directory, listener};
use support::real_server::{Brand, Server, free_port, signal, wait_until};

const NOAUTH: &[u8] = b"-NOAUTH Authentication required.\r\n";
const WRONGPASS: &[u8] = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";

/// Starts with these listeners; the first is the one that readiness is asked at.
fn serve(
    server: &Server,
    directory: tempfile::TempDir,
    listeners: &[(&Target, &str)],
    sections: &str,
) -> Proxy {
    let telemetry = free_port();
    let text: String = listeners.iter().map(|(target, keys)| listener(target, keys)).collect();
    let text = configuration(server, &text, OPEN_POLICY, telemetry);
    let text = format!("{text}\n{sections}\n");
    Proxy::configured(directory, listeners[0].0.clone(), telemetry, &text)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

/// With a umask that takes nothing away: as long as a socket has not its mode, no other user can reach it.
#[test]
fn socket_is_never_open_to_more_than_its_mode_permits() {
    let home = directory();
    let path = |name: &str| home.path().join(name);
    let (own, admin) = (path("own.sock"), path("admin.sock"));
    let listener = listener(&Target::Unix(own.clone()), "mode = \"0600\"");
    let text = format!(
        "{listener}[upstream]\naddress = \"127.0.0.1:{}\"\ninsecure_plaintext = true\n[policy]\n\
         acl = \"+@all ~*\"\n[admin]\nsocket = {admin:?}\n[telemetry]\naddress = \"off\"\n",
        free_port()
    );
    std::fs::write(path("respgate.toml"), text).unwrap();
    for _ in 0..5 {
        let start = "umask 000; exec \"$0\" run --config respgate.toml 2>log";
        let mut child = Command::new("sh")
            .args(["-c", start, env!("CARGO_BIN_EXE_respgate")])
            .current_dir(home.path())
            .spawn()
            .unwrap();
        let is_socket =
            |path: &Path| path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_socket());
        let seen = || {
            let entries = std::fs::read_dir(home.path()).unwrap().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        wait_until("both are there", || {
            for entry in seen() {
                // A file that is gone again is open to no process.
                let Ok(meta) = entry.symlink_metadata() else { continue };
                let file = meta.file_type();
                let closed = meta.mode() & 0o077 == 0;
                assert!(
                    closed || !(file.is_socket() || file.is_dir()),
                    "{entry:?} {:o}",
                    meta.mode()
                );
            }
            is_socket(&own) && is_socket(&admin)
        });
        child.kill().unwrap();
        child.wait().unwrap();
        std::fs::remove_file(&own).unwrap();
        std::fs::remove_file(&admin).unwrap();
    }
}

#[test]
fn listeners_serve_beside_each_other() {
    let server = Server::mutual_tls(Brand::Redis);
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    let (open, closed, grouped) = (path("open.sock"), path("closed.sock"), path("grouped.sock"));
    let (first, second) = (Target::Tcp(free_port()), Target::Tcp(free_port()));
    let sockets = [&open, &closed, &grouped].map(|path| Target::Unix(path.clone()));
    let listeners = [
        (&first, ""),
        (&second, ""),
        (&sockets[0], "mode = \"0666\""),
        (&sockets[1], "mode = \"0600\""),
        (&sockets[2], "group = \"daemon\""),
    ];
    let mut proxy = serve(&server, directory, &listeners, "[drain]\nquiet = \"10ms\"");
    let mut clients = Vec::new();
    for (target, _) in listeners {
        let mut client = Client::connect(target).unwrap();
        assert_eq!(client.ask(&["INCR", "n"]), format!(":{}\r\n", clients.len() + 1).into_bytes());
        clients.push(client);
    }
    let connected =
        |kind| proxy.metric(&format!("respgate_client_connections{{listener={kind:?}}}"));
    assert_eq!((connected("tcp"), connected("unix")), (2.0, 3.0));
    assert_eq!((mode(&open), mode(&closed), mode(&grouped)), (0o666, 0o600, 0o660));
    let daemon = std::fs::read_to_string("/etc/group").unwrap();
    let daemon = daemon.lines().find_map(|line| line.strip_prefix("daemon:x:")).unwrap();
    assert_eq!(grouped.metadata().unwrap().gid().to_string(), daemon.split(':').next().unwrap());
    let others: Vec<_> = std::fs::read_dir(open.parent().unwrap()).unwrap().collect();
    assert_eq!(others.len(), 5, "three sockets, the configuration, the log: {others:?}");
    drop(clients);
    assert!(proxy.terminate().success());
    for path in [open, closed, grouped] {
        assert!(!path.exists(), "{} is left behind", path.display());
    }
}

/// The name of the socket never has another mode, however often it is looked at.
#[test]
fn socket_appears_with_its_mode() {
    let server = Server::mutual_tls(Brand::Redis);
    for _ in 0..3 {
        let directory = directory();
        let path = directory.path().join("respgate.sock");
        let target = Target::Unix(path.clone());
        let seen = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !seen.load(Ordering::Relaxed) {
                    if let Ok(found) = path.symlink_metadata() {
                        assert!(found.file_type().is_socket());
                        assert_eq!(found.mode() & 0o7777, 0o602);
                        // Listening from the first moment, too.
                        assert!(Client::connect(&target).is_ok());
                        seen.store(true, Ordering::Relaxed);
                    }
                }
            });
            drop(serve(&server, directory, &[(&target, "mode = \"0602\"")], ""));
        });
    }
}

#[test]
fn existing_file_at_the_socket_path() {
    let server = Server::mutual_tls(Brand::Redis);
    let home = directory();
    let path = home.path().join("respgate.sock");
    let target = Target::Unix(path.clone());
    let text = configuration(&server, &listener(&target, ""), OPEN_POLICY, free_port());

    // A file that no process listens on any more is taken over.
    let gone = UnixListener::bind(&path).unwrap();
    socket2::SockRef::from(&gone).shutdown(Shutdown::Both).unwrap();
    drop(gone);
    assert!(path.exists() && Client::connect(&target).is_err());
    let mut first = serve(&server, directory(), &[(&target, "")], "[drain]\nquiet = \"10ms\"");
    assert_eq!(first.client().ask(&["PING"]), b"+PONG\r\n");

    // One that serves is not.
    let (status, log) = Proxy::refused(home.path(), &text);
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("respgate.sock") && log.contains("another process is listening"), "{log}");
    assert_eq!(first.client().ask(&["PING"]), b"+PONG\r\n", "and goes on");

    // Its successor takes over while it leaves, and keeps its file.
    assert!(first.terminate().success());
    assert!(!path.exists());
    std::fs::write(&path, "precious").unwrap();
    let (status, log) = Proxy::refused(home.path(), &text);
    assert_eq!(status.code(), Some(1), "{log}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious", "no socket, not ours: {log}");

    // Nor where nothing can be.
    let nowhere = Target::Unix(home.path().join("none").join("respgate.sock"));
    let text = configuration(&server, &listener(&nowhere, ""), OPEN_POLICY, free_port());
    let (status, log) = Proxy::refused(home.path(), &text);
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("none/respgate.sock") && log.contains("No such file"), "{log}");
}

#[test]
fn addresses_that_cannot_be() {
    let server = Server::mutual_tls(Brand::Redis);
    let home = directory();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let cases = [
        ("0.0.0.0:0", "", "allow_remote"),
        ("[::]:0", "", "allow_remote"),
        ("192.0.2.1:6379", "", "allow_remote"),
        ("192.0.2.1:6379", "allow_remote = true", "192.0.2.1:6379"),
        (&taken, "", "in use"),
        ("unix:/tmp/x.sock", "group = \"nosuchgroup\"", "nosuchgroup"),
    ];
    for (address, keys, word) in cases {
        let listener = format!("[[listener]]\naddress = {address:?}\n{keys}\n");
        let text = configuration(&server, &listener, OPEN_POLICY, free_port());
        let (status, log) = Proxy::refused(home.path(), &text);
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains(word), "{address}: {log}");
    }
    let target = Target::Tcp(free_port());
    let Target::Tcp(port) = target else { unreachable!() };
    let listener = format!("[[listener]]\naddress = \"0.0.0.0:{port}\"\nallow_remote = true\n");
    let telemetry = free_port();
    let text = configuration(&server, &listener, OPEN_POLICY, telemetry);
    let proxy = Proxy::configured(home, target, telemetry, &text);
    assert_eq!(proxy.client().ask(&["PING"]), b"+PONG\r\n");
}

/// What fails at the start fails before a client is served.
#[test]
fn no_client_is_accepted_before_the_addresses_for_operators_are_bound() {
    let server = Server::mutual_tls(Brand::Redis);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().port();
    let home = directory();
    std::fs::write(home.path().join("token"), "a-token-of-32-characters-or-more-0").unwrap();
    let admin = format!("[admin]\naddress = \"127.0.0.1:{taken}\"\ntoken_file = \"token\"\n");
    for (telemetry, admin) in [(taken, String::new()), (free_port(), admin)] {
        let port = free_port();
        let listener = listener(&Target::Tcp(port), "");
        let text = configuration(&server, &listener, OPEN_POLICY, telemetry) + &admin;
        let (ended, mut accepted) = (AtomicBool::new(false), false);
        std::thread::scope(|scope| {
            let start = scope.spawn(|| {
                let refused = Proxy::refused(home.path(), &text);
                ended.store(true, Ordering::Relaxed);
                refused
            });
            while !ended.load(Ordering::Relaxed) {
                accepted |= std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            }
            let (status, log) = start.join().unwrap();
            assert!(status.code() == Some(1) && log.contains("in use"), "{log}");
        });
        assert!(!accepted, "a client is accepted by a process that ends at its start");
    }
}

#[test]
fn max_clients_refuses_one_more() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "[limits]\nmax_clients = 3");
    wait_until("the first question is over", || {
        proxy.metric("respgate_client_connections{listener=\"tcp\"}") < 0.5
    });
    let mut clients: Vec<Client> = (0..3).map(|_| proxy.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask(&["PING"]), b"+PONG\r\n");
    }
    for _ in 0..3 {
        let mut late = proxy.client();
        assert_eq!(late.reply(), b"-ERR max number of clients reached\r\n");
        assert_eq!(late.next(PATIENCE), Got::End);
    }
    let rejected = "respgate_client_connections_rejected_total{reason=\"max_clients\"}";
    assert!((proxy.metric(rejected) - 3.0).abs() < 0.1);
    wait_until("not ready", || proxy.get("/readyz").0 == 503);
    assert!(proxy.get("/readyz").1.contains("[-]client-slots failed\n"));
    clients.pop();
    wait_until("there is room again", || {
        let mut late = proxy.client();
        late.send(&["PING"]);
        late.next(PATIENCE) == Got::Reply(b"+PONG\r\n".to_vec())
    });
    wait_until("ready", || proxy.get("/readyz").0 == 200);
}

#[test]
fn changed_password() {
    let server = Server::mutual_tls(Brand::Redis);
    let directory = directory();
    let file = directory.path().join("password");
    std::fs::write(&file, "open sesame\n").unwrap();
    let target = Target::Tcp(free_port());
    let keys = format!("password_file = {file:?}");
    let proxy = serve(&server, directory, &[(&target, &keys)], "");
    let mut client = proxy.client();
    let sent = [
        encode(&["PING"]),
        encode(&["GET", "k"]),
        encode(&["CLIENT", "ID"]),
        encode(&["MULTI"]),
        encode(&["AUTH", "wrong"]),
        encode(&["AUTH", "default", "wrong"]),
        encode(&["AUTH", "other", "open sesame"]),
        encode(&["GET", "k"]),
        encode(&["HELLO", "3", "AUTH", "default", "wrong"]),
        encode(&["AUTH", "open sesame"]),
        encode(&["GET", "k"]),
        // A wrong password leaves a client the user that it was.
        encode(&["AUTH", "wrong"]),
        encode(&["GET", "k"]),
        encode(&["RESET"]),
        encode(&["GET", "k"]),
    ];
    client.send_raw(&sent.concat());
    let expected: [&[u8]; 15] = [
        NOAUTH,
        NOAUTH,
        NOAUTH,
        NOAUTH,
        WRONGPASS,
        WRONGPASS,
        WRONGPASS,
        NOAUTH,
        WRONGPASS,
        b"+OK\r\n",
        b"$-1\r\n",
        WRONGPASS,
        b"$-1\r\n",
        b"+RESET\r\n",
        NOAUTH,
    ];
    for (number, expected) in expected.into_iter().enumerate() {
        let reply = client.reply();
        assert!(reply == expected, "{number}: {}", reply.escape_ascii());
    }
    let mut client = proxy.client();
    let refused = client.ask_text(&["HELLO", "3"]);
    assert!(
        refused.starts_with("-NOAUTH HELLO must be called with the client already"),
        "{refused}"
    );
    assert!(client.ask(&["HELLO", "3", "AUTH", "default", "open sesame"]).starts_with(b"%7\r\n"));
    assert_eq!(client.ask(&["GET", "k"]), b"_\r\n");
    assert!(!proxy.log().contains("sesame") && !proxy.log().contains("wrong"));
    assert!(proxy.metric("respgate_client_auth_total{result=\"failed\"}") >= 5.0);
    assert!(proxy.metric("respgate_client_auth_total{result=\"ok\"}") >= 2.0);
}

/// Redis 7: before authentication, ten arguments of 16 KiB (networking.c).
#[test]
fn strangers_may_not_send_much() {
    let server = Server::mutual_tls(Brand::Redis);
    let directory = directory();
    let file = directory.path().join("password");
    std::fs::write(&file, "secret").unwrap();
    let target = Target::Tcp(free_port());
    let keys = format!("password_file = {file:?}");
    let proxy = serve(&server, directory, &[(&target, &keys)], "");
    let stranger = |sent: &[u8], expected: &[u8]| {
        let mut client = proxy.client();
        client.send_raw(sent);
        let (got, ended) = client.drain(PATIENCE);
        assert!(ended && got == expected, "{}", got.escape_ascii());
    };
    stranger(b"*11\r\n", b"-ERR Protocol error: unauthenticated multibulk length\r\n");
    stranger(
        b"*2\r\n$4\r\nAUTH\r\n$16385\r\n",
        b"-ERR Protocol error: unauthenticated bulk length\r\n",
    );
    let mut client = proxy.client();
    assert_eq!(client.ask(&["DEL"; 10]), NOAUTH);
    assert_eq!(client.ask(&["AUTH", &"x".repeat(16_384)]), WRONGPASS);
    // The rest of the same write is read under the new rules.
    let long = "x".repeat(20_000);
    let sent = [
        encode(&["AUTH", "secret"]),
        encode(&["DEL", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]),
        encode(&["STRLEN", &long]),
    ];
    client.send_raw(&sent.concat());
    for expected in [&b"+OK\r\n"[..], b":0\r\n", b":0\r\n"] {
        assert_eq!(client.reply(), expected);
    }
}

/// Without a password no login is needed, as in Redis; "ignore" accepts any.
#[test]
fn listener_without_a_password_and_one_with_any() {
    let server = Server::mutual_tls(Brand::Redis);
    let (off, ignore) = (Target::Tcp(free_port()), Target::Tcp(free_port()));
    let listeners = [(&off, "auth = \"off\""), (&ignore, "auth = \"ignore\"")];
    let _proxy = serve(&server, directory(), &listeners, "");
    let mut client = Client::connect(&off).unwrap();
    let reply = client.ask_text(&["AUTH", "x"]);
    assert!(reply.starts_with("-ERR AUTH <password> called without any password"), "{reply}");
    assert_eq!(client.ask(&["AUTH", "someone", "x"]), WRONGPASS);
    assert_eq!(client.ask(&["AUTH", "default", "x"]), b"+OK\r\n", "nopass takes any");
    let mut client = Client::connect(&ignore).unwrap();
    for words in [&["AUTH", "x"][..], &["AUTH", "someone", "x"], &["GET", "k"]] {
        let expected = if words[0] == "GET" { &b"$-1\r\n"[..] } else { b"+OK\r\n" };
        assert_eq!(client.ask(words), expected);
    }
    assert!(client.ask(&["HELLO", "3", "AUTH", "someone", "x"]).starts_with(b"%7\r\n"));
    assert_eq!(client.next(Duration::from_millis(20)), Got::Silence);
}

/// Browsers and request forgers speak HTTP; nothing of it is executed, nothing is answered.
#[test]
fn foreign_protocols_are_cut_off() {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    for sent in [
        &b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET forged 1\r\n"[..],
        b"GET forged HTTP/1.1\r\nHost: localhost\r\n\r\nSET forged 1\r\n",
        b"host: x\r\nSET forged 1\r\n",
    ] {
        let mut client = proxy.client();
        client.send_raw(sent);
        let (got, ended) = client.drain(PATIENCE);
        assert!(ended && !got.windows(3).any(|three| three == b"+OK"), "{}", got.escape_ascii());
    }
    assert_eq!(server.observer().ask(&["EXISTS", "forged"]), b":0\r\n");
    let counted = "respgate_client_protocol_errors_total{kind=\"http_smuggling\"}";
    assert!((proxy.metric(counted) - 3.0).abs() < 0.1);
}

/// Redis keeps 511 that it has not accepted yet (`tcp-backlog`); a further one waits a second or longer.
#[test]
fn burst_of_clients_is_connected_at_once_however_busy_respgate_is() {
    const CLIENTS: usize = 400;
    let server = Server::mutual_tls(Brand::Redis);
    let home = directory();
    let targets = [Target::Tcp(free_port()), Target::Unix(home.path().join("respgate.sock"))];
    let proxy = serve(&server, home, &[(&targets[0], ""), (&targets[1], "")], "");
    for target in &targets {
        signal("STOP", proxy.pid());
        let connected: Vec<_> = (0..CLIENTS).map_while(|_| connect_at_once(target).ok()).collect();
        signal("CONT", proxy.pid());
        assert_eq!(connected.len(), CLIENTS, "{target:?}");
        for mut client in connected {
            client.set_nonblocking(false).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.write_all(&encode(&["PING"])).unwrap();
            let mut reply = [0; 7];
            client.read_exact(&mut reply).unwrap();
            assert_eq!(&reply, b"+PONG\r\n");
        }
    }
}

/// Fails where the kernel keeps no further client.
fn connect_at_once(target: &Target) -> std::io::Result<Socket> {
    let (domain, address) = match target {
        Target::Tcp(port) => {
            (Domain::IPV4, SockAddr::from(std::net::SocketAddr::from(([127, 0, 0, 1], *port))))
        }
        Target::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
    };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    if domain == Domain::UNIX {
        socket.set_nonblocking(true)?;
        socket.connect(&address)?;
    } else {
        socket.connect_timeout(&address, Duration::from_millis(500))?;
    }
    Ok(socket)
}
