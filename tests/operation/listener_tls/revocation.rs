//! Lists of revoked certificates of applications.

use std::process::Command;
use std::time::{Duration, SystemTime};

use respgate::internals::base::clock;
use respgate::internals::tls::dev_certs::Authority;

use super::certs::Lab;
use super::support::real_server::wait_until;
use super::{Bench, Secure, client};

const RELOADS: &str = "respgate_reload_attempts_total{what=\"tls_listener\",result=\"applied\"}";
const FOREVER: &str = "20990101000000Z";

#[test]
fn revoked_application_cannot_connect_even_by_resumption() {
    let lab = Lab::new();
    lab.crl("list", None, FOREVER);
    let crl = format!("crl = {:?}", lab.path("list.crl"));
    let bench = Bench::with(lab, &crl, "", "");
    let lab = &bench.lab;
    let config = client(lab, Some(&lab.pair("client")));
    drop(Secure::connect(bench.port, &config).unwrap());
    assert!(Secure::connect(bench.port, &config).unwrap().is_resumed());
    lab.crl("list", Some("client.crt"), FOREVER);
    bench.proxy.await_metric(RELOADS, |count| count == 1.0);
    assert!(Secure::connect(bench.port, &config).is_err());
    wait_until("it is counted", || bench.failures("revoked") == 1.0);
    bench.proxy.await_log(&["TLS-E207"]);
    let other = lab.issue("other", &lab.client_order("other"));
    bench.connect(Some(&other)).unwrap();
    let end = "respgate_tls_crl_next_update_timestamp_seconds{side=\"listener\"}";
    assert!(bench.proxy.metric(end) > 4e9);
    // One that has ended is not put in force.
    lab.crl("list", None, "20200101000000Z");
    bench.proxy.await_log(&["REL-E001", "tls_listener", "TLS-E021"]);
    assert!(Secure::connect(bench.port, &config).is_err());
}

#[test]
fn application_that_no_revocation_list_covers_cannot_connect() {
    let (lab, stranger) = (Lab::new(), Lab::new());
    stranger.crl("strange", None, FOREVER);
    let crl = format!("crl = {:?}", stranger.path("strange.crl"));
    let both = format!("{}{}", lab.authority.cert(), stranger.authority.cert());
    std::fs::write(lab.path("ca.crt"), both).unwrap();
    let bench = Bench::with(lab, &crl, "", "");
    assert!(bench.connect(Some(&bench.lab.pair("client"))).is_err());
    bench.proxy.await_log(&["TLS-E215"]);
}

/// Lists that would refuse every application, as after a copy of the wrong file.
#[test]
fn list_of_no_authority_of_the_listener_is_not_put_in_force() {
    let (lab, stranger) = (Lab::new(), Lab::new());
    lab.crl("list", None, FOREVER);
    let list = std::fs::read(lab.path("list.crl")).unwrap();
    let crl = format!("crl = {:?}", lab.path("list.crl"));
    let bench = Bench::with(lab, &crl, "", "");
    let lab = &bench.lab;
    let mut open = bench.connect(Some(&lab.pair("client"))).unwrap();
    let rejected = "respgate_reload_rejections_total{what=\"tls_listener\",reason=\"parse\"}";
    let foreign = {
        let other = Authority::new("Other CA", lab.now, super::certs::DAY).unwrap();
        let other = Lab { authority: other, ..Lab::new() };
        other.crl("other", None, FOREVER);
        std::fs::read(other.path("other.crl")).unwrap()
    };
    // The labs' authorities have the same name, and each its own key.
    stranger.crl("forged", None, FOREVER);
    let forged = std::fs::read(stranger.path("forged.crl")).unwrap();
    for (count, (bytes, words)) in [
        (foreign, "none of its lists is by an authority"),
        (forged, "list 1 is not signed by the authority that it names"),
    ]
    .into_iter()
    .enumerate()
    {
        std::fs::write(lab.path("list.crl"), bytes).unwrap();
        wait_until(words, || bench.proxy.metric(rejected) > count as f64);
        bench.proxy.await_log(&["REL-E001", "tls_listener", "TLS-E020", words]);
        assert_eq!(open.ask(&["PING"]), "+PONG\r\n", "it stays");
        bench.connect(Some(&lab.pair("client"))).unwrap();
    }
    std::fs::write(lab.path("list.crl"), list).unwrap();
    wait_until("it is the one in force", || {
        let unchanged =
            "respgate_reload_attempts_total{what=\"tls_listener\",result=\"unchanged\"}";
        bench.proxy.metric(unchanged) > 0.5
    });
    // As authority a certificate that can sign none.
    std::fs::copy(lab.path("client.crt"), lab.path("next.crt")).unwrap();
    std::fs::rename(lab.path("next.crt"), lab.path("ca.crt")).unwrap();
    bench.proxy.await_log(&["REL-E001", "tls_listener", "TLS-E017", "CA:TRUE"]);
    assert_eq!(open.ask(&["PING"]), "+PONG\r\n", "it stays");
}

/// This moment and some seconds, as a list has it.
fn in_seconds(seconds: u64) -> String {
    let since = clock::wall().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let moment = format!("@{}", since + seconds);
    let printed =
        Command::new("date").args(["-u", "-d", &moment, "+%Y%m%d%H%M%SZ"]).output().unwrap();
    String::from_utf8(printed.stdout).unwrap().trim().to_owned()
}

/// An expired list closes nothing, new connections are refused or accepted as configured, and an operator sees which.
#[test]
fn list_that_expires_in_force_is_named_to_operators() {
    for (setting, code, accepts) in [("reject", "ADM-E005", false), ("accept", "ADM-W004", true)] {
        let lab = Lab::new();
        let socket = lab.path("control.sock");
        lab.crl("list", None, &in_seconds(6));
        let crl = format!("crl = {:?}\ncrl_expired = {setting:?}", lab.path("list.crl"));
        let bench = Bench::with(lab, &crl, "", &format!("[admin]\nsocket = {socket:?}\n"));
        let pair = bench.lab.pair("client");
        let mut open = bench.connect(Some(&pair)).unwrap();
        let status = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_respgate"));
            let output = command.args(["status", "--socket"]).arg(&socket).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(!status().contains("list of revoked"), "{}", status());
        wait_until("it is named", || status().contains(code));
        let text = status().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            text.contains("list.crl has expired at") && text.contains("of applications"),
            "{text}"
        );
        std::thread::sleep(Duration::from_millis(1100));
        assert_eq!(bench.connect(Some(&pair)).is_ok(), accepts, "{setting}");
        if !accepts {
            bench.proxy.await_log(&["TLS-E021"]);
        }
        assert_eq!(open.ask(&["PING"]), "+PONG\r\n", "{setting}: it stays");
        bench.lab.crl("list", None, FOREVER);
        wait_until("it may connect", || bench.connect(Some(&pair)).is_ok());
        wait_until("all is well", || !status().contains(code));
        assert_eq!(open.ask(&["PING"]), "+PONG\r\n", "{setting}: it stays");
    }
}
