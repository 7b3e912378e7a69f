//! Where the arithmetic of TLS handshakes is done: beside the thread that serves clients.
//!
//! Owns: [`HandshakeThread`]. Never knows: listeners, certificates, what a handshake is for.

use std::io;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// One thread, which ends when this is dropped. Its sockets stay with the event loop of the thread that accepted
/// them, so that a connection is not moved when its handshake has ended.
#[derive(Debug)]
pub(crate) struct HandshakeThread {
    handle: Handle,
    /// Dropped, it ends the thread.
    _stop: oneshot::Sender<()>,
}

impl HandshakeThread {
    /// # Errors
    ///
    /// When the system has no room for a thread.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            let _ = runtime.block_on(stopped);
        };
        std::thread::Builder::new().name("respgate-tls".to_owned()).spawn(run)?;
        Ok(Self { handle, _stop: stop })
    }

    /// Begins `work` there, which ends with the value that is returned.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Begun<T> {
        Begun(self.handle.spawn(work))
    }
}

/// Work on the thread; dropped, it is given up.
#[derive(Debug)]
pub(super) struct Begun<T>(JoinHandle<T>);

impl<T> Begun<T> {
    /// `None`: an internal error has ended the work, or the thread has ended.
    pub(super) async fn end(mut self) -> Option<T> {
        (&mut self.0).await.ok()
    }
}

impl<T> Drop for Begun<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    #[tokio::test]
    async fn work_runs_on_the_thread_and_ends_with_its_owner() {
        let thread = HandshakeThread::start().unwrap();
        let name = || async { std::thread::current().name().map(str::to_owned) };
        assert_eq!(thread.begin(name()).end().await.unwrap().as_deref(), Some("respgate-tls"));
        let broken = async { std::panic::resume_unwind(Box::new("a defect")) };
        assert_eq!(thread.begin::<()>(broken).end().await, None);
        let (held, released) = oneshot::channel::<()>();
        let begun = thread.begin(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        drop(begun);
        assert!(released.await.is_err(), "what was given up keeps nothing");
        drop(thread);
    }
}
