//! A line on standard error that names what a command waits for, while it waits.
//!
//! Owns: [`Progress`]. Never knows: what is done meanwhile.

use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::base::limits;

/// Goes to the beginning of the line and empties it.
const CLEAR: &str = "\r\x1b[K";

/// Shows what is waited for and for how many seconds, from the first second on, until it is dropped.
#[derive(Debug)]
pub(super) struct Progress(Option<(Sender<()>, JoinHandle<()>)>);

impl Progress {
    /// Shows nothing.
    pub(super) const NONE: Self = Self(None);

    /// Shows `what` on a terminal.
    pub(super) fn start(what: &str) -> Self {
        Self::on(std::io::stderr(), what, limits::PROGRESS_INTERVAL)
    }

    fn on(mut out: impl Write + Send + 'static, what: &str, beat: Duration) -> Self {
        let (end, ended) = channel::<()>();
        let what = what.to_owned();
        let thread = std::thread::Builder::new().name("respgate-progress".to_owned());
        let shown = move || {
            let mut beats = 0_u64;
            while ended.recv_timeout(beat) == Err(RecvTimeoutError::Timeout) {
                beats += 1;
                let _ = write!(out, "{CLEAR}{what} ({beats} s)");
                let _ = out.flush();
            }
            if beats > 0 {
                let _ = write!(out, "{CLEAR}");
                let _ = out.flush();
            }
        };
        // Without a thread nothing is shown.
        Self(thread.spawn(shown).ok().map(|thread| (end, thread)))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.0.take() {
            drop(end);
            // Nothing else is written before the line is empty again.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;

    use super::*;

    /// A stream that passes on what is written.
    struct Written(Sender<String>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            let _ = self.0.send("|".to_owned());
            Ok(())
        }
    }

    fn shown(beat: Duration, until: impl FnOnce(&Receiver<String>) -> String) -> String {
        let (sender, received) = channel();
        let progress = Progress::on(Written(sender), "waiting", beat);
        let before = until(&received);
        drop(progress);
        before + &received.iter().collect::<String>()
    }

    #[test]
    fn progress_counts_and_leaves_an_empty_line() {
        let line = |received: &Receiver<String>| {
            received.iter().take_while(|text| text != "|").collect::<String>() + "|"
        };
        let text = shown(Duration::from_millis(1), line);
        assert!(text.starts_with("\r\x1b[Kwaiting (1 s)|"), "{text:?}");
        assert!(text.ends_with("\r\x1b[K|"), "{text:?}");
    }

    #[test]
    fn short_work_is_not_mentioned() {
        assert_eq!(shown(Duration::from_secs(3600), |_| String::new()), "");
    }
}
