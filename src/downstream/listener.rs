//! Where applications connect: bind, accept with patience, cap the number of clients.
//!
//! Owns: [`bind`], [`Listener`]. Never knows: sessions' rules.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use super::connection::Connection;
use super::shell::Shell;
use super::unix::{self, SocketFile};
use crate::base::live::Live;
use crate::config;
use crate::session::{Door, Gatehouse};
use crate::telemetry::{ClientRejection, ListenerKind};

/// How long accepting pauses when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A place where applications connect, bound and ready to accept.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    door: Live<Door>,
    gatehouse: Rc<Gatehouse>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, #[allow(dead_code, reason = "removed when dropped")] SocketFile),
}

/// Why a listener could not be bound.
#[derive(Debug)]
pub struct BindError {
    pub address: String,
    pub problem: String,
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.problem)
    }
}

impl std::error::Error for BindError {}

/// Binds one address. A Unix socket appears under its name only when it is ready, with its mode and
/// group; a file that a dead process left there is replaced, a living one's is not.
///
/// # Errors
///
/// When the address cannot be had.
pub async fn bind(settings: &config::Listener, door: Live<Door>) -> Result<Listener, BindError> {
    let (address, socket) = match &settings.address {
        config::ListenAddress::Tcp(address) => {
            let socket = TcpListener::bind(address)
                .await
                .map(Socket::Tcp)
                .map_err(|error| error.to_string());
            (address.to_string(), socket)
        }
        config::ListenAddress::Unix(path) => {
            let bound = unix::bind(path, settings.mode, settings.group.as_deref()).await;
            let socket = bound.map(|(socket, file)| Socket::Unix(socket, file));
            (format!("unix:{}", path.display()), socket)
        }
    };
    match socket {
        Ok(socket) => Ok(Listener { socket, door, gatehouse: Rc::default() }),
        Err(problem) => Err(BindError { address, problem }),
    }
}

impl Listener {
    /// The address in use, for TCP.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(..) => None,
        }
    }

    /// Accepts clients for ever; each is served by a task of its own.
    pub async fn accept(self, shell: Rc<Shell>) {
        loop {
            let accepted = match &self.socket {
                Socket::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                    let _ = stream.set_nodelay(true);
                    self.admit(stream, ListenerKind::Tcp, None, &shell);
                }),
                Socket::Unix(listener, _) => listener.accept().await.map(|(stream, _)| {
                    let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                    self.admit(stream, ListenerKind::Unix, uid, &shell);
                }),
            };
            if let Err(error) = accepted {
                tracing::warn!(code = "CLI-E002", %error, "a client could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    fn admit<S>(&self, stream: S, kind: ListenerKind, uid: Option<u32>, shell: &Rc<Shell>)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let shell = Rc::clone(shell);
        if shell.clients() >= shell.limits.get().max_clients {
            shell.meter.rejected(ClientRejection::MaxClients);
            tokio::task::spawn_local(refuse(stream));
            return;
        }
        shell.meter.accepted(kind);
        let (id, connection) = Connection::new(
            stream,
            Rc::clone(&shell),
            self.door.clone(),
            Rc::clone(&self.gatehouse),
            uid,
        );
        tokio::task::spawn_local(async move {
            let why = connection.serve().await;
            shell.dismiss(id);
            shell.meter.left(kind, why);
        });
    }
}

/// Redis networking.c `acceptCommonHandler`.
async fn refuse<S: AsyncWrite + Unpin>(mut stream: S) {
    let words = b"-ERR max number of clients reached\r\n";
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(words)).await;
}
