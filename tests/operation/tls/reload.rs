//! Files replaced while they are in use: by swapped links, renames, writes in place.
//!
//! Owns: one fixture per kind of writer. Never knows: connections in use.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use respgate::internals::tls::dev_certs::{Authority, CertRequest, Issued};
use respgate::internals::tls::watch::Watch;
use tokio::time::timeout;

use super::certs::{DAY, Lab};
use super::*;

/// Longer than any test: a change that is noticed was notified, not found by polling.
const NEVER: Duration = Duration::from_secs(3600);

fn watch(tls: &Tls) -> Watch {
    let paths = tls.files().map(Path::to_path_buf).collect();
    let watch = Watch::with_poll(paths, NEVER);
    assert!(watch.watch_up());
    watch
}

/// Makes a change while the watch is waited for; whatever it sees, it must have been notified of.
async fn noticed(watch: &mut Watch, change: impl FnOnce()) {
    let wait = timeout(Duration::from_secs(60), watch.changed());
    let (received, ()) = tokio::join!(biased; wait, async { change() });
    received.expect("a change is noticed");
}

fn put(dir: &Path, new: &Issued) {
    fs::write(dir.join("tls.crt"), &new.cert).unwrap();
    fs::write(dir.join("tls.key"), &new.key).unwrap();
}

/// Writes beside and renames over.
fn rename_over(path: &Path, text: &str) {
    let beside = path.with_extension("tmp");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

/// Publishes what the files hold, which must be new.
fn take(store: &TlsStore) -> u64 {
    let before = store.current();
    let after = store.publish(store.candidate().unwrap().expect("something new"));
    assert_ne!(fingerprint(&before), fingerprint(&after));
    assert_eq!(fingerprint(&store.current()), fingerprint(&after));
    assert!(store.candidate().unwrap().is_none());
    after.generation
}

/// What kubelet does: new directory, new link beside, one rename, old directory gone.
fn kubernetes(root: &Path, stamp: &str, ca: &str, new: &Issued) {
    let dir = root.join(stamp);
    fs::create_dir(&dir).unwrap();
    put(&dir, new);
    fs::write(dir.join("ca.crt"), ca).unwrap();
    symlink(stamp, root.join("..data_tmp")).unwrap();
    let old = fs::read_link(root.join("..data")).ok();
    fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    if let Some(old) = old {
        fs::remove_dir_all(root.join(old)).unwrap();
    }
}

#[tokio::test]
async fn kubernetes_secret_twice() {
    let lab = Lab::new();
    let root = lab.path("secret");
    fs::create_dir(&root).unwrap();
    let make = || lab.make(&lab.client_order("app"));
    kubernetes(&root, "..1", &lab.authority.cert(), &make());
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        symlink(format!("..data/{name}"), root.join(name)).unwrap();
    }
    let pair = (root.join("tls.crt"), root.join("tls.key"));
    let tls = Tls { ca: ca(root.join("ca.crt")), ..lab.settings_for(&pair) };
    let mut watch = watch(&tls);
    let store = TlsStore::open(&tls).unwrap();
    for generation in 2..5 {
        let stamp = format!("..{generation}");
        let swap = || kubernetes(&root, &stamp, &lab.authority.cert(), &make());
        noticed(&mut watch, swap).await;
        assert_eq!(take(&store), generation);
    }
}

/// However often the directory is swapped during a reading, certificate and key are of one moment.
#[test]
fn kubernetes_secret_is_never_read_in_two_halves() {
    let lab = Lab::new();
    let root = lab.path("secret");
    fs::create_dir(&root).unwrap();
    let made = [0, 1].map(|_| lab.make(&lab.client_order("app")));
    kubernetes(&root, "..0", &lab.authority.cert(), &made[0]);
    let data = root.join("..data");
    let tls = Tls {
        ca: ca(data.join("ca.crt")),
        ..lab.settings_for(&(data.join("tls.crt"), data.join("tls.key")))
    };
    let store = TlsStore::open(&tls).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 1..500 {
                kubernetes(&root, &format!("..{i}"), &lab.authority.cert(), &made[i % 2]);
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let (mut fine, mut busy) = (0, 0);
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            match store.candidate() {
                Ok(_) => fine += 1,
                Err(error) => {
                    assert_eq!(error.fault.reason(), "io", "{error}");
                    busy += 1;
                }
            }
        }
        assert!(fine > 0, "{fine} readings, {busy} given up");
    });
}

