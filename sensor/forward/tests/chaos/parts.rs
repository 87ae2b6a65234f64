//! The processes of the chaos, each this program again: the sensor's journal, an HTTP receiver, a syslog server.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use vigie_journal::{Journal, JournalOptions, JournalReader, StartAt};

use crate::common::{self, numbers};

/// How often the sensor writes, and how often it has the system store what it wrote.
const WRITE_INTERVAL: Duration = Duration::from_millis(20);
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Small, so that many segments are sealed and compressed.
const SEGMENT_BYTES: u64 = 8 << 20;
/// Incidents that are open at once.
pub const INCIDENTS: usize = 97;

pub fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The incident of an event.
pub fn incident(number: usize) -> String {
    format!("incident-{}", number % INCIDENTS)
}

/// The numbers of all events in the journal.
pub fn journal_numbers(folder: &Path) -> Vec<usize> {
    let Ok(mut reader) = JournalReader::open(folder, StartAt::Oldest) else { return Vec::new() };
    let mut found = Vec::new();
    while let Ok(Some(line)) = reader.next_line() {
        found.extend(numbers(&String::from_utf8_lossy(line)));
    }
    found
}

/// Writes the journal as the sensor does: opens and repairs it, goes on after its last event, syncs each second. Ends when all
/// events are written. A full disk is waited out.
pub fn sensor(folder: &Path) {
    let (events, rate) = (number("CHAOS_EVENTS", 0) as usize, number("CHAOS_RATE", 1_000));
    let options = JournalOptions { segment_bytes: SEGMENT_BYTES, ..JournalOptions::default() };
    let mut journal = loop {
        match Journal::open(folder, options) {
            Ok((journal, _)) => break journal,
            // Such as a full disk. The service manager would start it again.
            Err(_) => thread::sleep(Duration::from_millis(200)),
        }
    };
    let first = journal_numbers(folder).last().map_or(0, |last| last + 1);
    let (began, mut synced, mut next) = (Instant::now(), Instant::now(), first);
    while next < events || journal.lines_waiting() > 0 {
        let due = first + (began.elapsed().as_millis() as u64 * rate / 1_000) as usize;
        while next < due.min(events) && !journal.is_full() {
            let line = common::line(next).replace("k7q2m-4x9d0-f", &incident(next)) + "\n";
            journal.add_line(|out| out.extend_from_slice(line.as_bytes()));
            next += 1;
        }
        let _ = journal.write();
        if synced.elapsed() >= SYNC_INTERVAL {
            let _ = journal.sync();
            synced = Instant::now();
        }
        thread::sleep(WRITE_INTERVAL);
    }
    while journal.sync().is_err() {
        thread::sleep(Duration::from_millis(200));
    }
}

fn kept() -> File {
    OpenOptions::new().append(true).create(true).open(env::var("CHAOS_KEPT").unwrap()).unwrap()
}

fn listener() -> TcpListener {
    TcpListener::bind(env::var("CHAOS_LISTEN").unwrap()).unwrap()
}

fn keep(file: &mut File, text: &str) {
    let found: String = numbers(text).iter().map(|number| format!("\"event_id\":[\"{number:016x}\"]\n")).collect();
    file.write_all(found.as_bytes()).unwrap();
}

/// An HTTP server that keeps what it gets before it answers.
pub fn http_receiver() {
    let (mut file, delay) = (kept(), Duration::from_millis(number("CHAOS_DELAY_MS", 0)));
    common::serve(&listener(), move |request| {
        thread::sleep(delay);
        keep(&mut file, &request.body);
        (200, String::new())
    });
}

/// A syslog server over TCP, and over TLS if it has a certificate. It keeps what it reads at once.
pub fn syslog_receiver() {
    let tls = env::var("CHAOS_CERTIFICATE").ok().map(|path| Arc::new(server_config(&path)));
    for stream in listener().incoming().flatten() {
        let tls = tls.clone();
        thread::spawn(move || {
            let result = match tls {
                None => read_frames(stream),
                Some(config) => rustls::ServerConnection::new(config)
                    .map_err(io::Error::other)
                    .and_then(|connection| read_frames(rustls::StreamOwned::new(connection, stream))),
            };
            drop::<io::Result<()>>(result);
        });
    }
}

fn server_config(certificate: &str) -> rustls::ServerConfig {
    let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(certificate.replace(".pem", ".key")).unwrap();
    rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

/// Messages with their length before them (RFC 6587 section 3.4.1).
fn read_frames(mut stream: impl Read) -> io::Result<()> {
    let (mut file, mut bytes, mut chunk) = (kept(), Vec::new(), vec![0; 1 << 16]);
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&chunk[..count]);
        let mut used = 0;
        while let Some(space) = bytes[used..].iter().position(|byte| *byte == b' ') {
            let length: usize = std::str::from_utf8(&bytes[used..used + space]).unwrap().parse().unwrap();
            let start = used + space + 1;
            let Some(message) = bytes.get(start..start + length) else { break };
            keep(&mut file, &String::from_utf8_lossy(message));
            used = start + length;
        }
        bytes.drain(..used);
    }
}

/// Waits until a server takes connections there.
pub fn until_listens(address: &str) {
    common::until(&format!("listener at {address}"), || TcpStream::connect(address).ok().map(drop));
}
