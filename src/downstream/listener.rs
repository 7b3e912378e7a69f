//! Where applications connect: bind, accept with patience, cap the number of clients.
//!
//! Owns: [`bind`], [`Listener`]. Never knows: sessions' rules.

use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::connection::Connection;
use super::shell::Shell;
use crate::base::live::Live;
use crate::config;
use crate::session::Auth;
use crate::telemetry::{ClientRejection, ListenerKind};

/// How long accepting pauses when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A place where applications connect, bound and ready to accept.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    auth: Live<Auth>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, #[allow(dead_code, reason = "removed when dropped")] SocketFile),
}

/// The file of a Unix socket; removed when the listener goes.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
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
pub async fn bind(settings: &config::Listener, auth: Live<Auth>) -> Result<Listener, BindError> {
    let (address, socket) = match &settings.address {
        config::ListenAddress::Tcp(address) => {
            let socket = TcpListener::bind(address)
                .await
                .map(Socket::Tcp)
                .map_err(|error| error.to_string());
            (address.to_string(), socket)
        }
        config::ListenAddress::Unix(path) => {
            let socket = bind_unix(path, settings.mode, settings.group.as_deref()).await;
            (format!("unix:{}", path.display()), socket)
        }
    };
    match socket {
        Ok(socket) => Ok(Listener { socket, auth }),
        Err(problem) => Err(BindError { address, problem }),
    }
}

async fn bind_unix(path: &Path, mode: u32, group: Option<&str>) -> Result<Socket, String> {
    if UnixStream::connect(path).await.is_ok() {
        return Err("another process is listening there".to_owned());
    }
    if path.symlink_metadata().is_ok_and(|found| !found.file_type().is_socket()) {
        return Err("a file that is no socket lies there; move it away".to_owned());
    }
    let mut name = path.file_name().ok_or("the path names no file")?.to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let _ = std::fs::remove_file(&temporary);
    let listener = UnixListener::bind(&temporary).map_err(|error| error.to_string())?;
    let file = SocketFile(temporary);
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(&file.0, permissions).map_err(|error| format!("mode: {error}"))?;
    if let Some(group) = group {
        let gid = group_id(group).ok_or_else(|| format!("there is no group {group}"))?;
        chown(&file.0, None, Some(gid)).map_err(|error| format!("group {group}: {error}"))?;
    }
    std::fs::rename(&file.0, path).map_err(|error| error.to_string())?;
    std::mem::forget(file);
    Ok(Socket::Unix(listener, SocketFile(path.to_owned())))
}

/// A group's number, from its own digits or from `/etc/group`.
fn group_id(group: &str) -> Option<u32> {
    if let Ok(number) = group.parse() {
        return Some(number);
    }
    let text = std::fs::read_to_string("/etc/group").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok())?
    })
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
                    self.admit(stream, ListenerKind::Tcp, &shell);
                }),
                Socket::Unix(listener, _) => listener.accept().await.map(|(stream, _)| {
                    self.admit(stream, ListenerKind::Unix, &shell);
                }),
            };
            if let Err(error) = accepted {
                tracing::warn!(code = "CLI-E002", %error, "a client could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    fn admit<S>(&self, stream: S, kind: ListenerKind, shell: &Rc<Shell>)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let shell = Rc::clone(shell);
        if shell.clients() >= shell.limits.get().max_clients {
            shell.meter.rejected(ClientRejection::MaxClients);
            tokio::task::spawn_local(refuse(stream));
            return;
        }
        let auth = self.auth.get();
        shell.meter.accepted(kind);
        let (id, connection) = Connection::new(stream, Rc::clone(&shell), auth);
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
