//! Listening sockets that a service manager opened before the process began (systemd's socket activation,
//! sd_listen_fds(3)).
//!
//! Owns: [`Inherited`]. Never knows: what is served on them.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use listenfd::ListenFd;

use crate::config::ListenAddress;

/// The sockets of the environment that no listener has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    tcp: Vec<(SocketAddr, TcpListener)>,
    unix: Vec<(PathBuf, UnixListener)>,
}

impl Inherited {
    /// Takes every socket that `LISTEN_FDS` announces, and removes the announcement, so that no process
    /// started from here finds it.
    ///
    /// # Errors
    ///
    /// When one of them is neither a listening TCP socket nor a listening Unix socket with a path.
    pub(crate) fn take_from_environment() -> Result<Self, String> {
        let mut passed = ListenFd::from_env();
        let mut inherited = Self::default();
        for place in 0..passed.len() {
            if let Ok(Some(socket)) = passed.take_tcp_listener(place)
                && let Ok(address) = socket.local_addr()
            {
                inherited.tcp.push((address, socket));
            } else if let Ok(Some(socket)) = passed.take_unix_listener(place)
                && let Some(path) = path_of(&socket)
            {
                inherited.unix.push((path, socket));
            } else {
                return Err(format!(
                    "socket {} of LISTEN_FDS is neither a listening TCP socket nor a listening Unix \
                     socket with a path; use ListenStream= in the .socket unit",
                    place + 1
                ));
            }
        }
        Ok(inherited)
    }

    pub(super) fn take_tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = self.tcp.iter().position(|(own, _)| *own == address)?;
        Some(self.tcp.swap_remove(at).1)
    }

    pub(super) fn take_unix(&mut self, path: &std::path::Path) -> Option<UnixListener> {
        let at = self.unix.iter().position(|(own, _)| own == path)?;
        Some(self.unix.swap_remove(at).1)
    }

    /// The address of a socket that no listener of the configuration has taken.
    #[must_use]
    pub(crate) fn left_over(&self) -> Option<ListenAddress> {
        let tcp = self.tcp.first().map(|(address, _)| ListenAddress::Tcp(*address));
        tcp.or_else(|| self.unix.first().map(|(path, _)| ListenAddress::Unix(path.clone())))
    }
}

fn path_of(socket: &UnixListener) -> Option<PathBuf> {
    Some(socket.local_addr().ok()?.as_pathname()?.to_owned())
}
