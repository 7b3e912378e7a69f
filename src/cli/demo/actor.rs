//! Clients whose talk is shown, and what the operator sees of them.
//!
//! Owns: [`Actor`], [`connections`]. Never knows: the play.

use super::screen::{Screen, show};
use super::talk::Client;
use crate::resp::Value;

/// One client that is watched: its commands and replies appear on the screen.
pub(super) struct Actor {
    name: &'static str,
    pub client: Client,
    screen: Screen,
}

impl Actor {
    pub(super) fn new(name: &'static str, client: Client, screen: Screen) -> Self {
        Self { name, client, screen }
    }

    /// Sends the command, whose reply must be shown as `expected`.
    pub(super) fn ask(&mut self, command: &[&str], expected: &str) -> Result<(), String> {
        self.send(command)?;
        self.receive(expected)
    }

    pub(super) fn send(&mut self, command: &[&str]) -> Result<(), String> {
        self.screen.command(self.name, command);
        self.client.send(command)
    }

    pub(super) fn receive(&mut self, expected: &str) -> Result<(), String> {
        let reply = self.client.receive()?;
        self.screen.reply("", &reply);
        as_expected(&reply, expected)
    }

    /// Like [`Self::receive`], after another client has sent a command.
    pub(super) fn receive_late(&mut self, expected: &str) -> Result<(), String> {
        let reply = self.client.receive()?;
        self.screen.reply(&format!("{}< ", self.name), &reply);
        as_expected(&reply, expected)
    }
}

fn as_expected(reply: &Value, expected: &str) -> Result<(), String> {
    let got = show(reply);
    if got == expected { Ok(()) } else { Err(format!("expected {expected}\n  got {got}")) }
}

/// The server's numbers of respgate's connections.
pub(super) fn connections(operator: &mut Client) -> Result<Vec<String>, String> {
    let list = operator.ask(&["CLIENT", "LIST"])?;
    let list = String::from_utf8_lossy(list.as_bytes().unwrap_or_default()).into_owned();
    let of_respgate = list.lines().filter(|line| line.contains(" user=app1 "));
    let numbers = of_respgate.filter_map(|line| line.split(' ').next()?.strip_prefix("id="));
    Ok(numbers.map(str::to_owned).collect())
}
