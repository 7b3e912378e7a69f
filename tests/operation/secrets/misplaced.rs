//! A secret as the value of each key of the configuration, one after the other.
//!
//! Owns: the loop over the keys of the reference. Never knows: how each is reported.

use respgate::internals::config;

use super::PASSWORD;
use super::search::Search;

const REFERENCE: &str = include_str!("../../../config/respgate.toml");
/// What programs and people make up.
const SECRETS: [&str; 4] =
    [PASSWORD, "Zx81Qm4vTt0LpWq9Rk2bYc7N", "7tq-Hb2.xW9_Lm4", "c2VjcmV0LXRva2VuLXdpdGgtYmFzZTY0"];

#[test]
fn secret_in_the_place_of_any_value_is_not_repeated() {
    let lines: Vec<&str> = REFERENCE.lines().collect();
    let searches = SECRETS.map(|secret| Search::new(&[secret.as_bytes()]));
    let mut wrong = 0;
    for (number, line) in lines.iter().enumerate() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let Some((key, _)) = bare.split_once(" = ") else { continue };
        let is_key = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !key.bytes().all(is_key) {
            continue;
        }
        for (secret, search) in SECRETS.iter().zip(&searches) {
            for value in [format!("{secret:?}"), format!("[{secret:?}]")] {
                let changed = format!("{key} = {value}");
                let mut all = lines.clone();
                all[number] = &changed;
                if let Err(problems) = config::parse(&all.join("\n"), "test", []) {
                    wrong += 1;
                    let reported: Vec<String> = problems.iter().map(ToString::to_string).collect();
                    let place = format!("line {}, {changed}", number + 1);
                    search.assert_absent(&reported.join("\n"), &place);
                }
            }
        }
    }
    assert!(wrong > 300, "{wrong}");
}
