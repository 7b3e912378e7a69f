//! The end of a process whose server fails, in each way: it comes in time, with the right status, and each client
//! reads an error or the end of its connection.
//!
//! Owns: the ways, and signals during each. Never knows: what a fault costs while the process serves.

use std::any::Any;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use respgate::internals::base::clock::now;

use super::support::client::Target;
use super::support::fake_server::FakeServer;
use super::support::pki::Pki;
use super::support::proxy;
use super::support::real_server::{free_port, note_skipped, wait_until};
use super::*;

/// Whatever waits for the server waits for longer than the test.
const WAITS: &str = "[drain]\nmax = \"700ms\"\nquiet = \"50ms\"\n\
    [upstream.pool]\nmin_idle = 0\nconnect_timeout = \"50s\"\nacquire_timeout = \"50s\"\ncommand_timeout = \"50s\"\n";
/// `drain.max`, a second to close connections, and what a busy machine takes; less than all waits for the server.
const IN_TIME: Duration = Duration::from_secs(30);

/// A process whose server is in this state, and what keeps it there.
struct Scene {
    name: &'static str,
    proxy: Proxy,
    alive: Box<dyn Any + Send>,
}

/// The configuration before a server at `address`; `keys` are further ones of it.
fn text(target: &Target, telemetry: u16, address: &str, keys: &str) -> String {
    let listener = proxy::listener(target, "");
    format!(
        "{listener}[upstream]\naddress = {address:?}\n{keys}\n\n[policy]\nacl = \"+@all ~* &*\"\n\n\
         [telemetry]\naddress = \"127.0.0.1:{telemetry}\"\n{WAITS}"
    )
}

fn before(name: &'static str, address: &str, keys: &str, alive: impl Any + Send) -> Scene {
    let (home, target, telemetry) = (proxy::directory(), Target::Tcp(free_port()), free_port());
    let text = text(&target, telemetry, address, keys);
    let proxy = Proxy::serving(home, target, telemetry, &text);
    Scene { name, proxy, alive: Box::new(alive) }
}

const PLAIN: &str = "insecure_plaintext = true";

fn refused() -> Scene {
    before("refused", &format!("127.0.0.1:{}", free_port()), PLAIN, ())
}

fn silent_at_the_login() -> Scene {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    before("silent at the login", &address, PLAIN, listener)
}

fn silent_in_the_handshake() -> Scene {
    let files = tempfile::tempdir().unwrap();
    let pki = Pki::new(files.path());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let [cert, key, ca] = ["tls.crt", "tls.key", "ca.crt"].map(|name| pki.client(name));
    let keys = format!("tls = {{ cert = {cert:?}, key = {key:?}, ca = {ca:?} }}");
    before("silent in the handshake", &address, &keys, (listener, files, pki))
}

fn loading() -> Scene {
    let server = FakeServer::start();
    server.greet_with(Some(b"-LOADING Redis is loading the dataset in memory\r\n".to_vec()));
    before("loading", &format!("127.0.0.1:{}", server.port), PLAIN, server)
}

/// The server has answered, and then it stops.
fn stalled() -> Scene {
    let server = Server::plain(Brand::Redis);
    let scene = before("stalled", &format!("127.0.0.1:{}", server.port), PLAIN, ());
    let mut client = scene.proxy.client();
    assert_eq!(client.ask(&["SET", "k", "v"]), b"+OK\r\n");
    assert_eq!(client.ask(&["BLPOP", "q", "0.01"]), b"*-1\r\n");
    server.hold();
    Scene { alive: Box::new(server), ..scene }
}

/// The server has answered, and now refuses the password; the program that prints another one takes long.
fn without_a_password() -> Scene {
    let server = Server::plain(Brand::Redis);
    let files = tempfile::tempdir().unwrap();
    let (program, mark) = (files.path().join("program"), files.path().join("slow"));
    let script = "#!/bin/sh\n[ -e \"$1\" ] && sleep 300\necho '{\"password\":\"first\",\"username\":\"app\"}'\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let mut observer = server.observer();
    observer.ask(&["ACL", "SETUSER", "app", "on", ">first", "~*", "&*", "+@all"]);
    let keys = format!(
        "{PLAIN}\nauth = {{ password_command = [{program:?}, {mark:?}], password_command_timeout = \"60s\" }}"
    );
    let address = format!("127.0.0.1:{}", server.port);
    let scene = before("without a password", &address, &keys, ());
    assert_eq!(scene.proxy.client().ask(&["SET", "k", "v"]), b"+OK\r\n");
    // The program runs again a second after its last run, and not before.
    std::thread::sleep(Duration::from_millis(1100));
    std::fs::write(&mark, "").unwrap();
    observer.ask(&["ACL", "SETUSER", "app", "resetpass", ">second"]);
    observer.ask(&["CLIENT", "KILL", "USER", "app"]);
    Scene { alive: Box::new((server, files)), ..scene }
}

