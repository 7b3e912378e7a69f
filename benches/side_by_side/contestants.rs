//! What is measured: the server itself, respgate, and the proxies it is compared with, each a process
//! with a configuration as its manual recommends.
//!
//! Owns: [`Field`], [`Contestant`]. Never knows: the requests they receive.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use respgate::internals::tls::dev_certs::{self, Files};
use serde_json::{Value, json};

use crate::load::Target;
use crate::process::{Process, find_program, free_port};

/// Contents of `[policy]`: the rules of the example configuration, none, and those that change
/// every request.
pub const RULES: &str = "acl = \"+@all -@dangerous ~app1:*\"";
const NO_RULES: &str = "acl = \"+@all ~* &*\"";
const REWRITE: &str = "acl = \"+@all -@dangerous ~* &*\"\n\
                       keys = { mode = \"rewrite\", prefix = \"app1:\" }\n\
                       scripts = { mode = \"declared-keys\" }";
/// The same, also inside scripts.
const GUARDED: &str = "acl = \"+@all -@dangerous ~* &*\"\n\
                       keys = { mode = \"rewrite\", prefix = \"app1:\" }";
const TTL: &str = "acl = \"+@all -@dangerous ~app1:*\"\n\
                   ttl = { default = \"1h\", max = \"1d\", on_missing = \"inject\" }";

/// Clients that a contestant must be able to hold.
pub const CLIENTS_MAX: usize = 4_000;

/// One way from the load generator to the server.
#[derive(Debug)]
pub struct Contestant {
    pub name: &'static str,
    pub target: Target,
    /// Its processes; none when the server is asked directly.
    pub processes: Vec<Process>,
}

/// The server and all proxies in front of it.
#[derive(Debug)]
pub struct Field {
    pub directory: tempfile::TempDir,
    pub redis: Process,
    pub plain_port: u16,
    pub tls_port: u16,
    pub files: Files,
    contestants: Vec<Contestant>,
}

