//! The task of one client: it serves the connection, closes it, and has its end recorded.
//!
//! Owns: [`ClientTask`]. Never knows: what the client sends, what is recorded of it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::client_stream::ClientStream;
use super::connection::Connection;
use super::disconnect_guard::DisconnectGuard;
use super::links::Links;

/// A client from its acceptance on. Every client has one at any time, so that it is small: what it needs is allocated
/// elsewhere.
pub(super) struct ClientTask<S: ClientStream>(State<S>);

enum State<S> {
    Serving(Rc<RefCell<Connection<S>>>),
    /// The connection is closed, and its end waits until it can be recorded.
    Ending(Pin<Box<dyn Future<Output = ()>>>),
    Ended,
}

impl<S: ClientStream> ClientTask<S> {
    pub(super) const fn new(connection: Rc<RefCell<Connection<S>>>) -> Self {
        Self(State::Serving(connection))
    }
}

impl<S: ClientStream> Future for ClientTask<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self(state) = self.get_mut();
        if let State::Serving(connection) = state {
            let mut connection = connection.borrow_mut();
            let why = ready!(connection.poll_serve(cx));
            let mut guard = guard_of(&connection);
            drop(connection);
            *state = State::Ending(Box::pin(async move { guard.finish(why).await }));
        }
        if let State::Ending(end) = state {
            ready!(end.as_mut().poll(cx));
            *state = State::Ended;
        }
        Poll::Ready(())
    }
}

/// What is recorded of the client when it has disconnected.
fn guard_of<S>(connection: &Connection<S>) -> DisconnectGuard {
    let Links { worker, entry, place, .. } = &connection.links;
    let (worker, entry, place) = (Rc::clone(worker), Rc::clone(entry), Rc::clone(place));
    DisconnectGuard { worker, entry, place, why: None }
}

/// A task that panics, or that the process ends, closes its connection before the client counts as gone.
impl<S: ClientStream> Drop for ClientTask<S> {
    fn drop(&mut self) {
        if let State::Serving(connection) = std::mem::replace(&mut self.0, State::Ended) {
            let guard = guard_of(&connection.borrow());
            drop(connection);
            drop(guard);
        }
    }
}
