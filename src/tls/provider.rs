//! The cryptography in use: decided once, for every connection.
//!
//! Owns: the provider, the order of suites, the protocol versions. Never knows: files.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, cipher_suite as suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};

use crate::config::{Algorithms, CipherSuite, KeyExchange, TlsVersion};

/// All that is safe, in respgate's order: [`provider_of`] nothing in particular.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    provider_of(&Algorithms::default())
}

/// aws-lc-rs with AES-128-GCM first (the cheapest where the processor knows AES) and the hybrid
/// post-quantum group `X25519MLKEM768` first, with X25519 beside it in the same hello; of these, and in
/// their order, what is `wanted`.
#[must_use]
pub(crate) fn provider_of(wanted: &Algorithms) -> Arc<CryptoProvider> {
    let all = aws_lc_rs::default_provider();
    let cipher_suites = match wanted.suites.is_empty() {
        true => CipherSuite::ALL.iter().map(|name| suite_of(*name)).collect(),
        false => wanted.suites.iter().map(|name| suite_of(*name)).collect(),
    };
    let mut kx_groups: Vec<&'static dyn SupportedKxGroup> = match wanted.groups.is_empty() {
        true => all.kx_groups,
        false => wanted.groups.iter().map(|name| group_of(*name)).collect(),
    };
    if wanted.require_pq {
        let is_pq = [KeyExchange::X25519MlKem768, KeyExchange::Secp256r1MlKem768].map(group_of);
        kx_groups.retain(|group| is_pq.iter().any(|pq| pq.name() == group.name()));
    }
    Arc::new(CryptoProvider { cipher_suites, kx_groups, ..aws_lc_rs::default_provider() })
}

const fn suite_of(name: CipherSuite) -> SupportedCipherSuite {
    match name {
        CipherSuite::Aes128 => suite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::Aes256 => suite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::Chacha20 => suite::TLS13_CHACHA20_POLY1305_SHA256,
        CipherSuite::EcdsaAes128 => suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdsaAes256 => suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdsaChacha20 => suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::RsaAes128 => suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::RsaAes256 => suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::RsaChacha20 => suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    }
}

fn group_of(name: KeyExchange) -> &'static dyn SupportedKxGroup {
    match name {
        KeyExchange::X25519MlKem768 => kx_group::X25519MLKEM768,
        KeyExchange::Secp256r1MlKem768 => kx_group::SECP256R1MLKEM768,
        KeyExchange::X25519 => kx_group::X25519,
        KeyExchange::Secp256r1 => kx_group::SECP256R1,
        KeyExchange::Secp384r1 => kx_group::SECP384R1,
    }
}

/// The versions offered when nothing below `min` may be spoken.
#[must_use]
pub const fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match min {
        TlsVersion::V1_2 => FROM_1_2,
        TlsVersion::V1_3 => FROM_1_3,
    }
}

static FROM_1_2: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
static FROM_1_3: &[&SupportedProtocolVersion] = &[&version::TLS13];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cheap_suite_and_the_hybrid_group_come_first() {
        let provider = provider();
        assert_eq!(
            provider.cipher_suites[0].suite(),
            rustls::CipherSuite::TLS13_AES_128_GCM_SHA256
        );
        assert_eq!(provider.kx_groups[0].name(), rustls::NamedGroup::X25519MLKEM768);
        assert_eq!(
            provider.cipher_suites.len(),
            aws_lc_rs::default_provider().cipher_suites.len(),
            "no suite is lost or added"
        );
    }

    #[test]
    fn algorithms_are_those_that_are_named_under_their_names() {
        for name in CipherSuite::ALL {
            let named = Algorithms { suites: vec![*name], ..Algorithms::default() };
            let found = provider_of(&named).cipher_suites[0].suite();
            let text = format!("{found:?}").replace("TLS13", "TLS");
            assert_eq!(text, name.name());
        }
        for name in KeyExchange::ALL {
            let named = Algorithms { groups: vec![*name], ..Algorithms::default() };
            let groups = &provider_of(&named).kx_groups;
            assert_eq!(groups.len(), 1);
            assert!(format!("{:?}", groups[0].name()).eq_ignore_ascii_case(name.name()));
            let pq = Algorithms { require_pq: true, ..named };
            assert_eq!(provider_of(&pq).kx_groups.len(), usize::from(name.is_pq()));
        }
    }
}
