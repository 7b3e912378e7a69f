//! What happens between the world's connections and its server: bytes move, requests are executed,
//! connections die.
//!
//! Owns: execution, delivery, losses. Never knows: how a client decides.

use bytes::{Bytes, BytesMut};
use respgate::internals::config::OnOutage;
use respgate::internals::downstream::conversation::{
    Arrivals, Conversation, PendingStep, handle_pinned, handle_through, lose_lease,
};
use respgate::internals::session::Route;
use respgate::internals::telemetry::ClientDisconnect;
use respgate::internals::traffic::{Loss, Ticket};

use super::client::OWN;
use super::model::{Model, Words};
use super::reference::{FORBIDDEN, Fate};
use super::surroundings::Surroundings;
use super::world::{World, line_of};

/// How often a read may be sent again.
pub const RETRIES: u8 = 2;

/// A piece of a reply on a shared connection.
struct Piece {
    ticket: Ticket,
    bytes: Bytes,
    kind: u8,
    done: bool,
    /// The reply is a large one.
    large: bool,
}

impl World {
    /// Something happens to a name of a client's, at the server and in its reference.
    pub fn happen(&mut self, at: usize, name: &str, happen: impl Fn(&mut Model, &[u8])) {
        happen(&mut self.model, format!("{}{name}", self.shape.prefix).as_bytes());
        self.clients[at].reference.outside(|model| happen(model, name.as_bytes()));
    }

    /// The commands as the client sent them, from those that the server received.
    pub fn as_sent(&self, commands: &[Words]) -> Vec<Words> {
        let prefix = self.shape.prefix.as_bytes();
        let word = |word: &Vec<u8>| word.strip_prefix(prefix).unwrap_or(word).to_vec();
        commands.iter().map(|words| words.iter().map(word).collect()).collect()
    }

    /// Writes up to `count` commands of a shared connection's line.
    pub fn write(&mut self, at: usize, count: usize) {
        if self.shared[at].connection.is_none() {
            let key = self.shared[at].key;
            self.shared[at].connection = Some(self.connect(key));
        }
        let mut left = count;
        for entry in &mut self.shared[at].line {
            let some = left.min(entry.commands.len() - entry.written);
            entry.written += some;
            left -= some;
        }
    }

    /// The server executes the next command of a shared connection.
    pub fn serve_shared(&mut self, at: usize) {
        let shared = &mut self.shared[at];
        let (Some(connection), key) = (shared.connection, shared.key) else { return };
        let Some(entry) = shared.due() else { return };
        let words = entry.commands[entry.executed].clone();
        entry.executed += 1;
        self.model.execute(connection, &words);
        let at_server = &self.model.connections[connection];
        let within = entry.executed < entry.commands.len();
        assert!(within || at_server.is_clean(), "state on a shared connection: {at_server:?}");
        assert_eq!((at_server.protocol, at_server.database), (key.protocol, key.database));
        check_wire(&words, false, false);
        if entry.executed < entry.commands.len() {
            return;
        }
        let (number, attempts, abandoned) = (entry.number, entry.attempts, entry.abandoned);
        let (at, commands) = (entry.client, entry.commands.clone());
        let as_sent = self.as_sent(&commands);
        let client = &mut self.clients[at];
        if abandoned {
            client.reference.aside(&as_sent, key);
        } else if attempts > 0 && client.last_executed.is_some_and(|last| last >= number) {
            assert!(changes_nothing(&words), "executed twice: {words:?}");
            client.reference.repeat(number, &as_sent[0], key);
        } else {
            in_order(&mut client.last_executed, number);
            client.reference.note(number, Fate::Executed);
        }
    }

