//! Any bytes of a client, in pieces of any size, are the same requests.
//!
//! Owns: [`read`], a make-believe client connection. Never knows: what a command means.

use super::model::{self, Read};
use respgate::internals::resp::{RequestBuf, RequestLimits, RequestScanner, Scan, Violation};

/// Small bounds, so that short inputs reach every one of them.
pub const LIMITS: RequestLimits = RequestLimits {
    max_args: 64,
    max_bulk_bytes: 64,
    max_inline_bytes: 64,
    large_bytes: 16,
    authenticated: true,
};

/// The server's own.
const OPEN: RequestLimits = RequestLimits {
    max_args: 1 << 20,
    max_bulk_bytes: 512 << 20,
    max_inline_bytes: 1 << 16,
    large_bytes: u64::MAX,
    authenticated: true,
};

/// What a connection made of its bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    Request(Vec<u8>),
    /// The head, and the rest of the request as it was passed on.
    Large(Vec<u8>, Vec<u8>),
    Oversize(u64),
    Refused(Violation),
}

/// Reads `data` as it would arrive in pieces of `size` bytes, collecting large requests or passing
/// them on. Checks on the way whatever can be checked of a single step.
pub fn read(data: &[u8], size: usize, collect: bool) -> Vec<Event> {
    let mut scanner = RequestScanner::default();
    let mut events = Vec::new();
    let mut buffer = Vec::new();
    let mut passing = None;
    for piece in data.chunks(size.max(1)) {
        buffer.extend_from_slice(piece);
        while !buffer.is_empty() {
            let step = if passing.is_some() {
                pass_on(&mut scanner, &mut buffer, &mut passing)
            } else {
                begin(&mut scanner, &mut buffer, &mut passing, collect)
            };
            match step {
                Ok(Some(event)) => events.push(event),
                Ok(None) => {}
                Err(Stop::More) => break,
                Err(Stop::Refused(kind)) => {
                    events.push(Event::Refused(kind));
                    return events;
                }
            }
        }
    }
    assert!(!buffer.is_empty() || passing.is_some() || scanner.is_idle());
    events
}

enum Stop {
    More,
    Refused(Violation),
}

fn begin(
    scanner: &mut RequestScanner,
    buffer: &mut Vec<u8>,
    passing: &mut Option<Event>,
    collect: bool,
) -> Result<Option<Event>, Stop> {
    let (used, event) = match scanner.scan(buffer, &LIMITS).map_err(|e| Stop::Refused(e.kind))? {
        Scan::More => return Err(Stop::More),
        Scan::Ignored { used } => (used, None),
        Scan::Request { used } => {
            let request = scanner.request(buffer);
            assert!(request.len() > 0 && request.available() == request.len());
            assert_eq!(request.announced(), None);
            assert_eq!(request.raw(), RequestBuf::from(request).as_request().raw(), "canonical");
            let event = Event::Request(request.raw().to_vec());
            scanner.reset();
            (used, Some(event))
        }
        Scan::Head { .. } if collect => {
            scanner.collect();
            return Ok(None);
        }
        Scan::Head { used } => {
            let head = scanner.request(buffer);
            assert!(head.available() < head.len() && head.announced() >= Some(LIMITS.large_bytes));
            *passing = Some(Event::Large(head.raw().to_vec(), Vec::new()));
            scanner.pass();
            (used, None)
        }
        Scan::Oversize { used, length } => {
            assert!(length > LIMITS.max_bulk_bytes);
            *passing = Some(Event::Oversize(length));
            scanner.pass();
            (used, None)
        }
    };
    assert!(0 < used && used <= buffer.len());
    buffer.drain(..used);
    Ok(event)
}

fn pass_on(
    scanner: &mut RequestScanner,
    buffer: &mut Vec<u8>,
    passing: &mut Option<Event>,
) -> Result<Option<Event>, Stop> {
    let mut emitted = Vec::new();
    let emit = |piece: &[u8]| emitted.extend_from_slice(piece);
    let body = scanner.body(buffer, &LIMITS, emit).map_err(|e| Stop::Refused(e.kind))?;
    if let Some(Event::Large(_, rest)) = passing {
        rest.extend_from_slice(&emitted);
    }
    buffer.drain(..body.used);
    if !body.done {
        return Err(Stop::More);
    }
    scanner.reset();
    Ok(passing.take())
}

/// Reads `data` in pieces of `size` bytes as the server would, where nothing is large.
fn read_all(data: &[u8], size: usize, limits: &RequestLimits) -> Vec<Read> {
    let mut scanner = RequestScanner::default();
    let (mut all, mut buffer) = (Vec::new(), Vec::new());
    for piece in data.chunks(size) {
        buffer.extend_from_slice(piece);
        loop {
            let used = match scanner.scan(&buffer, limits) {
                Ok(Scan::Request { used }) => {
                    let request = scanner.request(&buffer);
                    all.push(Read::Request(request.args().map(<[u8]>::to_vec).collect()));
                    used
                }
                Ok(Scan::Ignored { used }) => used,
                Ok(Scan::More) => break,
                Ok(other @ (Scan::Head { .. } | Scan::Oversize { .. })) => panic!("{other:?}"),
                Err(error) => {
                    all.push(Read::Refused(error.kind));
                    return all;
                }
            };
            buffer.drain(..used);
        }
    }
    all
}

/// The same events in any pieces; what is canonical is read as itself; what was passed on is what
/// was collected otherwise.
pub fn check(data: &[u8]) {
    for authenticated in [true, false] {
        let expected = model::read(data, authenticated);
        let limits = RequestLimits { authenticated, ..OPEN };
        for size in [1, 2, 3, 7, 64, data.len().max(1)] {
            let found = read_all(data, size, &limits);
            assert_eq!(found, expected, "in pieces of {size}, known: {authenticated}");
        }
    }
    for collect in [true, false] {
        let whole = read(data, usize::MAX, collect);
        for size in [1, 2, 3, 7, 64] {
            assert_eq!(read(data, size, collect), whole, "in pieces of {size}");
        }
        for event in &whole {
            if let Event::Request(raw) = event {
                assert_eq!(read(raw, usize::MAX, true), [Event::Request(raw.clone())]);
            }
        }
    }
    let collected = read(data, usize::MAX, true);
    let passed = read(data, usize::MAX, false);
    assert_eq!(collected.len(), passed.len());
    for pair in collected.iter().zip(&passed) {
        match pair {
            (Event::Request(whole), Event::Large(head, rest)) => {
                assert_eq!(whole, &[&head[..], rest].concat());
            }
            (Event::Oversize(_), Event::Large(..)) => {}
            (one, other) => assert_eq!(one, other),
        }
    }
}
