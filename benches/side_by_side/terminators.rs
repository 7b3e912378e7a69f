//! What terminates mutual TLS in front of a plaintext Redis: respgate's `[listener.tls]`, and its peers.
//!
//! Owns: [`TERMINATORS`]. Never knows: the requests they receive. Redis's own TLS is the contestant `direct TLS`.

use serde_json::{Value, json};

use crate::contestants::{CLIENTS_MAX, Field, RULES, Start, envoy_redis, envoy_tcp, run_envoy};
use crate::process::{Process, find_program, free_port};

/// In the order of the table.
pub const TERMINATORS: [(&str, Start); 5] = [
    ("respgate ends TLS", start_respgate),
    ("haproxy ends TLS", start_haproxy),
    ("envoy redis_proxy ends TLS", |field| start_envoy(field, "envoy-tls-redis", envoy_redis())),
    ("envoy tcp_proxy ends TLS", |field| start_envoy(field, "envoy-tls-tcp", envoy_tcp())),
    ("stunnel ends TLS", start_stunnel),
];

#[allow(clippy::unnecessary_wraps, reason = "as all of the table")]
fn start_respgate(field: &Field) -> Option<(Process, u16)> {
    let port = free_port();
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:{port}\"\n[listener.tls]\ncert = {:?}\nkey = {:?}\n\
         client_ca = {:?}\n\n[upstream]\naddress = \"127.0.0.1:{}\"\ninsecure_plaintext = true\n\n\
         [policy]\n{RULES}\n\n[telemetry]\naddress = \"127.0.0.1:{}\"\n",
        field.files.server_cert,
        field.files.server_key,
        field.files.ca,
        field.plain_port,
        free_port(),
    );
    let file = field.write("respgate-tls.toml", &text);
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_respgate"));
    let process = field.start_process("respgate-tls", program, &[&"run", &"--config", &file]);
    Some((process.await_port(port), port))
}

fn start_haproxy(field: &Field) -> Option<(Process, u16)> {
    let program = find_program("RESPGATE_BENCH_HAPROXY", &["haproxy"])?;
    let port = free_port();
    let bundle = field.bundle("server.pem", &field.files.server_cert, &field.files.server_key);
    let text = format!(
        "global\n  maxconn {CLIENTS_MAX}\ndefaults\n  mode tcp\n  timeout connect 5s\n  \
         timeout client 1h\n  timeout server 1h\nlisten redis\n  bind 127.0.0.1:{port} ssl crt {} \
         ca-file {} verify required\n  server redis 127.0.0.1:{}\n",
        bundle.display(),
        field.files.ca.display(),
        field.plain_port,
    );
    let file = field.write("haproxy-tls.cfg", &text);
    let process = field.start_process("haproxy-tls", &program, &[&"-db", &"-f", &file]);
    Some((process.await_port(port), port))
}

fn start_stunnel(field: &Field) -> Option<(Process, u16)> {
    let program = find_program("RESPGATE_BENCH_STUNNEL", &["stunnel4", "stunnel"])?;
    let port = free_port();
    let text = format!(
        "foreground = yes\npid =\ndebug = err\nsocket = l:TCP_NODELAY=1\n\
         socket = r:TCP_NODELAY=1\n[redis]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{}\n\
         cert = {}\nkey = {}\nCAfile = {}\nverifyChain = yes\n",
        field.plain_port,
        field.files.server_cert.display(),
        field.files.server_key.display(),
        field.files.ca.display(),
    );
    let file = field.write("stunnel-tls.conf", &text);
    let process = field.start_process("stunnel-tls", &program, &[&file]);
    Some((process.await_port(port), port))
}

fn start_envoy(field: &Field, name: &str, filter: Value) -> Option<(Process, u16)> {
    let program = find_program("RESPGATE_BENCH_ENVOY", &["envoy"])?;
    let kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
    let tls = json!({
        "@type": kind,
        "require_client_certificate": true,
        "common_tls_context": {
            "tls_certificates": [{
                "certificate_chain": { "filename": field.files.server_cert },
                "private_key": { "filename": field.files.server_key },
            }],
            "validation_context": { "trusted_ca": { "filename": field.files.ca } },
        },
    });
    let chain = json!({
        "filters": [filter],
        "transport_socket": { "name": "envoy.transport_sockets.tls", "typed_config": tls },
    });
    Some(run_envoy(field, &program, name, &chain, field.plain_port, None))
}
