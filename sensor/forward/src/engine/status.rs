//! What is counted of a receiver, for metrics and the log.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{ErrorKind, SendError};
use crate::time::{now_s, seconds_of};

/// A fault that stays is told again after this time.
const TELL_AGAIN: Duration = Duration::from_secs(600);

/// Takes one line for the program's log.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// What the log has been told of a fault that lasts.
#[derive(Debug)]
struct Fault {
    message: String,
    told: Instant,
    failures: u64,
}

/// The counts of a receiver. They outlive a reload.
pub struct Status {
    name: String,
    log: Log,
    events: AtomicU64,
    bytes: AtomicU64,
    errors: [AtomicU64; ErrorKind::ALL.len()],
    rejected: AtomicU64,
    unreadable: AtomicU64,
    lost_segments: AtomicU64,
    went_back: AtomicU64,
    lag_bytes: AtomicU64,
    lag_events: AtomicU64,
    /// Bits of an `f64`: the time of the oldest event that waits, in seconds since the Unix epoch; 0: none waits.
    oldest: AtomicU64,
    /// Bits of an `f64`: when events were last acknowledged; 0: never.
    last_success: AtomicU64,
    fault: Mutex<Option<Fault>>,
}

impl std::fmt::Debug for Status {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Status").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Status {
    /// All counts at 0.
    pub fn new(name: &str, log: Log) -> Self {
        let zero = AtomicU64::default;
        Self {
            name: name.to_owned(),
            log,
            events: zero(),
            bytes: zero(),
            errors: std::array::from_fn(|_| zero()),
            rejected: zero(),
            unreadable: zero(),
            lost_segments: zero(),
            went_back: zero(),
            lag_bytes: zero(),
            lag_events: zero(),
            oldest: zero(),
            last_success: zero(),
            fault: Mutex::new(None),
        }
    }

    fn fault(&self) -> MutexGuard<'_, Option<Fault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line about the receiver to the log.
    pub fn tell(&self, text: &str) {
        (self.log)(&format!("receiver {}: {text}", self.name));
    }

    /// The receiver has these now.
    pub fn acknowledged(&self, events: usize, bytes: usize) {
        self.events.fetch_add(events as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.last_success.store(now_s().to_bits(), Relaxed);
    }

    /// Something went wrong. The log is told once of each fault, and now and then while it stays.
    pub fn failed(&self, error: &SendError) {
        if let Some(count) = self.errors.get(error.kind as usize) {
            count.fetch_add(1, Relaxed);
        }
        let mut fault = self.fault();
        let failures = fault.as_ref().map_or(0, |fault| fault.failures) + 1;
        match &mut *fault {
            Some(known) if known.message == error.message && known.told.elapsed() < TELL_AGAIN => {
                known.failures = failures;
            }
            _ => {
                self.tell(&error.message);
                *fault = Some(Fault { message: error.message.clone(), told: Instant::now(), failures });
            }
        }
    }

    /// Nothing is wrong any more.
    pub fn works(&self) {
        if let Some(fault) = self.fault().take() {
            let tries =
                if fault.failures == 1 { "1 failure".to_owned() } else { format!("{} failures", fault.failures) };
            self.tell(&format!("works again, after {tries}"));
        }
    }

    /// What is wrong, if something is.
    pub fn current_fault(&self) -> Option<String> {
        self.fault().as_ref().map(|fault| fault.message.clone())
    }

    /// An event was set aside that the receiver rejected.
    pub fn event_rejected(&self, text: &str) {
        if self.rejected.fetch_add(1, Relaxed) < 10 {
            self.tell(text);
        }
    }

    /// A line of the journal was set aside that is no event.
    pub fn line_unreadable(&self, text: &str) {
        if self.unreadable.fetch_add(1, Relaxed) < 10 {
            self.tell(text);
        }
    }

    /// Segments were removed before they were read.
    pub fn lost(&self, segments: u64) {
        self.lost_segments.fetch_add(segments, Relaxed);
        let (what, were) = if segments == 1 { ("segment", "was") } else { ("segments", "were") };
        self.tell(&format!(
            "{segments} {what} of the journal {were} removed before this receiver had them; keep more in the journal"
        ));
    }

    /// The journal was cut, as after a power loss: events come again.
    pub fn went_back(&self) {
        self.went_back.fetch_add(1, Relaxed);
        self.tell(
            "the journal does not have the event at the cursor, so events since the seal before it are sent again",
        );
    }

    /// How much of the journal the receiver does not have yet.
    pub fn set_lag(&self, bytes: u64, events: u64) {
        self.lag_bytes.store(bytes, Relaxed);
        self.lag_events.store(events, Relaxed);
    }

    /// The time of the oldest event that waits.
    pub fn set_oldest(&self, timestamp: Option<&str>) {
        let seconds = timestamp.map(|text| seconds_of(text).unwrap_or_else(now_s));
        self.oldest.store(seconds.unwrap_or(0.0).to_bits(), Relaxed);
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Events that it has, and their bytes.
    pub fn sent(&self) -> (u64, u64) {
        (self.events.load(Relaxed), self.bytes.load(Relaxed))
    }

    /// Errors by kind.
    pub fn errors(&self) -> impl Iterator<Item = (ErrorKind, u64)> + '_ {
        ErrorKind::ALL.iter().zip(&self.errors).map(|(kind, count)| (*kind, count.load(Relaxed)))
    }

    /// Events that were set aside: rejected ones, and lines that are no event.
    pub fn set_aside(&self) -> [(&'static str, u64); 2] {
        [("receiver", self.rejected.load(Relaxed)), ("unreadable", self.unreadable.load(Relaxed))]
    }

    /// Segments that were lost, and how often the journal was cut.
    pub fn losses(&self) -> (u64, u64) {
        (self.lost_segments.load(Relaxed), self.went_back.load(Relaxed))
    }

    /// Bytes and events of the journal that wait, and seconds for which the oldest event has waited.
    pub fn lag(&self) -> (u64, u64, f64) {
        let oldest = f64::from_bits(self.oldest.load(Relaxed));
        let seconds = if oldest == 0.0 { 0.0 } else { (now_s() - oldest).max(0.0) };
        (self.lag_bytes.load(Relaxed), self.lag_events.load(Relaxed), seconds)
    }

    /// When events were last acknowledged, in seconds since the Unix epoch; 0: never.
    pub fn last_success(&self) -> f64 {
        f64::from_bits(self.last_success.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_once() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lines);
        let status = Status::new("soc", Arc::new(move |line: &str| seen.lock().unwrap().push(line.to_owned())));
        let error = SendError::new(ErrorKind::Busy, "siem is busy (503)");
        for _ in 0..3 {
            status.failed(&error);
        }
        assert_eq!(status.current_fault().as_deref(), Some("siem is busy (503)"));
        status.works();
        status.works();
        assert_eq!(
            *lines.lock().unwrap(),
            ["receiver soc: siem is busy (503)", "receiver soc: works again, after 3 failures"]
        );
        assert_eq!(status.errors().map(|(_, count)| count).sum::<u64>(), 3);
    }
}
