//! Where applications connect: bind, accept with patience, cap the number of clients.
//!
//! Owns: [`bind`], [`Listener`]. Never knows: sessions' rules.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::client_stream::ClientStream;
use super::client_task::ClientTask;
use super::connection::Connection;
use super::handshake_thread::HandshakeThread;
use super::handshakes::{Established, Handshakes};
use super::holder::{Holder, holder};
use super::inherited::Inherited;
use super::metrics::Place;
use super::origin::origin_of;
use super::unix::{self, SocketFile};
use super::worker::Worker;
use crate::base::clock;
use crate::base::live::Live;
use crate::base::{client_text, limits};
use crate::config;
use crate::session::{LimiterRegistry, ListenerAccess, Peer, PeerIdentity};
use crate::telemetry::{ClientRejection, ListenerKind};
use crate::tls::{Fault, ListenerStore, TlsError};

/// A place where applications connect, bound and ready to accept.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
    /// `None`: plaintext.
    tls: Option<Rc<Handshakes>>,
    access: Live<ListenerAccess>,
    limiter_registry: LimiterRegistry,
    /// The address as the configuration has it.
    address: Arc<str>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    /// The file is respgate's own unless the socket is inherited; the last is what CLIENT LIST calls it.
    Unix(
        UnixListener,
        #[allow(dead_code, reason = "removed when dropped")] Option<SocketFile>,
        Box<str>,
    ),
}

/// Why a listener could not be bound.
#[derive(Debug)]
pub(crate) struct BindError {
    pub address: String,
    pub problem: String,
    /// What to do, where it is known.
    pub hint: Option<String>,
}

impl BindError {
    /// Why a TCP address cannot be bound, for a listener or another server of ours.
    #[must_use]
    pub(crate) fn tcp(address: SocketAddr, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as E;
        #[allow(clippy::wildcard_enum_match_arm, reason = "others add variants to their enums")]
        let (problem, hint) = match error.kind() {
            E::AddrInUse => in_use(address),
            E::AddrNotAvailable => (
                "no interface of this host has the address".to_owned(),
                Some("choose an address of this host, as shown by: ip address".to_owned()),
            ),
            E::PermissionDenied => (
                "permission denied".to_owned(),
                Some("choose a port from 1024 on, or grant CAP_NET_BIND_SERVICE".to_owned()),
            ),
            kind => (kind.to_string(), None),
        };
        Self { address: address.to_string(), problem, hint }
    }
}

/// The process that has the address, and what to do about it.
fn in_use(address: SocketAddr) -> (String, Option<String>) {
    let port = address.port();
    match holder(address) {
        Some(Holder { pid, program }) if program == "respgate" => (
            format!("the address is in use by another respgate (process {pid})"),
            Some(format!(
                "end it with: kill {pid}; while it drains its clients (at most drain.max) it keeps \
                 the address"
            )),
        ),
        Some(Holder { pid, program }) => (
            format!("the address is in use by {program} (process {pid})"),
            Some("end that process, or choose another port".to_owned()),
        ),
        None => (
            "the address is in use by a process that respgate cannot see".to_owned(),
            Some(format!(
                "find the process with: ss -ltnp 'sport = :{port}'; or choose another port"
            )),
        ),
    }
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.problem)
    }
}

impl std::error::Error for BindError {}

/// Binds one address. A Unix socket appears under its name only when it is ready, with its mode and
/// group; a file that a dead process left there is replaced, a living one's is not. A socket with this
/// address that was inherited is used as it is.
///
/// # Errors
///
/// When the address cannot be had.
pub(crate) async fn bind(
    settings: &config::Listener,
    access: Live<ListenerAccess>,
    tls: Option<(ListenerStore, Rc<HandshakeThread>)>,
    inherited: &mut Inherited,
) -> Result<Listener, BindError> {
    let socket = match &settings.address {
        config::ListenAddress::Tcp(address) => {
            let bound = match inherited.take_tcp(*address) {
                Some(socket) => adopt(socket),
                None => TcpListener::bind(address).await.and_then(|socket| {
                    SockRef::from(&socket).listen(limits::LISTEN_BACKLOG)?;
                    Ok(socket)
                }),
            };
            bound.map(Socket::Tcp).map_err(|error| BindError::tcp(*address, &error))
        }
        config::ListenAddress::Unix(path) => {
            let bound = match inherited.take_unix(path) {
                Some(socket) => adopt_unix(socket)
                    .map(|socket| (socket, None))
                    .map_err(|error| error.to_string()),
                None => unix::bind(path, settings.mode, settings.group.as_deref())
                    .await
                    .map(|(socket, file)| (socket, Some(file))),
            };
            let bound = bound.map(|(socket, file)| {
                Socket::Unix(socket, file, format!("{}:0", path.display()).into())
            });
            bound.map_err(|problem| {
                let address = format!("unix:{}", path.display());
                let hint = (problem == unix::OTHER_PROCESS)
                    .then(|| format!("find the process with: ss -lxp src '{}'", path.display()));
                BindError { address, problem, hint }
            })
        }
    };
    let address = settings.address.to_string().into();
    let tls = tls.map(|(store, thread)| Handshakes::new(store, thread));
    Ok(Listener {
        socket: socket?,
        tls,
        access,
        limiter_registry: LimiterRegistry::default(),
        address,
    })
}

