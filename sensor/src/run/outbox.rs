//! The way of events from a worker to the writer: a bounded channel, on which the worker never waits. Events for which the
//! channel has no room go to the worker's own bounded queue, and are sent later. When that is full too, events are dropped
//! and counted, alerts last. Both are bounded in events and in bytes.

use std::collections::VecDeque;
use std::time::Instant;

use super::alert_rate::{Admission, AlertRate};
use super::channel::EventSender;
use crate::event::{Event, Fact};

/// How much a worker's own queue holds.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    /// Events.
    pub events_max: usize,
    /// Their bytes.
    pub bytes_max: usize,
}

/// Events that will not be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Alerts.
    pub alerts: u64,
    /// Other events.
    pub others: u64,
}

/// The events that a worker sends to the writer.
#[derive(Debug)]
pub struct Outbox {
    channel: EventSender,
    rate: AlertRate,
    queue: VecDeque<Event>,
    queue_bytes: usize,
    limits: QueueLimits,
    dropped: Dropped,
    summarised: u64,
}

impl Outbox {
    /// An outbox with its own queue. Events other than alerts may fill half of that.
    pub const fn new(channel: EventSender, limits: QueueLimits, rate: AlertRate) -> Self {
        Self {
            channel,
            rate,
            queue: VecDeque::new(),
            queue_bytes: 0,
            limits,
            dropped: Dropped { alerts: 0, others: 0 },
            summarised: 0,
        }
    }

    /// Sends an event, now or when there is room. Events stay in order.
    pub fn send(&mut self, event: Event) {
        if !is_alert(&event) {
            return self.send_or_enqueue(event);
        }
        match self.rate.admit(event, Instant::now()) {
            Admission::Write(event) => self.send_or_enqueue(event),
            Admission::Held => {}
            Admission::Summarised => self.summarised += 1,
        }
    }

    /// Sends the alerts that stand for others of their client, if their time has come.
    pub fn release_held(&mut self, now: Instant) {
        self.release(now, false);
    }

    /// Sends the queued events for which there is room.
    #[inline]
    pub fn flush(&mut self) {
        while let Some(event) = self.dequeue() {
            if let Err(event) = self.channel.try_send(event) {
                return self.put_back(event);
            }
        }
    }

    /// Sends the queued events, and waits for room until `deadline`. For a worker without packets.
    pub fn flush_until(&mut self, deadline: Instant) {
        while let Some(event) = self.dequeue() {
            if let Err(event) = self.channel.send_deadline(event, deadline) {
                return self.put_back(event);
            }
        }
    }

    /// Sends the queued events until `deadline`. Returns how many could not be sent.
    pub fn close(&mut self, deadline: Instant) -> Dropped {
        self.release(Instant::now(), true);
        self.flush_until(deadline);
        let alerts = self.queue.iter().filter(|event| is_alert(event)).count();
        Dropped { alerts: alerts as u64, others: (self.queue.len() - alerts) as u64 }
    }

    /// The number of events in the queue, and in the channel.
    pub fn depths(&self) -> (usize, usize) {
        (self.queue.len(), self.channel.len())
    }

    /// The capacity of the channel.
    pub fn channel_events_max(&self) -> usize {
        self.channel.capacity()
    }

    /// The events dropped since the last call.
    pub const fn take_dropped(&mut self) -> Dropped {
        std::mem::replace(&mut self.dropped, Dropped { alerts: 0, others: 0 })
    }

    /// The alerts since the last call for which another one stands.
    pub const fn take_summarised(&mut self) -> u64 {
        std::mem::replace(&mut self.summarised, 0)
    }

    #[cold]
    fn release(&mut self, now: Instant, all: bool) {
        let mut released = Vec::new();
        self.rate.release(now, all, &mut |event| released.push(event));
        released.into_iter().for_each(|event| self.send_or_enqueue(event));
    }

    fn send_or_enqueue(&mut self, event: Event) {
        if !self.queue.is_empty() {
            return self.enqueue(event);
        }
        if let Err(event) = self.channel.try_send(event) {
            self.enqueue(event);
        }
    }

    fn dequeue(&mut self) -> Option<Event> {
        let event = self.queue.pop_front()?;
        self.queue_bytes -= event.memory_bytes();
        Some(event)
    }

    fn put_back(&mut self, event: Event) {
        self.queue_bytes += event.memory_bytes();
        self.queue.push_front(event);
    }

    #[cold]
    fn enqueue(&mut self, event: Event) {
        let is_alert = is_alert(&event);
        let share = if is_alert { 1 } else { 2 };
        let bytes = self.queue_bytes.saturating_add(event.memory_bytes());
        let has_room = self.queue.len() < self.limits.events_max / share && bytes <= self.limits.bytes_max / share;
        match (has_room, is_alert) {
            (true, _) => {
                self.queue_bytes = bytes;
                self.queue.push_back(event);
            }
            (false, true) => self.dropped.alerts += 1,
            (false, false) => self.dropped.others += 1,
        }
    }
}

const fn is_alert(event: &Event) -> bool {
    matches!(event.fact, Fact::Sighting(_) | Fact::Question(_))
}
