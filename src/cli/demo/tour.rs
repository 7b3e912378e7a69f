//! The tour: what is tried through respgate, and what must come back.
//!
//! Owns: [`CHAPTERS`]. Never knows: how the stage was set.

use super::actor::{Actor, connections};
use super::process::wait_until;
use super::rotation;
use super::screen::{Screen, show};
use super::stage::Stage;
use super::talk::Client;
use crate::resp::Value;

pub(super) type Chapter = fn(&mut Stage, Screen) -> Result<(), String>;

/// Every chapter with its title; each fails with the first thing that is not as it should be.
pub(super) const CHAPTERS: [(&str, Chapter); 9] = [
    ("1. An application uses plain Redis", plain),
    ("2. The server itself accepts mutual TLS and nothing else", locked),
    ("3. What could hurt is refused and never reaches the server", refused),
    ("4. Transactions", transactions),
    ("5. Blocking commands, messages, RESP3", conversations),
    ("6. Fifty clients, a few connections", shared),
    ("7. Certificate and rules change while clients work", rotation::chapter),
    ("8. What operators see", seen),
    ("9. SIGTERM: not ready at once, gone when the last client is", stop),
];

const NO_KEY: &str =
    "(error) NOPERM this user has no permissions to access one of the keys used as arguments";

fn plain(stage: &mut Stage, screen: Screen) -> Result<(), String> {
    let mut app = Actor::new("app", stage.client()?, screen);
    app.ask(&["PING"], "PONG")?;
    app.ask(&["SET", "app1:greeting", "hello", "EX", "3600"], "OK")?;
    app.ask(&["GET", "app1:greeting"], "\"hello\"")
}

fn locked(stage: &mut Stage, screen: Screen) -> Result<(), String> {
    let address = stage.server_address;
    let plain = Client::plain(address)?.ask(&["PING"]);
    let anonymous = Client::over_tls(address, stage.files.settings(false)?)?.ask(&["PING"]);
    for (how, outcome) in [("plaintext", plain), ("TLS without a client certificate", anonymous)] {
        match outcome {
            Err(error) => screen.line(&format!("{how}: {error}")),
            Ok(reply) => return Err(format!("expected no reply over {how}, got {}", show(&reply))),
        }
    }
    let certified = Client::over_tls(address, stage.files.settings(true)?)?;
    screen.line("TLS with the client certificate, but without the password:");
    let mut certified = Actor::new("direct", certified, screen);
    certified.ask(&["GET", "app1:greeting"], "(error) NOAUTH Authentication required.")
}

fn refused(stage: &mut Stage, screen: Screen) -> Result<(), String> {
    let mut operator = Actor::new("operator, past respgate", stage.operator()?, screen);
    operator.ask(&["SET", "other:secret", "not yours"], "OK")?;
    let mut app = Actor::new("app", stage.client()?, screen);
    for (command, name) in [
        (&["FLUSHALL"][..], "flushall"),
        (&["CONFIG", "SET", "maxmemory", "1"], "config|set"),
        (&["KEYS", "*"], "keys"),
    ] {
        let expected =
            format!("(error) NOPERM this user has no permissions to run the '{name}' command");
        app.ask(command, &expected)?;
    }
    app.ask(&["SET", "other:secret", "stolen"], NO_KEY)?;
    app.ask(&["MGET", "app1:greeting", "other:secret"], NO_KEY)?;
    operator.ask(&["GET", "other:secret"], "\"not yours\"")?;
    let info = operator.client.ask(&["INFO", "commandstats"])?;
    let info = String::from_utf8_lossy(info.as_bytes().unwrap_or_default()).into_owned();
    for name in ["flushall", "config|set", "keys", "mget"] {
        if info.contains(&format!("cmdstat_{name}:")) {
            return Err(format!("expected that the server never sees {name}, but it did"));
        }
    }
    screen.line("INFO commandstats: the server has seen no FLUSHALL, CONFIG SET, KEYS or MGET");
    Ok(())
}

fn transactions(stage: &mut Stage, screen: Screen) -> Result<(), String> {
    let mut a = Actor::new("a", stage.client()?, screen);
    let mut b = Actor::new("b", stage.unix_client()?, screen);
    a.ask(&["MULTI"], "OK")?;
    a.ask(&["INCR", "app1:n"], "QUEUED")?;
    a.ask(&["INCRBY", "app1:n", "9"], "QUEUED")?;
    a.ask(&["EXEC"], "[(integer) 1, (integer) 10]")?;
    screen.line("a watches a key, b changes it, so the transaction of a does not happen:");
    a.ask(&["WATCH", "app1:n"], "OK")?;
    b.ask(&["SET", "app1:n", "100"], "OK")?;
    a.ask(&["MULTI"], "OK")?;
    a.ask(&["INCR", "app1:n"], "QUEUED")?;
    a.ask(&["EXEC"], "(nil)")
}

