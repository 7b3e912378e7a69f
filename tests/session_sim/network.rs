//! What happens between the world's connections and its server: bytes move, requests are executed,
//! connections die.
//!
//! Owns: execution, delivery, losses. Never knows: how a client decides.

use respgate::config::OnOutage;
use respgate::session::Route;
use respgate::traffic::Loss;

use super::client::{OWN, Waiting};
use super::model::{Model, Words};
use super::reference::{FORBIDDEN, Fate};
use super::world::{World, line_of};

/// How often a read may be sent again.
pub const RETRIES: u8 = 2;

impl World {
    /// Something happens to a name of a client's, at the server and in its reference.
    pub fn happen(&mut self, at: usize, name: &str, happen: impl Fn(&mut Model, &[u8])) {
        happen(&mut self.model, format!("{}{name}", self.shape.prefix).as_bytes());
        self.clients[at].reference.outside(|model| happen(model, name.as_bytes()));
    }

    /// What a client said, of what the server has heard.
    pub fn said(&self, commands: &[Words]) -> Vec<Words> {
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
        let said = self.said(&commands);
        let client = &mut self.clients[at];
        if abandoned {
            client.reference.aside(&said, key);
        } else if attempts > 0 && client.last_executed.is_some_and(|last| last >= number) {
            assert!(changes_nothing(&words), "executed twice: {words:?}");
            client.reference.repeat(number, &said[0], key);
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
            && matches!(client.waiting, Waiting::No | Waiting::Reply);
        let in_block = self.model.connections[connection].transaction.is_some();
        let alone = alone || sent.hidden;
        let forbidden = forbid && !in_block && sent.last && may_be_forbidden(&sent.words, alone);
        if forbidden && sent.words[0] == b"UNWATCH" && !sent.hidden {
            // What it watched stays watched, and no later EXEC on that connection is any more what
            // it should be: this client says nothing more, and the connection must go.
            client.leaving = true;
            client.waiting = Waiting::No;
            client.pending.clear();
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

    /// Delivers up to `count` bytes of a shared connection.
    pub fn deliver_shared(&mut self, at: usize, count: usize) {
        let Some(connection) = self.shared[at].connection else { return };
        let output = &mut self.model.connections[connection].output;
        let mut bytes = output.split_to(count.min(output.len())).freeze();
        while !bytes.is_empty() {
            let shared = &mut self.shared[at];
            let advance = shared.scanner.advance(&bytes).expect("the server speaks RESP");
            let piece = bytes.split_to(advance.used);
            let (kind, announced) = (shared.scanner.kind(), shared.scanner.announced());
            assert_ne!(kind, b'>', "a push on a shared connection");
            let entry = shared.line.front_mut().expect("somebody asked for it");
            if entry.skip > 0 {
                entry.skip -= u32::from(advance.done);
                continue;
            }
            let client = &mut self.clients[entry.client];
            if !entry.abandoned && !client.closed {
                let flies = client.flies(entry.ticket);
                let done = client.session.handle_reply(
                    entry.ticket,
                    &piece,
                    kind,
                    advance.done,
                    &mut client.out,
                );
                assert_eq!(done.is_some(), advance.done && flies, "a reply is whole when it is");
                if announced.is_some_and(|length| length >= self.shape.large_bytes) {
                    client.session.note_large_reply();
                }
                if done.is_some() {
                    client.land(Some(entry.ticket));
                }
            }
            shared.begun = !advance.done;
            if advance.done {
                let entry = shared.line.pop_front().unwrap();
                assert_eq!(entry.executed, entry.commands.len(), "a reply before its request");
            }
        }
    }

    /// Delivers up to `count` bytes of a client's pinned connection.
    pub fn deliver_pinned(&mut self, at: usize, count: usize) {
        let Some(lease) = &self.clients[at].lease else { return };
        let output = &mut self.model.connections[lease.connection].output;
        let mut bytes = output.split_to(count.min(output.len())).freeze();
        while !bytes.is_empty() {
            let client = &mut self.clients[at];
            let lease = client.lease.as_mut().unwrap();
            let advance = lease.scanner.advance(&bytes).expect("the server speaks RESP");
            lease.begun = !advance.done;
            let piece = bytes.split_to(advance.used);
            let kind = lease.scanner.kind();
            if lease.scanner.announced().is_some_and(|length| length >= self.shape.large_bytes) {
                client.session.note_large_reply();
            }
            let done = client.session.handle_pinned(&piece, kind, advance.done, &mut client.out);
            if done.expect("somebody asked for it").is_some() {
                client.land(None);
            }
            if advance.done && client.waiting == Waiting::Reply {
                client.waiting = Waiting::No;
            }
        }
    }

    /// The server says something on a pinned connection that nobody asked for.
    pub fn surplus(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(lease) = &client.lease else { return };
        let quiet = client.flying.is_empty()
            && !lease.begun
            && self.model.connections[lease.connection].output.is_empty();
        if client.closed || !quiet {
            return;
        }
        let result = client.session.handle_pinned(b"+SURPLUS\r\n", b'+', true, &mut client.out);
        assert!(result.is_err(), "a reply that nobody asked for was taken for something");
        self.lose_lease(at, Loss::OutcomeUnknown);
    }

    /// A client's pinned connection is gone.
    pub fn lose_lease(&mut self, at: usize, loss: Loss) {
        let client = &mut self.clients[at];
        let Some(lease) = client.lease.take() else { return };
        let (begun, line) = (client.session.reply_has_begun(), line_of(loss));
        let connection = &self.model.connections[lease.connection];
        let reason = self.shape.transparent
            || connection.subscribed()
            || connection.tracking
            || lease.begun
            || client.flying.iter().any(|f| {
                f.route == Route::Pinned && (f.name.ends_with("subscribe") || f.name == "client")
            })
            || client.reference.model.connections[0].subscribed()
            || (self.shape.on_outage == OnOutage::Close
                && loss.is_outage()
                && !connection.watched.is_empty());
        assert!(!begun || lease.begun, "a reply has begun and none did");
        client.check();
        let fatal = client.session.handle_lease_lost(loss, &mut client.out);
        if client.waiting == Waiting::Reply {
            client.waiting = Waiting::No;
        }
        if client.session.is_cut() && client.cut.is_none() && !begun && !fatal {
            let number = client.flying.front().map_or(OWN, |flying| flying.number);
            client.cut(number);
            return self.hang_up(lease.connection);
        }
        if fatal || begun {
            assert!(client.session.is_cut() || reason, "sent away without need");
            self.hang_up(lease.connection);
            return self.close(at);
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
                client.reference.lose(flying.number, &line);
            }
        }
        client.reference.lose_state(client.session.key().database);
        self.hang_up(lease.connection);
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
                client.reference.receive(&client.out.split());
            }
            if !client.flies(entry.ticket) {
                assert!(client.cut.is_some(), "nobody waits for a reply");
                continue;
            }
            client.session.handle_loss(entry.ticket, loss, &mut client.out).expect("it waits");
            if client.session.is_cut() && !begun {
                client.cut(entry.number);
                continue;
            }
            let flying = client.land(Some(entry.ticket));
            client.reference.lose(flying.number, &line_of(loss));
            if begun {
                self.close(entry.client);
            }
        }
    }

    /// The first `count` requests in a shared connection's line have waited too long.
    pub fn expire_shared(&mut self, at: usize, count: usize) {
        let shared = &mut self.shared[at];
        for (index, entry) in shared.line.iter_mut().enumerate().take(count) {
            let client = &mut self.clients[entry.client];
            if entry.abandoned || (index == 0 && shared.begun) || client.closed {
                continue;
            }
            if !client.flies(entry.ticket) {
                assert!(client.cut.is_some(), "nobody waits for a reply");
                continue;
            }
            entry.abandoned = true;
            let executed = entry.executed == entry.commands.len();
            client
                .session
                .handle_loss(entry.ticket, Loss::TimedOut, &mut client.out)
                .expect("it waits");
            let flying = client.land(Some(entry.ticket));
            assert!(executed || entry.number == flying.number);
            client.reference.lose(flying.number, &line_of(Loss::TimedOut));
        }
    }

    /// The client is gone, and everything of it.
    pub fn close(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.closed = true;
        client.out.clear();
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
