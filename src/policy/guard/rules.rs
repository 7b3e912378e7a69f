//! The rules of a policy as conditions in Lua: keys, channels, databases, values, times to live.
//!
//! Owns: [`Names`] and what follows a call. Never knows: where a command's keys are.

use std::fmt::Write as _;

use super::lua::{fits, fits_all_behind, quote};
use crate::base::client_text;
use crate::command::Access;
use crate::config::{Charset, KeyRules, OnMissing, Rules, TtlRules};
use crate::policy::database::Databases;
use crate::policy::pattern::{Pattern, escape};
use crate::policy::role::{KeyPattern, Scope, Selector};

/// Takes the prefix off the names in a reply.
pub(super) const STRIPS: &str = "if find(letters,\"[KCFZA]\") then r=strip(r,letters) end";

/// What scripts may name.
#[derive(Debug)]
pub(super) struct Names<'a> {
    rules: &'a Rules,
    keys: &'a Scope<KeyPattern>,
    channels: &'a Scope<Pattern>,
    databases: &'a Databases,
}

impl<'a> Names<'a> {
    pub(super) const fn new(rules: &'a Rules, root: &'a Selector) -> Self {
        Self { rules, keys: &root.keys, channels: &root.channels, databases: &root.databases }
    }

    /// Whether it matters what a command does with a key.
    pub(super) fn reports_access(&self) -> bool {
        let Scope::Only(known) = self.keys else { return false };
        known.iter().any(|key| key.access != Access::READ_WRITE)
    }

    /// `mayKey(k,c)`: whether key `k` may be used according to `c` (1 is neither, 2 reads, 3 writes, 4 both);
    /// `None`: every key may.
    pub(super) fn may_key(&self) -> Option<String> {
        let mut conditions = Vec::new();
        if let Scope::Only(known) = self.keys {
            let each = known
                .iter()
                .map(|key| format!("({} and {})", may(key.access), fits(&key.pattern, "k")));
            conditions.push(any(each));
        }
        let KeyRules { max_bytes, pattern, charset, deny, .. } = &self.rules.keys;
        conditions.extend(max_bytes.map(|max| format!("#k<={max}")));
        let glob = |glob: &String| Pattern::new(glob.as_bytes());
        conditions.extend(pattern.as_ref().map(|text| fits(&glob(text), "k")));
        if *charset == Charset::Printable {
            conditions.push("not string.find(k,\"[^!-~]\")".to_owned());
        }
        conditions.extend(deny.iter().map(|text| format!("not ({})", fits(&glob(text), "k"))));
        if conditions.is_empty() {
            return None;
        }
        Some(format!("local function mayKey(k,c) return {} end", conditions.join(" and ")))
    }

    /// Whether rules look at what a key is called besides the patterns of the ACL.
    fn judges_names(&self) -> bool {
        let KeyRules { max_bytes, pattern, charset, deny, .. } = &self.rules.keys;
        max_bytes.is_some() || pattern.is_some() || *charset != Charset::Any || !deny.is_empty()
    }

    /// The functions that only `cold` needs.
    pub(super) fn rest(&self, prefix: &str) -> String {
        let mut out = String::new();
        let keyed = self.may_key().is_some();
        let _ = write!(out, "local function mayPattern(k) return {} end ", self.pattern(prefix));
        let _ = write!(out, "local function mayScan(k) {} end ", self.scan_rule());
        let _ = write!(out, "local function mayChannel(k) return {} end ", self.channel());
        let _ = write!(out, "local function mayDb(v) return {} end ", self.database());
        let key = if keyed { "not mayKey(k,c)" } else { "false" };
        // A copy in another database would have no time to live: what follows a write looks at this one.
        let elsewhere = if times(self.rules) { "true" } else { "not mayDb(a[i+1])" };
        let _ = write!(
            out,
            "local function deny(w,s,letters,a,n,o,m) \
             for i=1,m,3 do local k,c,d=a[o[i]],o[i+1],o[i+2] \
             if d==1 then if {key} then return @KEY@ end \
             elseif d==2 then if not mayPattern(k) then return @KEY@ end \
             elseif not mayChannel(k) then return @CHANNEL@ end end \
             if find(letters,\"R\",1,true) and a[3] then local x=match(a[3],\"^%-(%d+)$\") \
             if x and tonumber(x)>repeats then return @REPEATED@ end end \
             if find(letters,\"s\",1,true) and not mayDb(a[2]) then return @RUN@ end \
             if find(letters,\"m\",1,true) and not mayDb(a[3]) then return @RUN@ end \
             if find(letters,\"d\",1,true) then for i=4,n do \
             if word(a[i])==\"db\" and {elsewhere} then return @RUN@ end end end {} end ",
            self.values()
        );
        out
    }

