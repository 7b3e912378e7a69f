//! What happens next: the client's requests and the world's accidents, in proportions that each run
//! chooses for itself.
//!
//! Owns: [`Grammar`], [`run`]. Never knows: what must hold.

use std::time::Instant;

use respgate::internals::config::OnOutage;
use respgate::internals::downstream::conversation::PendingStep;
use respgate::internals::traffic::{Loss, Unavailable};

use super::choices::Choices;
use super::conversations::conversation;
use super::model::Words;
use super::world::{Shape, World};

/// What may happen, in the order of [`Grammar::actions`].
const ACTIONS: usize = 14;
const NAMES: [&str; ACTIONS] = [
    "ask",
    "turn",
    "write",
    "serve shared",
    "serve pinned",
    "deliver shared",
    "deliver pinned",
    "grant and outside",
    "lose shared",
    "lose lease",
    "expire shared",
    "surplus",
    "close",
    "hold back",
];
/// Kinds of requests, in the order of [`Grammar::request`].
const REQUESTS: usize = 16;

/// The proportions of one run.
#[derive(Debug)]
pub struct Grammar {
    actions: [usize; ACTIONS],
    requests: [usize; REQUESTS],
    /// Connections are lost, and the server refuses requests.
    faults: bool,
    forbids: usize,
    /// Percent of requests that are sent in conversations, and of bytes that are delivered in small pieces.
    conversations: usize,
    small: usize,
    tag: usize,
}

impl Grammar {
    pub fn draw(choices: &mut Choices) -> Self {
        let faults = choices.chance(50);
        let mut actions = [0; ACTIONS];
        for (index, weight) in actions.iter_mut().enumerate() {
            let often = if index < 8 { [2, 10, 30] } else { [0, 1, 3] };
            *weight = *choices.pick(&often);
        }
        if !faults {
            actions[8..].fill(0);
        }
        let mut requests = [0; REQUESTS];
        for weight in &mut requests {
            *weight = *choices.pick(&[0, 0, 1, 4, 10]);
        }
        requests[0] += 1;
        let forbids = if faults { *choices.pick(&[0, 0, 10, 40]) } else { 0 };
        let conversations = *choices.pick(&[0, 20, 60]);
        let small = *choices.pick(&[0, 30, 90]);
        Self { actions, requests, faults, forbids, conversations, small, tag: 0 }
    }

    /// A client's next requests.
    pub fn requests(&mut self, choices: &mut Choices, client: usize) -> Vec<Words> {
        if choices.chance(self.conversations) {
            self.tag += 1;
            return conversation(choices, client, &format!("c{client}-{}", self.tag));
        }
        vec![self.request(choices, client)]
    }

    fn request(&mut self, choices: &mut Choices, client: usize) -> Words {
        let kind = choices.weighted(&self.requests);
        let key = |choices: &mut Choices| format!("c{client}:k{}", choices.below(3));
        let list = |choices: &mut Choices| format!("c{client}:q{}", choices.below(2));
        let channel = |choices: &mut Choices| format!("c{client}:ch{}", choices.below(3));
        self.tag += 1;
        let tag = format!("c{client}-{}", self.tag);
        match kind {
            0 => words(&["ECHO", &tag]),
            1 => words(&["SET", &key(choices), &tag]),
            2 => words(&[*choices.pick(&["GET", "GET", "INCR", "DEL"]), &key(choices)]),
            3 => words(&["MGET", &key(choices), &key(choices)]),
            4 => words(&["MULTI"]),
            5 => words(&[*choices.pick(&["EXEC", "EXEC", "EXEC", "DISCARD"])]),
            6 => words(&["WATCH", &key(choices)]),
            7 => words(&["UNWATCH"]),
            8 => match choices.below(3) {
                0 => words(&["RPUSH", &list(choices), &tag]),
                1 => words(&["LRANGE", &list(choices), "0", "-1"]),
                _ => words(&["BLPOP", &list(choices), &list(choices), "0"]),
            },
            9 => {
                let name = *choices.pick(&["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"]);
                let more = channel(choices);
                if choices.chance(50) {
                    words(&[name, &more])
                } else {
                    words(&[name, &more, "c:other"])
                }
            }
            10 => {
                let name = *choices.pick(&["UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"]);
                let one = channel(choices);
                if self.requests[4] == 0 && choices.chance(50) {
                    words(&[name])
                } else {
                    words(&[name, &one])
                }
            }
            11 => words(&["SELECT", *choices.pick(&["0", "1", "2", "9", "x"])]),
            12 => match choices.below(4) {
                0 => words(&["RESET"]),
                1 => words(&["HELLO", "2"]),
                2 => words(&["HELLO", "3"]),
                _ => words(&["HELLO", *choices.pick(&["4", "x", "3"])]),
            },
            13 => match choices.below(5) {
                0 => words(&["CLIENT", "ID"]),
                1 => words(&["CLIENT", "SETNAME", &tag]),
                2 => words(&["CLIENT", "GETNAME"]),
                3 => {
                    words(&["CLIENT", "REPLY", *choices.pick(&["ON", "ON", "OFF", "SKIP", "SKIP"])])
                }
                _ => words(&["CLIENT", "TRACKING", *choices.pick(&["ON", "OFF"])]),
            },
            14 => match choices.below(6) {
                0 => words(&["NOSUCH", &tag]),
                1 => words(&["GET"]),
                2 => words(&["EXEC", "now"]),
                3 => words(&["WAIT", "0", "0"]),
                4 => words(&["PING", &tag]),
                _ => words(&["PING"]),
            },
            _ => {
                let long = tag.repeat(20);
                words(&["SET", &key(choices), &long])
            }
        }
    }