fn adopt(socket: std::net::TcpListener) -> std::io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

fn adopt_unix(socket: std::os::unix::net::UnixListener) -> std::io::Result<UnixListener> {
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket)
}

impl Listener {
    /// Accepts clients for ever; each is served by a task of its own.
    pub(crate) async fn accept(self, worker: Rc<Worker>) {
        let place = Rc::new(worker.metrics.place(self.kind(), &self.address));
        let this = Rc::new(self);
        loop {
            let accepted = match &this.socket {
                Socket::Tcp(listener) => listener.accept().await.map(|(stream, from)| {
                    let peer = this.tcp_peer(&stream, from);
                    match &this.tls {
                        None => {
                            this.admit(stream, &place, peer, &worker);
                        }
                        Some(tls) => this.begin_tls(tls, stream, &place, peer, &worker),
                    }
                }),
                Socket::Unix(listener, _, path) => listener.accept().await.map(|(stream, _)| {
                    let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                    let mut peer = Peer::between(path, path, Arc::clone(&this.address));
                    (peer.is_unix, peer.fd) = (true, stream.as_raw_fd());
                    peer.identity = uid.map_or(PeerIdentity::Anonymous, PeerIdentity::Uid);
                    this.admit(stream, &place, peer, &worker);
                }),
            };
            if let Err(error) = accepted {
                tracing::warn!(code = "CLI-E002", %error, "a client could not be accepted");
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }

    const fn kind(&self) -> ListenerKind {
        match (&self.socket, &self.tls) {
            (Socket::Unix(..), _) => ListenerKind::Unix,
            (Socket::Tcp(_), Some(_)) => ListenerKind::Tls,
            (Socket::Tcp(_), None) => ListenerKind::Tcp,
        }
    }

    fn tcp_peer(&self, stream: &TcpStream, from: SocketAddr) -> Peer {
        let _ = stream.set_nodelay(true);
        if !from.ip().to_canonical().is_loopback() {
            // A client that vanished without a word is noticed (Redis config.c `tcp-keepalive`).
            let keepalive = TcpKeepalive::new().with_time(limits::CLIENT_KEEPALIVE);
            let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
        }
        let local = stream.local_addr().unwrap_or(from);
        let (from_text, local) = (from.to_string(), local.to_string());
        let mut peer = Peer::between(&from_text, &local, Arc::clone(&self.address));
        (peer.origin, peer.fd) = (origin_of(from), stream.as_raw_fd());
        peer
    }

    /// The handshake runs in a task of its own: accepting never waits for it.
    fn begin_tls(
        self: &Rc<Self>,
        tls: &Rc<Handshakes>,
        stream: TcpStream,
        place: &Rc<Place>,
        mut peer: Peer,
        worker: &Rc<Worker>,
    ) {
        let (handshake, ended) = tls.begin(peer.address(), worker);
        if let Some((address, error)) = ended {
            self.refuse_tls(&error, &address, worker);
        }
        let (this, worker, number) = (Rc::clone(self), Rc::clone(worker), handshake.number());
        let place = Rc::clone(place);
        let task = tokio::task::spawn_local(async move {
            match handshake.complete(stream, peer.address(), &this.address).await {
                Ok(Established { stream, identity, shown }) => {
                    peer.identity = identity;
                    let id = this.admit(stream, &place, peer, &worker);
                    if let Some((id, shown)) = id.zip(shown) {
                        worker.certificates.borrow_mut().enter(id, shown);
                    }
                }
                Err(error) => this.refuse_tls(&error, peer.address(), &worker),
            }
        });
        tls.note_task(number, task.abort_handle());
    }

    fn refuse_tls(&self, error: &TlsError, address: &str, worker: &Worker) {
        worker.metrics.handshake_failed(error);
        worker.refusals.borrow_mut().log_handshake(clock::now(), &self.address, address, error);
        if let Some(auditor) = worker.auditor.as_deref()
            && error.fault != Fault::PeerClosed
        {
            auditor.handshake_failed(&self.address, address, error.fault.code());
        }
    }

    /// Returns the number of the client, if there was room for it.
    fn admit<S>(&self, stream: S, place: &Rc<Place>, peer: Peer, worker: &Rc<Worker>) -> Option<u64>
    where
        S: ClientStream + 'static,
    {
        let worker = Rc::clone(worker);
        let Some(id) = worker.enter() else {
            worker.metrics.rejected(ClientRejection::MaxClients);
            tokio::task::spawn_local(refuse(stream));
            return None;
        };
        worker.metrics.accepted(place);
        let connection = Connection::new(
            id,
            stream,
            Rc::clone(&worker),
            self.access.clone(),
            &self.limiter_registry,
            peer,
            Rc::clone(place),
        );
        if let Some(auditor) = &worker.auditor {
            auditor.opened(&connection.borrow().links.entry);
        }
        tokio::task::spawn_local(ClientTask::new(connection));
        Some(id)
    }
}

/// Redis networking.c `acceptCommonHandler`.
async fn refuse<S: AsyncWrite + Unpin>(mut stream: S) {
    let words = format!("-{}\r\n", client_text::CLIENTS_FULL);
    let _ = tokio::time::timeout(limits::REFUSAL_WRITE_TIMEOUT, stream.write_all(words.as_bytes()))
        .await;
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncReadExt, DuplexStream, ReadBuf, duplex};

    use super::*;
    use crate::downstream::WorkerParts;
    use crate::policy::Policy;
    use crate::session::{Auth, ClientEntry};
    use crate::telemetry::Metrics;
    use crate::telemetry::redact::KeyMask;
    use crate::upstream::credentials::Credentials;
    use crate::upstream::dial::Dialer;
    use crate::upstream::target::Target;
    use crate::upstream::{Mailbox, Upstream};

    /// Panics when it is read, as a defect anywhere below the connection would.
    struct Bomb;

    impl AsyncRead for Bomb {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            std::panic::resume_unwind(Box::new("a defect"))
        }
    }

