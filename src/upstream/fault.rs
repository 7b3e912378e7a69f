//! Faults between respgate and a server besides TLS: one table of codes, causes and fixes.
//!
//! Owns: [`Fault`]. Never knows: how a fault is found.

use crate::traffic::Unavailable;

/// Each way in which a connection does not come to be. The code of a fault never changes;
/// documentation and logs refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    NameUnknown,
    Refused,
    Unreachable,
    Forbidden,
    NotConnected,
    ResolveSilent,
    ConnectSilent,
    TlsSilent,
    LoginSilent,
    QuestionSilent,
    WrongPassword,
    LoginMissing,
    LoginDenied,
    LoginRejected,
    Loading,
    PrimaryDown,
    ProtectedMode,
    Full,
    WantsTls,
    NotRedis,
    NoProtocol,
    NoDatabase,
    ClosedAtLogin,
    ClosedEarly,
    NoCertificateUser,
    OtherUser,
    DefaultUser,
    Busy,
    Unready,
    LoginUnclear,
}

impl Fault {
    /// All of them, in the order of their codes.
    pub(crate) const ALL: [Self; 30] = [
        Self::NameUnknown,
        Self::Refused,
        Self::Unreachable,
        Self::Forbidden,
        Self::NotConnected,
        Self::ResolveSilent,
        Self::ConnectSilent,
        Self::TlsSilent,
        Self::LoginSilent,
        Self::QuestionSilent,
        Self::WrongPassword,
        Self::LoginMissing,
        Self::LoginDenied,
        Self::LoginRejected,
        Self::Loading,
        Self::PrimaryDown,
        Self::ProtectedMode,
        Self::Full,
        Self::WantsTls,
        Self::NotRedis,
        Self::NoProtocol,
        Self::NoDatabase,
        Self::ClosedAtLogin,
        Self::ClosedEarly,
        Self::NoCertificateUser,
        Self::OtherUser,
        Self::DefaultUser,
        Self::Busy,
        Self::Unready,
        Self::LoginUnclear,
    ];

