//! Every check: its stable id, what it looks at, and what to do when it fails.
//!
//! Owns: [`CHECKS`]. Never knows: how a check is done.

/// What a check is about; one check may be about several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    Tls,
    Mtls,
    Auth,
    Acl,
    Commands,
    Namespace,
    Ttl,
    Network,
    Certs,
    Rotation,
    Audit,
}

impl Feature {
    pub const ALL: [Self; 11] = [
        Self::Tls,
        Self::Mtls,
        Self::Auth,
        Self::Acl,
        Self::Commands,
        Self::Namespace,
        Self::Ttl,
        Self::Network,
        Self::Certs,
        Self::Rotation,
        Self::Audit,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Mtls => "mtls",
            Self::Auth => "auth",
            Self::Acl => "acl",
            Self::Commands => "commands",
            Self::Namespace => "namespace",
            Self::Ttl => "ttl",
            Self::Network => "network",
            Self::Certs => "certs",
            Self::Rotation => "rotation",
            Self::Audit => "audit",
        }
    }
}

/// How often a check is worth its time; a profile includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    Daily,
    Weekly,
    Monthly,
}

impl Profile {
    pub const ALL: [Self; 3] = [Self::Daily, Self::Weekly, Self::Monthly];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }
}

/// What it means that a check does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Warn,
    Fail,
}

/// One check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Never changes its meaning.
    pub id: &'static str,
    pub features: &'static [Feature],
    /// What is true when it passes.
    pub title: &'static str,
    pub severity: Severity,
    pub profile: Profile,
    /// What is looked at.
    pub looks: &'static str,
    /// What to do when it does not pass.
    pub remedy: &'static str,
}

