//! What systemd passes to the process and learns of it: sockets, states, the watchdog.
//!
//! Owns: the cases, with a socket in the place of systemd. Never knows: units.

use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use socket2::SockRef;

use super::support::client::Target;
use super::support::proxy;
use super::support::real_server::{free_port, wait_until};
use super::*;

/// Opens listening sockets as descriptors 3, 4, … and becomes the program that the arguments name.
const ACTIVATE: &str = "
import os, socket, sys
addresses, program = sys.argv[1].split(','), sys.argv[2:]
held = []
for address in addresses:
    if address.startswith('/'):
        held.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        held[-1].bind(address)
    else:
        held.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        held[-1].bind(('127.0.0.1', int(address)))
    held[-1].listen(64)
high = [os.dup2(own.fileno(), 100 + at) for at, own in enumerate(held)]
for at, descriptor in enumerate(high):
    os.dup2(descriptor, 3 + at, inheritable=True)
os.environ['LISTEN_FDS'] = str(len(high))
os.environ['LISTEN_PID'] = str(os.getpid())
os.execv(program[0], program)
";

/// Becomes the program behind the first argument, to which the descriptor of that number is passed.
const PASS: &str = "
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
";

/// A process that the test ends.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn write(directory: &Path, server: &Server, listeners: &str) -> std::path::PathBuf {
    let file = directory.join("respgate.toml");
    let text = proxy::configuration(server, listeners, proxy::OPEN_POLICY, free_port());
    std::fs::write(&file, text).unwrap();
    file
}

fn activated(directory: &Path, addresses: &str, file: &Path) -> Service {
    let log = std::fs::File::create(directory.join("log")).unwrap();
    let mut command = Command::new("python3");
    command.args(["-c", ACTIVATE, addresses, env!("CARGO_BIN_EXE_respgate"), "run", "--config"]);
    command.arg(file).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Service(command.spawn().unwrap())
}

#[test]
fn inherited_sockets_are_served_and_stay_where_they_are() {
    let (server, directory) = (Server::mutual_tls(Brand::Redis), proxy::directory());
    let (port, path) = (free_port(), directory.path().join("own.sock"));
    let (tcp, unix) = (Target::Tcp(port), Target::Unix(path.clone()));
    let listeners = [proxy::listener(&tcp, ""), proxy::listener(&unix, "")].concat();
    let file = write(directory.path(), &server, &listeners);
    let mut service = activated(directory.path(), &format!("{port},{}", path.display()), &file);
    for target in [&tcp, &unix] {
        // The socket takes clients from the beginning, before the process is ready.
        wait_until("the socket is there", || Client::connect(target).is_ok());
        let mut client = Client::connect(target).unwrap();
        client.send(&["PING"]);
        assert_eq!(client.next(PATIENCE), Got::Reply(b"+PONG\r\n".to_vec()));
    }
    signal("TERM", service.0.id());
    assert!(service.0.wait().unwrap().success());
    assert!(path.exists(), "the file belongs to the service manager");
}

/// While a process ends, what connects to the socket that it shares waits for the next process.
#[test]
fn clients_that_connect_at_the_end_are_served_by_the_next_process() {
    let (server, directory) = (Server::mutual_tls(Brand::Redis), proxy::directory());
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    SockRef::from(&socket).set_cloexec(false).unwrap();
    let target = Target::Tcp(socket.local_addr().unwrap().port());
    let start = || {
        let listeners = proxy::listener(&target, "") + "[drain]\nmax = \"50ms\"\n";
        let file = write(directory.path(), &server, &listeners);
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let mut command = Command::new("python3");
        command.args(["-c", PASS, &socket.as_raw_fd().to_string(), env!("CARGO_BIN_EXE_respgate")]);
        command.args(["run", "--config"]).arg(&file);
        Service(command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null()).spawn().unwrap())
    };
    let mut old = start();
    let mut idle = Client::connect(&target).unwrap();
    let mut blocked = Client::connect(&target).unwrap();
    assert_eq!(idle.ask(&["PING"]), b"+PONG\r\n");
    // Its reply is waited for at the end.
    blocked.send(&["BLPOP", "list", "0"]);
    server.await_blocked(1);
    signal("TERM", old.0.id());
    assert_eq!(idle.next(PATIENCE), Got::End);
    let mut newcomer = Client::connect(&target).unwrap();
    newcomer.send(&["PING"]);
    assert_eq!(blocked.next(PATIENCE), Got::End);
    assert!(old.0.wait().unwrap().success());
    let _next = start();
    assert_eq!(newcomer.next(PATIENCE), Got::Reply(b"+PONG\r\n".to_vec()));
}

#[test]
fn inherited_socket_without_a_listener_ends_the_start() {
    let (server, directory) = (Server::mutual_tls(Brand::Redis), proxy::directory());
    let (port, other) = (free_port(), free_port());
    let listeners = proxy::listener(&Target::Tcp(port), "");
    let file = write(directory.path(), &server, &listeners);
    let mut service = activated(directory.path(), &format!("{port},{other}"), &file);
    assert_eq!(service.0.wait().unwrap().code(), Some(1));
    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    let expected = format!(
        "the service manager passed a socket on 127.0.0.1:{other}, and no listener has this address"
    );
    assert!(log.contains(&expected), "{log}");
}

#[test]
fn systemd_is_notified_of_start_outage_reload_watchdog_and_stop() {
    let (mut server, directory) = (Server::mutual_tls(Brand::Redis), proxy::directory());
    let listeners = proxy::listener(&Target::Tcp(free_port()), "");
    let file = write(directory.path(), &server, &listeners);
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let log = std::fs::File::create(directory.path().join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_respgate"));
    command.args(["run", "--config"]).arg(&file).stdin(Stdio::null()).stdout(log);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let mut service = Service(command.stderr(Stdio::null()).spawn().unwrap());
    let next = || {
        let mut text = [0; 512];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    // The watchdog's messages come in between.
    let until = |wanted: &str| -> String {
        std::iter::repeat_with(next).find(|text| text.contains(wanted)).unwrap()
    };
    assert!(until("READY=1").contains("STATUS="));
    until("WATCHDOG=1");
    until("WATCHDOG=1");
    server.stop();
    until("STATUS=serving clients; the server cannot be reached");
    server.start();
    until("STATUS=serving clients");
    signal("HUP", service.0.id());
    assert!(until("RELOADING=1").contains("MONOTONIC_USEC="));
    until("READY=1");
    signal("TERM", service.0.id());
    until("STOPPING=1");
    assert!(service.0.wait().unwrap().success());
}
