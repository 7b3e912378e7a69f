//! What is wrong, in the order of its weight, and what to do about it.
//!
//! Owns: [`Trouble`], its limits. Never knows: how it is shown, where figures come from.

use super::figures::{End, Figures};
use super::number::{per_second, span};

/// Less than this part of a certificate's lifetime is left: its renewal is late.
const SHARE_LOW: f64 = 0.2;
const SHARE_CRITICAL: f64 = 0.05;
/// Seconds left below which a renewal is late, for a certificate of which only the end is known.
const LEFT_LOW: f64 = 7.0 * 86_400.0;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Whether applications feel it now.
    pub critical: bool,
    pub text: String,
}

/// Everything that is wrong, what applications feel first.
pub(super) fn troubles(figures: &Figures) -> Vec<Trouble> {
    let mut found = Vec::new();
    let mut add = |critical: bool, text: String| found.push(Trouble { critical, text });
    let replies = |result: &str| {
        let rate = figures.replies.iter().find(|rate| rate.name == result);
        rate.map(|rate| rate.per_second).filter(|rate| *rate > 0.0)
    };
    if figures.server.up == Some(false) {
        let next = figures
            .server
            .backoff
            .map_or_else(String::new, |wait| format!(", next attempt in {}", span(wait.max(1.0))));
        add(true, format!("the server cannot be reached{next}; try: respgate check --connect"));
    }
    for End { role, left, share } in &figures.certificates.ends {
        let late = share.map_or(*left < LEFT_LOW, |share| share < SHARE_LOW);
        if *left <= 0.0 {
            add(true, format!("the {role} certificate expired {} ago", span(-left)));
        } else if late {
            let critical = share.is_some_and(|share| share < SHARE_CRITICAL);
            add(critical, format!("the {role} certificate expires in {}", span(*left)));
        }
    }
    for (result, what) in [
        ("unavailable", "commands are answered that the server is unavailable"),
        ("timeout", "commands are answered that the server took too long"),
    ] {
        if let Some(rate) = replies(result) {
            add(true, format!("{} {what}", per_second(Some(rate))));
        }
    }
    match figures.state.as_str() {
        "draining" => add(false, "it drains: clients are being disconnected".to_owned()),
        "starting" => {
            add(false, "it is starting: /readyz?verbose shows what is missing".to_owned())
        }
        "degraded" => add(false, "it is degraded: the server cannot be reached".to_owned()),
        _ => {}
    }
    for what in &figures.reloads.outdated {
        let what = what.replace('_', " ");
        add(false, format!("the last reload of {what} was rejected; the log has the reason"));
    }
    if let Some(rate) = figures.clients.rejected.filter(|rate| *rate > 0.0) {
        add(false, format!("{} connections of clients are rejected", per_second(Some(rate))));
    }
    if let Some(rate) = figures.clients.failed_logins.filter(|rate| *rate > 0.0) {
        add(false, format!("{} logins of clients fail", per_second(Some(rate))));
    }
    found.sort_by_key(|trouble| !trouble.critical);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::figures::{Certificates, Server};
    use crate::cli::top::window::Rate;

    fn texts(figures: &Figures) -> Vec<String> {
        troubles(figures).into_iter().map(|trouble| trouble.text).collect()
    }

    fn end(role: &str, left: f64, share: Option<f64>) -> End {
        End { role: role.to_owned(), left, share }
    }

    #[test]
    fn empty_scrape_shows_no_trouble() {
        assert!(troubles(&Figures::default()).is_empty());
        let fine = Figures {
            state: "ready".to_owned(),
            server: Server { up: Some(true), ..Server::default() },
            certificates: Certificates {
                ends: vec![
                    end("client", 1800.0, Some(0.5)),
                    end("trust anchor", 30.0 * 86_400.0, None),
                ],
                ..Certificates::default()
            },
            ..Figures::default()
        };
        assert!(troubles(&fine).is_empty());
    }

    #[test]
    fn troubles_of_applications_come_first() {
        let figures = Figures {
            state: "draining".to_owned(),
            server: Server { up: Some(false), backoff: Some(2.5), ..Server::default() },
            certificates: Certificates {
                ends: vec![
                    end("upstream peer", -90.0, Some(-0.1)),
                    end("client", 2.0 * 86_400.0, Some(0.04)),
                    end("trust anchor", 2.0 * 86_400.0, None),
                ],
                ..Certificates::default()
            },
            replies: vec![Rate { name: "unavailable".to_owned(), per_second: 12.0, total: 1e6 }],
            ..Figures::default()
        };
        let expected = [
            "the server cannot be reached, next attempt in 2s; try: respgate check --connect",
            "the upstream peer certificate expired 1m 30s ago",
            "the client certificate expires in 2d 0h",
            "12.0/s commands are answered that the server is unavailable",
            "the trust anchor certificate expires in 2d 0h",
            "it drains: clients are being disconnected",
        ];
        assert_eq!(texts(&figures), expected);
        assert_eq!(troubles(&figures).iter().filter(|t| t.critical).count(), 4);
    }
}
