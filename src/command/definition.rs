//! A command that the table does not have, as a configuration declares it.
//!
//! Owns: [`Definition`], [`define_all`]. Never knows: ids, where a configuration is written.

use std::fmt;

use super::lookup::by_name;
use super::{Access, Categories, Effect, Flags, KeyKind, KeySpec, Timeout};
use crate::config::{Commands, CustomCommand, KeyAccess, KeyPlace, KeySpan, ReplyKeys};

/// All about a command but its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Lower case; a subcommand is `container|subcommand`.
    pub name: String,
    pub arity: i16,
    pub flags: Flags,
    pub categories: Categories,
    pub keys: Vec<KeySpec>,
    pub effect: Effect,
    pub reply_keys: ReplyKeys,
}

impl Definition {
    /// A command that is nothing but its subcommands.
    pub(super) fn container(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            arity: -2,
            flags: Flags::MODULE,
            categories: Categories::default(),
            keys: vec![KeySpec::Unknown],
            effect: Effect::Shared,
            reply_keys: ReplyKeys::None,
        }
    }

    /// The command itself, or the container of a subcommand.
    pub(super) fn head(&self) -> &str {
        self.name.split('|').next().unwrap_or_default()
    }
}

/// Why a command cannot be declared so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionError {
    /// The setting that is wrong.
    pub key: String,
    pub problem: String,
    pub hint: &'static str,
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.key, self.problem, self.hint)
    }
}

impl std::error::Error for DefinitionError {}

/// What the declarations of a configuration mean. The table comes first: what it has cannot be
/// declared.
///
/// # Errors
///
/// For each command the first thing that is wrong with it.
pub(crate) fn define_all(commands: &Commands) -> Result<Vec<Definition>, Vec<DefinitionError>> {
    let (mut definitions, mut errors) = (Vec::new(), Vec::new());
    for custom in &commands.custom {
        match define(custom) {
            Ok(definition) => definitions.push(definition),
            Err((field, problem, hint)) => {
                errors.push(DefinitionError { key: custom.key(field), problem, hint });
            }
        }
    }
    if errors.is_empty() { Ok(definitions) } else { Err(errors) }
}

/// The setting that is wrong (none: the command as such), how, and what to do.
type Wrong = (Option<&'static str>, String, &'static str);

fn define(custom: &CustomCommand) -> Result<Definition, Wrong> {
    let fail = |field, problem: String, hint| Err((field, problem, hint));
    let head = custom.name.split('|').next().unwrap_or_default();
    if by_name(head).is_some() {
        let problem = format!("respgate knows the command '{head}' already");
        return fail(None, problem, "remove it: what respgate knows cannot be changed");
    }
    let mut flags = Flags::MODULE;
    for word in &custom.flags {
        match Flags::from_name(word) {
            // A command with it would pass without authentication and whatever the rules.
            Some(Flags::NO_AUTH) | None => {
                let hint = "write \"readonly\" or \"write\", and others of COMMAND INFO";
                return fail(Some("flags"), format!("'{word}' is no flag for it"), hint);
            }
            Some(flag) => flags = flags.with(flag),
        }
    }
    let mut keys = match &custom.keys {
        None => vec![KeySpec::Unknown],
        Some(places) => places.iter().map(key_spec).collect(),
    };
    keys.dedup();
    if custom.keys.iter().flatten().any(|place| place.channel) {
        flags = flags.with(Flags::PUBSUB);
    }
    if flags.has(Flags::READONLY.with(Flags::WRITE)) {
        let problem = "both readonly and write".to_owned();
        return fail(Some("flags"), problem, "keep \"write\" if it may change anything");
    }
    let writes = |place: &KeyPlace| !place.channel && place.access != KeyAccess::Read;
    if flags.has(Flags::READONLY) && custom.keys.iter().flatten().any(writes) {
        let problem = "a readonly command that writes keys".to_owned();
        return fail(Some("keys"), problem, "write access = \"read\", or flags = [\"write\"]");
    }
    if flags.has(Flags::BLOCKING) && !custom.pinned {
        let problem = "a command that waits would hold up every client".to_owned();
        return fail(Some("flags"), problem, "add connection = \"pinned\"");
    }
    let mut categories = implied(flags);
    for word in &custom.categories {
        let Some(category) = Categories::from_name(word) else {
            let problem = format!("there is no category '{word}'");
            return fail(Some("categories"), problem, "ACL CAT of the server lists them");
        };
        categories = categories.with(category);
    }
    let effect = if custom.pinned { Effect::Block(Timeout::Unknown) } else { Effect::Shared };
    Ok(Definition {
        name: custom.name.clone(),
        arity: custom.arity,
        flags,
        categories,
        keys,
        effect,
        reply_keys: custom.reply_keys,
    })
}

