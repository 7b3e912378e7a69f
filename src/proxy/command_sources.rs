//! Commands beyond the table: those that the configuration declares, and those that the server describes.
//!
//! Owns: [`CommandSources`], its logs and metrics. Never knows: policies, when the server is queried.

use std::sync::Arc;

use super::error::StartError;
use crate::base::limits;
use crate::command::{self, CommandInterner, Definition, Dictionary, ServerCommand};
use crate::config::Commands;
use crate::telemetry::Metrics;
use crate::upstream::dial::Dialer;

/// Every command there is for this process.
#[derive(Debug, Default)]
pub(super) struct CommandSources {
    interner: CommandInterner,
    learned: Vec<Definition>,
    /// The answer that was logged last.
    described: Vec<ServerCommand>,
}

/// What came of asking the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Commands that were not known before.
    News,
    Nothing,
    /// No server could be asked.
    Unreachable,
}

impl CommandSources {
    /// The commands that are known under this configuration. `complete`: a rule may name no others,
    /// even where more may be learned.
    ///
    /// # Errors
    ///
    /// Every command that cannot be declared so.
    pub(super) fn dictionary(
        &mut self,
        commands: &Commands,
        complete: bool,
    ) -> Result<Arc<Dictionary>, StartError> {
        let declared = command::define_all(commands).map_err(|errors| {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            StartError::new(all.join("\n"))
        })?;
        let learned: &[Definition] = if commands.learn { &self.learned } else { &[] };
        let grows = commands.learn && !complete;
        let built = Dictionary::new(&declared, learned, grows, &mut self.interner);
        built.map(Arc::new).map_err(|error| StartError::new(format!("commands: {error}")))
    }

    /// Reads the server's commands.
    pub(super) async fn ask(
        &mut self,
        dialer: &Dialer,
        commands: &Commands,
        metrics: &Metrics,
    ) -> Answer {
        let reply = match dialer.commands().await {
            Ok(reply) => reply,
            Err(error) => {
                tracing::debug!(%error, "the server could not be asked for its commands");
                return Answer::Unreachable;
            }
        };
        let Some(described) = command::describe(&reply) else {
            let line = reply.as_ref().split(|byte: &u8| *byte == b'\r').next().unwrap_or_default();
            let answer = String::from_utf8_lossy(line);
            tracing::info!(code = "CMD-I002", %answer, learn = commands.learn, "the server does not answer COMMAND; its commands are not compared with respgate's table");
            return Answer::Nothing;
        };
        if described == self.described {
            return Answer::Nothing;
        }
        self.handle_described(&described, commands, metrics);
        self.described = described;
        Answer::News
    }

    fn handle_described(
        &mut self,
        described: &[ServerCommand],
        commands: &Commands,
        metrics: &Metrics,
    ) {
        let differences = command::differences(described);
        metrics.command_table_differences.set(number(differences.len()));
        if !differences.is_empty() {
            tracing::warn!(code = "CMD-W001", count = differences.len(), differences = %some(&differences, "; "), "the server's COMMAND reply differs from respgate's table; the table is used");
        }
        let mut learned = command::learn(described);
        learned.definitions.truncate(limits::LEARNED_COMMANDS_MAX);
        let refused: Vec<String> =
            learned.refused.iter().map(|(name, why)| format!("{name} ({why})")).collect();
        let names: Vec<String> = learned.definitions.iter().map(|own| own.name.clone()).collect();
        metrics.command_table_missing.set(number(names.len() + refused.len()));
        match (commands.learn, names.is_empty(), refused.is_empty()) {
            (_, true, true) => {}
            (true, ..) => {
                tracing::info!(code = "CMD-I001", count = names.len(), commands = %some(&names, ", "), unknown = %some(&refused, "; "), "commands learned from the server; the unknown ones are refused");
            }
            (false, ..) => {
                let all: Vec<String> = names.into_iter().chain(refused).collect();
                tracing::info!(code = "CMD-I001", count = all.len(), commands = %some(&all, ", "), "the server has commands that are refused because they are not known; declare them in [commands.custom], or set commands.learn");
            }
        }
        self.learned = learned.definitions;
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The first few, and how many there are besides.
fn some(texts: &[String], between: &str) -> String {
    let shown: Vec<&str> =
        texts.iter().take(limits::LOGGED_NAMES_MAX).map(String::as_str).collect();
    let more = texts.len().saturating_sub(limits::LOGGED_NAMES_MAX);
    let more = if more == 0 { String::new() } else { format!("{between}{more} more") };
    shown.join(between) + &more
}
