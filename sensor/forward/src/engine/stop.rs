//! The wish to end, which every thread sees at once.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tells threads to end.
#[derive(Debug, Default)]
pub struct Stop {
    is_wanted: Mutex<bool>,
    wanted: Condvar,
}

impl Stop {
    /// Tells all threads that wait here.
    pub fn ask(&self) {
        *self.is_wanted.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wanted.notify_all();
    }

    /// Whether the program shall end.
    pub fn is_asked(&self) -> bool {
        *self.is_wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits; `true`, and at once, when the program shall end.
    pub fn wait(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut is_wanted = self.is_wanted.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_wanted {
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return false;
            };
            (is_wanted, _) = self.wanted.wait_timeout(is_wanted, left).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }
}
