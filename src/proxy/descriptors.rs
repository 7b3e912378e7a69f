//! How many files the process may open, and how many clients it therefore accepts.
//!
//! Owns: the limit of open files, raised at start; what is kept back from clients. Never knows: sockets.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{ClientLimits, Config};

/// Files that are no connection of a client or of the pool: shared connections, telemetry and admin
/// connections, logs, audit files, watches, files that are read again.
const OWN_FILES: usize = 64 + 64 + 32 + 32;

/// Raises the limit of open files as far as the system permits. Returns the limit; `None` when there is
/// none.
pub(super) fn raise() -> Option<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current.map(clamp);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.map(clamp),
        Err(_) => current.map(clamp),
    }
}

fn clamp(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Connections of this configuration that are no clients: those of the pool, and TLS handshakes in progress.
fn connections(config: &Config) -> usize {
    let handshakes =
        config.listeners.iter().filter_map(|listener| Some(listener.tls.as_ref()?.max_handshakes));
    handshakes.fold(config.upstream.pool.max_connections, usize::saturating_add)
}

/// How many clients may be connected when `files` may be open and `others` are kept for connections that are no
/// clients: a client never takes the last files, without which the server, telemetry and a reload are out of reach
/// (Redis server.c `adjustOpenFilesLimit`). A quarter of the files is left to clients in any case.
fn clients_max(files: usize, others: usize) -> usize {
    let kept = OWN_FILES.saturating_add(others).min(files / 4 * 3);
    files - kept
}

/// The limits of clients that are in force: no more clients than there are files for.
pub(super) fn within(files: Option<usize>, config: &Config) -> ClientLimits {
    let (limits, others) = (&config.limits, connections(config));
    let wanted = limits.max_clients;
    let most = files.map_or(wanted, |files| clients_max(files, others));
    if wanted > most {
        tracing::warn!(
            code = "CLI-E009",
            max_clients = most,
            configured = wanted,
            open_files = files,
            "fewer clients are accepted than limits.max_clients: the process may not open enough files"
        );
    }
    ClientLimits { max_clients: wanted.min(most), ..limits.clone() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    #[test]
    fn clients_never_take_the_last_files() {
        assert_eq!(clients_max(1_000_000, 256), 1_000_000 - OWN_FILES - 256);
        assert_eq!(clients_max(1024, 256), 1024 - OWN_FILES - 256);
        for files in [1, 4, 64, 200, 500] {
            let clients = clients_max(files, 256);
            assert!((files / 4..=files).contains(&clients), "{files} files, {clients} clients");
        }
    }

    #[test]
    fn max_clients_is_lowered_to_the_files_and_never_raised() {
        let parsed = |listener: &str| {
            let upstream = "[upstream]\naddress = \"127.0.0.1:2\"\ninsecure_plaintext = true\n";
            let text = format!("[[listener]]\naddress = \"127.0.0.1:1\"\n{listener}{upstream}");
            crate::config::parse(&text, "test", []).unwrap()
        };
        let config = parsed("");
        let left = 2048 - OWN_FILES - config.upstream.pool.max_connections;
        assert_eq!(within(None, &config), config.limits);
        assert_eq!(within(Some(100_000), &config), config.limits);
        assert_eq!(within(Some(2048), &config).max_clients, left);
        let tls =
            "tls = { cert = \"/c\", key = \"/k\", client_auth = \"off\", max_handshakes = 300 }\n";
        assert_eq!(within(Some(2048), &parsed(tls)).max_clients, left - 300);
    }

    #[test]
    fn raise_reaches_the_hard_limit() {
        let files = raise();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
        assert_eq!(files, maximum.map(clamp));
    }
}
