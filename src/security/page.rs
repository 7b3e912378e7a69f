//! The page about the security test, from the table of checks.
//!
//! Owns: [`page`]. Never knows: where the page is kept.

use std::fmt::Write;

use super::table::{CHECKS, Feature, Severity};

const HEAD: &str = "\
# Security test

`respgate test redis-security --config respgate.toml` looks at the server, at the path through a running respgate and at respgate's own configuration. It changes nothing: it makes handshakes, reads, and sends `ACL DRYRUN`; dangerous commands are sent to respgate only inside a `MULTI` that is discarded. What respgate refuses is counted and logged as for any client.

| | |
|---|---|
| `--feature tls,acl` | only the checks about these |
| `--profile daily` | the checks that are worth their time daily; `weekly` includes them, `monthly` (the default) is all |
| `--crl FILE` | a list of revoked certificates, for CERT-07; respgate itself fetches none, and neither does Redis |
| `--format table`, `json`, `junit`, `sarif` | for people, programs, and the reports of build servers |
| `--fail-on warn` | warnings count as failures |
| exit code | 0 every check passed (those that could not be done show why); 1 a check failed; 2 the test could not be done |

Checks that need rights which respgate's user should not have (`ACL LIST`, `ACL DRYRUN`, `CONFIG GET`) are skipped without them; run the test with the login of an administrator to have them done (`RESPGATE__UPSTREAM__AUTH__USERNAME` …); what is then tested of the user is about that login.

This page is made from the table of the program (`tests/operation/security.rs` compares them, and shows each check passing and failing on a real server).
";

/// The page, in Markdown.
#[must_use]
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n| id | passes when | about | profile | what is looked at | remedy |\n|---|---|---|---|---|---|\n");
    let cell = |text: &str| text.replace('|', "\\|").replace('<', "&lt;");
    for check in CHECKS {
        let features: Vec<&str> = check.features.iter().copied().map(Feature::name).collect();
        let warns = if check.severity == Severity::Warn { " (a warning)" } else { "" };
        let _ = writeln!(
            page,
            "| `{}` | {}{warns} | {} | {} | {} | {} |",
            check.id,
            cell(check.title),
            features.join(", "),
            check.profile.name(),
            cell(check.looks),
            cell(check.remedy)
        );
    }
    page
}
