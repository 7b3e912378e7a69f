//! The troubleshooting page: every code that `doctor` and the log have for a connection, from their tables.
//!
//! Owns: [`page`], [`codes`]. Never knows: where the page is kept.

use std::fmt::Write;

use super::trouble::Trouble;
use crate::tls::Fault as TlsFault;
use crate::tls::inspect::Recipe;
use crate::upstream::fault::Fault;

const HEAD: &str = "\
# Troubleshooting

`respgate doctor --config respgate.toml` tries each step between respgate and the server, and prints what fails with one of these codes, the cause and what to do; `--json` is for programs.
The log carries the same codes. This page is made from the tables of the program (`tests/operation/tls.rs` compares them).

| step of doctor | what is looked at | codes |
|---|---|---|
| file | each file of the configuration: whether respgate can read it, whether every user can, whether it is a mount of its own | `FIL-E001`, `FIL-W001`, `FIL-W003`, `TLS-E001` |
| watch | are changes of the files noticed at once | `FIL-W002` |
| identity | certificate, key and CA: readable, fitting each other, valid, for how long | `TLS-E0…`, `TLS-W001`, `TLS-W003` |
| resolve, connect | the name, the TCP connection | `UPS-E101` to `UPS-E107` |
| tls | the handshake, and the first answer after it | `TLS-E1…`, `UPS-E108` |
| login | HELLO, AUTH, SELECT | `UPS-E109` to `UPS-E130` |
| certificate | what the server shows, whether or not it is accepted | `TLS-W002` |
| ping, clock, role | round trip, TIME of the server, replica or not | `UPS-E110`, `UPS-E124`, `UPS-W001`, `UPS-W002` |
| rules | the rights of the server's user, compared with the policies | `UPS-W003` to `UPS-W005` |

Each step (resolve, connect, TLS, login, PING) shows how many milliseconds it took, which distinguishes a slow DNS server from a distant host, a full handshake or a busy server.
";

/// The page, in Markdown.
#[must_use]
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    let tls: Vec<_> = TlsFault::ALL.iter().map(|f| (f.code(), f.cause(), f.hint())).collect();
    let upstream: Vec<_> = Fault::ALL.iter().map(|f| (f.code(), f.cause(), f.hint())).collect();
    let others: Vec<_> = Trouble::ALL.iter().map(|t| (t.code(), t.cause(), t.fix())).collect();
    table(&mut page, "Connection and login", &upstream);
    table(&mut page, "Certificates and handshake", &tls);
    table(&mut page, "What works and is worth a look, and files", &others);
    page.push_str("\n## Certificates from tutorials\n\n");
    page.push_str("`respgate doctor` and `respgate certs inspect` name these recipes when they see a certificate made by one.\n\n");
    page.push_str("| recipe | cause | what to do |\n|---|---|---|\n");
    for recipe in Recipe::ALL {
        row(&mut page, recipe.name(), recipe.cause(), recipe.instead());
    }
    page
}

/// Every code of the page.
#[must_use]
pub fn codes() -> Vec<&'static str> {
    let tls = TlsFault::ALL.iter().map(|fault| fault.code());
    let upstream = Fault::ALL.iter().map(|fault| fault.code());
    tls.chain(upstream).chain(Trouble::ALL.iter().map(|trouble| trouble.code())).collect()
}

fn table(page: &mut String, title: &str, rows: &[(&str, &str, &str)]) {
    let _ = write!(page, "\n## {title}\n\n| code | cause | what to do |\n|---|---|---|\n");
    for (code, cause, fix) in rows {
        row(page, code, cause, fix);
    }
}

fn row(page: &mut String, code: &str, cause: &str, fix: &str) {
    let cell = |text: &str| text.replace('|', "\\|").replace('<', "&lt;");
    let _ = writeln!(page, "| `{code}` | {} | {} |", cell(cause), cell(fix));
}