fn key_spec(place: &KeyPlace) -> KeySpec {
    let kind = if place.channel { KeyKind::Channel } else { KeyKind::Key };
    let access = match place.access {
        KeyAccess::Read => Access::READ,
        KeyAccess::Write => Access::WRITE,
        KeyAccess::ReadWrite => Access::READ_WRITE,
    };
    match place.span {
        KeySpan::At(arg) => KeySpec::At { arg, kind, access },
        KeySpan::From { first, step, spare } => {
            KeySpec::Span { first, step, spare, least: 1, kind, access }
        }
        KeySpan::Counted { count, step } => KeySpec::Counted { count, step, least: 0, access },
    }
}

/// The categories that the server gives by itself (acl.c, `ACLAddImplicitCategories` and similar).
fn implied(flags: Flags) -> Categories {
    let when = |flag, category| if flags.has(flag) { category } else { Categories::default() };
    when(Flags::WRITE, Categories::WRITE)
        .with(when(Flags::READONLY, Categories::READ))
        .with(when(Flags::ADMIN, Categories::ADMIN.with(Categories::DANGEROUS)))
        .with(when(Flags::PUBSUB, Categories::PUBSUB))
        .with(when(Flags::BLOCKING, Categories::BLOCKING))
        .with(if flags.has(Flags::FAST) { Categories::FAST } else { Categories::SLOW })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    fn custom(name: &str) -> CustomCommand {
        CustomCommand {
            name: name.to_owned(),
            arity: -2,
            flags: Vec::new(),
            categories: Vec::new(),
            keys: None,
            pinned: false,
            reply_keys: ReplyKeys::None,
        }
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn declared_commands_and_what_follows() {
        let at = |span, access| KeyPlace { span, access, channel: false };
        let definition = define(&CustomCommand {
            flags: words(&["write", "fast", "denyoom"]),
            categories: words(&["json"]),
            keys: Some(vec![
                at(KeySpan::At(1), KeyAccess::Write),
                at(KeySpan::From { first: 2, step: 3, spare: 1 }, KeyAccess::Read),
                at(KeySpan::Counted { count: 4, step: 1 }, KeyAccess::ReadWrite),
                KeyPlace { channel: true, ..at(KeySpan::At(5), KeyAccess::Write) },
            ]),
            ..custom("json.set")
        });
        let definition = definition.unwrap();
        assert_eq!(
            definition.categories.names().collect::<Vec<_>>(),
            ["write", "pubsub", "fast", "json"]
        );
        assert_eq!(
            definition.flags.names().collect::<Vec<_>>(),
            ["write", "denyoom", "module", "pubsub", "fast"]
        );
        let (kind, write, read) = (KeyKind::Key, Access::WRITE, Access::READ);
        assert_eq!(
            definition.keys,
            [
                KeySpec::At { arg: 1, kind, access: write },
                KeySpec::Span { first: 2, step: 3, spare: 1, least: 1, kind, access: read },
                KeySpec::Counted { count: 4, step: 1, least: 0, access: Access::READ_WRITE },
                KeySpec::At { arg: 5, kind: KeyKind::Channel, access: write },
            ]
        );
        assert_eq!(define(&custom("x.y")).unwrap().keys, [KeySpec::Unknown]);
        let none = CustomCommand { keys: Some(Vec::new()), ..custom("x.y") };
        assert_eq!(define(&none).unwrap().keys, []);
        let pinned =
            CustomCommand { pinned: true, flags: words(&["blocking"]), ..custom("ft.wait") };
        assert_eq!(define(&pinned).unwrap().effect, Effect::Block(Timeout::Unknown));
    }

    #[test]
    fn invalid_declarations_are_refused() {
        let writes =
            KeyPlace { span: KeySpan::At(1), access: KeyAccess::ReadWrite, channel: false };
        let flags = |list: &[&str]| CustomCommand { flags: words(list), ..custom("x.y") };
        for (custom, field, problem) in [
            (custom("get"), None, "respgate knows the command 'get' already"),
            (custom("config|new"), None, "respgate knows the command 'config' already"),
            (flags(&["read"]), Some("flags"), "'read' is no flag for it"),
            (flags(&["no_auth"]), Some("flags"), "'no_auth' is no flag for it"),
            (flags(&["readonly", "write"]), Some("flags"), "both readonly and write"),
            (
                flags(&["blocking"]),
                Some("flags"),
                "a command that waits would hold up every client",
            ),
            (
                CustomCommand { keys: Some(vec![writes]), ..flags(&["readonly"]) },
                Some("keys"),
                "a readonly command that writes keys",
            ),
            (
                CustomCommand { categories: words(&["all"]), ..custom("x.y") },
                Some("categories"),
                "there is no category 'all'",
            ),
        ] {
            let (wrong, found, _) = define(&custom).unwrap_err();
            assert_eq!((wrong, found.as_str()), (field, problem));
        }
    }
}
