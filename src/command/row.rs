//! The columns of the table of commands, and short names for what its cells hold.
//!
//! Owns: [`Row`]. Never knows: any command.

pub(super) use super::cost::Cost;
pub(super) use super::effect::Effect::{self, *};
pub(super) use super::effect::Timeout;
pub(super) use super::flags::{category as c, flag as f};
pub(super) use super::key_position::Access;
pub(super) use super::key_position::KeyKind::{self, Channel, ChannelPattern, ShardChannel};
pub(super) use super::keys::KeySpec;
pub(super) use super::local::Local;
pub(super) use super::miss::{EmptyReply as Empty, Item, Miss};
pub(super) use super::names::ReplyNames as In;
pub(super) use super::reach::Does::*;
pub(super) use super::reach::PatternAt;
pub(super) use super::reach::Reach::{self, *};
pub(super) use super::script::Script;
pub(super) use super::stores::Stores as S;
pub(super) use super::ttl_effect::{OptionsStart, TtlEffect as T, Unit, WithoutOption};

#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) arity: i16,
    pub(super) flags: u32,
    pub(super) categories: u32,
    pub(super) keys: &'static [KeySpec],
    pub(super) effect: Effect,
    pub(super) reach: Reach,
    pub(super) stores: S,
    pub(super) lifetime: T,
    pub(super) names: In,
    pub(super) script: Option<Script>,
    pub(super) cost: Cost,
    pub(super) miss: Miss,
    pub(super) everywhere: bool,
}

#[rustfmt::skip]
#[allow(clippy::too_many_arguments, reason = "a line of the table")]
pub(super) const fn row(
    name: &'static str, arity: i16, flags: u32, categories: u32, keys: &'static [KeySpec],
    effect: Effect, reach: Reach, stores: S, lifetime: T, names: In, script: Option<Script>, cost: Cost,
    miss: Miss, everywhere: bool,
) -> Row {
    Row {
        name, arity, flags, categories, keys, effect, reach, stores, lifetime, names, script, cost,
        miss, everywhere,
    }
}

pub(super) const L: Cost = Cost::Linear;
pub(super) const NIL: Miss = Miss::Always(Empty::Null);
pub(super) const GONE: Miss = Miss::Always(Empty::Integer(-2));
pub(super) const ZERO: Miss = Miss::Always(Empty::Integer(0));
pub(super) const NO_ITEMS: Miss = Miss::Always(Empty::Array);

pub(super) const N: Access = Access::NONE;
pub(super) const R: Access = Access::READ;
pub(super) const W: Access = Access::WRITE;
pub(super) const RW: Access = Access::READ_WRITE;
pub(super) const SECONDS: T = T::Argument { unit: Unit::Seconds, absolute: false };
pub(super) const MILLISECONDS: T = T::Argument { unit: Unit::Milliseconds, absolute: false };
pub(super) const AT_SECONDS: T = T::Argument { unit: Unit::Seconds, absolute: true };
pub(super) const AT_MILLISECONDS: T = T::Argument { unit: Unit::Milliseconds, absolute: true };

pub(super) const fn at(arg: usize, access: Access) -> KeySpec {
    KeySpec::At { arg, kind: KeyKind::Key, access }
}

pub(super) const fn each(of: Item, first: u8, step: u8) -> Miss {
    Miss::Each { of, first, step }
}

pub(super) const fn with(option: &'static str, without: Empty, with: Empty) -> Miss {
    Miss::With { option, without, with }
}

pub(super) const fn span(
    first: usize,
    step: usize,
    spare: usize,
    least: usize,
    access: Access,
) -> KeySpec {
    KeySpec::Span { first, step, spare, least, kind: KeyKind::Key, access }
}

pub(super) const fn counted(count: usize, step: usize, least: usize, access: Access) -> KeySpec {
    KeySpec::Counted { count, step, least, access }
}

pub(super) const fn channel(arg: usize, kind: KeyKind, access: Access) -> KeySpec {
    KeySpec::At { arg, kind, access }
}

pub(super) const fn channels(first: usize, least: usize, kind: KeyKind, access: Access) -> KeySpec {
    KeySpec::Span { first, step: 1, spare: 0, least, kind, access }
}
