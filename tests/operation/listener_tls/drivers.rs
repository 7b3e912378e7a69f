//! redis-cli and redis-py over mutual TLS.

use std::path::PathBuf;
use std::process::Command;

use super::Bench;

const USERS: &str = "[[user]]\nname = \"app\"\ncertificates = [\"dns:app\"]\npolicy = \"own\"\n\
                     [policies.own]\nacl = \"+@all -@dangerous ~app:*\"\n";

#[test]
fn redis_cli_is_served_by_its_certificate() {
    let bench = Bench::new("", "auth = \"users\"", USERS);
    let pair = bench.lab.pair("client");
    assert_eq!(bench.cli(Some(&pair), &["SET", "app:k", "v"]), "OK\n");
    assert_eq!(bench.cli(Some(&pair), &["GET", "app:k"]), "v\n");
    assert!(bench.cli(Some(&pair), &["GET", "k"]).contains("NOPERM"));
    assert_ne!(bench.cli(None, &["GET", "app:k"]), "v\n");
    bench.proxy.await_log(&["TLS-E201"]);
}

#[test]
fn redis_py_is_served_by_its_certificate() {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let python = home.join(".cache/respgate/venv/bin/python");
    if !python.exists() {
        eprintln!("skipped: there is no {}", python.display());
        return;
    }
    let bench = Bench::new("", "auth = \"users\"", USERS);
    let (cert, key) = bench.lab.pair("client");
    let script = "import sys, redis
port, cert, key, ca = sys.argv[1:]
for protocol in (2, 3):
    client = redis.Redis(host='localhost', port=int(port), ssl=True, ssl_certfile=cert, ssl_keyfile=key,
                         ssl_ca_certs=ca, protocol=protocol)
    assert client.set('app:py', 'v') and client.get('app:py') == b'v'
    with client.pipeline() as pipe:
        for _ in range(500): pipe.incr(f'app:{protocol}')
        assert pipe.execute()[-1] == 500
    sub = client.pubsub(); sub.subscribe('c')
    try: client.get('other'); raise SystemExit('passed')
    except redis.exceptions.NoPermissionError: pass
try:
    redis.Redis(host='localhost', port=int(port), ssl=True, ssl_ca_certs=ca).ping()
    raise SystemExit('no certificate was needed')
except redis.exceptions.ConnectionError: pass
print('fine')
";
    let output = Command::new(python)
        .args(["-c", script, &bench.port.to_string()])
        .args([&cert, &key, &bench.lab.path("ca.crt")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "fine\n", "{output:?}");
}
