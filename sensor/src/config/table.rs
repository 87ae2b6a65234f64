//! The table of settings: one entry makes the field, its type, default, rule, documentation, and whether it may change
//! while the sensor runs. From it come the known keys, the default file, the classification of reloads and the
//! documentation. What settings say of each other is `combinations`' matter.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;

use super::choices::{Fsync, Level, LogFormat, Record};
use super::finding::Fault;
use super::limits::Limits;
use super::rules::{absolute, account, group, interface, output, printable, sensor_name};
use super::typed::{Meant, Mode, Place, Rule, Typed};
use crate::telemetry::ADDRESS_DEFAULT;
use vigie_capture::live::options::{
    BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, BLOCK_TIMEOUT_MS_MAX, RING_BYTES_MAX, SNAP_BYTES_MAX, SNAP_BYTES_MIN,
};
use vigie_capture::live::{Backend, Fanout, Timestamps};
use vigie_privilege::{Demand, LANDLOCK_DEFAULT, SECCOMP_DEFAULT};

/// When a changed setting takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// On reload, while the sensor runs.
    Live,
    /// When the sensor is started the next time.
    Restart,
}

/// A setting, as the table tells of it.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its section.
    pub section: &'static str,
    /// Its name within the section.
    pub name: &'static str,
    /// `section.name`.
    pub key: String,
    /// Its type in words.
    pub kind: String,
    /// What it means.
    pub documentation: &'static str,
    /// What it must be besides its type.
    pub rule: Rule,
    /// When a change takes effect.
    pub change: Change,
    /// Its default, as it would be typed.
    pub default: String,
}

impl Definition {
    /// Type and range in words.
    pub fn range(&self) -> String {
        match self.rule {
            Rule::Within(least, most) => format!("{} from {least} to {most}", self.kind),
            Rule::Text(what, _) => format!("{}, {what}", self.kind),
            Rule::Any => self.kind.clone(),
        }
    }

    /// Its variable in the environment.
    pub fn variable(&self) -> String {
        format!("VIGIE_{}__{}", self.section.to_uppercase(), self.name.to_uppercase())
    }
}

/// Sections, with what they are about, in the order of the file.
pub const SECTIONS: &[(&str, &str)] = &[
    ("sensor", "The sensor itself."),
    ("capture", "Where packets come from."),
    ("limits", "What a worker may spend; each bite of a limit is counted under its name."),
    ("events", "Where events go."),
    ("signatures", "What is recognised."),
    ("metrics", "What Prometheus is told, over HTTP."),
    ("privilege", "What the sensor may still do once it runs."),
    ("log", "What the sensor says of itself, on the standard error."),
];

/// All settings, in the order of [`SECTIONS`].
pub fn definitions() -> &'static [Definition] {
    static DEFINITIONS: LazyLock<Vec<Definition>> = LazyLock::new(|| {
        let table = definitions_of_the_table();
        let of = |section: &str| match section {
            "limits" => definitions_of_limits(),
            _ => table.iter().filter(|definition| definition.section == section).cloned().collect(),
        };
        SECTIONS.iter().flat_map(|(section, _)| of(section)).collect()
    });
    &DEFINITIONS
}

/// The setting of that name.
pub fn definition(section: &str, name: &str) -> Option<&'static Definition> {
    definitions().iter().find(|definition| definition.section == section && definition.name == name)
}

fn definitions_of_limits() -> Vec<Definition> {
    let of = |&(name, default, documentation): &(&'static str, usize, &'static str)| {
        let (least, most) = Limits::range(name).unwrap_or((0, usize::MAX));
        Definition {
            section: "limits",
            name,
            key: format!("limits.{name}"),
            kind: usize::kind(),
            documentation: documentation.trim(),
            rule: Rule::Within(least as u64, most as u64),
            change: Change::Restart,
            default: default.toml(),
        }
    };
    Limits::TABLE.iter().map(of).collect()
}

macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $Section:ident {$(
            $(#[doc = $doc:literal])+
            $name:ident: $Type:ty = $default:expr, $rule:expr, $change:ident;
        )+}
    )+) => {
        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $Section { $($(#[doc = $doc])+ pub $name: $Type),+ }
        )+

        /// All settings: valid, and nothing in them left to be worked out.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Settings {
            $($(#[doc = $section_doc])+ pub $section: $Section,)+
            /// What a worker may spend.
            pub limits: Limits,
        }

        impl Settings {
            /// The defaults as they are typed: nothing worked out from the machine yet.
            pub(super) fn of_the_table() -> Self {
                Self {
                    $($section: $Section { $($name: $default),+ },)+
                    limits: Limits::default(),
                }
            }

            /// Sets what `definition` is about.
            pub(super) fn set(&mut self, definition: &Definition, typed: &Typed) -> Result<(), Fault> {
                let place =
                    Place { name: definition.name, rule: definition.rule, default: &definition.default };
                match (definition.section, definition.name) {
                    $($((stringify!($section), stringify!($name)) => {
                        self.$section.$name = <$Type>::mean(typed, &place)?;
                    })+)+
                    (_, name) => {
                        let number = usize::mean(typed, &place)?;
                        self.limits.set(name, number).map_err(|what| Fault::new(what, place.usual()))?;
                    }
                }
                Ok(())
            }

            /// Takes one setting over from `new`.
            pub(super) fn take(&mut self, new: &Self, section: &str, name: &str) {
                match (section, name) {
                    $($((stringify!($section), stringify!($name)) => {
                        self.$section.$name.clone_from(&new.$section.$name);
                    })+)+
                    _ => self.limits.clone_from(&new.limits),
                }
            }

            /// A setting as it would be typed; empty if there is none of that name.
            pub fn toml(&self, section: &str, name: &str) -> String {
                match (section, name) {
                    $($((stringify!($section), stringify!($name)) => self.$section.$name.toml(),)+)+
                    _ => self.limits.get(name).map(|limit| limit.toml()).unwrap_or_default(),
                }
            }
        }

        fn definitions_of_the_table() -> Vec<Definition> {
            let defaults = Settings::of_the_table();
            vec![$($(Definition {
                section: stringify!($section),
                name: stringify!($name),
                key: concat!(stringify!($section), ".", stringify!($name)).to_owned(),
                kind: <$Type>::kind(),
                documentation: concat!($($doc),+).trim_ascii(),
                rule: $rule,
                change: Change::$change,
                default: defaults.$section.$name.toml(),
            },)+)+]
        }
    };
}

settings! {
    /// The sensor itself.
    sensor: Sensor {
        /// Name of this sensor, written into events as `host`; empty: the machine's host name.
        name: String = String::new(), Rule::Text("at most 255 characters", sensor_name), Restart;
    }

    /// Where packets come from.
    capture: Capture {
        /// Interfaces to listen on, such as the two legs of a tap. At least one is needed; all are one view of flows.
        interfaces: Vec<String> = Vec::new(), Rule::Text("names of network interfaces", interface), Restart;
        /// Who takes packets off the interfaces: `ring` shares memory with the kernel, `pcap` is libpcap, which works
        /// everywhere, with one worker.
        backend: Backend = Backend::Ring, Rule::Any, Restart;
        /// How the kernel shares packets out among workers. `hash` keeps both directions of a flow together whatever
        /// the card does; `cpu` and `qm` do only if the card's receive hash is symmetric.
        fanout: Fanout = Fanout::Hash, Rule::Any, Restart;
        /// Workers, each a thread with a flow table of its own; 0: one for each entry of `cpus`, or else for each CPU
        /// of the machine, and one for the backend pcap.
        workers: usize = 0, Rule::Within(0, 1024), Restart;
        /// CPUs to which workers are pinned, one for each worker; empty: not pinned.
        cpus: Vec<usize> = Vec::new(), Rule::Within(0, 8191), Restart;
        /// Bytes of each ring; there is one for each worker and interface. A multiple of `block_bytes`, of which a
        /// ring has at least two. For the backend pcap the size of its buffer.
        ring_bytes: usize = 67_108_864, Rule::Within(2 * BLOCK_BYTES_MIN as u64, RING_BYTES_MAX as u64), Restart;
        /// Bytes of a ring's blocks, in which the kernel hands packets over: a power of two. A packet that is longer
        /// than a block is cut.
        block_bytes: usize = 1_048_576, Rule::Within(BLOCK_BYTES_MIN as u64, BLOCK_BYTES_MAX as u64), Restart;
        /// Milliseconds after which the kernel hands over a block that is not full: how late a packet may be seen.
        block_timeout_ms: u32 = 20, Rule::Within(1, BLOCK_TIMEOUT_MS_MAX as u64), Restart;
        /// Bytes of each packet that are looked at; what lies beyond is cut. The default is all of any packet: hellos
        /// fill whole packets, and a card or kernel that joins segments makes packets of 64 KiB and more.
        snap_bytes: usize = SNAP_BYTES_MAX as usize, Rule::Within(SNAP_BYTES_MIN as u64, SNAP_BYTES_MAX as u64), Restart;
        /// Whether interfaces are told to take packets that are not for this machine. A tap needs it.
        promiscuous: bool = true, Rule::Any, Restart;
        /// Filter expression, as of tcpdump, for the packets to look at; empty: all.
        bpf: Option<String> = None, Rule::Text("a filter of at most 65536 bytes", printable), Restart;
        /// Whose clock stamps packets. `hardware` needs the backend ring and a card that can.
        timestamps: Timestamps = Timestamps::Kernel, Rule::Any, Restart;
        /// Whether the sensor starts when an interface is missing, and waits for it to appear. One that goes away
        /// later is waited for in any case.
        wait_for_interfaces: bool = true, Rule::Any, Restart;
        /// How often an interface can be made anew, as when its driver is loaded again, while the sensor runs: the
        /// sockets for it are opened at the start, as it cannot open any without privileges. So many are kept for each
        /// worker and interface.
        spare_sockets: usize = 8, Rule::Within(0, 1000), Restart;
    }

    /// Where events go.
    events: Events {
        /// File to which events are appended as EVE JSON, one a line; `-` is the standard output.
        file: PathBuf = PathBuf::from("/var/log/vigie/eve.json"), Rule::Text("an absolute path, or -", output), Restart;
        /// Which records are written besides alerts: tls, quic, dns, flow, stats. PRIVACY: all but `stats` record the
        /// names of ALL traffic, banned or not; they are for tests and for traffic of your own.
        types: Vec<Record> = Vec::new(), Rule::Any, Restart;
        /// When events are forced to the disk: `never` leaves it to the kernel, `interval` does so every
        /// `fsync_interval_ms`, `each` after every write.
        fsync: Fsync = Fsync::Interval, Rule::Any, Live;
        /// Milliseconds between two times that events are forced to the disk, with `fsync = "interval"`.
        fsync_interval_ms: u64 = 1000, Rule::Within(10, 3_600_000), Live;
        /// Permissions of an events file that the sensor creates.
        mode: Mode = Mode(0o640), Rule::Any, Restart;
        /// Events on their way from the workers to the writer.
        channel_events_max: usize = 65_536, Rule::Within(16, 16_777_216), Restart;
        /// Events that a worker keeps and offers again while the channel is full.
        pending_events_max: usize = 65_536, Rule::Within(16, 16_777_216), Restart;
        /// Seconds between two `stats` records.
        stats_interval_s: u64 = 60, Rule::Within(1, 86_400), Live;
    }

    /// What is recognised.
    signatures: Signatures {
        /// Folder of signature files (*.toml) that are used on top of the built-in ones; empty: only those. What
        /// stands in the folder is read again on reload.
        folder: Option<PathBuf> = None, Rule::Text("an absolute path", absolute), Restart;
        /// Days after which a signature that nobody reviewed is stale: `vigie check` warns of it, and when the newest
        /// is, the sensor is not ready.
        max_age_days: u32 = vigie_signatures::REVIEW_DAYS_MAX, Rule::Within(1, 36_500), Restart;
    }

    /// What Prometheus is told, over HTTP.
    metrics: Metrics {
        /// Address and port to answer on; empty: nowhere.
        listen: Option<SocketAddr> = Some(ADDRESS_DEFAULT), Rule::Any, Restart;
        /// File that turns on TLS and authentication, as the exporters of Prometheus read it; empty: neither.
        web_config: Option<PathBuf> = None, Rule::Text("an absolute path", absolute), Restart;
        /// Whether an address that other machines reach may be answered on without `web_config`.
        allow_open: bool = false, Rule::Any, Restart;
        /// Connections at once; more are refused.
        connections_max: usize = 32, Rule::Within(1, 4096), Restart;
        /// Seconds without any packet after which the sensor is not ready.
        silence_s: u64 = 60, Rule::Within(1, 86_400), Restart;
        /// Percent of packets dropped, over ten seconds, from which on the sensor is not ready.
        drops_percent: u32 = 90, Rule::Within(1, 100), Restart;
    }

    /// What the sensor may still do once it runs.
    privilege: Privilege {
        /// User as which the sensor goes on once its sockets are open.
        user: String = "vigie".to_owned(), Rule::Text("a user of this machine", account), Restart;
        /// Group as which it goes on; empty: the user's own.
        group: String = String::new(), Rule::Text("a group of this machine", group), Restart;
        /// Landlock, by which the kernel keeps the sensor to its own files.
        landlock: Demand = LANDLOCK_DEFAULT, Rule::Any, Restart;
        /// seccomp, by which the kernel keeps the sensor to the system calls that it needs.
        seccomp: Demand = SECCOMP_DEFAULT, Rule::Any, Restart;
    }

    /// What the sensor says of itself, on the standard error.
    log: Log {
        /// From which gravity on it speaks.
        level: Level = Level::Info, Rule::Any, Live;
        /// `text` is for people and the systemd journal, `json` for programs.
        format: LogFormat = LogFormat::Text, Rule::Any, Live;
    }
}
