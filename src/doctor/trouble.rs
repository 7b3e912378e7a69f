//! What may be wrong besides the connection itself: codes, causes and fixes.
//!
//! Owns: [`Trouble`]. Never knows: how it is found.

/// Each such thing. The code never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    FileUnreadable,
    FileOpen,
    FileUnwatched,
    FileMounted,
    ClientEnds,
    ServerEnds,
    Clock,
    Replica,
    RightsMissing,
    RightsBesides,
    RightsUnknown,
    NoTls,
}

impl Trouble {
    /// All of them, in the order of the steps.
    pub(crate) const ALL: [Self; 12] = [
        Self::FileUnreadable,
        Self::FileOpen,
        Self::FileUnwatched,
        Self::FileMounted,
        Self::ClientEnds,
        Self::ServerEnds,
        Self::NoTls,
        Self::Clock,
        Self::Replica,
        Self::RightsMissing,
        Self::RightsBesides,
        Self::RightsUnknown,
    ];

    #[must_use]
    pub(crate) const fn code(self) -> &'static str {
        self.row().0
    }

    /// What is wrong.
    #[must_use]
    pub(crate) const fn cause(self) -> &'static str {
        self.row().1
    }

    /// What a person does about it.
    #[must_use]
    pub(crate) const fn fix(self) -> &'static str {
        self.row().2
    }

    #[rustfmt::skip]
    const fn row(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::FileUnreadable => ("FIL-E001", "a file that the configuration names cannot be read",
                "check the path, and that the user respgate runs as may read it; in Kubernetes: defaultMode 0440 for the volume and securityContext.fsGroup for the pod"),
            Self::FileOpen => ("FIL-W001", "every user of this machine can read a file with a secret",
                "chmod 0600 (or 0440 with a group of respgate's own); in Kubernetes: defaultMode 0440 and securityContext.fsGroup"),
            Self::FileUnwatched => ("FIL-W002", "changes of the files are not noticed at once; they are looked at every 60 s",
                "let the user respgate runs as read the directories of the files, and raise fs.inotify.max_user_instances and max_user_watches where they are used up"),
            Self::FileMounted => ("FIL-W003", "a file is mounted by itself (subPath, or a bind mount of the file): a new version of it never arrives",
                "mount its whole directory: in Kubernetes without subPath, with docker -v DIRECTORY:DIRECTORY; until then, restart respgate after each renewal"),
            Self::ClientEnds => ("TLS-W001", "less than a fifth of the client certificate's lifetime is left",
                "renew it; renewers act at a third, so see why this one has not"),
            Self::ServerEnds => ("TLS-W002", "less than a fifth of the server certificate's lifetime is left",
                "renew it and have the server load it: redis-cli CONFIG SET tls-cert-file PATH, or a restart"),
            Self::NoTls => ("TLS-W003", "commands, keys and the password travel in plaintext",
                "let the server listen with TLS (tls-port), and set upstream.tls"),
            Self::Clock => ("UPS-W001", "the clocks of this host and of the server differ",
                "synchronise both (chronyc tracking, timedatectl): certificates and absolute times to live (EXPIREAT) depend on them"),
            Self::Replica => ("UPS-W002", "the server is a replica: writes are answered READONLY",
                "connect to the primary; INFO replication of the server names it (master_host)"),
            Self::RightsMissing => ("UPS-W003", "the server's user lacks rights that the policies give",
                "apply what respgate acl prints, as an administrator of the server; or take the rights out of the policy"),
            Self::RightsBesides => ("UPS-W004", "the server's user has more rights than the policies give",
                "apply what respgate acl prints, as an administrator of the server"),
            Self::RightsUnknown => ("UPS-W005", "the rules of the server's user could not be compared",
                "compare as an administrator of the server: redis-cli ACL LIST | respgate acl --diff -"),
        }
    }
}
