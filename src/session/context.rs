//! What judging a request needs besides the session: policy, limits, time, facts about the server.
//!
//! Owns: [`Context`]. Never knows: where it comes from, what is decided.

use std::time::Instant;

use super::access::Auth;
use super::limiter_registry::Limiters;
use super::multi_permission::MultiPermission;
use super::request_scratch::RequestScratch;
use super::script_cache::Scripts;
use crate::config::ClientLimits;
use crate::policy::Policy;
use crate::policy::guard::GlobalsSource;
use crate::traffic::Server;

/// What a session needs to know of the world to judge one request.
#[derive(Debug)]
pub struct Context<'a> {
    pub policy: &'a Policy,
    pub auth: &'a Auth,
    pub limits: &'a ClientLimits,
    /// `pool.mode = "session"`.
    pub dedicated: bool,
    /// The server is a Valkey, whose words differ here and there.
    pub valkey: bool,
    /// The kind and version of the server.
    pub server: Server,
    /// A pinned connection is at hand.
    pub has_lease: bool,
    /// A pinned connection for large values could be had at once.
    pub lends_at_once: bool,
    /// The server answers reads, but holds what may write (`CLIENT PAUSE WRITE`).
    pub server_holds_writes: bool,
    pub now: Instant,
    /// Milliseconds since 1970, if the policy wants them.
    pub unix_ms: u64,
    /// Another number whenever the server may have been restarted or replaced.
    pub epoch: u64,
    /// What the server's Lua has, where the policy guards scripts.
    pub globals: Option<&'a dyn GlobalsSource>,
    pub scripts: &'a mut Scripts,
    pub multi_permission: &'a mut MultiPermission,
    /// What is used of the policy's limits.
    pub limiters: &'a Limiters,
    pub request_scratch: &'a mut RequestScratch,
}
