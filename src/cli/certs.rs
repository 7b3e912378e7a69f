//! `certs inspect`: what is in PEM files, for people and for programs.
//!
//! Owns: both forms of the report, the exit code. Never knows: how certificates are judged.

use std::process::ExitCode;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::args::{Certs, CertsCommand, Inspect, Role};
use super::output::Output;
use super::verb::Verb;
use super::{certs_dev, exit};
use crate::base::clock;
use crate::tls::TlsError;
use crate::tls::calendar;
use crate::tls::inspect::{
    Certificate, Inspection, Item, Place, Purpose, Recipe, Signer, Verdict, verdict,
};

impl Verb for Certs {
    fn run(self, output: Output) -> ExitCode {
        match self.command {
            CertsCommand::Inspect(inspect) => report(&inspect, output),
            CertsCommand::Dev(dev) => certs_dev::make(&dev, output),
        }
    }
}

fn report(arguments: &Inspect, output: Output) -> ExitCode {
    let output = output.with_json(arguments.answer.json);
    let inspection = Inspection::read(&arguments.files);
    let view = View {
        purposes: match arguments.purpose {
            Some(role) => vec![purpose(role)],
            None => Purpose::ALL.to_vec(),
        },
        asked: arguments.purpose.is_some(),
        host: arguments.host.as_deref(),
        now: clock::wall(),
    };
    let good = view.is_good(&inspection);
    output.print(&view.text(&inspection));
    output.json(|| {
        let mut value = view.json(&inspection);
        if let Some(object) = value.as_object_mut() {
            object.insert("ok".to_owned(), good.into());
        }
        value
    });
    ExitCode::from(if good { exit::SUCCESS } else { exit::FAILURE })
}

const fn purpose(role: Role) -> Purpose {
    match role {
        Role::Client => Purpose::Client,
        Role::Server => Purpose::Server,
        Role::Ca => Purpose::Authority,
    }
}

/// What is asked about the files.
struct View<'a> {
    purposes: Vec<Purpose>,
    /// One purpose was named: the first certificate of each file must serve it.
    asked: bool,
    host: Option<&'a str>,
    now: SystemTime,
}

