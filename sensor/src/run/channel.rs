//! The channel from the workers to the writer, bounded in events and in bytes: what an event takes is chosen by who sends
//! the packets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

use crate::event::Event;

/// How long a sender waits before it looks for room again.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The sending end.
#[derive(Clone, Debug)]
pub struct EventSender {
    channel: Sender<Event>,
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// The receiving end.
#[derive(Debug)]
pub struct EventReceiver {
    channel: Receiver<Event>,
    bytes: Arc<AtomicUsize>,
}

/// A channel for so many events that take so many bytes together. An event that takes more is sent when nothing else waits.
pub fn channel(events_max: usize, bytes_max: usize) -> (EventSender, EventReceiver) {
    let (sender, receiver) = bounded(events_max);
    let bytes = Arc::new(AtomicUsize::new(0));
    let receiver = EventReceiver { channel: receiver, bytes: Arc::clone(&bytes) };
    (EventSender { channel: sender, bytes, bytes_max }, receiver)
}

impl EventSender {
    /// Sends an event, or returns it if there is no room.
    pub fn try_send(&self, event: Event) -> Result<(), Event> {
        let bytes = event.memory_bytes();
        let before = self.bytes.fetch_add(bytes, Relaxed);
        if before > 0 && before.saturating_add(bytes) > self.bytes_max {
            self.bytes.fetch_sub(bytes, Relaxed);
            return Err(event);
        }
        self.channel.try_send(event).map_err(|refused| {
            self.bytes.fetch_sub(bytes, Relaxed);
            refused.into_inner()
        })
    }

    /// Sends an event when there is room, or returns it at the deadline.
    pub fn send_deadline(&self, mut event: Event, deadline: Instant) -> Result<(), Event> {
        loop {
            match self.try_send(event) {
                Ok(()) => return Ok(()),
                Err(refused) => event = refused,
            }
            if Instant::now() >= deadline {
                return Err(event);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Events that wait.
    pub fn len(&self) -> usize {
        self.channel.len()
    }

    /// Events for which there is room.
    pub fn capacity(&self) -> usize {
        self.channel.capacity().unwrap_or(usize::MAX)
    }
}

impl EventReceiver {
    /// The next event, for which it waits so long.
    pub fn recv_timeout(&self, time_max: Duration) -> Result<Event, RecvTimeoutError> {
        self.channel.recv_timeout(time_max).inspect(|event| self.took(event))
    }

    /// The next event, if one waits.
    pub fn try_recv(&self) -> Result<Event, TryRecvError> {
        self.channel.try_recv().inspect(|event| self.took(event))
    }

    fn took(&self, event: &Event) {
        self.bytes.fetch_sub(event.memory_bytes(), Relaxed);
    }
}
