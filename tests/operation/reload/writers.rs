//! Every writer of certificate files with every content: what is good is applied, anything else is named,
//! counted and shown, and changes nothing.
//!
//! Owns: the writers, the contents, what follows of each. Never knows: how files are read.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, date_time_ymd};

use super::support::client::Target;
use super::support::pki::Pki;
use super::support::proxy;
use super::support::real_server::free_port;
use super::*;

/// What is written at once.
#[derive(Clone, Debug)]
struct Set {
    cert: String,
    key: String,
    ca: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// Swaps `..data` and removes what was there before.
    Kubelet,
    /// The same, of files that only owner and group may read.
    CertManager,
    /// Certificate and key in one file, renamed over; the authorities likewise, although they are the same.
    VaultOneTemplate,
    /// A file each, one some time after the other.
    VaultTwoTemplates,
    /// Truncates each file in place: certificate, key, authorities.
    SpiffeHelper,
    Copy,
    /// A link to a directory that is replaced by a link to another one, as a release is.
    Link,
    /// The directory is removed with everything in it, and made again.
    Remade,
    /// The files change where they come from; those that are mounted never do.
    SubPath,
}

impl Writer {
    /// Certificate, key and authorities, as the configuration names them.
    const fn names(self) -> [&'static str; 3] {
        match self {
            Self::VaultOneTemplate => ["client.pem", "client.pem", "ca.crt"],
            Self::Link => ["live/tls.crt", "live/tls.key", "live/ca.crt"],
            Self::Remade => ["own/tls.crt", "own/tls.key", "own/ca.crt"],
            _ => ["tls.crt", "tls.key", "ca.crt"],
        }
    }

    fn begin(self, files: &Path, set: &Set) {
        match self {
            Self::Kubelet | Self::CertManager => {
                for name in self.names() {
                    symlink(format!("..data/{name}"), files.join(name)).unwrap();
                }
                self.write(files, set, 0);
            }
            Self::SubPath => {
                let source = files.join("source");
                std::fs::create_dir(&source).unwrap();
                Self::Copy.write(&source, set, 0);
                for name in self.names() {
                    std::fs::hard_link(source.join(name), files.join(name)).unwrap();
                }
            }
            _ => self.write(files, set, 0),
        }
    }

    fn write(self, files: &Path, set: &Set, number: usize) {
        let Set { cert, key, ca } = set;
        let [cert_file, key_file, ca_file] = self.names().map(|name| files.join(name));
        match self {
            Self::Kubelet => swap(files, set, number, 0o644),
            Self::CertManager => swap(files, set, number, 0o440),
            Self::VaultOneTemplate => {
                rename_over(&cert_file, &format!("{cert}{key}"));
                rename_over(&ca_file, ca);
            }
            Self::VaultTwoTemplates => {
                rename_over(&cert_file, cert);
                std::thread::sleep(Duration::from_millis(400));
                rename_over(&key_file, key);
                rename_over(&ca_file, ca);
            }
            Self::SpiffeHelper => {
                for (file, text) in [(cert_file, cert), (key_file, key), (ca_file, ca)] {
                    let mut file = std::fs::File::create(file).unwrap();
                    std::thread::sleep(Duration::from_millis(30));
                    file.write_all(text.as_bytes()).unwrap();
                }
            }
            Self::Copy => {
                for (file, text) in [(cert_file, cert), (key_file, key), (ca_file, ca)] {
                    std::fs::write(file, text).unwrap();
                }
            }
            Self::Link => {
                let version = format!("v{number}");
                std::fs::create_dir(files.join(&version)).unwrap();
                Self::Copy.write(&files.join(&version), set, number);
                symlink(&version, files.join("next")).unwrap();
                std::fs::rename(files.join("next"), files.join("live")).unwrap();
            }
            Self::Remade => {
                let own = files.join("own");
                let _ = std::fs::remove_dir_all(&own);
                std::fs::create_dir(&own).unwrap();
                Self::Copy.write(&own, set, number);
            }
            Self::SubPath => {
                let source = files.join("source");
                for (name, text) in self.names().into_iter().zip([cert, key, ca]) {
                    rename_over(&source.join(name), text);
                }
            }
        }
    }
}

/// Swaps files as kubelet and the CSI drivers do: a new directory, one rename, and the old one is removed.
fn swap(files: &Path, set: &Set, number: usize, mode: u32) {
    let version = format!("..{number}");
    std::fs::create_dir(files.join(&version)).unwrap();
    for (name, text) in [("tls.crt", &set.cert), ("tls.key", &set.key), ("ca.crt", &set.ca)] {
        let file = files.join(&version).join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink(&version, files.join("..next")).unwrap();
    std::fs::rename(files.join("..next"), files.join("..data")).unwrap();
    if let Some(before) = number.checked_sub(1) {
        std::fs::remove_dir_all(files.join(format!("..{before}"))).unwrap();
    }
}

/// What follows of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Applied,
    Unchanged,
    /// With the reason that is counted, and the code that is logged.
    Rejected(&'static str, &'static str),
}