const fn check(
    id: &'static str,
    features: &'static [Feature],
    (severity, profile): (Severity, Profile),
    [title, looks, remedy]: [&'static str; 3],
) -> Check {
    Check { id, features, title, severity, profile, looks, remedy }
}

use Feature as F;
use Profile::{Daily, Monthly, Weekly};
use Severity::{Fail, Warn};

/// All checks, in the order in which they are reported.
#[rustfmt::skip]
pub const CHECKS: &[Check] = &[
    check("TLS-01", &[F::Tls, F::Network], (Fail, Daily), ["the server answers no plaintext",
        "PING in plaintext to upstream.address, and to the port that CONFIG GET port names, or else to 6379 and every --plaintext-port",
        "set port 0 and tls-port in redis.conf, and upstream.tls in respgate's configuration"]),
    check("TLS-02", &[F::Tls], (Fail, Monthly), ["the server refuses TLS 1.0 and 1.1",
        "a ClientHello of each of these versions, made by hand",
        "set tls-protocols \"TLSv1.2 TLSv1.3\" in redis.conf"]),
    check("TLS-03", &[F::Tls, F::Mtls], (Fail, Daily), ["the server refuses a connection without a client certificate",
        "a handshake without a certificate, and the answer to PING after it: in TLS 1.3 the refusal comes only then",
        "set tls-auth-clients yes in redis.conf"]),
    check("TLS-04", &[F::Tls, F::Mtls], (Fail, Weekly), ["the server refuses a client certificate of another CA",
        "a handshake with a certificate of a CA made for the occasion, and the answer to PING after it",
        "set tls-ca-cert-file in redis.conf to the CA of the clients alone, and no tls-ca-cert-dir with others"]),
    check("TLS-05", &[F::Tls, F::Certs], (Fail, Daily), ["the server's certificate is for the name that respgate expects",
        "the names of the certificate that the server shows, against upstream.tls.server_name or the host",
        "issue the server's certificate with this name in subjectAltName"]),
    check("TLS-06", &[F::Tls], (Warn, Monthly), ["the key exchange is safe against quantum computers (X25519MLKEM768)",
        "the group that the handshake agrees on",
        "run the server with OpenSSL 3.5 or later"]),
    check("TLS-07", &[F::Tls], (Warn, Monthly), ["the server supports TLS 1.3",
        "the version that the handshake agrees on",
        "add TLSv1.3 to tls-protocols in redis.conf"]),
    check("TLS-08", &[F::Tls], (Fail, Weekly), ["respgate checks the name of the server (verify = \"full\") or its key (\"pin\")",
        "upstream.tls.verify",
        "remove upstream.tls.verify; with a certificate that names no host, issue another one"]),
    check("CERT-01", &[F::Certs], (Fail, Daily), ["the client certificate is valid for more than a fifth of its lifetime",
        "the certificates of upstream.tls.cert",
        "renew it; see why it was not renewed at a third"]),
    check("CERT-02", &[F::Certs], (Fail, Daily), ["the server's certificate is valid for more than a fifth of its lifetime",
        "the certificate that the server shows",
        "renew it, and have the server load it (CONFIG SET tls-cert-file, or a restart)"]),
    check("CERT-03", &[F::Certs], (Fail, Monthly), ["keys and signatures are strong enough for TLS",
        "key and signature of the client's and the server's certificate: no RSA below 2048 bits, no SHA-1, no MD5",
        "issue certificates with ECDSA P-256 keys, signed with SHA-256"]),
    check("CERT-04", &[F::Certs], (Warn, Monthly), ["certificates are for one purpose each",
        "the extended key usage: clientAuth alone for the client, serverAuth alone for the server, no CA",
        "issue them with extendedKeyUsage=clientAuth, or serverAuth, and basicConstraints=CA:FALSE"]),
    check("CERT-05", &[F::Certs], (Warn, Monthly), ["certificates live at most 398 days",
        "the lifetime of the client's and the server's certificate",
        "issue certificates for days or months, and renew them automatically"]),
    check("CERT-06", &[F::Certs], (Fail, Weekly), ["only respgate's user and group can read the private key",
        "the mode of upstream.tls.key",
        "chmod 0600; in Kubernetes: defaultMode 0440 and securityContext.fsGroup"]),
    check("CERT-07", &[F::Certs], (Fail, Weekly), ["the certificates in use are not revoked",
        "the serial numbers of the client's and the server's certificate in every --crl FILE, whether the CA has signed the list, and whether it is out of date",
        "issue another certificate and install it, as deploy/docs/rotation.md describes; fetch the list of today from the CA"]),
    check("AUTH-01", &[F::Auth], (Fail, Daily), ["the server answers nothing without a login",
        "PING on a connection that has not logged in",
        "give the default user a password, or better: user default off"]),
    check("AUTH-02", &[F::Auth, F::Acl], (Fail, Weekly), ["the default user is off",
        "ACL LIST, where respgate's user may ask for it",
        "user default off, and a user for each application"]),
    check("AUTH-03", &[F::Auth, F::Acl], (Fail, Weekly), ["no user that is on needs no password",
        "nopass in ACL LIST, where respgate's user may ask for it",
        "resetpass and >PASSWORD for each of these users, or off"]),
    check("AUTH-04", &[F::Auth], (Fail, Weekly), ["respgate logs in as a user of its own",
        "upstream.auth.username",
        "create a user with the rules that respgate acl prints, and set upstream.auth.username and password_file"]),
    check("AUTH-05", &[F::Auth], (Fail, Weekly), ["only respgate's user and group can read the password",
        "the mode of upstream.auth.password_file; a password in the environment is shown by /proc and by docker inspect",
        "use upstream.auth.password_file with mode 0600 (or 0440 and a group)"]),
    check("ACL-01", &[F::Acl, F::Commands], (Fail, Daily), ["the server refuses dangerous commands to respgate's user",
        "ACL DRYRUN of each; nothing is run",
        "apply what respgate acl prints, as an administrator of the server"]),
    check("ACL-02", &[F::Acl, F::Namespace], (Fail, Daily), ["the server refuses keys of others to respgate's user",
        "ACL DRYRUN of GET of a key outside every policy",
        "give the user key patterns (~app1:*) instead of allkeys: apply what respgate acl prints"]),
    check("ACL-03", &[F::Acl], (Fail, Weekly), ["respgate's user does not have all commands (+@all)",
        "ACL LIST, where respgate's user may ask for it",
        "apply what respgate acl prints"]),
    check("ACL-04", &[F::Acl, F::Namespace], (Warn, Weekly), ["the server refuses channels of others to respgate's user",
        "ACL DRYRUN of PUBLISH to a channel outside every policy",
        "resetchannels and channel patterns (&app1:*): apply what respgate acl prints"]),
    check("ACL-05", &[F::Acl], (Warn, Weekly), ["the server's user has the rights of the policies and no others",
        "ACL LIST, compared as respgate acl --diff does",
        "apply what respgate acl prints"]),
    check("CMD-01", &[F::Commands], (Fail, Daily), ["the policies refuse dangerous commands",
        "each policy in use, asked as respgate explain does",
        "remove the rules that permit them; respgate explain names the rule"]),
    check("CMD-02", &[F::Commands], (Fail, Daily), ["respgate refuses dangerous commands to a client",
        "each queued in a MULTI that is discarded, through a running respgate; nothing is run",
        "see CMD-01; if that passes, the running respgate has another configuration: respgate reload or a restart"]),
    check("CMD-03", &[F::Commands], (Fail, Daily), ["the policies refuse what their rules do not permit",
        "mode and observe of each policy in use",
        "set mode = \"enforce\" and empty observe when the application is known"]),
    check("CMD-04", &[F::Commands], (Warn, Weekly), ["scripts cannot go beyond the policies",
        "scripts.mode of each policy in use, and whether its rules permit scripts",
        "set scripts.mode to \"deny\" or \"allowlist\", or take @scripting out of the rules"]),
    check("NS-01", &[F::Namespace], (Fail, Weekly), ["the policies bound the keys",
        "each policy in use: GET of a key that no application has",
        "set keys.prefix, or key patterns (~app1:*) in acl"]),
    check("NS-02", &[F::Namespace], (Fail, Weekly), ["no policy reaches into the prefix of another",
        "the prefixes of all policies",
        "choose prefixes of which none begins another, as with a separator: app1:"]),
    check("NS-03", &[F::Namespace], (Fail, Daily), ["a client cannot reach a key of others",
        "EXISTS of a key outside the policy, through a running respgate",
        "see NS-01; if that passes, the running respgate has another configuration"]),
    check("NS-04", &[F::Namespace], (Fail, Weekly), ["a client cannot learn about keys of others",
        "RANDOMKEY, DBSIZE and SCAN without a pattern, through a running respgate",
        "bound the keys (NS-01): then these are refused, or answer about the application's own keys"]),
    check("TTL-01", &[F::Ttl], (Warn, Monthly), ["keys without a time to live get one, or are refused",
        "ttl.on_missing of each policy in use",
        "set ttl.on_missing = \"inject\" and ttl.default, or \"reject\""]),
    check("TTL-02", &[F::Ttl], (Warn, Monthly), ["times to live have a maximum",
        "ttl.max of each policy in use",
        "set ttl.max"]),
    check("NET-01", &[F::Network], (Fail, Weekly), ["respgate listens where other machines cannot connect",
        "the addresses of the listeners and of telemetry",
        "listen on 127.0.0.1, ::1 or a Unix socket"]),
    check("NET-02", &[F::Network], (Fail, Weekly), ["Unix sockets are closed to other users",
        "listener.mode",
        "set mode = \"0660\" and group, or 0600"]),
    check("NET-03", &[F::Network], (Warn, Monthly), ["the server's protected mode is on",
        "CONFIG GET protected-mode, where respgate's user may ask for it",
        "set protected-mode yes in redis.conf"]),
    check("ROT-01", &[F::Rotation], (Warn, Weekly), ["new certificates and passwords are noticed at once",
        "a watch on the files of upstream.tls and upstream.auth",
        "let respgate's user read the directories of the files, and raise fs.inotify.max_user_instances and max_user_watches"]),
    check("ROT-02", &[F::Rotation], (Fail, Daily), ["a reload of this moment would be accepted",
        "the files of upstream.tls and upstream.auth, read as a reload reads them; and copies of them in a temporary directory, cut off, mixed up, expired, and with another CA (a handshake with the server)",
        "respgate doctor names the file and the fault"]),
    check("ROT-03", &[F::Rotation, F::Certs], (Warn, Weekly), ["the CA outlives the client certificate",
        "the ends of upstream.tls.ca and upstream.tls.cert",
        "put the CA's successor beside it into upstream.tls.ca and into the server's tls-ca-cert-file"]),
    check("ROT-04", &[F::Rotation], (Warn, Monthly), ["connections do not keep a replaced identity",
        "upstream.pool.pinned_grace",
        "set upstream.pool.pinned_grace to a time above zero"]),
    check("AUDIT-01", &[F::Audit], (Fail, Weekly), ["denials are logged",
        "telemetry.log_level",
        "set telemetry.log_level = \"info\""]),
    check("AUDIT-02", &[F::Audit], (Warn, Weekly), ["denials are counted where a monitor can read them",
        "telemetry.address",
        "set telemetry.address, and alert on respgate_commands_denied_total"]),
    check("AUDIT-03", &[F::Audit], (Fail, Weekly), ["there is an audit log",
        "the sinks of [audit]",
        "add [[audit.sink]] with type = \"file\" and a path, or type = \"syslog\" and an address"]),
    check("AUDIT-04", &[F::Audit, F::Commands], (Fail, Weekly), ["the audit log records dangerous commands that pass",
        "audit.sensitive, against each dangerous command that a policy in use permits",
        "add these commands, or @dangerous and @admin, to audit.sensitive"]),
    check("AUDIT-05", &[F::Audit], (Fail, Daily), ["the audit log is written",
        "the sinks of the running respgate, read at admin.socket like by respgate status",
        "free the disk or start the syslog server; respgate status shows what each sink fails with"]),
    check("AUDIT-06", &[F::Audit], (Fail, Weekly), ["no entry of the audit log was changed or removed",
        "the chain of each file sink, from the file that was rotated last on, as respgate audit verify checks it",
        "keep the files as evidence; respgate audit verify finds the first broken line of all files"]),
];
