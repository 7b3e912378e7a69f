//! Any session, over any connections and with any faults, gets the replies that one Redis would have sent.
//!
//! Owns: which seeds are run. Never knows: what happens in a run.
//!
//! `RESPGATE_SEEDS=10000` or `RESPGATE_SEEDS=5000..9000` runs other seeds, `RESPGATE_SEED=7` one.

use crate::support;
use std::collections::VecDeque;

use respgate::internals::base::clock;
use respgate::internals::config::OnOutage;
use respgate::internals::downstream::conversation::PendingStep;

#[path = "session_sim/sim.rs"]
mod sim;

use respgate::internals::resp::Protocol;
use sim::choices::Choices;
use sim::grammar::Grammar;
use sim::model::{DATABASES, Model};
use sim::reference::{frames, show};
use sim::world::{Shape, World, facts};
use support::client::{Client, Got, encode};
use support::real_server::{Brand, Server};
use support::seeds;
use support::shrink::{Replay, explain};

const SEEDS: u64 = 600;
/// Seeds of a rare accident, each with a fault that no scene here is known for: a subscription that is lost while
/// HELLO waits for a shared connection.
const RARE: [u64; 1] = [115_593];
const MODEL_SEEDS: u64 = 20;
const STEPS: usize = 400;

#[test]
fn every_conversation_is_one_with_redis() {
    let now = clock::now();
    let run = |seed, loud, replay: &mut Replay<Choices>| {
        let mut choices = Choices::from_seed(seed);
        let happens = &mut |choices: &mut Choices| replay.step(choices);
        sim::grammar::run(&mut choices, STEPS, now, loud, happens);
    };
    seeds::play_and_explain(
        SEEDS,
        |seed, loud| run(seed, loud, &mut Replay::default()),
        |seed| explain(|replay| run(seed, false, replay)),
    );
}

#[test]
fn rare_conversations_are_ones_with_redis() {
    for seed in RARE {
        let mut choices = Choices::from_seed(seed);
        sim::grammar::run(&mut choices, STEPS, clock::now(), false, &mut |_| true);
    }
}

/// One client, and an outage that closes connections.
fn lone_client() -> World {
    let shape = Shape {
        clients: 1,
        dedicated: false,
        transparent: false,
        on_outage: OnOutage::Close,
        max_in_flight: 4,
        large_bytes: 1 << 16,
        prefix: "",
        loud: false,
    };
    World::new(shape, clock::now())
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// Another client's CLIENT TRACKING requires a pinned connection for this one, whose own request is to be judged
/// again.
#[test]
fn connection_is_not_wanted_for_another_client_while_a_request_is_to_be_judged_again() {
    let mut world = lone_client();
    world.clients[0].pending.extend([words(&["SET", "c0:k", "v"]), words(&["WATCH", "c0:k"])]);
    world.turn(0, 2, usize::MAX, false);
    let key = world.shared[0].key;
    let connection = world.connect(key);
    world.shared[0].connection = Some(connection);
    world.write(0, usize::MAX);
    world.serve_shared(0);
    assert_eq!(world.clients[0].waiting(), PendingStep::Reply);
    world.deliver_shared(0, usize::MAX);
    assert_eq!(world.clients[0].waiting(), PendingStep::No);
    assert!(!world.clients[0].conversation.want_lease(), "WATCH would get the error for it");
    world.turn(0, 1, usize::MAX, false);
    assert!(matches!(world.clients[0].waiting(), PendingStep::Lease(_)), "its own");
}

/// A request is lost in an outage while SELECT behind it waits for a connection, which may open in the same turn.
#[test]
fn connection_that_opens_behind_a_lost_request_keeps_no_client() {
    for opens in [false, true] {
        let mut world = lone_client();
        let requests = [words(&["SET", "c0:k", "v"]), words(&["SELECT", "1"])];
        world.clients[0].pending.extend(requests);
        world.turn(0, 2, usize::MAX, false);
        world.write(0, 1);
        assert!(matches!(world.clients[0].waiting(), PendingStep::Open(_)), "SELECT waits");
        world.lose_shared(0);
        if opens {
            world.drive(0, false, |talk, around| talk.handle_opened(Ok(facts()), around));
        }
        world.check();
        assert!(world.clients[0].closed, "opens: {opens}");
    }
}

/// The simulation can be no truer than its server.
#[test]
fn model_answers_as_redis() {
    if !Brand::Redis.available() {
        return;
    }
    let databases = DATABASES.to_string();
    let server = Server::new(Brand::Redis, false, &["--databases", &databases]);
    if !server.observer().ask_text(&["INFO", "server"]).contains("redis_version:7.0.") {
        return eprintln!("skipped: the model is of Redis 7.0");
    }
    seeds::play(MODEL_SEEDS, |seed, _| compare(&server, seed));
}

fn compare(server: &Server, seed: u64) {
    server.observer().ask(&["FLUSHALL"]);
    let mut client = Client::connect(&server.target()).unwrap();
    let id = client.ask_text(&["CLIENT", "ID"]).trim_start_matches(':').parse().unwrap();
    let mut model = Model::default();
    model.connect(id, Protocol::Resp2, 0);
    let mut choices = Choices::from_seed(seed);
    let mut grammar = Grammar::draw(&mut choices);
    let mut sent = Vec::new();
    let mut pending = VecDeque::new();
    for _ in 0..150 {
        while pending.is_empty() {
            pending.extend(grammar.requests(&mut choices, 0));
        }
        let mut words = pending.pop_front().unwrap();
        if words[0] == b"BLPOP" {
            *words.last_mut().unwrap() = b"0.01".to_vec();
        }
        let connection = &model.connections[0];
        let reply = words[0] == b"CLIENT" && words[1] == b"REPLY";
        if connection.transaction.is_some() && (reply || connection.silent()) {
            continue;
        }
        if connection.tracking && (words[0] == b"RESET" || words.last().unwrap() == b"OFF") {
            // Redis remembers what was read when tracking begins again; the model does not.
            return;
        }
        sent.push(show(&words.join(&b' ')));
        client.send_raw(&encode(&words));
        model.execute(0, &words);
        if model.connections[0].blocked.is_some() {
            model.time_out(0);
        }
        let bytes = model.connections[0].output.split();
        let mut expected: Vec<String> = frames(&bytes).0.into_iter().map(show).collect();
        let mut received: Vec<String> = expected.iter().map(|_| receive(&mut client)).collect();
        if words.len() == 1 && words[0].ends_with(b"UNSUBSCRIBE") {
            // All channels, in no order.
            (expected, received) =
                (vec![expected.len().to_string()], vec![received.len().to_string()]);
        }
        // The keys of invalidations have no order either.
        expected.sort();
        received.sort();
        assert_eq!(received, expected, "seed {seed}: {sent:#?}");
    }
}

fn receive(client: &mut Client) -> String {
    match client.next(support::client::PATIENCE) {
        Got::Reply(reply) => show(&reply),
        other @ (Got::Silence | Got::End) => format!("{other:?}"),
    }
}
