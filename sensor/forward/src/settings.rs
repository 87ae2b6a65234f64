//! The settings of the program beside its receivers.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use vigie_config::{Machine, Program, Review, Rule, Schema, absolute_path, choices, settings};

/// The file that is read unless another is given.
pub const FILE_DEFAULT: &str = "/etc/vigie-forward/forward.toml";
/// Where metrics are served.
const ADDRESS_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9479);

choices! {
    /// Where a receiver begins that has no cursor yet.
    Start {
        /// With the oldest event of the journal.
        Oldest = "oldest",
        /// With events that are written from now on.
        Newest = "newest",
    }
}

settings! {
    /// The settings of the program.
    Settings;

    /// The journal that is read.
    journal: Journal {
        /// The folder of the sensor's journal.
        folder: PathBuf = "/var/lib/vigie/journal".into(), Rule::Text("an absolute path", absolute_path), Restart;
        /// Where a receiver begins that was added: with the oldest event of the journal, or with the next one.
        start: Start = Start::Oldest, Rule::Any, Restart;
        /// Milliseconds after which the journal is looked at again when everything in it was sent.
        poll_interval_ms: u64 = 200, Rule::Range(10, 60_000), Restart;
    }

    /// What the program keeps on the disk: how far each receiver is, and what a receiver rejected.
    state: State {
        /// The folder, which only this program writes.
        folder: PathBuf = "/var/lib/vigie-forward".into(), Rule::Text("an absolute path", absolute_path), Restart;
        /// Bytes of rejected events that are kept of each receiver; when they are full, the receiver waits.
        rejected_bytes_max: u64 = 64 << 20, Rule::Range(1 << 16, 1 << 40), Restart;
    }

    /// How events are sent.
    delivery: Delivery {
        /// Events that are sent to a receiver at once.
        batch_events_max: usize = 1_000, Rule::Range(1, 100_000), Restart;
        /// Bytes that are sent to a receiver at once; an event that is longer is sent alone.
        batch_bytes_max: usize = 1 << 20, Rule::Range(1 << 12, 1 << 26), Restart;
        /// Milliseconds before the second try after a failure; each further try waits twice as long.
        retry_first_ms: u64 = 1_000, Rule::Range(10, 600_000), Restart;
        /// Milliseconds that a try waits at most.
        retry_max_ms: u64 = 300_000, Rule::Range(10, 3_600_000), Restart;
    }

    /// The endpoint for Prometheus.
    metrics: Metrics {
        /// Address and port of the endpoint; empty: none.
        listen: Option<SocketAddr> = Some(ADDRESS_DEFAULT), Rule::Any, Restart;
        /// File that turns on TLS and passwords, in the format of Prometheus' exporters; empty: neither.
        web_config: Option<PathBuf> = None, Rule::Text("an absolute path", absolute_path), Restart;
    }
}

impl Schema for Settings {
    const PROGRAM: Program = Program {
        name: "vigie-forward",
        file_default: FILE_DEFAULT,
        variable_prefix: "VIGIE_FORWARD",
        variable_aliases: &[],
        other_variables: &["VIGIE_FORWARD_CONFIG"],
        example: ("delivery.batch_events_max", "500"),
    };

    const LISTS: &'static [&'static str] = &["receiver"];

    fn resolve(&mut self, _: &Machine) {}

    fn check(review: &mut Review<'_, Self>) {
        let delivery = &review.settings.delivery;
        if delivery.retry_first_ms > delivery.retry_max_ms {
            let keys = ["delivery.retry_first_ms", "delivery.retry_max_ms"];
            review.refuse(&keys, "the first wait is longer than the longest", "swap the two");
        }
        let metrics = &review.settings.metrics;
        if metrics.listen.is_some_and(|address| !address.ip().is_loopback()) && metrics.web_config.is_none() {
            let keys = ["metrics.listen"];
            review.warn(&keys, "everyone who reaches that address can read the metrics", "set metrics.web_config");
        }
    }
}
