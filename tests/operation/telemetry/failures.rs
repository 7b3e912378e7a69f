//! Reloads and failures that move metrics.
//!
//! Owns: the scenes. Never knows: which metrics there are besides.
#![allow(clippy::too_many_lines, reason = "a scene is one sequence from its begin to its end")]

use std::io::{Read, Write};
use std::net::TcpListener;

use super::moves::Moved;
use super::support::client::{Got, PATIENCE, Target};
use super::support::fake_server::{FakeServer, Order};
use super::support::proxy::{OPEN_POLICY, Proxy, configuration, directory, listener};
use super::support::real_server::{Brand, Server, free_port, wait_until};

/// A password that a program prints.
pub fn token(moved: &Moved) {
    let server = Server::plain(Brand::Redis);
    let printed = "{\"username\":\"default\",\"password\":\"any\",\"expires_at\":4000000000}";
    let auth = format!("[upstream.auth]\npassword_command = [\"/bin/echo\", {printed:?}]\n");
    let proxy = Proxy::before(&server, &auth);
    moved.until(&proxy, &["credential_expiry_timestamp_seconds"]);
}

/// More reads are lost at once than may be sent again.
pub fn budget(moved: &Moved) {
    let server = FakeServer::start();
    server.order("GET k", Order::Never, usize::MAX);
    // What waits for a connection is written at once: silence holds nothing of it back.
    server.go_down();
    let waits = "outage_wait = \"10m\"\n[upstream.pool]\nstall_timeout = \"10m\"\ncommand_timeout = \"10m\"";
    let proxy = before(&server, &format!("{waits}\n[upstream.retry]\nbudget = 0"));
    let mut clients: Vec<_> = (0..40).map(|_| proxy.client()).collect();
    let reads = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".repeat(30);
    clients.iter_mut().for_each(|client| client.send_raw(&reads));
    proxy.await_metric("respgate_upstream_queue_depth", |waiting| waiting > 1199.5);
    server.come_up();
    // Some come twice: each connection that is silent is relieved by another one.
    wait_until("all have come", || server.count("GET k") >= 1200);
    moved.repeat(&proxy, "upstream_retries_total{result=\"budget\"}", || server.close_all());
}

/// Reads and writes of a cache whose server is down.
pub fn cache(moved: &Moved) {
    let mut server = Server::plain(Brand::Redis);
    let (home, target, telemetry) = (directory(), Target::Tcp(free_port()), free_port());
    let text = configuration(&server, &listener(&target, ""), OPEN_POLICY, telemetry);
    let text = text.replace("[policy]", "outage_wait = \"100ms\"\n[policy]\ndegraded = \"miss\"");
    let proxy = Proxy::configured(home, target, telemetry, &text);
    let mut client = proxy.client();
    client.ask(&["GET", "k"]);
    server.crash();
    let mut clients = Vec::new();
    for mode in ["miss", "error"] {
        moved.repeat(&proxy, &format!("degraded_replies_total{{mode={mode:?}}}"), || {
            let mut client = proxy.client();
            client.send(&["GET", "k"]);
            client.send(&["SET", "k", "v"]);
            clients.push(client);
        });
    }
    moved.until(&proxy, &["state{state=\"degraded\"}"]);
}

