//! Whose a request in line is, which decides by which rule its reply is judged.
//!
//! Owns: [`Owner`]. Never knows: the rules, what is asked, what a session is.

/// The owner of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<W> {
    /// A session, which gets the reply.
    Session(W),
    /// A question of the proxy whether the server is alive. Any reply proves it.
    Probe,
    /// A question of the proxy for the server's role.
    Role,
    /// The proxy logs in with another password, which the server accepts or refuses.
    Relogin,
    /// What completes a request that was answered, and that no session waits for: it is sent whenever the server can
    /// be reached again, on whichever connection.
    Completion,
}

impl<W> Owner<W> {
    #[must_use]
    pub const fn session(&self) -> Option<&W> {
        match self {
            Self::Session(session) => Some(session),
            Self::Probe | Self::Role | Self::Relogin | Self::Completion => None,
        }
    }

    #[must_use]
    pub fn into_session(self) -> Option<W> {
        match self {
            Self::Session(session) => Some(session),
            Self::Probe | Self::Role | Self::Relogin | Self::Completion => None,
        }
    }

    /// Whether it completes a request that was answered.
    #[must_use]
    pub const fn is_completion(&self) -> bool {
        matches!(self, Self::Completion)
    }

    /// Whether the request is the proxy's own.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        self.session().is_none()
    }
}
