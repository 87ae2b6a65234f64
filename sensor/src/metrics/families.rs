//! Every metric family of the sensor: name, type, labels and help stand here once, and so does the way from a worker's
//! counts to them. What is exported, the listing for people, the alert rules and the dashboard are all held against it.
//!
//! The values of labels come from closed lists or from the configuration: never a name, an address or a client.

use std::fmt::Write;

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, until the process starts anew.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

impl Kind {
    /// The word of the exposition formats.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Declares the families: `Variant: Kind, name, [labels], help`.
macro_rules! families {
    ($($variant:ident: $kind:ident, $name:literal, [$($label:literal),*], $help:literal;)+) => {
        /// A metric family.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Family { $(#[doc = $help] $variant),+ }

        impl Family {
            /// All families, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it is.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind),+ }
            }

            /// What it says, for people.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help),+ }
            }

            /// Names of its labels, in order.
            pub const fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($label),*]),+ }
            }
        }
    };
}

families! {
    BuildInfo: Gauge, "vigie_build_info", ["version", "architecture"],
        "Version of the sensor; always 1.";
    StartTime: Gauge, "vigie_start_time_seconds", [],
        "When the sensor started, in seconds since the Unix epoch.";

    Ready: Gauge, "vigie_ready", [],
        "Whether the sensor sees its traffic and can judge it, as /readyz says: 1 or 0.";
    NotReady: Gauge, "vigie_not_ready", ["reason"],
        "Whether this keeps the sensor from being ready: 1 or 0.";

    CapturePackets: Counter, "vigie_capture_packets_total", ["interface"],
        "Packets that reached a worker.";
    CaptureBytes: Counter, "vigie_capture_bytes_total", ["interface"],
        "Bytes on the wire of the packets that reached a worker.";
    CaptureDrops: Counter, "vigie_capture_drops_total", ["interface", "reason"],
        "Packets lost before they could be judged: no room in the kernel's ring (ring), by the network interface itself (interface), by the sensor (sensor).";
    CaptureSilence: Gauge, "vigie_capture_silence_seconds", ["interface"],
        "Seconds since the interface last gave a packet, dropped ones among them.";
    InterfaceUp: Gauge, "vigie_interface_up", ["interface"],
        "Whether the capture interface is up: 1 or 0.";
    InterfaceReopened: Counter, "vigie_interface_reopened_total", ["interface"],
        "How often capture on the interface was opened again after the interface was lost.";

    WorkerFrames: Counter, "vigie_worker_frames_total", ["worker"],
        "Frames given to the worker.";
    WorkerBytes: Counter, "vigie_worker_bytes_total", ["worker"],
        "Bytes on the wire of the frames given to the worker.";
    WorkerDrops: Counter, "vigie_worker_drops_total", ["worker"],
        "Packets of the worker that were lost in the kernel's ring or by the sensor; also counted by interface.";
    WorkerBusySeconds: Counter, "vigie_worker_busy_seconds_total", ["worker"],
        "Time that the worker spent on packets rather than waiting for them.";
    WorkerBusyRatio: Gauge, "vigie_worker_busy_ratio", ["worker"],
        "Share of the time that the worker lately spent on packets, from 0 to 1.";
    WorkerIdle: Gauge, "vigie_worker_progress_age_seconds", ["worker"],
        "Seconds since the worker last went round its loop; it does so without packets too.";
    WorkerFlows: Gauge, "vigie_worker_flows", ["worker"],
        "Flows in the worker's table.";
    WorkerFlowSlots: Gauge, "vigie_worker_flow_slots", ["worker"],
        "Flows for which the worker's table has room.";
    WorkerPending: Gauge, "vigie_worker_pending_events", ["worker"],
        "Events that wait in the worker for room in its channel.";
    ChannelDepth: Gauge, "vigie_channel_depth", ["worker"],
        "Events that wait in the worker's channel to be written.";
    ChannelCapacity: Gauge, "vigie_channel_capacity", ["worker"],
        "Events for which the worker's channel has room.";

    DecodedPackets: Counter, "vigie_decoded_packets_total", [],
        "Packets with a transport layer that were followed.";
    DecodeErrors: Counter, "vigie_decode_errors_total", ["layer", "reason"],
        "Frames that gave no packet, by the layer that stopped them and why; not_ip is no fault.";
    Fragments: Counter, "vigie_fragments_total", [],
        "IP fragments seen.";
    FragmentDatagrams: Counter, "vigie_fragment_datagrams_total", ["outcome"],
        "Fragmented datagrams that became whole, or whose pieces were missing for too long.";
    FragmentsOdd: Counter, "vigie_fragments_odd_total", ["reason"],
        "Fragments that overlap, contradict others, reach too far, are cut or empty.";
    LimitHits: Counter, "vigie_limit_hits_total", ["limit"],
        "How often a limit of memory or patience bit, by the limit's name in the settings.";

    FlowsOpened: Counter, "vigie_flows_opened_total", [],
        "Flows opened.";
    FlowsEnded: Counter, "vigie_flows_ended_total", ["reason"],
        "Flows ended by silence (timed_out), or because their place was needed (evicted).";

    Hellos: Counter, "vigie_hellos_total", ["protocol"],
        "ClientHellos read.";
    HelloOutcomes: Counter, "vigie_hello_outcomes_total", ["protocol", "outcome"],
        "What hellos had: a server name, none, an ECH extension, a name that is no host name, or a tail that never came. A hello may count under several.";
    ClearTextNames: Counter, "vigie_clear_text_names_total", ["protocol"],
        "Names read outside hellos: HTTP hosts, CONNECT and SOCKS requests, server certificates.";
    DnsAnswers: Counter, "vigie_dns_answers_total", [],
        "DNS answers read.";
    QuicHellos: Counter, "vigie_quic_hellos_total", ["version"],
        "Hellos read over QUIC, by version: 1, 2, a draft's, Google's own, another.";
    QuicInitials: Counter, "vigie_quic_initials_total", [],
        "QUIC Initial packets seen.";
    QuicOpenings: Counter, "vigie_quic_openings_total", ["outcome"],
        "Attempts to open a QUIC Initial, by outcome.";
    QuicPassedOver: Counter, "vigie_quic_passed_over_total", ["reason"],
        "QUIC packets that were not opened, or not read to their end, and why.";
    QuicKeys: Counter, "vigie_quic_keys_derived_total", [],
        "Sets of QUIC Initial keys derived.";
    QuicClear: Counter, "vigie_quic_clear_hellos_total", [],
        "Unencrypted packets of Google's QUIC that carry handshake bytes.";

    FlowMatches: Counter, "vigie_flow_matches_total", [],
        "Flows that matched a signature, those that do not alert by themselves among them.";
    FlowMatchesSilent: Counter, "vigie_flow_matches_silent_total", [],
        "Flows that matched a signature that does not alert by itself.";
    AlertsRaised: Counter, "vigie_alerts_raised_total", [],
        "Alerts raised by the workers; those that were written are counted by vigie_alerts_total.";
    Matches: Counter, "vigie_matches_total", ["service", "role", "evidence"],
        "Alerts written, by service, role of the name, and how the name was seen.";
    Alerts: Counter, "vigie_alerts_total", ["severity", "verdict"],
        "Alerts written, by severity (1 is the highest) and verdict.";
    AlertsLost: Counter, "vigie_alerts_lost_total", ["reason"],
        "Alerts that were raised but will never be written; must stay 0.";
    EventsDropped: Counter, "vigie_events_dropped_total", ["reason"],
        "Events other than alerts that were not written.";
    AlertLatency: Histogram, "vigie_alert_latency_seconds", [],
        "Time from the packet that gave an alert until the alert was written.";

    SinkEvents: Counter, "vigie_sink_events_total", ["sink"],
        "Events written to the sink.";
    SinkBytes: Counter, "vigie_sink_written_bytes_total", ["sink"],
        "Bytes written to the sink.";
    SinkErrors: Counter, "vigie_sink_errors_total", ["sink"],
        "Writes to the sink that failed.";

    SignaturesInfo: Gauge, "vigie_signatures_info", ["digest"],
        "Which signatures are in use; the digest is of their rules. Always 1.";
    SignatureRules: Gauge, "vigie_signature_rules", [],
        "Rules in use.";
    SignatureServices: Gauge, "vigie_signature_services", [],
        "Services that the rules in use recognise.";
    SignatureAge: Gauge, "vigie_signature_age_seconds", [],
        "Seconds since the newest review among the rules in use: the age of the signatures as a whole.";
    SignatureReviewAge: Gauge, "vigie_signature_review_age_seconds", [],
        "Seconds since the oldest review among the rules in use.";
    SignaturesLoaded: Gauge, "vigie_signatures_loaded_timestamp_seconds", [],
        "When the signatures in use were loaded, in seconds since the Unix epoch.";
    Reloads: Counter, "vigie_reloads_total", ["result"],
        "Reloads of settings and signatures; after a failure the old ones stay in use.";
    ReloadLast: Gauge, "vigie_reload_last_timestamp_seconds", [],
        "When a reload was last tried, in seconds since the Unix epoch; 0 if never.";
    ReloadSuccessful: Gauge, "vigie_reload_last_successful", [],
        "Whether the last reload succeeded: 1, also if there was none, or 0.";

    Watchdog: Counter, "vigie_watchdog_total", ["outcome"],
        "Notices to the service manager's watchdog: fed, or withheld because a worker stood still.";
    HttpRequests: Counter, "vigie_http_requests_total", ["path", "code"],
        "Requests to this endpoint.";
    HttpRefused: Counter, "vigie_http_connections_refused_total", ["reason"],
        "Connections to this endpoint that were closed without an answer.";
    WebConfigReloads: Counter, "vigie_web_config_reloads_total", ["result"],
        "Times that the file with TLS and passwords of this endpoint was read again; after a failure the old one stays in use.";

    ProcessCpu: Counter, "process_cpu_seconds_total", [],
        "CPU time of the process.";
    ProcessStart: Gauge, "process_start_time_seconds", [],
        "When the process started, in seconds since the Unix epoch.";
    ProcessResident: Gauge, "process_resident_memory_bytes", [],
        "Memory of the process that is in RAM.";
    ProcessVirtual: Gauge, "process_virtual_memory_bytes", [],
        "Address space of the process.";
    ProcessThreads: Gauge, "process_threads", [],
        "Threads of the process.";
    ProcessOpenFds: Gauge, "process_open_fds", [],
        "Open files of the process.";
    ProcessMaxFds: Gauge, "process_max_fds", [],
        "Files that the process may open.";

    Unmapped: Counter, "vigie_unmapped_total", ["family", "reason"],
        "Counts of workers that have no family of their own; a defect of the sensor.";
}