impl View<'_> {
    fn verdicts(&self, place: &Place, certificate: &Certificate) -> Vec<Verdict> {
        let host = self.host;
        let shown = place.path.display().to_string();
        let judge = |purpose: &Purpose| verdict(certificate, *purpose, &shown, host, self.now);
        self.purposes.iter().map(judge).collect()
    }

    fn is_good(&self, inspection: &Inspection) -> bool {
        let has_certificates = inspection.certificates().next().is_some();
        inspection.files.iter().all(|file| file.blocks.is_ok())
            && inspection.items().all(|(place, item)| match item {
                Item::Certificate(certificate) => {
                    let judged = !self.asked
                        || self.purposes == [Purpose::Authority]
                        || is_first(inspection, &place);
                    let mut verdicts = self.verdicts(&place, certificate).into_iter();
                    let signed = !matches!(certificate.signed_by, Signer::WrongKey(_));
                    signed && (!judged || verdicts.any(|verdict| verdict.works()))
                }
                Item::Key { of, .. } => of.is_some() || !has_certificates,
                Item::Other { advice, .. } => advice.is_none(),
                Item::Unusable(_) => false,
            })
    }

    fn text(&self, inspection: &Inspection) -> String {
        let mut lines = Vec::new();
        for file in &inspection.files {
            lines.push(file.path.display().to_string());
            let items = match &file.blocks {
                Ok(items) => items,
                Err(error) => {
                    lines.extend(problem_lines("unusable", error));
                    continue;
                }
            };
            for (item, block) in items.iter().zip(1..) {
                let place = Place { path: file.path.clone(), block };
                lines.extend(self.item_lines(&place, item));
            }
        }
        lines.join("\n")
    }

    fn item_lines(&self, place: &Place, item: &Item) -> Vec<String> {
        let head = |words: &str| format!("  {}. {words}", place.block);
        match item {
            Item::Certificate(certificate) => {
                let mut lines = vec![head(&format!("certificate {}", certificate.facts.subject))];
                lines.extend(self.certificate_lines(place, certificate));
                lines
            }
            Item::Key { facts, of } => {
                let of = match of {
                    Some(place) => format!("belongs to the certificate in {place}"),
                    None => "belongs to no certificate of these files".to_owned(),
                };
                vec![head(&format!("private key {}", facts.kind)), row("key of", &of)]
            }
            Item::Other { name, advice } => {
                let advice = advice.map(|advice| row("hint", advice));
                std::iter::once(head(name)).chain(advice).collect()
            }
            Item::Unusable(error) => {
                let mut lines = vec![head("a block that cannot be used")];
                lines.extend(problem_lines("unusable", error));
                lines
            }
        }
    }

    fn certificate_lines(&self, place: &Place, certificate: &Certificate) -> Vec<String> {
        let facts = &certificate.facts;
        let list = |all: &Option<Vec<&str>>| match all {
            Some(all) => all.join(", "),
            None => "not restricted".to_owned(),
        };
        let ca = match facts.ca {
            Some(true) => "CA:TRUE",
            Some(false) => "CA:FALSE",
            None => "no basic constraints",
        };
        let names = if facts.names.is_empty() { "none".to_owned() } else { facts.names.join(", ") };
        let (begin, end) = (calendar(facts.not_before), calendar(facts.not_after));
        let mut lines = vec![
            row("names", &names),
            row("issuer", &format!("{}; {}", facts.issuer, signer(&certificate.signed_by))),
            row("key", &format!("{}, pin {}", facts.key, facts.pin)),
            row("signature", &format!("{}, X.509 version {}", facts.signature, facts.version)),
            row(
                "usage",
                &format!(
                    "key usage {}; extended {}; {ca}",
                    list(&facts.key_usage),
                    list(&facts.extended_key_usage)
                ),
            ),
            row("valid", &format!("{begin} until {end}; {}", left(facts.not_after, self.now))),
        ];
        for verdict in self.verdicts(place, certificate) {
            let label = format!("as {}", verdict.purpose.name());
            if verdict.works() {
                lines.push(row(&label, "yes"));
                lines.extend(
                    verdict.warnings.iter().map(|warning| row("", &format!("warning: {warning}"))),
                );
            }
            for (error, number) in verdict.problems.iter().zip(0..) {
                let label = if number == 0 { &*label } else { "" };
                let what = if number == 0 { "no: " } else { "" };
                lines.push(row(label, &format!("{what}{} ({})", error.detail, error.fault.code())));
                lines.push(row("", &format!("fix: {}", error.hint())));
            }
        }
        if self.purposes.contains(&Purpose::Server) {
            for recipe in Recipe::of(facts) {
                lines.push(row("recipe", &format!("{}: {}", recipe.name(), recipe.cause())));
            }
        }
        lines
    }

    fn json(&self, inspection: &Inspection) -> Value {
        let files = inspection.files.iter().map(|file| match &file.blocks {
            Err(error) => {
                json!({"file": file.path.display().to_string(), "error": problem_json(error)})
            }
            Ok(items) => {
                let blocks = items.iter().zip(1..).map(|(item, block)| {
                    self.item_json(&Place { path: file.path.clone(), block }, item)
                });
                let blocks: Vec<Value> = blocks.collect();
                json!({"file": file.path.display().to_string(), "blocks": blocks})
            }
        });
        json!({"files": files.collect::<Vec<_>>()})
    }

    fn item_json(&self, place: &Place, item: &Item) -> Value {
        match item {
            Item::Certificate(certificate) => self.certificate_json(place, certificate),
            Item::Key { facts, of } => json!({
                "kind": "key",
                "key": facts.kind,
                "pin": facts.pin,
                "certificate": of.as_ref().map(place_json),
            }),
            Item::Other { name, advice } => {
                json!({"kind": "other", "what": name, "fix": advice})
            }
            Item::Unusable(error) => json!({"kind": "unusable", "error": problem_json(error)}),
        }
    }

    fn certificate_json(&self, place: &Place, certificate: &Certificate) -> Value {
        let facts = &certificate.facts;
        let (signed_by, by) = match &certificate.signed_by {
            Signer::Itself => ("itself", None),
            Signer::Other(place) => ("other", Some(place_json(place))),
            Signer::Absent => ("absent", None),
            Signer::WrongKey(place) => ("wrong key", Some(place_json(place))),
        };
        let verdicts = self.verdicts(place, certificate).into_iter().map(|verdict| {
            json!({
                "as": verdict.purpose.name(),
                "works": verdict.works(),
                "problems": verdict.problems.iter().map(problem_json).collect::<Vec<_>>(),
                "warnings": verdict.warnings,
            })
        });
        let recipes = Recipe::of(facts).into_iter().map(|recipe| {
            json!({"name": recipe.name(), "cause": recipe.cause(), "fix": recipe.instead()})
        });
        json!({
            "kind": "certificate",
            "subject": facts.subject,
            "issuer": facts.issuer,
            "signed_by": signed_by,
            "signer": by,
            "version": facts.version,
            "serial": facts.serial,
            "names": facts.names,
            "key": facts.key,
            "pin": facts.pin,
            "signature": facts.signature,
            "key_usage": facts.key_usage,
            "extended_key_usage": facts.extended_key_usage,
            "ca": facts.ca,
            "not_before": calendar(facts.not_before),
            "not_after": calendar(facts.not_after),
            "fingerprint": facts.fingerprint,
            "verdicts": verdicts.collect::<Vec<_>>(),
            "recipes": recipes.collect::<Vec<_>>(),
        })
    }
}

/// Whether a block is the first certificate of its file: that of the client or server itself.
fn is_first(inspection: &Inspection, place: &Place) -> bool {
    let mut own = inspection.certificates().filter(|(other, _)| other.path == place.path);
    own.next().is_some_and(|(first, _)| first == *place)
}

fn row(label: &str, words: &str) -> String {
    format!("     {label:<10} {words}")
}

fn problem_lines(label: &str, error: &TlsError) -> [String; 2] {
    let what = format!("{} ({})", error.detail, error.fault.code());
    [row(label, &what), row("", &format!("fix: {}", error.hint()))]
}

fn problem_json(error: &TlsError) -> Value {
    json!({"code": error.fault.code(), "what": error.detail, "fix": error.hint()})
}

fn place_json(place: &Place) -> Value {
    json!({"file": place.path.display().to_string(), "block": place.block})
}

fn signer(signer: &Signer) -> String {
    match signer {
        Signer::Itself => "signed by itself".to_owned(),
        Signer::Other(place) => format!("signed by {place}"),
        Signer::Absent => "not among these files".to_owned(),
        Signer::WrongKey(place) => {
            format!("NOT signed by the key of {place}, which has the issuer's name")
        }
    }
}

/// How long it is valid yet, in days.
fn left(end: SystemTime, now: SystemTime) -> String {
    let days = |time: std::time::Duration| time.as_secs() / 86_400;
    match end.duration_since(now) {
        Ok(left) => format!("{} days left", days(left)),
        Err(past) => format!("ended {} days ago", days(past.duration())),
    }
}
