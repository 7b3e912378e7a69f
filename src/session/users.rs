//! Local users: their credentials and policies.
//!
//! Owns: [`Users`], [`User`], [`Name`]. Never knows: AUTH and HELLO, listeners, files.

use std::collections::HashMap;
use std::sync::Arc;

use super::peer::PeerIdentity;
use crate::base::password::{PasswordHash, Passwords};
use crate::config::SanPattern;
use crate::policy::Policy;

const DEFAULT: &str = "default";

/// The user of a client; at first `default`, whether there is such a user or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name(Option<Arc<str>>);

impl Name {
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or(DEFAULT)
    }
}

impl From<Name> for Arc<str> {
    fn from(name: Name) -> Self {
        name.0.unwrap_or_else(|| DEFAULT.into())
    }
}

/// One local user.
#[derive(Debug)]
pub struct User {
    pub name: Arc<str>,
    pub enabled: bool,
    pub passwords: Passwords,
    /// Without one, that of the listener.
    pub policy: Option<Arc<Policy>>,
    /// Numbers of the system's users that are this one on a Unix socket.
    pub uids: Vec<u32>,
    /// Names of certificates that are this one over TLS.
    pub certificates: Vec<SanPattern>,
}

/// All local users of one moment.
#[derive(Debug, Default)]
pub struct Users {
    by_name: HashMap<Arc<str>, User>,
    by_uid: HashMap<u32, Arc<str>>,
    /// In the order of the users.
    by_certificate: Vec<(SanPattern, Arc<str>)>,
}

impl FromIterator<User> for Users {
    fn from_iter<T: IntoIterator<Item = User>>(users: T) -> Self {
        let mut all = Self::default();
        for user in users {
            let uids = user.uids.iter().map(|uid| (*uid, Arc::clone(&user.name)));
            all.by_uid.extend(uids);
            let names = user.certificates.iter();
            all.by_certificate.extend(names.map(|name| (name.clone(), Arc::clone(&user.name))));
            all.by_name.insert(Arc::clone(&user.name), user);
        }
        all
    }
}

impl Users {
    pub(super) fn get(&self, name: &Name) -> Option<&User> {
        self.by_name.get(name.as_str())
    }

    pub(super) fn known(&self, name: &[u8]) -> Option<Name> {
        let user = std::str::from_utf8(name).ok().and_then(|name| self.by_name.get(name));
        user.map(User::name)
    }

    /// The first user of a client, and whether it need not log in: the user of its uid, the first user whose
    /// names its certificate carries, or `default` when that has `nopass` (Redis networking.c
    /// `clientSetDefaultAuth`).
    pub(super) fn enter(&self, peer: &PeerIdentity) -> (Name, bool) {
        let own = match peer {
            PeerIdentity::Anonymous => None,
            PeerIdentity::Uid(uid) => self.by_uid.get(uid),
            PeerIdentity::Certificate(certificate) => {
                let fits = |(name, _): &&(SanPattern, _)| certificate.fits(name);
                self.by_certificate.iter().find(fits).map(|(_, user)| user)
            }
        };
        let own = own.and_then(|name| self.by_name.get(name));
        match own.filter(|user| user.enabled) {
            Some(user) => (user.name(), true),
            None => (Name::default(), self.default_is_open()),
        }
    }

    fn default_is_open(&self) -> bool {
        let default = self.by_name.get(DEFAULT);
        default.is_some_and(|user| user.enabled && user.passwords == Passwords::Any)
    }

    /// Whether `AUTH password` makes no sense (Redis acl.c `authCommand`).
    pub(super) fn default_has_no_password(&self) -> bool {
        let default = self.by_name.get(DEFAULT);
        default.is_some_and(|user| user.passwords == Passwords::Any)
    }

    /// Redis acl.c `ACLCheckUserCredentials`. The password is hashed and compared whatever user is named,
    /// so that the time taken does not show which users exist.
    pub(super) fn admit(&self, name: &[u8], password: &[u8]) -> Option<Name> {
        let hash = PasswordHash::of(password);
        let unknown = Passwords::OneOf(vec![PasswordHash::of(b"")]);
        let user = std::str::from_utf8(name).ok().and_then(|name| self.by_name.get(name));
        let right = user.map_or(&unknown, |user| &user.passwords).admit(&hash);
        user.filter(|user| user.enabled & right).map(User::name)
    }
}

impl User {
    fn name(&self) -> Name {
        Name((&*self.name != DEFAULT).then(|| Arc::clone(&self.name)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    fn user(name: &str, enabled: bool, passwords: &[&str], uids: &[u32]) -> User {
        let hashes = passwords.iter().map(|word| PasswordHash::of(word.as_bytes())).collect();
        User {
            name: name.into(),
            enabled,
            passwords: Passwords::OneOf(hashes),
            policy: None,
            uids: uids.to_vec(),
            certificates: Vec::new(),
        }
    }

    fn users() -> Users {
        let open = User { passwords: Passwords::Any, ..user("open", true, &[], &[]) };
        let all = [
            user("a", true, &["one", "two"], &[1000, 1001]),
            user("off", false, &["one"], &[1002]),
            User { enabled: false, ..User { name: "shut".into(), ..open } },
            user("mute", true, &[], &[]),
        ];
        all.into_iter()
            .chain([User { passwords: Passwords::Any, ..user("open", true, &[], &[]) }])
            .collect()
    }

    #[test]
    fn users_that_may_log_in() {
        let users = users();
        for (name, password, right) in [
            ("a", "one", true),
            ("a", "two", true),
            ("a", "three", false),
            ("a", "", false),
            ("A", "one", false),
            ("off", "one", false),
            ("open", "anything", true),
            ("shut", "anything", false),
            ("mute", "", false),
            ("unknown", "", false),
            ("default", "one", false),
        ] {
            let name_in = users.admit(name.as_bytes(), password.as_bytes());
            assert_eq!(name_in.is_some(), right, "{name} {password}");
            assert!(name_in.is_none_or(|own| own.as_str() == name));
        }
        assert_eq!(users.admit(b"\xff", b"one"), None);
    }

    #[test]
    fn user_of_a_new_connection() {
        let with = |default: Option<User>| users().by_name.into_values().chain(default).collect();
        let open =
            |enabled| User { passwords: Passwords::Any, ..user("default", enabled, &[], &[]) };
        let none: Users = with(None);
        let closed: Users = with(Some(user("default", true, &["x"], &[])));
        let opened: Users = with(Some(open(true)));
        let shut: Users = with(Some(open(false)));
        for (users, default, uid, name, inside) in [
            (&none, false, None, "default", false),
            (&none, false, Some(1000), "a", true),
            (&none, false, Some(1001), "a", true),
            (&none, false, Some(1002), "default", false),
            (&none, false, Some(0), "default", false),
            (&closed, false, None, "default", false),
            (&opened, true, None, "default", true),
            (&opened, true, Some(7), "default", true),
            (&opened, true, Some(1000), "a", true),
            (&shut, true, None, "default", false),
        ] {
            let peer = uid.map_or(PeerIdentity::Anonymous, PeerIdentity::Uid);
            let (found, in_) = users.enter(&peer);
            assert_eq!((found.as_str(), in_), (name, inside), "{uid:?}");
            assert_eq!(users.default_has_no_password(), default);
        }
    }
}