/// The name of the server is looked up at a DNS server that does not answer.
fn silent_name_server() -> Option<Scene> {
    let may = Command::new("unshare").args(["-m", "true"]).status();
    let Some(silent) =
        UdpSocket::bind("127.0.0.77:53").ok().filter(|_| may.is_ok_and(|s| s.success()))
    else {
        note_skipped("a name server that is silent: a process may have no mounts of its own here");
        return None;
    };
    let (home, target, telemetry) = (proxy::directory(), Target::Tcp(free_port()), free_port());
    let file = home.path().join("resolv.conf");
    std::fs::write(&file, "nameserver 127.0.0.77\noptions timeout:30 attempts:2\n").unwrap();
    let mut command = Command::new("unshare");
    let script = format!("mount --bind {} /etc/resolv.conf && exec \"$0\" \"$@\"", file.display());
    command.args(["-m", "sh", "-c", &script, env!("CARGO_BIN_EXE_respgate")]);
    let text = text(&target, telemetry, "redis.example.com:6379", PLAIN);
    let proxy = Proxy::serving_by(command, home, target, telemetry, &text);
    Some(Scene { name: "silent name server", proxy, alive: Box::new(silent) })
}

/// What is sent to the process while its server fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signals {
    Stop,
    StopTwice,
    ReloadAndStop,
}

fn check(scene: Scene, signals: Signals) {
    let Scene { name, mut proxy, alive } = scene;
    let what = format!("{name}, {signals:?}");
    let mut clients = [proxy.client(), proxy.client(), proxy.client()];
    let [idle, waiting, blocked] = &mut clients;
    waiting.send(&["GET", "k"]);
    blocked.send(&["BLPOP", "q", "0"]);
    assert_eq!(idle.ask(&["CLIENT", "SETNAME", "idle"]), b"+OK\r\n", "{what}");
    std::thread::sleep(Duration::from_millis(300));
    if signals == Signals::ReloadAndStop {
        proxy.hang_up();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(idle.ask(&["CLIENT", "GETNAME"]), b"$4\r\nidle\r\n", "{what}");
    }
    let begin = now();
    signal("TERM", proxy.pid());
    if signals == Signals::StopTwice {
        wait_until("it drains", || proxy.get("/readyz").0 == 503);
        signal("TERM", proxy.pid());
    }
    let status = proxy.ended_within(IN_TIME).unwrap_or_else(|| panic!("{what}: it does not exit"));
    assert!(status.success(), "{what}: {status}");
    eprintln!("{what}: {:?}", begin.elapsed());
    for client in &mut clients {
        loop {
            match client.next(PATIENCE) {
                Got::End => break,
                Got::Reply(reply) => assert!(reply.starts_with(b"-"), "{what}: {}", show(&reply)),
                Got::Silence => panic!("{what}: a client is left without an end"),
            }
        }
    }
    drop(alive);
}

/// Every way at the same time.
fn in_every_way(signals: Signals) {
    let begin: [fn() -> Option<Scene>; 6] = [
        || Some(refused()),
        || Some(silent_at_the_login()),
        || Some(silent_in_the_handshake()),
        || Some(loading()),
        || Some(stalled()),
        || Some(without_a_password()),
    ];
    std::thread::scope(|scope| {
        for begin in begin {
            scope.spawn(move || begin().map(|scene| check(scene, signals)));
        }
    });
}

#[test]
fn signal_to_stop_ends_the_process_whatever_its_server_does() {
    in_every_way(Signals::Stop);
}

#[test]
fn second_signal_ends_the_process_whatever_its_server_does() {
    in_every_way(Signals::StopTwice);
}

#[test]
fn reload_holds_up_neither_clients_nor_the_end_whatever_the_server_does() {
    in_every_way(Signals::ReloadAndStop);
}

#[test]
fn signals_are_answered_while_the_name_of_the_server_is_looked_up() {
    for signals in [Signals::Stop, Signals::StopTwice, Signals::ReloadAndStop] {
        let Some(scene) = silent_name_server() else { return };
        check(scene, signals);
    }
}