/// Certificates, and everything that is read again.
pub fn identities(moved: &Moved) {
    let mut server = Server::mutual_tls(Brand::Redis);
    let directory = directory();
    let (secret, listened) = (directory.path().join("secret"), directory.path().join("listened"));
    std::fs::write(&secret, "one").unwrap();
    std::fs::write(&listened, "one").unwrap();
    server.observer().ask(&["ACL", "SETUSER", "app", "on", ">one", ">two", "~*", "&*", "+@all"]);
    let target = Target::Tcp(free_port());
    let telemetry = free_port();
    let head = configuration(&server, &listener(&target, ""), OPEN_POLICY, telemetry);
    let auth = format!("[upstream]\nauth = {{ username = \"app\", password_file = {secret:?} }}");
    let text = head.replace("[upstream]", &auth);
    let text = format!("{text}\n[upstream.pool]\npinned_grace = \"400ms\"\n");
    let proxy = Proxy::configured(directory, target, telemetry, &text);
    moved.until(
        &proxy,
        &[
            "tls_identity_generation",
            "tls_handshakes_total{result=\"full\"}",
            "tls_handshake_duration_seconds_count",
            "tls_certificate_not_after_timestamp_seconds{role=\"client\"}",
            "tls_certificate_not_before_timestamp_seconds{role=\"client\"}",
            "tls_certificate_not_after_timestamp_seconds{role=\"trust_anchor\"}",
            "tls_certificate_not_after_timestamp_seconds{role=\"upstream_peer\"}",
            "upstream_connect_phase_seconds_total{phase=\"dns\"}",
            "upstream_connect_phase_seconds_total{phase=\"tcp\"}",
            "upstream_connect_phase_seconds_total{phase=\"tls\"}",
            "upstream_connect_phase_seconds_total{phase=\"auth\"}",
        ],
    );
    let attempt = |what: &str, result: &str| {
        format!("reload_attempts_total{{what={what:?},result={result:?}}}")
    };
    let result = |result: &str| {
        for what in ["tls_identity", "auth", "config"] {
            moved.until(&proxy, &[&attempt(what, result)]);
        }
    };
    proxy.hang_up();
    result("unchanged");
    let mut listening = Vec::new();
    moved.repeat(&proxy, "tls_handshakes_total{result=\"resumed\"}", || {
        let mut client = proxy.client();
        client.ask(&["SUBSCRIBE", "c"]);
        listening.push(client);
    });
    server.pki.as_mut().unwrap().rotate();
    std::fs::write(&secret, "two").unwrap();
    moved.until(
        &proxy,
        &[
            "upstream_disconnects_total{reason=\"rotation\"}",
            "client_disconnects_total{reason=\"rotation\"}",
        ],
    );
    moved.until(&proxy, &[&attempt("tls_identity", "applied"), &attempt("auth", "applied")]);
    // A rotation that comes late ends a subscription for another reason.
    let mut channels = ["&*", "&other"];
    moved.repeat(&proxy, "client_disconnects_total{reason=\"auth\"}", || {
        if channels[0] == "&other" {
            proxy.reconfigure("&other", "&*");
        }
        wait_until("a client may subscribe", || {
            let mut client = proxy.client();
            client.send(&["SUBSCRIBE", "c"]);
            let may = matches!(client.next(PATIENCE), Got::Reply(it) if it.starts_with(b"*3"));
            listening.push(client);
            may
        });
        proxy.reconfigure("&*", "&other");
        channels = ["&other", "&*"];
    });
    result("applied");
    let pki = server.pki.as_ref().unwrap();
    std::fs::write(pki.client("tls.crt"), "nothing").unwrap();
    std::fs::write(&secret, "wrong").unwrap();
    proxy.reconfigure("+@all", "+@all -nonsense");
    result("rejected");
    let reason = |what: &str, reason: &str| {
        format!("reload_rejections_total{{what={what:?},reason={reason:?}}}")
    };
    moved.until(
        &proxy,
        &[
            &reason("tls_identity", "parse"),
            &reason("auth", "probe_failed"),
            &reason("config", "invalid_config"),
        ],
    );
}

/// A certificate that the server does not accept, a name that is not there, a login that fails.
pub fn refused_connections(moved: &Moved) {
    let server = Server::mutual_tls(Brand::Redis);
    let other = Server::mutual_tls(Brand::Redis);
    let start = |from: &str, to: &str, sections: &str| {
        let (directory, target, telemetry) = (directory(), Target::Tcp(free_port()), free_port());
        let head = configuration(&server, &listener(&target, ""), OPEN_POLICY, telemetry);
        let text = format!("{}\n{sections}\n", head.replace(from, to));
        assert!(text.contains(to));
        // Nothing is answered: the outage ends the client's connection.
        Proxy::serving(directory, target, telemetry, &text)
    };
    let pki =
        |server: &Server, name: &str| format!("{:?}", server.pki.as_ref().unwrap().client(name));
    let proxy = start(&pki(&server, "ca.crt"), &pki(&other, "ca.crt"), "");
    moved.until(
        &proxy,
        &[
            "tls_handshakes_total{result=\"failed\"}",
            "upstream_connects_total{result=\"tls\"}",
            "tls_handshake_failures_total{reason=\"unknown_ca\"}",
            "upstream_reconnect_backoff_seconds",
            "circuit_state{state=\"open\"}",
        ],
    );
    let proxy = start("localhost", "nowhere.invalid", "");
    moved.until(&proxy, &["upstream_connects_total{result=\"dns\"}"]);
    let mut observer = server.observer();
    observer.ask(&["ACL", "SETUSER", "mute", "on", ">one", "-@all"]);
    observer.ask(&["CONFIG", "SET", "requirepass", "secret"]);
    let proxy = start(
        "[upstream]",
        "[upstream]\nauth = { username = \"mute\", password_env = \"HOME\" }",
        "",
    );
    moved.until(
        &proxy,
        &["upstream_connects_total{result=\"auth\"}", "upstream_auth_total{result=\"wrongpass\"}"],
    );
    // No Redis does so; a proxy before it may.
    let grumpy = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = grumpy.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in grumpy.incoming().flatten() {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = (&stream).read(&mut bytes) {
                let asked = bytes[..count].iter().filter(|byte| **byte == b'*').count();
                let _ = (&stream).write_all(&b"-NOPERM no\r\n".repeat(asked));
            }
        }
    });
    let tls = format!(
        "tls = {{ cert = {}, key = {}, ca = {} }}",
        pki(&server, "tls.crt"),
        pki(&server, "tls.key"),
        pki(&server, "ca.crt")
    );
    let proxy = start(
        &format!("localhost:{}\"\n{tls}", server.port),
        &format!(
            "127.0.0.1:{port}\"\ninsecure_plaintext = true\nauth = {{ password_env = \"HOME\" }}"
        ),
        "",
    );
    moved.until(&proxy, &["upstream_auth_total{result=\"noperm\"}"]);
    let proxy = start("localhost", "localhost", "");
    moved.until(&proxy, &["upstream_auth_total{result=\"other\"}"]);
}

