//! A refusal: which rule refused, and the error for the client.
//!
//! The server's words are those of Redis 7.0; later servers name the user (`User app has no
//! permissions …`), which here would be a name that no client knows.
//!
//! Owns: [`Refusal`] and every error of a policy. Never knows: how the
//! decision was reached.

use std::borrow::Cow;
use std::time::Duration;

use bytes::{BufMut, BytesMut};

use crate::base::limits::ECHO_BYTES_MAX;
use crate::base::sha1::Sha1;
use crate::base::utc::utc;
use crate::command::{Does, PatternAt, Reach, Script, Spec};
use crate::resp::Request;

use super::fault::{ContentFault, TtlFault, put};
use super::guard::GuardFailure;
use super::keyspace::does;
pub(super) use crate::base::rule::Rule;

/// A longer name of an unknown command is cut.
const NAME_BYTES_MAX: usize = 64;

const HIDDEN: &str = "NOPERM respgate: the key positions of '";
const HIDDEN_INSTEAD: &str = "' are unknown (rule namespace); declare them in commands.custom";

/// What a block is about, as its refusal names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    Command,
    User,
    Listener,
    Uid,
    Certificate,
}

/// Why a request may not pass, with what the error shows.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    pub rule: Rule,
    /// The command, or the container of an unknown subcommand; `None` when nothing is known.
    pub spec: Option<&'static Spec>,
    pub(super) cause: Cause,
}

/// Why a script may not run.
#[derive(Clone, Copy, Debug)]
pub(super) enum No {
    /// None may; by default, because the policy bounds keys or databases, or because its rules do.
    Denied { by_default: bool },
    /// This one may not.
    Unlisted(Script),
    /// The script would change what all applications of the server share.
    Change,
    /// The script would show what all applications of the server share.
    Shows,
    /// On this server no script stays inside.
    Unguarded(GuardFailure),
}

/// What the text is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    UnknownCommand,
    UnknownSubcommand,
    Arity,
    Syntax,
    /// The number of the word that decided.
    Command(u16),
    /// A database, in the words of Valkey.
    Database,
    Key,
    Channel,
    /// A pattern of `SORT`, after the option `BY` or `GET`.
    SortPattern(&'static str),
    /// The command reaches more than it names.
    Reach(Reach),
    /// The command reaches more than it names, where keys have a prefix: no role permits it, unless by its name.
    OthersKeys(Reach),
    /// A channel on which the server may report keys in other databases.
    OthersEvents,
    /// `SORT … BY` and `GET` put the data where their first `*` is, which would be in the prefix.
    StarInPrefix,
    /// A pattern that may fit the server's own channels, and where the prefix would go is not clear.
    ServerChannels,
    /// A channel on which the server itself reports keys.
    ReservedChannel,
    /// `CLIENT TRACKING … BCAST` over keys outside the patterns.
    Broadcast,
    /// The key positions of the command are unknown.
    HiddenKeys,
    NotCarried,
    NotNamed,
    Script(No),
    Rate {
        wait_ms: u32,
    },
    Concurrency,
    Content(ContentFault),
    Ttl(TtlFault),
    /// An operator has denied it, until then (seconds since 1970; 0: without end).
    Blocked {
        whom: Whom,
        until: u64,
    },
    Incomplete,
}

impl Refusal {
    pub(super) const fn new(rule: Rule, spec: Option<&'static Spec>, cause: Cause) -> Self {
        Self { rule, spec, cause }
    }

    /// No script can be guarded on this server.
    #[must_use]
    pub const fn unguarded(spec: &'static Spec, why: GuardFailure) -> Self {
        Self::new(Rule::Script, Some(spec), Cause::Script(No::Unguarded(why)))
    }

