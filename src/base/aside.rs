//! Work that may block (a file on a network that is gone), on a thread of its own and with a deadline.
//!
//! Owns: [`aside`], [`aside_for`]. Never knows: what the work is.

use std::time::Duration;

use crate::base::limits;

/// Does `work` on another thread and waits for it; `None` when it does not end in time. Then the
/// thread stays with it, and everything else goes on.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    aside_for(limits::FILE_WORK_TIMEOUT, work).await
}

/// Like [`aside`], with a deadline of the caller's.
pub(crate) async fn aside_for<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let done = tokio::time::timeout(patience, tokio::task::spawn_blocking(work)).await;
    done.ok().and_then(Result::ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_does_not_end_is_given_up() {
        assert_eq!(aside(|| 7).await, Some(7));
        let (end, never) = std::sync::mpsc::channel::<()>();
        let patience = Duration::from_millis(10);
        assert_eq!(aside_for(patience, move || never.recv().is_ok()).await, None);
        drop(end);
    }
}
