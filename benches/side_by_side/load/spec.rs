//! What the generator receives and what it reports: both travel between processes as JSON.
//!
//! Owns: [`Spec`], [`Report`]. Never knows: how either is made.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Target {
    Tcp(u16),
    Unix(PathBuf),
    Tls { port: u16, ca: PathBuf, cert: PathBuf, key: PathBuf },
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Shape {
    /// Each connection sends its next request when the last one is answered.
    Closed { connections: usize },
    /// So many requests per second, whatever becomes of them.
    Open { connections: usize, per_second: u32 },
    /// Connect, GET, close.
    Churn { connections: usize },
}

/// The requests of each connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Talk {
    pub value_bytes: usize,
    /// Requests sent together.
    pub pipeline: usize,
    /// GET alone; otherwise SET and GET in turn.
    pub only_get: bool,
    /// Every SET gives its key a time to live.
    pub expires: bool,
    /// Instead of either: a script with so many calls.
    pub calls: Option<usize>,
    /// Whether scripts are called by their digest.
    pub by_name: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    pub target: Target,
    pub shape: Shape,
    pub talk: Talk,
    /// One further client sets and gets values of this size; it is checked, not counted.
    pub bulk_bytes: Option<usize>,
    pub warm_up_ms: u64,
    pub window_ms: u64,
    /// Processes whose time is taken at both ends of the window.
    pub watch: Vec<u32>,
}

/// What happened in one window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    pub seconds: f64,
    pub operations: u64,
    /// Replies that were wrong, late beyond all patience, or never came; counted in every phase.
    pub failures: u64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
    /// Processor seconds of the generator.
    pub client_cpu: f64,
    /// Processor seconds of the watched processes.
    pub cpu: Vec<f64>,
    /// Processors kept busy by all other processes.
    pub foreign: f64,
}

impl Report {
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.seconds
    }

    /// Microseconds of processor time per operation; no number without operations.
    pub fn per_operation(&self, cpu_seconds: f64) -> f64 {
        cpu_seconds * 1e6 / self.operations as f64
    }
}
