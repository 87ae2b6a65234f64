//! The log of the running sensor, on the standard error. Lines are text, with a priority in front for systemd's journal
//! (sd-daemon(3)), or JSON.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::settings::{Level, Log as LogSettings, LogFormat};

/// The log of a running sensor.
#[derive(Debug)]
pub struct Log {
    settings: Mutex<LogSettings>,
    is_journal: bool,
}

impl Log {
    /// A log with these settings.
    pub fn new(settings: LogSettings) -> Self {
        let is_journal = std::env::var_os("JOURNAL_STREAM").is_some() && !io::stderr().is_terminal();
        Self { settings: Mutex::new(settings), is_journal }
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
        // An error here has no other place to be reported.
        let _ = io::stderr().write_all(line.as_bytes());
    }
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
