//! Every line that respgate itself says to a client, besides the policy's refusals.
//!
//! Owns: the texts; those of Redis are its own to the byte (redis 7.0: server.c, networking.c, acl.c,
//! multi.c, pubsub.c). Never knows: who says it when.

use bytes::BytesMut;

use crate::base::limits;
use crate::resp::encode;
use crate::traffic::{Loss, Outcome};

pub(super) const SCRIPTS_NOT_YET: &str =
    "LOADING respgate: scripts are guarded, and the server has not been reached yet";
pub(super) const UNAUDITED: &str =
    "ERR respgate: the audit log has no room for this command (AUD-E003); it was not executed";
pub(super) const OK: &str = "OK";
pub(super) const QUEUED: &str = "QUEUED";
pub(super) const RESET: &str = "RESET";

pub(super) const NOAUTH: &str = "NOAUTH Authentication required.";
pub(super) const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
pub(super) const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";
pub(super) const HELLO_NOAUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";
pub(super) const USER_STAYS: &str = "ERR respgate: the user cannot change while SUBSCRIBE or CLIENT TRACKING is in force, because channels and keys carry the prefix of its policy; send RESET first";
pub(super) const NOPROTO: &str = "NOPROTO unsupported protocol version";
pub(super) const HELLO_OF_REPLICA: &str =
    "ERR respgate: HELLO cannot change the protocol of a replication stream";
pub(super) const PROTO_NOT_INTEGER: &str = "ERR Protocol version is not an integer or out of range";
pub(super) const SYNTAX: &str = "ERR syntax error";
pub(super) const NOT_INTEGER: &str = "ERR value is not an integer or out of range";
pub(super) const DB_RANGE: &str = "ERR DB index is out of range";
pub(super) const BAD_NAME: &str =
    "ERR Client names cannot contain spaces, newlines or special characters.";

pub(super) const MULTI_NESTED: &str = "ERR MULTI calls can not be nested";
pub(super) const EXEC_ALONE: &str = "ERR EXEC without MULTI";
pub(super) const DISCARD_ALONE: &str = "ERR DISCARD without MULTI";
pub(super) const WATCH_INSIDE: &str = "ERR WATCH inside MULTI is not allowed";
pub(super) const EXECABORT: &str = "EXECABORT Transaction discarded because of previous errors.";
pub(super) const EXECABORT_BECAUSE: &str = "EXECABORT Transaction discarded because of: ";
pub(super) const MULTI_TOO_LARGE: &str = "ERR respgate: the transaction is larger than limits.max_transaction; send it in smaller parts or raise the limit";
pub(super) const MULTI_DENIED: &str = "NOPERM this user has no permissions to run the 'multi' command (grant +@transaction to respgate's server user)";
pub(super) const MULTI_REFUSED: &str = "ERR respgate: the server refused MULTI, so the queued commands ran without a transaction; grant +@transaction to respgate's server user";

pub(super) const PREFIX_CHANGED: &str = "ERR respgate: keys.prefix has changed while SUBSCRIBE or CLIENT TRACKING is in force; connect again";
/// Redis replication.c `monitorCommand`.
pub(super) const MONITOR_IN_MULTI: &str = "ERR MONITOR isn't allowed for DENY BLOCKING client";
pub(super) const NOT_IN_MULTI_HERE: &str =
    "ERR respgate: this command inside MULTI is not available through respgate";
pub(super) const NEVER: &str = "ERR respgate: this command starts a replication or debugging stream, which is not supported through respgate; connect to the server directly";
pub(super) const NO_SUCH_CLIENT: &str = "ERR No such client";
pub(super) const UNBLOCK_REASON: &str = "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";
pub(super) const NO_CLUSTER: &str = "ERR This instance has cluster support disabled";

/// EXEC's reply with the reason, in the words of redis multi.c `execCommandAbort`: `exec` is the
/// server's own, `line` its refusal of a queued command, perhaps cut. `None` when it says more itself.
pub(super) fn aborted(exec: &[u8], line: &[u8]) -> Option<BytesMut> {
    let own = exec.strip_prefix(b"-")?.strip_suffix(b"\r\n")?;
    if own != EXECABORT.as_bytes() {
        return None;
    }
    let reason = line.strip_prefix(b"-").unwrap_or(line);
    let reason = reason.strip_prefix(b"ERR ").unwrap_or(reason).trim_ascii_end();
    // What follows repeats the command's arguments, as they were sent.
    let args = b", with args beginning with:";
    let end = reason.windows(args.len()).position(|window| window == args);
    let reason = reason.get(..end.unwrap_or(reason.len()))?;
    let mut out = BytesMut::new();
    encode::error(&mut out, [EXECABORT_BECAUSE.as_bytes(), reason].concat());
    Some(out)
}