impl Field {
    /// Starts the server, and every contestant that is installed and among the `wanted`.
    pub fn start(terminators: &[(&'static str, Start)], wanted: impl Fn(&str) -> bool) -> Self {
        let directory = tempfile::Builder::new().prefix("respgate-bench-").tempdir().unwrap();
        let now = respgate::internals::base::clock::wall();
        let names = ["localhost", "127.0.0.1"];
        let day = Duration::from_secs(86_400);
        let files = dev_certs::write_all(directory.path(), &names, "app1", now, day).unwrap();
        let (plain_port, tls_port) = (free_port(), free_port());
        let redis = start_redis(directory.path(), &files, plain_port, tls_port);
        let contestants = Vec::new();
        let mut field = Self { directory, redis, plain_port, tls_port, files, contestants };
        field.add_direct();
        if wanted("respgate") {
            let socket = field.path("respgate.sock");
            let (process, port) = field.start_respgate("respgate", RULES, Some(&socket));
            let target = Target::Unix(socket);
            field.add("respgate", Target::Tcp(port), vec![process]);
            field.add("respgate unix", target, Vec::new());
        }
        let other = std::env::var_os("RESPGATE_BENCH_OTHER");
        for (name, file, rules) in
            [("other build", "other", RULES), ("other guarded", "other-guarded", GUARDED)]
        {
            if let Some(other) = other.as_ref().filter(|_| wanted(name)) {
                let (process, port) = field.spawn_build(Path::new(other), file, rules, None);
                field.add(name, Target::Tcp(port), vec![process.await_port(port)]);
            }
        }
        for (name, file, rules) in [
            ("respgate no rules", "open", NO_RULES),
            ("respgate rewrite", "rewrite", REWRITE),
            ("respgate guarded", "guarded", GUARDED),
            ("respgate ttl", "ttl", TTL),
        ] {
            if wanted(name) {
                let (process, port) = field.start_respgate(file, rules, None);
                field.add(name, Target::Tcp(port), vec![process]);
            }
        }
        for (name, start) in PEERS {
            if !wanted(name) {
                continue;
            }
            match start(&field) {
                Some((process, port)) => field.add(name, Target::Tcp(port), vec![process]),
                None => eprintln!("skipped: {name} is not installed"),
            }
        }
        for &(name, start) in terminators.iter().filter(|(name, _)| wanted(name)) {
            match start(&field) {
                Some((process, port)) => {
                    let target = field.over_tls(port);
                    field.add(name, target, vec![process]);
                }
                None => eprintln!("skipped: {name} is not installed"),
            }
        }
        field
    }

    fn add(&mut self, name: &'static str, target: Target, processes: Vec<Process>) {
        self.contestants.push(Contestant { name, target, processes });
    }

    fn over_tls(&self, port: u16) -> Target {
        let Files { ca, client_cert: cert, client_key: key, .. } = self.files.clone();
        Target::Tls { port, ca, cert, key }
    }

    fn add_direct(&mut self) {
        self.add("direct TLS", self.over_tls(self.tls_port), Vec::new());
        self.add("direct plaintext", Target::Tcp(self.plain_port), Vec::new());
    }

    pub fn get(&self, name: &str) -> Option<&Contestant> {
        self.contestants.iter().find(|contestant| contestant.name == name)
    }

    /// The processes whose time counts as the proxy's.
    pub fn proxy_pids(&self, name: &str) -> Vec<u32> {
        // Both listeners belong to one process.
        let name = if name == "respgate unix" { "respgate" } else { name };
        self.get(name).map_or_else(Vec::new, |contestant| {
            contestant.processes.iter().map(Process::pid).collect()
        })
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    pub fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.path(file);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn start_process(&self, name: &str, program: &Path, args: &[&dyn AsRef<OsStr>]) -> Process {
        let args: Vec<&OsStr> = args.iter().map(|arg| arg.as_ref()).collect();
        Process::start(self.directory.path(), name, program.as_os_str(), &args)
    }

    /// A respgate in front of this server. It may not listen yet.
    pub fn spawn_respgate(&self, name: &str, rules: &str, socket: Option<&Path>) -> (Process, u16) {
        self.spawn_build(Path::new(env!("CARGO_BIN_EXE_respgate")), name, rules, socket)
    }

    fn spawn_build(
        &self,
        program: &Path,
        name: &str,
        rules: &str,
        socket: Option<&Path>,
    ) -> (Process, u16) {
        let port = free_port();
        let unix = socket.map_or_else(String::new, |path| {
            format!("[[listener]]\naddress = \"unix:{}\"\n", path.display())
        });
        let Files { ca, client_cert, client_key, .. } = &self.files;
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:{port}\"\n{unix}\n[upstream]\n\
             address = \"localhost:{}\"\ntls = {{ cert = {client_cert:?}, key = {client_key:?}, \
             ca = {ca:?} }}\n\n[policy]\n{rules}\n\n[telemetry]\naddress = \"127.0.0.1:{}\"\n",
            self.tls_port,
            free_port(),
        );
        let file = self.write(&format!("{name}.toml"), &text);
        (self.start_process(name, program, &[&"run", &"--config", &file]), port)
    }

    pub fn start_respgate(&self, name: &str, rules: &str, socket: Option<&Path>) -> (Process, u16) {
        let (process, port) = self.spawn_respgate(name, rules, socket);
        (process.await_port(port), port)
    }

    /// Certificate and key in one file, as some want them.
    pub fn bundle(&self, file: &str, certificate: &Path, key: &Path) -> PathBuf {
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        self.write(file, &(read(certificate) + &read(key)))
    }
}

fn start_redis(directory: &Path, files: &Files, plain_port: u16, tls_port: u16) -> Process {
    let program = find_program("RESPGATE_BENCH_REDIS", &["redis-server", "valkey-server"])
        .expect("redis-server is not installed");
    let (plain, tls) = (plain_port.to_string(), tls_port.to_string());
    let mut args: Vec<&OsStr> = Vec::new();
    let pairs: [(&str, &dyn AsRef<OsStr>); 9] = [
        ("--port", &plain),
        ("--tls-port", &tls),
        ("--bind", &"127.0.0.1"),
        ("--save", &""),
        ("--tls-auth-clients", &"yes"),
        ("--tls-ca-cert-file", &files.ca),
        ("--tls-cert-file", &files.server_cert),
        ("--tls-key-file", &files.server_key),
        ("--maxclients", &"15000"),
    ];
    for (name, value) in &pairs {
        args.extend([OsStr::new(*name), value.as_ref()]);
    }
    Process::start(directory, "redis", program.as_os_str(), &args).await_port(tls_port)
}

/// Starts one, if it is installed.
pub type Start = fn(&Field) -> Option<(Process, u16)>;

/// Peers, in the order of the table.
pub const PEERS: [(&str, Start); 5] = [
    ("haproxy", start_haproxy),
    ("nginx", start_nginx),
    ("envoy tcp_proxy", |field| start_envoy(field, "envoy-tcp", &envoy_tcp())),
    ("envoy redis_proxy", |field| start_envoy(field, "envoy-redis", &envoy_redis())),
    ("stunnel", start_stunnel),
];

/// Peers that carry bytes without looking into them.
pub const FORWARDERS: [&str; 4] = ["haproxy", "nginx", "envoy tcp_proxy", "stunnel"];

fn start_haproxy(field: &Field) -> Option<(Process, u16)> {
    let program = find_program("RESPGATE_BENCH_HAPROXY", &["haproxy"])?;
    let port = free_port();
    let text = format!(
        "global\n  maxconn {CLIENTS_MAX}\ndefaults\n  mode tcp\n  timeout connect 5s\n  \
         timeout client 1h\n  timeout server 1h\nlisten redis\n  bind 127.0.0.1:{port}\n  \
         server redis 127.0.0.1:{} ssl crt {} ca-file {} verify required verifyhost localhost\n",
        field.tls_port,
        field.bundle("client.pem", &field.files.client_cert, &field.files.client_key).display(),
        field.files.ca.display(),
    );
    let file = field.write("haproxy.cfg", &text);
    let process = field.start_process("haproxy", &program, &[&"-db", &"-f", &file]);
    Some((process.await_port(port), port))
}

fn start_nginx(field: &Field) -> Option<(Process, u16)> {
    let program = find_program("RESPGATE_BENCH_NGINX", &["nginx"])?;
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    if !Path::new(module).is_file() {
        return None;
    }
    let port = free_port();
    let Files { ca, client_cert, client_key, .. } = &field.files;
    let text = format!(
        "load_module {module};\ndaemon off;\nmaster_process off;\npid nginx.pid;\n\
         error_log nginx-error.log;\nevents {{ worker_connections {}; }}\n\
         stream {{ server {{\n  listen 127.0.0.1:{port};\n  proxy_pass 127.0.0.1:{};\n  \
         proxy_ssl on;\n  proxy_ssl_protocols TLSv1.2 TLSv1.3;\n  proxy_ssl_certificate {};\n  \
         proxy_ssl_certificate_key {};\n  proxy_ssl_trusted_certificate {};\n  \
         proxy_ssl_verify on;\n  proxy_ssl_name localhost;\n}} }}\n",
        CLIENTS_MAX * 2,
        field.tls_port,
        client_cert.display(),
        client_key.display(),
        ca.display(),
    );
    let file = field.write("nginx.conf", &text);
    let directory = field.directory.path();
    let process = field.start_process("nginx", &program, &[&"-p", &directory, &"-c", &file]);
    Some((process.await_port(port), port))
}

fn start_stunnel(field: &Field) -> Option<(Process, u16)> {
    let program = find_program("RESPGATE_BENCH_STUNNEL", &["stunnel4", "stunnel"])?;
    let port = free_port();
    let Files { ca, client_cert, client_key, .. } = &field.files;
    let text = format!(
        "foreground = yes\npid =\ndebug = err\nsocket = l:TCP_NODELAY=1\n\
         socket = r:TCP_NODELAY=1\n[redis]\nclient = yes\naccept = 127.0.0.1:{port}\n\
         connect = 127.0.0.1:{}\ncert = {}\nkey = {}\nCAfile = {}\nverifyChain = yes\n\
         checkHost = localhost\n",
        field.tls_port,
        client_cert.display(),
        client_key.display(),
        ca.display(),
    );
    let file = field.write("stunnel.conf", &text);
    let process = field.start_process("stunnel", &program, &[&file]);
    Some((process.await_port(port), port))
}

fn start_envoy(field: &Field, name: &str, filter: &Value) -> Option<(Process, u16)> {
    let program = find_program("RESPGATE_BENCH_ENVOY", &["envoy"])?;
    let Files { ca, client_cert, client_key, .. } = &field.files;
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": "localhost",
        "common_tls_context": {
            "tls_certificates": [{
                "certificate_chain": { "filename": client_cert },
                "private_key": { "filename": client_key },
            }],
            "validation_context": { "trusted_ca": { "filename": ca } },
        },
    });
    let socket = json!({ "name": "envoy.transport_sockets.tls", "typed_config": tls });
    let chain = json!({ "filters": [filter] });
    Some(run_envoy(field, &program, name, &chain, field.tls_port, Some(socket)))
}

