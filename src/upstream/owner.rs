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
}

impl<W> Owner<W> {
    #[must_use]
    pub const fn session(&self) -> Option<&W> {
        match self {
            Self::Session(session) => Some(session),
            Self::Probe | Self::Role | Self::Relogin => None,
        }
    }

    #[must_use]
    pub fn into_session(self) -> Option<W> {
        match self {
            Self::Session(session) => Some(session),
            Self::Probe | Self::Role | Self::Relogin => None,
        }
    }

    /// Whether the request is the proxy's own.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        self.session().is_none()
    }
}
