//! Errors whose words depend on more than one text: the table is `base/client_text.rs`.
//!
//! Owns: the choice. Never knows: when a text is sent.

use bytes::BytesMut;

pub(super) use crate::base::client_text::*;
use crate::base::limits;
use crate::resp::encode;
use crate::traffic::{Loss, Unavailable};

/// EXEC's reply with the reason, in the words of redis multi.c `execCommandAbort`: `exec` is the
/// server's own, `line` its refusal of a queued command, perhaps cut. `None` when the line itself is clearer.
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
    if valkey { not_in_multi_of_valkey(name) } else { NOT_IN_MULTI.to_owned() }
}

/// Redis server.c `commandCheckExistence`, of `container|subcommand`.
pub(super) fn no_subcommand(name: &str, word: &[u8]) -> String {
    let container = name.split('|').next().unwrap_or(name).to_ascii_uppercase();
    let word = word.get(..limits::ECHO_BYTES_MAX).unwrap_or(word);
    unknown_subcommand(encode::echo(word), container)
}

/// The error that answers a request without a reply from the server. `LOADING` is the code that drivers
/// take for a server that will be there soon: those that know it reconnect or repeat, which is right
/// for a command that was not executed, and for no other.
pub(super) fn loss(loss: Loss) -> String {
    let text = match loss {
        Loss::Unavailable(Unavailable::Exhausted) => EXHAUSTED,
        Loss::Unavailable(why) => return unavailable(why.label()),
        Loss::OutcomeUnknown | Loss::Truncated => OUTCOME_UNKNOWN,
        Loss::Abandoned => REQUEST_ABORTED,
        Loss::MultiRefused => MULTI_REFUSED,
        Loss::TimedOut => NO_REPLY_IN_TIME,
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exec_fails_in_the_words_of_the_server() {
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