/// Redis server.c `processCommand`, and Valkey's.
pub(super) fn not_in_multi(name: &str, valkey: bool) -> String {
    if valkey {
        format!("ERR Command '{name}' not allowed inside a transaction")
    } else {
        "ERR Command not allowed inside a transaction".to_owned()
    }
}

/// The client that shall receive another one's invalidations has no connection to the server that would stay.
pub(super) fn tracking_target(id: u64) -> String {
    format!(
        "ERR respgate: client {id} got no connection of its own to the server in time, so it cannot receive invalidations; try again"
    )
}

/// Redis server.c `commandCheckExistence`, of `container|subcommand`.
pub(super) fn unknown_subcommand(name: &str, word: &[u8]) -> String {
    let container = name.split('|').next().unwrap_or(name).to_ascii_uppercase();
    let word = word.get(..limits::ECHO_BYTES_MAX).unwrap_or(word);
    format!("ERR unknown subcommand '{}'. Try {container} HELP.", encode::echo(word))
}

/// Redis networking.c `addReplySubcommandSyntaxError`.
pub(super) fn odd_subcommand(container: &str, word: &[u8]) -> String {
    let word = encode::echo(word);
    format!(
        "ERR unknown subcommand or wrong number of arguments for '{word}'. Try {container} HELP."
    )
}

/// The bulk of a request exceeded the limit; it was consumed and thrown away.
pub(super) fn oversize(length: u64, limit: u64) -> String {
    format!(
        "ERR respgate: an argument of {length} bytes is larger than limits.max_bulk ({limit} bytes); the command was not executed"
    )
}

/// The same, of the policy's limit, where the command is not at hand any more.
pub(super) fn too_long(length: u64, limit: u64) -> String {
    format!(
        "NOPERM respgate: an argument has {length} bytes (rule value); at most {limit} are allowed"
    )
}

/// The error that answers a request without a reply from the server. `LOADING` is the code that drivers
/// take for a server that will be there soon: those that know it reconnect or repeat, which is right
/// for a command that was not executed, and for no other.
pub(super) fn loss(loss: Loss) -> String {
    let code = if loss.outcome() == Outcome::NotExecuted { "LOADING" } else { "ERR" };
    match loss {
        Loss::Unavailable(why) => format!(
            "{code} respgate: upstream unavailable ({}); the command was not executed",
            why.label()
        ),
        Loss::OutcomeUnknown | Loss::Truncated => {
            "ERR respgate: upstream connection lost, outcome unknown; the command may have been executed".to_owned()
        }
        Loss::Abandoned => {
            "ERR respgate: the request was aborted: an argument exceeds limits.max_bulk or policy.values.max_bytes, its framing is invalid, or no more of it arrived within upstream.pool.command_timeout; it was not executed".to_owned()
        }
        Loss::MultiRefused => MULTI_REFUSED.to_owned(),
        Loss::TimedOut => {
            "ERR respgate: no reply within upstream.pool.command_timeout; the command may still run".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exec_says_why_in_the_words_of_the_server() {
        let exec = b"-EXECABORT Transaction discarded because of previous errors.\r\n".as_slice();
        let cases = [
            (
                "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
                "OOM command not allowed when used memory > 'maxmemory'.",
            ),
            (
                "-ERR unknown command 'X', with args beginning with: 'app1:k' \r\n",
                "unknown command 'X'",
            ),
            ("-NOREPLICAS Not enough good", "NOREPLICAS Not enough good"),
        ];
        for (line, reason) in cases {
            let text = format!("-EXECABORT Transaction discarded because of: {reason}\r\n");
            assert_eq!(aborted(exec, line.as_bytes()).as_deref(), Some(text.as_bytes()));
        }
        for other in
            ["*0\r\n", "-EXECABORT Transaction discarded because of: OOM\r\n", "-NOPERM x\r\n"]
        {
            assert_eq!(aborted(other.as_bytes(), b"-OOM a\r\n"), None, "{other}");
        }
    }
}
