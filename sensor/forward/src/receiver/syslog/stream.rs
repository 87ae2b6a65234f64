//! Syslog over TCP and TLS. Syslog acknowledges nothing, so a batch counts as received when the server's kernel has
//! acknowledged all its bytes. What the server itself lost when a connection broke is sent again by the engine.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::ClientConnection;

use super::message;
use super::unsent::unsent_bytes;
use crate::batch::Batch;
use crate::configuration::{SyslogSettings, Transport};
use crate::engine::Stop;
use crate::error::{ErrorKind, SendError};
use crate::receiver::connect::connect;
use crate::receiver::tls::{explain, explain_tls, handshake};
use crate::receiver::{Context, Receiver, stopped};

/// How long a wait lasts before the wish to end is looked at.
const WAIT_MS: u16 = 200;
/// How long a server that wants a client's certificate may take to refuse it. In TLS 1.3 it does so after the handshake.
const REFUSAL_MS: u16 = 200;
/// The first and the longest wait between looks at the kernel's queue.
const LOOK_FIRST: Duration = Duration::from_micros(100);
const LOOK_MOST: Duration = Duration::from_millis(20);

/// A server that takes a stream.
pub struct StreamReceiver {
    settings: SyslogSettings,
    link: Option<Link>,
    frames: Vec<u8>,
    message: Vec<u8>,
}

/// A connection.
struct Link {
    server: String,
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    has_sent: bool,
}

impl StreamReceiver {
    pub const fn new(settings: SyslogSettings) -> Self {
        Self { settings, link: None, frames: Vec::new(), message: Vec::new() }
    }

    fn open(&self) -> Result<Link, SendError> {
        let server = self.settings.server.clone();
        let timeout = Duration::from_secs(self.settings.timeout_s);
        let (stream, tls) = match self.settings.transport {
            Transport::Tls => {
                let (stream, tls) = handshake(&server, &self.settings.tls, timeout)?;
                (stream, Some(tls))
            }
            Transport::Tcp | Transport::Udp => (connect(&server, timeout)?, None),
        };
        let unusable = |error: io::Error| SendError::connection(&server, &error);
        let mut link = Link { server: server.clone(), stream, tls, has_sent: false };
        link.stream.set_nonblocking(true).map_err(unusable)?;
        if self.settings.tls.client.is_some() {
            link.wait(PollFlags::POLLIN, REFUSAL_MS)?;
        }
        Ok(link)
    }
}

impl Link {
    fn broken(&self, error: SendError) -> SendError {
        SendError { is_broken: self.has_sent, ..error }
    }

    fn failed(&self, error: &io::Error) -> SendError {
        self.broken(explain(&self.server, error))
    }

    fn closed(&self) -> SendError {
        self.broken(SendError::new(ErrorKind::Connection, format!("{} closed the connection", self.server)))
    }

    /// Waits until the socket is ready, and reads what the server says: a server of syslog says nothing, unless it is TLS.
    fn wait(&mut self, flags: PollFlags, time_ms: u16) -> Result<(), SendError> {
        let mut entries = [PollFd::new(self.stream.as_fd(), flags | PollFlags::POLLIN)];
        match poll(&mut entries, PollTimeout::from(time_ms)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(self.failed(&error.into())),
        }
        let events = entries.first().and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        if events.intersects(PollFlags::POLLIN | PollFlags::POLLERR | PollFlags::POLLHUP) {
            self.read()?;
        }
        Ok(())
    }

    /// Reads what is there. A plain server that says something is heard and ignored; one that ends is an error.
    fn read(&mut self) -> Result<(), SendError> {
        let mut bytes = [0; 4096];
        loop {
            let read = match &mut self.tls {
                None => self.stream.read(&mut bytes),
                Some(tls) => tls.read_tls(&mut self.stream),
            };
            match read {
                Ok(0) => return Err(self.closed()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(&error)),
            }
            if let Some(tls) = &mut self.tls {
                let state = tls.process_new_packets().map_err(|error| explain_tls(&self.server, &error));
                match state {
                    Err(error) => return Err(self.broken(error)),
                    Ok(state) if state.peer_has_closed() => return Err(self.closed()),
                    Ok(_) => while matches!(tls.reader().read(&mut bytes), Ok(1..)) {},
                }
            }
        }
    }

    /// Writes everything, however slowly the server reads.
    fn write(&mut self, mut bytes: &[u8], stop: &Stop) -> Result<(), SendError> {
        // A server that is gone is noticed before a batch is written into nothing.
        self.wait(PollFlags::empty(), 0)?;
        self.has_sent = true;
        loop {
            let written = match &mut self.tls {
                None if bytes.is_empty() => return Ok(()),
                None => self.stream.write(bytes),
                Some(tls) if tls.wants_write() => tls.write_tls(&mut self.stream).map(|_| 0),
                Some(_) if bytes.is_empty() => return Ok(()),
                Some(tls) => tls.writer().write(bytes),
            };
            match written {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if stop.is_asked() {
                        return Err(stopped());
                    }
                    self.wait(PollFlags::POLLOUT, WAIT_MS)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
    }

    /// Waits until the server's kernel has everything.
    fn drain(&mut self, stop: &Stop) -> Result<(), SendError> {
        let mut look = LOOK_FIRST;
        loop {
            let unsent = unsent_bytes(&self.stream).map_err(|error| self.failed(&error))?;
            // After a reset the queue is empty, too: what the server says tells one from the other.
            self.wait(PollFlags::empty(), 0)?;
            if unsent == 0 {
                return Ok(());
            }
            if stop.wait(look) {
                return Err(stopped());
            }
            look = (look * 2).min(LOOK_MOST);
        }
    }
}

impl Receiver for StreamReceiver {
    fn send(&mut self, batch: &mut Batch, context: Context<'_>) -> Result<(), SendError> {
        self.frames.clear();
        for event in batch.events() {
            self.message.clear();
            message::write(&self.settings, &event, &mut self.message);
            let _ = write!(self.frames, "{} ", self.message.len());
            self.frames.extend_from_slice(&self.message);
        }
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.open()?,
        };
        link.write(&self.frames, context.stop)?;
        link.drain(context.stop)?;
        self.link = Some(link);
        batch.acknowledge_all();
        Ok(())
    }

    fn idle(&mut self) -> Result<(), SendError> {
        let Some(link) = &mut self.link else { return Ok(()) };
        let looked = link.wait(PollFlags::empty(), 0);
        if looked.is_err() {
            self.link = None;
        }
        looked
    }

    fn probe(&mut self) -> Result<String, SendError> {
        self.open()?;
        Ok(format!("{} answers", self.settings.server))
    }
}
