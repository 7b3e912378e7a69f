//! What is sent first on a new connection, and how the server's answers are judged.
//!
//! Owns: [`LoginScript`], [`OptionalCommands`]. Never knows: sockets, how the answers arrived.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use zeroize::Zeroizing;

use super::credentials::Login;
use super::failure::DialError;
use super::fault::Fault;
use crate::base::secret::Secret;
use crate::resp::{Protocol, Value, encode};
use crate::traffic::{Facts, PoolKey, own};

/// How the server's `CLIENT LIST` names our connections.
const NAME: &[u8] = b"respgate";

/// The optional commands that a server permits. Refused ones are not sent again: each would be an
/// entry in the server's `ACL LOG`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OptionalCommands {
    /// The connection has a name that shows whose it is.
    pub name: bool,
    pub setinfo: bool,
    pub ping: bool,
    /// The user that the server has taken from the client certificate.
    pub whoami: bool,
}

impl Default for OptionalCommands {
    fn default() -> Self {
        Self { name: true, setinfo: true, ping: true, whoami: true }
    }
}

/// What to do after an answer.
pub(crate) enum Progress {
    /// Wait for the next answer.
    More,
    /// Send this, then wait.
    Send(Zeroizing<Vec<u8>>),
    /// The connection is ready; it uses the protocol and the database of its key.
    /// `client_id`: the connection's number at the server; 0 when that is not known.
    Done { facts: Facts, client_id: u64 },
}

impl std::fmt::Debug for Progress {
    /// The bytes to send may hold the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::More => "More",
            Self::Send(_) => "Send(..)",
            Self::Done { .. } => "Done { .. }",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Hello,
    Auth,
    WhoAmI,
    SetInfo,
    Select,
    Ping,
}

/// The login of one connection. All of it is sent at once; only a server without `HELLO` costs a
/// second round.
#[derive(Debug)]
pub(crate) struct LoginScript {
    key: PoolKey,
    login: Arc<Login>,
    optional: OptionalCommands,
    /// Answers still to come, in order.
    expected: VecDeque<Step>,
    /// Number of replies to ignore: they answer a first round that was rejected.
    void: usize,
    facts: Facts,
    client_id: u64,
}

impl LoginScript {
    #[must_use]
    pub(crate) fn new(key: PoolKey, login: Arc<Login>, optional: OptionalCommands) -> Self {
        let (expected, facts) = (VecDeque::new(), Facts::default());
        Self { key, login, optional, expected, void: 0, facts, client_id: 0 }
    }

    /// What was learned for the next login.
    #[must_use]
    pub(crate) const fn optional(&self) -> OptionalCommands {
        self.optional
    }

    /// The first bytes of the connection. They may hold the password.
    #[must_use]
    pub(crate) fn begin(&mut self) -> Zeroizing<Vec<u8>> {
        let login = Arc::clone(&self.login);
        let version = self.key.protocol.version().to_string();
        debug_assert!(self.expected.is_empty() && self.void == 0, "a login is begun once");
        let mut hello: Vec<&[u8]> = vec![own::HELLO, version.as_bytes()];
        if let Some(password) = &login.password {
            hello.extend([&b"AUTH"[..], user(&login), password.expose()]);
        }
        if self.optional.name {
            hello.extend([&b"SETNAME"[..], NAME]);
        }
        let mut out = self.buffer();
        let room = out.capacity();
        self.write_step(&mut out, Step::Hello, &hello);
        self.send_rest(&mut out);
        debug_assert_eq!(out.capacity(), room, "a buffer that grows leaves copies behind");
        self.check_invariants();
        out
    }

    /// Room for all of it: a buffer that grows keeps copies of the password in freed memory.
    fn buffer(&self) -> Zeroizing<Vec<u8>> {
        let name = self.login.username.as_ref().map_or(0, String::len);
        let password = self.login.password.as_ref().map_or(0, |p| p.expose().len());
        Zeroizing::new(Vec::with_capacity(512 + name + password))
    }

    /// Writes one command, and expects its reply.
    fn write_step(&mut self, out: &mut Vec<u8>, step: Step, args: &[&[u8]]) {
        debug_assert!(args.first().is_some_and(|word| own::begins(word)), "a client's letters");
        write_command(out, args);
        self.expected.push_back(step);
    }

    /// Everything after the login.
    fn send_rest(&mut self, out: &mut Vec<u8>) {
        if self.login.certificate.is_some() && self.optional.whoami {
            self.write_step(out, Step::WhoAmI, &[own::ACL, b"WHOAMI"]);
        }
        if self.optional.setinfo {
            self.write_step(out, Step::SetInfo, &[own::CLIENT, b"SETINFO", b"LIB-NAME", NAME]);
        }
        if self.key.database != 0 {
            let database = self.key.database.to_string();
            self.write_step(out, Step::Select, &[own::SELECT, database.as_bytes()]);
        }
        if self.optional.ping {
            self.write_step(out, Step::Ping, &[own::PING]);
        }
    }

