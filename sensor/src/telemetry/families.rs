//! Every metric family of the sensor: name, type, labels and help are declared here once. The exported metrics, the
//! listing for people, the alert rules and the dashboard are all checked against this table.
//!
//! Values of labels come from closed lists or from the configuration: never a name, an address or a client.

use vigie_metrics::{Family, listing, process, server};

vigie_metrics::families! {
    BUILD_INFO: Gauge, "vigie_build_info", ["version", "architecture"],
        "Version of the sensor; always 1.";
    START_TIME: Gauge, "vigie_start_time_seconds", [],
        "When the sensor started, in seconds since the Unix epoch.";

    READY: Gauge, "vigie_ready", [],
        "Whether the sensor sees its traffic and can judge it, as /readyz says: 1 or 0.";
    NOT_READY: Gauge, "vigie_not_ready", ["reason"],
        "Whether this keeps the sensor from being ready: 1 or 0.";

    CAPTURE_PACKETS: Counter, "vigie_capture_packets_total", ["interface"],
        "Packets that reached a worker.";
    CAPTURE_BYTES: Counter, "vigie_capture_bytes_total", ["interface"],
        "Bytes on the wire of the packets that reached a worker.";
    CAPTURE_DROPS: Counter, "vigie_capture_drops_total", ["interface", "reason"],
        "Packets lost before they could be analysed: no room in the kernel's ring (ring), by the network interface itself (interface), by the sensor (sensor).";
    CAPTURE_SILENCE: Gauge, "vigie_capture_silence_seconds", ["interface"],
        "Seconds since the interface last delivered a packet, including dropped ones.";
    SHUNTED_PACKETS: Counter, "vigie_shunt_packets_total", ["interface"],
        "Packets of settled flows that the kernel counted and the workers did not get (capture.shunt).";
    SHUNTED_BYTES: Counter, "vigie_shunt_bytes_total", ["interface"],
        "Bytes on the wire of the packets of settled flows that the workers did not get.";
    SHUNT_INSERTED: Counter, "vigie_shunt_inserted_total", [],
        "Directions of settled flows that were shunted from then on.";
    SHUNT_RETIRED: Counter, "vigie_shunt_retired_total", [],
        "Directions of flows that were shunted no more, since the flow or its connection ended.";
    SHUNT_IN_USE: Gauge, "vigie_shunt_slots_in_use", [],
        "Directions of flows in the table of the shunt.";
    SHUNT_SLOTS: Gauge, "vigie_shunt_slots", [],
        "Directions of flows for which the table of the shunt has room; 0 if packets are not shunted.";
    INTERFACE_UP: Gauge, "vigie_interface_up", ["interface"],
        "Whether the capture interface is up: 1 or 0.";
    INTERFACE_REOPENED: Counter, "vigie_interface_reopened_total", ["interface"],
        "How often capture on the interface was opened again after the interface was lost.";

    WORKER_FRAMES: Counter, "vigie_worker_frames_total", ["worker"],
        "Frames given to the worker.";
    WORKER_BYTES: Counter, "vigie_worker_bytes_total", ["worker"],
        "Bytes on the wire of the frames given to the worker.";
    WORKER_DROPS: Counter, "vigie_worker_drops_total", ["worker"],
        "Packets of the worker that were lost in the kernel's ring or by the sensor; also counted by interface.";
    WORKER_BUSY_SECONDS: Counter, "vigie_worker_busy_seconds_total", ["worker"],
        "Time that the worker spent on packets rather than waiting for them.";
    WORKER_BUSY_RATIO: Gauge, "vigie_worker_busy_ratio", ["worker"],
        "Recent share of time that the worker spent on packets, from 0 to 1.";
    WORKER_IDLE: Gauge, "vigie_worker_progress_age_seconds", ["worker"],
        "Seconds since the worker last completed a round of its loop, which it does without packets too.";
    WORKER_PANICS: Counter, "vigie_worker_panics_total", ["worker"],
        "How often a packet stopped the worker, which then started anew with an empty flow table; a defect of the sensor.";
    WORKER_FLOWS: Gauge, "vigie_worker_flows", ["worker"],
        "Flows in the worker's table.";
    WORKER_FLOW_SLOTS: Gauge, "vigie_worker_flow_slots", ["worker"],
        "Flows for which the worker's table has room.";
    WORKER_PENDING: Gauge, "vigie_worker_pending_events", ["worker"],
        "Events that wait in the worker for room in its channel.";
    CHANNEL_DEPTH: Gauge, "vigie_channel_depth", ["worker"],
        "Events that wait in the worker's channel to be written.";
    CHANNEL_CAPACITY: Gauge, "vigie_channel_capacity", ["worker"],
        "Events for which the worker's channel has room.";

    DECODED_PACKETS: Counter, "vigie_decoded_packets_total", [],
        "Packets whose transport layer was decoded.";
    DECODE_ERRORS: Counter, "vigie_decode_errors_total", ["layer", "reason"],
        "Frames that could not be decoded to a packet, by layer and reason; not_ip is not an error.";
    FRAGMENTS: Counter, "vigie_fragments_total", [],
        "IP fragments seen.";
    FRAGMENT_DATAGRAMS: Counter, "vigie_fragment_datagrams_total", ["outcome"],
        "Fragmented datagrams: reassembled, read again because fragments contradict each other, timed out, or read in part.";
    FRAGMENTS_ODD: Counter, "vigie_fragments_odd_total", ["reason"],
        "Fragments that overlap, contradict others, exceed the largest datagram, are truncated or empty.";
    VOID_SEGMENTS: Counter, "vigie_void_segments_total", ["reason"],
        "TCP segments of clients that servers surely drop, seen before a hello was answered. Tools that evade inspection send them as decoys.";
    LIMIT_HITS: Counter, "vigie_limit_hits_total", ["limit"],
        "How often a limit was reached, by its name: that of its setting, if it can be set.";

    FLOWS_OPENED: Counter, "vigie_flows_opened_total", [],
        "Flows opened.";
    FLOWS_ENDED: Counter, "vigie_flows_ended_total", ["reason"],
        "Flows ended because they were idle (timed_out), or because their place was needed (evicted).";

    HELLOS: Counter, "vigie_hellos_total", ["protocol"],
        "ClientHellos read.";
    HELLO_OUTCOMES: Counter, "vigie_hello_outcomes_total", ["protocol", "outcome"],
        "Hellos by content: a server name, no name, an ECH extension, a name that is not a host name, or an end that never arrived (incomplete). A hello can count under several.";
    CLEAR_TEXT_NAMES: Counter, "vigie_clear_text_names_total", ["protocol"],
        "Names read outside hellos: HTTP hosts, CONNECT and SOCKS requests, PROXY headers, server certificates.";
    DNS_ANSWERS: Counter, "vigie_dns_answers_total", [],
        "DNS answers read.";
    QUIC_HELLOS: Counter, "vigie_quic_hellos_total", ["version"],
        "Hellos read over QUIC, by version: 1, 2, a draft, Google's own, another.";
    QUIC_INITIALS: Counter, "vigie_quic_initials_total", [],
        "QUIC Initial packets seen.";
    QUIC_OPENINGS: Counter, "vigie_quic_openings_total", ["outcome"],
        "Attempts to decrypt a QUIC Initial, by outcome.";
    QUIC_PASSED_OVER: Counter, "vigie_quic_passed_over_total", ["reason"],
        "QUIC packets that were not decrypted, or not read to their end, by reason.";
    QUIC_KEYS: Counter, "vigie_quic_keys_derived_total", [],
        "Sets of QUIC Initial keys derived.";
    QUIC_CLEAR: Counter, "vigie_quic_clear_hellos_total", [],
        "Unencrypted packets of Google's QUIC that carry handshake bytes.";

    FLOW_MATCHES: Counter, "vigie_flow_matches_total", [],
        "Flows that matched a signature, including signatures that do not alert by themselves.";
    FLOW_MATCHES_SILENT: Counter, "vigie_flow_matches_silent_total", [],
        "Flows that matched a signature that does not alert by itself.";
    SIGHTINGS: Counter, "vigie_sightings_total", [],
        "Flows that matched a signature and went to judgement, where some become alerts.";
    INCIDENTS: Counter, "vigie_incidents_total", ["severity", "verdict"],
        "Incidents opened, by severity (1 is the highest) and verdict.";
    INCIDENT_RECORDS: Counter, "vigie_incident_records_total", ["state"],
        "Changes of incidents: opened, risen, continues, closed.";
    INCIDENTS_OPEN: Gauge, "vigie_incidents_open", [],
        "Incidents that are open.";
    ASSETS_LISTED: Gauge, "vigie_assets_listed", [],
        "Devices and networks of the asset list.";
    ASSETS_SEEN: Gauge, "vigie_assets_seen", [],
        "Those of them that were seen this month (UTC); devices on mobile data never pass a tap.";
    JUDGEMENT_LIMITS: Counter, "vigie_judgement_limits_total", ["limit"],
        "How often a limit of judgement was reached, by its setting.";
    SERVICE_BYTES: Counter, "vigie_service_bytes_total", ["service", "region", "direction"],
        "Bytes exchanged with a service under a ban, by the region in the host name; empty where the name has none.";
    MATCHES: Counter, "vigie_matches_total", ["service", "role", "evidence"],
        "Alerts written, by service, role of the name, and how the name was seen.";
    ALERTS: Counter, "vigie_alerts_total", ["severity", "verdict"],
        "Alerts written, by severity (1 is the highest) and verdict.";
    ALERTS_LOST: Counter, "vigie_alerts_lost_total", ["reason"],
        "Sightings that were not judged, and alerts that will never be written; must stay 0.";
    ALERTS_SUMMARISED: Counter, "vigie_alerts_summarised_total", [],
        "Sightings beyond events.alerts_per_minute_max; another one of the client and signature says how many.";
    EVENTS_DROPPED: Counter, "vigie_events_dropped_total", ["reason"],
        "Events other than alerts that were not written.";
    ALERT_LATENCY: Histogram, "vigie_alert_latency_seconds", [],
        "Time from the packet that gave an alert until the alert was written.";

    SINK_EVENTS: Counter, "vigie_sink_events_total", ["sink"],
        "Events written to the sink.";
    SINK_BYTES: Counter, "vigie_sink_written_bytes_total", ["sink"],
        "Bytes written to the sink.";
    SINK_ERRORS: Counter, "vigie_sink_errors_total", ["sink"],
        "Writes to the sink that failed.";

    JOURNAL_SEGMENTS: Gauge, "vigie_journal_segments", [],
        "Segments of the journal on the disk; 0 without journal.folder, as all counts of the journal.";
    JOURNAL_BYTES: Gauge, "vigie_journal_bytes", [],
        "Bytes of the segments on the disk.";
    JOURNAL_SEALS: Counter, "vigie_journal_seals_total", [],
        "Seals in the chain of the journal.";
    JOURNAL_LAST_SEAL: Gauge, "vigie_journal_last_seal_timestamp_seconds", [],
        "When the last seal was made, in seconds since the Unix epoch; 0 before the first of this run.";
    JOURNAL_REMOVED: Counter, "vigie_journal_segments_removed_total", ["reason"],
        "Closed segments that were removed: older than allowed (incidents_days), too many bytes (bytes_max), or the live one by somebody else (deleted).";
    JOURNAL_LINES_REMOVED: Counter, "vigie_journal_lines_removed_total", [],
        "Lines that were removed from closed segments after journal.alerts_days.";
    JOURNAL_FAILURES: Counter, "vigie_journal_failures_total", [],
        "Failed attempts to compress or remove closed segments.";

    POLICY_INFO: Gauge, "vigie_policy_info", ["digest"],
        "Which policy is in use; the digest is of bans, scopes, assets, derogations and thresholds. Always 1.";
    SIGNATURES_INFO: Gauge, "vigie_signatures_info", ["digest"],
        "Which signatures are in use; the digest is of their rules. Always 1.";
    SIGNATURE_RULES: Gauge, "vigie_signature_rules", [],
        "Rules in use.";
    SIGNATURE_SERVICES: Gauge, "vigie_signature_services", [],
        "Services that the rules in use recognise.";
    SIGNATURE_AGE: Gauge, "vigie_signature_age_seconds", [],
        "Seconds since the newest review among the rules in use: the age of the signatures as a whole.";
    SIGNATURE_REVIEW_AGE: Gauge, "vigie_signature_review_age_seconds", [],
        "Seconds since the oldest review among the rules in use.";
    SIGNATURES_LOADED: Gauge, "vigie_signatures_loaded_timestamp_seconds", [],
        "When the signatures in use were loaded, in seconds since the Unix epoch.";
    RELOADS: Counter, "vigie_reloads_total", ["result"],
        "Reloads of settings and signatures; after a failure the old ones stay in use.";
    RELOAD_LAST: Gauge, "vigie_reload_last_timestamp_seconds", [],
        "When a reload was last tried, in seconds since the Unix epoch; 0 if never.";
    RELOAD_SUCCESSFUL: Gauge, "vigie_reload_last_successful", [],
        "Whether the last reload succeeded: 1, also if there was none, or 0.";

    WATCHDOG: Counter, "vigie_watchdog_total", ["outcome"],
        "Notices to the service manager's watchdog: sent (fed), or withheld because a worker stalled.";

    UNMAPPED: Counter, "vigie_unmapped_total", ["family", "reason"],
        "Counts of workers that have no family of their own; a defect of the sensor.";
}

