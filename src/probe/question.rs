//! Questions to a server that change nothing there, and their answers.
//!
//! Owns: [`Question`], [`Conversation`]. Never knows: what is concluded from an answer.
//!
//! What is not a [`Question`] cannot be sent: there is no way to hand bytes to a [`Conversation`].

use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::base::clock;
use crate::base::limits::DECODED_REPLY_BYTES_MAX;
use crate::resp::{Protocol, RequestBuf, Value};
use crate::upstream::dial::ServerConnection;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Ping,
    /// The server's clock.
    Time,
    /// The rules of all users.
    AclList,
    /// One setting.
    ConfigGet(&'static str),
    /// Whether a user may run a command; it is not run.
    DryRun {
        user: String,
        command: Vec<String>,
    },
}

impl Question {
    fn words(&self) -> Vec<&str> {
        match self {
            Self::Ping => vec!["PING"],
            Self::Time => vec!["TIME"],
            Self::AclList => vec!["ACL", "LIST"],
            Self::ConfigGet(name) => vec!["CONFIG", "GET", name],
            Self::DryRun { user, command } => {
                let mut words = vec!["ACL", "DRYRUN", user];
                words.extend(command.iter().map(String::as_str));
                words
            }
        }
    }
}

/// An answer, and when it was asked for and came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `None`: the connection ended, or nothing came in time.
    pub answer: Option<Value>,
    /// There is no answer because the connection ended.
    pub ended: bool,
    pub took: Duration,
    /// The calendar time in the middle between question and answer.
    pub at: SystemTime,
}

impl Asked {
    /// The text of an error, if that was the answer.
    #[must_use]
    pub(crate) fn error(&self) -> Option<String> {
        match &self.answer {
            Some(Value::Error(line)) => Some(String::from_utf8_lossy(line).into_owned()),
            _ => None,
        }
    }

    /// The answer, unless it is an error.
    #[must_use]
    pub(crate) fn value(&self) -> Option<&Value> {
        self.answer.as_ref().filter(|value| !matches!(value, Value::Error(_)))
    }
}

/// Sends questions over one connection, one after the other.
#[derive(Debug)]
pub(crate) struct Conversation {
    link: ServerConnection,
    received: BytesMut,
    limit: Duration,
    /// Nothing can be asked any more.
    over: bool,
}

impl Conversation {
    /// `limit` is the time for one answer.
    #[must_use]
    pub(crate) fn new(link: ServerConnection, limit: Duration) -> Self {
        Self { link, received: BytesMut::new(), limit, over: false }
    }

    pub(crate) async fn ask(&mut self, question: &Question) -> Asked {
        let (begin, wall) = (clock::now(), clock::wall());
        let answer = if self.over { Some(None) } else { self.answer(question).await };
        let ended = matches!(answer, Some(None));
        let answer = answer.flatten();
        self.over |= answer.is_none();
        let took = since(begin);
        Asked { answer, ended, took, at: wall + took / 2 }
    }

    /// The answer, or `None` inside where the connection ended; `None` when the time is over.
    async fn answer(&mut self, question: &Question) -> Option<Option<Value>> {
        let request = RequestBuf::from_args(question.words());
        let (link, received) = (&mut self.link, &mut self.received);
        let ask = async {
            link.stream.write_all(request.as_request().raw()).await.ok()?;
            link.stream.flush().await.ok()?;
            loop {
                if let Ok(value) = Value::decode(received, Protocol::Resp2) {
                    received.clear();
                    return Some(value);
                }
                let full = received.len() > DECODED_REPLY_BYTES_MAX;
                if full || link.stream.read_buf(received).await.ok()? == 0 {
                    return None;
                }
            }
        };
        timeout(self.limit, ask).await.ok()
    }

    /// Ends the connection in the orderly way.
    pub(crate) async fn close(mut self) {
        let _ = timeout(self.limit, self.link.stream.shutdown()).await;
    }
}

fn since(begin: Instant) -> Duration {
    clock::now().duration_since(begin)
}
