//! Files with secrets that others may read: each is reported once, and again when its mode has changed.
//!
//! Owns: [`OpenSecrets`]. Never knows: which files hold secrets, when they are looked at.

use crate::base::aside::aside;
use crate::config::{self, Config, OpenFile};

/// The files reported so far.
#[derive(Debug, Default)]
pub(super) struct OpenSecrets(Vec<OpenFile>);

impl OpenSecrets {
    /// Looks at all files, and reports those that were closed before, or others.
    pub(super) async fn warn(&mut self, config: &Config) {
        let config = config.clone();
        let Some(open) = aside(move || config::open_files(&config)).await else { return };
        for file in open.iter().filter(|file| !self.0.contains(file)) {
            let fix = file.fix();
            tracing::warn!(code = "FIL-W001", %fix, "{file}");
        }
        self.0 = open;
    }
}