    /// Takes the next answer.
    ///
    /// # Errors
    ///
    /// When the connection cannot be used; it must be closed.
    pub(crate) fn handle_reply(&mut self, reply: &Value) -> Result<Progress, DialError> {
        self.judge(reply).map_err(|error| {
            debug_assert!(!error.fix.is_empty(), "a refusal has a remedy");
            let refused = error.code == Fault::WrongPassword.code();
            let blank = self.login.password.as_ref().is_some_and(has_blank_ends);
            if refused && blank { error.advise(BLANK_ENDS) } else { error }
        })
    }

    fn judge(&mut self, reply: &Value) -> Result<Progress, DialError> {
        debug_assert!(self.void <= self.expected.len(), "more do not count than come");
        debug_assert!(self.expected.len() <= 10, "a login has two rounds of five commands");
        let Some(step) = self.expected.pop_front() else {
            return Err(nonsense("the server answers more than it was asked"));
        };
        if self.void > 0 {
            self.void -= 1;
            self.check_invariants();
            return Ok(Progress::More);
        }
        if matches!(reply, Value::Push(_)) {
            self.expected.push_front(step);
            self.check_invariants();
            return Ok(Progress::More);
        }
        let error = if let Value::Error(line) = reply { Some(line.as_slice()) } else { None };
        match step {
            Step::Hello => match error {
                None => self.learn(reply)?,
                Some(line) => return self.without_hello(line),
            },
            Step::Auth => judge_auth(error)?,
            Step::WhoAmI => self.optional.whoami = judge_user(&self.login, reply)?,
            Step::SetInfo => self.optional.setinfo = !error.is_some_and(is_refusal),
            Step::Select => judge_select(error)?,
            Step::Ping => self.judge_ping(error)?,
        }
        self.check_invariants();
        Ok(if self.expected.is_empty() {
            Progress::Done { facts: std::mem::take(&mut self.facts), client_id: self.client_id }
        } else {
            Progress::More
        })
    }

    /// The server refused `HELLO`: either the login in it, or the command itself; then the older login follows, which
    /// supports RESP2 alone.
    fn without_hello(&mut self, line: &[u8]) -> Result<Progress, DialError> {
        let command_refused = matches!(code(line), "NOPERM" | "ERR") && !is_full(line);
        if self.login.certificate.is_some() && code(line) == "NOAUTH" {
            return Err(DialError::of(Fault::NoCertificateUser));
        }
        if !command_refused {
            return Err(login_refused(line));
        }
        if self.key.protocol == Protocol::Resp3 {
            return Err(DialError::new(
                Fault::NoProtocol,
                "the server refuses HELLO, without which there is no RESP3; \
                 it is older than Redis 6, or HELLO is renamed or denied by its ACL",
            ));
        }
        debug_assert_eq!(self.void, 0, "HELLO is refused once");
        debug_assert_eq!(self.client_id, 0, "a server that has greeted knows HELLO");
        self.void = self.expected.len();
        // Without HELLO it is the PING that proves the login.
        self.optional.ping = true;
        let mut out = self.buffer();
        let room = out.capacity();
        let login = Arc::clone(&self.login);
        match (&login.username, &login.password) {
            (Some(name), Some(password)) => {
                self.write_step(
                    &mut out,
                    Step::Auth,
                    &[own::AUTH, name.as_bytes(), password.expose()],
                );
            }
            (None, Some(password)) => {
                self.write_step(&mut out, Step::Auth, &[own::AUTH, password.expose()]);
            }
            (_, None) => {}
        }
        self.send_rest(&mut out);
        debug_assert_eq!(out.capacity(), room, "a buffer that grows leaves copies behind");
        debug_assert!(self.expected.len() > self.void, "it waits for no answer that counts");
        self.check_invariants();
        Ok(Progress::Send(out))
    }

    /// What holds whenever a method returns that does not end the login.
    fn check_invariants(&self) {
        debug_assert!(self.void <= self.expected.len(), "more do not count than come");
        debug_assert!(self.expected.len() <= 10, "a login has two rounds of five commands");
        let counts = self.expected.iter().skip(self.void);
        let first = |step: &Step| *step == Step::Hello;
        debug_assert!(!counts.skip(1).any(first), "HELLO comes first");
        let selects = self.expected.iter().filter(|step| **step == Step::Select).count();
        debug_assert!(selects <= 2, "a database is selected once a round");
        let chosen = self.key.database != 0;
        debug_assert!(chosen || selects == 0, "another database is selected");
        let password = self.login.password.is_some();
        debug_assert!(password || !self.expected.contains(&Step::Auth), "no password is sent");
    }

