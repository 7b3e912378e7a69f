//! Questions to a running respgate over its control socket.
//!
//! Owns: [`ask`], `learn`. Never knows: answers.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::args::Learn;
use super::exit;
use super::output::Output;
use super::verb::Verb;
use crate::admin::EXIT;

/// Connecting, asking and reading the answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Prints the policy that observed traffic needs; 1 when there was none.
impl Verb for Learn {
    fn run(self, output: Output) -> ExitCode {
        answer(output, &self.socket, Request::get("/learned").body(Full::default()))
    }
}

/// Prints what becomes of a command (as RESP) under the policy in force, or that of this name; 1 when
/// it is refused.
pub(super) fn explain(
    output: Output,
    socket: &Path,
    command: &[u8],
    database: u32,
    policy: Option<&str>,
) -> ExitCode {
    // A name of the command line is letters, digits, - and _.
    let policy = policy.map(|name| format!("&policy={name}"));
    let uri = format!("/explain?database={database}{}", policy.unwrap_or_default());
    answer(output, socket, Request::post(uri).body(Full::new(Bytes::copy_from_slice(command))))
}

fn answer(
    output: Output,
    socket: &Path,
    request: Result<Request<Full<Bytes>>, hyper::http::Error>,
) -> ExitCode {
    let answered = request.map_err(|error| error.to_string()).and_then(|request| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("no event loop: {error}"))?;
        runtime.block_on(async {
            let asked = tokio::time::timeout(DEADLINE, ask(socket, request)).await;
            asked.unwrap_or_else(|_| Err("no answer in time".to_owned()))
        })
    });
    match answered {
        Ok((text, one)) => {
            output.print(text.trim_end());
            if one { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(problem) => output.fail(exit::FAILURE, &format!("{}: {problem}", socket.display())),
    }
}

/// The answer, and whether this program ends with 1.
async fn ask(socket: &Path, mut request: Request<Full<Bytes>>) -> Result<(String, bool), String> {
    let hint = "is [admin] socket set to this path, and respgate running?";
    let stream = UnixStream::connect(socket).await.map_err(|error| format!("{error}; {hint}"))?;
    let host = hyper::header::HeaderValue::from_static("respgate");
    request.headers_mut().insert(hyper::header::HOST, host);
    let said = |error: hyper::Error| error.to_string();
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(said)?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(said)?;
    let (status, one) = (response.status(), response.headers().contains_key(EXIT));
    let body = response.into_body().collect().await.map_err(said)?.to_bytes();
    driver.abort();
    let text = String::from_utf8_lossy(&body).into_owned();
    if status == StatusCode::OK { Ok((text, one)) } else { Err(text.trim_end().to_owned()) }
}
