//! How many files the process may open, and how many clients it therefore accepts.
//!
//! Owns: the limit of open files, raised at start; what is kept back from clients. Never knows: sockets.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::ClientLimits;

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

/// How many clients may be connected when `files` may be open and the pool may hold `pool` connections: a
/// client never takes the last files, without which the server, telemetry and a reload are out of reach
/// (Redis server.c `adjustOpenFilesLimit`). A quarter of the files is left to clients in any case.
fn clients_max(files: usize, pool: usize) -> usize {
    let kept = (OWN_FILES + pool).min(files / 4 * 3);
    files - kept
}

/// The limits of clients that are in force: no more clients than there are files for.
pub(super) fn within(files: Option<usize>, limits: &ClientLimits, pool: usize) -> ClientLimits {
    let wanted = limits.max_clients;
    let most = files.map_or(wanted, |files| clients_max(files, pool));
    if wanted > most {
        tracing::warn!(
            code = "CLI-E009",
            max_clients = most,
            configured = wanted,
            open_files = files,
            "fewer clients are accepted than limits.max_clients says: the process may not open enough files"
        );
    }
    ClientLimits { max_clients: wanted.min(most), ..limits.clone() }
}

#[cfg(test)]
mod tests {
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
        let limits = ClientLimits::default();
        assert_eq!(within(None, &limits, 256), limits);
        assert_eq!(within(Some(100_000), &limits, 256), limits);
        assert_eq!(within(Some(1024), &limits, 256).max_clients, 1024 - OWN_FILES - 256);
    }

    #[test]
    fn raise_reaches_the_hard_limit() {
        let files = raise();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
        assert_eq!(files, maximum.map(clamp));
    }
}
