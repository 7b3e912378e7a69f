//! Notices that files were replaced or written to.
//!
//! Owns: [`Watch`]. Never knows: what is in the files, who reads them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::stamp::Stamp;

/// How often files are looked at although nothing was heard: some file systems tell nothing.
pub const POLL_INTERVAL: Duration = Duration::from_secs(60);
/// A writer is taken to be done when this long nothing was heard …
const DEBOUNCE: Duration = Duration::from_millis(250);
/// … or after this long, in a directory where it is never quiet.
const DEBOUNCE_MAX: Duration = Duration::from_secs(2);

/// Watches any files: certificates, passwords, configuration; a path may also be a directory and stands
/// for the files in it. Watched are the *directories* of each
/// path and of what the path leads to: Kubernetes replaces a link beside the file (`..data`) and
/// never the file, and others rename a new file over it, after which a watch on the file is blind.
///
/// Make the watch first and read the files afterwards; then no change falls between.
#[derive(Debug)]
pub struct Watch {
    paths: Vec<PathBuf>,
    poll: Duration,
    heard: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    up: bool,
    seen: Vec<Option<Stamp>>,
}

impl Watch {
    /// Begins to watch `paths`; a path need not exist.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self::with_poll(paths, POLL_INTERVAL)
    }

    /// Like [`Self::new`], with another interval of looking unasked.
    #[must_use]
    pub fn with_poll(paths: Vec<PathBuf>, poll: Duration) -> Self {
        let mut watch = Self {
            paths,
            poll,
            heard: Arc::new(Notify::new()),
            watcher: None,
            up: false,
            seen: Vec::new(),
        };
        watch.begin();
        watch
    }

    /// Whether changes are heard at once; otherwise they are found by looking.
    #[must_use]
    pub const fn watch_up(&self) -> bool {
        self.up
    }

    /// Waits until a file is another than at the last return (or at the beginning). What it holds may
    /// be the same; whoever reads it compares. Cancelling loses nothing.
    pub async fn changed(&mut self) {
        loop {
            if self.stamps() != self.seen {
                self.settle().await;
                self.begin();
                return;
            }
            if timeout(self.poll, self.heard.notified()).await.is_err() && !self.up {
                // A directory may be there by this time.
                self.install();
            }
        }
    }

    /// Waits until the writer seems done.
    async fn settle(&self) {
        let quiet = async { while timeout(DEBOUNCE, self.heard.notified()).await.is_ok() {} };
        // A directory that is never quiet does not hold the change back.
        let _ = timeout(DEBOUNCE_MAX, quiet).await;
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        let mut stamps = Vec::new();
        for path in &self.paths {
            stamps.push(Stamp::of(path).ok());
            let mut entries = entries(path);
            entries.sort();
            stamps.extend(entries.iter().map(|entry| Stamp::of(entry).ok()));
        }
        stamps
    }

    /// Installs the watches anew (what paths lead to may have changed), then takes the state that
    /// later ones are compared with: a change after that is heard.
    fn begin(&mut self) {
        self.install();
        self.seen = self.stamps();
    }

    fn install(&mut self) {
        self.up = false;
        let heard = Arc::clone(&self.heard);
        let handler = move |event: notify::Result<notify::Event>| {
            // Reading the files must not look like a change.
            let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
            let harmless = event.is_ok_and(|e| e.kind.is_access() && e.kind != written);
            if !harmless {
                heard.notify_one();
            }
        };
        let Ok(mut watcher) = notify::recommended_watcher(handler) else {
            self.watcher = None;
            return;
        };
        self.up = true;
        for directory in self.directories() {
            self.up &= watcher.watch(&directory, RecursiveMode::NonRecursive).is_ok();
        }
        self.watcher = Some(watcher);
    }

    /// The directories in which a change of a file can be heard.
    fn directories(&self) -> BTreeSet<PathBuf> {
        let targets = self.paths.iter().filter_map(|path| path.canonicalize().ok());
        let all = self.paths.iter().cloned().chain(targets);
        let own = self.paths.iter().filter(|path| path.is_dir()).cloned();
        let above = all.map(|path| match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_path_buf(),
            _ => PathBuf::from("."),
        });
        own.chain(above).collect()
    }
}

/// What is in a directory; nothing when it is none.
fn entries(path: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(path).into_iter().flatten();
    found.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect()
}