    /// Too often; there is room again after `wait`.
    #[must_use]
    pub fn rate(spec: &'static Spec, wait: Duration) -> Self {
        let wait_ms = u32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u32::MAX);
        Self::new(Rule::Rate, Some(spec), Cause::Rate { wait_ms })
    }

    /// Too many at once.
    #[must_use]
    pub const fn concurrency(spec: &'static Spec) -> Self {
        Self::new(Rule::Concurrency, Some(spec), Cause::Concurrency)
    }

    /// The command in lower case. An unknown one is what the client wrote, cut and without characters
    /// that could mislead a reader of a log.
    #[must_use]
    pub fn command(&self, request: &Request<'_>) -> Cow<'static, str> {
        let written = |arg: usize| plain(request.arg(arg).unwrap_or_default());
        match self.spec {
            None => written(0).into(),
            Some(spec) if self.rule == Rule::Unknown => {
                format!("{}|{}", spec.name, written(1)).into()
            }
            Some(spec) => spec.name.into(),
        }
    }

    /// Whether the refusal is Redis's own, so that a Redis with the same ACL would reply the same.
    #[must_use]
    pub const fn is_redis(&self) -> bool {
        match self.cause {
            Cause::UnknownCommand
            | Cause::UnknownSubcommand
            | Cause::Arity
            | Cause::Syntax
            | Cause::Command(_)
            | Cause::Database
            | Cause::Key
            | Cause::Channel
            | Cause::SortPattern(_) => true,
            Cause::Reach(_)
            | Cause::OthersKeys(_)
            | Cause::OthersEvents
            | Cause::StarInPrefix
            | Cause::ServerChannels
            | Cause::ReservedChannel
            | Cause::Broadcast
            | Cause::HiddenKeys
            | Cause::NotCarried
            | Cause::NotNamed
            | Cause::Script(_)
            | Cause::Rate { .. }
            | Cause::Concurrency
            | Cause::Content(_)
            | Cause::Ttl(_)
            | Cause::Blocked { .. }
            | Cause::Incomplete => false,
        }
    }

    /// Whether a driver sends it to find out what the server is, at the beginning of a connection, and takes the error
    /// for an answer.
    #[must_use]
    pub fn is_probe(&self, request: &Request<'_>) -> bool {
        let is =
            |at, word: &[u8]| request.arg(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word));
        // Neither Redis nor Valkey has these: redis-py, go-redis and node-redis ask it of hosted servers that
        // announce their maintenance, StackExchange.Redis whether the server is a sentinel.
        let maintenance = is(0, b"client") && is(1, b"maint_notifications");
        let unknown = self.rule == Rule::Unknown && (maintenance || is(0, b"sentinel"));
        // Settings that StackExchange.Redis adapts itself to.
        let settings: [&[u8]; 4] =
            [b"timeout", b"slave-read-only", b"replica-read-only", b"databases"];
        let setting = is(0, b"config") && is(1, b"get") && request.arg(3).is_none();
        unknown || (setting && settings.into_iter().any(|name| is(2, name)))
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
            Cause::Database => put(out, &["NOPERM No permissions to access database"]),
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
            Cause::Reach(reach) => write_reach(reach, name, out),
            Cause::OthersKeys(reach) => write_others(reach, name, out),
            Cause::OthersEvents => put(out, &[OWN, name, OTHERS_EVENTS]),
            Cause::StarInPrefix => put(out, &[OWN, name, STAR_IN_PREFIX]),
            Cause::ServerChannels => put(out, &[OWN, name, SERVER_CHANNELS]),
            Cause::ReservedChannel => put(out, &[OWN, name, RESERVED_CHANNEL]),
            Cause::Broadcast => put(out, &[OWN, name, BROADCAST]),
            Cause::HiddenKeys => put(out, &[HIDDEN, name, HIDDEN_INSTEAD]),
            Cause::NotCarried => {
                put(
                    out,
                    &[
                        "NOPERM respgate: '",
                        name,
                        "' is not supported through respgate (rule command)",
                    ],
                );
            }
            Cause::NotNamed => {
                let (all, needs) = (
                    "' sends all data: the rules must name it (+",
                    ") and allow \
                     every key and database, without a prefix (rule command)",
                );
                put(out, &["NOPERM respgate: '", name, all, name, needs]);
            }
            Cause::Script(no) => write_script(no, name, request, out),
            Cause::Rate { wait_ms } => write_rate(wait_ms, name, out),
            Cause::Concurrency => write_concurrency(name, out),
            Cause::Content(fault) => fault.write(name, out),
            Cause::Ttl(fault) => fault.write(name, out),
            Cause::Blocked { whom, until } => write_blocked(whom, until, name, out),
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

const OWN: &str = "NOPERM respgate: '";
const STAR_IN_PREFIX: &str =
    "' with BY or GET cannot have a prefix with a * in it (rule namespace)";
const SERVER_CHANNELS: &str = "' with this pattern may fit the server's own channels (rule \
    namespace); write out what precedes the key, as in __keyspace@0__:*, or __key*__:*";
const RESERVED_CHANNEL: &str = "' may reach the server's own channels about keys (rule namespace); \
    name them in the ACL, as in &__keyspace@0__:app:*";
const OTHERS_EVENTS: &str = "' may receive events of keys in other databases (rule namespace); write out the \
    number of an allowed one, as in __keyspace@0__:*";
const NO_DATABASE: &str = "the server's invalidations do not name their database, so those of others \
    cannot be left out; only rules without db= permit it";
const NAMED: &str = " in the rules would permit it by name";
const BROADCAST: &str = "' with BCAST reports keys outside the allowed patterns (rule namespace); \
    begin every PREFIX with an allowed prefix";

const NO_SCRIPTS: &str = "is about scripts, and none may run where the policy bounds keys by rules \
    that cannot be kept inside scripts (rule script); scripts.mode = \"guarded\" names them, \
    \"allowlist\" permits named ones, \"declared-keys\" all of them";

fn write_reach(reach: Reach, name: &str, out: &mut BytesMut) {
    put(out, &[OWN, name, "' ", does(reach), " (rule namespace); "]);
    match reach {
        Reach::Scan(PatternAt::Argument) => {
            put(out, &["begin every pattern with an allowed prefix"]);
        }
        Reach::Scan(PatternAt::Option) => put(out, &["begin every MATCH with an allowed prefix"]),
        Reach::Copy => put(out, &["leave DB out"]),
        Reach::ChannelScan => put(out, &["give an allowed pattern"]),
        Reach::ChannelCount => put(out, &["give allowed channels"]),
        Reach::Server(does) if does.access().is_none() => put(out, &["+", name, NAMED]),
        Reach::Invalidations => put(out, &[NO_DATABASE]),
        Reach::Named
        | Reach::Move
        | Reach::Migrate
        | Reach::Report
        | Reach::Database(_)
        | Reach::Server(_) => put(out, &["the selector (+", name, " allkeys) would permit it"]),
    }
}

fn write_others(reach: Reach, name: &str, out: &mut BytesMut) {
    put(out, &[OWN, name, "' ", does(reach), " (rule namespace)"]);
    if let Reach::Database(Does::CountsKeys | Does::RemovesKeys) = reach {
        put(out, &["; keys.", name, " = true makes it this application's own"]);
    } else if let Reach::Server(does) = reach
        && does.access().is_none()
    {
        put(out, &["; +", name, NAMED]);
    } else {
        put(out, &[", which is never allowed with keys.mode = \"rewrite\""]);
    }
}

fn write_rate(wait_ms: u32, name: &str, out: &mut BytesMut) {
    let words = "' (rule rate); retry in ";
    put(
        out,
        &["ERR respgate: rate limit exceeded for '", name, words, &wait_ms.to_string(), " ms"],
    );
}

fn write_blocked(whom: Whom, until: u64, name: &str, out: &mut BytesMut) {
    match whom {
        Whom::Command => put(out, &[OWN, name, "' is blocked"]),
        Whom::User => put(out, &["NOPERM respgate: this user is blocked"]),
        Whom::Listener => put(out, &["NOPERM respgate: this listener is blocked"]),
        Whom::Uid => put(out, &["NOPERM respgate: the uid of this client is blocked"]),
        Whom::Certificate => {
            put(out, &["NOPERM respgate: the certificate of this client is blocked"]);
        }
    }
    put(out, &[" by an operator"]);
    if until != 0 {
        put(out, &[" until ", &utc(until)]);
    }
    put(out, &[" (rule blocked)"]);
}

fn write_concurrency(name: &str, out: &mut BytesMut) {
    let words = "' (rule concurrency); retry when one of them is answered";
    put(out, &["ERR respgate: concurrency limit reached for '", name, words]);
}

/// Writes why a script may not run, with its name where that helps to allow it.
fn write_script(no: No, name: &str, request: &Request<'_>, out: &mut BytesMut) {
    let words = match no {
        No::Denied { by_default: true } => NO_SCRIPTS,
        No::Denied { by_default: false } => {
            "is about scripts, and scripts.mode = \"deny\" permits none (rule script)"
        }
        No::Change => "changes what all applications of the server use (rule script)",
        No::Shows => "shows what all applications of the server use (rule script)",
        No::Unguarded(why) => {
            put(
                out,
                &["NOPERM respgate: '", name, "' cannot be guarded (rule script): ", why.words()],
            );
            return;
        }
        No::Unlisted(Script::Function) => "names a function that is not on the list (rule script)",
        No::Unlisted(_) => "names a script that is not on the list (rule script)",
    };
    put(out, &["NOPERM respgate: '", name, "' ", words]);
    let No::Unlisted(what) = no else { return };
    let named = request.arg(what.argument()).unwrap_or_default();
    let sha = match what {
        Script::Text { .. } => Some(Sha1::of(named)),
        Script::Digest => Sha1::parse(named),
        Script::Function | Script::Exists | Script::Shows | Script::Change { .. } => None,
    };
    if let Some(sha) = sha {
        put(out, &["; its SHA-1 is ", &sha.to_string()]);
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

/// Bytes of the client within an error: cut at a NUL as the server's C strings are, and with a space
/// for each CR and LF.
fn put_echo(bytes: &[u8], limit: usize, out: &mut BytesMut) {
    let visible = bytes.iter().take(limit).take_while(|byte| **byte != 0);
    out.extend(visible.map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
}

fn plain(bytes: &[u8]) -> String {
    let fits = |byte: &u8| byte.is_ascii_graphic() && !b",\"".contains(byte);
    let shown = bytes.iter().take(NAME_BYTES_MAX);
    shown.map(|byte| if fits(byte) { char::from(byte.to_ascii_lowercase()) } else { '?' }).collect()
}
