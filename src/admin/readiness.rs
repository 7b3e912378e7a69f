//! The rules for started, alive and ready, over facts that others report.
//!
//! Owns: [`Health`], [`Probe`], [`Report`]. Never knows: HTTP, Kubernetes, its callers.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::base::limits;
use crate::telemetry::State;

/// No outage, and no bound of one.
const NOT_OUT: u64 = u64::MAX;

/// The facts. The data plane's heartbeat task writes them, the telemetry server reads them.
#[derive(Debug)]
pub struct Health {
    epoch: Instant,
    /// Milliseconds from the epoch to the last heartbeat; building this counts as one.
    beat: AtomicU64,
    started: AtomicBool,
    draining: AtomicBool,
    listeners_bound: AtomicBool,
    client_slots_free: AtomicBool,
    upstream_up: AtomicBool,
    /// Since when an outage of the server is known, in milliseconds from the epoch; [`NOT_OUT`]: none is.
    out_since: AtomicU64,
    /// How long an outage may last, in milliseconds, until the process is not ready; [`NOT_OUT`]: for ever.
    out_max: AtomicU64,
    /// The start is over only when the server was reached.
    needs_upstream: AtomicBool,
    /// The server was reached at least once since the start.
    upstream_seen: AtomicBool,
}

/// The probes of the health endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// May the next container start? Once yes, always yes.
    Started,
    /// Does the process work? Never depends on the server or on certificates: a restart
    /// repairs neither.
    Live,
    /// May applications connect?
    Ready,
    /// Is the server reachable? A probe of its own, for neither a restart nor rerouting helps.
    Upstream,
}

/// The checks of one probe, in order, each with its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    probe: Probe,
    checks: Vec<(&'static str, bool)>,
}

impl Health {
    /// Nothing is reported yet: not started, the worker alive.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            beat: AtomicU64::new(0),
            started: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            listeners_bound: AtomicBool::new(false),
            client_slots_free: AtomicBool::new(true),
            upstream_up: AtomicBool::new(false),
            out_since: AtomicU64::new(NOT_OUT),
            out_max: AtomicU64::new(NOT_OUT),
            needs_upstream: AtomicBool::new(false),
            upstream_seen: AtomicBool::new(false),
        }
    }

    /// Configuration, identity and listeners are in place. There is no way back.
    pub fn set_started(&self) {
        self.started.store(true, Relaxed);
    }

    /// The process drains, until it exits.
    pub fn set_draining(&self) {
        self.draining.store(true, Relaxed);
    }

    pub fn set_listeners_bound(&self, bound: bool) {
        self.listeners_bound.store(bound, Relaxed);
    }

    pub fn set_client_slots_free(&self, free: bool) {
        self.client_slots_free.store(free, Relaxed);
    }

    pub fn set_upstream_up(&self, up: bool) {
        self.upstream_up.store(up, Relaxed);
        if up {
            self.upstream_seen.store(true, Relaxed);
        }
    }

    /// Whether an outage of the server is known; to be called when it changes, or again.
    pub fn set_upstream_out(&self, out: bool, now: Instant) {
        let since = self.out_since.load(Relaxed);
        match (out, since) {
            (true, NOT_OUT) => self.out_since.store(self.millis(now), Relaxed),
            (true, _) => {}
            (false, _) => self.out_since.store(NOT_OUT, Relaxed),
        }
    }

    /// `health.readiness = "upstream"`: not ready before the server was reached, and once it could not be
    /// reached for so long.
    pub fn follow_upstream(&self, unready_after: Duration) {
        let max = u64::try_from(unready_after.as_millis()).unwrap_or(NOT_OUT - 1);
        self.out_max.store(max, Relaxed);
    }

    fn millis(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX - 1)
    }

    /// With [`Self::follow_upstream`]: whether the server counts as reachable.
    fn follows_upstream(&self, now: Instant) -> Option<bool> {
        let max = self.out_max.load(Relaxed);
        let since = self.out_since.load(Relaxed);
        let short = since == NOT_OUT || self.millis(now).saturating_sub(since) < max;
        (max != NOT_OUT).then(|| short && self.upstream_seen.load(Relaxed))
    }

    /// `startup.require_upstream`.
    pub fn require_upstream(&self) {
        self.needs_upstream.store(true, Relaxed);
    }

    /// What the process is doing.
    #[must_use]
    pub fn state(&self) -> State {
        let is = |fact: &AtomicBool| fact.load(Relaxed);
        if is(&self.draining) {
            State::Draining
        } else if !self.has_started() {
            State::Starting
        } else if self.out_since.load(Relaxed) != NOT_OUT {
            State::Degraded
        } else {
            State::Ready
        }
    }

    fn has_started(&self) -> bool {
        let is = |fact: &AtomicBool| fact.load(Relaxed);
        is(&self.started) && (!is(&self.needs_upstream) || is(&self.upstream_seen))
    }

    /// The worker runs; to be called from its own thread, once a second.
    pub fn beat(&self, now: Instant) {
        self.beat.store(self.millis(now), Relaxed);
    }

    /// Answers `probe` from the facts of this moment.
    #[must_use]
    pub fn report(&self, probe: Probe, now: Instant) -> Report {
        let is = |fact: &AtomicBool| fact.load(Relaxed);
        let checks = match probe {
            Probe::Started => vec![("started", self.has_started())],
            Probe::Live => {
                let last = Duration::from_millis(self.beat.load(Relaxed));
                let age = now.saturating_duration_since(self.epoch).saturating_sub(last);
                vec![("ping", true), ("worker", age < limits::HEARTBEAT_AGE_MAX)]
            }
            Probe::Ready => {
                let upstream = self.follows_upstream(now).map(|ok| ("upstream", ok));
                let own = [
                    ("started", self.has_started()),
                    ("listeners", is(&self.listeners_bound)),
                    ("not-draining", !is(&self.draining)),
                    ("client-slots", is(&self.client_slots_free)),
                ];
                own.into_iter().chain(upstream).collect()
            }
            Probe::Upstream => vec![("upstream", is(&self.upstream_up))],
        };
        Report { probe, checks }
    }
}