    /// A pattern of `SORT`: data replace `*`, so only what is before it is certain.
    fn pattern(&self, prefix: &str) -> String {
        if self.judges_names() || prefix.contains('*') {
            return "false".to_owned();
        }
        match self.keys {
            Scope::All => "true".to_owned(),
            Scope::Only(known) => any(self.behind(known)),
        }
    }

    fn behind<'b>(&'b self, known: &'b [KeyPattern]) -> impl Iterator<Item = String> + 'b {
        let read = known.iter().filter(|key| key.access.read);
        read.filter_map(|key| fits_all_behind(&key.pattern, "k"))
    }

    /// A pattern of `KEYS` or `SCAN`.
    fn scan_rule(&self) -> String {
        if !self.rules.keys.deny.is_empty() {
            return "return false".to_owned();
        }
        let Scope::Only(known) = self.keys else { return "return true".to_owned() };
        let read = || known.iter().filter(|key| key.access.read);
        let exact = any(read().map(|key| fits(&key.pattern, "k")));
        let same = any(read().map(|key| format!("k=={}", quote(key.pattern.text()))));
        let inside = any(self.behind(known));
        format!(
            "local whole=k local k=match(k,\"^[^*?%[\\\\]*\") \
             if k==whole then return {exact} end \
             if {inside} then return true end k=whole return {same}"
        )
    }

    fn channel(&self) -> String {
        let Self { keys, channels, databases, .. } = self;
        let mut conditions = Vec::new();
        if let Scope::Only(known) = channels {
            conditions.push(any(known.iter().map(|known| fits(known, "k"))));
        }
        if !keys.is_unrestricted(Access::WRITE) || databases.word().is_some() {
            // Channels of the server itself: subscribers take each message on them for one of the server.
            for reserved in
                ["__keyspace@", "__keyevent@", "__subkey", "__redis__:", "__sentinel__:"]
            {
                let length = reserved.len();
                conditions.push(format!("sub(k,1,{length})~=\"{reserved}\""));
            }
        }
        if conditions.is_empty() { "true".to_owned() } else { conditions.join(" and ") }
    }

    fn database(&self) -> String {
        let Databases::Only(known) = self.databases else { return "false".to_owned() };
        any(known.iter().map(|number| format!("v==\"{number}\"")))
    }

    /// What is wrong with the values of a command that writes.
    fn values(&self) -> String {
        let values = &self.rules.values;
        let mut out = String::new();
        if values.max_bytes.is_none() && values.max_args.is_none() {
            return out;
        }
        out.push_str("if find(letters,\"w\",1,true) then ");
        if let Some(max) = values.max_args {
            let _ =
                write!(out, "if n>{max} then return \"{}\" end ", client_text::SCRIPT_ARGUMENTS);
        }
        if let Some(max) = values.max_bytes {
            let long = format!("return \"{}\"", client_text::SCRIPT_VALUE);
            let _ = write!(
                out,
                "local named={{}} for i=1,m,3 do if o[i+2]==1 then named[o[i]]=true end end \
                 for i=find(w,\"|\",1,true) and 3 or 2,n do \
                 if #a[i]>{max} and not named[i] then {long} end end \
                 local function number(v) return whole(v,0,2^53) or 0 end local reach=0 \
                 if w==\"setrange\" then if #a[4]>0 then reach=number(a[3])+#a[4] end \
                 elseif w==\"setbit\" then reach=number(a[3])/8+1 \
                 elseif w==\"bitfield\" then local i=3 while i<=n do local x=word(a[i]) \
                 local writes=x==\"set\" or x==\"incrby\" \
                 if x==\"overflow\" then i=i+2 else \
                 local width=number(sub(a[i+1] or \"\",2)) local at=a[i+2] or \"\" \
                 local from=sub(at,1,1)==\"#\" and number(sub(at,2))*width or number(at) \
                 if writes and (from+width+7)/8>reach then reach=(from+width+7)/8 end \
                 i=i+(writes and 4 or 3) end end end \
                 if reach-reach%1>{max} then {long} end "
            );
        }
        out.push_str("end");
        out
    }
}

