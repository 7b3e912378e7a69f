//! How the kernel is to treat a socket to a server: when it gives up a way on which packets vanish.
//!
//! Owns: [`SocketOptions`]. Never knows: the peer, what is sent.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::base::limits;
use crate::config;

/// What is set on every connection to a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct SocketOptions {
    keepalive: Duration,
    /// Bytes that the server's kernel does not acknowledge for this long end the connection.
    unacknowledged: Duration,
}

impl SocketOptions {
    /// The kernel ends a connection no earlier than a command on it would end, and no earlier than a
    /// server that is silent is given up.
    pub(super) fn of(pool: &config::Pool) -> Self {
        let silence = pool.stall_timeout.saturating_add(pool.connect_timeout);
        Self { keepalive: pool.tcp_keepalive, unacknowledged: pool.command_timeout.max(silence) }
    }

    pub(super) fn apply(&self, socket: &TcpStream) -> std::io::Result<()> {
        socket.set_nodelay(true)?;
        let socket = SockRef::from(socket);
        socket.set_tcp_user_timeout(Some(self.unacknowledged))?;
        if self.keepalive.is_zero() {
            return Ok(());
        }
        let interval =
            (self.keepalive / limits::KEEPALIVE_PROBES).max(limits::KEEPALIVE_INTERVAL_MIN);
        let keepalive = TcpKeepalive::new()
            .with_time(self.keepalive)
            .with_interval(interval)
            .with_retries(limits::KEEPALIVE_PROBES);
        socket.set_tcp_keepalive(&keepalive)
    }
}
