//! Pictures of the view at several sizes, with odd numbers too.
//!
//! Owns: cases. Never knows: terminals.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may crash")]

use super::*;

const NOW: f64 = 1_700_000_000.0;
const SECOND: Duration = Duration::from_secs(1);

const BEFORE: &str = r#"
respgate_build_info{version="1.2.3",revision="x",tls_provider="aws-lc-rs"} 1
respgate_state{state="starting"} 0
respgate_state{state="ready"} 1
process_start_time_seconds 1699992000
process_resident_memory_bytes 7340032
respgate_client_connections{listener="tcp"} 50
respgate_client_connections{listener="unix"} 2
respgate_client_connections_total{listener="tcp"} 100
respgate_commands_total{family="string"} 1000
respgate_commands_total{family="list"} 0
respgate_replies_total{result="ok"} 1000
respgate_replies_total{result="denied"} 2
respgate_replies_total{result="unavailable"} 0
respgate_commands_in_flight 7
respgate_command_duration_seconds_bucket{class="read",le="0.001"} 500
respgate_command_duration_seconds_bucket{class="read",le="0.005"} 500
respgate_command_duration_seconds_bucket{class="read",le="+Inf"} 500
respgate_command_duration_seconds_sum{class="read"} 0.1
respgate_command_duration_seconds_count{class="read"} 500
respgate_commands_denied_total{command="flushall",rule="command"} 2
respgate_client_pinned_connections{cause="multi"} 1
respgate_client_pinned_connections{cause="watch"} 0
respgate_upstream_up 1
respgate_upstream_connections{state="shared"} 2
respgate_upstream_connections{state="pinned_idle"} 1
respgate_upstream_batch_commands_sum 1000
respgate_upstream_batch_commands_count 100
respgate_tls_certificate_not_after_timestamp_seconds{role="client"} 1702000000
respgate_tls_identity_generation 3
respgate_reload_attempts_total{what="config",result="applied"} 4
respgate_reload_attempts_total{what="config",result="rejected"} 1
"#;

fn after() -> String {
    BEFORE
        .replace("family=\"string\"} 1000", "family=\"string\"} 13345")
        .replace("family=\"list\"} 0", "family=\"list\"} 10")
        .replace("result=\"ok\"} 1000", "result=\"ok\"} 13343")
        .replace("rule=\"command\"} 2", "rule=\"command\"} 5")
        .replace("le=\"0.001\"} 500", "le=\"0.001\"} 600")
        .replace("le=\"0.005\"} 500", "le=\"0.005\"} 700")
        .replace("le=\"+Inf\"} 500", "le=\"+Inf\"} 700")
        .replace("sum{class=\"read\"} 0.1", "sum{class=\"read\"} 0.5")
        .replace("count{class=\"read\"} 500", "count{class=\"read\"} 700")
        .replace("commands_sum 1000", "commands_sum 5000")
        .replace("commands_count 100", "commands_count 200")
}

/// What is shown after looks at these metrics, a second apart.
fn shown(looks: &[&str], size: (u16, u16)) -> String {
    let start = clock::now();
    let mut watch = Watch::new("127.0.0.1:9465", SECOND, false);
    for (look, n) in looks.iter().zip(0..) {
        watch.take(Ok((start + SECOND * n, Exposition::parse(look))), NOW);
    }
    let text = picture(&watch.view(NOW, false), size);
    assert!(text.lines().count() <= usize::from(size.1), "{text}");
    for line in text.lines() {
        assert!(Line::raw(line).width() <= usize::from(size.0), "{line}");
    }
    text
}