/// Servers on which no script can be guarded.
pub fn unguardable(moved: &Moved) {
    let list = |last: &str| {
        let names = ["redis", "_G", "pcall", last].map(|n| format!("${}\r\n{n}\r\n", n.len()));
        format!("*4\r\n{}", names.concat()).into_bytes()
    };
    for (question, canary, reason) in [
        (b"-NOPERM\r\n".to_vec(), "", "globals_unknown"),
        (list("string!"), "", "globals_unprotected"),
        (list("KEYS"), "$7\r\nescaped\r\n", "escape"),
    ] {
        let server = FakeServer::start();
        server.order("EVAL local t={} for k,v", Order::Instead(question), usize::MAX);
        server.order("EVAL local redis,", Order::Instead(canary.into()), usize::MAX);
        let (directory, target, telemetry) = (directory(), Target::Tcp(free_port()), free_port());
        let text = format!(
            "{}\n[upstream]\naddress = \"localhost:{}\"\ninsecure_plaintext = true\n\
             [policy]\nacl = {OPEN_POLICY:?}\nscripts = {{ mode = \"guarded\" }}\n\
             [telemetry]\naddress = \"127.0.0.1:{telemetry}\"\n",
            listener(&target, ""),
            server.port
        );
        let proxy = Proxy::serving(directory, target, telemetry, &text);
        let series = format!("script_guard_failures_total{{reason=\"{reason}\"}}");
        moved.until(&proxy, &[&series]);
    }
}

/// A proxy before this server; `sections` is further TOML of `[upstream]`.
fn before(server: &FakeServer, sections: &str) -> Proxy {
    let (directory, target, telemetry) = (directory(), Target::Tcp(free_port()), free_port());
    let text = format!(
        "{}\n[upstream]\naddress = \"localhost:{}\"\ninsecure_plaintext = true\n{sections}\n\
         [policy]\nacl = {OPEN_POLICY:?}\n[telemetry]\naddress = \"127.0.0.1:{telemetry}\"\n",
        listener(&target, ""),
        server.port
    );
    Proxy::serving(directory, target, telemetry, &text)
}

