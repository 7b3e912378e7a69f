//! The attacker's side: one application tries every known way to see, name or touch what belongs to
//! another, and every form of its own work goes on meanwhile.
//!
//! Owns: which server, mode and disguise each attack is tried in. Never knows: how a policy decides.
//!
//! What is listed as an attack comes from the notes on namespaces and from reading the parsers of
//! the servers; what must hold afterwards is asked of the server itself, past respgate.
use crate::support;
mod attacks;
mod disguise;
mod legitimate;
mod sessions;
mod world;

use attacks::{ATTACKS, Attack, SCRIPTS};
use disguise::WAYS;
use support::real_server::Brand;
use world::{Mode, World};

fn storm(world: &mut World, attacks: &[Attack]) {
    for attack in attacks {
        for way in WAYS {
            world.attempt(attack, way);
        }
        world.look_around(attack.name);
    }
    world.close();
}

#[test]
fn redis_with_plain_keys_lets_no_key_escape() {
    storm(&mut World::new(Brand::Redis, Mode::Enforce), ATTACKS);
}

#[test]
fn redis_with_a_prefix_lets_no_key_escape() {
    storm(&mut World::new(Brand::Redis, Mode::Rewrite), ATTACKS);
}

#[test]
fn valkey_with_plain_keys_lets_no_key_escape() {
    if Brand::Valkey.available() {
        storm(&mut World::new(Brand::Valkey, Mode::Enforce), ATTACKS);
    }
}

#[test]
fn valkey_with_a_prefix_lets_no_key_escape() {
    if Brand::Valkey.available() {
        storm(&mut World::new(Brand::Valkey, Mode::Rewrite), ATTACKS);
    }
}

/// Scripts build names that no proxy can see: here the server's own user holds them back, with the
/// rules that `respgate acl` prints.
#[test]
fn scripts_stay_inside_with_the_rules_that_respgate_prints() {
    for mode in [Mode::Enforce, Mode::Rewrite] {
        storm(&mut World::with_server_rules(mode), SCRIPTS);
    }
}
