//! The admin server: verbs for a running respgate, over HTTP on a Unix socket or on the loopback.
//!
//! Owns: [`Control`], [`Way`]: connections, their limits, the way from a request to its verb. Never
//! knows: what a verb does.
//!
//! Each connection carries one request. When too many are open, the oldest whose request has not come
//! yet is closed: clients that send nothing must not keep an operator out.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::gate::Gate;
use super::query;
use super::routes::class;
use super::verb::{Answer, By, Call, Effect, Refused, Verb};
use crate::audit::{Audit, Event, Kind};
use crate::base::aside::aside;
use crate::base::limits;
use crate::base::secret::Secret;
use crate::config::SecretSource;
use crate::telemetry::{Endpoint, Metrics};

/// The header of an answer with which a program that asked ends, when that is not 0.
pub(crate) const EXIT: &str = "respgate-exit";

/// Where requests come from.
#[derive(Debug)]
pub(crate) enum Way {
    Unix(UnixListener),
    /// The file holds the token that a request must have.
    Loopback(TcpListener, PathBuf),
}

/// The server: `H` is what its verbs are answered from.
#[derive(Debug)]
pub(crate) struct Control<H: 'static> {
    pub state: Arc<H>,
    pub verbs: &'static [&'static Verb<H>],
    pub metrics: Arc<Metrics>,
    /// Where verbs that change something are written down, if anywhere.
    pub audit: Option<Arc<Audit>>,
}

impl<H> Clone for Control<H> {
    fn clone(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            verbs: self.verbs,
            metrics: Arc::clone(&self.metrics),
            audit: self.audit.clone(),
        }
    }
}

/// An answer to be sent: its status, its text, whether it is JSON, and the exit code.
struct Reply {
    status: StatusCode,
    text: String,
    json: bool,
    no: bool,
    allow: Option<&'static str>,
}

impl<H: Send + Sync + 'static> Control<H> {
    /// Serves until dropped.
    pub(crate) async fn serve(self, way: Way) -> Infallible {
        let mut open = VecDeque::<(JoinHandle<()>, Arc<AtomicBool>)>::new();
        loop {
            let busy = Arc::new(AtomicBool::new(false));
            let accepted = match &way {
                Way::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                    let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                    let by = uid.map_or(By::Unknown, By::Uid);
                    let serve = self.clone().serve_connection(stream, by, None, Arc::clone(&busy));
                    tokio::spawn(serve)
                }),
                Way::Loopback(listener, file) => listener.accept().await.map(|(stream, _)| {
                    let file = Some(file.clone());
                    let serve =
                        self.clone().serve_connection(stream, By::Token, file, Arc::clone(&busy));
                    tokio::spawn(serve)
                }),
            };
            match accepted {
                Ok(connection) => {
                    open.retain(|(connection, _)| !connection.is_finished());
                    open.push_back((connection, busy));
                    if open.len() > limits::ADMIN_CONNECTIONS_MAX {
                        let idle = open.iter().position(|(_, busy)| !busy.load(Relaxed));
                        let _ = idle
                            .and_then(|at| open.remove(at))
                            .inspect(|(connection, _)| connection.abort());
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "admin connection not accepted");
                    sleep(limits::TELEMETRY_ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve_connection<S>(
        self,
        stream: S,
        by: By,
        token: Option<PathBuf>,
        busy: Arc<AtomicBool>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let patience = self.verbs.iter().map(|verb| verb.patience).max().unwrap_or_default();
        let respond = |request| {
            let (own, token, busy) = (self.clone(), token.clone(), Arc::clone(&busy));
            async move { Ok::<_, Infallible>(own.respond(request, by, token, &busy).await) }
        };
        let connection = http1::Builder::new()
            .keep_alive(false)
            .timer(TokioTimer::new())
            .header_read_timeout(limits::ADMIN_HEADER_TIMEOUT)
            .max_buf_size(limits::ADMIN_HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service_fn(respond));
        let whole = limits::ADMIN_HEADER_TIMEOUT
            + limits::ADMIN_BODY_TIMEOUT
            + patience
            + limits::ADMIN_READ_TIMEOUT;
        if let Ok(Err(error)) = timeout(whole, connection).await {
            tracing::debug!(%error, "admin connection failed");
        }
    }

    async fn respond(
        self,
        request: Request<Incoming>,
        by: By,
        token: Option<PathBuf>,
        busy: &AtomicBool,
    ) -> Response<String> {
        let json = request.headers().get(ACCEPT).is_some_and(|kind| kind == "application/json");
        let path = request.uri().path();
        let found = self.verbs.iter().find(|verb| verb.path == path || verb.also.contains(&path));
        let effect = found.map_or(Effect::Changes, |verb| verb.effect);
        let gate = gate(token).await;
        let reply = match (gate.check(request.uri(), request.headers(), effect), found) {
            (Err(barred), _) => {
                let verb = found.map_or("none", |verb| verb.name);
                tracing::warn!(code = "ADM-W001", %by, verb, cause = barred.text(), "admin request refused");
                Reply::error(barred.status(), barred.text(), json)
            }
            (Ok(()), None) => Reply::error(StatusCode::NOT_FOUND, "no such verb", json),
            (Ok(()), Some(verb)) if *request.method() != verb.effect.method() => {
                let text = format!("use {}", verb.effect.method());
                let reply = Reply::error(StatusCode::METHOD_NOT_ALLOWED, &text, json);
                let allow = if verb.effect == Effect::Shows { "GET" } else { "POST" };
                Reply { allow: Some(allow), ..reply }
            }
            (Ok(()), Some(verb)) => match read(verb, request, by).await {
                Ok(call) => {
                    busy.store(true, Relaxed);
                    self.answer(verb, call, json).await
                }
                Err((status, text)) => Reply::error(status, &text, json),
            },
        };
        let endpoint = match (found, effect) {
            (None, _) => Endpoint::Other,
            (Some(_), Effect::Shows | Effect::Judges) => Endpoint::Query,
            (Some(_), Effect::Changes) => Endpoint::Change,
        };
        self.metrics.shard().admin_requests_total[endpoint][class(reply.status)].inc();
        reply.response()
    }

    fn record(&self, verb: &str, arguments: &str, by: &str, outcome: &Result<Answer, Refused>) {
        if let Some(audit) = &self.audit {
            let mut event = Event::new(Kind::Administration);
            let done = outcome.as_ref().is_ok_and(|answer| !answer.no);
            event.result = Some(if done { "ok" } else { "failed" });
            event.command = Some(verb);
            event.user = Some(by.to_owned());
            event.detail = Some(arguments).filter(|text| !text.is_empty());
            audit.record(&event);
        }
    }

    /// Carries out a verb; one that changes something is logged.
    async fn answer(&self, verb: &'static Verb<H>, call: Call, json: bool) -> Reply {
        let (by, arguments) = (call.by, call.shown());
        // The verb runs in a task of its own: a change is completed although the client disconnects meanwhile.
        let work = tokio::spawn((verb.answer)(Arc::clone(&self.state), call));
        let outcome = match timeout(verb.patience, work).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Refused::ShuttingDown),
            Err(_) => Err(Refused::Late),
        };
        if verb.effect == Effect::Changes {
            self.record(verb.name, &arguments.to_string(), &by.to_string(), &outcome);
            let verb = verb.name;
            match &outcome {
                Ok(answer) if !answer.no => {
                    tracing::info!(code = "ADM-I001", verb, %arguments, %by, "administrative verb carried out");
                }
                Ok(_) => {
                    tracing::warn!(code = "ADM-W002", verb, %arguments, %by, "administrative verb failed");
                }
                Err(refused) => {
                    tracing::warn!(code = "ADM-W002", verb, %arguments, %by, cause = %refused, "administrative verb failed");
                }
            }
        }
        match outcome {
            Ok(answer) => Reply::of(answer, json),
            Err(refused) => Reply::error(status(&refused), &refused.to_string(), json),
        }
    }
}

