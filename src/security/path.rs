//! What a client of a running respgate is answered: reads, and commands that are queued and discarded.
//!
//! Owns: [`look`]. Never knows: what follows from the answers.
//!
//! A dangerous command is sent only behind the `+OK` to `MULTI`: it is queued or refused, and `DISCARD`,
//! or the end of the connection, drops what was queued.

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::facts::{DANGEROUS, FOREIGN, Known, PathFacts};
use super::own::rewrites;
use crate::base::limits;
use crate::config::{ClientAuth, Config, ListenAddress, Listener};
use crate::resp::RequestBuf;

/// Reads about all keys.
const KEYLESS: [&str; 3] = ["RANDOMKEY", "DBSIZE", "SCAN 0"];

trait Socket: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Socket for T {}

/// Sends commands to the first listener that this program can log in to.
pub(super) async fn look(config: &Config) -> Known<PathFacts> {
    let fits = |listener: &&Listener| listener.auth != ClientAuth::Users && listener.tls.is_none();
    let listener = config.listeners.iter().find(fits);
    let listener = listener.ok_or("every listener wants a user or a certificate of its own")?;
    let address = listener.address.to_string();
    let asked = timeout(limits::SECURITY_PATH_TIMEOUT, ask(config, listener, &address)).await;
    asked.unwrap_or_else(|_| Err(format!("{address} does not answer")))
}

async fn ask(config: &Config, listener: &Listener, address: &str) -> Known<PathFacts> {
    let absent = |error: std::io::Error| {
        format!(
            "no respgate answers at {address} ({}); start it with this configuration",
            error.kind()
        )
    };
    let socket: Box<dyn Socket> = match &listener.address {
        ListenAddress::Tcp(address) => Box::new(TcpStream::connect(address).await.map_err(absent)?),
        ListenAddress::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(absent)?),
    };
    let mut client = Client(BufReader::new(socket));
    if let ClientAuth::Password(source) = &listener.auth {
        let secret = source.read().map_err(|error| error.to_string())?;
        client.send(&RequestBuf::from_args([&b"AUTH"[..], secret.expose()])).await;
        if client.line().await.as_deref() != Some("+OK") {
            return Err(format!("{address} does not accept the password of the listener"));
        }
    }
    let gone = || format!("{address} ended the connection");
    let (_, rules) = config.rules(listener.policy.as_deref())?;
    let mut facts = PathFacts {
        address: address.to_owned(),
        dangerous: Vec::new(),
        rewrites: rewrites(rules),
        foreign_key: false,
        keyless: Vec::new(),
    };
    let foreign = client.ask(&format!("EXISTS {FOREIGN}")).await.ok_or_else(gone)?;
    facts.foreign_key = !foreign.starts_with('-');
    for command in KEYLESS {
        let answer = client.ask(command).await.ok_or_else(gone)?;
        facts.keyless.extend((!answer.starts_with('-')).then_some(command));
    }
    facts.dangerous = rehearse(&mut client).await.ok_or_else(gone)?;
    Ok(facts)
}

/// The commands that were queued. Where `MULTI` is refused nothing is sent.
async fn rehearse(client: &mut Client) -> Option<Vec<&'static str>> {
    if client.ask("MULTI").await? != "+OK" {
        return Some(Vec::new());
    }
    let mut queued = Vec::new();
    for (command, _) in DANGEROUS.iter().filter(|(_, queues)| *queues) {
        let answer = client.ask(command).await?;
        queued.extend((answer == "+QUEUED").then_some(*command));
    }
    client.ask("DISCARD").await?;
    Some(queued)
}

/// A connection of plain RESP.
struct Client(BufReader<Box<dyn Socket>>);

impl Client {
    async fn ask(&mut self, command: &str) -> Option<String> {
        self.send(&RequestBuf::from_args(command.split(' '))).await;
        self.line().await
    }

    async fn send(&mut self, request: &RequestBuf) {
        // The answer shows what the other side made of it.
        let _ = self.0.write_all(request.as_request().raw()).await;
    }

    /// The first line of the next reply; the rest is read and dropped.
    async fn line(&mut self) -> Option<String> {
        let (mut first, mut due) = (None, 1_u64);
        while due > 0 {
            due -= 1;
            let mut line = Vec::new();
            let limit = limits::SECURITY_ANSWER_BYTES_MAX;
            (&mut self.0).take(limit).read_until(b'\n', &mut line).await.ok()?;
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r\n")?).into_owned();
            let count = || line.get(1..).and_then(|text| text.parse::<i64>().ok());
            if line.starts_with('$')
                && let Some(Ok(length)) = count().map(u64::try_from)
            {
                let mut body = (&mut self.0).take(length.min(limit).checked_add(2)?);
                tokio::io::copy(&mut body, &mut tokio::io::sink()).await.ok()?;
            } else if line.starts_with('*') {
                due =
                    due.checked_add(count().map_or(0, |count| u64::try_from(count).unwrap_or(0)))?;
            }
            first.get_or_insert(line);
        }
        first
    }
}