impl Probe {
    /// The path it is asked under, without the slash.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "startupz",
            Self::Live => "livez",
            Self::Ready => "readyz",
            Self::Upstream => "healthz/upstream",
        }
    }
}

impl Report {
    /// Each check with its outcome.
    #[must_use]
    pub fn checks(&self) -> &[(&'static str, bool)] {
        &self.checks
    }

    /// Whether every check passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|(_, ok)| *ok)
    }
}

/// One line per check and a verdict, as Kubernetes' own `?verbose` prints them.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, ok) in &self.checks {
            let (sign, word) = if *ok { ('+', "ok") } else { ('-', "failed") };
            writeln!(f, "[{sign}]{name} {word}")?;
        }
        let verdict = if self.passed() { "passed" } else { "failed" };
        writeln!(f, "{} check {verdict}", self.probe.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn started_stays_started() {
        let start = clock::now();
        let health = Health::new(start);
        assert!(!health.report(Probe::Started, start).passed());
        health.set_started();
        health.set_draining();
        health.set_listeners_bound(false);
        assert!(health.report(Probe::Started, start).passed());
    }

    #[test]
    fn silent_worker_is_dead_after_ten_seconds_whatever_else_holds() {
        let start = clock::now();
        let health = Health::new(start);
        let live = |at: u64| health.report(Probe::Live, start + Duration::from_millis(at)).passed();
        assert!(live(0) && live(9_999) && !live(10_000));
        health.beat(start + Duration::from_secs(60));
        assert!(live(69_999) && !live(70_000));
        health.set_draining();
        assert!(live(60_000), "neither a drain nor a missing server is a reason for a restart");
    }

    #[test]
    fn ready_needs_each_of_its_facts() {
        let start = clock::now();
        let fresh = || {
            let health = Health::new(start);
            health.set_started();
            health.set_listeners_bound(true);
            health
        };
        let ready = |health: &Health| health.report(Probe::Ready, start).passed();
        assert!(ready(&fresh()), "without a server too");
        assert!(!ready(&Health::new(start)));
        let spoil: [fn(&Health); 3] = [
            Health::set_draining,
            |health| health.set_listeners_bound(false),
            |health| health.set_client_slots_free(false),
        ];
        for (case, spoil) in spoil.into_iter().enumerate() {
            let health = fresh();
            spoil(&health);
            assert!(!ready(&health), "case {case}");
        }
    }

    #[test]
    fn readiness_follows_the_server_only_if_configured_and_not_at_once() {
        let start = clock::now();
        let health = Health::new(start);
        health.set_started();
        health.set_listeners_bound(true);
        let at = |seconds| start + Duration::from_secs(seconds);
        let ready = |seconds| health.report(Probe::Ready, at(seconds)).passed();
        health.set_upstream_out(true, at(0));
        assert!(ready(1_000), "by default the server does not matter");
        health.follow_upstream(Duration::from_secs(15));
        assert!(!ready(1), "it was never reached");
        health.set_upstream_up(true);
        health.set_upstream_out(false, at(2));
        assert!(ready(2));
        health.set_upstream_up(false);
        health.set_upstream_out(true, at(10));
        health.set_upstream_out(true, at(20));
        assert!(ready(24) && !ready(25), "the outage began at 10");
        assert!(health.report(Probe::Live, at(0)).passed(), "a restart does not repair it");
        assert!(health.report(Probe::Started, at(25)).passed());
        health.set_upstream_out(false, at(26));
        assert!(ready(26), "at once");
        health.set_upstream_out(true, at(27));
        assert!(ready(41) && !ready(42), "another outage");
    }

    #[test]
    fn server_is_reported_on_its_own() {
        let health = Health::new(clock::now());
        assert!(!health.report(Probe::Upstream, clock::now()).passed());
        health.set_upstream_up(true);
        assert!(health.report(Probe::Upstream, clock::now()).passed());
    }

    #[test]
    fn states_follow_each_other() {
        let now = clock::now();
        let health = Health::new(now);
        assert_eq!(health.state(), State::Starting);
        health.require_upstream();
        health.set_started();
        health.set_listeners_bound(true);
        health.set_upstream_out(true, now);
        assert_eq!(health.state(), State::Starting, "the server was not reached yet");
        assert!(!health.report(Probe::Started, now).passed());
        assert!(!health.report(Probe::Ready, now).passed());
        health.set_upstream_up(true);
        health.set_upstream_out(false, now);
        assert_eq!(health.state(), State::Ready);
        health.set_upstream_up(false);
        health.set_upstream_out(true, now);
        assert_eq!(health.state(), State::Degraded);
        assert!(
            health.report(Probe::Started, now).passed()
                && health.report(Probe::Ready, now).passed()
        );
        health.set_draining();
        assert_eq!(health.state(), State::Draining);
    }

    #[test]
    fn readiness_text_has_the_form_of_kubernetes() {
        let start = clock::now();
        let health = Health::new(start);
        health.set_started();
        let expected = "[+]started ok\n[-]listeners failed\n[+]not-draining ok\n\
                        [+]client-slots ok\nreadyz check failed\n";
        assert_eq!(health.report(Probe::Ready, start).to_string(), expected);
    }
}
