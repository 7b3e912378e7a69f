//! CLIENT REPLY: whether a client is answered.
//!
//! Owns: [`ReplyMode`]. Never knows: replies, requests.

/// Redis networking.c `clientCommand`, REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum ReplyMode {
    #[default]
    On,
    Off,
    SkipNext,
}

impl ReplyMode {
    pub(super) fn is_on(self) -> bool {
        self == Self::On
    }

    /// CLIENT REPLY SKIP. Where replies are off, they stay so.
    pub(super) fn skip(&mut self) {
        if *self == Self::On {
            *self = Self::SkipNext;
        }
    }

    /// Whether the reply to the request at hand is suppressed; uses up a SKIP.
    #[inline(always)]
    pub(super) fn silence(&mut self) -> bool {
        let silent = *self != Self::On;
        if *self == Self::SkipNext {
            *self = Self::On;
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_mode_skips_one_reply_and_suppresses_all() {
        let mut mode = ReplyMode::default();
        assert!(!mode.silence());
        mode.skip();
        assert_eq!([mode.silence(), mode.silence()], [true, false]);
        mode = ReplyMode::Off;
        mode.skip();
        assert_eq!([mode.silence(), mode.silence()], [true, true]);
        assert!(!mode.is_on());
    }
}
