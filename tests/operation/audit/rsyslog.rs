//! A real rsyslog takes entries by each transport, and its own parser finds the fields of RFC 5424.
//!
//! Owns: the cases. Never knows: how a message is made.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::support::pki::Pki;
use super::support::proxy::{Proxy, directory};
use super::support::real_server::{Brand, Server, free_port, wait_until};

/// rsyslogd; ended on drop.
struct Receiver {
    child: Child,
    directory: tempfile::TempDir,
    pki: Pki,
    udp: u16,
    tcp: u16,
    tls: u16,
}

impl Receiver {
    fn start() -> Self {
        let directory = directory();
        let pki = Pki::new(&directory.path().join("tls"));
        let (udp, tcp, tls) = (free_port(), free_port(), free_port());
        let path = |name: &str| directory.path().join(name).display().to_string();
        let [work, socket, file] = [".", "log.sock", "received"].map(path);
        let (ca, cert, key) = (pki.authority(), pki.server("tls.crt"), pki.server("tls.key"));
        let driver =
            r#"streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon""#;
        let fields = [
            ("input", "inputname"),
            ("facility", "syslogfacility-text"),
            ("severity", "syslogseverity-text"),
            ("version", "protocol-version"),
            ("host", "hostname"),
            ("program", "app-name"),
            ("process", "procid"),
            ("kind", "msgid"),
            ("data", "structured-data"),
            ("entry", "msg"),
        ];
        let property =
            |(to, from)| format!("property(outname=\"{to}\" name=\"{from}\" format=\"jsonf\")\n");
        let fields: String = fields.into_iter().map(property).collect();
        let configuration = format!(
            "global(workDirectory=\"{work}\" defaultNetstreamDriverCAFile={ca:?} \
               defaultNetstreamDriverCertFile={cert:?} defaultNetstreamDriverKeyFile={key:?})\n\
             module(load=\"imuxsock\" SysSock.Use=\"off\")\nmodule(load=\"imudp\")\nmodule(load=\"imtcp\")\n\
             input(type=\"imuxsock\" Socket=\"{socket}\" useSpecialParser=\"off\" parseHostname=\"on\" \
               rateLimit.Interval=\"0\" ruleset=\"one\")\n\
             input(type=\"imudp\" name=\"udp\" address=\"127.0.0.1\" port=\"{udp}\" ruleset=\"one\")\n\
             input(type=\"imtcp\" name=\"tcp\" address=\"127.0.0.1\" port=\"{tcp}\" ruleset=\"one\")\n\
             input(type=\"imtcp\" name=\"tls\" address=\"127.0.0.1\" port=\"{tls}\" ruleset=\"one\" {driver})\n\
             template(name=\"fields\" type=\"list\" option.jsonf=\"on\") {{\n{fields}}}\n\
             ruleset(name=\"one\") {{ action(type=\"omfile\" file=\"{file}\" template=\"fields\") }}\n"
        );
        std::fs::write(path("rsyslog.conf"), configuration).unwrap();
        let program = ["/usr/sbin/rsyslogd", "/usr/local/sbin/rsyslogd"];
        let program = program.into_iter().find(|path| Path::new(path).exists());
        let mut command = Command::new(program.expect("no rsyslogd: tests/setup.sh installs it"));
        command.args(["-n", "-f", &path("rsyslog.conf"), "-i", &path("pid")]);
        let log = std::fs::File::create(path("log")).unwrap();
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
        let receiver = Self { child: child.spawn().unwrap(), directory, pki, udp, tcp, tls };
        wait_until("rsyslog listens", || {
            Path::new(&socket).exists() && std::net::TcpStream::connect(("127.0.0.1", tls)).is_ok()
        });
        receiver
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What it has received, as its parser took it apart.
    fn received(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("received")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.path("log")).unwrap_or_default());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn rsyslog_gets_each_entry_whole_by_every_transport() {
    let (server, receiver) = (Server::mutual_tls(Brand::Redis), Receiver::start());
    let sink = |address: String, keys: &str| {
        format!(
            "[[audit.sink]]\ntype = \"syslog\"\naddress = \"{address}\"\nfacility = \"local3\"\n{keys}"
        )
    };
    let Receiver { udp, tcp, tls, .. } = receiver;
    let sinks = [
        sink(format!("unix:{}", receiver.path("log.sock").display()), ""),
        sink(format!("udp://127.0.0.1:{udp}"), ""),
        sink(format!("tcp://127.0.0.1:{tcp}"), ""),
        sink(format!("tls://localhost:{tls}"), &format!("ca = {:?}\n", receiver.pki.authority())),
    ];
    let audit = format!("[audit]\nkeys = \"plain\"\nconnections = false\n{}", sinks.concat());
    let mut proxy = Proxy::with_policy(&server, "+@all -flushall ~app1:* &*", &audit);
    let mut client = proxy.client();
    for _ in 0..200 {
        client.ask(&["FLUSHALL"]);
    }
    // Names that are long, with bytes that need care in JSON and in a message.
    let names: Vec<String> =
        (0..8).map(|at| format!("{at}\"]\\\n é{}", "\u{1}".repeat(120))).collect();
    let long: Vec<&str> = ["DEL"].into_iter().chain(names.iter().map(String::as_str)).collect();
    assert!(client.ask_text(&long).starts_with("-NOPERM"));
    drop(client);
    let pid = proxy.pid().to_string();
    assert!(proxy.terminate().success());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let stopped = |all: &[Value]| {
        let last = all.iter().filter(|one| one["entry"].as_str().unwrap().contains("\"stopped\""));
        last.count() == 4
    };
    wait_until("the last entry is there four times", || stopped(&receiver.received()));
    let received = receiver.received();
    for input in ["imuxsock", "udp", "tcp", "tls"] {
        let own: Vec<&Value> = received.iter().filter(|one| one["input"] == input).collect();
        let mut ids = HashSet::new();
        let (mut denied, mut longest) = (0, 0);
        for one in &own {
            let is =
                |field: &str, text: &str| assert_eq!(one[field], text, "{input}: {field} of {one}");
            is("facility", "local3");
            is("severity", "notice");
            is("version", "1");
            is("host", host.trim());
            is("program", "respgate");
            is("process", &pid);
            is("kind", "audit");
            is("data", "-");
            let text = one["entry"].as_str().unwrap();
            let entry: Value =
                serde_json::from_str(text).unwrap_or_else(|_| panic!("{input}: {text}"));
            assert!(entry["chain"].is_string() && entry["time"].is_string(), "{input}: {text}");
            assert!(
                entry["id"].is_null() || ids.insert(entry["id"].clone()),
                "{input}: twice {text}"
            );
            denied += usize::from(entry["event"] == "denied");
            longest = longest.max(text.len());
        }
        assert_eq!(denied, 201, "{input}");
        assert!(longest > 3000, "{input}: {longest}");
        let path = receiver.path(&format!("by-{input}"));
        let lines: String =
            own.iter().map(|one| format!("{}\n", one["entry"].as_str().unwrap())).collect();
        std::fs::write(&path, lines).unwrap();
        let (whole, printed) = super::verify(&[], &[&path]);
        assert!(whole, "{input}: {printed}");
    }
}
