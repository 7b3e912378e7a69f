//! A refusal: which rule said no, and the words for the client.
//!
//! The server's words are those of Redis 7.0; later servers name the user (`User app has no
//! permissions …`), which here would be a name that no client knows.
//!
//! Owns: [`Rule`], [`Refusal`] and every text that a policy can answer. Never knows: how the
//! decision was reached.

use bytes::{BufMut, BytesMut};

use crate::base::limits::ECHO_BYTES_MAX;
use crate::command::Spec;
use crate::resp::Request;

use super::keyspace::Hazard;

/// The kind of rule that refused: the label of the counter and the field of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// No such command, or no such subcommand.
    Unknown,
    /// Too few or too many arguments.
    Arity,
    /// The keys cannot be found, and not every key is allowed.
    Syntax,
    /// The command is denied by name, or nothing allows it.
    Command,
    /// The command is denied by its category.
    Category,
    /// A key is outside the patterns, or the command would reach such keys without naming them.
    Namespace,
    /// A channel is outside the patterns.
    Channel,
    /// Not a refusal: the request is not all there. Collect it and ask again.
    Incomplete,
}

impl Rule {
    pub const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Arity,
        Self::Syntax,
        Self::Command,
        Self::Category,
        Self::Namespace,
        Self::Channel,
        Self::Incomplete,
    ];

    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Arity => "arity",
            Self::Syntax => "syntax",
            Self::Command => "command",
            Self::Category => "category",
            Self::Namespace => "namespace",
            Self::Channel => "channel",
            Self::Incomplete => "incomplete",
        }
    }
}

/// Why a request may not pass, and enough to say so.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    pub rule: Rule,
    /// The command, or the container of an unknown subcommand; `None` when nothing is known.
    pub spec: Option<&'static Spec>,
    pub(super) cause: Cause,
}

/// What the text speaks of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    UnknownCommand,
    UnknownSubcommand,
    Arity,
    Syntax,
    /// The number of the word that decided.
    Command(u16),
    Key,
    Channel,
    /// A pattern of `SORT`, after the option `BY` or `GET`.
    SortPattern(&'static str),
    Hazard(&'static Hazard),
    /// A channel on which the server itself tells about keys.
    ReservedChannel,
    /// `CLIENT TRACKING … BCAST` over keys outside the patterns.
    Broadcast,
    NotCarried,
    Incomplete,
}

impl Refusal {
    pub(super) const fn new(rule: Rule, spec: Option<&'static Spec>, cause: Cause) -> Self {
        Self { rule, spec, cause }
    }

    /// Whether the refusal is Redis's own, so that a Redis with the same ACL would say the same.
    #[must_use]
    pub const fn is_redis(&self) -> bool {
        match self.cause {
            Cause::UnknownCommand
            | Cause::UnknownSubcommand
            | Cause::Arity
            | Cause::Syntax
            | Cause::Command(_)
            | Cause::Key
            | Cause::Channel
            | Cause::SortPattern(_) => true,
            Cause::Hazard(_)
            | Cause::ReservedChannel
            | Cause::Broadcast
            | Cause::NotCarried
            | Cause::Incomplete => false,
        }
    }

    /// The text between `-` and CRLF. The request must be the one that was refused.
    pub fn write_text(&self, request: &Request<'_>, out: &mut BytesMut) {
        let name = self.spec.map_or("", |spec| spec.name);
        match self.cause {
            Cause::UnknownCommand => write_unknown_command(request, out),
            Cause::UnknownSubcommand => {
                out.put_slice(b"ERR unknown subcommand '");
                put_echo(request.arg(1).unwrap_or_default(), ECHO_BYTES_MAX, out);
                put(out, &["'. Try ", &name.to_ascii_uppercase(), " HELP."]);
            }
            Cause::Arity => put(out, &["ERR wrong number of arguments for '", name, "' command"]),
            Cause::Syntax => put(out, &["ERR syntax error"]),
            Cause::Command(_) => {
                put(out, &["NOPERM this user has no permissions to run the '", name, "' command"])
            }
            Cause::Key => put(
                out,
                &[
                    "NOPERM this user has no permissions to access one of the keys used as arguments",
                ],
            ),
            Cause::Channel => put(
                out,
                &["NOPERM this user has no permissions to access one of the channels used as \
                   arguments"],
            ),
            Cause::SortPattern(option) => put(
                out,
                &["ERR ", option, " option of SORT denied due to insufficient ACL permissions."],
            ),
            Cause::Hazard(hazard) => {
                let Hazard { does, instead, .. } = hazard;
                put(out, &["NOPERM respgate: '", name, "' ", does, " (rule namespace); "]);
                match instead {
                    Some(instead) => put(out, &[instead]),
                    None => put(out, &["the selector (+", name, " allkeys) would permit it"]),
                }
            }
            Cause::ReservedChannel => put(
                out,
                &[
                    "NOPERM respgate: '",
                    name,
                    "' may reach the server's own channels about keys \
                   (rule namespace); name them in the ACL, as in &__keyspace@0__:app:*",
                ],
            ),
            Cause::Broadcast => put(
                out,
                &[
                    "NOPERM respgate: '",
                    name,
                    "' with BCAST tells of keys outside the allowed \
                   patterns (rule namespace); begin every PREFIX with an allowed prefix",
                ],
            ),
            Cause::NotCarried => {
                put(out, &["NOPERM respgate: '", name, "' cannot pass a proxy (rule command)"]);
            }
            Cause::Incomplete => put(out, &["ERR respgate: request is not complete"]),
        }
    }

    /// The whole error line, `-` and CRLF included.
    pub fn write_error(&self, request: &Request<'_>, out: &mut BytesMut) {
        out.put_u8(b'-');
        self.write_text(request, out);
        out.put_slice(b"\r\n");
    }
}

/// Redis: `commandCheckExistence`, server.c. The names of the arguments stop once they fill the
/// limit, each is cut to what is left of it.
fn write_unknown_command(request: &Request<'_>, out: &mut BytesMut) {
    out.put_slice(b"ERR unknown command '");
    put_echo(request.arg(0).unwrap_or_default(), ECHO_BYTES_MAX, out);
    out.put_slice(b"', with args beginning with: ");
    let begin = out.len();
    for index in 1..request.available() {
        let used = out.len() - begin;
        if used >= ECHO_BYTES_MAX {
            break;
        }
        out.put_u8(b'\'');
        put_echo(request.arg(index).unwrap_or_default(), ECHO_BYTES_MAX - used, out);
        out.put_slice(b"' ");
    }
}

/// Bytes of the client within an error: cut at a NUL as the server's C strings are, and without
/// control bytes, each of which becomes a space.
fn put_echo(bytes: &[u8], limit: usize, out: &mut BytesMut) {
    let visible = bytes.iter().take(limit).take_while(|byte| **byte != 0);
    out.extend(visible.map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }));
}

fn put(out: &mut BytesMut, parts: &[&str]) {
    for part in parts {
        out.put_slice(part.as_bytes());
    }
}
