//! Redis's ACL file -> users and what each may do (acl.c, `ACLLoadFromFile`).
//!
//! Owns: [`AclUser`], [`read_accounts`]. Never knows: files, which users are logged in.
//!
//! Two things differ from the server: a file without the user `default` makes none, where the
//! server makes one that may do everything; and a rule that has no effect is an error.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::base::limits;
use crate::base::password::{PasswordHash, Passwords};
use crate::config::{KeyMode, Rules};

use super::acl::{self, Problem};
use super::{Policy, compile_with};
use crate::command::Dictionary;

/// One user of an ACL file.
#[derive(Debug)]
pub struct AclUser {
    pub name: String,
    pub enabled: bool,
    pub passwords: Passwords,
    pub policy: Policy,
    /// What the policy was built from.
    pub rules: Rules,
}

/// One thing wrong with an ACL file. Never holds a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountError {
    /// Both count from 1; the column counts characters.
    pub line: usize,
    pub column: usize,
    pub problem: String,
    /// What may have been meant.
    pub nearest: Option<String>,
}

impl fmt::Display for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.problem)?;
        self.nearest.as_ref().map_or(Ok(()), |nearest| write!(f, "; nearest: {nearest}"))
    }
}

impl std::error::Error for AccountError {}

/// The users of an ACL file. Of what its language does not cover (keys, values, time to live, what is
/// only observed) `base` decides.
///
/// # Errors
///
/// Everything that is wrong with the file.
pub fn read_accounts(
    text: &[u8],
    base: &Rules,
    dictionary: &Arc<Dictionary>,
) -> Result<Vec<AclUser>, Vec<AccountError>> {
    let mut base = Rules { preset: None, acl: None, ..base.clone() };
    if base.keys.mode == KeyMode::Enforce {
        // Another way to write key patterns, which the file writes itself.
        base.keys.prefix = None;
    }
    let mut reader = Reader {
        base,
        dictionary: Arc::clone(dictionary),
        names: HashSet::new(),
        accounts: Vec::new(),
        errors: Vec::new(),
    };
    for (bytes, number) in text.split(|byte| *byte == b'\n').zip(1..) {
        match std::str::from_utf8(bytes) {
            Ok(line) => reader.line(line, number),
            Err(_) => reader.refuse(number, 1, "the line is no UTF-8"),
        }
    }
    if reader.errors.is_empty() { Ok(reader.accounts) } else { Err(reader.errors) }
}

struct Reader {
    base: Rules,
    dictionary: Arc<Dictionary>,
    names: HashSet<String>,
    accounts: Vec<AclUser>,
    errors: Vec<AccountError>,
}

impl Reader {
    fn line(&mut self, line: &str, number: usize) {
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next() else { return };
        if self.errors.len() >= limits::RULE_ERRORS_MAX {
            return;
        }
        let Some(name) = words.next().filter(|_| first == "user") else {
            return self.refuse(number, 1, "a line has the word user, a name and rules");
        };
        let behind = name.as_ptr().addr() - line.as_ptr().addr() + name.len();
        if name.contains(char::is_control) {
            return self.refuse(number, 1, "a user's name has no control characters");
        }
        if !self.names.insert(name.to_owned()) {
            return self.refuse(number, 1, "a line above has this user already");
        }
        let (mut enabled, mut passwords) = (false, Passwords::default());
        // Every word of the policy stays where it is in the line.
        let rest = line.get(behind..).unwrap_or_default();
        let mut rules = " ".repeat(behind) + rest;
        for word in acl::words(rest).into_iter().flatten() {
            let own = apply(word.text, &mut enabled, &mut passwords);
            if own == Ok(false) {
                continue;
            }
            let (at, len) = (behind + word.at, word.text.len());
            rules.replace_range(at..at + len, &" ".repeat(len));
            if let Err(problem) = own
                && self.errors.len() < limits::RULE_ERRORS_MAX
            {
                self.refuse(number, column(line, at), problem);
            }
        }
        let rules = Rules { acl: Some(rules), ..self.base.clone() };
        match compile_with(&rules, &self.dictionary) {
            Ok(policy) => {
                let name = name.to_owned();
                self.accounts.push(AclUser { name, enabled, passwords, policy, rules });
            }
            // Errors of the base are reported where that is read.
            Err(errors) => {
                let own = errors.into_iter().filter(|error| error.setting == "acl");
                self.errors.extend(own.map(|error| AccountError {
                    line: number,
                    column: column(line, error.at),
                    problem: format!("'{}': {}", shown(&error.word, &error.problem), error.problem),
                    nearest: error.nearest,
                }));
            }
        }
    }

    fn refuse(&mut self, line: usize, column: usize, problem: &str) {
        let problem = problem.to_owned();
        self.errors.push(AccountError { line, column, problem, nearest: None });
    }
}