/// A server whose connections end under commands, and which sends what fits none.
pub fn misbehaving_server(moved: &Moved) {
    let server = FakeServer::start();
    let command = b"*2\r\n*6\r\n$3\r\nget\r\n:7\r\n*0\r\n:1\r\n:1\r\n:1\r\n*6\r\n$5\r\nodd.x\r\n:2\r\n*0\r\n:1\r\n:1\r\n:1\r\n";
    server.order("COMMAND", Order::Instead(command.to_vec()), usize::MAX);
    let proxy = before(&server, "outage_wait = \"60s\"\n[upstream.retry]\nmax_retries = 1");
    moved.until(
        &proxy,
        &[
            "upstream_up",
            "upstream_connections{state=\"shared\"}",
            "upstream_connections{state=\"pinned_idle\"}",
            "upstream_connects_total{result=\"ok\"}",
            "upstream_auth_total{result=\"ok\"}",
            "command_table_differences",
            "command_table_missing",
        ],
    );
    let mut client = proxy.client();
    client.ask(&["SET", "k", "v"]);
    server.order("GET again", Order::Close(0), 1);
    client.ask(&["GET", "again"]);
    moved.until(&proxy, &["upstream_retries_total{result=\"ok\"}"]);
    server.order("GET lost", Order::Close(0), 5);
    client.send(&["GET", "lost"]);
    moved.until(
        &proxy,
        &[
            "upstream_retries_total{result=\"exhausted\"}",
            "replies_total{result=\"unavailable\"}",
            "client_disconnects_total{reason=\"upstream_lost\"}",
            "upstream_disconnects_total{reason=\"eof\"}",
        ],
    );
    server.order("GET reset", Order::Reset, 5);
    let mut client = proxy.client();
    client.send(&["GET", "reset"]);
    moved.until(&proxy, &["upstream_disconnects_total{reason=\"reset\"}"]);
    moved.repeat(&proxy, "upstream_disconnects_total{reason=\"protocol\"}", || {
        // A server that has lost connections so often may count as out for a moment.
        wait_until("the server counts as well again", || {
            let mut client = proxy.client();
            client.send(&["SET", "k", "v"]);
            client.next(PATIENCE) == Got::Reply(b"+OK\r\n".to_vec())
        });
        server.push_bytes(server.connection_of("SET k"), b"+surplus\r\n");
    });
}

/// A server that is silent, on connections that are up and on new ones.
pub fn silent_server(moved: &Moved) {
    let server = FakeServer::start();
    let pool = "[upstream.pool]\nconnect_timeout = \"1s\"\nhealth_check_interval = \"300ms\"\n\
                stall_timeout = \"400ms\"\ncommand_timeout = \"2s\"";
    let proxy = before(&server, pool);
    moved.until(&proxy, &["upstream_up"]);
    server.be_mute(true);
    proxy.client().send(&["GET", "silent"]);
    moved.until(
        &proxy,
        &[
            "upstream_health_checks_total{result=\"failed\"}",
            "upstream_disconnects_total{reason=\"health\"}",
        ],
    );
    server.close_all();
    moved.until(
        &proxy,
        &[
            "upstream_connects_total{result=\"timeout\"}",
            "upstream_connections{state=\"connecting\"}",
            "circuit_state{state=\"half_open\"}",
            "circuit_state{state=\"closed\"}",
        ],
    );
}

/// A server that greets with errors, cannot be reached, and can again.
pub fn server_that_returns(moved: &Moved) {
    let server = FakeServer::start();
    let proxy = before(&server, "outage_wait = \"10m\"");
    moved.until(&proxy, &["upstream_up"]);
    for (greeting, result) in [
        (&b"-LOADING Redis is loading\r\n"[..], "loading"),
        (b"HTTP/1.1 400\r\n", "protocol"),
        (b"-NOAUTH no\r\n", "auth"),
    ] {
        server.greet_with(Some(greeting.to_vec()));
        server.close_all();
        moved.until(&proxy, &[&format!("upstream_connects_total{{result={result:?}}}")]);
    }
    server.go_down();
    let mut waiting = proxy.client();
    waiting.send(&["SET", "k", "v"]);
    moved.until(&proxy, &["upstream_connects_total{result=\"tcp\"}", "upstream_queue_depth"]);
    server.greet_with(None);
    server.come_up();
    moved.until(&proxy, &["upstream_queue_wait_seconds_count"]);
}

/// The server becomes a replica, and its name leads to another.
pub fn failover(moved: &Moved) {
    let server = FakeServer::start();
    let (directory, target, telemetry) = (directory(), Target::Tcp(free_port()), free_port());
    let text = format!(
        "{}\n[upstream]\naddress = \"localhost:{}\"\ninsecure_plaintext = true\n\
         [policy]\nacl = {OPEN_POLICY:?}\n[telemetry]\naddress = \"127.0.0.1:{telemetry}\"\n",
        listener(&target, ""),
        server.port
    );
    let proxy = Proxy::configured(directory, target, telemetry, &text);
    let readonly = b"-READONLY You can't write against a read only replica.\r\n";
    // A connection that has begun just now is taken for one to the new primary.
    moved.repeat(&proxy, "upstream_disconnects_total{reason=\"failover\"}", || {
        server.demote();
        server.order("SET k", Order::Instead(readonly.to_vec()), 1);
        let mut client = proxy.client();
        client.send(&["SET", "k", "v"]);
        client.next(PATIENCE);
    });
}
