//! The rules for started, alive and ready, over facts that others report.
//!
//! Owns: [`Health`], [`Probe`], [`Report`]. Never knows: HTTP, Kubernetes, who reports.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::base::limits;
use crate::telemetry::State;

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
    /// An outage of the server is known.
    upstream_out: AtomicBool,
    /// The start is over only when the server was reached.
    needs_upstream: AtomicBool,
    /// It was, at some time.
    upstream_seen: AtomicBool,
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// May the next container start? Once yes, always yes.
    Started,
    /// Is the process worth keeping? Never asks about the server or about certificates: a restart
    /// mends neither.
    Live,
    /// May applications connect?
    Ready,
    /// Is the server reachable? Said on its own, for no restart and no rerouting helps.
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
            upstream_out: AtomicBool::new(false),
            needs_upstream: AtomicBool::new(false),
            upstream_seen: AtomicBool::new(false),
        }
    }

    /// Configuration, identity and listeners are in place. There is no way back.
    pub fn set_started(&self) {
        self.started.store(true, Relaxed);
    }

    /// The process is leaving. There is no way back.
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

    pub fn set_upstream_out(&self, out: bool) {
        self.upstream_out.store(out, Relaxed);
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
        } else if is(&self.upstream_out) {
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
        let since = now.saturating_duration_since(self.epoch).as_millis();
        self.beat.store(u64::try_from(since).unwrap_or(u64::MAX), Relaxed);
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
            Probe::Ready => vec![
                ("started", self.has_started()),
                ("listeners", is(&self.listeners_bound)),
                ("not-draining", !is(&self.draining)),
                ("client-slots", is(&self.client_slots_free)),
            ],
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
    fn a_silent_worker_is_dead_after_ten_seconds_whatever_else_holds() {
        let start = clock::now();
        let health = Health::new(start);
        let live = |at: u64| health.report(Probe::Live, start + Duration::from_millis(at)).passed();
        assert!(live(0) && live(9_999) && !live(10_000));
        health.beat(start + Duration::from_secs(60));
        assert!(live(69_999) && !live(70_000));
        health.set_draining();
        assert!(live(60_000), "leaving is no reason for a restart, nor is a missing server");
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
    fn the_server_is_reported_on_its_own() {
        let health = Health::new(clock::now());
        assert!(!health.report(Probe::Upstream, clock::now()).passed());
        health.set_upstream_up(true);
        assert!(health.report(Probe::Upstream, clock::now()).passed());
    }

    #[test]
    fn states_follow_each_other() {
        let health = Health::new(clock::now());
        assert_eq!(health.state(), State::Starting);
        health.require_upstream();
        health.set_started();
        health.set_listeners_bound(true);
        health.set_upstream_out(true);
        assert_eq!(health.state(), State::Starting, "the server was not reached yet");
        let now = clock::now();
        assert!(!health.report(Probe::Started, now).passed());
        assert!(!health.report(Probe::Ready, now).passed());
        health.set_upstream_up(true);
        health.set_upstream_out(false);
        assert_eq!(health.state(), State::Ready);
        health.set_upstream_up(false);
        health.set_upstream_out(true);
        assert_eq!(health.state(), State::Degraded);
        assert!(
            health.report(Probe::Started, now).passed()
                && health.report(Probe::Ready, now).passed()
        );
        health.set_draining();
        assert_eq!(health.state(), State::Draining);
    }

    #[test]
    fn reads_like_kubernetes() {
        let start = clock::now();
        let health = Health::new(start);
        health.set_started();
        let expected = "[+]started ok\n[-]listeners failed\n[+]not-draining ok\n\
                        [+]client-slots ok\nreadyz check failed\n";
        assert_eq!(health.report(Probe::Ready, start).to_string(), expected);
    }
}
