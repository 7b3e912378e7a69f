//! The control socket: questions about a running respgate, over HTTP on a Unix socket that only its
//! owner may open.
//!
//! Owns: [`serve`], [`Question`]. Never knows: answers.
//!
//! `GET /learned` is the policy that observed traffic needs. `POST /explain?database=N&policy=NAME` takes
//! one request in RESP and says what becomes of it; without a database it is 0, without a policy `[policy]`.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
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
    /// The policy that the observed traffic needs; none when there was none.
    Learned(oneshot::Sender<Option<String>>),
    /// What becomes of a command; the error is that there is no such policy.
    Explain {
        command: RequestBuf,
        database: u32,
        policy: Option<String>,
        answer: oneshot::Sender<Result<Explained, String>>,
    },
}

/// What becomes of a command.
#[derive(Debug)]
pub struct Explained {
    /// For a person.
    pub text: String,
    pub refused: bool,
}

/// The header of an answer with which a program that asked ends, when that is not 0.
pub const EXIT: &str = "respgate-exit";

/// An answer, and whether the program that asked ends with 1.
struct Told {
    text: String,
    one: bool,
}

const NOTHING: &str = "# Nothing observed yet: requests are noted under a policy with mode = \"observe\" or with\n\
    # observed rules, and none has come.\n";

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
    let (status, text, one) = match answer(request, questions).await {
        Ok(Told { text, one }) => (StatusCode::OK, text, one),
        Err((status, text)) => (status, format!("{text}\n"), false),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    if one {
        response.headers_mut().insert(EXIT, HeaderValue::from_static("1"));
    }
    Ok(response)
}

async fn answer(
    request: Request<Incoming>,
    questions: mpsc::Sender<Question>,
) -> Result<Told, (StatusCode, String)> {
    let say = |status: StatusCode, text: &str| (status, text.to_owned());
    let gone = || say(StatusCode::SERVICE_UNAVAILABLE, "respgate is leaving");
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/learned") => {
            let (back, answer) = oneshot::channel();
            questions.send(Question::Learned(back)).await.map_err(|_| gone())?;
            let learned = answer.await.map_err(|_| gone())?;
            let one = learned.is_none();
            Ok(Told { text: learned.unwrap_or_else(|| NOTHING.to_owned()), one })
        }
        (&Method::POST, "/explain") => {
            let query = request.uri().query().unwrap_or_default();
            let query = explain_query(query);
            let (database, policy) =
                query.ok_or_else(|| say(StatusCode::BAD_REQUEST, "no such query"))?;
            let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
            let body =
                body.map_err(|_| say(StatusCode::PAYLOAD_TOO_LARGE, "the command is too long"))?;
            let command = parse(&body.to_bytes())
                .ok_or_else(|| say(StatusCode::BAD_REQUEST, "not one request in RESP"))?;
            let (back, answer) = oneshot::channel();
            let question = Question::Explain { command, database, policy, answer: back };
            questions.send(question).await.map_err(|_| gone())?;
            let said = answer.await.map_err(|_| gone())?;
            let told = |said: Explained| Told { text: said.text, one: said.refused };
            said.map(told).map_err(|text| (StatusCode::NOT_FOUND, text))
        }
        (_, "/learned" | "/explain") => {
            Err(say(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"))
        }
        _ => Err(say(StatusCode::NOT_FOUND, "not found")),
    }
}

/// The database and the name of the policy.
fn explain_query(query: &str) -> Option<(u32, Option<String>)> {
    let (mut database, mut policy) = (0, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=')? {
            ("database", number) => database = number.parse().ok()?,
            ("policy", name) => policy = Some(name.to_owned()),
            _ => return None,
        }
    }
    Some((database, policy))
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
