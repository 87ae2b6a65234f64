//! Syslog over UDP (RFC 5426): what was sent counts as received, since nothing tells otherwise.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::message;
use crate::batch::Batch;
use crate::configuration::SyslogSettings;
use crate::error::SendError;
use crate::receiver::connect::resolve;
use crate::receiver::{Context, Receiver, stopped};

/// A server that takes datagrams.
pub struct DatagramReceiver {
    settings: SyslogSettings,
    socket: Option<UdpSocket>,
    message: Vec<u8>,
}

impl DatagramReceiver {
    pub const fn new(settings: SyslogSettings) -> Self {
        Self { settings, socket: None, message: Vec::new() }
    }

    fn open(&self) -> Result<UdpSocket, SendError> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in resolve(&self.settings.server)? {
            let local = match address {
                SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            };
            match UdpSocket::bind(local).and_then(|socket| socket.connect(address).map(|()| socket)) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(SendError::connection(&self.settings.server, &last))
    }
}

impl Receiver for DatagramReceiver {
    fn send(&mut self, batch: &mut Batch, context: Context<'_>) -> Result<(), SendError> {
        let mut datagram = std::mem::take(&mut self.message);
        while let Some(event) = batch.first() {
            if context.stop.is_asked() {
                return Err(stopped());
            }
            datagram.clear();
            message::write(&self.settings, &event, &mut datagram);
            let socket = match self.socket.take() {
                Some(socket) => socket,
                None => self.open()?,
            };
            match socket.send(&datagram) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EMSGSIZE as i32) => {
                    context.set_aside(event.line, "it is longer than a datagram; send it over TCP or TLS")?;
                }
                // Such as the port unreachable that an earlier datagram met.
                Err(error) => return Err(SendError::connection(&self.settings.server, &error)),
            }
            self.socket = Some(socket);
            batch.acknowledge(1);
        }
        self.message = datagram;
        Ok(())
    }

    fn probe(&mut self) -> Result<String, SendError> {
        self.open()?;
        Ok(format!("the name is known; whether {} listens cannot be told over UDP", self.settings.server))
    }
}
