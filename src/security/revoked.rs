//! Whether certificates in use are on a list of revoked ones.
//!
//! Owns: [`revoked`]. Never knows: where lists and certificates are from.

use std::time::SystemTime;

use super::facts::Known;
use crate::tls::calendar;
use crate::tls::inspect::{CertificateFacts, RevocationList};

/// Whether one of these certificates is on a list, and every list counts.
pub(super) fn revoked(
    lists: &[Known<RevocationList>],
    certificates: &[(&str, &CertificateFacts)],
    now: SystemTime,
) -> Known<(bool, String)> {
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