impl Family {
    /// Whether it is told for each worker.
    pub fn is_per_worker(self) -> bool {
        self.labels().first() == Some(&"worker")
    }
}

/// Upper bounds of the buckets of [`Family::AlertLatency`], in seconds.
pub const LATENCY_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Where a worker's count is shown: its family and reason there, the family here, and the values of the labels, that
/// of the worker left out.
pub type WorkerCount = (&'static str, &'static str, Family, &'static [&'static str]);

/// Where each count of a worker is shown.
#[rustfmt::skip]
pub const WORKER_COUNTS: &[WorkerCount] = &[
    ("capture", "frames", Family::WorkerFrames, &[]),
    ("capture", "bytes", Family::WorkerBytes, &[]),
    ("decode", "packets", Family::DecodedPackets, &[]),
    ("flow", "opened", Family::FlowsOpened, &[]),
    ("flow", "timed_out", Family::FlowsEnded, &["timed_out"]),
    ("flow", "evicted", Family::FlowsEnded, &["evicted"]),
    ("limit", "records_max", Family::LimitHits, &["records_max"]),
    ("limit", "records_exhausted", Family::LimitHits, &["records_exhausted"]),
    ("limit", "reassembly_bytes_max", Family::LimitHits, &["reassembly_bytes_max"]),
    ("limit", "stream_bytes_max", Family::LimitHits, &["stream_bytes_max"]),
    ("limit", "stream_islands_max", Family::LimitHits, &["stream_islands_max"]),
    ("limit", "undecided_segments_max", Family::LimitHits, &["undecided_segments_max"]),
    ("limit", "undecided_datagrams_max", Family::LimitHits, &["undecided_datagrams_max"]),
    ("limit", "quic_crypto_bytes_max", Family::LimitHits, &["quic_crypto_bytes_max"]),
    ("limit", "quic_crypto_islands_max", Family::LimitHits, &["quic_crypto_islands_max"]),
    ("limit", "quic_origins_max", Family::LimitHits, &["quic_origins_max"]),
    ("limit", "quic_attempts_max", Family::LimitHits, &["quic_attempts_max"]),
    ("limit", "fragment_datagrams_max", Family::LimitHits, &["fragment_datagrams_max"]),
    ("limit", "fragment_bytes_max", Family::LimitHits, &["fragment_bytes_max"]),
    ("limit", "fragment_pieces_max", Family::LimitHits, &["fragment_pieces_max"]),
    ("hello", "tls", Family::Hellos, &["tls"]),
    ("hello", "quic", Family::Hellos, &["quic"]),
    ("hello", "dtls", Family::Hellos, &["dtls"]),
    ("hello_tls", "name", Family::HelloOutcomes, &["tls", "name"]),
    ("hello_tls", "no_name", Family::HelloOutcomes, &["tls", "no_name"]),
    ("hello_tls", "ech", Family::HelloOutcomes, &["tls", "ech"]),
    ("hello_tls", "incomplete", Family::HelloOutcomes, &["tls", "incomplete"]),
    ("hello_tls", "not_a_host_name", Family::HelloOutcomes, &["tls", "not_a_host_name"]),
    ("hello_quic", "name", Family::HelloOutcomes, &["quic", "name"]),
    ("hello_quic", "no_name", Family::HelloOutcomes, &["quic", "no_name"]),
    ("hello_quic", "ech", Family::HelloOutcomes, &["quic", "ech"]),
    ("hello_quic", "incomplete", Family::HelloOutcomes, &["quic", "incomplete"]),
    ("hello_quic", "not_a_host_name", Family::HelloOutcomes, &["quic", "not_a_host_name"]),
    ("hello_dtls", "name", Family::HelloOutcomes, &["dtls", "name"]),
    ("hello_dtls", "no_name", Family::HelloOutcomes, &["dtls", "no_name"]),
    ("hello_dtls", "ech", Family::HelloOutcomes, &["dtls", "ech"]),
    ("hello_dtls", "incomplete", Family::HelloOutcomes, &["dtls", "incomplete"]),
    ("hello_dtls", "not_a_host_name", Family::HelloOutcomes, &["dtls", "not_a_host_name"]),
    ("quic_version", "v1", Family::QuicHellos, &["v1"]),
    ("quic_version", "v2", Family::QuicHellos, &["v2"]),
    ("quic_version", "draft", Family::QuicHellos, &["draft"]),
    ("quic_version", "google", Family::QuicHellos, &["google"]),
    ("quic_version", "other", Family::QuicHellos, &["other"]),
    ("clear_text", "http_host", Family::ClearTextNames, &["http_host"]),
    ("clear_text", "http_connect", Family::ClearTextNames, &["http_connect"]),
    ("clear_text", "socks", Family::ClearTextNames, &["socks"]),
    ("clear_text", "tls_certificate", Family::ClearTextNames, &["tls_certificate"]),
    ("dns", "answers", Family::DnsAnswers, &[]),
    ("match", "flows", Family::FlowMatches, &[]),
    ("match", "not_alerting", Family::FlowMatchesSilent, &[]),
    ("alert", "written", Family::AlertsRaised, &[]),
    ("quic", "initials", Family::QuicInitials, &[]),
    ("quic", "opened", Family::QuicOpenings, &["opened"]),
    ("quic", "open_failures", Family::QuicOpenings, &["failed"]),
    ("quic", "keys_derived", Family::QuicKeys, &[]),
    ("quic", "from_server", Family::QuicPassedOver, &["from_server"]),
    ("quic", "unknown_versions", Family::QuicPassedOver, &["unknown_version"]),
    ("quic", "cut", Family::QuicPassedOver, &["cut"]),
    ("quic", "version_negotiations", Family::QuicPassedOver, &["version_negotiation"]),
    ("quic", "retries", Family::QuicPassedOver, &["retry"]),
    ("quic", "odd_frames", Family::QuicPassedOver, &["odd_frame"]),
    ("quic", "clear", Family::QuicClear, &[]),
    ("fragment", "seen", Family::Fragments, &[]),
    ("fragment", "joined", Family::FragmentDatagrams, &["joined"]),
    ("fragment", "timed_out", Family::FragmentDatagrams, &["timed_out"]),
    ("fragment", "too_large", Family::FragmentsOdd, &["too_large"]),
    ("fragment", "overlapping", Family::FragmentsOdd, &["overlapping"]),
    ("fragment", "conflicting", Family::FragmentsOdd, &["conflicting"]),
    ("fragment", "truncated", Family::FragmentsOdd, &["truncated"]),
    ("fragment", "empty", Family::FragmentsOdd, &["empty"]),
    ("decode_error", "link-unsupported", Family::DecodeErrors, &["link", "unsupported"]),
    ("decode_error", "link-truncated", Family::DecodeErrors, &["link", "truncated"]),
    ("decode_error", "link-malformed", Family::DecodeErrors, &["link", "malformed"]),
    ("decode_error", "not-ip", Family::DecodeErrors, &["link", "not_ip"]),
    ("decode_error", "encrypted", Family::DecodeErrors, &["link", "encrypted"]),
    ("decode_error", "shim-truncated", Family::DecodeErrors, &["shim", "truncated"]),
    ("decode_error", "shim-malformed", Family::DecodeErrors, &["shim", "malformed"]),
    ("decode_error", "ipv4-truncated", Family::DecodeErrors, &["ipv4", "truncated"]),
    ("decode_error", "ipv4-malformed", Family::DecodeErrors, &["ipv4", "malformed"]),
    ("decode_error", "ipv6-truncated", Family::DecodeErrors, &["ipv6", "truncated"]),
    ("decode_error", "ipv6-malformed", Family::DecodeErrors, &["ipv6", "malformed"]),
    ("decode_error", "extension-truncated", Family::DecodeErrors, &["extension", "truncated"]),
    ("decode_error", "tcp-truncated", Family::DecodeErrors, &["tcp", "truncated"]),
    ("decode_error", "tcp-malformed", Family::DecodeErrors, &["tcp", "malformed"]),
    ("decode_error", "udp-truncated", Family::DecodeErrors, &["udp", "truncated"]),
    ("decode_error", "udp-malformed", Family::DecodeErrors, &["udp", "malformed"]),
    ("decode_error", "tunnel-truncated", Family::DecodeErrors, &["tunnel", "truncated"]),
    ("decode_error", "tunnel-malformed", Family::DecodeErrors, &["tunnel", "malformed"]),
    ("decode_error", "tunnel-unsupported", Family::DecodeErrors, &["tunnel", "unsupported"]),
    ("decode_error", "too-deep", Family::DecodeErrors, &["nesting", "too_deep"]),
];