fn column(line: &str, at: usize) -> usize {
    line.get(..at).map_or(1, |before| before.chars().count() + 1)
}

/// A word outside the language may be a password that lacks its `>`.
fn shown(word: &str, problem: &Problem) -> String {
    if *problem == Problem::UnknownWord && !word.ends_with('…') {
        word.chars().take(1).chain(['…']).collect()
    } else {
        word.to_owned()
    }
}

/// Applies a word about the user itself; `false`: the word is about the policy (acl.c,
/// `ACLSetUser`).
fn apply(word: &str, enabled: &mut bool, passwords: &mut Passwords) -> Result<bool, &'static str> {
    const NO_HASH: &str = "a hash is # and 64 lower-case hexadecimal digits";
    const NOT_THERE: &str = "the password to take away is not there";
    const TOO_MANY: &str = "the user has 1024 passwords, as many as there may be";
    let removed = |was_there: bool| if was_there { Ok(()) } else { Err(NOT_THERE) };
    match word.to_ascii_lowercase().as_str() {
        "on" => *enabled = true,
        "off" => *enabled = false,
        "nopass" => *passwords = Passwords::Any,
        "resetpass" => *passwords = Passwords::default(),
        // Whether the server checks the payload of RESTORE: its own business.
        "sanitize-payload" | "skip-sanitize-payload" => {}
        "reset" => {
            (*enabled, *passwords) = (false, Passwords::default());
            return Ok(false);
        }
        _ if word.starts_with(['>', '#']) && passwords.is_full() => return Err(TOO_MANY),
        _ => match word.split_at_checked(1) {
            Some((">", password)) => passwords.add(PasswordHash::of(password.as_bytes())),
            Some(("#", hash)) => passwords.add(PasswordHash::parse(hash).ok_or(NO_HASH)?),
            Some(("<", password)) => {
                removed(passwords.remove(&PasswordHash::of(password.as_bytes())))?;
            }
            Some(("!", hash)) => {
                removed(passwords.remove(&PasswordHash::parse(hash).ok_or(NO_HASH)?))?;
            }
            _ => return Ok(false),
        },
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may crash")]
    use std::time::Duration;

    use super::*;
    use crate::command::lookup;
    use crate::policy::Scratch;
    use crate::resp::RequestBuf;

    fn accounts(text: &str) -> Vec<AclUser> {
        read_accounts(text.as_bytes(), &Rules::default(), &Arc::default()).unwrap()
    }

    fn errors(text: &str) -> Vec<String> {
        let accounts = read_accounts(text.as_bytes(), &Rules::default(), &Arc::default());
        let errors = accounts.map(|accounts| accounts.len()).unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }

    fn passes(account: &AclUser, words: &str) -> bool {
        let request = RequestBuf::from_args(words.split(' '));
        let request = request.as_request();
        account.policy.decide(lookup(&request), &request, 0, &mut Scratch::default()).is_ok()
    }

    #[test]
    fn words_about_the_user() {
        let hash = "#2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
        let key = PasswordHash::of(b"key");
        for (rules, enabled, admits) in [
            ("", false, false),
            ("on", true, false),
            ("ON off", false, false),
            ("on nopass", true, true),
            ("on NoPass resetpass", true, false),
            ("on >key", true, true),
            (hash, false, true),
            ("on >Key", true, false),
            ("on nopass >other", true, false),
            ("on >other >key <other", true, true),
            ("on >key <key", true, false),
            (&format!("on >key !{}", &hash[1..]), true, false),
            ("on >key reset", false, false),
            ("on >key sanitize-payload skip-sanitize-payload", true, true),
            ("on >key (+get ~a) clearselectors", true, true),
        ] {
            let account = &accounts(&format!("user a {rules}"))[0];
            assert_eq!(account.enabled, enabled, "{rules}");
            assert_eq!(account.passwords.admit(&key), admits, "{rules}");
        }
    }

    #[test]
    fn lines_and_their_policies() {
        let text = "\n  user a on nopass ~a:* +get \r\n\t\nuser  b\ton >x +@all reset on +set %W~b (+get ~c)\nuser c";
        let all = accounts(text);
        let names: Vec<&str> = all.iter().map(|account| account.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        for (at, words, expected) in [
            (0, "GET a:1", true),
            (0, "GET b", false),
            (0, "SET a:1 x", false),
            (1, "GET a:1", false),
            (1, "SET b x", true),
            (1, "SET b x GET", false),
            (1, "DEL b", false),
            (1, "GET c", true),
            (2, "GET c", false),
        ] {
            assert_eq!(passes(&all[at], words), expected, "{at} {words}");
        }
    }

    #[test]
    fn unchanged_settings_are_those_of_the_base() {
        let mut base = Rules { acl: Some("+nonsense".to_owned()), ..Rules::default() };
        base.keys.prefix = Some("app1:".to_owned());
        let all = read_accounts(b"user a +get", &base, &Arc::default()).unwrap();
        assert!(!passes(&all[0], "GET app1:x"), "the file alone decides about keys");
    }

    #[test]
    fn problems_of_an_acl_file_are_at_their_place_and_without_a_password() {
        let text = "usr a\nuser\nuser a on\nuser a off\nuser é on +gett hunter2 (+get\n\
                    user b >hunter2 #hunter2 <hunter3 !hunter3 (>hunter2)\nuser c ~* ~a";
        let found = errors(text);
        assert_eq!(
            found,
            [
                "1:1: a line has the word user, a name and rules",
                "2:1: a line has the word user, a name and rules",
                "4:1: a line above has this user already",
                "5:11: '+gett': unknown command; nearest: get",
                "5:17: 'h…': not a word of the ACL language",
                "5:25: '(+get': the selector has no closing parenthesis",
                "6:17: a hash is # and 64 lower-case hexadecimal digits",
                "6:26: the password to take away is not there",
                "6:35: a hash is # and 64 lower-case hexadecimal digits",
                "6:45: '>…': passwords and the state of a user belong to the server's user, not to \
                 a policy",
                "7:11: '~a': all keys are allowed already, so the pattern has no effect; put \
                 resetkeys before it",
            ]
        );
        let found =
            read_accounts(b"user a on\nuser \xff", &Rules::default(), &Arc::default()).unwrap_err();
        assert_eq!(found[0].to_string(), "2:1: the line is no UTF-8");
    }

    #[test]
    fn work_for_an_acl_file_has_a_bound_in_proportion_to_its_size() {
        let many =
            |word: &str, count: usize| format!("user a on {}", format!("{word} ").repeat(count));
        let passwords: String = (0..1025).map(|number| format!(">{number} ")).collect();
        for (text, problem) in [
            (many("(+get ~a)", 1025), "'(+get ~a)': there are 1024 selectors before it"),
            (format!("user a on {passwords}"), "the user has 1024 passwords"),
            (many(&format!("+{}", "z".repeat(1 << 20)), 1), "'+…': unknown command"),
            (many(&format!("+client|{}", "x".repeat(100_000)), 1), "…': unknown subcommand"),
            (many("+nonsense", 100_000), "'+nonsense': unknown command"),
            (many("#hash", 100_000), "a hash is #"),
            ("user\n".repeat(10_000), "a line has the word user"),
            ("user a\0b on".to_owned(), "no control characters"),
            ("user a\u{1b}[31m on".to_owned(), "no control characters"),
        ] {
            let found = errors(&text);
            assert!(found.len() <= limits::RULE_ERRORS_MAX, "{}", found.len());
            assert!(found[0].contains(problem) && found[0].len() < 300, "{problem}: {}", found[0]);
        }
        assert!(accounts(&many("(+get ~a)", 1024))[0].enabled);
    }

    /// CPU time that this thread takes to read a file.
    fn cpu(text: &str) -> Duration {
        let spent = || {
            let figures = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
            Duration::from_nanos(figures.split(' ').next().unwrap().parse().unwrap())
        };
        let before = spent();
        let _ = read_accounts(text.as_bytes(), &Rules::default(), &Arc::default());
        spent() - before
    }

    /// Quadratic work would be 64 times as much for eight times as many words, linear work is eight times as much.
    #[test]
    fn work_for_an_acl_file_grows_with_its_words_and_no_faster() {
        type Words = fn(usize) -> String;
        let kinds: [(&str, Words); 7] = [
            ("key patterns", |number| format!("~a{number}")),
            ("key patterns of readers", |number| format!("%R~a{number} %W~a{number}")),
            ("channels", |number| format!("&a{number}")),
            ("first arguments", |number| format!("+config|get|{number} +select|{number} +get")),
            ("passwords", |number| format!(">{number}")),
            ("passwords to take away", |number| format!("<{number}")),
            ("selectors", |number| format!("(+get ~a{number})")),
        ];
        for (name, word) in kinds {
            let file = |count: usize| {
                let words: Vec<String> = (0..count).map(word).collect();
                format!("user a on {}", words.join(" "))
            };
            let (few, many) = (cpu(&file(5_000)), cpu(&file(40_000)));
            let bound = few * 16 + Duration::from_millis(300);
            assert!(many <= bound, "{name}: {few:?}, then {many:?}");
        }
    }

    proptest::proptest! {
        /// Any file is read or rejected, and no error repeats a password.
        #[test]
        fn any_text_has_an_answer(text in "(user |a |on | [(]{0,2}[>#<!]hunter2[) ]| hunter2 |[-+~%&@()|a-z*\"é ]|get|\n){0,40}") {
            for error in read_accounts(text.as_bytes(), &Rules::default(), &Arc::default()).err().unwrap_or_default() {
                assert!(!format!("{error:?}").contains("hunter2"), "{error}");
                assert!(error.line <= text.split('\n').count());
            }
        }
    }
}
