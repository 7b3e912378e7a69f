//! What a random client may send next, by weights.
//!
//! Owns: [`Speaker`], [`Action`], [`Weights`]. Never knows: connections, replies.
//!
//! Every command here has one right answer: nothing depends on a clock, on chance or on the order
//! of a server's hash table.

use super::choices::Choices;
use super::client::encode;

/// What one client does in one step.
#[derive(Clone, Debug)]
pub struct Action {
    /// For people.
    pub text: String,
    pub bytes: Vec<u8>,
    /// So many replies come for certain.
    pub replies: usize,
    /// The last command may wait for another client; its reply is not among `replies`.
    pub may_block: bool,
    pub then: Then,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Stay,
    /// The server closes it.
    Closed,
    /// The client closes it.
    Leave,
}

/// What a client has sent that limits what it may send next.
#[derive(Clone, Debug, Default)]
pub struct Speaker {
    in_transaction: bool,
    pub resp3: bool,
    subscribed: bool,
    /// Has watched, subscribed or tracked: respgate keeps the protocol then.
    settled: bool,
}

/// How often each kind of action is taken; drawn anew for every session, so that some kinds are
/// frequent in one and absent in another.
#[derive(Clone, Debug)]
pub struct Weights([usize; KINDS.len()]);

type Kind = fn(&mut Speaker, &mut Choices) -> Action;

const KINDS: [(usize, Kind); 15] = [
    (30, one_command),
    (12, pipeline),
    (9, begin),
    (12, end),
    (6, watch),
    (8, block),
    (6, subscribe),
    (8, publish),
    (6, select),
    (6, introduce),
    (4, silence),
    (4, track),
    (2, break_protocol),
    (4, large),
    (3, disconnect),
];

impl Weights {
    pub fn draw(random: &mut Choices) -> Self {
        Self(KINDS.map(|(weight, _)| if random.chance(20) { 0 } else { weight * random.below(4) }))
    }
}

impl Speaker {
    pub fn next(&mut self, weights: &Weights, random: &mut Choices) -> Action {
        let mut drawn = weights.0;
        drawn[0] += 1;
        (KINDS[random.weighted(&drawn)].1)(self, random)
    }

    /// The client goes away, whatever it waits for.
    pub fn disconnect(&mut self) -> Action {
        *self = Self::default();
        let (text, bytes) = ("(leaves)".to_owned(), Vec::new());
        Action { text, bytes, replies: 0, may_block: false, then: Then::Leave }
    }
}

fn commands(list: &[Vec<String>]) -> Action {
    let bytes: Vec<u8> = list.iter().flat_map(|words| encode(words)).collect();
    let text: Vec<String> = list.iter().map(|words| brief(words)).collect();
    let (text, replies) = (text.join(" ; "), list.len());
    Action { text, bytes, replies, may_block: false, then: Then::Stay }
}

fn brief(words: &[String]) -> String {
    let short = |word: &String| match word.get(..40) {
        Some(head) if word.len() > 60 => format!("{head}…({})", word.len()),
        _ => word.clone(),
    };
    words.iter().map(short).collect::<Vec<_>>().join(" ")
}

