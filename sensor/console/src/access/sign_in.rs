//! Passwords, checked one at a time. Who guesses is slowed down, whether the user is there or not.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Users;

/// Wrong passwords for a name until it has to wait.
const WRONG_MAX: u32 = 5;
/// How long it has to.
const WAIT: Duration = Duration::from_secs(300);
/// Names that are remembered; beyond, all have to wait.
const NAMES_MAX: usize = 4_096;
/// Passwords that wait to be checked.
const WAITING_MAX: usize = 16;
/// How long a wrong answer takes beside the check.
const REST: Duration = Duration::from_millis(400);
/// The longest password that bcrypt distinguishes.
const PASSWORD_BYTES_MAX: usize = 72;

/// What comes of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Right,
    Wrong,
    /// There were too many tries.
    Later,
}

/// Checks passwords.
pub struct SignIn {
    turn: Semaphore,
    waiting: Semaphore,
    wrong: Mutex<HashMap<String, (u32, Instant)>>,
}

impl SignIn {
    pub fn new() -> Self {
        Self { turn: Semaphore::new(1), waiting: Semaphore::new(WAITING_MAX), wrong: Mutex::default() }
    }

    /// Checks a password.
    pub async fn check(&self, users: &Users, name: &str, password: &str) -> Answer {
        let Ok(_waiting) = self.waiting.try_acquire() else { return Answer::Later };
        let Ok(_turn) = self.turn.acquire().await else { return Answer::Later };
        if self.has_to_wait(name) {
            return Answer::Later;
        }
        let (hash, is_known) = users.hash(name);
        let given = password.to_owned();
        let check = move || given.len() <= PASSWORD_BYTES_MAX && bcrypt::verify(&given, &hash).unwrap_or(false);
        let is_right = spawn_blocking(check).await.unwrap_or(false);
        if is_right && is_known {
            self.wrong.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
            return Answer::Right;
        }
        self.count_wrong(name);
        sleep(REST).await;
        Answer::Wrong
    }

    fn count_wrong(&self, name: &str) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = wrong.entry(name.to_owned()).or_insert((0, Instant::now()));
        *entry = (entry.0 + 1, Instant::now());
    }

    fn has_to_wait(&self, name: &str) -> bool {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.retain(|_, (_, at)| at.elapsed() < WAIT);
        match wrong.get(name) {
            Some((count, _)) => *count >= WRONG_MAX,
            None => wrong.len() >= NAMES_MAX,
        }
    }
}
