//! Ways of making certificates that are in many tutorials and do not work, recognised by their traces.
//!
//! Owns: [`Recipe`], what to type instead. Never knows: files, connections.

use super::certificate::CertificateFacts;

/// One such way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recipe {
    /// `openssl x509 -req` without extensions.
    VersionOne,
    /// A certificate of version 3 whose only name is the common name.
    CommonNameOnly,
    /// `openssl req -x509`: one certificate that is authority and server.
    AuthorityAsLeaf,
    /// `utils/gen-test-certs.sh` of Redis.
    RedisTestScript,
}

impl Recipe {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::VersionOne, Self::CommonNameOnly, Self::AuthorityAsLeaf, Self::RedisTestScript];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::VersionOne => "version-1-certificate",
            Self::CommonNameOnly => "common-name-only",
            Self::AuthorityAsLeaf => "ca-as-leaf",
            Self::RedisTestScript => "redis-gen-test-certs",
        }
    }

    /// How such a certificate comes about, and why it does not work.
    #[must_use]
    pub const fn cause(self) -> &'static str {
        match self {
            Self::VersionOne => {
                "made by openssl x509 -req without -extfile: X.509 version 1 has no extensions, so it names no host"
            }
            Self::CommonNameOnly => {
                "made with -subj /CN=HOST and no subjectAltName: TLS clients do not look at the common name"
            }
            Self::AuthorityAsLeaf => {
                "made by openssl req -x509: it is a certificate authority (CA:TRUE), and no certificate for a server"
            }
            Self::RedisTestScript => {
                "made by utils/gen-test-certs.sh of Redis: its certificates have no subjectAltName"
            }
        }
    }

    /// What to do instead.
    #[must_use]
    pub const fn instead(self) -> &'static str {
        match self {
            Self::VersionOne | Self::CommonNameOnly | Self::RedisTestScript => {
                "sign it again with extensions: openssl x509 -req -in SERVER.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -out server.crt -extfile <(printf 'subjectAltName=DNS:HOST\\nextendedKeyUsage=serverAuth\\nbasicConstraints=CA:FALSE'); for development: respgate certs dev DIR"
            }
            Self::AuthorityAsLeaf => {
                "keep it as the CA and sign a certificate for the server with it: openssl x509 -req -in SERVER.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -out server.crt -extfile <(printf 'subjectAltName=DNS:HOST\\nextendedKeyUsage=serverAuth\\nbasicConstraints=CA:FALSE'); for development: respgate certs dev DIR"
            }
        }
    }

    /// The recipes that a certificate shows when it is used by a server.
    #[must_use]
    pub fn of(certificate: &CertificateFacts) -> Vec<Self> {
        let subject_has = |text| certificate.subject.contains(text);
        let leaf = !certificate.is_ca();
        let nameless = !certificate.names_a_host();
        let shown = [
            (certificate.version < 3, Self::VersionOne),
            // A certificate for clients needs no names of hosts.
            (
                certificate.version >= 3 && leaf && nameless && certificate.permits("serverAuth"),
                Self::CommonNameOnly,
            ),
            // A CA that can do nothing but sign was not meant as anything else.
            (
                !leaf
                    && certificate.is_self_issued()
                    && certificate.has_usage(&["digitalSignature"]),
                Self::AuthorityAsLeaf,
            ),
            (subject_has("O=Redis Test") && leaf && nameless, Self::RedisTestScript),
        ];
        shown.into_iter().filter_map(|(is, recipe)| is.then_some(recipe)).collect()
    }
}