/// All tables of the sensor: its own, and those of the endpoint and the process.
pub const TABLES: [&[Family]; 3] = [FAMILIES, server::FAMILIES, process::FAMILIES];

/// Upper bounds of the buckets of [`ALERT_LATENCY`], in seconds.
pub const LATENCY_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The listing of all families for people, in Markdown.
pub fn documentation() -> String {
    listing(&TABLES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use vigie_metrics::Kind;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let mut names = HashSet::new();
        for &Family { name, kind, labels, help } in TABLES.iter().copied().flatten() {
            assert!(names.insert(name), "{name} twice");
            assert!(name.starts_with("vigie_") || name.starts_with("process_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            assert!(!["_count", "_sum", "_bucket", "_ms", "_kb"].iter().any(|end| name.ends_with(end)), "{name}");
            assert!(help.ends_with('.') && !help.contains(['|', '\n']), "{name}: {help}");
            assert!(labels.iter().all(|label| !["le", "job", "instance"].contains(label)), "{name}");
        }
    }

    #[test]
    fn the_listing_has_a_line_for_each_family() {
        let listing = documentation();
        assert_eq!(listing.lines().count(), TABLES.concat().len() + 2);
        assert!(
            listing.contains("| `vigie_flows_ended_total` | counter | `reason` | Flows ended because they were idle")
        );
        assert!(listing.contains("| `process_open_fds` |") && listing.contains("| `vigie_http_requests_total` |"));
    }
}