/// The files may be links to another directory, in which they are replaced, and then to a third.
#[tokio::test]
async fn linked_files_replaced_behind_the_links() {
    let lab = Lab::new();
    let [front, back, third] = ["front", "back", "third"].map(|name| lab.path(name));
    let make = || lab.make(&lab.client_order("app"));
    let link_to = |dir: &Path| {
        for name in ["tls.crt", "tls.key"] {
            symlink(dir.join(name), front.join("tmp")).unwrap();
            fs::rename(front.join("tmp"), front.join(name)).unwrap();
        }
    };
    fs::create_dir(&front).unwrap();
    for dir in [&back, &third] {
        fs::create_dir(dir).unwrap();
        put(dir, &make());
    }
    link_to(&back);
    let tls = lab.settings_for(&(front.join("tls.crt"), front.join("tls.key")));
    let mut watch = watch(&tls);
    let store = TlsStore::open(&tls).unwrap();
    let replace_in = |dir: &Path| {
        let new = make();
        rename_over(&dir.join("tls.crt"), &new.cert);
        rename_over(&dir.join("tls.key"), &new.key);
    };
    noticed(&mut watch, || replace_in(&back)).await;
    assert_eq!(take(&store), 2);
    noticed(&mut watch, || link_to(&third)).await;
    assert_eq!(take(&store), 3);
    noticed(&mut watch, || replace_in(&third)).await;
    assert_eq!(take(&store), 4);
}

#[tokio::test]
async fn rename_over_one_after_the_other() {
    let lab = Lab::new();
    let tls = lab.settings();
    let mut watch = watch(&tls);
    let store = TlsStore::open(&tls).unwrap();
    for generation in 2..4 {
        let new = lab.make(&lab.client_order("app"));
        noticed(&mut watch, || rename_over(cert(&tls), &new.cert)).await;
        assert_eq!(store.candidate().unwrap_err().fault.code(), "TLS-E009", "only half is there");
        noticed(&mut watch, || rename_over(key(&tls), &new.key)).await;
        assert_eq!(take(&store), generation);
    }
}

#[tokio::test]
async fn truncated_and_written_in_place() {
    let lab = Lab::new();
    let tls = lab.settings();
    let mut watch = watch(&tls);
    let store = TlsStore::open(&tls).unwrap();
    noticed(&mut watch, || fs::write(cert(&tls), "").unwrap()).await;
    let error = store.candidate().unwrap_err();
    assert!(error.fault.is_transient(), "{error}");
    assert_eq!(store.current().generation, 1, "the old one stays");
    noticed(&mut watch, || put_pair(&tls, &lab.make(&lab.client_order("app")))).await;
    assert_eq!(take(&store), 2);
}

fn put_pair(tls: &Tls, new: &Issued) {
    fs::write(cert(tls), &new.cert).unwrap();
    fs::write(key(tls), &new.key).unwrap();
}

#[tokio::test]
async fn torn_pair_heals_while_it_is_waited_for() {
    let lab = Lab::new();
    let tls = lab.settings();
    let store = TlsStore::open(&tls).unwrap();
    let new = lab.make(&lab.client_order("app"));
    fs::write(cert(&tls), &new.cert).unwrap();
    let finish = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        fs::write(key(&tls), &new.key).unwrap();
    };
    let (candidate, ()) = tokio::join!(store.candidate_settled(), finish);
    assert_eq!(store.publish(candidate.unwrap().unwrap()).generation, 2);
}

#[tokio::test]
async fn pair_that_stays_torn_is_refused_after_two_seconds() {
    let lab = Lab::new();
    let tls = lab.settings();
    let store = TlsStore::open(&tls).unwrap();
    fs::write(cert(&tls), lab.make(&lab.client_order("app")).cert).unwrap();
    let start = tokio::time::Instant::now();
    let error = store.candidate_settled().await.unwrap_err();
    assert_eq!(error.fault.reason(), "key_mismatch");
    assert!((2000..30_000).contains(&start.elapsed().as_millis()));
    // What no writer can have meant to finish is refused at once.
    let odd = lab.make(&CertRequest {
        not_after: lab.now - DAY,
        not_before: lab.now - 2 * DAY,
        ..lab.client_order("app")
    });
    put_pair(&tls, &odd);
    let start = tokio::time::Instant::now();
    assert_eq!(store.candidate_settled().await.unwrap_err().fault.reason(), "expired");
    assert!(start.elapsed().as_millis() < 1900);
    assert_eq!(store.current().generation, 1);
}

#[tokio::test]
async fn content_written_again_is_nothing_new() {
    let lab = Lab::new();
    let tls = lab.settings();
    let mut watch = watch(&tls);
    let store = TlsStore::open(&tls).unwrap();
    let same = fs::read_to_string(cert(&tls)).unwrap();
    noticed(&mut watch, || rename_over(cert(&tls), &same)).await;
    assert!(store.candidate().unwrap().is_none());
}

