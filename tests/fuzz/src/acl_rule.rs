//! Any text is a policy or is complained about; any request then gets one verdict of one line.
//!
//! Owns: [`check`]. Never knows: which verdict is right.

use bytes::BytesMut;
use respgate::internals::command::lookup;
use respgate::internals::config::Rules;
use respgate::internals::policy::{Rule, Scratch, compile};
use respgate::internals::resp::RequestBuf;

/// The first line of `data` is an ACL, each further line an argument of one request.
pub fn check(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let Some(Ok(acl)) = lines.next().map(str::from_utf8) else { return };
    let rules = Rules { acl: Some(acl.to_owned()), ..Rules::default() };
    let policy = match compile(&rules) {
        Ok(policy) => policy,
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                assert!(acl.get(error.at..).is_some(), "{error}");
            }
            return;
        }
    };
    let request = RequestBuf::from_args(lines);
    if request.is_empty() {
        return;
    }
    let request = request.as_request();
    let mut scratch = Scratch::default();
    let decide = |scratch: &mut Scratch| policy.decide(lookup(&request), &request, 0, scratch);
    let Err(refusal) = decide(&mut scratch) else { return };
    assert_ne!(refusal.rule, Rule::Incomplete, "all of the request is here");
    let mut text = BytesMut::new();
    refusal.write_error(&request, &mut text);
    let line = text.strip_prefix(b"-").and_then(|line| line.strip_suffix(b"\r\n"));
    let ends = |byte: &u8| matches!(byte, b'\r' | b'\n');
    assert!(line.is_some_and(|line| !line.is_empty() && !line.iter().any(ends)));
    let again = decide(&mut scratch).err();
    assert_eq!(again.map(|refusal| refusal.rule), Some(refusal.rule), "the room was used before");
}
