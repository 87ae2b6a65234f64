//! What the receivers that get one datagram an event have in common. A datagram that was sent counts as received, since nothing
//! tells otherwise.

use std::io;

use super::{Context, Receiver, stopped};
use crate::batch::{Batch, Event};
use crate::error::SendError;

/// Where datagrams go, and what is in them.
pub trait Datagrams: Send {
    /// An open socket.
    type Socket: Send;
    /// Why an event is set aside that is longer than a datagram may be.
    const TOO_LONG: &'static str;

    /// Opens a socket.
    ///
    /// # Errors
    /// Why it cannot be opened.
    fn open(&self) -> Result<Self::Socket, SendError>;

    /// Appends an event as a datagram.
    fn encode(&self, event: &Event<'_>, datagram: &mut Vec<u8>);

    /// Sends a datagram.
    ///
    /// # Errors
    /// The system refuses it.
    fn transmit(socket: &Self::Socket, datagram: &[u8]) -> io::Result<usize>;

    /// What an error means.
    fn failed(&self, error: &io::Error) -> SendError;

    /// What can be said of a socket that could be opened.
    fn found(&self) -> String;
}

/// A receiver of datagrams.
pub struct DatagramReceiver<D: Datagrams> {
    target: D,
    socket: Option<D::Socket>,
    datagram: Vec<u8>,
}

impl<D: Datagrams> DatagramReceiver<D> {
    pub const fn new(target: D) -> Self {
        Self { target, socket: None, datagram: Vec::new() }
    }

    fn send_one(&mut self, event: &Event<'_>, context: Context<'_>) -> Result<(), SendError> {
        self.datagram.clear();
        self.target.encode(event, &mut self.datagram);
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.target.open()?,
        };
        match D::transmit(&socket, &self.datagram) {
            Ok(_) => {}
            // It will not become shorter.
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EMSGSIZE as i32) => {
                context.set_aside(event.line, D::TOO_LONG)?;
            }
            // Such as the port unreachable that an earlier datagram met.
            Err(error) => return Err(self.target.failed(&error)),
        }
        self.socket = Some(socket);
        Ok(())
    }
}

impl<D: Datagrams> Receiver for DatagramReceiver<D> {
    fn send(&mut self, batch: &mut Batch, context: Context<'_>) -> Result<(), SendError> {
        while let Some(event) = batch.first() {
            if context.stop.is_asked() {
                return Err(stopped());
            }
            self.send_one(&event, context)?;
            batch.acknowledge(1);
        }
        Ok(())
    }

    fn probe(&mut self) -> Result<String, SendError> {
        self.target.open()?;
        Ok(self.target.found())
    }
}
