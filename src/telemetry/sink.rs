//! Carries finished log lines to their output on a thread of its own, so that a slow reader of the
//! log never stops the proxy.
//!
//! Owns: [`Sink`]. Never knows: the content of a line.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use super::metrics::Metrics;
use crate::base::limits;

enum Message {
    Line(Vec<u8>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

/// The way in; cheap to clone. The thread ends with the last clone.
#[derive(Clone, Debug)]
pub(super) struct Sink {
    queue: SyncSender<Message>,
    metrics: Arc<Metrics>,
}

impl Sink {
    /// # Errors
    ///
    /// When the system gives no thread.
    pub(super) fn start(output: Box<dyn Write + Send>, metrics: Arc<Metrics>) -> io::Result<Self> {
        let (queue, messages) = sync_channel(limits::LOG_QUEUE_LINES_MAX);
        thread::Builder::new()
            .name("respgate-log".to_owned())
            .spawn(move || write_all(&messages, output))?;
        Ok(Self { queue, metrics })
    }

    /// Waits until what was logged before is written, at most for `patience`. Not for the data plane.
    pub(super) fn flush(&self, patience: Duration) {
        let (done, written) = sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(patience);
        }
    }
}

fn write_all(messages: &Receiver<Message>, mut output: Box<dyn Write + Send>) {
    for message in messages {
        match message {
            // A failure of standard error cannot be reported.
            Message::Line(line) => drop(output.write_all(&line)),
            Message::Flush(done) => {
                let _ = output.flush();
                let _ = done.try_send(());
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

/// The subscriber writes each event with one call.
impl Write for &Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Message::Line(line.to_vec())).is_err() {
            self.metrics.shard().log_events_dropped_total.inc();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// An output that takes each line only on request.
    struct Slow(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.send(line.to_vec());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn stuck_reader_costs_lines_not_time() {
        let (go, gate) = channel();
        let (out, lines) = channel();
        let metrics = Arc::new(Metrics::default());
        let sink = Sink::start(Box::new(Slow(gate, out)), Arc::clone(&metrics)).unwrap();
        let total = limits::LOG_QUEUE_LINES_MAX * 2;
        for n in 0..total {
            (&sink).write_all(format!("{n}\n").as_bytes()).unwrap();
        }
        drop(go);
        drop(sink);
        let written = lines.iter().count();
        let dropped = usize::try_from(metrics.shard().log_events_dropped_total.get()).unwrap();
        assert_eq!(written + dropped, total);
        assert!(
            (limits::LOG_QUEUE_LINES_MAX..=limits::LOG_QUEUE_LINES_MAX + 1).contains(&written),
            "{written}"
        );
    }
}