    /// The server executes the next command of a client's pinned connection, or forbids it.
    pub fn serve_pinned(&mut self, at: usize, forbid: bool) {
        let Some(lease) = &self.clients[at].lease else { return };
        let connection = lease.connection;
        if self.model.connections[connection].blocked.is_some() {
            return;
        }
        let Some(sent) = self.inboxes[connection].pop_front() else { return };
        let client = &mut self.clients[at];
        let alone = self.inboxes[connection].is_empty()
            && !self.shape.dedicated
            && matches!(client.waiting(), PendingStep::No | PendingStep::Reply);
        let in_block = self.model.connections[connection].transaction.is_some();
        let alone = alone || sent.hidden;
        let forbidden = forbid && !in_block && sent.last && may_be_forbidden(&sent.words, alone);
        if forbidden && sent.words[0] == b"UNWATCH" && !sent.hidden {
            // What it watched stays watched, and no later EXEC on that connection is any more what
            // it should be: this client sends nothing more, and the connection must go.
            client.disconnect();
            client.conversation.end(ClientDisconnect::Client);
        }
        if let Some(lease) = &mut client.lease {
            lease.keeps_watch |= forbidden && sent.hidden;
            let exec = sent.words[0].eq_ignore_ascii_case(b"exec") && sent.number != OWN;
            if lease.keeps_watch && exec && self.model.connections[connection].touched {
                // It was in line behind that UNWATCH: nil, which changes nothing, is all that can be had.
                client.reference.touch();
            }
        }
        if forbidden {
            self.model.reject(connection, "", FORBIDDEN);
        } else {
            self.model.execute(connection, &sent.words);
        }
        check_wire(&sent.words, true, self.shape.transparent);
        if sent.last && sent.number != OWN {
            in_order(&mut client.last_executed, sent.number);
            let fate = if forbidden && !sent.hidden { Fate::Forbidden } else { Fate::Executed };
            client.reference.note(sent.number, fate);
        }
    }

    /// Delivers up to `count` bytes of a shared connection: to each client at once what is behind each other
    /// for it.
    pub fn deliver_shared(&mut self, at: usize, count: usize) {
        let Some(connection) = self.shared[at].connection else { return };
        let output = &mut self.model.connections[connection].output;
        let mut bytes = output.split_to(count.min(output.len())).freeze();
        let (mut reader, mut pieces) = (0, Vec::new());
        while !bytes.is_empty() {
            let shared = &mut self.shared[at];
            let advance = shared.scanner.advance(&bytes).expect("the server sends RESP");
            let piece = bytes.split_to(advance.used);
            let (kind, announced) = (shared.scanner.kind(), shared.scanner.announced());
            assert_ne!(kind, b'>', "a push on a shared connection");
            let entry = shared.line.front_mut().expect("the reply has a request");
            if entry.skip > 0 {
                entry.skip -= u32::from(advance.done);
                continue;
            }
            shared.begun = !advance.done;
            let (client, ticket, abandoned) = (entry.client, entry.ticket, entry.abandoned);
            if advance.done {
                let entry = shared.line.pop_front().unwrap();
                assert_eq!(entry.executed, entry.commands.len(), "a reply before its request");
            }
            if client != reader {
                self.hand_out(reader, std::mem::take(&mut pieces));
                reader = client;
            }
            if !abandoned {
                let large = announced.is_some_and(|length| length >= self.shape.large_bytes);
                pieces.push(Piece { ticket, bytes: piece, kind, done: advance.done, large });
            }
        }
        self.hand_out(reader, pieces);
    }

    /// What a shared connection has for one client.
    fn hand_out(&mut self, at: usize, pieces: Vec<Piece>) {
        if pieces.is_empty() || self.clients[at].closed {
            return;
        }
        let flies: Vec<bool> =
            pieces.iter().map(|piece| self.clients[at].flies(piece.ticket)).collect();
        let completed: Vec<bool> = self.drive(at, false, |talk, around| {
            let mut arrivals = Arrivals::begin(talk);
            let mut all: BytesMut = pieces.iter().flat_map(|piece| piece.bytes.clone()).collect();
            let mut take = |piece: &Piece| {
                let described = (piece.ticket, piece.bytes.len(), piece.kind, piece.done);
                arrivals.take_piece(talk, &all, described, around).is_some()
            };
            let completed = pieces.iter().map(&mut take).collect();
            arrivals.end(talk, &mut all);
            completed
        });
        let client = &mut self.clients[at];
        if pieces.iter().any(|piece| piece.large) {
            client.conversation.session_mut().note_large_reply();
        }
        for ((piece, flies), completed) in pieces.iter().zip(flies).zip(completed) {
            assert_eq!(completed, piece.done && flies, "a reply is whole when it is");
            if completed {
                client.land(Some(piece.ticket));
            }
        }
        self.delivered(at);
    }

