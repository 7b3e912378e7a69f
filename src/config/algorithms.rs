//! The algorithms that TLS may use, by their registered names.
//!
//! Owns: [`Algorithms`], [`TlsVersion`], how they are read. Never knows: cryptography, connections.

use super::error::ValueError;
use super::section::{Section, boolean, strings};
use super::tree::Node;

/// Empty lists mean all that respgate knows, in its own order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Algorithms {
    pub suites: Vec<CipherSuite>,
    pub groups: Vec<KeyExchange>,
    /// Only a key exchange that a quantum computer cannot undo.
    pub require_pq: bool,
}

/// The oldest version that may be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TlsVersion {
    #[default]
    V1_2,
    V1_3,
}

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($value:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($value,)+ }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$value,)+];

            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }
        }
    };
}

names! {
    /// Cipher suites, by their names at IANA.
    CipherSuite {
        Aes128 = "TLS_AES_128_GCM_SHA256",
        Aes256 = "TLS_AES_256_GCM_SHA384",
        Chacha20 = "TLS_CHACHA20_POLY1305_SHA256",
        EcdsaAes128 = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        EcdsaAes256 = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        EcdsaChacha20 = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        RsaAes128 = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        RsaAes256 = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        RsaChacha20 = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    }
}

names! {
    /// Groups for the key exchange, by their names at IANA.
    KeyExchange {
        X25519MlKem768 = "X25519MLKEM768",
        Secp256r1MlKem768 = "SecP256r1MLKEM768",
        X25519 = "x25519",
        Secp256r1 = "secp256r1",
        Secp384r1 = "secp384r1",
    }
}

impl CipherSuite {
    /// Whether it belongs to TLS 1.3.
    #[must_use]
    pub const fn is_1_3(self) -> bool {
        matches!(self, Self::Aes128 | Self::Aes256 | Self::Chacha20)
    }
}

impl KeyExchange {
    /// Whether a quantum computer cannot undo it.
    #[must_use]
    pub const fn is_pq(self) -> bool {
        matches!(self, Self::X25519MlKem768 | Self::Secp256r1MlKem768)
    }
}

pub(super) fn read(at: &Section<'_>, min_version: TlsVersion) -> Algorithms {
    let suites = |node: &Node| named(node, CipherSuite::ALL, CipherSuite::name);
    let groups = |node: &Node| named(node, KeyExchange::ALL, KeyExchange::name);
    let own = Algorithms {
        suites: at.get("cipher_suites", suites).unwrap_or_default(),
        groups: at.get("key_exchange", groups).unwrap_or_default(),
        require_pq: at.get("require_pq", boolean).unwrap_or(false),
    };
    let only_1_3 = min_version == TlsVersion::V1_3;
    if own.require_pq && !only_1_3 {
        let why = "TLS 1.2 has no key exchange that a quantum computer cannot undo";
        at.report("require_pq", ValueError::new(why).hint("add min_version = \"1.3\""));
    }
    if own.require_pq && !own.groups.is_empty() && !own.groups.iter().any(|group| group.is_pq()) {
        let why = "contradicts key_exchange, which has no such group";
        let hint = "add X25519MLKEM768 to key_exchange, or remove key_exchange";
        at.report("require_pq", ValueError::new(why).hint(hint));
    }
    if only_1_3 && !own.suites.is_empty() && !own.suites.iter().any(|suite| suite.is_1_3()) {
        let why = "none of them belongs to TLS 1.3, and min_version is \"1.3\"";
        at.report("cipher_suites", ValueError::new(why).hint("add TLS_AES_256_GCM_SHA384"));
    }
    own
}

/// Names of a list, without regard to case.
fn named<T: Copy>(
    node: &Node,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<Vec<T>, ValueError> {
    let find = |word: &String| {
        let known = all.iter().find(|one| name(**one).eq_ignore_ascii_case(word));
        known.copied().ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
            let wrong = format!("{} is not known here", super::quoting::quoted(word));
            ValueError::new(wrong).hint(format!("there are: {}", names.join(", ")))
        })
    };
    strings(node)?.iter().map(find).collect()
}
