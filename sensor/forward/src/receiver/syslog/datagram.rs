//! Syslog over UDP (RFC 5426).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::message;
use crate::batch::Event;
use crate::configuration::SyslogSettings;
use crate::error::SendError;
use crate::receiver::connect::resolve;
use crate::receiver::datagrams::Datagrams;

/// A server that takes datagrams.
pub struct SyslogDatagrams {
    settings: SyslogSettings,
}

impl SyslogDatagrams {
    pub const fn new(settings: SyslogSettings) -> Self {
        Self { settings }
    }
}

impl Datagrams for SyslogDatagrams {
    type Socket = UdpSocket;
    const TOO_LONG: &'static str = "it is longer than a datagram; send it over TCP or TLS";

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
        Err(self.failed(&last))
    }

    fn encode(&self, event: &Event<'_>, datagram: &mut Vec<u8>) {
        message::write(&self.settings, event, datagram);
    }

    fn transmit(socket: &UdpSocket, datagram: &[u8]) -> io::Result<usize> {
        socket.send(datagram)
    }

    fn failed(&self, error: &io::Error) -> SendError {
        SendError::connection(&self.settings.server, error)
    }

    fn found(&self) -> String {
        format!("the name is known; whether {} listens cannot be told over UDP", self.settings.server)
    }
}
