//! A listener in front of a server that records the bytes sent to it.
//!
//! Owns: [`Tap`]. Never knows: what the bytes mean.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

type Record = Arc<Mutex<Vec<u8>>>;

/// Its threads end with their connections, and the one that accepts with the test.
pub struct Tap {
    pub port: u16,
    records: Arc<Mutex<Vec<Record>>>,
}

impl Tap {
    pub fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let records = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&records);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let record = Record::default();
                all.lock().unwrap().push(Arc::clone(&record));
                let (to, from) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || copy(from, to, Some(&record)));
                std::thread::spawn(move || copy(server, client, None));
            }
        });
        Self { port, records }
    }

    /// What was sent so far on each connection.
    pub fn sent(&self) -> Vec<Vec<u8>> {
        let records = self.records.lock().unwrap();
        records.iter().map(|record| record.lock().unwrap().clone()).collect()
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, record: Option<&Record>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count) = from.read(&mut buffer) {
        if let Some(record) = record {
            record.lock().unwrap().extend_from_slice(&buffer[..count]);
        }
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
