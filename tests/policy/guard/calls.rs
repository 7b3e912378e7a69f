//! Random scripts: calls of every command, in every way that Lua has to write one.
//!
//! Owns: [`script`]. Never knows: policies, servers.

use respgate::internals::command::{self, KeyKind, Spec};

use super::super::support::choices::Choices;
use super::super::support::forms::{Form, forms, plain};

/// Shows a value of any kind, names in tables too.
const SHOW: &str = "local function show(v) if type(v)~='table' then return tostring(v) end \
     local t={} for k,x in pairs(v) do t[#t+1]=show(k)..'='..show(x) end return table.concat(t,' ') end \
     local r={} ";
/// What takes the place of an argument.
const WORDS: [&[u8]; 40] = [
    b"STORE",
    b"STOREDIST",
    b"BY",
    b"GET",
    b"STREAMS",
    b"COUNT",
    b"LIMIT",
    b"GROUP",
    b"MATCH",
    b"match\0x",
    b"store\0",
    b"DB",
    b"db",
    b"KEYS",
    b"NOACK",
    b"BLOCK",
    b"ANY",
    b"0",
    b"1",
    b"2",
    b"3",
    b"01",
    b"-1",
    b"+1",
    b" 1",
    b"1.0",
    b"nan",
    b"9223372036854775808",
    b"*",
    b"?*",
    b"s*",
    b"[s]*",
    b"\\s*",
    b"#",
    b"a->b",
    b"*->f",
    b"",
    b"\0",
    b"\xff\xfe",
    b"@PREFIX@",
];

/// A text as Lua writes it.
fn quoted(word: &[u8], random: &mut Choices) -> String {
    let text = std::str::from_utf8(word).ok();
    let number = text.filter(|text| text.parse::<i32>().is_ok_and(|n| n.to_string() == *text));
    if let Some(number) = number.filter(|_| random.chance(40)) {
        return number.to_owned();
    }
    let mut out = String::from("\"");
    for byte in word {
        if byte.is_ascii_alphanumeric() && !random.chance(3) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("\\{byte:03}"));
        }
    }
    out + "\""
}

/// One command's arguments: a form that it has, with other names, and perhaps changed.
fn words(specs: &[&'static Spec], names: &[&[u8]], random: &mut Choices) -> Vec<Vec<u8>> {
    let spec = *random.pick(specs);
    let all = forms(spec, "");
    let form = if all.is_empty() { plain(spec) } else { random.pick(&all).clone() };
    let Form { mut words, places, .. } = form;
    for (at, kind) in places {
        let name = random.pick(names).to_vec();
        words[at] = match kind {
            KeyKind::KeyPattern if random.chance(60) => [&*name, b"*"].concat(),
            _ => name,
        };
    }
    while random.chance(35) {
        let other = if random.chance(50) { random.pick(names) } else { random.pick(&WORDS) };
        let other = other.to_vec();
        match random.below(5) {
            0 if words.len() > 1 => drop(words.pop()),
            1 => words.push(other),
            2 => words.insert(1 + random.below(words.len()), other),
            _ if words.len() > 1 => {
                let at = 1 + random.below(words.len() - 1);
                words[at] = other;
            }
            _ => {}
        }
    }
    if random.chance(20) {
        words[0] = words[0].to_ascii_lowercase();
    }
    words
}

/// One call of it, as an expression.
fn call(words: &[Vec<u8>], arguments: &mut Vec<Vec<u8>>, random: &mut Choices) -> String {
    let api = random.pick(&["redis", "redis", "server"]);
    let name = random.pick(&["call", "call", "pcall"]);
    let mut list = Vec::new();
    for word in words {
        if random.chance(15) {
            arguments.push(word.clone());
            list.push(format!("ARGV[{}]", arguments.len()));
        } else {
            list.push(quoted(word, random));
        }
    }
    let (first, all) = (list[0].clone(), list.join(","));
    match random.below(8) {
        0 => format!("coroutine.wrap({api}.{name})({all})"),
        1 => format!("{api}[\"{name}\"](unpack({{{all}}}))"),
        2 => format!("(function(...) return {api}.{name}(...) end)({all})"),
        3 => format!("setmetatable({{}},{{__index=function() return {api}.{name}({all}) end}}).x"),
        4 if list.len() > 1 => format!("{api}.{name}({first},{})", list[1..].join(",")),
        5 => format!("select(2,pcall({api}.{name},{all}))"),
        _ => format!("{api}.{name}({all})"),
    }
}

/// A script with up to six calls, each of whose errors is caught, and its arguments.
pub(super) fn script(names: &[&[u8]], random: &mut Choices) -> (String, Vec<Vec<u8>>) {
    let specs: Vec<&Spec> = command::all().iter().filter(|spec| !spec.container).collect();
    let (keyed, keyless): (Vec<&Spec>, Vec<&Spec>) =
        specs.into_iter().partition(|spec| !spec.keys.is_empty());
    let mut text = SHOW.to_owned();
    let mut arguments = Vec::new();
    if random.chance(15) {
        text.push_str("redis.setresp(3) ");
    }
    for _ in 0..1 + random.below(6) {
        let from = if random.chance(12) { &keyless } else { &keyed };
        let words = words(from, names, random);
        let call = call(&words, &mut arguments, random);
        text.push_str(&format!(
            "do local ok,v=pcall(function() return {call} end) r[#r+1]=show(v) end "
        ));
    }
    text.push_str("return r");
    (text, arguments)
}
