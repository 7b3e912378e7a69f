//! Connections that send a request as soon as the last one is answered, and connections made for one request.
//!
//! Owns: the loop of one connection. Never knows: which requests are sent.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use respgate::internals::base::clock::now;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connect::{Dialer, Duplex};
use super::script::{Script, Step};
use super::spec::{Report, Shape, Spec, Talk};
use super::{AclUser, Mark, milliseconds, report};

/// A reply that takes longer is a failure.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections opened at once.
const OPENING_MAX: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Window,
    Done,
}

struct Load {
    dialer: Dialer,
    phase: Cell<Phase>,
    account: RefCell<AclUser>,
    dialed: Cell<u32>,
}

pub(super) fn run(spec: &Spec) -> Report {
    let load = Rc::new(Load {
        dialer: Dialer::new(spec.target.clone()),
        phase: Cell::new(Phase::WarmUp),
        account: RefCell::default(),
        dialed: Cell::new(0),
    });
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(tokio::runtime::LocalOptions::default());
    runtime.unwrap().block_on(window(spec, load))
}

async fn window(spec: &Spec, load: Rc<Load>) -> Report {
    let (connections, churn) = match spec.shape {
        Shape::Closed { connections } | Shape::Open { connections, .. } => (connections, false),
        Shape::Churn { connections } => (connections, true),
    };
    let mut tasks = Vec::new();
    let opening = Rc::new(tokio::sync::Semaphore::new(OPENING_MAX));
    let opened = Rc::new(Cell::new(0));
    for number in 0..connections {
        let script = Script::new(spec.talk, number);
        let (load, opening, opened) = (Rc::clone(&load), Rc::clone(&opening), Rc::clone(&opened));
        tasks.push(tokio::task::spawn_local(async move {
            if churn {
                opened.set(opened.get() + 1);
                return load.churn(script).await;
            }
            let permit = opening.acquire().await;
            let stream = load.dialer.dial().await;
            drop(permit);
            load.drive_connection(stream, &script, Some(&opened)).await;
        }));
    }
    if let Some(value_bytes) = spec.bulk_bytes {
        let load = Rc::clone(&load);
        let script = Script::new(Talk { value_bytes, pipeline: 1, ..Talk::default() }, connections);
        tasks.push(tokio::task::spawn_local(async move {
            let stream = load.dialer.dial().await;
            load.drive_connection(stream, &script, None).await;
        }));
    }
    let patience = now() + PATIENCE;
    while opened.get() < connections && now() < patience {
        tokio::time::sleep(milliseconds(1)).await;
    }
    tokio::time::sleep(milliseconds(spec.warm_up_ms)).await;
    let begin = Mark::new(&spec.watch);
    load.phase.set(Phase::Window);
    tokio::time::sleep(milliseconds(spec.window_ms)).await;
    load.phase.set(Phase::Done);
    let end = Mark::new(&spec.watch);
    let patience = now() + PATIENCE;
    for task in tasks {
        if tokio::time::timeout_at(patience.into(), task).await.is_err() {
            load.account.borrow_mut().fail("no reply for a long time");
        }
    }
    let account = load.account.borrow();
    report(&account, &begin, &end)
}

impl Load {
    fn is_done(&self) -> bool {
        self.phase.get() == Phase::Done
    }

    /// Talks on one connection until the window closes. With `opened`, what it does is counted, and
    /// the window opens once it and all others have been answered.
    async fn drive_connection(
        &self,
        stream: io::Result<Pin<Box<dyn Duplex>>>,
        script: &Script,
        opened: Option<&Cell<usize>>,
    ) {
        let outcome = match stream {
            Ok(mut stream) => self.talk(&mut stream, script, opened).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            opened.inspect(|opened| opened.set(opened.get() + 1));
            self.account.borrow_mut().fail(&error.to_string());
        }
    }

    async fn talk(
        &self,
        stream: &mut Pin<Box<dyn Duplex>>,
        script: &Script,
        opened: Option<&Cell<usize>>,
    ) -> io::Result<()> {
        let longest = script.cycle.iter().map(|step| step.reply.len()).max().unwrap_or(0);
        let mut buffer = vec![0; (longest + 64).min(256 << 10)];
        for step in script.prelude.iter().chain(&script.cycle) {
            ask(stream, step, &mut buffer).await?;
        }
        opened.inspect(|opened| opened.set(opened.get() + 1));
        let mut begin = now();
        for step in script.cycle.iter().cycle() {
            if self.is_done() {
                break;
            }
            ask(stream, step, &mut buffer).await?;
            let end = now();
            if opened.is_some() && self.phase.get() == Phase::Window {
                let mut account = self.account.borrow_mut();
                account.operations += step.operations;
                account.latency.add(end - begin);
            }
            begin = end;
        }
        Ok(())
    }

    /// One connection for each question.
    async fn churn(self: Rc<Self>, script: Script) {
        let mut buffer = vec![0; 256];
        let mut prelude = script.prelude.iter();
        while !self.is_done() {
            let begin = now();
            let Some(step) = prelude.next().or_else(|| script.cycle.first()) else { return };
            let number = self.dialed.replace(self.dialed.get().wrapping_add(1));
            let outcome = match self.dialer.dial_from(number).await {
                Ok(mut stream) => ask(&mut stream, step, &mut buffer).await,
                Err(error) => Err(error),
            };
            let mut account = self.account.borrow_mut();
            match outcome {
                Ok(()) if self.phase.get() == Phase::Window => {
                    account.operations += 1;
                    account.latency.add(now() - begin);
                }
                Ok(()) => {}
                Err(error) => account.fail(&error.to_string()),
            }
        }
    }
}

async fn ask(stream: &mut Pin<Box<dyn Duplex>>, step: &Step, buffer: &mut [u8]) -> io::Result<()> {
    stream.write_all(&step.request).await?;
    stream.flush().await?;
    let mut rest = step.reply.as_slice();
    while !rest.is_empty() {
        let read = stream.read(buffer).await?;
        if read == 0 {
            return Err(io::Error::other("the connection was closed"));
        }
        rest = expect(rest, &buffer[..read])?;
    }
    Ok(())
}

/// Takes what came off what must come.
pub(super) fn expect<'a>(rest: &'a [u8], came: &[u8]) -> io::Result<&'a [u8]> {
    rest.strip_prefix(came).ok_or_else(|| {
        let text = String::from_utf8_lossy(&came[..came.len().min(120)]).into_owned();
        io::Error::other(format!("wrong reply: {text:?}"))
    })
}