/// An Envoy that serves with this filter chain what the server has on that port.
pub fn run_envoy(
    field: &Field,
    program: &Path,
    name: &str,
    chain: &Value,
    server_port: u16,
    socket: Option<Value>,
) -> (Process, u16) {
    let port = free_port();
    let address =
        |port: u16| json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
    let mut cluster = json!({
        "name": "redis",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": { "thresholds": [
            { "max_connections": CLIENTS_MAX, "max_pending_requests": CLIENTS_MAX }
        ] },
        "load_assignment": { "cluster_name": "redis", "endpoints": [
            { "lb_endpoints": [{ "endpoint": { "address": address(server_port) } }] }
        ] },
    });
    if let Some(socket) = socket {
        cluster["transport_socket"] = socket;
    }
    let config = json!({ "static_resources": {
        "listeners": [{ "address": address(port), "filter_chains": [chain] }],
        "clusters": [cluster],
    } });
    let file = field.write(&format!("{name}.json"), &config.to_string());
    let process = field.start_process(
        name,
        program,
        &[&"-c", &file, &"--concurrency", &"1", &"--disable-hot-restart", &"-l", &"error"],
    );
    (process.await_port(port), port)
}

pub fn envoy_tcp() -> Value {
    json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "redis",
            "cluster": "redis",
        },
    })
}

pub fn envoy_redis() -> Value {
    json!({
        "name": "envoy.filters.network.redis_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy",
            "stat_prefix": "redis",
            "settings": { "op_timeout": "5s" },
            "prefix_routes": { "catch_all_route": { "cluster": "redis" } },
        },
    })
}
