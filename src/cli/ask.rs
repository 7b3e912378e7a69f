//! Sends verbs to the admin server of a running respgate.
//!
//! Owns: [`ask`], [`Way`]. Never knows: what a verb does.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::args::{Asked, OfTable, Target};
use super::exit;
use super::output::Output;
use super::verb::Verb;
use crate::admin::{EXIT, HEADER, query, read_token};
use crate::base::limits;
use crate::config::{Admin, ConfigSource, environment, io_cause};
use crate::proxy::verbs as table;

impl<V: OfTable> Verb for Asked<V> {
    fn run(self, output: Output) -> ExitCode {
        let output = output.with_json(self.answer.json);
        let way = match self.target.way() {
            Ok(way) => way,
            Err(problem) => return problem.print(output),
        };
        let pairs = self.arguments.iter().map(|(name, value)| (*name, value.as_str()));
        let question = Question {
            method: V::VERB.effect.method(),
            target: format!("{}{}", V::VERB.path, query::write(pairs)),
            body: Bytes::new(),
            json: self.answer.json,
            patience: V::VERB.patience,
        };
        let progress = output.progress(&format!("waiting for the answer of {way}"));
        let response = ask(&way, question);
        drop(progress);
        response.print(output)
    }
}

/// Prints how a command is judged (as RESP) under the policy in force, or that of this name; 1 when
/// it is refused.
pub(super) fn explain(
    output: Output,
    socket: &Path,
    command: &[u8],
    database: u32,
    policy: Option<&str>,
) -> ExitCode {
    let verb = &table::EXPLAIN;
    let database = database.to_string();
    let pairs = [("database", &*database)].into_iter();
    let pairs = pairs.chain(policy.map(|name| ("policy", name)));
    let question = Question {
        method: verb.effect.method(),
        target: format!("{}{}", verb.path, query::write(pairs)),
        body: Bytes::copy_from_slice(command),
        json: output.is_json(),
        patience: verb.patience,
    };
    ask(&Way::Unix(socket.to_owned()), question).print(output)
}

/// The address of an admin server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Unix(PathBuf),
    /// With the file that holds the token.
    Tcp(SocketAddr, PathBuf),
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address, _) => write!(f, "{address}"),
        }
    }
}

/// Why the address of the admin server is not known.
#[derive(Debug)]
pub(super) enum Lost {
    /// Nothing names a socket.
    Unnamed(String),
    /// The configuration cannot be read.
    Config(ConfigSource, Vec<crate::config::Problem>),
}

impl Lost {
    pub(super) fn print(self, output: Output) -> ExitCode {
        match self {
            Self::Unnamed(text) => output.fail(exit::USAGE, &text),
            Self::Config(source, problems) => {
                output.complain(&source, problems);
                ExitCode::from(exit::USAGE)
            }
        }
    }
}

impl Target {
    /// The address of the admin server: from the flags, else from the configuration, else from the environment.
    pub(super) fn way(&self) -> Result<Way, Lost> {
        if let Some(socket) = &self.socket {
            return Ok(Way::Unix(socket.clone()));
        }
        if let (Some(address), Some(file)) = (self.admin_address, &self.token_file) {
            return Ok(Way::Tcp(address, file.clone()));
        }
        let source = ConfigSource { path: self.config.clone(), flags: Vec::new() };
        match source.operators(environment()).map(|(admin, _)| admin) {
            Ok(Admin { socket: Some(socket), .. }) => Ok(Way::Unix(socket)),
            Ok(Admin { address: Some(address), token_file: Some(file), .. }) => {
                Ok(Way::Tcp(address, file))
            }
            Ok(_) => Err(Lost::Unnamed(match &self.config {
                Some(path) => format!(
                    "{} names no admin server; set socket = \"/run/respgate/control.sock\" under [admin]",
                    path.display()
                ),
                None => "which respgate? give --socket PATH or --config FILE, or set \
                         RESPGATE__ADMIN__SOCKET"
                    .to_owned(),
            })),
            Err(problems) => Err(Lost::Config(source, problems)),
        }
    }
}

/// One request to the admin server.
#[derive(Debug)]
pub(super) struct Question {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub body: Bytes,
    pub json: bool,
    /// How long the answer may take.
    pub patience: Duration,
}

/// The result of one request to the admin server.
#[derive(Debug)]
pub(super) enum Response {
    Answer {
        answer: Content,
        exit: u8,
    },
    Refused {
        problem: String,
        exit: u8,
    },
    /// No respgate answers.
    Nothing(String),
}

/// The content of an answer, in the format that the request named.
#[derive(Debug)]
pub(super) enum Content {
    Text(String),
    Json(serde_json::Value),
}

