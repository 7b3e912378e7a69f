//! A panic of the task behind a shared connection.
//!
//! Owns: its test. Never knows: sessions.

use std::time::Duration;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config;
use crate::telemetry::{Metrics, UpstreamDisconnect, UpstreamState};
use crate::traffic::{Outgoing, Ticket};
use crate::upstream::Upstream;
use crate::upstream::credentials::Credentials;
use crate::upstream::dial::Dialer;
use crate::upstream::target::Target;
use crate::upstream::{Delivery, Mailbox};

/// Panics when it is first woken, as a defect would in the middle of a delivery.
struct Bomb(AtomicBool);

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        if !self.0.swap(true, Ordering::Relaxed) {
            std::panic::resume_unwind(Box::new("a defect"));
        }
    }
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Answers HELLO, PING and the like; GET only once all of `hold` has come.
async fn serve(mut socket: TcpStream) {
    let (mut input, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = socket.read(&mut buffer).await {
        input.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&input).to_uppercase();
        let requests = text.matches('*').count();
        let answers: Vec<&str> = text
            .split('*')
            .skip(1)
            .map(|request| match request {
                _ if request.contains("HELLO") => "*2\r\n$5\r\nproto\r\n:2\r\n",
                _ if request.contains("PING") => "+PONG\r\n",
                _ => "+OK\r\n",
            })
            .collect();
        assert_eq!(answers.len(), requests, "whole requests come");
        input.clear();
        if socket.write_all(answers.concat().as_bytes()).await.is_err() {
            return;
        }
    }
}

fn request(ticket: u64, bytes: &[u8]) -> Outgoing<'_> {
    let at = clock::now();
    Outgoing {
        ticket: Ticket(ticket),
        bytes,
        skips: crate::traffic::Skips::default(),
        retry: false,
        companion: false,
        eager: false,
        share: 0,
        at,
    }
}

/// What has arrived for a session, as soon as there is something.
async fn arrivals(mailbox: &Rc<Mailbox>) -> Vec<(u64, Option<Loss>)> {
    std::future::poll_fn(|cx| {
        let mut arrived = Vec::new();
        mailbox.drain(cx.waker(), |items, _| {
            arrived.extend(items.filter_map(|delivery| match delivery {
                Delivery::Piece { ticket, .. } => Some((ticket.0, None)),
                Delivery::Lost(ticket, loss) => Some((ticket.0, Some(loss))),
                Delivery::Refusal { .. } => None,
            }));
        });
        if arrived.is_empty() { std::task::Poll::Pending } else { std::task::Poll::Ready(arrived) }
    })
    .await
}

#[test]
fn shared_connection_whose_task_panics_loses_its_requests_and_is_made_anew() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let test = async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            loop {
                tokio::task::spawn_local(serve(listener.accept().await.unwrap().0));
            }
        });
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[upstream]\naddress = \"{address}\"\n\
             insecure_plaintext = true\n[upstream.pool]\nmin_idle = 0\n"
        );
        let settings = config::parse(&text, "test", []).unwrap().upstream;
        let credentials = Credentials::open(&settings.auth).unwrap();
        let dialer = Dialer::new(Target::of(&settings).unwrap(), &settings, None, credentials);
        let metrics = Arc::new(Metrics::default());
        let upstream =
            Upstream::start(settings, 65_536, dialer, Arc::clone(&metrics), Arc::default(), 1);
        upstream.buffers().set_cap(1 << 20);
        upstream.warm().await.unwrap();
        let shared = upstream.shared(HOME);
        let count = |state: UpstreamState| metrics.sum(|own| own.upstream_connections[state].get());
        assert_eq!(count(UpstreamState::Shared), 1);

        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let logging = tracing::subscriber::set_default(subscriber);
        let (one, two) =
            (Mailbox::new(1 << 20, upstream.buffers()), Mailbox::new(1 << 20, upstream.buffers()));
        let bomb = Waker::from(Arc::new(Bomb(AtomicBool::new(false))));
        one.drain(&bomb, |_, _| {});
        shared.send(&one, request(1, b"*1\r\n$3\r\nGET\r\n")).unwrap();
        let expire = request(2, b"*1\r\n$6\r\nEXPIRE\r\n");
        shared.send(&one, Outgoing { retry: true, companion: true, ..expire }).unwrap();
        shared.send(&two, request(7, b"*1\r\n$3\r\nGET\r\n")).unwrap();
        assert_eq!(arrivals(&two).await, [(7, Some(Loss::OutcomeUnknown))]);
        let first = arrivals(&one).await;
        let [under_way, behind] = [Loss::Truncated, Loss::OutcomeUnknown].map(Some);
        assert_eq!(first, [(1, None), (1, under_way), (2, behind)], "its reply was under way");
        drop(logging);
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains("UPS-E002") && log.matches("POL-W006").count() == 1, "{log}");
        assert_eq!(count(UpstreamState::Shared), 0);
        let defects = metrics.sum(|own| {
            let count = own.upstream_disconnects_total[UpstreamDisconnect::Defect].get();
            i64::try_from(count).unwrap()
        });
        assert_eq!(defects, 1);

        shared.send(&two, request(8, b"*1\r\n$3\r\nGET\r\n")).unwrap();
        assert_eq!(arrivals(&two).await, [(8, None)], "it serves again");
        assert_eq!(count(UpstreamState::Shared), 1);
    };
    let test = async { tokio::time::timeout(Duration::from_secs(60), test).await };
    tokio::task::LocalSet::new().block_on(&runtime, test).expect("it ends");
}
