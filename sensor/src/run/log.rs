//! The log of the running sensor, on the standard error. Lines are text, with a priority in front for systemd's journal
//! (sd-daemon(3)), or JSON.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::settings::{Level, Log as LogSettings, LogFormat};

/// Bytes of a line; the rest is cut.
const LINE_BYTES_MAX: usize = 2_048;

/// The log of a running sensor.
#[derive(Debug)]
pub struct Log {
    settings: Mutex<LogSettings>,
    is_journal: bool,
    /// Lines that could not be written.
    left_out: AtomicU64,
}

impl Log {
    /// A log with these settings.
    pub fn new(settings: LogSettings) -> Self {
        let is_journal = std::env::var_os("JOURNAL_STREAM").is_some() && !io::stderr().is_terminal();
        Self { settings: Mutex::new(settings), is_journal, left_out: AtomicU64::new(0) }
    }

    /// Replaces the settings.
    pub fn set(&self, settings: LogSettings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Logs an error.
    pub fn error(&self, text: &str) {
        self.write(Level::Error, text);
    }

    /// Logs a warning.
    pub fn warning(&self, text: &str) {
        self.write(Level::Warn, text);
    }

    /// Logs what the sensor is doing.
    pub fn info(&self, text: &str) {
        self.write(Level::Info, text);
    }

    fn write(&self, level: Level, text: &str) {
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if level > settings.level {
            return;
        }
        let line = match settings.format {
            LogFormat::Json => {
                let now = OffsetDateTime::from(SystemTime::now()).format(&Rfc3339).unwrap_or_default();
                format!("{}\n", serde_json::json!({"@timestamp": now, "log.level": level.as_str(), "message": text}))
            }
            LogFormat::Text if self.is_journal => format!("<{}>{text}\n", priority(level)),
            LogFormat::Text => format!("vigie: {}{text}\n", if level == Level::Info { "" } else { prefix(level) }),
        };
        self.write_line(&line);
    }
}

impl Log {
    /// Writes a line if that does not block: a pipe that nobody reads must not stop the sensor. How many lines were left out is
    /// said when there is room again.
    fn write_line(&self, line: &str) {
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        if !has_room(&io::stderr()) {
            self.left_out.fetch_add(left_out + 1, Ordering::Relaxed);
            return;
        }
        // A pipe with room takes so many bytes at once (PIPE_BUF, pipe(7)).
        let end =
            (0..=line.len().min(LINE_BYTES_MAX)).rev().find(|&end| line.is_char_boundary(end)).unwrap_or_default();
        let (line, newline) = (line.get(..end).unwrap_or_default(), if end < line.len() { "\n" } else { "" });
        // An error here has no other place to be reported.
        let _ = io::stderr().write_all(format!("{line}{newline}").as_bytes());
        if left_out > 0 {
            let _ = io::stderr().write_all(format!("vigie: {left_out} lines of this log were left out\n").as_bytes());
        }
    }
}

/// Whether a write of a line would not block.
fn has_room(target: &impl AsFd) -> bool {
    let mut entries = [PollFd::new(target.as_fd(), PollFlags::POLLOUT)];
    poll(&mut entries, PollTimeout::ZERO) != Ok(0)
}

const fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

const fn prefix(level: Level) -> &'static str {
    match level {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        Level::Info | Level::Debug | Level::Trace => "",
    }
}
