//! The engine: a thread for each receiver, which none of the others can hold up.

mod retry;
mod state;
mod status;
mod stop;
mod worker;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use self::state::{RejectedFile, StateFile};
pub use self::status::{Log, Status};
pub use self::stop::Stop;
pub use self::worker::journal_error;

use self::worker::Worker;
use crate::configuration::Configuration;

/// How a set of threads ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All receivers have everything that they had to get.
    Done,
    /// Some do not.
    Undelivered,
    /// A thread panicked.
    Panicked,
}

/// The threads of all receivers.
#[derive(Debug)]
pub struct Engine {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<bool>>,
}

impl Engine {
    /// Starts a thread for each receiver. `statuses` has one for each, in the same order.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start(configuration: &Configuration, statuses: &[Arc<Status>], once: bool) -> io::Result<Self> {
        let stop = Arc::<Stop>::default();
        let mut engine = Self { stop: Arc::clone(&stop), threads: Vec::new() };
        for (receiver, status) in configuration.receivers.iter().zip(statuses) {
            let worker = Worker::new(
                receiver.clone(),
                configuration.settings.clone(),
                Arc::clone(status),
                Arc::clone(&stop),
                once,
            );
            // The kernel shows 15 bytes of a thread's name.
            let thread = thread::Builder::new().name(receiver.name.clone()).spawn(move || worker.run());
            match thread {
                Ok(thread) => engine.threads.push(thread),
                Err(error) => {
                    engine.stop.ask();
                    return Err(error);
                }
            }
        }
        Ok(engine)
    }

    /// Whether a thread has ended, as it does after `--once`, or by a defect.
    pub fn has_ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Whether all threads have ended.
    pub fn all_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Tells all threads to end.
    pub fn ask_to_stop(&self) {
        self.stop.ask();
    }

    /// Waits for all threads, at most this long. A thread that waits for an answer of its receiver is left behind; what it
    /// sent and nobody acknowledged is sent again.
    pub fn join(self, time_max: Duration) -> Ended {
        let until = Instant::now() + time_max;
        while !self.all_ended() && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        let mut ended = Ended::Done;
        for thread in self.threads {
            if !thread.is_finished() {
                ended = Ended::Undelivered;
                continue;
            }
            match thread.join() {
                Ok(true) => {}
                Ok(false) if ended == Ended::Done => ended = Ended::Undelivered,
                Ok(false) => {}
                Err(_) => ended = Ended::Panicked,
            }
        }
        ended
    }
}