#[test]
fn picture_of_80_by_24_shows_every_panel() {
    let text = shown(&[BEFORE, &after()], (80, 24));
    for words in [
        "respgate  1.2.3  ready  up 2h 13m  7.0 MiB  22:13:20 UTC  127.0.0.1:9465",
        "nothing is wrong",
        "Commands 12.4k/s",
        "read        200/s  1.0 ms   4.9 ms  2.0 ms",
        "open      52 (tcp 50, unix 2)",
        "in flight 7",
        "pinned    multi 1",
        "state     reachable",
        "links     shared 2, idle 1",
        "batching  40.0 a write",
        "client         23d 3h left",
        "identity  generation 3",
        "reloads   4 applied, 1 rejected",
        "Denied 3.0/s",
        "3.0/s       5  command flushall",
        "ok       12.3k/s denied       0/s",
        "string   12.3k/s list      10.0/s",
        "q quit  p pause  every 1s",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    assert_eq!(text.lines().count(), 24, "{text}");
}

#[test]
fn picture_of_a_large_terminal_has_room_for_more() {
    let denied: String = (0..12)
        .map(|n| format!("respgate_commands_denied_total{{command=\"c{n}\",rule=\"key\"}} {n}\n"))
        .collect();
    let text = shown(&[BEFORE, &(after() + &denied)], (120, 40));
    for words in ["key c11", "key c1", "list"] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn picture_of_a_small_terminal_is_a_list() {
    let text = shown(&[BEFORE, &after()], (40, 10));
    for words in ["commands  12.4k/s", "read      200/s, p99 4.9 ms", "clients   52", "q quit"] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    for size in [(1, 1), (1, 40), (200, 1), (3, 3), (71, 60), (300, 21), (72, 22)] {
        shown(&[BEFORE, &after()], size);
    }
}

#[test]
fn first_look_shows_what_is_there_and_no_rates() {
    let text = shown(&[BEFORE], (80, 24));
    for words in ["Commands -", "open      52", "client         23d 3h left", "new       -"] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    assert!(!text.contains("0/s"), "{text}");
}

#[test]
fn restart_between_two_looks_gives_no_absurd_rates() {
    let text = shown(&[&after(), BEFORE], (80, 24));
    // 1000 strings since the restart, at most.
    assert!(text.contains("Commands 1.0k/s") || text.contains("Commands 1000/s"), "{text}");
}

#[test]
fn absurd_values_are_drawn() {
    for value in ["NaN", "+Inf", "-Inf", "-1", "1e300", "0", "18446744073709551616"] {
        let absurd: String = after()
            .lines()
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(name, _)| format!("{name} {value}\n"))
            .collect();
        for size in [(80, 24), (120, 40), (40, 10)] {
            shown(&[&absurd, &absurd], size);
            shown(&[BEFORE, &absurd], size);
            shown(&["", &absurd], size);
        }
    }
    let long = "x".repeat(10_000);
    let odd = format!(
        "respgate_commands_denied_total{{command=\"{long}\u{1b}[2J\",rule=\"é\u{301}界\"}} 1e9\n\
         respgate_state{{state=\"{long}\"}} 1\n{BEFORE}"
    );
    for size in [(80, 24), (40, 10)] {
        let text = shown(&["", &odd], size);
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn fault_is_shown_above_the_last_figures() {
    let start = clock::now();
    let mut watch = Watch::new("127.0.0.1:9465", SECOND, false);
    watch.take(Err("127.0.0.1:9465: refused".to_owned()), NOW);
    let text = picture(&watch.view(NOW, false), (80, 24));
    assert!(text.contains("! 127.0.0.1:9465: refused"), "{text}");
    watch.take(Ok((start, Exposition::parse(BEFORE))), NOW);
    watch.take(Err("127.0.0.1:9465: refused".to_owned()), NOW);
    watch.paused = true;
    let text = picture(&watch.view(NOW, false), (80, 24));
    assert!(text.contains("! 127.0.0.1:9465: refused") && text.contains("open      52"), "{text}");
    assert!(text.contains("p go on"), "{text}");
}

#[test]
fn faults_are_shown_first() {
    let down = after()
        .replace("respgate_upstream_up 1", "respgate_upstream_up 0")
        .replace("result=\"unavailable\"} 0", "result=\"unavailable\"} 12")
        .replace("role=\"client\"} 1702000000", "role=\"client\"} 1699999000");
    let text = shown(&[BEFORE, &down], (80, 24));
    let line = text.lines().nth(1).unwrap();
    assert!(line.starts_with("(+2) ! the server cannot be reached"), "{text}");
    assert!(text.contains("NOT REACHABLE") && text.contains("EXPIRED 16m 40s ago"), "{text}");
    let text = shown(&[BEFORE, &down], (120, 40));
    let second = text.lines().nth(2).unwrap();
    assert!(second.starts_with("! the client certificate expired 16m 40s ago"), "{text}");
}

#[test]
fn pages_of_80_by_24_show_events_and_a_tall_picture_all() {
    let start = clock::now();
    let mut watch = Watch::new("/run/control.sock", SECOND, true);
    for (look, n) in [BEFORE, &after()].into_iter().zip(0..) {
        watch.note(News::Figures(Ok((start + SECOND * n, Exposition::parse(look)))), NOW);
    }
    let json = |text: &str| Ok(serde_json::from_str(text).unwrap());
    watch.note(
        News::Events(events::Round {
            hot: json(
                r#"{"enabled": true, "policies": [{"policy": "policy", "keys": [
                {"key": "key:a92c33a4", "per_second": 9340.0}]}]}"#,
            ),
            audit: json(
                r#"[{"time": "2026-11-28T23:54:39.2Z", "event": "denied",
                "command": "flushall", "rule": "category"}]"#,
            ),
            log: json(
                r#"{"cursor": 1, "missed": 0, "events": [{"time": "2026-11-28T23:54:40.0Z",
                "level": "WARN", "message": "lost \u001b[2J", "code": "UPS-E102"}]}"#,
            ),
        }),
        NOW,
    );
    let figures = ["state     reachable", "Denied 3.0/s", "3.0/s       5  command flushall"];
    let events = [
        "Hot keys",
        "9.3k/s  key:a92c33a4",
        "23:54:39 denied flushall category",
        "23:54:40 WARN  UPS-E102 lost",
    ];
    let both = ["Commands 12.4k/s", "in flight 7", "q quit"];
    let has = |text: &str, words: &[&str]| words.iter().all(|word| text.contains(word));
    let pages: Vec<String> = (0..2)
        .map(|_| {
            let text = picture(&watch.view(NOW, false), (80, 24));
            assert!(text.lines().count() == 24 && has(&text, &both), "{text}");
            assert!(!text.contains('\u{1b}') && text.contains("Tab "), "{text}");
            watch.page = watch.page.other();
            text
        })
        .collect();
    assert!(has(&pages[0], &figures) && !pages[0].contains("Hot keys"), "{}", pages[0]);
    assert!(has(&pages[1], &events) && !pages[1].contains("Denied"), "{}", pages[1]);
    let text = picture(&watch.view(NOW, false), (80, WHOLE_ROWS));
    assert!(has(&text, &figures) && has(&text, &events) && has(&text, &both), "{text}");
    assert!(!text.contains("Tab "), "{text}");
    let text = picture(&watch.view(NOW, false), (40, 20));
    assert!(text.contains("key:a92c33a4") && text.contains("UPS-E102"), "{text}");
    for size in [(1, 1), (72, 22), (200, 100), (80, 36), (80, 37)] {
        picture(&watch.view(NOW, false), size);
    }
}

