//! Notices that files were replaced or written to.
//!
//! Owns: [`Watch`]. Never knows: what is in the files, their use.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::file_state::FileState;
use crate::base::limits;

/// Watches any files: certificates, passwords, configuration; a path may also be a directory and means
/// for the files in it. Watched are the *directories* of each path, and those of every link on the way to
/// it: Kubernetes replaces a link beside the file (`..data`) and never the file, others replace a link to
/// the directory, or rename a new file over the old one, after which a watch on the file is blind. Of a
/// directory that is missing, the nearest one above it that exists.
///
/// Make the watch first and read the files afterwards; then no change falls between.
#[derive(Debug)]
pub struct Watch {
    paths: Vec<PathBuf>,
    poll: Duration,
    changed: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    up: bool,
    /// The directories that are watched. One that was removed and made again is another.
    watched: BTreeMap<PathBuf, Option<Inode>>,
    seen: Vec<Option<FileState>>,
}

/// Device and number of a directory.
type Inode = (u64, u64);

impl Watch {
    /// Begins to watch `paths`; a path need not exist.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self::with_poll(paths, limits::WATCH_POLL_INTERVAL)
    }

    /// Like [`Self::new`], with another interval of looking unasked.
    #[must_use]
    pub fn with_poll(paths: Vec<PathBuf>, poll: Duration) -> Self {
        let mut watch = Self {
            paths,
            poll,
            changed: Arc::new(Notify::new()),
            watcher: None,
            up: false,
            watched: BTreeMap::new(),
            seen: Vec::new(),
        };
        watch.begin();
        watch
    }

    /// Whether changes are noticed at once; otherwise they are found by polling.
    #[must_use]
    pub const fn watch_up(&self) -> bool {
        self.up
    }

    /// Waits until a file is another than at the last return (or at the beginning). What it holds may
    /// be the same; the reader compares. Cancelling loses nothing.
    pub async fn changed(&mut self) {
        loop {
            if self.stamps() != self.seen {
                self.settle().await;
                self.begin();
                return;
            }
            let changed = timeout(self.poll, self.changed.notified()).await.is_ok();
            if (!changed && !self.up) || self.directories() != self.watched {
                // A directory may be there by this time, or be another.
                self.install();
            }
        }
    }

    /// Waits until the writer seems done.
    async fn settle(&self) {
        let quiet = async {
            while timeout(limits::WATCH_DEBOUNCE, self.changed.notified()).await.is_ok() {}
        };
        // A directory that is never quiet does not hold the change back.
        let _ = timeout(limits::WATCH_DEBOUNCE_MAX, quiet).await;
    }

    fn stamps(&self) -> Vec<Option<FileState>> {
        let mut stamps = Vec::new();
        for path in &self.paths {
            stamps.push(FileState::of(path).ok());
            let mut entries = entries(path);
            entries.sort();
            stamps.extend(entries.iter().map(|entry| FileState::of(entry).ok()));
        }
        stamps
    }

    /// Installs the watches anew (what paths lead to may have changed), then takes the state that
    /// later ones are compared with: a change after that is noticed.
    fn begin(&mut self) {
        self.install();
        self.seen = self.stamps();
    }

    fn install(&mut self) {
        self.up = false;
        let changed = Arc::clone(&self.changed);
        let handler = move |event: notify::Result<notify::Event>| {
            // Reading the files must not look like a change.
            let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
            let harmless = event.is_ok_and(|e| e.kind.is_access() && e.kind != written);
            if !harmless {
                changed.notify_one();
            }
        };
        let Ok(mut watcher) = notify::recommended_watcher(handler) else {
            self.watcher = None;
            return;
        };
        self.up = true;
        self.watched = self.directories();
        for directory in self.watched.keys() {
            self.up &= watcher.watch(directory, RecursiveMode::NonRecursive).is_ok();
        }
        self.watcher = Some(watcher);
    }

    /// The directories in which a change of a file is noticed.
    fn directories(&self) -> BTreeMap<PathBuf, Option<Inode>> {
        let mut found = BTreeSet::new();
        for path in &self.paths {
            if path.is_dir() {
                found.insert(path.clone());
            }
            add_directories(path, &mut found);
        }
        let inode = |path: &PathBuf| path.metadata().ok().map(|it| (it.dev(), it.ino()));
        found.into_iter().map(|path| (path.clone(), inode(&path))).collect()
    }
}

/// The directories of `path` and of all links on the way to it, as far as there is a way.
fn add_directories(path: &Path, found: &mut BTreeSet<PathBuf>) {
    let Ok(path) = std::path::absolute(path) else { return };
    let (mut way, mut rest, mut links) = (PathBuf::from("/"), parts(&path), 0);
    while let Some(part) = rest.pop() {
        if part == ".." {
            way.pop();
            continue;
        }
        let above = way.clone();
        way.push(&part);
        match way.read_link() {
            Ok(target) if links < limits::PATH_LINKS_MAX => {
                links += 1;
                way = if target.is_absolute() { PathBuf::from("/") } else { above.clone() };
                rest.extend(parts(&target));
                found.insert(above);
            }
            _ if rest.is_empty() || !way.exists() => {
                found.insert(above);
                return;
            }
            _ => {}
        }
    }
}

/// The names in a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().rev().filter_map(name).collect()
}

/// What is in a directory; nothing when it is none.
fn entries(path: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(path).into_iter().flatten();
    found.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect()
}
