//! What a pipeline does with replies, losses and time.
//!
//! Owns: its tests. Never knows: sockets.

use std::time::Duration;

use super::*;
use crate::base::limits;
use crate::resp::ReplyError;

fn at() -> Instant {
    crate::base::clock::now()
}

fn pushed(requests: &[(&'static str, bool)]) -> Pipeline<&'static str> {
    let mut pipeline = Pipeline::new(Protocol::Resp3);
    for (i, (name, retry)) in requests.iter().enumerate() {
        pipeline.push(*name, Ticket(i as u64), name.as_bytes(), Skips::NONE, *retry, at());
    }
    pipeline
}

fn write(pipeline: &mut Pipeline<&'static str>, count: usize) {
    pipeline.wrote(count);
}

fn feed(pipeline: &mut Pipeline<&'static str>, bytes: &str) -> (Vec<String>, Result<(), Broken>) {
    let mut seen = Vec::new();
    let result = pipeline.handle_bytes(bytes.as_bytes(), None, |delivery| {
        let text = String::from_utf8_lossy(delivery.bytes).into_owned();
        seen.push(format!("{} {text:?} {}", delivery.owner, delivery.done));
    });
    (seen, result)
}

fn lose(pipeline: &mut Pipeline<&'static str>, retries: u8) -> Vec<String> {
    let mut lost = Vec::new();
    pipeline.handle_loss(
        |attempts| attempts < retries,
        |owner, _, loss, _| lost.push(format!("{owner} {loss:?}")),
    );
    lost
}

#[test]
fn replies_go_to_their_owners_in_order_and_in_pieces() {
    let mut p = pushed(&[("a", true), ("b", true)]);
    write(&mut p, 2);
    assert_eq!(feed(&mut p, "+1\r\n$3\r\nx").0, ["a \"+1\\r\\n\" true", "b \"$3\\r\\nx\" false"]);
    assert_eq!(feed(&mut p, "yz\r\n").0, ["b \"yz\\r\\n\" true"]);
    assert!(p.is_empty() && !p.has_outstanding_replies());
}

#[test]
fn memory_of_a_long_line_is_counted_and_returned_with_its_last_reply() {
    const COUNT: usize = 20_000;
    let mut p = pushed(&[("a", true); COUNT]);
    let entries = COUNT * size_of::<Entry<&'static str>>();
    assert_eq!((p.request_bytes(), p.held_bytes()), (COUNT, COUNT + entries));
    let taken = p.line.capacity() * size_of::<Entry<&'static str>>();
    assert!((entries..=2 * entries).contains(&taken), "{taken} bytes are taken");
    write(&mut p, COUNT);
    assert_eq!(feed(&mut p, &"+1\r\n".repeat(COUNT)).1, Ok(()));
    assert_eq!(p.held_bytes(), 0);
    assert!(p.line.capacity() <= limits::EMPTY_LINE_ENTRIES_MAX && p.bytes.capacity() < COUNT);
}

#[test]
fn unexpected_reply_breaks_the_connection() {
    assert_eq!(feed(&mut pushed(&[]), "+1\r\n").1, Err(Broken::UnexpectedReply));
    assert_eq!(
        feed(&mut pushed(&[("a", true)]), "+1\r\n").1,
        Err(Broken::UnexpectedReply),
        "not written yet"
    );
    let mut p = pushed(&[("a", true)]);
    write(&mut p, 1);
    assert_eq!(feed(&mut p, ">1\r\n+x\r\n").1, Err(Broken::Push));
    let mut p = pushed(&[("a", true), ("b", true)]);
    write(&mut p, 2);
    let replies = feed(&mut p, "*2\r\n>1\r\n+x\r\n+1\r\n+2\r\n");
    assert_eq!(replies, (vec![], Err(Broken::Push)), "the end of the array is unknown");
    let mut p = Pipeline::new(Protocol::Resp2);
    p.push("a", Ticket(0), b"a", Skips::NONE, true, at());
    p.wrote(1);
    assert_eq!(feed(&mut p, "%0\r\n").1, Err(Broken::Framing(ReplyError::Type(b'%'))));
    let mut p = pushed(&[("a", true)]);
    write(&mut p, 1);
    assert!(matches!(feed(&mut p, "hello\r\n").1, Err(Broken::Framing(_))));
}

#[test]
fn loss_keeps_what_is_safe_and_reports_the_rest() {
    let mut p = pushed(&[
        ("get1", true),
        ("set2", false),
        ("get3", true),
        ("set4", false),
        ("set5", false),
    ]);
    write(&mut p, 14);
    assert_eq!(lose(&mut p, 3), ["set2 OutcomeUnknown"]);
    assert_eq!(p.unwritten(), b"get1get3set4set5", "set4 was cut, set5 not begun: never executed");
}

#[test]
fn own_requests_end_with_their_connection_whether_they_were_sent_or_not() {
    let mut p = pushed(&[("get1", true)]);
    p.push_own("own", Ticket(1), b"PING", at());
    p.push_own("own", Ticket(2), b"ROLE", at());
    write(&mut p, 8);
    assert!(lose(&mut p, 3).is_empty());
    assert_eq!((p.unwritten(), p.len()), (&b"get1"[..], 1));
    p.push_own("own", Ticket(3), b"PING", at());
    write(&mut p, 4);
    assert_eq!(lose(&mut p, 0), ["get1 OutcomeUnknown"]);
    assert!(p.is_empty(), "nothing of the proxy's own keeps a line dialed");
}

#[test]
fn companion_is_repeated_only_behind_a_request_whose_outcome_is_known() {
    let with_companion = || {
        let mut p = pushed(&[("set", false)]);
        p.push("expire", Ticket(1), b"expire", Skips::NONE, true, at());
        p.note_companion();
        p
    };
    let mut p = with_companion();
    write(&mut p, 9);
    assert_eq!(lose(&mut p, 3), ["set OutcomeUnknown", "expire OutcomeUnknown"]);
    let mut p = with_companion();
    write(&mut p, 9);
    assert!(feed(&mut p, "+OK\r\n").1.is_ok());
    assert!(lose(&mut p, 3).is_empty());
    assert_eq!(p.unwritten(), b"expire", "the write was executed");
    let mut p = with_companion();
    write(&mut p, 2);
    assert!(lose(&mut p, 3).is_empty());
    assert_eq!(p.unwritten(), b"setexpire", "neither was executed");
    let mut p = with_companion();
    write(&mut p, 5);
    assert_eq!(lose(&mut p, 3), ["set OutcomeUnknown", "expire OutcomeUnknown"], "one is cut");
    let mut p = with_companion();
    write(&mut p, 3);
    assert!(feed(&mut p, "+OK\r\n").1.is_ok());
    p.push_next("own", Ticket(2), b"PING", at());
    assert!(lose(&mut p, 0).is_empty());
    assert_eq!(p.unwritten(), b"expire", "the write was executed");
    let mut p = with_companion();
    write(&mut p, 9);
    p.expire(at() + Duration::from_secs(1), || None, |_, _, _| {});
    assert!(lose(&mut p, 3).is_empty() && p.is_empty(), "given up before");
}

#[test]
fn restart_drops_requests_without_a_client() {
    let mut p = pushed(&[("get1", true), ("set2", false), ("get3", true)]);
    let mut waits = 0;
    p.restart(at(), |owner| *owner == "set2", |_, _, _, _| waits += 1);
    assert_eq!((p.unwritten(), p.len(), waits), (&b"get1get3"[..], 2, 2));
}

#[test]
fn restart_keeps_what_completes_an_answered_request_although_its_client_is_gone() {
    for (written, replies, expected) in [(3, "+OK\r\n", "expire"), (0, "", "")] {
        let mut p = pushed(&[("set", false)]);
        p.push("expire", Ticket(1), b"expire", Skips::NONE, true, at());
        p.note_companion();
        write(&mut p, written);
        assert!(feed(&mut p, replies).1.is_ok());
        assert!(lose(&mut p, 3).is_empty());
        p.restart(at(), |_| true, |_, _, _, _| ());
        assert_eq!(p.unwritten(), expected.as_bytes());
    }
}

#[test]
fn restart_forgets_what_was_about_the_connection_before() {
    let mut p = pushed(&[("get1", true)]);
    p.push_secret("own", Ticket(2), b"AUTH", at());
    p.push_own("own", Ticket(3), b"PING", at());
    p.restart(at(), |_| false, |_, _, _, _| {});
    assert_eq!((p.unwritten(), p.len(), p.secrets.count()), (&b"get1"[..], 1, 0));
}

#[test]
fn outstanding_writes_are_those_that_must_not_be_written_again() {
    let mut p = pushed(&[("get1", true), ("set2", false)]);
    p.push_own("own", Ticket(2), b"PING", at());
    assert!(!p.has_outstanding_writes());
    write(&mut p, 4);
    assert!(!p.has_outstanding_writes());
    write(&mut p, 8);
    assert!(p.has_outstanding_writes());
    p.expire(at() + Duration::from_secs(1), || None, |_, _, _| {});
    assert!(!p.has_outstanding_writes());
}

#[test]
fn reply_that_has_begun_is_truncated_and_retries_end() {
    let mut p = pushed(&[("get1", true), ("get2", true)]);
    write(&mut p, 8);
    assert_eq!(feed(&mut p, "$5\r\nab").1, Ok(()));
    assert_eq!(lose(&mut p, 1), ["get1 Truncated"]);
    write(&mut p, 4);
    assert_eq!(lose(&mut p, 1), ["get2 OutcomeUnknown"]);
    assert!(p.is_empty());
}

#[test]
fn late_reply_of_an_abandoned_request_goes_nowhere() {
    let mut p = pushed(&[("a", true), ("b", true)]);
    write(&mut p, 2);
    let mut late = Vec::new();
    p.expire(at() + Duration::from_secs(1), || None, |owner, _, _| late.push(*owner));
    assert_eq!(late, ["a", "b"]);
    p.push("c", Ticket(2), b"c", Skips::NONE, true, at());
    write(&mut p, 1);
    assert_eq!(feed(&mut p, "+1\r\n+2\r\n+3\r\n").0, ["c \"+3\\r\\n\" true"]);
}

#[test]
fn half_a_request_is_not_answered() {
    let mut p = pushed(&[("get1", true), ("get2", true)]);
    write(&mut p, 6);
    assert_eq!(feed(&mut p, "+1\r\n").0, ["get1 \"+1\\r\\n\" true"]);
    assert_eq!(p.unfinished(), b"t2");
    assert_eq!(feed(&mut p, "+2\r\n").1, Err(Broken::UnexpectedReply));
}

#[test]
fn block_that_is_sent_again_swallows_all_its_replies_again() {
    let mut p = Pipeline::new(Protocol::Resp3);
    p.push("t", Ticket(0), b"MULTI..EXEC", Skips::of_transaction(2), false, at());
    p.wrote(7);
    assert_eq!(feed(&mut p, "+OK\r\n+QUEUED\r\n"), (vec![], Ok(())));
    assert!(lose(&mut p, 0).is_empty());
    write(&mut p, 11);
    assert_eq!(feed(&mut p, "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n").0, ["t \"*1\\r\\n+OK\\r\\n\" true"]);
}

#[test]
fn block_whose_multi_is_refused_is_marked() {
    let mut p = Pipeline::new(Protocol::Resp3);
    p.push("t", Ticket(0), b"MULTI..EXEC", Skips::of_transaction(2), false, at());
    p.push("u", Ticket(1), b"GET", Skips::NONE, false, at());
    p.wrote(14);
    let mut refused = Vec::new();
    for piece in ["-NOPERM no", " MULTI\r\n+OK\r\n-ERR EXEC with", "out MULTI\r\n$-1\r\n"] {
        let taken = p.handle_bytes(piece.as_bytes(), None, |delivery| {
            refused.push((*delivery.owner, delivery.refused, delivery.done));
        });
        assert_eq!(taken, Ok(()));
    }
    assert_eq!(refused, [("t", true, false), ("t", true, true), ("u", false, true)]);
}

#[test]
fn reply_that_completes_a_request_is_no_refused_multi() {
    let mut p = Pipeline::new(Protocol::Resp3);
    p.push("t", Ticket(0), b"MSET", Skips::NONE, false, at());
    p.push("t", Ticket(1), b"EXPIRE EXPIRE", Skips::ahead(1), true, at());
    p.note_companion();
    p.wrote(17);
    let mut refused = Vec::new();
    let taken =
        p.handle_bytes(b"+OK\r\n:1\r\n:1\r\n", None, |delivery| refused.push(delivery.refused));
    assert_eq!((taken, refused), (Ok(()), vec![false, false]));
}

#[test]
fn first_error_of_a_block_is_delivered_whole_and_cut() {
    let mut p = Pipeline::new(Protocol::Resp3);
    p.push("t", Ticket(0), b"MULTI..EXEC", Skips::of_transaction(3), false, at());
    p.push("u", Ticket(1), b"MULTI..EXEC", Skips::of_transaction(2), false, at());
    p.wrote(22);
    let mut delivered = Vec::new();
    let long = format!("-OOM {}\r\n", "x".repeat(1000));
    for piece in ["+OK\r\n-READ", "ONLY a\r\n-OOM b\r\n-EXECABORT\r\n+OK\r\n", &long, "*0\r\n"] {
        let taken = p.handle_bytes(piece.as_bytes(), None, |delivery| {
            if delivery.skipped {
                delivered.push((*delivery.owner, delivery.bytes.to_vec()));
            }
        });
        assert_eq!(taken, Ok(()));
    }
    let cut = long.as_bytes()[..limits::QUEUED_ERROR_BYTES_MAX].to_vec();
    assert_eq!(delivered, [("t", b"-READONLY a\r\n".to_vec()), ("u", cut)]);
    assert!(p.is_empty());
}

#[test]
fn block_skips_replies_without_an_owner() {
    let mut p = Pipeline::new(Protocol::Resp3);
    p.push("t", Ticket(0), b"MULTI..EXEC", Skips::of_transaction(2), false, at());
    p.wrote(11);
    assert_eq!(feed(&mut p, "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n").0, ["t \"*1\\r\\n+OK\\r\\n\" true"]);
}

/// The line of `p`, and what is written next.
fn rest(p: &Pipeline<&'static str>) -> (Vec<&'static str>, String) {
    let names = p.line.iter().filter(|entry| !entry.abandoned).map(|entry| entry.owner);
    (names.collect(), String::from_utf8_lossy(p.unwritten()).into_owned())
}

fn id(owner: &&'static str) -> Option<usize> {
    owner.bytes().next().map(usize::from)
}

#[test]
fn requests_that_may_be_sent_elsewhere_move_in_their_order() {
    // The first letter is the owner.
    let mut p = pushed(&[
        ("a1", false),
        ("b1", true),
        ("c1", true),
        ("b2", true),
        ("c2", false),
        ("d1", false),
        ("b3", false),
        ("a2", true),
        ("d2", true),
    ]);
    write(&mut p, 10);
    let moved = p.move_over(id);
    assert_eq!(rest(&moved), (vec!["b1", "b2", "d1", "b3", "d2"], "b1b2d1b3d2".to_owned()));
    assert_eq!(rest(&p), (vec!["a1", "c1", "c2", "a2"], "a2".to_owned()));
    assert!(p.has_outstanding_replies() && !moved.has_outstanding_replies());
    write(&mut p, 2);
    let replies = ["a1", "c1", "c2", "a2"].map(|name| format!("{name} \"+\\r\\n\" true"));
    assert_eq!(feed(&mut p, "+\r\n+\r\n+\r\n+\r\n+\r\n+\r\n").0, replies);
    assert!(p.is_empty());
}

#[test]
fn half_a_request_and_the_oldest_stay() {
    let mut p = pushed(&[("a1", true), ("b1", true), ("a2", true), ("b2", true)]);
    write(&mut p, 3);
    let moved = p.move_over(id);
    assert!(moved.is_empty());
    assert_eq!(p.unfinished(), b"1");
    assert_eq!(p.unwritten(), b"1a2b2");
}

#[test]
fn request_of_the_proxy_goes_before_what_is_not_written() {
    let mut p = pushed(&[("a1", true), ("b1", true), ("c1", true)]);
    write(&mut p, 3);
    p.push_next("own", Ticket(9), b"PING", at());
    assert_eq!(p.unwritten(), b"1PINGc1");
    assert_eq!(p.unfinished(), b"1PING");
    write(&mut p, 7);
    let owners = ["a1", "b1", "own", "c1"].map(|name| format!("{name} \"+\\r\\n\" true"));
    assert_eq!(feed(&mut p, "+\r\n+\r\n+\r\n+\r\n").0, owners);
}

#[test]
fn line_is_given_up_when_no_client_waits() {
    let mut p = pushed(&[("a1", true)]);
    p.push_own("own", Ticket(1), b"PING", at());
    assert!(!p.is_given_up());
    p.expire(at() + Duration::from_secs(1), || None, |_, _, _| {});
    assert!(p.is_given_up());
}

#[test]
fn pipeline_forgets_only_what_is_unsent_old_and_given_up() {
    let mut p = pushed(&[("sent", false), ("gone", false), ("stays", false), ("gone", true)]);
    let later = at() + Duration::from_secs(1);
    write(&mut p, 4);
    let gone = |owner: &&str| *owner != "stays";
    assert!(!p.forgets(at() - Duration::from_secs(5), gone));
    assert!(p.forgets(later, gone) && !p.forgets(later, |_| false));
    let mut forgotten = Vec::new();
    p.forget(later, gone, |owner, ticket| forgotten.push((*owner, ticket)));
    assert_eq!(forgotten, [("gone", Ticket(1)), ("gone", Ticket(3))]);
    assert_eq!(p.unwritten(), b"stays");
    write(&mut p, 5);
    assert_eq!(
        feed(&mut p, "+1\r\n+2\r\n").0,
        ["sent \"+1\\r\\n\" true", "stays \"+2\\r\\n\" true"]
    );
    assert!(p.is_empty());
}

#[test]
fn pipeline_keeps_what_belongs_to_a_request_that_is_sent() {
    let mut p: Pipeline<&str> = Pipeline::new(Protocol::Resp3);
    for (number, companion) in [(0, false), (1, true), (2, false), (3, true)] {
        p.push("gone", Ticket(number), b"ab", Skips::NONE, companion, at());
        if companion {
            p.note_companion();
        }
    }
    let later = at() + Duration::from_secs(1);
    write(&mut p, 2);
    let mut forgotten = Vec::new();
    p.forget(later, |_| true, |_, ticket| forgotten.push(ticket));
    assert_eq!(forgotten, [Ticket(2), Ticket(3)], "the first EXPIRE follows its SET");
    assert_eq!(p.unwritten(), b"ab");
}

/// What the server refused to execute is completed by nothing on another connection; an error of the command itself may
/// come behind a part of its effects.
#[test]
fn request_that_was_not_executed_is_not_completed_elsewhere() {
    let answers = [("+OK", 1), ("-READONLY no", 0), ("-ERR script: half", 1)];
    for ((answer, stays), overdue) in answers.iter().flat_map(|it| [(it, false), (it, true)]) {
        let mut p: Pipeline<&str> = Pipeline::new(Protocol::Resp2);
        p.push("write", Ticket(0), b"w", Skips::NONE, false, at());
        p.push("expire", Ticket(1), b"e", Skips::NONE, true, at());
        p.note_companion();
        write(&mut p, 2);
        p.handle_bytes(format!("{answer}\r\n").as_bytes(), None, |_| {}).unwrap();
        if overdue {
            p.expire(at() + Duration::from_secs(1), || Some("late"), |_, _, _| {});
        }
        p.handle_loss(|_| true, |_, _, _, _| {});
        assert_eq!(p.len(), *stays, "{answer}, {overdue}");
    }
}

#[test]
fn secret_is_wiped_and_is_for_one_connection_alone() {
    let now = crate::base::clock::now();
    let mut pipeline: Pipeline<Option<u32>> = Pipeline::new(Protocol::Resp2);
    pipeline.push(Some(1), Ticket(1), b"before", Skips::NONE, true, now);
    pipeline.push_secret(None, Ticket(2), b"hunter2", now);
    for ticket in 3..2000 {
        pipeline.push(Some(1), Ticket(ticket), b"behind", Skips::NONE, true, now);
    }
    pipeline.push_next(None, Ticket(0), b"probe!", now);
    assert!(pipeline.bytes.starts_with(b"probe!beforehunter2behindbehind"));
    pipeline.wrote(6 + 6 + 7 + 6);
    for reply in ["+PONG\r\n", "+1\r\n", "+OK\r\n"] {
        pipeline.handle_bytes(reply.as_bytes(), None, |_| {}).unwrap();
    }
    assert_eq!((pipeline.secrets.count(), pipeline.len()), (0, 1997));
    pipeline.push_secret(None, Ticket(2), b"hunter2", now);
    let lost = pipeline.handle_loss(|attempts| attempts < 3, |_, _, _, _| {});
    assert_eq!((lost, pipeline.secrets.count(), pipeline.len()), (0, 0, 1997));
    assert!(!pipeline.bytes.windows(7).any(|window| window == b"hunter2"));
}

#[test]
fn long_error_that_comes_in_pieces_is_one_error() {
    let mut p = pushed(&[("a", true), ("b", true)]);
    write(&mut p, 2);
    let mut errors = Vec::new();
    for piece in ["-ERR it is", " -ERR long\r\n", "-ERR\r\n"] {
        let taken = p.handle_bytes(piece.as_bytes(), None, |delivery| {
            errors.push((*delivery.owner, delivery.error.is_some()));
        });
        assert_eq!(taken, Ok(()));
    }
    assert_eq!(errors, [("a", true), ("a", false), ("b", true)]);
}

/// Its code is known when all of it is there, wherever the error is cut.
#[test]
fn error_that_is_cut_anywhere_has_its_code_and_is_one() {
    for error in ["-READONLY You can't write\r\n", "-MASTERDOWN Link\r\n", "-OOM\r\n"] {
        let code = error.split([' ', '\r']).next().unwrap();
        for cut in 1..error.len() {
            let mut p = pushed(&[("a", true), ("b", true)]);
            write(&mut p, 2);
            let (mut codes, mut signs, mut text) = (Vec::new(), 0, String::new());
            for piece in [&error[..cut], &error[cut..], "+-READONLY no error\r\n"] {
                let taken = p.handle_bytes(piece.as_bytes(), None, |delivery| {
                    let known =
                        delivery.error.map(|line| String::from_utf8(line.to_vec()).unwrap());
                    signs += usize::from(delivery.sign().is_some());
                    codes.extend(known.map(|line| line.starts_with(code)));
                    text += std::str::from_utf8(delivery.bytes).unwrap();
                });
                assert_eq!(taken, Ok(()));
            }
            assert_eq!((codes, text), (vec![true], format!("{error}+-READONLY no error\r\n")));
            assert_eq!(signs, usize::from(code != "-OOM"), "{error:?} cut at {cut}");
        }
    }
}