/// Where a worker's count is shown, if anywhere.
pub fn worker_count(family: &str, reason: &str) -> Option<(Family, &'static [&'static str])> {
    let found = WORKER_COUNTS.iter().find(|(theirs, why, ..)| *theirs == family && *why == reason);
    found.map(|&(_, _, family, values)| (family, values))
}

/// The listing of all families for people, in Markdown.
pub fn documentation() -> String {
    let mut text = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for family in Family::ALL {
        let labels: Vec<String> = family.labels().iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, help) = (family.name(), family.kind().as_str(), family.help());
        let _ = writeln!(text, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let mut names = HashSet::new();
        for family in Family::ALL {
            let (name, help) = (family.name(), family.help());
            assert!(names.insert(name), "{name} twice");
            assert!(name.starts_with("vigie_") || name.starts_with("process_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), family.kind() == Kind::Counter, "{name}");
            assert!(!["_count", "_sum", "_bucket", "_ms", "_kb"].iter().any(|end| name.ends_with(end)), "{name}");
            assert!(help.ends_with('.') && !help.contains(['|', '\n']), "{name}: {help}");
            assert!(family.labels().iter().all(|label| !["le", "job", "instance"].contains(label)), "{name}");
        }
    }

    #[test]
    fn counts_of_workers_go_to_counters_with_a_value_for_each_label_and_to_places_of_their_own() {
        let (mut pairs, mut places) = (HashSet::new(), HashSet::new());
        for (family, reason, shown, values) in WORKER_COUNTS {
            assert!(pairs.insert((family, reason)), "{family} {reason} twice");
            assert!(places.insert((shown, values)), "{shown:?} {values:?} twice");
            assert_eq!(shown.kind(), Kind::Counter);
            assert_eq!(values.len() + usize::from(shown.is_per_worker()), shown.labels().len(), "{family} {reason}");
        }
        assert_eq!(worker_count("flow", "evicted"), Some((Family::FlowsEnded, &["evicted"][..])));
        assert_eq!(worker_count("flow", "vanished"), None);
    }

    #[test]
    fn the_listing_has_a_line_for_each_family() {
        let listing = documentation();
        assert_eq!(listing.lines().count(), Family::ALL.len() + 2);
        assert!(listing.contains("| `vigie_flows_ended_total` | counter | `reason` | Flows ended by silence"));
    }
}