/// What a request must have to be accepted; the token is read each time, so that a new one is in force at
/// once.
async fn gate(token: Option<PathBuf>) -> Gate {
    let Some(path) = token else { return Gate::Unix };
    Gate::Loopback(aside(move || read_token(path).ok()).await.flatten())
}

/// The token in a file.
///
/// # Errors
///
/// When it cannot be read, or is so short that it could be guessed.
pub(crate) fn read_token(path: PathBuf) -> Result<Secret, String> {
    let token = SecretSource::File(path).read().map_err(|error| error.to_string())?;
    if token.expose().len() < limits::ADMIN_TOKEN_BYTES_MIN {
        let hint = "write one with: openssl rand -hex 32";
        return Err(format!(
            "the token has fewer than {max} characters; {hint}",
            max = limits::ADMIN_TOKEN_BYTES_MIN
        ));
    }
    Ok(token)
}

async fn read<H>(
    verb: &Verb<H>,
    request: Request<Incoming>,
    by: By,
) -> Result<Call, (StatusCode, String)> {
    let wrong = |text: &str| (StatusCode::BAD_REQUEST, text.to_owned());
    let pairs = query::read(request.uri().query().unwrap_or_default());
    let pairs = pairs.ok_or_else(|| wrong("the query is not name=value pairs"))?;
    let body = Limited::new(request.into_body(), limits::ADMIN_BODY_BYTES_MAX).collect();
    let body = match timeout(limits::ADMIN_BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            let text = format!(
                "the body is cut off, or longer than {} bytes",
                limits::ADMIN_BODY_BYTES_MAX
            );
            return Err((StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        Err(_) => {
            return Err((StatusCode::REQUEST_TIMEOUT, "the body did not come in time".to_owned()));
        }
    };
    let body = if verb.effect == Effect::Judges { body } else { Bytes::new() };
    verb.call(pairs, body, by).map_err(|refused| wrong(&refused.to_string()))
}

const fn status(refused: &Refused) -> StatusCode {
    match refused {
        Refused::Usage(_) => StatusCode::BAD_REQUEST,
        Refused::NotFound(_) => StatusCode::NOT_FOUND,
        Refused::Conflict(_) => StatusCode::CONFLICT,
        Refused::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        Refused::Late => StatusCode::GATEWAY_TIMEOUT,
    }
}

impl Reply {
    fn of(answer: Answer, json: bool) -> Self {
        let text = if json { answer.json.to_string() } else { answer.text };
        Self { status: StatusCode::OK, text, json, no: answer.no, allow: None }
    }

    fn error(status: StatusCode, text: &str, json: bool) -> Self {
        let text =
            if json { serde_json::json!({ "error": text }).to_string() } else { text.to_owned() };
        Self { status, text, json, no: true, allow: None }
    }

    fn response(self) -> Response<String> {
        let mut text = self.text;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let mut response = Response::new(text);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let kind = if self.json { "application/json" } else { "text/plain; charset=utf-8" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.no {
            let usage = self.status == StatusCode::BAD_REQUEST;
            headers.insert(EXIT, HeaderValue::from_static(if usage { "2" } else { "1" }));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}