    /// A client's conversation has taken what shared connections delivered.
    fn delivered(&mut self, at: usize) {
        self.drive(at, false, |talk, around| talk.handle_delivered(true, None, around));
    }

    /// Delivers up to `count` bytes of a client's pinned connection.
    pub fn deliver_pinned(&mut self, at: usize, count: usize) {
        let Some(lease) = &self.clients[at].lease else { return };
        let output = &mut self.model.connections[lease.connection].output;
        let bytes = output.split_to(count.min(output.len())).freeze();
        if !bytes.is_empty() {
            self.send_pinned(at, &bytes);
        }
    }

    fn send_pinned(&mut self, at: usize, mut bytes: &[u8]) {
        self.drive(at, false, |talk, around| {
            while let Some(through) = handle_pinned(talk, &mut bytes, around) {
                handle_through(talk, &through, 0, around);
            }
        });
    }

    /// The server sends an unrequested reply on a pinned connection.
    pub fn surplus(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(lease) = &client.lease else { return };
        let quiet = client.flying.is_empty()
            && !lease.line.has_begun()
            && self.model.connections[lease.connection].output.is_empty();
        if client.closed || !quiet {
            return;
        }
        self.lease_goes(at, Loss::OutcomeUnknown, |talk, around| {
            let mut bytes: &[u8] = b"+SURPLUS\r\n";
            assert!(handle_pinned(talk, &mut bytes, around).is_none(), "it was passed on");
        });
    }

    /// A client's pinned connection is gone.
    pub fn lose_lease(&mut self, at: usize, loss: Loss) {
        self.lease_goes(at, loss, |talk, around| lose_lease(talk, loss, around));
    }

