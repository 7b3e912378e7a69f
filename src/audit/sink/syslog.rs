//! A syslog server as a sink: RFC 5424 over a Unix datagram socket, UDP, TCP with octet counting (RFC 6587),
//! or TLS (RFC 5425).
//!
//! Owns: [`Server`], the form of a message, what is sent again. Never knows: the content of a line.
//!
//! Nothing shows what a receiver keeps: it finds a gap by the numbers and the chain. But what its system did not
//! take before a connection ended is known to be among the last [`limits::SYSLOG_KEPT_BYTES`], and is sent again.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::SockRef;

use super::output::{Output, Resume};
use crate::audit::pace::Interval;
use crate::base::clock;
use crate::base::limits;
use crate::base::utc::utc_micros;
use crate::config::{Authorities, Syslog, SyslogAddress, TlsVersion};
use crate::tls::{self, provider};

/// Notice (RFC 5424, section 6.2.1).
const SEVERITY: u8 = 5;

pub(super) struct Server {
    address: SyslogAddress,
    tls: Option<Arc<ClientConfig>>,
    priority: u8,
    host: String,
    open: Option<Transport>,
    /// The last messages that a connection took, the oldest first.
    kept: VecDeque<String>,
    kept_bytes: usize,
    /// When it was last asked whether the server has closed the connection.
    look: Interval,
}

enum Transport {
    Unix(UnixDatagram),
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Server {
    pub(super) fn new(settings: &Syslog) -> Result<Self, String> {
        let tls = match &settings.address {
            SyslogAddress::Tls(_) => Some(config(settings.ca.as_deref())?),
            SyslogAddress::Unix(_) | SyslogAddress::Udp(_) | SyslogAddress::Tcp(_) => None,
        };
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = host.trim();
        Ok(Self {
            address: settings.address.clone(),
            tls,
            priority: settings.facility * 8 + SEVERITY,
            host: if host.is_empty() { "-".to_owned() } else { host.to_owned() },
            open: None,
            kept: VecDeque::new(),
            kept_bytes: 0,
            look: Interval::new(limits::AUDIT_PATH_CHECK_INTERVAL, clock::now()),
        })
    }

    fn message(&self, line: &str) -> String {
        let (priority, host, pid) = (self.priority, &self.host, std::process::id());
        let (time, line) = (utc_micros(clock::wall()), line.trim_end());
        format!("<{priority}>1 {time} {host} respgate {pid} audit - {line}")
    }

    fn keep(&mut self, message: String) {
        self.kept_bytes += message.len();
        self.kept.push_back(message);
        while self.kept_bytes > limits::SYSLOG_KEPT_BYTES {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.kept_bytes -= oldest.len();
        }
    }

    fn connect(&self) -> io::Result<Transport> {
        Ok(match &self.address {
            SyslogAddress::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(limits::SYSLOG_TIMEOUT))?;
                Transport::Unix(socket)
            }
            SyslogAddress::Udp(place) => {
                let address = first(place)?;
                let own = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(own)?;
                socket.connect(address)?;
                Transport::Udp(socket)
            }
            SyslogAddress::Tcp(place) => Transport::Tcp(dial(place)?),
            SyslogAddress::Tls(place) => {
                let host = place.rsplit_once(':').map_or(place.as_str(), |(host, _)| host);
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
                let name = name.map_err(|_| io::Error::other("the host is no name for TLS"))?;
                let config = self.tls.clone().ok_or(io::ErrorKind::Unsupported)?;
                let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
                let mut stream = dial(place)?;
                while tls.is_handshaking() {
                    tls.complete_io(&mut stream)?;
                }
                Transport::Tls(Box::new(StreamOwned::new(tls, stream)))
            }
        })
    }
}

impl Output for Server {
    fn needs_open(&mut self, _: usize) -> bool {
        if self.look.poll(clock::now())
            && self.open.as_ref().is_some_and(Transport::is_closed_by_peer)
        {
            self.open = None;
        }
        self.open.is_none()
    }

    fn open(&mut self) -> io::Result<Resume> {
        self.close();
        let mut transport = self.connect()?;
        for message in &self.kept {
            transport.send(message)?;
        }
        self.open = Some(transport);
        Ok(Resume { resent: self.kept.len() as u64, ..Resume::default() })
    }

    fn send(&mut self, line: &str) -> io::Result<()> {
        let message = self.message(line);
        let Some(transport) = &mut self.open else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if let Err(error) = transport.send(&message) {
            // Half a message ends with its connection, and is sent again on the next one.
            self.open = None;
            return Err(error);
        }
        if transport.is_connection() {
            self.keep(message);
        }
        Ok(())
    }

    fn close(&mut self) {
        if let Some(Transport::Tls(stream)) = &mut self.open {
            // Some receivers forget what they have not read of a connection that just ends.
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        self.open = None;
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.open {
            Some(Transport::Tls(stream)) => stream.flush(),
            Some(Transport::Tcp(_) | Transport::Unix(_) | Transport::Udp(_)) | None => Ok(()),
        }
    }
}

impl Transport {
    fn send(&mut self, message: &str) -> io::Result<()> {
        let counted = || format!("{} {message}", message.len());
        match self {
            Self::Unix(socket) => socket.send(message.as_bytes()).map(drop),
            Self::Udp(socket) => socket.send(message.as_bytes()).map(drop),
            Self::Tcp(stream) => stream.write_all(counted().as_bytes()),
            Self::Tls(stream) => stream.write_all(counted().as_bytes()),
        }
    }

    const fn is_connection(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Tls(_))
    }

    /// Whether the server has closed a connection: what is written to it from now on is lost without an error.
    fn is_closed_by_peer(&self) -> bool {
        let stream = match self {
            Self::Unix(_) | Self::Udp(_) => return false,
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        };
        let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
        let _ = stream.set_nonblocking(false);
        matches!(peeked, Ok(0))
    }
}

fn first(place: &str) -> io::Result<std::net::SocketAddr> {
    let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    place.to_socket_addrs()?.next().ok_or_else(none)
}

fn dial(place: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&first(place)?, limits::SYSLOG_TIMEOUT)?;
    stream.set_read_timeout(Some(limits::SYSLOG_TIMEOUT))?;
    stream.set_write_timeout(Some(limits::SYSLOG_TIMEOUT))?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_send_buffer_size(limits::SYSLOG_SEND_BUFFER_BYTES)?;
    Ok(stream)
}

fn config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let from = ca.map_or(Authorities::System, |path| Authorities::File(path.to_owned()));
    let roots = tls::roots(&from).map_err(|error| format!("audit.sink.ca: {error}"))?;
    let versions = provider::versions(TlsVersion::V1_2);
    let config = ClientConfig::builder_with_provider(provider::provider())
        .with_protocol_versions(versions)
        .map_err(|_| "audit.sink: TLS cannot be set up".to_owned())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
