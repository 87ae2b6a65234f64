//! The settings that are one of a few words.

use vigie_capture::live::{Backend, Fanout, ShuntMode, Timestamps};
use vigie_privacy::PeriodLength;
use vigie_privilege::Demand;

use super::Settings;

vigie_config::choices! {
    /// A kind of record that is written besides incidents and alerts.
    Record {
        /// Alerts, which are always written.
        Alert = "alert",
        /// Flows that matched a signature, whatever the policy.
        Sighting = "sighting",
        /// TLS and DTLS hellos.
        Tls = "tls",
        /// QUIC hellos.
        Quic = "quic",
        /// Hosts of HTTP requests.
        Http = "http",
        /// DNS answers.
        Dns = "dns",
        /// Ends of flows.
        Flow = "flow",
        /// Counters of the sensor.
        Stats = "stats",
    }

    /// Clients that no scope and no asset names.
    Unlisted {
        /// Official devices, unless a scope or an asset names such.
        Auto = "auto",
        /// Official devices.
        Official = "official",
        /// Out of scope: nothing is recorded of them.
        Out = "out",
    }

    /// A language of texts for people.
    Language {
        /// French.
        French = "fr",
        /// English.
        English = "en",
        /// Dutch.
        Dutch = "nl",
    }

    /// How long a key of pseudonyms is used.
    KeyPeriod {
        /// A calendar month.
        Month = "month",
        /// A week that begins on Monday.
        Week = "week",
        /// A day.
        Day = "day",
    }

    /// Whom the first finding of a client names.
    Naming {
        /// The client.
        Named = "named",
        /// Nobody: only site and service.
        WarnFirst = "warn-first",
    }

    /// When events are forced to the disk (fsync(2)).
    Fsync {
        /// When the kernel decides: a power failure may lose the last half minute.
        Never = "never",
        /// Every `fsync_interval_ms`.
        Interval = "interval",
        /// After every write.
        Each = "each",
    }

    /// The least severe messages that the sensor logs.
    Level {
        /// Errors that stop its work.
        Error = "error",
        /// Unusual events.
        Warn = "warn",
        /// Start, stop, reload and changes of state.
        Info = "info",
        /// Details that help to find an error.
        Debug = "debug",
        /// Everything.
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

vigie_config::word_settings!(Settings: Backend, Fanout, ShuntMode, Timestamps, Demand);

impl KeyPeriod {
    /// The length of the period.
    pub const fn length(self) -> PeriodLength {
        match self {
            Self::Month => PeriodLength::Month,
            Self::Week => PeriodLength::Week,
            Self::Day => PeriodLength::Day,
        }
    }
}

impl Record {
    /// Whether such records name traffic of which nothing else is recorded.
    pub const fn names_all_traffic(self) -> bool {
        !matches!(self, Self::Alert | Self::Stats)
    }
}
