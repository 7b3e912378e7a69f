//! What the tests and benches of this repository use of the program's inside: nothing else is public.
//!
//! Owns: the list. Never knows: what a test does with it.

pub mod admin {
    pub use crate::admin::{AdminHandle, Argument, Health, Kind, Verb, serve};
}
pub mod base {
    pub mod backoff {
        pub use crate::base::backoff::Backoff;
    }
    pub mod client_text {
        pub use crate::base::client_text::{OWN, REDIS, Section, Text};
    }
    pub mod clock {
        pub use crate::base::clock::{now, wall};
    }
    pub mod entropy {
        pub use crate::base::entropy::Entropy;
    }
    pub mod limits {
        pub use crate::base::limits::REPLY_STREAMS_MAX;
    }
    pub mod password {
        pub use crate::base::password::PasswordHash;
    }
    pub mod sha1 {
        pub use crate::base::sha1::Sha1;
    }
}
pub mod command {
    pub use crate::command::{
        Access, Categories, Effect, Flags, KeyError, KeyKind, KeySpec, Lookup, Reach, Spec, all,
        by_name, find_keys, lookup,
    };
}
pub mod config {
    pub use crate::config::*;
}
pub mod doctor {
    pub use crate::doctor::{codes, page};
}
pub mod downstream {
    pub mod conversation {
        pub use crate::downstream::conversation::{
            Arrivals, Conversation, Host, LeaseEnd, Moment, PendingStep, check_invariants,
            handle_pinned, handle_through, lose_lease, release_if_free,
        };
    }
}
pub mod policy {
    pub use crate::policy::{
        AclUser, EvalContext, Guarded, Pattern, Policy, Rule, Scratch, Strip, Stripper, arity,
        compile, known, read_accounts,
    };
    pub mod guard {
        pub use crate::policy::guard::{Globals, question};
    }
}
pub mod proxy {
    pub use crate::proxy::AdminState;
    pub mod verbs {
        pub use crate::proxy::verbs::VERBS;
    }
}
pub mod resp {
    pub use crate::resp::{
        Protocol, ReplyError, ReplyScanner, Request, RequestBuf, RequestLimits, RequestScanner,
        Scan, Value, Violation,
    };
    pub mod encode {
        pub use crate::resp::encode::{
            array, bulk, echo, error, integer, map, null, null_array, push, request, simple,
        };
    }
    pub mod number {
        pub use crate::resp::number::{parse_i64, parse_length};
    }
}
pub mod security {
    pub use crate::security::{CHECKS, page};
}
pub mod session {
    pub use crate::session::{
        Auth, Completed, Context, Judged, Limiters, MultiPermission, RequestScratch, Route,
        Scripts, Session, Step,
    };
}
pub mod telemetry {
    pub use crate::telemetry::{
        AuditResult, AuditSinkKind, CertificateRole, ClientDisconnect, CodeClass, CommandClass,
        Endpoint, ErrorCode, Family, HandshakeFailure, Label, Metrics, Refused, Reload,
        ReloadRejection, Telemetry, TlsSide, UpstreamDisconnect,
    };
}
pub mod tls {
    pub use crate::tls::{Identity, TlsStore};
    pub mod dev_certs {
        pub use crate::tls::dev_certs::{Authority, CertRequest, Files, Issued, Role, write_all};
    }
    pub mod inspect {
        pub use crate::tls::inspect::{Inspection, Item, Purpose, Recipe, Signer, verdict};
    }
    pub mod provider {
        pub use crate::tls::provider::{provider, versions};
    }
    pub mod watch {
        pub use crate::tls::watch::Watch;
    }
}
pub mod traffic {
    pub use crate::traffic::{
        Facts, Loss, OpenFailure, Outgoing, PoolKey, Server, Skips, Ticket, Unavailable, own,
    };
}
pub mod upstream {
    pub use crate::upstream::{Buffers, Delivery, FramePiece, Mailbox, PinnedLine, Reply};
    pub mod credentials {
        pub use crate::upstream::credentials::{Credentials, Reload};
    }
    pub mod decisions {
        pub use crate::upstream::decisions::{
            ASIDE_MAX, Action, After, Answer, Around, Ask, Attempt, Attempted, BUSY_TICK, Begun,
            BreakerRules, Carrier, Checked, ConnectTurn, Connector, Dialed, Ended, Finding,
            Freshness, HOME, Holder, Known, Line, Lookup, Member, MissingDatabases, Next, Node,
            Outcome, Overdue, Owner, Patience, Pipeline, Place, PoolCore, Pooled, Race, Registry,
            Relieved, Repeat, RetryBudget, Selection, Served, Step, TURN, Timing, Turn, Unread,
            Upkeep, Use, Verdict, WAIT_TICK, Wait, Waiter, most_for_one_use,
        };
    }
    pub mod dial {
        pub use crate::upstream::dial::{Dialer, ServerConnection};
    }
    pub mod failure {
        pub use crate::upstream::failure::DialError;
    }
    pub mod target {
        pub use crate::upstream::target::Target;
    }
}