fn conversations(stage: &mut Stage, screen: Screen) -> Result<(), String> {
    let mut a = Actor::new("a", stage.client()?, screen);
    let mut b = Actor::new("b", stage.unix_client()?, screen);
    let mut operator = stage.operator()?;
    a.send(&["BLPOP", "app1:queue", "10"])?;
    wait_until("the server to hold a blocked client", || {
        let info = operator.ask(&["INFO", "clients"])?;
        Ok(String::from_utf8_lossy(info.as_bytes().unwrap_or_default())
            .contains("blocked_clients:1"))
    })?;
    b.ask(&["RPUSH", "app1:queue", "job 1"], "(integer) 1")?;
    a.receive_late("[\"app1:queue\", \"job 1\"]")?;
    a.ask(&["SUBSCRIBE", "app1:news"], "[\"subscribe\", \"app1:news\", (integer) 1]")?;
    b.ask(&["PUBLISH", "app1:news", "it works"], "(integer) 1")?;
    a.receive_late("[\"message\", \"app1:news\", \"it works\"]")?;
    screen.command("b", &["HELLO", "3"]);
    let hello = b.client.hello3()?;
    screen.reply("", &hello);
    if hello.get("proto").and_then(Value::as_i64) != Some(3) {
        return Err("expected RESP3".to_owned());
    }
    b.ask(&["HSET", "app1:ada", "born", "1815"], "(integer) 1")?;
    b.ask(&["HGETALL", "app1:ada"], "{\"born\": \"1815\"}")
}

fn shared(stage: &mut Stage, screen: Screen) -> Result<(), String> {
    const CLIENTS: usize = 50;
    const CONNECTIONS_MAX: usize = 10;
    let clients: Result<Vec<_>, _> = (0..CLIENTS).map(|_| stage.client()).collect();
    let mut clients = clients?;
    for client in &mut clients {
        client.send(&["INCR", "app1:hits"])?;
    }
    for client in &mut clients {
        client.receive()?;
    }
    let connections = connections(&mut stage.operator()?)?.len();
    screen.line(&format!(
        "{CLIENTS} clients are connected and each has sent INCR app1:hits; the server has \
         {connections} connections"
    ));
    if !(1..=CONNECTIONS_MAX).contains(&connections) {
        return Err(format!("expected at most {CONNECTIONS_MAX} connections"));
    }
    Actor::new("app", stage.client()?, screen).ask(&["GET", "app1:hits"], "\"50\"")
}

fn seen(stage: &mut Stage, screen: Screen) -> Result<(), String> {
    const EXCERPT: [&str; 5] = [
        "respgate_client_connections_total{",
        "respgate_commands_denied_total{",
        "respgate_upstream_connections{",
        "respgate_tls_identity_generation ",
        "respgate_reload_attempts_total{what=\"tls_identity\",result=\"applied\"",
    ];
    let (_, page) = stage.telemetry("/metrics")?;
    screen.line(&format!("GET http://{}/metrics, in part:", stage.telemetry));
    for wanted in EXCERPT {
        let lines = page.lines().filter(|line| line.starts_with(wanted) && !line.ends_with(" 0"));
        let lines: Vec<_> = lines.collect();
        if lines.is_empty() {
            return Err(format!("expected a metric {wanted}, found none"));
        }
        lines.iter().for_each(|line| screen.line(&format!("  {line}")));
    }
    await_readiness(stage, screen, 200)
}

fn await_readiness(stage: &Stage, screen: Screen, wanted: u16) -> Result<(), String> {
    wait_until(&format!("/readyz to answer {wanted}"), || {
        Ok(stage.telemetry("/readyz")?.0 == wanted)
    })?;
    screen.line(&format!("GET /readyz: {wanted}"));
    Ok(())
}

fn stop(stage: &mut Stage, screen: Screen) -> Result<(), String> {
    let mut app = Actor::new("app", stage.client()?, screen);
    app.ask(&["PING"], "PONG")?;
    stage.gate()?.terminate()?;
    await_readiness(stage, screen, 503)?;
    app.ask(&["GET", "app1:greeting"], "\"hello\"")?;
    screen.line("the client hangs up");
    drop(app);
    let status = stage.gate()?.await_end()?;
    screen.line(&format!("respgate has left: {status}"));
    if status.success() { Ok(()) } else { Err("expected exit status 0".to_owned()) }
}
