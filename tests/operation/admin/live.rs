//! What is read again and again: the log, the metrics, the live view.
//!
//! Owns: those cases. Never knows: how a verb is answered.

use super::house::{self, AdminState};

const INSIGHT: &str =
    "[hotkeys]\nsample = 1\n[[audit.sink]]\ntype = \"file\"\npath = \"audit.log\"\n";

#[test]
fn log_is_read_from_memory_page_by_page() {
    let house = AdminState::new("");
    let (code, printed) = house.ask(&["logs", "recent"]);
    assert!(code == 0 && printed.contains(" INFO respgate::cli::run: serving "), "{printed}");
    let first = house.json(&["logs", "recent"]);
    let cursor = first["cursor"].as_u64().unwrap().to_string();
    let serving = |event: &&serde_json::Value| event["message"] == "serving";
    let event = first["events"].as_array().unwrap().iter().find(serving).unwrap();
    assert_eq!(
        (&event["level"], &event["version"]),
        (&"INFO".into(), &env!("CARGO_PKG_VERSION").into())
    );
    assert_eq!(house.ask(&["log-level", "warn", "--for", "1h"]).0, 0);
    assert_eq!(house.ask(&["log-level", "info"]).0, 0);
    house.proxy.await_log(&["ADM-I001", "level=info"]);
    let next = house.json(&["logs", "recent", "--after", &cursor]);
    let events = next["events"].as_array().unwrap();
    assert!(events.iter().all(|event| event["message"] != "serving"), "{next}");
    // The verb itself is logged under the level that it sets.
    assert!(events.iter().any(|event| event["code"] == "ADM-I001"), "{next}");
    assert_eq!(next["missed"], 0);
    let one = house.json(&["logs", "recent", "--after", "0", "--most", "1"]);
    assert_eq!((one["events"].as_array().unwrap().len(), &one["cursor"]), (1, &1.into()), "{one}");
    let (code, printed) = house.ask(&["logs", "recent", "--level", "error"]);
    assert_eq!((code, printed.trim()), (0, ""));
    let (code, printed) = house.ask(&["logs", "recent", "--level", "loud"]);
    assert!(code == 2 && printed.contains("error, warn, info, debug, trace"), "{code} {printed}");
}

#[test]
fn metrics_are_read_where_the_telemetry_server_cannot_be_reached() {
    let house = AdminState::new("");
    let (code, printed) = house.ask(&["metrics"]);
    assert!(code == 0 && printed.contains("# TYPE respgate_upstream_up gauge"), "{printed}");
    let json = house.json(&["metrics"]);
    assert_eq!(json["respgate_state{state=\"ready\"}"], 1.0, "{json}");
}

#[test]
fn top_over_the_socket_shows_keys_entries_and_the_log() {
    let house = AdminState::new(INSIGHT);
    let mut client = house.proxy.client();
    for _ in 0..50 {
        assert_eq!(client.ask_text(&["GET", "popular"]), "$-1");
    }
    house.proxy.reconfigure("+@all ~*", "+@all -flushall ~*");
    assert_eq!(house.ask(&["reload"]).0, 0);
    assert!(client.ask_text(&["FLUSHALL"]).starts_with("-NOPERM"));
    let file = house.proxy.configuration_file();
    let once = ["top", "--once", "--interval", "200ms"];
    for place in [["--socket", &house.socket], ["--config", file.to_str().unwrap()]] {
        let (code, printed) = house.ask_at(&[&once[..], &place].concat());
        assert_eq!(code, 0, "{printed}");
        for words in [
            "Commands ",
            "reachable",
            "command flushall",
            "/s  *",
            " denied flushall",
            " INFO  serving",
        ] {
            assert!(printed.contains(words), "{words}\n{printed}");
        }
        assert!(printed.lines().all(|line| line.chars().count() <= 80), "{printed}");
        assert!(!printed.contains("popular"), "keys are shown as audit.keys requires: {printed}");
    }
    let lost = [&once[..], &["--socket", "/nonexistent/x.sock"]].concat();
    let (code, printed) = house::respgate(&lost, &[]);
    assert!(code == 3 && printed.contains("/nonexistent/x.sock: "), "{code} {printed}");
}