/// Every content, in order; each differs from the one before, but for what is only touched.
fn contents(pki: &Pki, stranger: &Pki) -> Vec<(&'static str, Set, Outcome)> {
    use Outcome::{Applied, Rejected, Unchanged};
    let ca = std::fs::read_to_string(pki.authority()).unwrap();
    let set = |(cert, key): (String, String)| Set { cert, key, ca: ca.clone() };
    let shaped = |shape: fn(&mut CertificateParams)| set(pki.issue_as("shaped", shape));
    let good = set(pki.issue("good", 2999));
    let torn = {
        let whole = set(pki.issue("torn", 2999));
        Set { cert: whole.cert[..whole.cert.len() / 2].to_owned(), ..whole }
    };
    let mismatched = Set { key: pki.issue("other", 2999).1, ..set(pki.issue("mismatched", 2999)) };
    let junk = Set { cert: "no certificate\n".to_owned(), ..good.clone() };
    let early = shaped(|params| params.not_before = date_time_ymd(2900, 1, 1));
    let wrong_usage =
        shaped(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let foreign = set(stranger.issue("foreign", 2999));
    let foreign_ca = Set {
        ca: std::fs::read_to_string(stranger.authority()).unwrap(),
        ..set(pki.issue("astray", 2999))
    };
    vec![
        ("torn", torn, Rejected("parse", "TLS-E00")),
        ("mismatched", mismatched, Rejected("key_mismatch", "TLS-E009")),
        ("junk", junk, Rejected("parse", "TLS-E00")),
        ("expired", set(pki.issue("expired", 2021)), Rejected("expired", "TLS-E011")),
        ("not yet valid", early, Rejected("not_yet_valid", "TLS-E012")),
        ("wrong usage", wrong_usage, Rejected("eku", "client")),
        ("untrusted certificate", foreign, Rejected("probe_failed", "TLS-E114")),
        ("untrusted authority", foreign_ca, Rejected("probe_failed", "TLS-E")),
        ("good", good.clone(), Applied),
        ("touched", good, Unchanged),
    ]
}

/// A respgate whose files have this writer.
struct Bench {
    writer: Writer,
    proxy: Proxy,
    files: PathBuf,
    socket: PathBuf,
}

impl Bench {
    fn start(writer: Writer, server: &Server) -> Self {
        let home = proxy::directory();
        let (files, socket) = (home.path().join("files"), home.path().join("admin.sock"));
        std::fs::create_dir(&files).unwrap();
        let pki = server.pki.as_ref().unwrap();
        let (cert, key) = pki.issue("first", 2999);
        let ca = std::fs::read_to_string(pki.authority()).unwrap();
        writer.begin(&files, &Set { cert, key, ca });
        let (port, telemetry) = (free_port(), free_port());
        let listener = proxy::listener(&Target::Tcp(port), "");
        let text = proxy::configuration(server, &listener, proxy::OPEN_POLICY, telemetry);
        let mut text = format!("{text}\n[admin]\nsocket = {socket:?}\n");
        for (name, own) in ["tls.crt", "tls.key", "ca.crt"].into_iter().zip(writer.names()) {
            let (mounted, own) = (pki.client(name), files.join(own));
            text = text.replace(mounted.to_str().unwrap(), own.to_str().unwrap());
        }
        let proxy = Proxy::configured(home, Target::Tcp(port), telemetry, &text);
        Self { writer, proxy, files, socket }
    }

    /// What `respgate status` reports of the last reload of the identity.
    fn status(&self) -> (String, String) {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_respgate"))
            .args(["status", "--json", "--socket", self.socket.to_str().unwrap()])
            .output()
            .unwrap();
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let parts = status["last_reload"]["parts"].as_array().cloned().unwrap_or_default();
        let own = parts.iter().find(|part| part["part"] == "tls_identity");
        let text =
            |name: &str| own.and_then(|part| part[name].as_str()).unwrap_or_default().to_owned();
        (text("result"), text("cause"))
    }

    /// Writes a content and waits for what must follow of it.
    fn apply(&self, server: &Server, number: usize, name: &str, set: &Set, outcome: Outcome) {
        let proxy = &self.proxy;
        let what = format!("{:?}: {name}", self.writer);
        let generation = proxy.metric(GENERATION);
        // What the server refused is tried again all the while.
        let refused = || {
            loop {
                let probes = || rejections(proxy, "tls_identity", "probe_failed");
                let (before, all, after) =
                    (probes(), attempts(proxy, "tls_identity", "rejected"), probes());
                if (after - before).abs() < 0.5 {
                    return all - after;
                }
            }
        };
        let (applied, rejected) = (attempts(proxy, "tls_identity", "applied"), refused());
        let unchanged = attempts(proxy, "tls_identity", "unchanged");
        let old = connections(server);
        match outcome {
            Outcome::Rejected(reason, code) => {
                let before = rejections(proxy, "tls_identity", reason);
                self.writer.write(&self.files, set, number);
                wait_until(&what, || rejections(proxy, "tls_identity", reason) > before);
                wait_until(&what, || self.status().0 == "rejected");
                let cause = self.status().1;
                assert!(cause.contains(code), "{what}: {cause}");
                let line =
                    proxy.await_log(&["REL-E001", "tls_identity", &cause[..cause.len().min(40)]]);
                assert!(!line.contains("PRIVATE"), "{what}: {line}");
            }
            Outcome::Unchanged => {
                self.writer.write(&self.files, set, number);
                wait_until(&what, || attempts(proxy, "tls_identity", "unchanged") > unchanged);
                wait_until(&what, || self.status().0 == "unchanged");
                assert!(old.iter().all(|id| connections(server).contains(id)), "{what}");
            }
            Outcome::Applied => {
                self.writer.write(&self.files, set, number);
                wait_until(&what, || attempts(proxy, "tls_identity", "applied") > applied);
                // A file that is written last, after all was read, is looked at once more.
                wait_until(&what, || ["applied", "unchanged"].contains(&self.status().0.as_str()));
                await_gone(server, &old);
            }
        }
        if !matches!(outcome, Outcome::Rejected(..)) {
            wait_until(&what, || (refused() - rejected).abs() < 0.5);
        }
        let next = generation + f64::from(u8::from(outcome == Outcome::Applied));
        assert!((proxy.metric(GENERATION) - next).abs() < 0.1, "{what}");
        serves(proxy);
    }
}

fn apply_all(writer: Writer) {
    let server = Server::mutual_tls(Brand::Redis);
    let bench = Bench::start(writer, &server);
    let stranger = tempfile::tempdir().unwrap();
    let stranger = Pki::new(stranger.path());
    serves(&bench.proxy);
    let contents = contents(server.pki.as_ref().unwrap(), &stranger);
    for (index, (name, set, outcome)) in contents.iter().enumerate() {
        bench.apply(&server, index + 1, name, set, *outcome);
    }
}

#[test]
fn kubelet_swaps_a_secret() {
    apply_all(Writer::Kubelet);
}

#[test]
fn cert_manager_swaps_files_that_few_may_read() {
    apply_all(Writer::CertManager);
}

#[test]
fn vault_agent_renders_one_template() {
    apply_all(Writer::VaultOneTemplate);
}

#[test]
fn vault_agent_renders_two_templates() {
    apply_all(Writer::VaultTwoTemplates);
}

#[test]
fn spiffe_helper_truncates_in_place() {
    apply_all(Writer::SpiffeHelper);
}

#[test]
fn files_are_copied_over() {
    apply_all(Writer::Copy);
}

#[test]
fn link_to_a_directory_is_replaced() {
    apply_all(Writer::Link);
}

#[test]
fn directory_is_removed_and_made_again() {
    apply_all(Writer::Remade);
}

/// Nothing changes where respgate reads: it goes on with what it has, and reports when that ends.
#[test]
fn subpath_never_changes() {
    let server = Server::mutual_tls(Brand::Redis);
    let bench = Bench::start(Writer::SubPath, &server);
    let stranger = tempfile::tempdir().unwrap();
    let stranger = Pki::new(stranger.path());
    let end = "respgate_tls_certificate_not_after_timestamp_seconds{role=\"client\"}";
    let before = bench.proxy.metric(end);
    for (index, (_, set, _)) in contents(server.pki.as_ref().unwrap(), &stranger).iter().enumerate()
    {
        bench.writer.write(&bench.files, set, index + 1);
    }
    let unchanged = attempts(&bench.proxy, "tls_identity", "unchanged");
    bench.proxy.hang_up();
    wait_until("it looks", || attempts(&bench.proxy, "tls_identity", "unchanged") > unchanged);
    assert_eq!(bench.status().0, "unchanged");
    assert!(attempts(&bench.proxy, "tls_identity", "rejected") < 0.5);
    assert!((bench.proxy.metric(GENERATION) - 1.0).abs() < 0.1);
    assert!((bench.proxy.metric(end) - before).abs() < 0.5 && before > 1e9);
    serves(&bench.proxy);
}
