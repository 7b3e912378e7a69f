//! The closed sets of label values, and a number for each value of one.
//!
//! Owns: [`Label`], every label enum, [`By`]. Never knows: which metric uses which set, when it counts.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Index;

use prometheus::proto::{LabelPair, Metric, MetricType};

use super::number::{Series, Sharded, pair, parts};
use crate::base::rule::Rule;

/// A label with a fixed set of values. Nothing a user sends can become one.
pub trait Label: Copy + fmt::Debug + 'static {
    /// The label's name in the exposition.
    const NAME: &'static str;
    /// Every value, in the order of [`Label::index`].
    const ALL: &'static [Self];
    /// The value's text in the exposition.
    fn label(self) -> &'static str;
    /// The position of the value in [`Label::ALL`].
    fn index(self) -> usize;
}

/// One `S` for each value of `L`, addressed by the value: `commands_total[Family::String].inc()`.
pub struct By<L, S> {
    series: Box<[S]>,
    label: PhantomData<fn(L)>,
}

impl<L: Label, S: Default> Default for By<L, S> {
    fn default() -> Self {
        Self { series: L::ALL.iter().map(|_| S::default()).collect(), label: PhantomData }
    }
}

impl<L: Label, S> Index<L> for By<L, S> {
    type Output = S;

    #[inline]
    #[allow(clippy::indexing_slicing, reason = "as many series as the enum has values")]
    fn index(&self, label: L) -> &S {
        &self.series[label.index()]
    }
}

impl<L: Label, S: Default> Sharded for By<L, S> {}

impl<L: Label, S: Series> Series for By<L, S> {
    const KIND: MetricType = S::KIND;

    fn collect(all: &[&Self], labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        for value in L::ALL {
            labels.push(pair(L::NAME, value.label()));
            S::collect(&parts(all, |by| &by[*value]), labels, out);
            labels.pop();
        }
    }
}

impl<L: Label, S: fmt::Debug> fmt::Debug for By<L, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(L::ALL.iter().zip(&self.series)).finish()
    }
}

macro_rules! labels {
    ($( $(#[doc = $doc:literal])+ $name:ident as $label:literal { $($value:ident = $text:literal,)+ } )+) => { $(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($value,)+ }

        impl Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$value,)+];

            fn label(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }

            #[inline]
            fn index(self) -> usize {
                self as usize
            }
        }
    )+ };
}

/// The kind of rule that refused.
impl Label for Rule {
    const NAME: &'static str = "rule";
    const ALL: &'static [Self] = &Self::ALL;

    fn label(self) -> &'static str {
        self.label()
    }

    #[inline]
    fn index(self) -> usize {
        self as usize
    }
}

