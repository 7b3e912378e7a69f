//! Where applications connect: bind, accept with patience, cap the number of clients.
//!
//! Owns: [`bind`], [`Listener`]. Never knows: sessions' rules.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use super::connection::Connection;
use super::shell::Shell;
use super::unix::{self, SocketFile};
use crate::base::live::Live;
use crate::config;
use crate::session::{Door, Gatehouse, Peer};
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
    /// The last is what CLIENT LIST calls it.
    Unix(UnixListener, #[allow(dead_code, reason = "removed when dropped")] SocketFile, Box<str>),
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
            let socket = bound.map(|(socket, file)| {
                Socket::Unix(socket, file, format!("{}:0", path.display()).into())
            });
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
                Socket::Tcp(listener) => listener.accept().await.map(|(stream, peer)| {
                    let _ = stream.set_nodelay(true);
                    let local = stream.local_addr().unwrap_or(peer).to_string().into();
                    let (address, fd) = (peer.to_string().into(), stream.as_raw_fd());
                    let peer = Peer { address, local, is_unix: false, fd, uid: None };
                    self.admit(stream, ListenerKind::Tcp, peer, &shell);
                }),
                Socket::Unix(listener, _, path) => listener.accept().await.map(|(stream, _)| {
                    let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                    let (address, fd) = (path.clone(), stream.as_raw_fd());
                    let peer = Peer { local: path.clone(), address, is_unix: true, fd, uid };
                    self.admit(stream, ListenerKind::Unix, peer, &shell);
                }),
            };
            if let Err(error) = accepted {
                tracing::warn!(code = "CLI-E002", %error, "a client could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    fn admit<S>(&self, stream: S, kind: ListenerKind, peer: Peer, shell: &Rc<Shell>)
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
            peer,
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
