//! The order of replies, and what is counted of those that wait.
//!
//! Owns: its tests. Never knows: what a reply means.

use super::*;
use crate::base::clock;

#[test]
fn reply_before_its_turn_waits_in_its_place_and_is_counted() {
    let (mut queue, mut out) = (ReplyQueue::default(), BytesMut::new());
    let mut ask = || queue.push_remote(None, Expect::Plain, Class::Read, clock::now(), false);
    let [first, second, third] = [(); 3].map(|()| ask());
    assert!(queue.arrive(third, &mut out, |out| out.extend_from_slice(b"3")).is_some());
    queue.push_local(false, &mut out, |out| out.extend_from_slice(b"4"));
    assert!(queue.arrive(second, &mut out, |out| out.extend_from_slice(b"2")).is_some());
    assert_eq!((&*out, queue.in_flight()), (&b""[..], 1));
    assert_eq!(queue.held_bytes(), 3 * (1 + size_of::<Place>()));
    assert!(queue.arrive(second, &mut out, |_| ()).is_none(), "it has its reply");
    out.extend_from_slice(b"1");
    assert_eq!(queue.pop(&mut out).map(|remote| remote.ticket), Some(first));
    assert_eq!((&*out, queue.held_bytes(), queue.in_flight()), (&b"1234"[..], 0, 0));
}
