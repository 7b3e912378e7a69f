//! All windows of a run, and the figures drawn from them: medians, and ratios within a round.
//!
//! Owns: [`Results`], [`Window`]. Never knows: how anything was measured, what it should be.

use serde::Serialize;

use crate::load::Report;

/// One window: the contestant, its workload, and the results.
#[derive(Clone, Debug, Serialize)]
pub struct Window {
    pub workload: &'static str,
    pub contestant: &'static str,
    pub round: usize,
    #[serde(flatten)]
    pub report: Report,
}

impl Window {
    pub fn rate(&self) -> f64 {
        self.report.rate()
    }

    pub fn p50(&self) -> f64 {
        self.measured(self.report.p50_us)
    }

    pub fn p99(&self) -> f64 {
        self.measured(self.report.p99_us)
    }

    /// A window without any reply has no figures.
    fn measured(&self, value: f64) -> f64 {
        if self.report.operations > 0 { value } else { f64::NAN }
    }

    pub fn client(&self) -> f64 {
        self.report.per_operation(self.report.client_cpu)
    }

    pub fn redis(&self) -> f64 {
        self.report.per_operation(self.report.cpu.first().copied().unwrap_or(0.0))
    }

    pub fn proxy(&self) -> f64 {
        self.report.per_operation(self.report.cpu.iter().skip(1).fold(0.0, |sum, cpu| sum + cpu))
    }

    pub fn server_cpu(&self) -> f64 {
        self.redis() + self.proxy()
    }

    pub fn all_cpu(&self) -> f64 {
        self.client() + self.redis() + self.proxy()
    }
}

pub type Figure = fn(&Window) -> f64;

/// Median and range of one figure.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values[middle - 1] + values[middle]) / 2.0
        };
        Some(Self { median, min, max })
    }
}

/// Everything measured in one run.
#[derive(Debug, Default)]
pub struct Results {
    pub windows: Vec<Window>,
    /// Figures of respgate alone, by name, one value for each round.
    pub single: std::collections::BTreeMap<&'static str, Vec<f64>>,
}

impl Results {
    pub fn of<'a>(
        &'a self,
        workload: &'a str,
        contestant: &'a str,
    ) -> impl Iterator<Item = &'a Window> {
        self.windows
            .iter()
            .filter(move |window| window.workload == workload && window.contestant == contestant)
    }

    pub fn spread(&self, workload: &str, contestant: &str, figure: Figure) -> Option<Spread> {
        Spread::of(self.of(workload, contestant).map(figure).collect())
    }

    /// One contestant's figure over the greatest of others', round by round.
    pub fn ratio(
        &self,
        (workload, contestant): (&str, &str),
        (others_workload, others): (&str, &[&str]),
        figure: Figure,
    ) -> Option<Spread> {
        let ratios = self.of(workload, contestant).filter_map(|window| {
            let best = others
                .iter()
                .flat_map(|other| self.of(others_workload, other))
                .filter(|other| other.round == window.round)
                .map(figure)
                .reduce(f64::max)?;
            Some(figure(window) / best)
        });
        Spread::of(ratios.collect())
    }

    pub fn single(&self, name: &str) -> Option<Spread> {
        Spread::of(self.single.get(name)?.clone())
    }

    pub fn failures(&self) -> u64 {
        self.windows.iter().map(|window| window.report.failures).sum()
    }
}
