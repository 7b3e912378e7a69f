//! A name is looked up, and its addresses are tried beside each other, until one leads to a primary.
//!
//! Owns: [`look_up`], [`run`]. Never knows: how an attempt is made, which address comes first.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::time::timeout_at;

use super::addresses::{Attempted, Finding, Lookup, Race, Verdict};
use super::failure::DialError;
use super::fault::Fault;
use crate::base::clock;
use crate::traffic::Unavailable;

/// What the name server answers to `question`; `None`: it does not in time.
pub(super) async fn look_up<T>(lookup: Lookup, question: impl Future<Output = T>) -> Option<T> {
    let mut question = pin!(question);
    while !lookup.is_over(clock::now()) {
        if let Ok(answer) = timeout_at(lookup.deadline().into(), question.as_mut()).await {
            return Some(answer);
        }
    }
    None
}

/// The first connection to a primary, as `is_primary` decides, or one to a replica when there is no primary.
///
/// # Errors
///
/// The error of the attempt that came farthest; at once when a server refuses the login or the database.
pub(super) async fn run<T, F>(
    mut race: Race,
    open: impl Fn(SocketAddr) -> F,
    is_primary: impl Fn(&T) -> bool,
) -> Result<T, DialError>
where
    F: Future<Output = Result<T, DialError>>,
{
    let mut running: Vec<Pin<Box<F>>> = Vec::new();
    let (mut replica, mut failure) = (None, None::<DialError>);
    while !race.is_over(clock::now()) {
        if let Some(address) = race.poll_start(clock::now()) {
            running.push(Box::pin(open(address)));
        }
        let wakes = !running.is_empty() || race.poll_timeout().is_some();
        debug_assert!(wakes, "it would wait for nothing");
        let first = poll_fn(|cx| {
            let mut attempts = running.iter_mut().enumerate();
            let ended = attempts.find_map(|(at, attempt)| match attempt.as_mut().poll(cx) {
                Poll::Ready(result) => Some((at, result)),
                Poll::Pending => None,
            });
            ended.map_or(Poll::Pending, Poll::Ready)
        });
        let ended = match race.poll_timeout() {
            Some(at) => timeout_at(at.into(), first).await.ok(),
            None => Some(first.await),
        };
        let Some((at, result)) = ended else { continue };
        drop(running.swap_remove(at));
        let attempted = match &result {
            Ok(link) if is_primary(link) => Attempted::Found(Finding::Primary),
            Ok(_) => Attempted::Found(Finding::Replica),
            Err(error) if error.what == Unavailable::Auth || error.server_line.is_some() => {
                Attempted::Refused
            }
            Err(_) => Attempted::Found(Finding::Nothing),
        };
        match (race.handle_ended(attempted, clock::now()), result) {
            (Verdict::Take | Verdict::Fail, result) => return result,
            (Verdict::Keep | Verdict::Next, Ok(link)) => {
                replica.get_or_insert(link);
            }
            (Verdict::Keep | Verdict::Next, Err(error)) => {
                if failure.as_ref().is_none_or(|other| error.phase >= other.phase) {
                    failure = Some(error);
                }
            }
        }
    }
    debug_assert!(running.is_empty() || replica.is_some(), "an attempt is given up for nothing");
    replica.ok_or_else(|| failure.unwrap_or_else(|| DialError::of(Fault::NotConnected)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What is found behind an address, by its port.
    const SILENT: u16 = 1;
    const REPLICA: u16 = 2;
    const PRIMARY: u16 = 3;
    const REFUSED: u16 = 4;
    const WRONG_PASSWORD: u16 = 5;

    async fn open(address: SocketAddr) -> Result<&'static str, DialError> {
        match address.port() {
            SILENT => std::future::pending().await,
            REPLICA => Ok("replica"),
            PRIMARY => Ok("master"),
            REFUSED => Err(DialError::of(Fault::Refused)),
            _ => Err(DialError::of(Fault::WrongPassword)),
        }
    }

    fn check(ports: &[u16], expected: Result<&'static str, &'static str>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let addresses = ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port)));
        let race = Race::new(addresses.collect(), Duration::from_secs(5), clock::now());
        let begin = clock::now();
        let found = runtime.block_on(run(race, open, |role| *role == "master"));
        assert_eq!(found.map_err(|error| error.code), expected, "{ports:?}");
        assert!(clock::now() - begin < Duration::from_secs(4), "{ports:?}");
    }

    #[test]
    fn primary_is_found_behind_addresses_that_refuse_are_silent_or_lead_to_replicas() {
        check(&[PRIMARY], Ok("master"));
        check(&[REFUSED, PRIMARY], Ok("master"));
        check(&[SILENT, PRIMARY], Ok("master"));
        check(&[REPLICA, SILENT, REFUSED, PRIMARY], Ok("master"));
        check(&[REPLICA, REFUSED], Ok("replica"));
        check(&[REPLICA, SILENT], Ok("replica"));
        check(&[REFUSED, REFUSED], Err(Fault::Refused.code()));
        check(&[WRONG_PASSWORD, PRIMARY], Err(Fault::WrongPassword.code()));
    }
}
