//! The chapter of the tour in which files change under load.
//!
//! Owns: [`chapter`]. Never knows: how a reload works.

use std::sync::atomic::{AtomicBool, Ordering};

use super::actor::{Actor, connections};
use super::process::wait_until;
use super::screen::{Screen, show};
use super::stage::{RULES, Stage};
use super::talk::Client;

const WORKERS: usize = 8;
const GENERATION: &str = "respgate_tls_identity_generation";
const APPLIED: &str = "respgate_reload_attempts_total{what=\"config\",result=\"applied\"}";

pub(super) fn chapter(stage: &mut Stage, screen: Screen) -> Result<(), String> {
    certificate(stage, screen)?;
    rules(stage, screen)
}

/// Replaces the certificate while clients write and read back without pause.
fn certificate(stage: &Stage, screen: Screen) -> Result<(), String> {
    let clients: Result<Vec<_>, _> = (0..WORKERS).map(|_| stage.client()).collect();
    let clients = clients?;
    let end = AtomicBool::new(false);
    let (rotated, worked) = std::thread::scope(|scope| {
        let work = |(number, client)| {
            let end = &end;
            scope.spawn(move || work(number, client, end))
        };
        let workers: Vec<_> = clients.into_iter().enumerate().map(work).collect();
        let rotated = rotate(stage, screen);
        end.store(true, Ordering::Relaxed);
        let ended = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| Err("a client has crashed".to_owned())));
        (rotated, ended.collect::<Result<Vec<_>, _>>())
    });
    let commands: u64 = worked?.iter().sum();
    rotated?;
    screen.line(&format!("{WORKERS} clients have sent {commands} commands meanwhile; 0 failed"));
    Ok(())
}

fn rotate(stage: &Stage, screen: Screen) -> Result<(), String> {
    let mut operator = stage.operator()?;
    let before = connections(&mut operator)?;
    let old = stage.metric(GENERATION)?;
    stage.rotate()?;
    screen.line("a new certificate and key replace the old ones");
    wait_until("the next generation", || Ok(stage.metric(GENERATION)? > old))?;
    wait_until("the old connections to be replaced", || {
        let present = connections(&mut operator)?;
        Ok(!present.is_empty() && before.iter().all(|number| !present.contains(number)))
    })?;
    screen.line(&format!(
        "generation {old} -> {}; {} connections of the old one are replaced",
        stage.metric(GENERATION)?,
        before.len()
    ));
    Ok(())
}

/// Writes and reads back until `end`; how many commands were answered as they should be.
fn work(number: usize, mut client: Client, end: &AtomicBool) -> Result<u64, String> {
    let key = format!("app1:load:{number}");
    let mut commands = 0;
    while !end.load(Ordering::Relaxed) {
        let value = commands.to_string();
        for (command, expected) in
            [(&["SET", &key, &value][..], "OK"), (&["GET", &key], &format!("{value:?}"))]
        {
            let got = show(&client.ask(command)?);
            if got != expected {
                let command = command.join(" ");
                return Err(format!(
                    "after {commands} commands: {command}\n  expected {expected}\n  got {got}"
                ));
            }
            commands += 1;
        }
    }
    Ok(commands)
}

/// Changes the rules in the configuration file, for a client that stays connected.
fn rules(stage: &Stage, screen: Screen) -> Result<(), String> {
    const COMMAND: [&str; 3] = ["CONFIG", "GET", "maxmemory"];
    const REFUSED: &str =
        "(error) NOPERM this user has no permissions to run the 'config|get' command";
    let mut app = Actor::new("app", stage.client()?, screen);
    app.ask(&COMMAND, REFUSED)?;
    save(stage, &format!("{RULES} +config|get"))?;
    screen.line("+config|get is added to the rules in the configuration file");
    app.ask(&COMMAND, "[\"maxmemory\", \"0\"]")?;
    save(stage, RULES)?;
    screen.line("and taken away");
    app.ask(&COMMAND, REFUSED)
}

/// Writes the configuration and waits until it is in force.
fn save(stage: &Stage, rules: &str) -> Result<(), String> {
    let before = stage.metric(APPLIED)?;
    stage.write_configuration(rules)?;
    wait_until("the new rules", || Ok(stage.metric(APPLIED)? > before))
}