    fn lease_goes(
        &mut self,
        at: usize,
        loss: Loss,
        go: impl FnOnce(&mut Conversation, &mut Surroundings<'_>),
    ) {
        let client = &mut self.clients[at];
        let Some(lease) = &client.lease else { return };
        let begun = client.session().reply_has_begun();
        let (sent, unsent) = (line_of(loss), line_of(loss.of_unsent()));
        let some_unsent: Vec<usize> = lease.sending.iter().map(|sending| sending.number).collect();
        let connection = &self.model.connections[lease.connection];
        let reason = self.shape.transparent
            || connection.subscribed()
            || connection.tracking
            || lease.line.has_begun()
            || client.flying.iter().any(|f| {
                f.route == Route::Pinned && (f.name.ends_with("subscribe") || f.name == "client")
            })
            || client.reference.model.connections[0].subscribed()
            || (self.shape.on_outage == OnOutage::Close
                && loss.is_outage()
                && !connection.watched.is_empty());
        assert!(!begun || lease.line.has_begun(), "a reply has begun and none did");
        client.check();
        self.drive(at, false, go);
        let client = &mut self.clients[at];
        assert!(client.lease.is_none(), "an unrequested reply was taken for another");
        let early = self.drive(at, false, |talk, around| talk.poll_end(true, around));
        let as_sent = self.clients[at].take_output();
        assert!(early.is_none() || as_sent.is_empty(), "what was answered before is dropped");
        let why = self.drive(at, false, |talk, around| talk.poll_end(true, around));
        let client = &mut self.clients[at];
        if why == Some(ClientDisconnect::UpstreamLost) {
            assert!(client.session().is_cut() || reason, "sent away without need");
            return self.close(at);
        }
        assert!(!begun, "half a reply and more");
        if client.session().is_cut() && client.cut.is_none() {
            let number = client.flying.front().map_or(OWN, |flying| flying.number);
            client.cut(number);
            return client.reference.receive(&as_sent);
        }
        let reference = &client.reference.model.connections[0];
        let executing = client.flying.iter().any(|flying| flying.name == "exec");
        assert!(
            executing || !reference.subscribed(),
            "subscriptions are gone and the client does not know"
        );
        client.reference.lose_watch();
        while client.flies_pinned() {
            let flying = client.land(None);
            if flying.number == OWN {
                continue;
            }
            if flying.hidden {
                client.reference.note(flying.number, Fate::Executed);
            } else {
                let whole = !some_unsent.contains(&flying.number);
                client.reference.lose(flying.number, if whole { &sent } else { &unsent });
            }
        }
        client.reference.lose_state(client.session().key());
        client.reference.receive(&as_sent);
    }

    /// A shared connection is gone.
    pub fn lose_shared(&mut self, at: usize) {
        let Some(connection) = self.shared[at].connection else { return };
        self.hang_up(connection);
        for (entry, begun) in self.shared[at].lose(RETRIES) {
            let client = &mut self.clients[entry.client];
            if client.closed || entry.abandoned {
                continue;
            }
            let loss = if begun { Loss::Truncated } else { Loss::OutcomeUnknown };
            if begun {
                client.read();
            }
            if !client.flies(entry.ticket) {
                assert!(client.cut.is_some(), "no client waits for a reply");
                continue;
            }
            client.conversation.handle_loss(entry.ticket, loss).expect("it waits");
            self.delivered(entry.client);
            let client = &mut self.clients[entry.client];
            if client.session().is_cut() && !begun {
                client.cut(entry.number);
                continue;
            }
            let flying = client.land(Some(entry.ticket));
            client.reference.lose(flying.number, &line_of(loss));
            if begun {
                let why =
                    self.drive(entry.client, false, |talk, around| talk.poll_end(true, around));
                assert_eq!(why, Some(ClientDisconnect::UpstreamLost), "half a reply and more");
                self.close(entry.client);
            }
        }
    }

    /// The first `count` requests in a shared connection's line have waited too long.
    pub fn expire_shared(&mut self, at: usize, count: usize) {
        let begun = self.shared[at].begun;
        for index in 0..count.min(self.shared[at].line.len()) {
            let entry = &mut self.shared[at].line[index];
            let (number, executed) = (entry.number, entry.executed == entry.commands.len());
            let client = &mut self.clients[entry.client];
            if entry.abandoned || (index == 0 && begun) || client.closed {
                continue;
            }
            if !client.flies(entry.ticket) {
                assert!(client.cut.is_some(), "no client waits for a reply");
                continue;
            }
            entry.abandoned = true;
            let at_client = entry.client;
            client.conversation.handle_loss(entry.ticket, Loss::TimedOut).expect("it waits");
            let flying = client.land(Some(entry.ticket));
            assert!(executed || number == flying.number);
            client.reference.lose(flying.number, &line_of(Loss::TimedOut));
            self.delivered(at_client);
        }
    }

    /// The client is gone, and everything of it.
    pub fn close(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.closed = true;
        client.conversation.advance_output(client.conversation.output().len());
        if let Some(lease) = client.lease.take() {
            self.hang_up(lease.connection);
        }
    }
}

/// A session's commands are executed in the order in which they were asked.
fn in_order(last: &mut Option<usize>, number: usize) {
    assert!(last.is_none_or(|last| last < number), "request {number} was executed after {last:?}");
    *last = Some(number);
}

/// What the server may refuse without more ado in this simulation.
fn may_be_forbidden(words: &Words, alone: bool) -> bool {
    let name = words[0].to_ascii_lowercase();
    match name.as_slice() {
        b"get" | b"set" | b"incr" | b"select" | b"subscribe" | b"psubscribe" | b"blpop"
        | b"wait" => true,
        b"unwatch" => alone,
        _ => false,
    }
}

fn changes_nothing(words: &Words) -> bool {
    let name = words[0].to_ascii_lowercase();
    matches!(name.as_slice(), b"get" | b"mget" | b"lrange" | b"echo" | b"ping" | b"time" | b"info")
}

/// What is about the client's own connection is no business of the server.
fn check_wire(words: &Words, pinned: bool, transparent: bool) {
    let word = |at: usize| words.get(at).map(|w| w.to_ascii_lowercase()).unwrap_or_default();
    let own = match word(0).as_slice() {
        // The protocol of a connection that keeps the client's state is changed there.
        b"hello" => !pinned || (words.len() != 2 && !transparent),
        b"reset" | b"quit" => true,
        b"client" if transparent => word(1) == b"reply",
        b"client" => word(1) != b"tracking",
        _ => false,
    };
    assert!(!own, "it went to the server: {words:?}");
}
