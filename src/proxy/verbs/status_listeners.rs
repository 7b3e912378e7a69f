//! The listeners on the screen of `status`: their clients, and the certificates that they show.
//!
//! Owns: [`show`]. Never knows: what else is on the screen.

use serde_json::{Value, json};

use super::screen::{DAY, Screen, WARN_DAYS, unix};
use crate::base::utc::utc;
use crate::config::{AskClient, ClientLimits};
use crate::tls::ListenerStore;

/// `listeners`: the address of each, its clients, and where its certificate is.
pub(super) fn show(
    limits: &ClientLimits,
    listeners: &[(String, usize)],
    stores: &[Option<ListenerStore>],
    now: u64,
    screen: &mut Screen,
) {
    let all: usize = listeners.iter().map(|(_, count)| count).sum();
    let max = limits.max_clients;
    if all >= max {
        let remedy =
            "raise limits.max_clients, or find the clients that connect so often: respgate clients";
        screen.wrong("ADM-E003", format!("all {max} places for clients are taken"), remedy);
    }
    let (mut lines, mut json) = (Vec::new(), Vec::new());
    for (number, (address, count)) in listeners.iter().enumerate() {
        let plural = if *count == 1 { "" } else { "s" };
        let mut line = format!("{address}  {count} client{plural}");
        let mut own = json!({ "address": address, "clients": count, "tls": Value::Null });
        if let Some(Some(store)) = stores.get(number) {
            let (words, value) = tls(store, address, now, screen);
            line = format!("{line}; {words}");
            if let Some(own) = own.as_object_mut() {
                own.insert("tls".to_owned(), value);
            }
        }
        lines.push(line);
        json.push(own);
    }
    screen.add("listeners", lines, json!(json));
}

fn tls(store: &ListenerStore, address: &str, now: u64, screen: &mut Screen) -> (String, Value) {
    let identity = store.current();
    let (end, generation) = (unix(identity.own.chain_not_after), identity.generation);
    let days = end.saturating_sub(now) / DAY;
    let remedy = "renew it; respgate loads it when the file changes, see: respgate reload";
    if end <= now {
        let what = format!("the certificate of listener {address} has ended at {}", utc(end));
        screen.wrong("ADM-E004", what, remedy);
    } else if days < WARN_DAYS {
        let what = format!("the certificate of listener {address} ends in {days} days");
        screen.wrong("ADM-W003", what, remedy);
    }
    let client_auth = match store.settings().client_auth {
        AskClient::Require => "require",
        AskClient::Request => "request",
        AskClient::Off => "off",
    };
    let words = format!(
        "TLS, client certificates: {client_auth}; own ends {} ({days} days); generation {generation}",
        utc(end)
    );
    let json = json!({
        "client_auth": client_auth,
        "fingerprint": identity.own.fingerprint,
        "not_after": utc(end),
        "days_left": days,
        "generation": generation,
    });
    (words, json)
}