impl Response {
    pub(super) fn print(self, output: Output) -> ExitCode {
        match self {
            Self::Answer { answer, exit } => {
                match answer {
                    Content::Text(text) => output.print(text.trim_end()),
                    Content::Json(json) => output.json(|| json),
                }
                ExitCode::from(exit)
            }
            Self::Refused { problem, exit } => output.fail(exit, &problem),
            Self::Nothing(problem) => output.fail(exit::NO_ANSWER, &problem),
        }
    }
}

/// Sends a request, and waits for the answer.
pub(super) fn ask(way: &Way, question: Question) -> Response {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Response::Nothing(format!("no event loop: {}", error.kind())),
    };
    let patience = question.patience + limits::CLI_CONNECT_TIMEOUT;
    runtime.block_on(async {
        let asked = tokio::time::timeout(patience, send(way, question)).await;
        let late = || {
            let seconds = patience.as_secs();
            Err(format!("no answer within {seconds} s; what respgate does is in its log, and curl /livez shows whether it is stuck"))
        };
        match asked.unwrap_or_else(|_| late()) {
            Ok(response) => response,
            Err(problem) => Response::Nothing(format!("{way}: {problem}")),
        }
    })
}

async fn send(way: &Way, question: Question) -> Result<Response, String> {
    match way {
        Way::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            exchange(stream.map_err(|error| not_reached(&error))?, question, None).await
        }
        Way::Tcp(address, file) => {
            let bearer = match bearer(file) {
                Ok(bearer) => bearer,
                Err(problem) => {
                    let problem = format!("--token-file: {problem}");
                    return Ok(Response::Refused { problem, exit: exit::USAGE });
                }
            };
            let hint = "is respgate running, and [admin] address this one?";
            let stream = TcpStream::connect(address).await;
            let stream = stream.map_err(|error| format!("{}; {hint}", error.kind()))?;
            exchange(stream, question, Some(bearer)).await
        }
    }
}

/// Why a socket does not lead to a respgate, and what to do.
fn not_reached(error: &std::io::Error) -> String {
    use std::io::ErrorKind as E;
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "others are rare and explained by their cause"
    )]
    match error.kind() {
        E::NotFound => {
            "there is no such socket; is respgate running, and [admin] socket this path?".to_owned()
        }
        E::PermissionDenied => {
            "permission denied: only the user that respgate runs as, and root, may \
             open its admin socket; run this command as that user"
                .to_owned()
        }
        E::ConnectionRefused => {
            "no respgate listens there; is it running, and [admin] socket this path?".to_owned()
        }
        _ => format!("{}; is respgate running, and [admin] socket this path?", io_cause(error)),
    }
}

/// The header that shows the token of a file.
fn bearer(file: &Path) -> Result<HeaderValue, String> {
    let token = read_token(file.to_owned())?;
    let mut bearer = b"Bearer ".to_vec();
    bearer.extend_from_slice(token.expose());
    let mut bearer = HeaderValue::from_bytes(&bearer).map_err(|_| {
        let hint = "it is the file of [admin] token_file";
        format!("{}: the token is not one line of text; {hint}", file.display())
    })?;
    bearer.set_sensitive(true);
    Ok(bearer)
}

async fn exchange<S>(
    stream: S,
    question: Question,
    bearer: Option<HeaderValue>,
) -> Result<Response, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let kind = if question.json { "application/json" } else { "text/plain" };
    let request = Request::builder()
        .method(question.method)
        .uri(question.target)
        .header(HOST, "respgate")
        .header(HEADER, "1")
        .header(ACCEPT, kind)
        .body(Full::new(question.body));
    let mut request = request.map_err(|error| error.to_string())?;
    if let Some(bearer) = bearer {
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    let cause = |error: hyper::Error| error.to_string();
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(cause)?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(cause)?;
    let status = response.status();
    let exit = response.headers().get(EXIT).and_then(|exit| exit.to_str().ok()?.parse().ok());
    let body = response.into_body().collect().await.map_err(cause)?.to_bytes();
    driver.abort();
    let text = || String::from_utf8_lossy(&body).trim_end().to_owned();
    let json = question.json.then(|| serde_json::from_slice::<serde_json::Value>(&body));
    let json = json.transpose().map_err(|_| "the answer is not JSON".to_owned())?;
    if status != StatusCode::OK {
        let problem = json.as_ref().and_then(|json| json.get("error")?.as_str());
        let problem = problem.map_or_else(text, str::to_owned);
        return Ok(Response::Refused { problem, exit: exit.unwrap_or(exit::FAILURE) });
    }
    let answer = json.map_or_else(|| Content::Text(text()), Content::Json);
    Ok(Response::Answer { answer, exit: exit.unwrap_or(exit::SUCCESS) })
}
