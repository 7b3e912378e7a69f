//! The control socket: questions about a running respgate, over HTTP on a Unix socket that only its
//! owner may open.
//!
//! Owns: [`serve`], [`Question`]. Never knows: answers.
//!
//! `GET /learned` is the policy that observed traffic needs. `POST /explain?database=N` takes one
//! request in RESP and says what becomes of it.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::ACCEPT_PAUSE;
use crate::resp::{RequestBuf, RequestLimits, RequestScanner, Scan};

/// Connections at once; more wait.
const CONNECTIONS_MAX: usize = 8;
/// From accept to the last byte of the answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// A command to be explained.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What is asked; the answer goes back as text for a person.
#[derive(Debug)]
pub enum Question {
    /// The policy that the observed traffic needs.
    Learned(oneshot::Sender<String>),
    /// What becomes of a command.
    Explain { command: RequestBuf, database: u32, answer: oneshot::Sender<String> },
}

/// Serves until dropped.
pub async fn serve(listener: UnixListener, questions: mpsc::Sender<Question>) -> Infallible {
    let room = std::sync::Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = std::sync::Arc::clone(&room).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let questions = questions.clone();
                tokio::spawn(async move {
                    let respond = |request| respond(request, questions.clone());
                    let connection = http1::Builder::new()
                        .keep_alive(false)
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(stream), service_fn(respond));
                    let _ = timeout(DEADLINE, connection).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "control connection not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn respond(
    request: Request<Incoming>,
    questions: mpsc::Sender<Question>,
) -> Result<Response<String>, Infallible> {
    let (status, text) = match answer(request, questions).await {
        Ok(text) => (StatusCode::OK, text),
        Err((status, text)) => (status, format!("{text}\n")),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    Ok(response)
}

async fn answer(
    request: Request<Incoming>,
    questions: mpsc::Sender<Question>,
) -> Result<String, (StatusCode, &'static str)> {
    let (back, answer) = oneshot::channel();
    let question = match (request.method(), request.uri().path()) {
        (&Method::GET, "/learned") => Question::Learned(back),
        (&Method::POST, "/explain") => {
            let query = request.uri().query().unwrap_or("database=0");
            let database = query.strip_prefix("database=").and_then(|text| text.parse().ok());
            let database = database.ok_or((StatusCode::BAD_REQUEST, "no such query"))?;
            let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
            let body =
                body.map_err(|_| (StatusCode::PAYLOAD_TOO_LARGE, "the command is too long"))?;
            let command = parse(&body.to_bytes());
            let command = command.ok_or((StatusCode::BAD_REQUEST, "not one request in RESP"))?;
            Question::Explain { command, database, answer: back }
        }
        (_, "/learned" | "/explain") => {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "method not allowed"));
        }
        _ => return Err((StatusCode::NOT_FOUND, "not found")),
    };
    let gone = (StatusCode::SERVICE_UNAVAILABLE, "respgate is leaving");
    questions.send(question).await.map_err(|_| gone)?;
    answer.await.map_err(|_| gone)
}

fn parse(bytes: &[u8]) -> Option<RequestBuf> {
    let limits = RequestLimits {
        max_args: u32::try_from(BODY_BYTES_MAX).unwrap_or(u32::MAX),
        max_bulk_bytes: BODY_BYTES_MAX as u64,
        max_inline_bytes: BODY_BYTES_MAX,
        large_bytes: u64::MAX,
        authenticated: true,
    };
    let mut scanner = RequestScanner::default();
    match scanner.scan(bytes, &limits) {
        Ok(Scan::Request { used }) if used == bytes.len() => {
            Some(RequestBuf::from_args(scanner.request(bytes).args()))
        }
        Ok(_) | Err(_) => None,
    }
}
