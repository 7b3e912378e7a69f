//! What an operator has denied for a while, on top of every policy: commands, or everything to a user, a
//! listener, a uid or a certificate.
//!
//! Owns: [`Blocks`], [`Blocked`], [`Subject`]. Never knows: operators, clocks, connections.

use std::sync::Arc;

use super::Rule;
use super::acl::{self, Problem, Step};
use super::refusal::{Cause, Refusal, Whom};
use super::role::Selector;
use crate::command::{Dictionary, Flags, Spec};
use crate::config::{CertificatePattern, San};

/// All blocks of one moment.
#[derive(Debug, Default)]
pub struct Blocks(Vec<Block>);

#[derive(Debug)]
struct Block {
    what: What,
    /// Seconds since 1970; 0: without end.
    until: u64,
}

#[derive(Debug)]
enum What {
    Commands(Selector),
    User(Box<str>),
    Listener(Box<str>),
    Uid(u32),
    Certificate(CertificatePattern),
}

/// A client, as far as it may be meant by a block.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    pub user: &'a str,
    pub listener: &'a str,
    pub uid: Option<u32>,
    /// The names of its certificate, and its SHA-256 in hexadecimal.
    pub certificate: Option<(&'a [San], &'a str)>,
}

impl Blocks {
    /// Denies the commands of these words to every client: `flushall`, `@dangerous`, `config|set`.
    ///
    /// # Errors
    ///
    /// With the first word that names no commands.
    pub fn add_commands(
        &mut self,
        words: &str,
        dictionary: &Dictionary,
        until: u64,
    ) -> Result<(), String> {
        let mut commands = Selector::default();
        for word in words.split_ascii_whitespace() {
            let applied = match word {
                _ if word.starts_with(['+', '-']) => Err(Problem::NotCommands),
                "@all" | "allcommands" => commands.apply(Step::AllCommands { allow: true }, 0),
                _ => acl::step_of_commands(&format!("+{word}"), dictionary)
                    .and_then(|step| commands.apply(step, 0)),
            };
            applied.map_err(|problem| format!("'{}': {problem}", word.escape_debug()))?;
        }
        self.0.push(Block { what: What::Commands(commands), until });
        Ok(())
    }

    /// Denies everything to the clients of a user …
    pub fn add_user(&mut self, name: &str, until: u64) {
        self.0.push(Block { what: What::User(name.into()), until });
    }

    /// … of a listener …
    pub fn add_listener(&mut self, address: &str, until: u64) {
        self.0.push(Block { what: What::Listener(address.into()), until });
    }

    /// … of a user of the system, over a Unix socket …
    pub fn add_uid(&mut self, uid: u32, until: u64) {
        self.0.push(Block { what: What::Uid(uid), until });
    }

    /// … or of those that show such a certificate.
    pub fn add_certificate(&mut self, pattern: CertificatePattern, until: u64) {
        self.0.push(Block { what: What::Certificate(pattern), until });
    }

    /// Whether a certificate with these names and this fingerprint is denied.
    #[must_use]
    pub fn denies_certificate(&self, names: &[San], fingerprint: &str) -> bool {
        let denies = |block: &Block| match &block.what {
            What::Certificate(pattern) => pattern.fits(names, fingerprint),
            What::Commands(_) | What::User(_) | What::Listener(_) | What::Uid(_) => false,
        };
        self.0.iter().any(denies)
    }

    /// What of it concerns a client; none of it costs nothing.
    #[must_use]
    pub fn of(self: &Arc<Self>, client: Subject<'_>) -> Option<Blocked> {
        let concerns = |block: &&Block| match &block.what {
            What::Commands(_) => false,
            What::User(name) => **name == *client.user,
            What::Listener(address) => **address == *client.listener,
            What::Uid(number) => client.uid == Some(*number),
            What::Certificate(pattern) => {
                client.certificate.is_some_and(|(names, print)| pattern.fits(names, print))
            }
        };
        let whole = self.0.iter().find(concerns).map(|block| (block.whom(), block.until));
        let any = whole.is_some() || self.0.iter().any(|block| block.whom() == Whom::Command);
        any.then(|| Blocked { whole, blocks: Arc::clone(self) })
    }
}

impl Block {
    const fn whom(&self) -> Whom {
        match self.what {
            What::Commands(_) => Whom::Command,
            What::User(_) => Whom::User,
            What::Listener(_) => Whom::Listener,
            What::Uid(_) => Whom::Uid,
            What::Certificate(_) => Whom::Certificate,
        }
    }
}

