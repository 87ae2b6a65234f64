//! The kinds of receivers. Each takes a batch and acknowledges events of it when they are the receiver's.

mod connect;
mod datagrams;
mod file;
mod journald;
#[cfg(feature = "kafka")]
mod kafka;
mod stdout;
mod syslog;
mod tls;
mod webhook;

use self::datagrams::DatagramReceiver;
use self::journald::Journald;
use self::syslog::SyslogDatagrams;
use crate::batch::Batch;
use crate::configuration::{KindSettings, ReceiverSettings, Transport};
use crate::engine::{RejectedFile, Status, Stop};
use crate::error::{ErrorKind, SendError};

/// What a receiver may use while it sends.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Whether the program shall end.
    pub stop: &'a Stop,
    /// Where events go that the receiver rejects.
    pub rejected: &'a RejectedFile,
    /// The counts.
    pub status: &'a Status,
}

impl Context<'_> {
    /// Sets an event aside that the receiver rejects for good.
    ///
    /// # Errors
    /// It cannot be set aside, so it must not be acknowledged.
    pub fn set_aside(&self, line: &[u8], why: &str) -> Result<(), SendError> {
        let path = self.rejected.path().display();
        let kept = self.rejected.append(line);
        kept.map_err(|error| SendError::new(ErrorKind::State, format!("cannot write {path}: {error}")))?;
        self.status.event_rejected(&format!("an event was rejected and is in {path} now: {why}"));
        Ok(())
    }
}

/// Where events go.
pub trait Receiver: Send {
    /// Sends the events that wait, in order, and acknowledges them. Ends early, with any error, when the program shall end.
    ///
    /// # Errors
    /// What is not acknowledged could not be sent.
    fn send(&mut self, batch: &mut Batch, context: Context<'_>) -> Result<(), SendError>;

    /// Puts what was acknowledged where a power loss does not reach it, if that is ours to do.
    ///
    /// # Errors
    /// It could not be done.
    fn sync(&mut self) -> Result<(), SendError> {
        Ok(())
    }

    /// Looks whether a connection still stands while there is nothing to send.
    ///
    /// # Errors
    /// It broke.
    fn idle(&mut self) -> Result<(), SendError> {
        Ok(())
    }

    /// Tries what can be tried without sending an event, and says what was found.
    ///
    /// # Errors
    /// Why events could not be sent.
    fn probe(&mut self) -> Result<String, SendError>;
}

/// The receiver of these settings. Nothing is opened yet.
pub fn open(settings: &ReceiverSettings) -> Box<dyn Receiver> {
    match &settings.kind {
        KindSettings::File(file) => Box::new(file::FileReceiver::new(file.clone())),
        KindSettings::Stdout => Box::new(stdout::StdoutReceiver),
        KindSettings::Journald { socket } => Box::new(DatagramReceiver::new(Journald::new(socket.clone()))),
        KindSettings::Syslog(syslog) if syslog.transport == Transport::Udp => {
            Box::new(DatagramReceiver::new(SyslogDatagrams::new(syslog.clone())))
        }
        KindSettings::Syslog(syslog) => Box::new(syslog::StreamReceiver::new(syslog.clone())),
        KindSettings::Webhook(webhook) => Box::new(webhook::WebhookReceiver::new(webhook.clone())),
        #[cfg(feature = "kafka")]
        KindSettings::Kafka(kafka) => Box::new(kafka::KafkaReceiver::new(kafka.clone())),
        // The configuration refuses them in a program that has no Kafka.
        #[cfg(not(feature = "kafka"))]
        KindSettings::Kafka(_) => Box::new(stdout::StdoutReceiver),
    }
}

/// What a send that was cut short by the end of the program gives.
fn stopped() -> SendError {
    SendError::new(ErrorKind::Timeout, "the program ends")
}
