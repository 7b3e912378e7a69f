//! Lists of revoked certificates in force that have expired, on the screen of `status`.
//!
//! Owns: [`show`]. Never knows: what else is on the screen, how a list is read.

use super::screen::{Screen, unix};
use crate::base::utc::utc;
use crate::config::{ExpiredCrl, Revocation};
use crate::proxy::admin_state::InForce;

const REMEDY: &str = "fetch the present list from the authority, and write it there; respgate loads it when the file \
                      changes, see: respgate reload";

/// Names each expired list, and what follows for new connections.
pub(super) fn show(in_force: &InForce, now: u64, screen: &mut Screen) {
    let InForce { config, components } = in_force;
    let upstream = config.upstream.tls.as_ref().and_then(|tls| tls.revocation.as_ref());
    let identity = components.tls.as_ref().map(crate::tls::TlsStore::current);
    if let (Some(settings), Some(identity)) = (upstream, identity) {
        let end = identity.next_update.map(unix);
        note(settings, end, now, "of the server", screen);
    }
    for store in components.listeners.all.iter().flatten() {
        if let Some(settings) = &store.settings().revocation {
            let end = store.current().next_update.map(unix);
            note(settings, end, now, "of applications", screen);
        }
    }
}

fn note(settings: &Revocation, end: Option<u64>, now: u64, whose: &str, screen: &mut Screen) {
    let Some(end) = end.filter(|end| *end <= now) else { return };
    let path = settings.crl.display();
    let what = format!("a list of revoked certificates in {path} has expired at {}", utc(end));
    match settings.expired {
        ExpiredCrl::Reject => {
            let what = format!("{what}: every certificate {whose} is refused");
            screen.wrong("ADM-E005", what, REMEDY);
        }
        ExpiredCrl::Accept => {
            let what =
                format!("{what}, and certificates {whose} that were revoked later are accepted");
            screen.wrong("ADM-W004", what, REMEDY);
        }
    }
}
