//! The encodings of one event.
//!
//! An event of the journal is one line of Suricata EVE JSON. A receiver gets it as that line, or in an encoding of this module.

use std::fmt;
use std::str::FromStr;

/// How an event is written for a receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// The journal's line as it is: Suricata EVE JSON.
    #[default]
    Eve,
}

/// Why a line cannot be encoded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EncodeError {
    /// The line is no JSON object.
    #[error("the line is no JSON object")]
    NotAnObject,
}

impl Encoding {
    /// Every encoding, by the word that a configuration uses.
    pub const ALL: [Self; 1] = [Self::Eve];

    /// Appends one event to `out`, without a line end. `line` is a line of the journal, without its line end.
    ///
    /// # Errors
    /// The line is no event.
    pub fn encode(self, line: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Eve => out.extend_from_slice(line),
        }
        Ok(())
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Eve => "eve",
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

#[cfg(test)]
mod tests {
    use super::Encoding;

    #[test]
    fn eve_is_the_line_as_it_is() {
        let line = br#"{"event_type":"alert"}"#;
        let mut out = Vec::new();
        Encoding::Eve.encode(line, &mut out).unwrap();
        assert_eq!(out, line);
        assert_eq!("eve".parse(), Ok(Encoding::Eve));
        assert!("json".parse::<Encoding>().unwrap_err().contains("eve"));
    }
}