/// `KEYS` and `SCAN` look at the application's keys alone.
pub(super) fn scans(prefix: &str) -> String {
    let prefix = escape(prefix.as_bytes());
    let (glob, all) = (quote(&prefix), quote(&[&*prefix, b"*"].concat()));
    format!(
        "if pats then for i=1,#pats do a[pats[i]]={glob}..a[pats[i]] end \
         if #pats==0 then a[n+1]=\"MATCH\" a[n+2]={all} n=n+2 end end"
    )
}

/// Whether keys are to have a time to live, or none above a limit.
fn times(rules: &Rules) -> bool {
    let TtlRules { default, max, on_missing, .. } = &rules.ttl;
    max.is_some() || (default.is_some() && *on_missing == OnMissing::Inject)
}

/// What follows a write: keys get the time to live that they lack, and lose what is too much of it.
pub(super) fn ttl(rules: &Rules, prefix: &str) -> String {
    let TtlRules { default, max, on_missing, apply_to, exempt, .. } = &rules.ttl;
    let span = |span: std::time::Duration| span.as_millis().to_string();
    let missing = default.or(*max).filter(|_| *on_missing == OnMissing::Inject).map(span);
    let max = max.map(span);
    if !times(rules) {
        return String::new();
    }
    let glob = |glob: &String| fits(&Pattern::new(glob.as_bytes()), "k");
    let mut conditions = Vec::new();
    if !apply_to.is_empty() {
        conditions.push(any(apply_to.iter().map(glob)));
    }
    conditions.extend(exempt.iter().map(|text| format!("not ({})", glob(text))));
    let governed = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" and ") };
    let mut then = String::from("local put=0 ");
    if let Some(missing) = missing {
        let _ = write!(then, "if left==-1 then put=rp(\"PEXPIRE\",key,\"{missing}\") end ");
    }
    if let Some(max) = max {
        let _ = write!(then, "if left>{max} then put=rp(\"PEXPIRE\",key,\"{max}\") end ");
    }
    let untimed = quote(client_text::SCRIPT_UNTIMED.as_bytes());
    let _ = write!(then, "if type(put)~=\"number\" then return no({untimed}) end ");
    format!(
        "if find(letters,\"t\",1,true) then for i=1,m,3 do \
         if o[i+2]==1 and o[i+1]>2 then local k,key=own[i],{}..own[i] if {governed} then \
         local left=rp(\"PTTL\",key) if type(left)~=\"number\" then return no({untimed}) end \
         {then} end end end end",
        quote(prefix.as_bytes())
    )
}

/// The accesses that a pattern with this one allows.
const fn may(access: Access) -> &'static str {
    match (access.read, access.write) {
        (true, true) => "true",
        (true, false) => "c<3",
        (false, true) => "(c==1 or c==3)",
        (false, false) => "c==1",
    }
}

/// A condition that holds when one of these does.
fn any(conditions: impl IntoIterator<Item = String>) -> String {
    let conditions: Vec<String> = conditions.into_iter().collect();
    if conditions.is_empty() {
        return "false".to_owned();
    }
    format!("({})", conditions.join(" or "))
}