labels! {
    /// What the process is doing.
    State as "state" {
        Starting = "starting", Ready = "ready", Degraded = "degraded", Draining = "draining",
    }

    /// How far the kernel holds the process to its files and ports.
    Landlock as "landlock" {
        Off = "off", Unsupported = "unsupported", Partial = "partial", Full = "full",
    }

    /// Where audit entries go.
    AuditSinkKind as "sink" { File = "file", Stdout = "stdout", Syslog = "syslog", }
    /// What became of an audit event, or of an attempt to write it.
    AuditResult as "result" { Written = "written", Dropped = "dropped", Failed = "failed", }

    /// What a reload replaces.
    Reload as "what" {
        TlsIdentity = "tls_identity", Listener = "tls_listener", Auth = "auth", Config = "config",
    }
    /// How a reload ended.
    ReloadResult as "result" { Applied = "applied", Unchanged = "unchanged", Rejected = "rejected", }
    /// Why a reload was rejected and the old version kept.
    ReloadRejection as "reason" {
        Io = "io", Parse = "parse", KeyMismatch = "key_mismatch", Expired = "expired",
        NotYetValid = "not_yet_valid", Untrusted = "untrusted", Eku = "eku",
        Unsupported = "unsupported", ProbeFailed = "probe_failed",
        InvalidConfig = "invalid_config",
    }

    /// Whose certificate.
    CertificateRole as "role" {
        Client = "client", TrustAnchor = "trust_anchor", UpstreamPeer = "upstream_peer",
        Listener = "listener", ClientCa = "client_ca",
    }
    /// The peer of a TLS connection.
    TlsSide as "side" { Upstream = "upstream", Listener = "listener", }
    /// How a TLS handshake ended.
    HandshakeResult as "result" { Full = "full", Resumed = "resumed", Failed = "failed", }
    /// Why a TLS handshake failed.
    HandshakeFailure as "reason" {
        Plaintext = "plaintext", Alert = "alert", Overload = "overload",
        Expired = "expired", UnknownCa = "unknown_ca", BadName = "bad_name",
        CertRequired = "cert_required", Revoked = "revoked", Version = "version",
        UnsupportedCert = "unsupported_cert", Pin = "pin", Timeout = "timeout", Io = "io",
        Blocked = "blocked", Other = "other",
    }

    /// How an application is connected.
    ListenerKind as "listener" { Tcp = "tcp", Tls = "tls", Unix = "unix", }
    /// Why an application's connection was not served.
    ClientRejection as "reason" { MaxClients = "max_clients", }
    /// Why an application's connection ended.
    ClientDisconnect as "reason" {
        Client = "client", Idle = "idle", ProtocolError = "protocol_error",
        OutputLimit = "output_limit", Auth = "auth", Drain = "drain",
        UpstreamLost = "upstream_lost", Reset = "reset", Rotation = "rotation",
        Killed = "killed", Blocked = "blocked", MemoryBudget = "memory_budget",
        LoginTimeout = "login_timeout", Stalled = "stalled",
        CertificateExpired = "certificate_expired", CertificateRefused = "certificate_refused",
    }
    /// What was wrong with an application's bytes.
    ProtocolFault as "kind" {
        Resp = "resp", TooLarge = "too_large", HttpSmuggling = "http_smuggling", Inline = "inline",
    }
    /// How an application's `AUTH` ended.
    ClientAuthResult as "result" { Ok = "ok", Failed = "failed", }
    /// Why a client holds a connection to the server of its own.
    PinCause as "cause" {
        Multi = "multi", Subscribe = "subscribe", Blocking = "blocking", Watch = "watch",
        Monitor = "monitor", Tracking = "tracking", Large = "large", Session = "session",
        Release = "release", Replication = "replication",
    }

    /// What kind of data a command works on.
    Family as "family" {
        String = "string", Hash = "hash", List = "list", Set = "set", Zset = "zset",
        Stream = "stream", Bitmap = "bitmap", Geo = "geo", Hll = "hll", Generic = "generic",
        Pubsub = "pubsub", Scripting = "scripting", Tx = "tx", Connection = "connection",
        Server = "server", Cluster = "cluster", Other = "other",
    }
    /// How a command was answered.
    ReplyResult as "result" {
        Ok = "ok", RedisError = "redis_error", Denied = "denied", Timeout = "timeout",
        Unavailable = "unavailable", Canceled = "canceled",
    }
    /// How long a command may reasonably take.
    CommandClass as "class" {
        Read = "read", Write = "write", Blocking = "blocking", Other = "other",
    }
    /// What a connection to the server is doing.
    UpstreamState as "state" {
        Shared = "shared", PinnedIdle = "pinned_idle", PinnedLeased = "pinned_leased",
        Connecting = "connecting", Draining = "draining",
    }
    /// How an attempt to connect to the server ended.
    ConnectResult as "result" {
        Ok = "ok", Dns = "dns", Tcp = "tcp", Tls = "tls", Auth = "auth", Timeout = "timeout",
        Protocol = "protocol", Loading = "loading",
    }
    /// The steps of connecting.
    ConnectPhase as "phase" { Dns = "dns", Tcp = "tcp", Tls = "tls", Auth = "auth", }
    /// Why a connection to the server ended.
    UpstreamDisconnect as "reason" {
        Eof = "eof", Reset = "reset", Timeout = "timeout", Health = "health",
        Rotation = "rotation", MaxAge = "max_age", Idle = "idle", Protocol = "protocol",
        Dirty = "dirty", ClientLeft = "client_left", Failover = "failover",
        Defect = "defect",
    }
    /// Whether the server may be dialed: by all, by none, by one attempt that decides.
    Circuit as "state" { Closed = "closed", Open = "open", HalfOpen = "half_open", }
    /// How a health check ended. Any reply passes the check.
    HealthResult as "result" { Ok = "ok", Failed = "failed", }
    /// Error codes that report a state of the server.
    ErrorCode as "code" {
        Readonly = "READONLY", Loading = "LOADING", Oom = "OOM", Masterdown = "MASTERDOWN",
        Clusterdown = "CLUSTERDOWN", Noauth = "NOAUTH", Noperm = "NOPERM",
        Wrongpass = "WRONGPASS", Busy = "BUSY", Tryagain = "TRYAGAIN", Noscript = "NOSCRIPT",
        Other = "other",
    }
    /// How a series of retries ended.
    RetryResult as "result" { Ok = "ok", Exhausted = "exhausted", Budget = "budget", }
    /// Why no script can be guarded on the server.
    ScriptGuardFailure as "reason" {
        Unlisted = "globals_unknown", Unprotected = "globals_unprotected", Escaped = "escape",
    }
    /// What is answered while the server cannot be reached.
    DegradedReply as "mode" { Miss = "miss", Error = "error", }
    /// How respgate's own authentication to the server ended.
    UpstreamAuthResult as "result" {
        Ok = "ok", Wrongpass = "wrongpass", Noperm = "noperm", Other = "other",
    }

    /// What was asked of the telemetry server, or of the admin server: a verb that shows something or
    /// one that changes something.
    Endpoint as "endpoint" {
        Metrics = "metrics", Livez = "livez", Readyz = "readyz", Startupz = "startupz",
        Upstream = "upstream", Query = "query", Change = "change", Other = "other",
    }
    /// What an operator has blocked.
    Blocked as "what" { Command = "command", User = "user", Listener = "listener", Uid = "uid",
        Certificate = "certificate", }
    /// The class of an HTTP status.
    CodeClass as "code_class" { Success = "2xx", Client = "4xx", Server = "5xx", }
}

