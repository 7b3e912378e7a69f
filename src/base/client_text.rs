//! Every line that respgate itself sends to a client, besides the denials of the policy.
//!
//! Owns: the texts, and what the documentation contains about them (`deploy/docs/errors.md` is made from [`OWN`] and
//! [`REDIS`]). Never knows: when a text is sent. Texts of Redis are its own to the byte (redis 7.0: server.c,
//! networking.c, acl.c, multi.c, pubsub.c, replication.c).

use std::fmt::Display;

/// A text as the documentation shows it: its variable parts are `{names}`.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    pub text: &'static str,
    /// Whether the command was executed.
    pub executed: &'static str,
    /// What an operator or the author of an application can do.
    pub advice: &'static str,
}

/// The texts below one heading of the documentation.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    pub title: &'static str,
    pub texts: &'static [Text],
}

/// A constant, or a function of what is filled in.
macro_rules! text {
    ($name:ident = $text:literal) => {
        #[doc = concat!("`", $text, "`")]
        pub(crate) const $name: &str = $text;
    };
    ($name:ident($($part:ident),+) = $text:literal) => {
        #[doc = concat!("`", $text, "`")]
        pub(crate) fn $name($($part: impl Display),+) -> String {
            format!($text)
        }
    };
}

macro_rules! own {
    ($($title:literal {
        $($name:ident $(($($part:ident),+))? = $text:literal, $executed:literal, $advice:literal;)+
    })+) => {
        $($(text!($name $(($($part),+))? = $text);)+)+
        /// The errors that Redis does not have.
        pub const OWN: &[Section] = &[$(Section {
            title: $title,
            texts: &[$(Text { text: $text, executed: $executed, advice: $advice }),+],
        }),+];
    };
}

macro_rules! redis {
    ($($name:ident $(($($part:ident),+))? = $text:literal;)+) => {
        $(text!($name $(($($part),+))? = $text);)+
        /// The errors and replies that respgate answers in the server's place, in its words.
        pub const REDIS: &[&str] = &[$($text),+];
    };
}

own! {
    "The server is not reached" {
        unavailable(cause) = "LOADING respgate: upstream unavailable ({cause}); the command was not executed",
            "no", "Retry: drivers that know `LOADING` do. The word in parentheses is the cause: `dns`, `tcp`, `tls`, `auth`, `timeout`, `protocol`, `loading` (the server reads its data), `overloaded` (the queue to the server is full). `respgate status` and `respgate doctor` show more";
        EXHAUSTED = "ERR respgate: upstream unavailable (exhausted); the command was not executed",
            "no", "Every pinned connection is in use: raise `upstream.pool.max_connections`; or clients use more than 64 pairs of database and protocol version at once";
        OUTCOME_UNKNOWN = "ERR respgate: upstream connection lost, outcome unknown; the command may have been executed",
            "perhaps", "Retry only what may run twice";
        NO_REPLY_IN_TIME = "ERR respgate: no reply within upstream.pool.command_timeout; the command may still run",
            "perhaps", "Raise the limit for slow commands, or look at the server's `SLOWLOG`";
        REQUEST_ABORTED = "ERR respgate: the request was aborted before all of it was sent: an argument exceeds limits.max_bulk or policy.values.max_bytes, its framing is invalid, or no more of it arrived, or an earlier command got no reply, within upstream.pool.command_timeout; it was not executed",
            "no", "Send the whole request, or raise the limit";
        SCRIPTS_NOT_YET = "LOADING respgate: scripts are guarded, and the server has not been reached yet",
            "no", "Retry: respgate examines the server's Lua when it connects first";
    }
    "Limits" {
        oversize(length, limit) = "ERR respgate: an argument of {length} bytes is larger than limits.max_bulk ({limit} bytes); the command was not executed",
            "no", "Send less, or raise `limits.max_bulk`";
        too_long(length, limit) = "NOPERM respgate: an argument has {length} bytes (rule value); at most {limit} are allowed",
            "no", "Send less, or raise `policy.values.max_bytes`";
        MULTI_TOO_LARGE = "ERR respgate: the transaction is larger than limits.max_transaction; send it in smaller parts or raise the limit",
            "no", "As the text describes";
        too_many_watched(keys, limit) = "ERR respgate: this client would watch {keys} keys, and limits.max_watched is {limit}; watch fewer, or send UNWATCH before",
            "no", "As the text describes";
        too_many_repeated(command, count, limit) = "ERR respgate: '{command}' would return {count} elements that may repeat, and limits.max_repeated is {limit}; ask several times for fewer",
            "no", "As the text describes";
        too_many_patterns(count, what, limit) = "ERR respgate: this client would have {count} {what}, and limits.max_patterns is {limit}; use fewer that are wider",
            "no", "As the text describes; patterns of PSUBSCRIBE or prefixes of CLIENT TRACKING";
        too_many_compared(named, held, limit) = "ERR respgate: the server would compare each of {named} patterns with {held} of this client, and limits.max_patterns ({limit}) bounds that; name fewer, or none to end all",
            "no", "As the text describes; PUNSUBSCRIBE";
        LONG_LIST = "ERR respgate: this list of keys is longer than 4 MiB, too long to leave denied keys out of it (rule key); use SCAN with a smaller COUNT",
            "yes, it reads only", "As the text describes";
        LONG_ANSWER = "ERR respgate: the answers about clients to this request, or this transaction, are longer than 32 MiB; ask for fewer",
            "yes, it reads only", "As the text describes; CLIENT LIST, CLIENT INFO, CLIENT GETNAME";
        LONG_SEARCH = "ERR respgate: the commands of this transaction search too many clients; send CLIENT LIST and CLIENT KILL without MULTI, or name clients by ID",
            "no", "As the text describes";
        UNAUDITED = "ERR respgate: the audit log has no room for this command (AUD-E003); it was not executed",
            "no", "See [the audit log](audit.md), `audit.on_overflow`";
    }
    "Sessions" {
        USER_STAYS = "ERR respgate: the user cannot change while SUBSCRIBE or CLIENT TRACKING is in force, because channels and keys carry the prefix of its policy; send RESET first",
            "no", "As the text describes";
        PREFIX_CHANGED = "ERR respgate: keys.prefix has changed while SUBSCRIBE or CLIENT TRACKING is in force; connect again",
            "no", "As the text describes";
        HELLO_OF_REPLICA = "ERR respgate: HELLO cannot change the protocol of a replication stream",
            "no", "Use another connection";
        MULTI_DENIED = "NOPERM this user has no permissions to run the 'multi' command (grant +@transaction to respgate's server user)",
            "no", "As the text describes";
        MULTI_REFUSED = "ERR respgate: the server refused MULTI, so the queued commands ran without a transaction; grant +@transaction to respgate's server user",
            "yes, one by one", "As the text describes";
        NOT_IN_MULTI_HERE = "ERR respgate: this command inside MULTI is not available through respgate",
            "no", "Send it before MULTI";
        NEVER = "ERR respgate: this command starts a replication or debugging stream, which is not supported through respgate; connect to the server directly",
            "no", "As the text describes";
        tracking_target(id) = "ERR respgate: client {id} got no connection of its own to the server in time, so it cannot receive invalidations; try again",
            "no", "Retry; `upstream.pool.max_connections`";
    }
    "Replies of the server that cannot be passed on" {
        NO_PAGE = "ERR respgate: the server's answer to SCAN is no page of keys",
            "no", "Another program is behind the address; `respgate doctor`";
        NO_REPORT = "ERR respgate: the server's answer to INFO is no report, or too long",
            "yes", "Another program is behind the address; `respgate doctor`";
        FOREIGN_NAME = "ERR respgate: the server sent a name without this application's prefix",
            "yes", "A key of another application was in the reply and is not shown: report it";
        FOREIGN_CHANNEL = "ERR respgate: the server sent a channel without this application's prefix",
            "yes", "A channel of another application was in the message and is not shown: report it";
    }
    "Inside guarded scripts" {
        SCRIPT_ARGUMENTS = "ERR respgate: a command of the script has more arguments than values.max_args",
            "not that command", "Send several commands";
        SCRIPT_VALUE = "ERR respgate: a value of the script is longer than values.max_bytes",
            "not that command", "Write less";
        SCRIPT_REPEATED = "ERR respgate: a command of the script would return more elements that may repeat than limits.max_repeated",
            "not that command", "Ask several times for fewer";
        SCRIPT_UNTIMED = "ERR respgate: a key of the script was written and its time to live could not be set; grant +pttl +pexpire to respgate's user at the server",
            "yes, the key has no time to live", "As the text describes";
    }
}

