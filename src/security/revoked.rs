//! Whether certificates in use are on a list of revoked ones.
//!
//! Owns: [`revoked`]. Never knows: where lists and certificates are from.

use super::facts::{Facts, Known};
use crate::tls::calendar;
use crate::tls::inspect::{
    Authenticity, Certificate, CertificateFacts, Inspection, RevocationList,
};

/// Whether one of these certificates is on a list, and every list counts: it is signed by its authority,
/// whose certificate is at hand, and is not out of date.
pub(super) fn revoked(
    facts: &Facts,
    certificates: &[(&str, &CertificateFacts)],
) -> Known<(bool, String)> {
    let (lists, now, at_hand) = (&facts.revocations, facts.now, believed(facts));
    if lists.is_empty() {
        return Err("no list of revoked certificates was given (--crl FILE)".to_owned());
    }
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for list in lists {
        let list = match list {
            Ok(list) => list,
            Err(why) => {
                wrong.push(why.clone());
                continue;
            }
        };
        if certificates.iter().any(|(_, certificate)| list.concerns(certificate))
            && let Some(why) = objection(list, list.authenticity(&at_hand))
        {
            wrong.push(why);
            continue;
        }
        if let Some(end) = list.next_update.filter(|end| *end < now) {
            wrong.push(format!("a list is out of date since {}", calendar(end)));
        }
        for (whose, certificate) in certificates {
            compared += usize::from(list.concerns(certificate));
            if list.revokes(certificate) {
                wrong.push(format!("the {whose} certificate {} is revoked", certificate.serial));
            }
        }
    }
    if wrong.is_empty() && compared == 0 {
        return Err("the lists are of CAs that have issued neither certificate".to_owned());
    }
    Ok(if wrong.is_empty() {
        (true, format!("{compared} certificates compared, none is on a list"))
    } else {
        (false, wrong.join("; "))
    })
}

/// The certificates of respgate's own files, and those that the server has shown which one of them has
/// signed.
fn believed(facts: &Facts) -> Vec<&CertificateFacts> {
    let files = facts.own.authorities.iter().chain(&facts.own.client);
    let mut own: Vec<_> =
        files.flat_map(Inspection::certificates).map(|(_, it)| &it.facts).collect();
    let shown = facts.server.tls.as_ref().ok().map(|seen| &seen.shown);
    let shown = shown.into_iter().flat_map(Inspection::certificates).map(|(_, shown)| shown);
    let signed = |shown: &&Certificate| own.iter().any(|authority| shown.is_signed_by(authority));
    let shown: Vec<_> = shown.filter(signed).map(|shown| &shown.facts).collect();
    own.extend(shown);
    own
}

/// Why a list is not believed.
fn objection(list: &RevocationList, found: Authenticity) -> Option<String> {
    let ca = &list.issuer;
    match found {
        Authenticity::Genuine => None,
        Authenticity::Unknown => Some(format!(
            "the list of {ca} cannot be checked: the certificate of that CA is neither in upstream.tls.ca, \
             nor behind the client certificate, nor sent by the server and signed by one of these; put it behind the client certificate in \
             upstream.tls.cert"
        )),
        Authenticity::Forged => {
            Some(format!("the list is not signed by {ca}: it was changed, or another made it"))
        }
        Authenticity::Unauthorized => Some(format!(
            "{ca} may not sign lists of revoked certificates: its keyUsage is without cRLSign"
        )),
    }
}