    impl AsyncWrite for Bomb {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl ClientStream for Bomb {}

    impl ClientStream for DuplexStream {}

    /// Keeps what is written until it is flushed, and is asked twice, as TLS over a full socket.
    struct Keeping {
        inner: DuplexStream,
        kept: Vec<u8>,
        asked: bool,
    }

    impl ClientStream for Keeping {}

    impl AsyncRead for Keeping {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.inner).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Keeping {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.kept.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }
        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let this = &mut *self;
            if !this.kept.is_empty() && !std::mem::replace(&mut this.asked, true) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            this.asked = false;
            let kept = std::mem::take(&mut this.kept);
            Pin::new(&mut this.inner).poll_write(cx, &kept).map_ok(|_| ())
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn answer(client: &mut DuplexStream, request: &[u8], length: usize) -> Vec<u8> {
        client.write_all(request).await.unwrap();
        let mut bytes = vec![0; length];
        client.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    #[test]
    fn client_needs_little_room_while_it_is_idle() {
        // A counted pointer adds two numbers; and in tests, two parts of the scanner count what they examine.
        assert!(size_of::<RefCell<Connection<TcpStream>>>() <= 768);
        assert!(size_of::<ClientEntry>() <= 224 - 2 * size_of::<usize>());
        assert!(size_of::<Mailbox>() <= 128 - 2 * size_of::<usize>());
        // With what tokio adds to it a task has 128 bytes.
        assert!(size_of::<ClientTask<TcpStream>>() <= 3 * size_of::<usize>());
    }

    #[test]
    fn panic_of_one_client_hurts_no_other() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[upstream]\naddress = \"127.0.0.1:1\"\n\
                        insecure_plaintext = true\n";
            let settings = config::parse(text, "test", []).unwrap().upstream;
            let credentials = Credentials::open(&settings.auth).unwrap();
            let dialer = Dialer::new(Target::of(&settings).unwrap(), &settings, None, credentials);
            let metrics = Arc::new(Metrics::default());
            let upstream = Upstream::start(settings, 4096, dialer, Arc::default(), Arc::default(), 1);
            let worker = Worker::new(WorkerParts {
                upstream,
                limits: Live::new(config::ClientLimits::default()),
                insight: Live::new(config::Insight::default()),
                mode: config::PoolMode::Shared,
                metrics: Arc::clone(&metrics),
                mask: KeyMask::new([0; 32]),
                seed: 1,
                clients: Arc::default(),
                audit: None,
            });
            let policy = Arc::new(Policy::open());
            let access = ListenerAccess { auth: Auth::Off, policy };
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let listener = Listener {
                socket: Socket::Tcp(adopt(socket).unwrap()),
                tls: None,
                access: Live::new(access),
                limiter_registry: LimiterRegistry::default(),
                address: "a".into(),
            };
            let place = Rc::new(worker.metrics.place(ListenerKind::Tcp, "a"));
            let admit = |stream| listener.admit(stream, &place, Peer::default(), &worker);
            let (mut before, other) = duplex(4096);
            admit(other);
            assert_eq!(answer(&mut before, b"CLIENT ID\r\n", 4).await, b":1\r\n");
            for _ in 0..3 {
                listener.admit(Bomb, &place, Peer::default(), &worker);
                tokio::task::yield_now().await;
            }
            assert_eq!(worker.clients(), 1);
            assert_eq!(metrics.sum(|own| own.client_connections[ListenerKind::Tcp].get()), 1);
            assert_eq!(answer(&mut before, b"CLIENT ID\r\n", 4).await, b":1\r\n");
            let (mut after, other) = duplex(4096);
            admit(other);
            assert_eq!(answer(&mut after, b"CLIENT ID\r\n", 4).await, b":5\r\n");
            let (mut late, inner) = duplex(4096);
            let keeping = Keeping { inner, kept: Vec::new(), asked: false };
            listener.admit(keeping, &place, Peer::default(), &worker);
            assert_eq!(answer(&mut late, b"CLIENT ID\r\n", 4).await, b":6\r\n", "it is flushed");
        });
    }
}