#[test]
fn events_that_are_off_or_cannot_be_read_show_why() {
    let mut watch = Watch::new("x", SECOND, true);
    watch.take(Ok((clock::now(), Exposition::parse(BEFORE))), NOW);
    watch.page = Page::Events;
    let text = picture(&watch.view(NOW, false), (80, 24));
    assert!(text.contains("not read yet"), "{text}");
    let round = events::Round {
        hot: Ok(serde_json::json!({ "enabled": false })),
        audit: Ok(serde_json::Value::Null),
        log: Err("/run/x.sock: permission denied".to_owned()),
    };
    watch.note(News::Events(round), NOW);
    let text = picture(&watch.view(NOW, false), (80, 24));
    for words in ["off: set [hotkeys] sample", "off: set [[audit.sink]]", "permission denied"] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn curve_keeps_a_bounded_past() {
    let start = clock::now();
    let mut watch = Watch::new("x", SECOND, false);
    let beyond = u32::try_from(limits::TOP_HISTORY_MAX + 10).unwrap();
    for n in 0..beyond {
        let text = format!("respgate_commands_total{{family=\"string\"}} {}\n", n * n);
        watch.take(Ok((start + SECOND * n, Exposition::parse(&text))), NOW);
    }
    assert_eq!(watch.history.len(), limits::TOP_HISTORY_MAX);
    assert_eq!(watch.history.last(), Some(&u64::from(2 * (beyond - 1) - 1)));
    let text = picture(&watch.view(NOW, false), (80, 24));
    assert!(text.contains('█') && text.contains('▇'), "{text}");
}