    fn learn(&mut self, hello: &Value) -> Result<(), DialError> {
        let text = |key: &str| {
            let bytes = hello.get(key).and_then(Value::as_bytes).unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        };
        let number = |key| hello.get(key).and_then(Value::as_i64);
        if number("proto") != Some(self.key.protocol.version().into()) {
            return Err(nonsense("the server's answer to HELLO is not what Redis answers"));
        }
        debug_assert_eq!(self.client_id, 0, "a server greets once");
        self.client_id = number("id").and_then(|id| u64::try_from(id).ok()).unwrap_or(0);
        self.facts = Facts {
            server: text("server"),
            version: text("version"),
            mode: text("mode"),
            role: text("role"),
            availability_zone: hello.get("availability_zone").map(|_| text("availability_zone")),
            ..Facts::default()
        };
        if let Some(modules) = hello.get("modules") {
            self.facts.modules_resp2 = encode_modules(modules, Protocol::Resp2);
            self.facts.modules_resp3 = encode_modules(modules, Protocol::Resp3);
        }
        Ok(())
    }

    /// Any answer proves that the connection works, unless it reports that the login is missing, or that
    /// the server is not ready yet: then commands wait as for one that is down.
    fn judge_ping(&mut self, error: Option<&[u8]>) -> Result<(), DialError> {
        match error {
            Some(line) if matches!(code(line), "NOAUTH" | "LOADING" | "MASTERDOWN") => {
                Err(login_refused(line))
            }
            Some(line) => {
                self.optional.ping = code(line) != "NOPERM";
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// What to do about a refused password that may have been written by mistake.
const BLANK_ENDS: &str = "the password that respgate sends begins or ends with a space, a tab or a line break: remove that \
     where the password is written; then compare [upstream.auth] with the server's ACL";

/// Whether blank space is part of a password, at an end of it.
fn has_blank_ends(password: &Secret) -> bool {
    let bytes = password.expose();
    let blank = [bytes.first(), bytes.last()].into_iter().flatten().any(u8::is_ascii_whitespace);
    debug_assert!(!blank || !bytes.is_empty(), "what is empty has no ends");
    blank
}

/// What the server reports of a module, in its order (`addReplyLoadedModules`, module.c).
const MODULE_KEYS: [&str; 4] = ["name", "ver", "path", "args"];

fn encode_modules(modules: &Value, protocol: Protocol) -> Vec<u8> {
    let modules = modules.elements().unwrap_or_default();
    let mut out = BytesMut::new();
    encode::array(&mut out, modules.len());
    for module in modules {
        let pairs = MODULE_KEYS.map(|key| module.get(key).map(|value| (key, value)));
        let pairs = pairs.into_iter().flatten();
        encode::map(&mut out, pairs.clone().count(), protocol);
        for (key, value) in pairs {
            encode::bulk(&mut out, key);
            match (value, value.elements()) {
                (Value::Integer(number), _) => encode::integer(&mut out, *number),
                (_, Some(args)) => {
                    encode::array(&mut out, args.len());
                    for arg in args {
                        encode::bulk(&mut out, arg.as_bytes().unwrap_or_default());
                    }
                }
                _ => encode::bulk(&mut out, value.as_bytes().unwrap_or_default()),
            }
        }
    }
    out.to_vec()
}

/// The user of `HELLO … AUTH`, which wants one even for a password alone.
fn user(login: &Login) -> &[u8] {
    login.username.as_ref().map_or(b"default", |name| name.as_bytes())
}

/// A login with another password on an open connection.
pub(super) fn relogin(login: &Login) -> Zeroizing<Vec<u8>> {
    let password = login.password.as_ref().map_or(&b""[..], |password| password.expose());
    let name = login.username.as_ref().map_or(0, String::len);
    // A buffer that grows keeps copies of the password in freed memory.
    let mut out = Zeroizing::new(Vec::with_capacity(128 + name + password.len()));
    let room = out.capacity();
    match &login.username {
        Some(name) => write_command(&mut out, &[own::AUTH, name.as_bytes(), password]),
        None => write_command(&mut out, &[own::AUTH, password]),
    }
    debug_assert_eq!(out.capacity(), room, "a buffer that grows leaves copies behind");
    out
}

fn judge_auth(error: Option<&[u8]>) -> Result<(), DialError> {
    error.map_or(Ok(()), |line| Err(login_refused(line)))
}

/// Checks the user that the server has taken from the certificate. Returns whether the reply names one; a server that
/// cannot name it at this moment is no server that never does.
fn judge_user(login: &Login, reply: &Value) -> Result<bool, DialError> {
    let name = match (reply, reply.as_bytes()) {
        (Value::Error(line), _) if code(line) == "NOAUTH" => {
            return Err(DialError::of(Fault::NoCertificateUser));
        }
        (Value::Error(line), _) if code(line) == "BUSY" => return Err(busy(line)),
        (Value::Error(line), _) if !is_refusal(line) => return Err(login_refused(line)),
        (Value::Error(_), _) | (_, None) => return Ok(false),
        (_, Some(name)) => name,
    };
    let expected = login.username.as_deref().map(str::as_bytes);
    if expected.is_some_and(|expected| expected != name) {
        return Err(DialError::of(Fault::OtherUser));
    }
    let default = name == b"default" && expected.is_none();
    if default && login.certificate.is_some_and(|certificate| !certificate.allow_default) {
        return Err(DialError::of(Fault::DefaultUser));
    }
    Ok(true)
}

fn judge_select(error: Option<&[u8]>) -> Result<(), DialError> {
    let Some(line) = error else { return Ok(()) };
    match code(line) {
        "NOAUTH" | "LOADING" | "MASTERDOWN" => return Err(login_refused(line)),
        "BUSY" => return Err(busy(line)),
        word if is_unready(word) => return Err(login_refused(line)),
        _ => {}
    }
    let text = format!("the server refuses the database: {}", String::from_utf8_lossy(line));
    let server_line = Some(line.to_vec());
    Err(DialError { server_line, ..DialError::new(Fault::NoDatabase, text) })
}

/// Whether the server refuses a command as such, and not for what it is doing at this moment.
fn is_refusal(line: &[u8]) -> bool {
    debug_assert!(!line.starts_with(b"-"), "the line has no mark of its kind any more");
    matches!(code(line), "NOPERM" | "ERR")
}

/// The server works, and sends this line to every client until its script has ended.
fn busy(line: &[u8]) -> DialError {
    debug_assert_eq!(code(line), "BUSY", "another error is no sign of a script");
    DialError { server_line: Some(line.to_vec()), ..DialError::of(Fault::Busy) }
}

/// The login failed. Of the server's line only the first word is repeated: it may quote the password
/// (`unknown command 'HELLO', with args beginning with: …`).
fn login_refused(line: &[u8]) -> DialError {
    DialError::of(match code(line) {
        "WRONGPASS" => Fault::WrongPassword,
        "NOAUTH" => Fault::LoginMissing,
        "NOPERM" => Fault::LoginDenied,
        "LOADING" => Fault::Loading,
        "MASTERDOWN" => Fault::PrimaryDown,
        "BUSY" => Fault::Busy,
        "NOPROTO" => Fault::NoProtocol,
        "DENIED" => Fault::ProtectedMode,
        "ERR" if is_full(line) => Fault::Full,
        "ERR" => Fault::LoginRejected,
        word if is_unready(word) => {
            let cause = format!("the server accepts no login in its present state ({word})");
            return DialError::new(Fault::Unready, cause);
        }
        other => {
            let cause = format!("the server answers {other} to the login");
            return DialError::new(Fault::LoginUnclear, cause);
        }
    })
}

/// Whether an error is about the state of the server or of its cluster, which passes, and not about the command or
/// the login. Redis itself answers none of these to HELLO or AUTH; servers like it and proxies do.
fn is_unready(word: &str) -> bool {
    debug_assert!(!word.is_empty() && word.len() <= 16, "a code is a short word");
    matches!(word, "CLUSTERDOWN" | "TRYAGAIN" | "OOM" | "MISCONF" | "NOREPLICAS")
}

fn is_full(line: &[u8]) -> bool {
    line.starts_with(b"ERR max number of clients")
}

fn nonsense(text: impl Into<Box<str>>) -> DialError {
    DialError::new(Fault::NotRedis, text)
}

/// The first word of an error line, if it is one that servers use.
fn code(line: &[u8]) -> &str {
    let word = line.split(|&b| b == b' ').next().unwrap_or_default();
    match std::str::from_utf8(word) {
        Ok(word)
            if matches!(word.len(), 1..=16) && word.bytes().all(|b| b.is_ascii_uppercase()) =>
        {
            word
        }
        _ => "an error",
    }
}

fn write_command(out: &mut Vec<u8>, args: &[&[u8]]) {
    debug_assert!(!args.is_empty(), "a command of no word");
    out.extend(format!("*{}\r\n", args.len()).bytes());
    for arg in args {
        out.extend(format!("${}\r\n", arg.len()).bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests;