impl HandshakeFailure {
    /// The value with this text; `other` when there is none.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let known = Self::ALL.iter().find(|reason| reason.label() == text);
        known.copied().unwrap_or(Self::Other)
    }
}

impl ErrorCode {
    /// The code of an error reply, taken from its first word.
    #[must_use]
    pub fn of(word: &[u8]) -> Self {
        let known = Self::ALL.iter().find(|code| code.label().as_bytes() == word);
        known.copied().unwrap_or(Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::super::number::Counter;
    use super::*;

    #[test]
    fn every_value_has_its_own_place_and_text() {
        for (position, family) in Family::ALL.iter().enumerate() {
            assert_eq!(family.index(), position);
        }
        let by = By::<Family, Counter>::default();
        by[Family::Other].add(3);
        by[Family::String].inc();
        let counts: Vec<u64> = Family::ALL.iter().map(|f| by[*f].get()).collect();
        assert_eq!((counts[0], counts[16], counts.iter().sum::<u64>()), (1, 3, 4));
        assert!(format!("{by:?}").contains("Other: 3"));
    }

    #[test]
    fn labels_nest() {
        let by = By::<Reload, By<ReloadResult, Counter>>::default();
        by[Reload::Auth][ReloadResult::Rejected].inc();
        let mut out = Vec::new();
        Series::collect(&[&by], &mut Vec::new(), &mut out);
        let shown: Vec<String> = out
            .iter()
            .filter(|m| m.get_counter().get_value() > 0.0)
            .flat_map(|m| m.get_label().iter().map(|l| format!("{}={}", l.name(), l.value())))
            .collect();
        assert_eq!(
            (out.len(), shown),
            (12, vec!["what=auth".to_owned(), "result=rejected".to_owned()])
        );
    }

    #[test]
    fn error_codes_are_whole_words() {
        assert_eq!(ErrorCode::of(b"OOM"), ErrorCode::Oom);
        for word in [&b"oom"[..], b"OO", b"OOMX", b"", b"other", b"ERR"] {
            assert_eq!(ErrorCode::of(word), ErrorCode::Other, "{word:?}");
        }
    }
}