redis! {
    OK = "OK";
    QUEUED = "QUEUED";
    RESET = "RESET";
    CLIENTS_FULL = "ERR max number of clients reached";
    NOAUTH = "NOAUTH Authentication required.";
    WRONGPASS = "WRONGPASS invalid username-password pair or user is disabled.";
    NO_PASSWORD_SET = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";
    HELLO_NOAUTH = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";
    hello_option(option) = "ERR Syntax error in HELLO option '{option}'";
    NOPROTO = "NOPROTO unsupported protocol version";
    PROTO_NOT_INTEGER = "ERR Protocol version is not an integer or out of range";
    SYNTAX = "ERR syntax error";
    NOT_INTEGER = "ERR value is not an integer or out of range";
    DB_RANGE = "ERR DB index is out of range";
    BAD_NAME = "ERR Client names cannot contain spaces, newlines or special characters.";
    bad_client_info(option) = "ERR {option} cannot contain spaces, newlines or special characters.";
    unknown_client_info(option) = "ERR Unrecognized option '{option}'";
    MULTI_NESTED = "ERR MULTI calls can not be nested";
    EXEC_ALONE = "ERR EXEC without MULTI";
    DISCARD_ALONE = "ERR DISCARD without MULTI";
    WATCH_INSIDE = "ERR WATCH inside MULTI is not allowed";
    MONITOR_IN_MULTI = "ERR MONITOR isn't allowed for DENY BLOCKING client";
    NOT_IN_MULTI = "ERR Command not allowed inside a transaction";
    not_in_multi_of_valkey(command) = "ERR Command '{command}' not allowed inside a transaction";
    EXECABORT = "EXECABORT Transaction discarded because of previous errors.";
    EXECABORT_BECAUSE = "EXECABORT Transaction discarded because of: ";
    only_subscribed(command) = "ERR Can't execute '{command}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
    unknown_subcommand(word, container) = "ERR unknown subcommand '{word}'. Try {container} HELP.";
    odd_subcommand(word, container) = "ERR unknown subcommand or wrong number of arguments for '{word}'. Try {container} HELP.";
    NO_SUCH_CLIENT = "ERR No such client";
    UNBLOCK_REASON = "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";
    INVALID_CLIENT_ID = "ERR Invalid client ID";
    CLIENT_ID_POSITIVE = "ERR client-id should be greater than 0";
    no_such_user(name) = "ERR No such user '{name}'";
    unknown_client_type(word) = "ERR Unknown client type '{word}'";
    filter_not_integer(word) = "ERR {word} is not an integer or out of range";
    filter_not_positive(word) = "ERR {word} should be greater than 0";
    unknown_in_filter(word, filter, value) = "ERR Unknown {word} found in the {filter} filter: {value}";
    NO_CLUSTER = "ERR This instance has cluster support disabled";
}
