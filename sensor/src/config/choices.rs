//! The settings that are one of a few words.

use std::fmt;
use std::str::FromStr;

use super::finding::Fault;
use super::nearest::nearest;
use super::typed::{Meant, Place, Typed, toml_text};
use vigie_capture::live::{Backend, Fanout, Timestamps};
use vigie_privilege::Demand;

/// How enums with `WORDS` are read as settings that are one of a few words.
macro_rules! spoken {
    ($($Name:ident),+) => {$(
        impl Meant for $Name {
            fn kind() -> String {
                one_of(Self::WORDS)
            }

            fn mean(typed: &Typed, place: &Place<'_>) -> Result<Self, Fault> {
                let text = typed.as_text().unwrap_or_default();
                text.parse().map_err(|_| {
                    let mend = match nearest(text, Self::WORDS.iter().copied()) {
                        Some(word) => format!("did you mean {}?", toml_text(word)),
                        None => place.usual(),
                    };
                    Fault::new(format!("expected {}", Self::kind()), mend)
                })
            }

            fn toml(&self) -> String {
                toml_text(&self.to_string())
            }
        }
    )+};
}

/// Declares settings that are one of a few words: the enum, its words, and how it is read.
macro_rules! choices {
    ($($(#[doc = $doc:literal])+ $Name:ident { $($(#[doc = $variant_doc:literal])+ $Variant:ident = $word:literal,)+ })+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $Name { $($(#[doc = $variant_doc])+ $Variant),+ }

        impl $Name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$Variant),+];

            /// The words for them.
            pub const WORDS: &[&str] = &[$($word),+];

            /// As it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$Variant => $word),+ }
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl FromStr for $Name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$Variant),)+
                    _ => Err(format!("expected {}", one_of(Self::WORDS))),
                }
            }
        }

        spoken!($Name);
    )+};
}

choices! {
    /// A kind of record written besides alerts.
    Record {
        /// TLS and DTLS hellos.
        Tls = "tls",
        /// QUIC hellos.
        Quic = "quic",
        /// DNS answers.
        Dns = "dns",
        /// Ends of flows.
        Flow = "flow",
        /// The sensor's own counters.
        Stats = "stats",
    }

    /// When events are forced to the disk (fsync(2)).
    Fsync {
        /// When the kernel sees fit: a power cut may cost the last half minute.
        Never = "never",
        /// Every `fsync_interval_ms`.
        Interval = "interval",
        /// After every write.
        Each = "each",
    }

    /// From which gravity on the sensor speaks of itself.
    Level {
        /// What keeps it from working.
        Error = "error",
        /// What is odd.
        Warn = "warn",
        /// Start, stop, reload and changes of state.
        Info = "info",
        /// What helps to find a fault.
        Debug = "debug",
        /// All there is.
        Trace = "trace",
    }

    /// How the sensor's own log is written.
    LogFormat {
        /// Lines for people and the systemd journal.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

// What the parts behind the settings declare themselves.
spoken!(Backend, Fanout, Timestamps, Demand);

impl Record {
    /// Whether such records name traffic that matched nothing.
    pub const fn tells_of_everybody(self) -> bool {
        !matches!(self, Self::Stats)
    }
}

/// `a, b or c`.
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [head @ .., last] => format!("{} or {last}", head.join(", ")),
    }
}