#[tokio::test]
async fn reading_and_neighbours_do_not_wake_the_watch() {
    let lab = Lab::new();
    let tls = lab.settings();
    let mut watch = watch(&tls);
    let store = TlsStore::open(&tls).unwrap();
    assert!(store.candidate().unwrap().is_none());
    fs::write(lab.path("neighbour"), "noise").unwrap();
    let waited = timeout(Duration::from_millis(600), watch.changed()).await;
    assert!(waited.is_err(), "nothing of ours changed");
    // A cancelled wait forgets nothing.
    fs::write(trust(&tls), lab.authority.cert() + "\n").unwrap();
    let _ = timeout(Duration::from_millis(10), watch.changed()).await;
    noticed(&mut watch, || {}).await;
}

#[tokio::test]
async fn directory_that_appears_later_is_noticed() {
    let lab = Lab::new();
    let late = lab.path("late").join("deep").join("password");
    let mut watch = Watch::with_poll(vec![late.clone()], NEVER);
    assert!(watch.watch_up());
    let dir = late.parent().unwrap().to_owned();
    let making = dir.clone();
    let maker = std::thread::spawn(move || {
        for path in [making.parent().unwrap(), &making] {
            fs::create_dir(path).unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
        fs::write(making.join("password"), "secret").unwrap();
    });
    noticed(&mut watch, || {}).await;
    maker.join().unwrap();
    assert!(watch.watch_up());
    noticed(&mut watch, || fs::write(&late, "other").unwrap()).await;
}

#[tokio::test]
async fn directory_that_is_removed_and_made_again_is_noticed() {
    let lab = Lab::new();
    let dir = lab.path("secrets");
    let file = dir.join("password");
    fs::create_dir(&dir).unwrap();
    fs::write(&file, "one").unwrap();
    let mut watch = Watch::with_poll(vec![file.clone()], NEVER);
    let make = |text: &str| {
        fs::create_dir(&dir).unwrap();
        fs::write(&file, text).unwrap();
    };
    // At once, and with a pause in which the directory is missing.
    noticed(&mut watch, || {
        fs::remove_dir_all(&dir).unwrap();
        make("two");
    })
    .await;
    noticed(&mut watch, || fs::write(&file, "three").unwrap()).await;
    noticed(&mut watch, || fs::remove_dir_all(&dir).unwrap()).await;
    noticed(&mut watch, || make("four")).await;
    noticed(&mut watch, || fs::write(&file, "five").unwrap()).await;
    assert!(watch.watch_up());
}

#[tokio::test]
async fn link_to_the_directory_that_is_replaced_is_noticed() {
    let lab = Lab::new();
    let (link, file) = (lab.path("current"), lab.path("current").join("password"));
    for (name, text) in [("v1", "one"), ("v2", "two")] {
        fs::create_dir(lab.path(name)).unwrap();
        fs::write(lab.path(name).join("password"), text).unwrap();
    }
    symlink("v1", &link).unwrap();
    // The link itself is reached by another one.
    symlink(lab.path("."), lab.path("way")).unwrap();
    let file = lab.path("way").join(file.strip_prefix(lab.path(".")).unwrap_or(&file));
    let mut watch = Watch::with_poll(vec![file], NEVER);
    let turn = |to: &str| {
        symlink(to, lab.path("beside")).unwrap();
        fs::rename(lab.path("beside"), &link).unwrap();
    };
    noticed(&mut watch, || turn("v2")).await;
    noticed(&mut watch, || fs::write(lab.path("v2").join("password"), "three").unwrap()).await;
    noticed(&mut watch, || turn("v1")).await;
}

#[tokio::test]
async fn probe_reports_whether_the_server_accepts_the_candidate() {
    let lab = Lab::new();
    let server = Server::tls(&lab, &lab.pair("server"), &[]);
    let tls = lab.settings();
    let (dialer, store) = dialer_with(server.port, &tls, ServerAuth::default());
    put_pair(&tls, &lab.make(&lab.client_order("app")));
    let candidate = store.candidate().unwrap().unwrap();
    dialer.probe(Some(&candidate), None).await.unwrap();
    let _ = store.publish(candidate);
    assert_eq!(dialer.dial(RESP2).await.unwrap().generation, 2);

    let stranger = Authority::new("Strange CA", lab.now, DAY).unwrap();
    put_pair(&tls, &stranger.issue(&lab.client_order("app")).unwrap());
    let candidate = store.candidate().unwrap().unwrap();
    let error = dialer.probe(Some(&candidate), None).await.unwrap_err();
    assert_eq!(error.label, "unknown_ca", "{error}");
    let link = dialer.dial(RESP2).await.unwrap();
    assert_eq!(link.generation, 2, "the one in use still works");
}
