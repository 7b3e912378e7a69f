//! The commands about the client's own connection that the proxy answers.
//!
//! Owns: [`Local`]. Never knows: the answers, sessions.

/// A command whose answer is the proxy's to give, because it is about the client's own connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Local {
    /// `ACL WHOAMI`.
    WhoAmI,
    Asking,
    ReadOnly,
    ReadWrite,
    // The following are of `CLIENT`.
    Capa,
    GetName,
    /// `GETREDIR`.
    GetRedirect,
    Help,
    Id,
    ImportSource,
    Info,
    Kill,
    List,
    NoEvict,
    NoTouch,
    Reply,
    SetInfo,
    SetName,
    TrackingInfo,
    Unblock,
}

impl Local {
    /// Whether the server may be asked for its part of the answer.
    #[must_use]
    pub const fn may_ask_server(self) -> bool {
        matches!(self, Self::Help | Self::TrackingInfo | Self::GetRedirect | Self::Unblock)
    }
}