    /// The stable name under which a fault is documented and logged.
    #[must_use]
    pub(crate) const fn code(self) -> &'static str {
        self.row().0
    }

    /// What clients, metrics and retries make of it.
    #[must_use]
    pub(crate) const fn what(self) -> Unavailable {
        self.row().1
    }

    /// What is wrong.
    #[must_use]
    pub(crate) const fn cause(self) -> &'static str {
        self.row().2
    }

    /// What a person does about it.
    #[must_use]
    pub(crate) const fn hint(self) -> &'static str {
        self.row().3
    }

    /// Code, kind, cause, fix.
    #[rustfmt::skip]
    #[allow(clippy::too_many_lines, reason = "a table")]
    const fn row(self) -> (&'static str, Unavailable, &'static str, &'static str) {
        use Unavailable as U;
        match self {
            Self::NameUnknown => ("UPS-E101", U::Resolve, "the name has no address",
                "check the name and this host's DNS; in Kubernetes: SERVICE.NAMESPACE.svc"),
            Self::Refused => ("UPS-E102", U::Connect, "connection refused",
                "is the server running, and is this its port?"),
            Self::Unreachable => ("UPS-E103", U::Connect, "no route to the server",
                "is there a route to it, and is it up?"),
            Self::Forbidden => ("UPS-E104", U::Connect, "permission denied: a firewall rule forbids the connection",
                "allow this host to connect to the server's port (in Kubernetes: a NetworkPolicy with egress to it)"),
            Self::NotConnected => ("UPS-E105", U::Connect, "no connection",
                "the line names the cause; check the network between this host and the server"),
            Self::ResolveSilent => ("UPS-E106", U::Timeout, "the name is not resolved",
                "is the DNS server reachable? the limit is upstream.pool.connect_timeout"),
            Self::ConnectSilent => ("UPS-E107", U::Timeout, "no answer to the connection",
                "is a firewall between? the limit is upstream.pool.connect_timeout"),
            Self::TlsSilent => ("UPS-E108", U::Timeout, "no answer to the TLS handshake",
                "is it the server's tls-port? the limit is upstream.pool.connect_timeout"),
            Self::LoginSilent => ("UPS-E109", U::Timeout, "no answer to the login",
                "is the server stopped or overloaded? without TLS: is it a TLS port?"),
            Self::QuestionSilent => ("UPS-E110", U::Timeout, "no answer to a command of respgate",
                "is the server stopped or overloaded?"),
            Self::WrongPassword => ("UPS-E111", U::Auth, "the server does not accept user name or password (WRONGPASS)",
                "compare [upstream.auth] with the server's ACL, and check that the user is on"),
            Self::LoginMissing => ("UPS-E112", U::Auth, "the server requires a login and none is configured (NOAUTH)",
                "set upstream.auth.password_file, password_env or password_command"),
            Self::LoginDenied => ("UPS-E113", U::Auth, "the server's ACL forbids the login itself (NOPERM)",
                "allow +auth and +hello for the user of [upstream.auth]"),
            Self::LoginRejected => ("UPS-E114", U::Auth, "the server does not accept the login (ERR)",
                "it may have no password at all (then remove [upstream.auth]), or know no user names (older than Redis 6)"),
            Self::Loading => ("UPS-E115", U::Loading, "the server reads its data after a start (LOADING)",
                "wait; INFO persistence of the server shows how far it is (loading_loaded_perc)"),
            Self::PrimaryDown => ("UPS-E116", U::Loading, "the server is a replica that has lost its primary (MASTERDOWN)",
                "start the primary, or connect to another server; INFO replication of the server shows which it follows"),
            Self::ProtectedMode => ("UPS-E117", U::Connect, "the server is in protected mode and refuses connections from other hosts (DENIED)",
                "give it a password or bind address"),
            Self::Full => ("UPS-E118", U::Connect, "the server has reached its maxclients",
                "raise it or open fewer connections"),
            Self::WantsTls => ("UPS-E119", U::Protocol, "the server expects TLS on this port, and upstream.insecure_plaintext = true means plaintext",
                "set upstream.tls instead, or use the server's plaintext port"),
            Self::NotRedis => ("UPS-E120", U::Protocol, "the server does not answer as Redis does",
                "check that the address is that of a Redis or Valkey, version 6 or later, and that nothing between changes the bytes"),
            Self::NoProtocol => ("UPS-E121", U::Protocol, "the server does not support this version of RESP (NOPROTO)",
                "use Redis 6 or later, or have applications use RESP2"),
            Self::NoDatabase => ("UPS-E122", U::Protocol, "the server refuses the database",
                "select another database, or raise the server's databases"),
            Self::ClosedAtLogin => ("UPS-E123", U::Connect, "the server closed the connection at the login",
                "it may have reached its maxclients, not accept the client certificate, or, without TLS, be a TLS port; its log has the reason"),
            Self::ClosedEarly => ("UPS-E124", U::Connect, "the server closed the connection before it answered",
                "the server's log has the reason: a restart, CLIENT KILL, a timeout"),
            Self::NoCertificateUser => ("UPS-E125", U::Auth, "the server takes the client certificate for no user (NOAUTH)",
                "let the server take users from certificates (tls-auth-clients-user CN), and give it a user with the name in the certificate"),
            Self::OtherUser => ("UPS-E126", U::Auth, "the server takes the client certificate for another user than upstream.auth.username",
                "compare the certificate's name (respgate certs inspect) with upstream.auth.username and the server's tls-auth-clients-user"),
            Self::DefaultUser => ("UPS-E127", U::Auth, "the server takes the client certificate for the user default",
                "give the server a user with the name in the certificate (tls-auth-clients-user CN), or set allow_default = true under [upstream.auth]"),
            Self::Busy => ("UPS-E128", U::Loading, "the server executes a script that takes long (BUSY)",
                "wait, or end the script: SCRIPT KILL, FUNCTION KILL"),
            Self::Unready => ("UPS-E129", U::Loading, "the server accepts no login in its present state (CLUSTERDOWN, TRYAGAIN, OOM, MISCONF, NOREPLICAS)",
                "wait; the server's log and its CLUSTER INFO, INFO memory, INFO persistence or INFO replication show the cause"),
            Self::LoginUnclear => ("UPS-E130", U::Protocol, "the server answers the login with an error that respgate does not know",
                "look the error up in the documentation of the server, or of the proxy or service in front of it, and in its log"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        let codes: Vec<&str> = Fault::ALL.iter().map(|fault| fault.code()).collect();
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
        for fault in Fault::ALL {
            assert!(!fault.hint().is_empty() && !fault.cause().ends_with('.'), "{fault:?}");
        }
    }
}
