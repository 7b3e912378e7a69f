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
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

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
    paths: Arc<[PathBuf]>,
    poll: Duration,
    changed: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    up: bool,
    watched: Directories,
    seen: Vec<Option<FileState>>,
    /// A look at the files that is under way: where their file system is gone, it does not end, and no other begins.
    looking: Option<JoinHandle<Sight>>,
}

/// Device and number of a directory.
type Inode = (u64, u64);

/// The directories that are watched.
type Directories = BTreeMap<PathBuf, Directory>;

/// A directory that is watched, for what is in it. One that was removed and made again is another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Directory {
    inode: Option<Inode>,
    /// Every file in it counts, not only `names`.
    whole: bool,
    names: BTreeSet<OsString>,
}

/// What a look at the files has found.
#[derive(Debug)]
struct Sight {
    stamps: Vec<Option<FileState>>,
    directories: Directories,
    /// Watches that were installed with it, and whether all directories are watched.
    installed: Option<(Option<RecommendedWatcher>, bool)>,
}

impl Watch {
    /// Begins to watch `paths`; a path need not exist. Blocks on files.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self::with_poll(paths, limits::WATCH_POLL_INTERVAL)
    }

    /// Like [`Self::new`], with another interval of looking unasked.
    #[must_use]
    pub fn with_poll(paths: Vec<PathBuf>, poll: Duration) -> Self {
        let mut watch = Self {
            paths: paths.into(),
            poll,
            changed: Arc::new(Notify::new()),
            watcher: None,
            up: false,
            watched: BTreeMap::new(),
            seen: Vec::new(),
            looking: None,
        };
        let mut sight = Sight::with_watches(&watch.paths, &watch.changed);
        watch.take(&mut sight);
        watch.seen = sight.stamps;
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
        let mut install = false;
        loop {
            let mut sight = self.look(install).await;
            let installed = self.take(&mut sight);
            if !installed && sight.directories != self.watched {
                // A directory is there by this time, or is another.
                install = true;
                continue;
            }
            if sight.stamps != self.seen {
                self.settle().await;
                // What paths lead to may have changed. A change after this look is noticed.
                let mut sight = self.look(true).await;
                self.take(&mut sight);
                self.seen = sight.stamps;
                return;
            }
            let changed = timeout(self.poll, self.changed.notified()).await.is_ok();
            install = !changed && !self.up;
        }
    }

    /// Looks at the files on another thread. What a cancelled call has begun is waited for first.
    async fn look(&mut self, install: bool) -> Sight {
        loop {
            let (paths, changed) = (Arc::clone(&self.paths), Arc::clone(&self.changed));
            let look = move || match install {
                true => Sight::with_watches(&paths, &changed),
                false => Sight::of(&paths),
            };
            let looked = self.looking.get_or_insert_with(|| spawn_blocking(look)).await;
            self.looking = None;
            match looked {
                Ok(sight) if sight.installed.is_some() || !install => return sight,
                Ok(_) => {}
                Err(_) => sleep(self.poll).await,
            }
        }
    }

    /// Takes the watches that were installed, if any were.
    fn take(&mut self, sight: &mut Sight) -> bool {
        let Some((watcher, up)) = sight.installed.take() else { return false };
        (self.watcher, self.up) = (watcher, up);
        self.watched = sight.directories.clone();
        true
    }

    /// Waits until the writer seems done.
    async fn settle(&self) {
        let quiet = async {
            while timeout(limits::WATCH_DEBOUNCE, self.changed.notified()).await.is_ok() {}
        };
        // A directory that is never quiet does not hold the change back.
        let _ = timeout(limits::WATCH_DEBOUNCE_MAX, quiet).await;
    }
}

impl Sight {
    fn of(paths: &[PathBuf]) -> Self {
        Self { stamps: stamps(paths), directories: directories(paths), installed: None }
    }

    /// Installs watches first: what changes after the look is noticed.
    fn with_watches(paths: &[PathBuf], changed: &Arc<Notify>) -> Self {
        let directories = directories(paths);
        let installed = Some(watch(&directories, Arc::clone(changed)));
        Self { stamps: stamps(paths), directories, installed }
    }
}

/// Watches directories; and whether all of them are watched.
fn watch(directories: &Directories, changed: Arc<Notify>) -> (Option<RecommendedWatcher>, bool) {
    let of = directories.clone();
    let handler = move |event: notify::Result<notify::Event>| {
        if event.map_or(true, |event| counts(&event, &of)) {
            changed.notify_one();
        }
    };
    let Ok(mut watcher) = notify::recommended_watcher(handler) else { return (None, false) };
    let mut up = true;
    for directory in directories.keys() {
        up &= watcher.watch(directory, RecursiveMode::NonRecursive).is_ok();
    }
    (Some(watcher), up)
}

/// Whether what happened can be a change of the files. Logs that are written beside them are none.
fn counts(event: &notify::Event, directories: &Directories) -> bool {
    // Reading the files must not look like a change.
    let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
    if event.kind.is_access() && event.kind != written {
        return false;
    }
    // An event without a path is that others were dropped.
    event.paths.is_empty() || event.paths.iter().any(|path| concerns(path, directories))
}

