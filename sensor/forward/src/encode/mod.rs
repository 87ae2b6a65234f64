//! The encodings of one event.
//!
//! An event of the journal is one line of Suricata EVE JSON. A receiver gets it as that line, or in an encoding of this module.

mod cef;
mod ecs;
mod event;
mod fields;
mod json;
mod leef;
mod ocsf;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use event::Event;

/// How an event is written for a receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// The journal's line as it is: Suricata EVE JSON.
    #[default]
    Eve,
    /// Elastic Common Schema, JSON.
    Ecs,
    /// Open Cybersecurity Schema Framework, JSON.
    Ocsf,
    /// ArcSight's Common Event Format.
    Cef,
    /// QRadar's Log Event Extended Format.
    Leef,
}

/// Why a line cannot be encoded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EncodeError {
    /// The line is no EVE event.
    #[error("the line is no event: {0}")]
    NoEvent(String),
    /// The time of the event cannot be read.
    #[error("the line is no event: its timestamp cannot be read")]
    Timestamp,
}

impl Encoding {
    /// Every encoding, by the word that a configuration uses.
    pub const ALL: [Self; 5] = [Self::Eve, Self::Ecs, Self::Ocsf, Self::Cef, Self::Leef];

    /// Appends one event to `out`, without a line end. `line` is a line of the journal, without its line end.
    ///
    /// # Errors
    /// The line is no event; `out` is as it was. [`Self::Eve`] takes any line.
    pub fn encode(self, line: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self == Self::Eve {
            out.extend_from_slice(line);
            return Ok(());
        }
        let event = Event::read(line)?;
        match self {
            Self::Eve => {}
            Self::Ecs => ecs::encode(&event, out),
            Self::Ocsf => ocsf::encode(&event, out),
            Self::Cef => cef::encode(&event, out),
            Self::Leef => leef::encode(&event, out),
        }
        Ok(())
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Eve => "eve",
            Self::Ecs => "ecs",
            Self::Ocsf => "ocsf",
            Self::Cef => "cef",
            Self::Leef => "leef",
        })
    }
}

impl FromStr for Encoding {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|encoding| encoding.to_string() == word).ok_or_else(|| {
            let known: Vec<String> = Self::ALL.iter().map(ToString::to_string).collect();
            format!("unknown encoding; one of {}", known.join(", "))
        })
    }
}