/// What is denied to one client.
#[derive(Debug)]
pub struct Blocked {
    /// Everything, and until when.
    whole: Option<(Whom, u64)>,
    blocks: Arc<Blocks>,
}

impl Blocked {
    /// The block that denies a command to the client. A client to which everything is denied may still log in
    /// and close.
    #[must_use]
    pub fn refusal(&self, spec: &'static Spec) -> Option<Refusal> {
        let refuse = |whom, until| {
            Some(Refusal::new(Rule::Blocked, Some(spec), Cause::Blocked { whom, until }))
        };
        if let Some((whom, until)) = self.whole.filter(|_| !spec.flags.has(Flags::NO_AUTH)) {
            return refuse(whom, until);
        }
        let denies = |block: &&Block| match &block.what {
            What::Commands(commands) => commands.allows(spec.id),
            What::User(_) | What::Listener(_) | What::Uid(_) | What::Certificate(_) => false,
        };
        let block = self.blocks.0.iter().find(denies)?;
        refuse(Whom::Command, block.until)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use bytes::BytesMut;

    use super::*;
    use crate::command::by_name;
    use crate::resp::RequestBuf;

    fn spec(name: &str) -> &'static Spec {
        by_name(name).unwrap()
    }

    #[test]
    fn commands_are_denied_to_everyone() {
        let mut blocks = Blocks::default();
        blocks.add_commands("FLUSHALL config|set @scripting", &Dictionary::default(), 60).unwrap();
        let blocks = Arc::new(blocks);
        let blocked = blocks.of(Subject::default()).unwrap();
        for (name, denied) in [
            ("flushall", true),
            ("config|set", true),
            ("eval", true),
            ("config|get", false),
            ("get", false),
        ] {
            assert_eq!(blocked.refusal(spec(name)).is_some(), denied, "{name}");
        }
        let mut text = BytesMut::new();
        let request = RequestBuf::from_args(["FLUSHALL"]);
        blocked.refusal(spec("flushall")).unwrap().write_text(&request.as_request(), &mut text);
        let expected = "NOPERM respgate: 'flushall' is blocked by an operator until \
                        1970-01-01T00:01:00Z (rule blocked)";
        assert_eq!(text, expected);
    }

    #[test]
    fn block_denies_each_command_of_its_target() {
        let mut blocks = Blocks::default();
        blocks.add_user("app", 0);
        blocks.add_listener("unix:/a", 5);
        blocks.add_uid(7, 5);
        blocks.add_certificate("dns:*.bad".parse().unwrap(), 5);
        let blocks = Arc::new(blocks);
        let (bad, good) = ([San::Dns("a.bad".to_owned())], [San::Dns("a.good".to_owned())]);
        assert!(blocks.denies_certificate(&bad, "") && !blocks.denies_certificate(&good, ""));
        let of = |user, listener| Subject { user, listener, ..Subject::default() };
        let uid = |uid| Subject { uid: Some(uid), ..of("other", "") };
        let certificate = |names| Subject { certificate: Some((names, "")), ..of("other", "") };
        for (client, whom) in [
            (of("app", ""), Some("this user")),
            (Subject { uid: Some(1), ..of("other", "unix:/a") }, Some("this listener")),
            (uid(7), Some("uid")),
            (uid(8), None),
            (certificate(&bad), Some("the certificate of this client")),
            (certificate(&good), None),
            (of("default", "unix:/b"), None),
        ] {
            let blocked = blocks.of(client);
            assert_eq!(blocked.is_some(), whom.is_some(), "{client:?}");
            let Some(blocked) = blocked else { continue };
            let mut text = BytesMut::new();
            let request = RequestBuf::from_args(["GET", "a"]);
            blocked.refusal(spec("get")).unwrap().write_text(&request.as_request(), &mut text);
            let text = String::from_utf8_lossy(&text).into_owned();
            assert!(text.contains(whom.unwrap()), "{text}");
            for free in ["auth", "hello", "quit", "reset"] {
                assert!(blocked.refusal(spec(free)).is_none(), "{free}");
            }
        }
        assert!(Arc::new(Blocks::default()).of(of("app", "")).is_none());
    }

    #[test]
    fn words_that_name_no_command_are_refused() {
        for words in ["nosuch", "@nosuch", "~a*", "+get", "-get", "allkeys", "get nosuch"] {
            let added = Blocks::default().add_commands(words, &Dictionary::default(), 0);
            assert!(added.is_err(), "{words}");
        }
    }
}