fn command(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn one_command(_: &mut Speaker, random: &mut Choices) -> Action {
    commands(&[data(random)])
}

fn pipeline(speaker: &mut Speaker, random: &mut Choices) -> Action {
    let most = if random.chance(10) { 200 } else { 12 };
    let count = 2 + random.below(most);
    let mut list: Vec<Vec<String>> = (0..count).map(|_| data(random)).collect();
    if !speaker.in_transaction && random.chance(30) {
        let at = random.below(list.len());
        let middle = ["MULTI", "INCR n0", "GET s0", "EXEC"];
        list.splice(at..at, middle.iter().map(|text| command(text)));
    }
    if random.chance(20) {
        let at = random.below(list.len());
        list.insert(at, command(&format!("SELECT {}", random.below(3))));
    }
    commands(&list)
}

fn begin(speaker: &mut Speaker, _: &mut Choices) -> Action {
    speaker.in_transaction = !speaker.subscribed || speaker.resp3;
    commands(&[command("MULTI")])
}

fn end(speaker: &mut Speaker, random: &mut Choices) -> Action {
    speaker.in_transaction = false;
    commands(&[command(if random.chance(75) { "EXEC" } else { "DISCARD" })])
}

fn watch(speaker: &mut Speaker, random: &mut Choices) -> Action {
    speaker.settled = true;
    let text = match random.below(4) {
        0 => "UNWATCH".to_owned(),
        1 => format!("WATCH {} {}", key(random, 's'), key(random, 'l')),
        _ => format!("WATCH {}", any_key(random)),
    };
    commands(&[command(&text)])
}

fn block(_: &mut Speaker, random: &mut Choices) -> Action {
    let (list, other) = (key(random, 'l'), key(random, 'l'));
    let timeout = if random.chance(70) { "0" } else { "0.01" };
    let forever = timeout == "0";
    let text = match random.below(6) {
        0 => format!("BLPOP {list} {other} {timeout}"),
        1 => format!("BRPOP {list} {timeout}"),
        2 => format!("BLMOVE {list} {other} LEFT RIGHT {timeout}"),
        3 => format!("BLMPOP {timeout} 2 {list} {other} LEFT COUNT 2"),
        4 => format!("BZPOPMIN {} {timeout}", key(random, 'z')),
        _ => format!("BRPOPLPUSH {list} {other} {timeout}"),
    };
    let mut list: Vec<Vec<String>> = (0..random.below(3)).map(|_| data(random)).collect();
    list.push(command(&text));
    let mut action = commands(&list);
    action.may_block = forever;
    action.replies -= usize::from(forever);
    action
}

fn subscribe(speaker: &mut Speaker, random: &mut Choices) -> Action {
    if speaker.in_transaction {
        return commands(&[data(random)]);
    }
    let text = match random.below(6) {
        0 => "SUBSCRIBE c0".to_owned(),
        1 => "SUBSCRIBE c1 c2 c3".to_owned(),
        2 => "PSUBSCRIBE c*".to_owned(),
        3 => "SSUBSCRIBE c0".to_owned(),
        4 => "PUNSUBSCRIBE c*".to_owned(),
        _ => format!("UNSUBSCRIBE c{}", random.below(4)),
    };
    speaker.subscribed |= !text.contains("UNSUB");
    speaker.settled |= speaker.subscribed;
    commands(&[command(&text)])
}

fn publish(_: &mut Speaker, random: &mut Choices) -> Action {
    let verb = random.pick(&["PUBLISH", "PUBLISH", "SPUBLISH"]);
    let channel = random.below(4);
    commands(&[command(&format!("{verb} c{channel} message{}", random.below(1000)))])
}

fn select(_: &mut Speaker, random: &mut Choices) -> Action {
    let database = random.pick(&["0", "0", "1", "2", "16", "x"]);
    commands(&[command(&format!("SELECT {database}"))])
}

fn introduce(speaker: &mut Speaker, random: &mut Choices) -> Action {
    let text = match random.below(9) {
        0 => "CLIENT SETNAME me".to_owned(),
        1 => "CLIENT GETNAME".to_owned(),
        2 => "PING".to_owned(),
        3 => format!("ECHO text{}", random.below(100)),
        4 if !speaker.in_transaction => "AUTH default wrong extra".to_owned(),
        5 if !speaker.in_transaction => "HELLO 9".to_owned(),
        6 if !speaker.in_transaction && !speaker.settled => {
            speaker.resp3 = random.chance(50);
            format!("HELLO {}", if speaker.resp3 { 3 } else { 2 })
        }
        7 => {
            *speaker = Speaker::default();
            "RESET".to_owned()
        }
        _ => "CLIENT NO-EVICT OFF".to_owned(),
    };
    commands(&[command(&text)])
}

/// Commands whose replies are dropped, and one whose reply shows that they ran.
fn silence(speaker: &mut Speaker, random: &mut Choices) -> Action {
    if speaker.in_transaction || speaker.subscribed {
        return commands(&[data(random)]);
    }
    let mut list = Vec::new();
    if random.chance(50) {
        list.push(command("CLIENT REPLY OFF"));
        list.extend((0..random.below(8)).map(|_| data(random)));
        list.push(command("CLIENT REPLY ON"));
    } else {
        list.push(command("CLIENT REPLY SKIP"));
        list.push(data(random));
        list.push(command("PING done"));
    }
    let mut action = commands(&list);
    action.replies = 1;
    action
}

fn track(speaker: &mut Speaker, random: &mut Choices) -> Action {
    if !speaker.resp3 || speaker.in_transaction {
        return commands(&[data(random)]);
    }
    speaker.settled = true;
    let texts =
        ["ON", "ON BCAST PREFIX s", "ON OPTIN", "ON NOLOOP", "OFF", "OFF", "ON OPTIN OPTOUT"];
    commands(&[command(&format!("CLIENT TRACKING {}", random.pick(&texts)))])
}

fn break_protocol(_: &mut Speaker, random: &mut Choices) -> Action {
    let good = data(random);
    let bad = random.pick(&["*x\r\n", "*1\r\n$-1\r\n", "*2\r\n$3\r\nGET\r\n:1\r\n", "SET \"\r\n"]);
    let mut action = commands(&[good]);
    action.text = format!("{} ; {}", action.text, bad.escape_default());
    action.bytes.extend_from_slice(bad.as_bytes());
    action.replies += 1;
    action.then = Then::Closed;
    action
}

fn large(_: &mut Speaker, random: &mut Choices) -> Action {
    let size = *random.pick(&[60_000, 65_536, 70_000, 200_000]);
    let key = key(random, 's');
    let value = "0123456789abcdef~".repeat(size / 17);
    let set = vec!["SET".to_owned(), key.clone(), value];
    let mut list = vec![set, data(random), vec!["GET".to_owned(), key], data(random)];
    list.truncate(1 + random.below(4));
    commands(&list)
}

fn disconnect(speaker: &mut Speaker, _: &mut Choices) -> Action {
    speaker.disconnect()
}

fn key(random: &mut Choices, family: char) -> String {
    format!("{family}{}", random.below(3))
}

/// Mostly the right type; the wrong one is an answer, too.
fn any_key(random: &mut Choices) -> String {
    let family = *random.pick(&['s', 'n', 'l', 'h', 'i', 'z', 'x', 'b']);
    key(random, family)
}

/// A command on data: `@f` means a key of the family `f` (sometimes of another), `#` for a
/// small number.
fn data(random: &mut Choices) -> Vec<String> {
    let template = *random.pick(DATA);
    let words = template.split(' ').map(|word| match word.strip_prefix('@') {
        Some(_) if random.chance(5) => any_key(random),
        Some(family) => key(random, family.chars().next().unwrap()),
        None if word == "#" => random.below(20).to_string(),
        None => word.to_owned(),
    });
    words.collect()
}

const DATA: &[&str] = &[
    "SET @s value#",
    "SET @s v NX GET",
    "SET @s v XX",
    "GET @s",
    "GET @s",
    "GET @s",
    "APPEND @s x",
    "STRLEN @s",
    "GETRANGE @s 0 3",
    "SETRANGE @s # y",
    "GETSET @s w",
    "GETDEL @s",
    "MSET @s 1 @s 2",
    "MGET @s @s @n",
    "SETNX @s z",
    "GETEX @s PERSIST",
    "EXPIREAT @s 99999999999",
    "EXPIRETIME @s",
    "PERSIST @s",
    "TYPE @s",
    "EXISTS @s @l @h",
    "DEL @s",
    "DEL @l",
    "UNLINK @z",
    "OBJECT ENCODING @s",
    "RENAME @s @s",
    "COPY @s @s REPLACE",
    "TOUCH @s @l",
    "DUMP @n",
    "INCR @n",
    "INCRBY @n #",
    "DECR @n",
    "INCRBYFLOAT @n 0.5",
    "GET @n",
    "SET @n #",
    "INCR @s",
    "RPUSH @l a b c",
    "RPUSH @l #",
    "LPUSH @l #",
    "LPUSH @l x",
    "LRANGE @l 0 -1",
    "LLEN @l",
    "LPOP @l",
    "RPOP @l 2",
    "LINDEX @l 0",
    "LSET @l 0 first",
    "LTRIM @l 0 5",
    "LPOS @l a",
    "LINSERT @l BEFORE a b",
    "LREM @l 1 a",
    "LMOVE @l @l LEFT RIGHT",
    "LMPOP 2 @l @l LEFT",
    "SORT @l ALPHA",
    "HSET @h f# v#",
    "HSET @h a 1 b 2",
    "HGET @h a",
    "HGETALL @h",
    "HDEL @h a",
    "HINCRBY @h n #",
    "HMGET @h a b none",
    "HLEN @h",
    "HKEYS @h",
    "SADD @i #",
    "SADD @i 1 2 3",
    "SMEMBERS @i",
    "SISMEMBER @i #",
    "SREM @i #",
    "SCARD @i",
    "SINTER @i @i",
    "SUNION @i @i",
    "SDIFFSTORE @i @i @i",
    "SMOVE @i @i #",
    "ZADD @z # m#",
    "ZADD @z # a",
    "ZRANGE @z 0 -1 WITHSCORES",
    "ZSCORE @z a",
    "ZINCRBY @z 1.5 a",
    "ZRANK @z a",
    "ZREM @z a",
    "ZPOPMIN @z",
    "ZCARD @z",
    "ZRANGEBYSCORE @z 1 10",
    "ZUNIONSTORE @z 2 @z @z",
    "XLEN @x",
    "XRANGE @x - +",
    "XADD @x NOMKSTREAM 9999999-1 f v",
    "XDEL @x 1-1",
    "XREAD COUNT 1 STREAMS @x 0",
    "SETBIT @b # 1",
    "GETBIT @b #",
    "BITCOUNT @b",
    "BITOP OR @b @b @b",
    "PFADD @b a#",
    "PFCOUNT @b",
    "EVAL return{#KEYS,ARGV[1],redis.call('TYPE',KEYS[1])} 1 @s #",
    "EVAL return(redis.call('INCR',KEYS[1])) 1 @n",
    "EVALSHA 0000 0",
    "DBSIZE",
    "PING",
    "PING x",
    "ECHO hello",
    "NOSUCH a b",
    "GET",
    "SET @s",
    "LPUSH @l",
    "CLIENT NOSUCH",
    "OBJECT NOSUCH x",
    "CONFIG GET maxmemory",
    "COMMAND COUNT",
    "PUBSUB NUMSUB c0 c1",
    "CLIENT GETNAME",
    "SELECT 99",
    "FLUSHDB",
    "SWAPDB 0 1",
    "MOVE @s 1",
    "WAIT 0 0",
    "UNWATCH",
];
