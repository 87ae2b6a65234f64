//! The systemd journal, by its native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>): one datagram an event.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use super::datagrams::Datagrams;
use crate::batch::Event;
use crate::error::{ErrorKind, SendError};
use crate::selection::Class;

/// How long journald may take no datagram.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The systemd journal.
pub struct Journald {
    path: PathBuf,
}

impl Journald {
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

/// Priorities of syslog (RFC 5424 section 6.2.1), by class and EVE's severity.
pub(super) fn severity(class: Class, eve: Option<u8>) -> u8 {
    match (class, eve) {
        (Class::Incidents, Some(1)) => 2,
        (Class::Incidents, Some(2)) => 4,
        (Class::Incidents | Class::Alerts, _) => 5,
        (Class::Audit | Class::Coverage | Class::Seals, _) => 6,
    }
}

fn field(message: &mut Vec<u8>, name: &str, value: &[u8]) {
    message.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        message.push(b'\n');
        message.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        message.push(b'=');
    }
    message.extend_from_slice(value);
    message.push(b'\n');
}

fn encode(event: &Event<'_>, message: &mut Vec<u8>) {
    let head = event.head();
    let eve = head.as_ref().and_then(crate::selection::Head::severity);
    field(message, "PRIORITY", severity(event.class, eve).to_string().as_bytes());
    field(message, "SYSLOG_IDENTIFIER", b"vigie");
    field(message, "VIGIE_CLASS", event.class.as_str().as_bytes());
    if let Some(head) = &head {
        for (name, value) in [("VIGIE_EVENT_ID", head.event_id()), ("VIGIE_INCIDENT", head.incident())] {
            if let Some(value) = value {
                field(message, name, value.as_bytes());
            }
        }
    }
    field(message, "MESSAGE", event.encoded);
}

impl Datagrams for Journald {
    type Socket = UnixDatagram;
    const TOO_LONG: &'static str = "it is longer than a datagram";

    fn open(&self) -> Result<UnixDatagram, SendError> {
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.set_write_timeout(Some(TIMEOUT))?;
            socket.connect(&self.path)?;
            Ok(socket)
        };
        connect().map_err(|error| self.failed(&error))
    }

    fn encode(&self, event: &Event<'_>, datagram: &mut Vec<u8>) {
        encode(event, datagram);
    }

    fn transmit(socket: &UnixDatagram, datagram: &[u8]) -> io::Result<usize> {
        socket.send(datagram)
    }

    fn failed(&self, error: &io::Error) -> SendError {
        let path = self.path.display().to_string();
        match error.kind() {
            io::ErrorKind::NotFound => SendError::new(
                ErrorKind::Connection,
                format!(
                    "{path}: there is no such socket; does systemd-journald run, and is its socket in the container?"
                ),
            ),
            io::ErrorKind::PermissionDenied => SendError::file(&self.path, error),
            _ => SendError::connection(&path, error),
        }
    }

    fn found(&self) -> String {
        format!("takes datagrams: {}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_the_native_protocol() {
        let line = br#"{"alert":{"gid":7,"severity":2,"metadata":{"event_id":["0a"],"incident":["k7"]}}}"#;
        let mut message = Vec::new();
        encode(&Event { line, encoded: b"x\ny", class: Class::Incidents }, &mut message);
        let expected: &[u8] = b"PRIORITY=4\nSYSLOG_IDENTIFIER=vigie\nVIGIE_CLASS=incident\nVIGIE_EVENT_ID=0a\n\
            VIGIE_INCIDENT=k7\nMESSAGE\n\x03\0\0\0\0\0\0\0x\ny\n";
        assert_eq!(message, expected);
    }
}
