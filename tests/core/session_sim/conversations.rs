//! Requests that belong together, as clients send them.
//!
//! Owns: [`CONVERSATIONS`], [`conversation`]. Never knows: when they are sent.

use super::choices::Choices;
use super::model::Words;

/// `K` is a key, `Q` a list, `C` a channel, `D` a database, `T` a word that comes only once, `L` a long
/// one.
const CONVERSATIONS: &[&[&str]] = &[
    &["WATCH K", "GET K", "MULTI", "SET K T", "EXEC"],
    &["WATCH K", "SET K T", "MULTI", "GET K", "EXEC"],
    &["WATCH K", "UNWATCH", "MULTI", "INCR K", "EXEC"],
    &["WATCH K", "MULTI", "DISCARD", "MULTI", "GET K", "EXEC"],
    &["WATCH K", "MULTI", "NOSUCH", "EXEC", "GET K"],
    &["WATCH K", "SELECT D", "GET K", "MULTI", "INCR K", "EXEC", "GET K"],
    &["WATCH K", "HELLO 3", "UNWATCH", "HELLO 3", "GET K"],
    &["SET K L", "WATCH K", "GET K", "SUBSCRIBE C", "UNSUBSCRIBE C", "WATCH K", "GET K"],
    &["MULTI", "INCR K", "CLIENT SETNAME T", "EXEC", "CLIENT GETNAME"],
    &["MULTI", "CLIENT GETNAME", "SELECT D", "INCR K", "EXEC", "GET K", "CLIENT SETNAME T"],
    &["CLIENT REPLY OFF", "MULTI", "SELECT D", "INCR K", "EXEC", "CLIENT REPLY ON", "GET K"],
    &["CLIENT REPLY OFF", "MULTI", "CLIENT SETNAME T", "EXEC", "CLIENT REPLY ON", "CLIENT GETNAME"],
    &["CLIENT REPLY SKIP", "INCR K", "GET K", "CLIENT REPLY SKIP", "SUBSCRIBE C", "PING T"],
    &["CLIENT TRACKING ON", "CLIENT TRACKING OFF", "HELLO 3", "GET K"],
    &["HELLO 3", "CLIENT TRACKING ON", "GET K", "SET K T", "CLIENT TRACKING OFF", "GET K"],
    &["BLPOP Q 0", "SELECT D", "BLPOP Q 0", "RPUSH Q T"],
    &["BLPOP Q 0", "RESET", "SUBSCRIBE C", "RESET", "WATCH K", "INCR K"],
    &["BLPOP Q 0", "HELLO 3", "WATCH K", "HELLO 2"],
    &["HELLO 3", "SUBSCRIBE C", "INCR K", "MULTI", "GET K", "EXEC", "UNSUBSCRIBE C", "GET K"],
    &["SUBSCRIBE C", "PSUBSCRIBE C*", "PING", "UNSUBSCRIBE C", "GET K", "PUNSUBSCRIBE C*", "GET K"],
    &["MULTI", "SUBSCRIBE C K", "UNSUBSCRIBE C K C", "INCR K", "EXEC", "PING", "GET K"],
    &["MULTI", "CLIENT REPLY OFF", "INCR K", "CLIENT REPLY ON", "EXEC", "GET K"],
    &["CLIENT REPLY OFF", "MULTI", "INCR K", "CLIENT REPLY ON", "INCR K", "EXEC", "GET K"],
    &["MULTI", "CLIENT REPLY SKIP", "INCR K", "EXEC", "GET K", "GET K"],
    &["MULTI", "SUBSCRIBE C", "INCR K", "EXEC", "PING", "UNSUBSCRIBE C", "PING"],
    &["SET K L", "GET K", "INCR K", "GET K", "MGET K K", "BLPOP Q 0"],
    &["WAIT 0 0", "INCR K", "WAIT 0 0"],
];

/// One of them, with the keys of this client.
pub fn conversation(choices: &mut Choices, client: usize, tag: &str) -> Vec<Words> {
    let (key, list) = (choices.below(3), choices.below(2));
    let (channel, database) = (choices.below(3), choices.below(2));
    let word = |word: &str| match word {
        "K" => format!("c{client}:k{key}"),
        "Q" => format!("c{client}:q{list}"),
        "C" => format!("c{client}:ch{channel}"),
        "C*" => format!("c{client}:ch*"),
        "D" => database.to_string(),
        "T" => tag.to_owned(),
        "L" => tag.repeat(20),
        other => other.to_owned(),
    };
    let lines = choices.pick(CONVERSATIONS);
    lines.iter().map(|line| line.split(' ').map(|w| word(w).into_bytes()).collect()).collect()
}