fn concerns(path: &Path, directories: &Directories) -> bool {
    if directories.contains_key(path) {
        return true;
    }
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return true };
    directories.get(above).is_none_or(|it| it.whole || it.names.contains(name))
}

fn stamps(paths: &[PathBuf]) -> Vec<Option<FileState>> {
    let mut stamps = Vec::new();
    for path in paths {
        stamps.push(FileState::of(path).ok());
        let mut entries = entries(path);
        entries.sort();
        stamps.extend(entries.iter().map(|entry| FileState::of(entry).ok()));
    }
    stamps
}

/// The directories in which a change of a file is noticed.
fn directories(paths: &[PathBuf]) -> Directories {
    let mut found = Directories::new();
    for path in paths {
        if path.is_dir() {
            found.entry(path.clone()).or_default().whole = true;
        }
        add_directories(path, &mut found);
    }
    for (path, directory) in &mut found {
        directory.inode = path.metadata().ok().map(|it| (it.dev(), it.ino()));
    }
    share_names(&mut found);
    found
}

/// The kernel reports what happens in a directory that two paths lead to under one of them only: both have all names.
fn share_names(found: &mut Directories) {
    let mut shared: BTreeMap<Inode, Directory> = BTreeMap::new();
    for directory in found.values() {
        let Some(inode) = directory.inode else { continue };
        let all = shared.entry(inode).or_default();
        all.whole |= directory.whole;
        all.names.extend(directory.names.iter().cloned());
    }
    for directory in found.values_mut() {
        let Some(all) = directory.inode.and_then(|inode| shared.get(&inode)) else { continue };
        (directory.whole, directory.names) = (all.whole, all.names.clone());
    }
}

/// The directories of `path` and of all links on the way to it, as far as there is a way.
fn add_directories(path: &Path, found: &mut Directories) {
    let Ok(path) = std::path::absolute(path) else { return };
    let (mut way, mut rest, mut links) = (PathBuf::from("/"), parts(&path), 0);
    while let Some(part) = rest.pop() {
        if part == ".." {
            way.pop();
            continue;
        }
        let above = way.clone();
        way.push(&part);
        let target = way.read_link();
        let ends = rest.is_empty() || !way.exists();
        if target.is_ok() || ends {
            found.entry(above.clone()).or_default().names.insert(part);
        }
        match target {
            Ok(target) if links < limits::PATH_LINKS_MAX => {
                links += 1;
                way = if target.is_absolute() { PathBuf::from("/") } else { above };
                rest.extend(parts(&target));
            }
            _ if ends => return,
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use notify::Event;
    use notify::event::{CreateKind, Flag, ModifyKind, RemoveKind};

    use super::*;

    #[test]
    fn change_is_one_of_what_paths_lead_through() {
        let lab = tempfile::tempdir().unwrap();
        let root = lab.path().canonicalize().unwrap();
        for directory in ["secrets/v1", "lists"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::write(root.join("secrets/v1/password"), "secret").unwrap();
        symlink("v1", root.join("secrets/current")).unwrap();
        let paths = ["secrets/current/password", "lists", "missing/key"].map(|it| root.join(it));
        let directories = directories(&paths);
        let written = EventKind::Modify(ModifyKind::Any);
        let is_noticed =
            |kind, path: &str| counts(&Event::new(kind).add_path(root.join(path)), &directories);
        for path in ["secrets/current", "secrets/v1/password", "lists/any.pem", "lists", "missing"]
        {
            assert!(is_noticed(written, path), "{path}");
        }
        for path in ["secrets/app.log", "secrets/v1/app.log", "secrets/password", "other"] {
            for kind in [written, EventKind::Create(CreateKind::File)] {
                assert!(!is_noticed(kind, path), "{path}");
            }
        }
        assert!(is_noticed(EventKind::Remove(RemoveKind::Folder), "secrets/v1"));
        assert!(!is_noticed(EventKind::Access(AccessKind::Read), "lists/any.pem"));
        let dropped = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert!(counts(&dropped, &directories), "other events were dropped");
    }

    #[tokio::test]
    async fn change_in_a_directory_that_two_paths_lead_to_is_noticed() {
        let lab = tempfile::tempdir().unwrap();
        let [lists, link] = ["lists", "a-link"].map(|name| lab.path().join(name));
        fs::create_dir(&lists).unwrap();
        fs::write(lists.join("key.pem"), "key").unwrap();
        symlink(&lists, &link).unwrap();
        // Changes are reported under the path that is watched last: that of the key.
        let paths = vec![link, lists.join("key.pem")];
        let mut watch = Watch::with_poll(paths, Duration::from_secs(3600));
        let (noticed, ()) = tokio::join!(
            biased;
            timeout(Duration::from_secs(10), watch.changed()),
            async {
                // The first look is over.
                sleep(Duration::from_millis(300)).await;
                fs::write(lists.join("new.pem"), "list").unwrap();
            }
        );
        assert!(noticed.is_ok());
    }
}
