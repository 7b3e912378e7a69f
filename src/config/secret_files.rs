//! The files of a configuration that hold secrets, and those of them that others may read.
//!
//! Owns: [`SecretFile`], [`OpenFile`], [`is_open`]. Never knows: what is in a file, how it is reported.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{ClientAuth, Config, SecretSource};

/// A file that only respgate should read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// The key of the configuration.
    pub key: &'static str,
    pub path: PathBuf,
}

/// One that every user of the machine may read or change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenFile {
    pub key: &'static str,
    pub path: PathBuf,
    pub mode: u32,
}

/// Whether users besides the owner and the group may read or change a file of this mode.
#[must_use]
pub const fn is_open(mode: u32) -> bool {
    mode & 0o006 != 0
}

/// Whether a volume of Kubernetes holds the file: the link `..data` leads to it. Whatever its mode, only
/// containers that mount the volume have it.
#[must_use]
pub fn is_in_volume(path: &Path) -> bool {
    let target = path.canonicalize().ok();
    let parent = target.as_deref().and_then(Path::parent);
    let dated = parent.and_then(Path::file_name).and_then(|name| name.to_str());
    let volume = parent.and_then(Path::parent).map(|volume| volume.join("..data"));
    dated.is_some_and(|name| name.starts_with(".."))
        && volume.and_then(|data| data.canonicalize().ok()).as_deref() == parent
}

/// Every file that holds a secret.
#[must_use]
pub fn secret_files(config: &Config) -> Vec<SecretFile> {
    let mut files = Vec::new();
    let mut add = |key, path: &Path| files.push(SecretFile { key, path: path.to_owned() });
    let of = |source: &SecretSource| match source {
        SecretSource::File(path) => Some(path.clone()),
        SecretSource::Env(_) => None,
    };
    if let Some(client) = config.upstream.tls.as_ref().and_then(|tls| tls.client.as_ref()) {
        add("upstream.tls.key", &client.key);
    }
    if let Some(path) = config.upstream.auth.password.as_ref().and_then(of) {
        add("upstream.auth.password_file", &path);
    }
    for listener in &config.listeners {
        if let Some(tls) = &listener.tls {
            add("listener.tls.key", &tls.own.key);
        }
        if let ClientAuth::Password(source) = &listener.auth
            && let Some(path) = of(source)
        {
            add("listener.password_file", &path);
        }
    }
    for path in config.users.iter().filter_map(|user| user.password.as_ref().and_then(of)) {
        add("user.password_file", &path);
    }
    let others = [
        ("users.acl_file", config.acl_file.as_ref()),
        ("admin.token_file", config.admin.token_file.as_ref()),
        ("audit.key_file", config.audit.as_ref().and_then(|audit| audit.key_file.as_ref())),
    ];
    for (key, path) in others {
        if let Some(path) = path {
            add(key, path);
        }
    }
    files
}

/// The files that others may read or change. A file that cannot be looked at is another problem.
#[must_use]
pub fn open_files(config: &Config) -> Vec<OpenFile> {
    let open = |SecretFile { key, path }: SecretFile| {
        let mode = std::fs::metadata(&path).ok()?.mode() & 0o7777;
        (is_open(mode) && !is_in_volume(&path)).then_some(OpenFile { key, path, mode })
    };
    let mut found: Vec<OpenFile> = secret_files(config).into_iter().filter_map(open).collect();
    found.sort_unstable();
    found.dedup();
    found
}

impl OpenFile {
    /// The command that closes it.
    #[must_use]
    pub fn fix(&self) -> String {
        format!("chmod {:04o} {}", self.mode & !0o007, self.path.display())
    }
}

impl fmt::Display for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, path, mode } = self;
        let may = if mode & 0o004 == 0 { "change" } else { "read" };
        write!(f, "{key} {} has mode {mode:04o}: every user can {may} it", path.display())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn config(acl_file: &Path) -> Config {
        let text = "[[listener]]\naddress = \"127.0.0.1:1\"\n[upstream]\naddress = \"127.0.0.1:2\"\n\
                    insecure_plaintext = true\n[policy]\npreset = \"full\"\n";
        let config = crate::config::parse(text, "test", []).unwrap();
        Config { acl_file: Some(acl_file.to_owned()), ..config }
    }

    #[test]
    fn file_is_open_when_others_may_read_or_change_it() {
        for (mode, open) in [
            (0o600, false),
            (0o640, false),
            (0o660, false),
            (0o750, false),
            (0o644, true),
            (0o602, true),
        ] {
            assert_eq!(is_open(mode), open, "{mode:o}");
        }
    }

    #[test]
    fn open_files_are_named_with_what_closes_them() {
        let directory = tempfile::tempdir().unwrap();
        let (key, token) = (directory.path().join("key"), directory.path().join("token"));
        for (path, mode) in [(&key, 0o644), (&token, 0o640)] {
            std::fs::write(path, "x").unwrap();
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        }
        let mut config = config(&key);
        config.admin.token_file = Some(token.clone());
        let (key, token) = (key.display(), token.display());
        let open = |config: &Config| {
            open_files(config)
                .iter()
                .map(|open| format!("{open}; {}", open.fix()))
                .collect::<Vec<_>>()
        };
        let line =
            format!("users.acl_file {key} has mode 0644: every user can read it; chmod 0640 {key}");
        assert_eq!(open(&config), [line], "not {token}");
    }

    #[test]
    fn volume_of_kubernetes_is_closed_whatever_the_modes_are() {
        let volume = tempfile::tempdir().unwrap();
        let at = |name: &str| volume.path().join(name);
        std::fs::create_dir(at("..2026_11_29")).unwrap();
        std::fs::write(at("..2026_11_29/key"), "x").unwrap();
        std::fs::set_permissions(at("..2026_11_29/key"), PermissionsExt::from_mode(0o444)).unwrap();
        std::fs::write(at("own"), "x").unwrap();
        std::fs::set_permissions(at("own"), PermissionsExt::from_mode(0o444)).unwrap();
        let config = |name: &str| config(&at(name));
        symlink("..2026_11_29/key", at("key")).unwrap();
        assert_eq!(open_files(&config("key")).len(), 1, "there is no ..data");
        symlink("..2026_11_29", at("..data")).unwrap();
        assert_eq!(open_files(&config("key")), []);
        assert_eq!(open_files(&config("own")).len(), 1, "beside it, not in it");
    }
}
