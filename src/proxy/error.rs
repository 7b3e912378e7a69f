//! Why the proxy cannot start.
//!
//! Owns: [`StartError`]. Never knows: who tells it to whom.

/// Why the proxy cannot start.
#[derive(Debug)]
pub struct StartError {
    pub what: String,
    pub hint: Option<String>,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StartError {}

impl StartError {
    pub(super) fn new(what: impl std::fmt::Display) -> Self {
        Self { what: what.to_string(), hint: None }
    }

    pub(super) fn telemetry(address: std::net::SocketAddr, error: &std::io::Error) -> Self {
        let hint = "choose another telemetry.address, or \"off\"".to_owned();
        Self { what: format!("cannot serve telemetry on {address}: {error}"), hint: Some(hint) }
    }
}
