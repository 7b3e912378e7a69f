//! `demo`: a throwaway server, certificates and proxy on this machine, and a tour of what they do.
//!
//! Owns: the order of the demonstration, its end. Never knows: production.

mod actor;
mod process;
mod rotation;
mod screen;
mod stage;
mod talk;
mod tour;

use std::process::ExitCode;
use std::time::Duration;

use super::args::Demo;
use super::interrupt::Interrupt;
use super::output::Output;
use super::verb::Verb;
use crate::base::limits;
use screen::Screen;
use stage::Stage;
use talk::Target;

/// Starts server and respgate, runs each step and serves until a signal ends it; 0 when every step
/// succeeded.
impl Verb for Demo {
    fn run(self, output: Output) -> ExitCode {
        let shown = Interrupt::listen().and_then(|interrupt| show(output, &self, &interrupt));
        match shown {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                output.print_error(&format!("respgate demo: {}", error.trim_end()));
                ExitCode::FAILURE
            }
        }
    }
}

fn show(output: Output, arguments: &Demo, interrupt: &Interrupt) -> Result<(), String> {
    let screen = Screen::new(output);
    let progress = output.progress("starting the server and respgate");
    let stage = Stage::set(arguments);
    drop(progress);
    let mut stage = stage?;
    introduce(&stage, screen);
    let outcome = play(&mut stage, screen, arguments.once, interrupt);
    let outcome = outcome.map_err(|error| format!("{error}\n{}", stage.last_lines()))?;
    screen.heading(match outcome {
        Ending::Finished => "Everything was as it should be.",
        Ending::Interrupted => "Terminated by a signal.",
    });
    let directory = stage.directory().display().to_string();
    drop(stage);
    let left = if arguments.keep { "left behind" } else { "removed" };
    screen.line(&format!("server and respgate ended, {directory} {left}"));
    Ok(())
}

/// How a demonstration without a fault ends.
enum Ending {
    Finished,
    Interrupted,
}

fn play(
    stage: &mut Stage,
    screen: Screen,
    once: bool,
    interrupt: &Interrupt,
) -> Result<Ending, String> {
    for (title, chapter) in tour::CHAPTERS {
        if interrupt.within(Duration::ZERO) {
            return Ok(Ending::Interrupted);
        }
        screen.heading(title);
        chapter(stage, screen)?;
    }
    if once {
        return Ok(Ending::Finished);
    }
    stage.start_gate()?;
    invite(stage, screen);
    while !interrupt.within(limits::DEMO_CHECK_INTERVAL) {
        stage.check()?;
    }
    let gate = stage.gate()?;
    gate.terminate()?;
    gate.await_end()?;
    Ok(Ending::Interrupted)
}

fn introduce(stage: &Stage, screen: Screen) {
    screen.heading("respgate demo");
    let [first, socket] = [stage.listeners.first(), stage.listeners.last()];
    let place = |target: Option<&Target>| target.map(ToString::to_string).unwrap_or_default();
    let Stage { server_name, server_address, .. } = stage;
    for (name, what) in [
        ("server", format!("{server_name} on {server_address}, mutual TLS only")),
        ("respgate", format!("plain RESP on {}", place(first))),
        ("", format!("and on {}", place(socket))),
        ("files", format!("{}", stage.directory().display())),
    ] {
        screen.line(&format!("{name:10}{what}"));
    }
    for note in &stage.notes {
        screen.line(&format!("note      {note}"));
    }
}

fn invite(stage: &Stage, screen: Screen) {
    screen.heading("Your turn: respgate runs again, until Ctrl-C");
    let mut ways: Vec<String> = Vec::new();
    for listener in &stage.listeners {
        ways.push(match listener {
            Target::Tcp(address) => {
                format!("redis-cli -h {} -p {}", address.ip(), address.port())
            }
            Target::Unix(path) => format!("redis-cli -s {}", path.display()),
        });
    }
    for (name, what) in [
        ("connect", ways.join("\n            ")),
        ("metrics", format!("curl http://{}/metrics", stage.telemetry)),
        (
            "config",
            format!("{}   (save it, and it is read again)", stage.configuration().display()),
        ),
        ("log", stage.log().display().to_string()),
    ] {
        screen.line(&format!("{name:10}{what}"));
    }
    screen.line(&format!("Keys begin with {}", stage::PREFIX));
}
