//! A relay in front of a server that replaces the names of its commands in the reply to COMMAND.
//!
//! A server whose commands are renamed goes on listing their former names; with this between, it is one
//! with commands that respgate does not know and that can be run.
//!
//! Owns: [`Relay`]. Never knows: RESP, respgate.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

type Texts = Vec<(String, String)>;

#[derive(Debug, Default)]
struct State {
    texts: Texts,
    open: Vec<TcpStream>,
}

/// Passes everything on, but for some texts in what the server sends.
#[derive(Debug)]
pub struct Relay {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Relay {
    pub fn new(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let Ok(upstream) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let (mut up, mut down) =
                    (upstream.try_clone().unwrap(), client.try_clone().unwrap());
                let mut state = shared.lock().unwrap();
                state.open.push(client.try_clone().unwrap());
                let texts = state.texts.clone();
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut down, &mut up);
                    let _ = up.shutdown(Shutdown::Both);
                });
                std::thread::spawn(move || {
                    exchange(upstream, &client, &texts);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        Self { port, state }
    }

    /// From the next connection on, these bulk strings of the server have other texts.
    pub fn exchange(&self, texts: &[(&str, &str)]) {
        let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
        let texts = texts.iter().map(|(from, to)| (bulk(from), bulk(to)));
        self.state.lock().unwrap().texts = texts.collect();
    }

    /// Ends every connection.
    pub fn cut(&self) {
        for stream in self.state.lock().unwrap().open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Whole texts at once; what may be the beginning of one waits for the rest.
fn exchange(mut from: TcpStream, mut to: &TcpStream, texts: &Texts) {
    let (mut pending, mut chunk) = (Vec::new(), [0; 64 * 1024]);
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        pending.extend_from_slice(&chunk[..count]);
        let (mut out, mut at) = (Vec::new(), 0);
        while at < pending.len() {
            let rest = &pending[at..];
            if let Some((text, other)) =
                texts.iter().find(|(text, _)| rest.starts_with(text.as_bytes()))
            {
                out.extend_from_slice(other.as_bytes());
                at += text.len();
            } else if texts.iter().any(|(text, _)| text.as_bytes().starts_with(rest)) {
                break;
            } else {
                out.push(pending[at]);
                at += 1;
            }
        }
        pending.drain(..at);
        if to.write_all(&out).is_err() {
            break;
        }
    }
}
