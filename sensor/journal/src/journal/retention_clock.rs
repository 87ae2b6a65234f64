//! The clock by which retention counts. It follows the clock of the machine, but goes at most [`SPEED_MAX`] times as fast as
//! time passes: a clock that jumps a year ahead would else have the journal deleted at once. After the machine was off, it
//! needs an hour for each day. A clock that is set back is followed at once: nothing is removed too early by that.
//!
//! It is saved in the folder of the journal, so that a restart does not let a jump pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::replace_file;

/// The file: seconds since the Unix epoch.
const NAME: &str = "retention.clock";
/// How much faster than time it may go.
const SPEED_MAX: u32 = 24;
/// Farther behind the machine's clock, it is told.
const BEHIND_MAX: Duration = Duration::from_secs(86_400);

/// The clock.
pub(super) struct RetentionClock {
    path: PathBuf,
    time: SystemTime,
    advanced: Instant,
    saved: SystemTime,
    is_told: bool,
}

impl RetentionClock {
    /// The clock of the journal in this folder; the machine's clock where none was saved.
    pub(super) fn open(folder: &Path, now: Instant, wall: SystemTime) -> Self {
        let path = folder.join(NAME);
        let saved = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        let time = saved.map_or(wall, |seconds: u32| UNIX_EPOCH + Duration::from_secs(seconds.into())).min(wall);
        Self { path, time, advanced: now, saved: UNIX_EPOCH, is_told: false }
    }

    /// The time by which retention counts.
    pub(super) fn advance(&mut self, now: Instant, wall: SystemTime) -> SystemTime {
        let passed = now.saturating_duration_since(self.advanced).saturating_mul(SPEED_MAX);
        self.advanced = now;
        self.time = wall.min(self.time.checked_add(passed).unwrap_or(wall));
        self.time
    }

    /// How far it is behind the machine's clock, once each time that it falls behind.
    pub(super) fn take_behind(&mut self, wall: SystemTime) -> Option<Duration> {
        let behind = wall.duration_since(self.time).unwrap_or_default();
        let is_new = behind > BEHIND_MAX && !self.is_told;
        self.is_told = behind > BEHIND_MAX;
        is_new.then_some(behind)
    }

    /// Saves it, if it has moved by more than a few minutes.
    pub(super) fn save(&mut self) -> std::io::Result<()> {
        let moved = self.time.duration_since(self.saved).or_else(|_| self.saved.duration_since(self.time));
        if moved.unwrap_or_default() < Duration::from_secs(600) {
            return Ok(());
        }
        let seconds = self.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        replace_file(&self.path, 0o600, &[format!("{seconds}\n").as_bytes()])?;
        self.saved = self.time;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn it_follows_the_clock_of_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let (now, wall) = (Instant::now(), SystemTime::now());
        let mut clock = RetentionClock::open(folder.path(), now, wall);
        assert_eq!(clock.advance(now + HOUR, wall + HOUR), wall + HOUR);
        assert_eq!(clock.advance(now + HOUR, wall - DAY), wall - DAY, "set back");
        assert_eq!(clock.take_behind(wall - DAY), None);
    }

    #[test]
    fn a_jump_of_a_year_passes_slowly_and_through_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let (now, wall) = (Instant::now(), SystemTime::now());
        let mut clock = RetentionClock::open(folder.path(), now, wall);
        clock.advance(now, wall);
        clock.save().unwrap();
        let wrong = wall + 365 * DAY;
        assert_eq!(clock.advance(now + HOUR, wrong), wall + DAY);
        assert!(clock.take_behind(wrong).is_some_and(|behind| behind == 364 * DAY));
        assert_eq!(clock.take_behind(wrong), None, "told once");
        clock.save().unwrap();
        let mut clock = RetentionClock::open(folder.path(), now, wrong);
        let time = clock.advance(now + HOUR, wrong);
        assert!(time <= wall + 2 * DAY && time > wall + DAY);
        // Mended.
        assert_eq!(clock.advance(now + HOUR, wall + HOUR), wall + HOUR);
    }

    #[test]
    fn a_file_that_is_damaged_or_of_the_future_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let (now, wall) = (Instant::now(), SystemTime::now());
        for text in ["", "?", "4294967295", "-1"] {
            fs::write(folder.path().join(NAME), text).unwrap();
            assert_eq!(RetentionClock::open(folder.path(), now, wall).advance(now, wall), wall, "{text}");
        }
    }
}