    fn act(&mut self, world: &mut World, choices: &mut Choices) {
        let client = choices.below(world.clients.len());
        let shared = world.shared.len();
        let small = self.small;
        let piece = |choices: &mut Choices| {
            if choices.chance(small) { choices.below(8) + 1 } else { usize::MAX }
        };
        let action = choices.weighted(&self.actions);
        if world.shape.loud && action > 0 {
            eprintln!("  {} client {client}", NAMES[action]);
        }
        match action {
            0 => {
                for _ in 0..=choices.below(4) {
                    let requests = self.requests(choices, client);
                    let client = &mut world.clients[client];
                    if !client.closed && !client.disconnecting && client.pending.len() < 50 {
                        client.pending.extend(requests);
                    }
                }
            }
            1 => {
                let refuse = self.faults && choices.chance(3);
                let small = choices.chance(small);
                let piece = if small { choices.below(40) + 1 } else { usize::MAX };
                world.turn(client, choices.below(8) + 1, piece, refuse);
            }
            2 if shared > 0 => {
                let at = choices.below(shared);
                world.write(at, choices.below(6) + 1);
            }
            3 if shared > 0 => world.serve_shared(choices.below(shared)),
            4 => world.serve_pinned(client, choices.chance(self.forbids)),
            5 if shared > 0 => world.deliver_shared(choices.below(shared), piece(choices)),
            6 => world.deliver_pinned(client, piece(choices)),
            7 => {
                let why = *choices.pick(&[Unavailable::Exhausted, Unavailable::Connect]);
                let deny = (self.faults && choices.chance(15)).then_some(Loss::Unavailable(why));
                world.grant(client, deny);
                world.open(client, deny);
                self.outside(world, choices, client);
            }
            8 if shared > 0 => world.lose_shared(choices.below(shared)),
            9 => {
                let loss = *choices.pick(&[Loss::OutcomeUnknown, Loss::TimedOut]);
                world.lose_lease(client, loss);
            }
            10 if shared > 0 => world.expire_shared(choices.below(shared), choices.below(6)),
            11 => world.surplus(client),
            12 if choices.chance(5) => world.close(client),
            13 => {
                let bytes = if choices.chance(70) { choices.below(120) } else { usize::MAX };
                world.hold_back(client, bytes);
            }
            _ => {}
        }
    }

    /// Another client writes, pushes or publishes, or time passes.
    fn outside(&mut self, world: &mut World, choices: &mut Choices, client: usize) {
        self.tag += 1;
        let value = self.tag.to_string().into_bytes();
        let n = choices.below(3);
        match choices.below(8) {
            0 => {
                let database = u32::try_from(choices.below(2)).unwrap();
                let key = format!("c{client}:k{n}");
                world.happen(client, &key, |model, key| {
                    model.set_from_outside(database, key, &value);
                });
            }
            1 => {
                let key = format!("c{client}:q{}", n % 2);
                world.happen(client, &key, |model, key| model.push_from_outside(0, key, &value));
            }
            2 | 3 => {
                let channel = format!("c{client}:ch{n}");
                let shard = choices.chance(30);
                world.happen(client, &channel, |model, channel| {
                    model.publish(channel, &value, shard);
                });
            }
            4 => world.time_out(client),
            _ => {}
        }
    }
}

fn words(words: &[&str]) -> Words {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// One run; `happens` is asked before each step whether it is taken.
pub fn run(
    choices: &mut Choices,
    steps: usize,
    now: Instant,
    loud: bool,
    happens: &mut dyn FnMut(&mut Choices) -> bool,
) {
    let dedicated = choices.chance(25);
    let transparent = dedicated && choices.chance(60);
    let shape = Shape {
        clients: choices.below(3) + 1,
        dedicated,
        transparent,
        on_outage: *choices.pick(&[OnOutage::Close, OnOutage::Error]),
        max_in_flight: *choices.pick(&[1024, 1024, 1, 4]),
        large_bytes: *choices.pick(&[1 << 16, 1 << 16, 60]),
        prefix: if choices.chance(33) && !transparent { "app:" } else { "" },
        loud,
    };
    let mut grammar = Grammar::draw(choices);
    let mut world = World::new(shape, now);
    for _ in 0..steps {
        if choices.exhausted() {
            break;
        }
        if happens(choices) {
            grammar.act(&mut world, choices);
        }
        world.check();
    }
    world.drain();
    world.clients.iter().for_each(super::client::Client::finish);
    world.check_leases();
    for client in world.clients.iter().filter(|client| !client.closed) {
        assert_eq!(client.waiting(), PendingStep::No);
    }
}
