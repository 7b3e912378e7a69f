//! What a client has set of itself, and which fields a server's line about a client has.
//!
//! Owns: [`ClientInfo`], [`Form`]. Never knows: the commands that set and show it, other clients.

use crate::base::limits;
use crate::command::Local;
use crate::traffic::Server;

/// What the client has set of itself.
#[derive(Debug, Default)]
pub(super) struct ClientInfo {
    pub name: Vec<u8>,
    pub lib_name: Vec<u8>,
    pub lib_ver: Vec<u8>,
    /// The letters of what it can do (`CLIENT CAPA`).
    pub capa: &'static str,
}

impl ClientInfo {
    /// The client has set its name or that of its library, which the server is sent as well.
    pub(super) fn note_name(&mut self, local: Local, option: &[u8], value: &[u8]) {
        let names = local == Local::SetName && is_valid_name(option);
        let informs = local == Local::SetInfo && is_valid_name(value);
        if names {
            self.name = option.to_vec();
        } else if informs && option.eq_ignore_ascii_case(b"lib-name") {
            self.lib_name = value.to_vec();
        } else if informs && option.eq_ignore_ascii_case(b"lib-ver") {
            self.lib_ver = value.to_vec();
        }
        debug_assert!(is_valid_name(&self.name), "a name that would break the line about it");
    }

    /// Bytes that are kept of what the client has set.
    pub(super) const fn held_bytes(&self) -> usize {
        self.name.capacity() + self.lib_name.capacity() + self.lib_ver.capacity()
    }
}

/// What a client has set about itself, as far as operators are shown it: a name may be as long as an argument.
pub(super) fn shown(text: &[u8]) -> String {
    let most = limits::SHOWN_NAME_BYTES_MAX;
    let begin = text.get(..most).unwrap_or(text);
    debug_assert!(begin.len() <= most, "a name is shown as a whole however long it is");
    let end = if text.len() > most { "…" } else { "" };
    format!("{}{end}", String::from_utf8_lossy(begin))
}

/// Redis networking.c `validateClientAttr`: printable, without space.
pub(super) fn is_valid_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

const REDIS_7_0: &str = "id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp";
const REDIS_7_2: &str = "id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver";
const REDIS_7_4: &str = "id addr laddr fd name age idle flags db sub psub ssub multi watch qbuf qbuf-free argv-mem multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver";
const REDIS_8_0: &str = "id addr laddr fd name age idle flags db sub psub ssub multi watch qbuf qbuf-free argv-mem multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver io-thread tot-net-in tot-net-out tot-cmds";
const REDIS_6_2: &str = "id addr laddr fd name age idle flags db sub psub multi qbuf qbuf-free argv-mem obl oll omem tot-mem events cmd user redir";
const VALKEY_8_0: &str = "id addr laddr fd name age idle flags db sub psub ssub multi watch qbuf qbuf-free argv-mem multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver tot-net-in tot-net-out tot-cmds";
const VALKEY_8_1: &str = "id addr laddr fd name age idle flags capa db sub psub ssub multi watch qbuf qbuf-free argv-mem multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver tot-net-in tot-net-out tot-cmds";

/// The fields of the line with which a server describes a client, in its order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    /// Of which server.
    server: Option<Server>,
    /// Each with the value that is shown when only the server knows the real one.
    fields: Vec<(Box<str>, Box<str>)>,
}

impl Form {
    /// The form in which the server describes a connection of respgate's own; `None` when it does not.
    pub(super) fn learn(server: Server, line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line)
            .ok()
            .filter(|text| text.len() <= limits::CLIENT_LINE_BYTES_MAX)?;
        let mut fields = Vec::new();
        for field in text.trim_end().split(' ') {
            let (name, value) = field.split_once('=')?;
            let number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            fields.push((name.into(), if number { "0" } else { "" }.into()));
        }
        let known = fields.first().is_some_and(|(name, _): &(Box<str>, _)| &**name == "id");
        (known && fields.len() <= limits::CLIENT_LINE_FIELDS_MAX)
            .then_some(Self { server: Some(server), fields })
    }

    /// The form that is known of the server's version, where the server may not be asked.
    pub(super) fn of(server: Server) -> Self {
        let Server { valkey, major, minor } = server;
        let names = match (valkey, major, minor) {
            (false, 1..=6, _) => REDIS_6_2,
            (false, 7, 0..=1) => REDIS_7_0,
            (_, 7, 2..=3) => REDIS_7_2,
            (false, 7, _) | (_, 0, _) => REDIS_7_4,
            (true, ..=7, _) => REDIS_7_2,
            (true, 8, 0) => VALKEY_8_0,
            (true, ..) => VALKEY_8_1,
            (false, ..) => REDIS_8_0,
        };
        let fields = names.split(' ').map(|name| (name.into(), "0".into())).collect();
        Self { server: Some(server), fields }
    }

    /// Whether it is that of this server.
    pub(super) fn is_of(&self, server: Server) -> bool {
        self.server == Some(server)
    }

    /// The names of the fields, each with the value that is shown when only the server knows the real one.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, other)| (&**name, &**other))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    const SERVER: Server = Server { valkey: true, major: 9, minor: 9 };

    #[test]
    fn form_is_learned_from_a_line() {
        let form = Form::learn(SERVER, b"id=3 addr=127.0.0.1:1 new=7 word=x\n").unwrap();
        let fields: Vec<_> = form.fields().collect();
        assert_eq!(fields, [("id", "0"), ("addr", ""), ("new", "0"), ("word", "")]);
        assert!(form.is_of(SERVER) && !form.is_of(Server::default()));
        for line in [&b""[..], b"nonsense", b"addr=1 id=2", b"id=1 x", b"id=\xff"] {
            assert_eq!(Form::learn(SERVER, line), None, "{line:?}");
        }
        let long = format!("id=1 {}", "x=1 ".repeat(limits::CLIENT_LINE_FIELDS_MAX));
        assert_eq!(Form::learn(SERVER, long.as_bytes()), None);
    }

    #[test]
    fn versions_have_their_fields() {
        let last = |valkey, major, minor| {
            let form = Form::of(Server { valkey, major, minor });
            let (name, _) = form.fields().last().unwrap();
            (form.fields().any(|(name, _)| name == "watch"), name.to_owned())
        };
        assert_eq!(last(false, 6, 2), (false, "redir".to_owned()));
        assert_eq!(last(false, 7, 0), (false, "resp".to_owned()));
        assert_eq!(last(false, 7, 2), (false, "lib-ver".to_owned()));
        assert_eq!(last(false, 7, 4), (true, "lib-ver".to_owned()));
        assert_eq!(last(true, 7, 2), (false, "lib-ver".to_owned()));
        assert_eq!(last(true, 9, 0), (true, "tot-cmds".to_owned()));
        assert_eq!(last(false, 0, 0), (true, "lib-ver".to_owned()));
    }
}
