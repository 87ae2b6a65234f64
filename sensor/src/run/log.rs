//! What the sensor says of itself, on the standard error: a line each, for people and the journal of systemd with the
//! gravity in front as sd-daemon(3) has it, or as JSON.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config::{Level, Log as LogSettings, LogFormat};

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

    /// Goes on with other settings.
    pub fn set(&self, settings: LogSettings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Says something that must not be missed.
    pub fn error(&self, text: &str) {
        self.say(Level::Error, text);
    }

    /// Says something that wants looking after.
    pub fn warning(&self, text: &str) {
        self.say(Level::Warn, text);
    }

    /// Says what is being done.
    pub fn info(&self, text: &str) {
        self.say(Level::Info, text);
    }

    fn say(&self, level: Level, text: &str) {
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if level > settings.level {
            return;
        }
        let line = match settings.format {
            LogFormat::Json => {
                let now = OffsetDateTime::from(SystemTime::now()).format(&Rfc3339).unwrap_or_default();
                format!("{}\n", serde_json::json!({"@timestamp": now, "log.level": level.as_str(), "message": text}))
            }
            LogFormat::Text if self.is_journal => format!("<{}>{text}\n", gravity(level)),
            LogFormat::Text => format!("vigie: {}{text}\n", if level == Level::Info { "" } else { word(level) }),
        };
        // Where even this cannot be written there is nobody to be told.
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

const fn gravity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

const fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        Level::Info | Level::Debug | Level::Trace => "",
    }
}
