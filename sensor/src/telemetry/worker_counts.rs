//! From the counts of a worker to metric families. A worker counts by family and reason of its own; this table says
//! under which metric and labels each is exported.

use vigie_metrics::Family;

use super::families::*;

/// Where a count of a worker is exported: its family and reason in the worker, the metric family, and the values of
/// the labels without the worker's number.
pub type WorkerCount = (&'static str, &'static str, Family, &'static [&'static str]);

/// Where each count of a worker is exported.
#[rustfmt::skip]
pub const WORKER_COUNTS: &[WorkerCount] = &[
    ("capture", "frames", WORKER_FRAMES, &[]),
    ("capture", "bytes", WORKER_BYTES, &[]),
    ("decode", "packets", DECODED_PACKETS, &[]),
    ("flow", "opened", FLOWS_OPENED, &[]),
    ("flow", "timed_out", FLOWS_ENDED, &["timed_out"]),
    ("flow", "evicted", FLOWS_ENDED, &["evicted"]),
    ("limit", "records_max", LIMIT_HITS, &["records_max"]),
    ("limit", "records_exhausted", LIMIT_HITS, &["records_exhausted"]),
    ("limit", "reassembly_bytes_max", LIMIT_HITS, &["reassembly_bytes_max"]),
    ("limit", "address_names_max", LIMIT_HITS, &["address_names_max"]),
    ("limit", "waiting_flows_max", LIMIT_HITS, &["waiting_flows_max"]),
    ("limit", "names_wait_ms", LIMIT_HITS, &["names_wait_ms"]),
    ("limit", "stream_bytes_max", LIMIT_HITS, &["stream_bytes_max"]),
    ("limit", "stream_versions_max", LIMIT_HITS, &["stream_versions_max"]),
    ("limit", "stream_readings_max", LIMIT_HITS, &["stream_readings_max"]),
    ("limit", "stream_islands_max", LIMIT_HITS, &["stream_islands_max"]),
    ("limit", "undecided_segments_max", LIMIT_HITS, &["undecided_segments_max"]),
    ("limit", "undecided_datagrams_max", LIMIT_HITS, &["undecided_datagrams_max"]),
    ("limit", "http_head_bytes_max", LIMIT_HITS, &["http_head_bytes_max"]),
    ("limit", "http_requests_max", LIMIT_HITS, &["http_requests_max"]),
    ("limit", "http_hosts_max", LIMIT_HITS, &["http_hosts_max"]),
    ("limit", "http_lost_segments_max", LIMIT_HITS, &["http_lost_segments_max"]),
    ("limit", "udp_hellos_max", LIMIT_HITS, &["udp_hellos_max"]),
    ("limit", "quic_crypto_bytes_max", LIMIT_HITS, &["quic_crypto_bytes_max"]),
    ("limit", "quic_crypto_islands_max", LIMIT_HITS, &["quic_crypto_islands_max"]),
    ("limit", "quic_origins_max", LIMIT_HITS, &["quic_origins_max"]),
    ("limit", "quic_stream_versions_max", LIMIT_HITS, &["quic_stream_versions_max"]),
    ("limit", "quic_attempts_max", LIMIT_HITS, &["quic_attempts_max"]),
    ("limit", "fragment_datagrams_max", LIMIT_HITS, &["fragment_datagrams_max"]),
    ("limit", "fragment_bytes_max", LIMIT_HITS, &["fragment_bytes_max"]),
    ("limit", "fragment_pieces_max", LIMIT_HITS, &["fragment_pieces_max"]),
    ("limit", "fragment_versions_max", LIMIT_HITS, &["fragment_versions_max"]),
    ("limit", "neighbours_max", LIMIT_HITS, &["neighbours_max"]),
    ("limit", "event_name_bytes_max", LIMIT_HITS, &["event_name_bytes_max"]),
    ("limit", "event_alpn_bytes_max", LIMIT_HITS, &["event_alpn_bytes_max"]),
    ("limit", "event_user_agent_bytes_max", LIMIT_HITS, &["event_user_agent_bytes_max"]),
    ("limit", "event_answers_bytes_max", LIMIT_HITS, &["event_answers_bytes_max"]),
    ("limit", "shunt_flows_max", LIMIT_HITS, &["shunt_flows_max"]),
    ("limit", "shunt_ending_flows_max", LIMIT_HITS, &["shunt_ending_flows_max"]),
    ("shunt", "inserted", SHUNT_INSERTED, &[]),
    ("shunt", "retired", SHUNT_RETIRED, &[]),
    ("hello", "tls", HELLOS, &["tls"]),
    ("hello", "quic", HELLOS, &["quic"]),
    ("hello", "dtls", HELLOS, &["dtls"]),
    ("hello_tls", "name", HELLO_OUTCOMES, &["tls", "name"]),
    ("hello_tls", "no_name", HELLO_OUTCOMES, &["tls", "no_name"]),
    ("hello_tls", "ech", HELLO_OUTCOMES, &["tls", "ech"]),
    ("hello_tls", "incomplete", HELLO_OUTCOMES, &["tls", "incomplete"]),
    ("hello_tls", "not_a_host_name", HELLO_OUTCOMES, &["tls", "not_a_host_name"]),
    ("hello_quic", "name", HELLO_OUTCOMES, &["quic", "name"]),
    ("hello_quic", "no_name", HELLO_OUTCOMES, &["quic", "no_name"]),
    ("hello_quic", "ech", HELLO_OUTCOMES, &["quic", "ech"]),
    ("hello_quic", "incomplete", HELLO_OUTCOMES, &["quic", "incomplete"]),
    ("hello_quic", "not_a_host_name", HELLO_OUTCOMES, &["quic", "not_a_host_name"]),
    ("hello_dtls", "name", HELLO_OUTCOMES, &["dtls", "name"]),
    ("hello_dtls", "no_name", HELLO_OUTCOMES, &["dtls", "no_name"]),
    ("hello_dtls", "ech", HELLO_OUTCOMES, &["dtls", "ech"]),
    ("hello_dtls", "incomplete", HELLO_OUTCOMES, &["dtls", "incomplete"]),
    ("hello_dtls", "not_a_host_name", HELLO_OUTCOMES, &["dtls", "not_a_host_name"]),
    ("quic_version", "v1", QUIC_HELLOS, &["v1"]),
    ("quic_version", "v2", QUIC_HELLOS, &["v2"]),
    ("quic_version", "draft", QUIC_HELLOS, &["draft"]),
    ("quic_version", "google", QUIC_HELLOS, &["google"]),
    ("quic_version", "other", QUIC_HELLOS, &["other"]),
    ("clear_text", "http_host", CLEAR_TEXT_NAMES, &["http_host"]),
    ("clear_text", "http_connect", CLEAR_TEXT_NAMES, &["http_connect"]),
    ("clear_text", "socks", CLEAR_TEXT_NAMES, &["socks"]),
    ("clear_text", "proxy_authority", CLEAR_TEXT_NAMES, &["proxy_authority"]),
    ("clear_text", "tls_certificate", CLEAR_TEXT_NAMES, &["tls_certificate"]),
    ("dns", "answers", DNS_ANSWERS, &[]),
    ("match", "flows", FLOW_MATCHES, &[]),
    ("match", "not_alerting", FLOW_MATCHES_SILENT, &[]),
    ("sighting", "emitted", SIGHTINGS, &[]),
    ("quic", "initials", QUIC_INITIALS, &[]),
    ("quic", "opened", QUIC_OPENINGS, &["opened"]),
    ("quic", "open_failures", QUIC_OPENINGS, &["failed"]),
    ("quic", "keys_derived", QUIC_KEYS, &[]),
    ("quic", "from_server", QUIC_PASSED_OVER, &["from_server"]),
    ("quic", "unknown_versions", QUIC_PASSED_OVER, &["unknown_version"]),
    ("quic", "cut", QUIC_PASSED_OVER, &["cut"]),
    ("quic", "version_negotiations", QUIC_PASSED_OVER, &["version_negotiation"]),
    ("quic", "retries", QUIC_PASSED_OVER, &["retry"]),
    ("quic", "odd_frames", QUIC_PASSED_OVER, &["odd_frame"]),
    ("quic", "clear", QUIC_CLEAR, &[]),
    ("fragment", "seen", FRAGMENTS, &[]),
    ("fragment", "joined", FRAGMENT_DATAGRAMS, &["joined"]),
    ("fragment", "other_readings", FRAGMENT_DATAGRAMS, &["other_readings"]),
    ("fragment", "void_readings", FRAGMENT_DATAGRAMS, &["void_readings"]),
    ("fragment", "timed_out", FRAGMENT_DATAGRAMS, &["timed_out"]),
    ("fragment", "partial", FRAGMENT_DATAGRAMS, &["partial"]),
    ("fragment", "too_large", FRAGMENTS_ODD, &["too_large"]),
    ("fragment", "overlapping", FRAGMENTS_ODD, &["overlapping"]),
    ("fragment", "differing", FRAGMENTS_ODD, &["differing"]),
    ("fragment", "conflicting", FRAGMENTS_ODD, &["conflicting"]),
    ("fragment", "truncated", FRAGMENTS_ODD, &["truncated"]),
    ("fragment", "empty", FRAGMENTS_ODD, &["empty"]),
    ("fragment", "bad_checksum", FRAGMENTS_ODD, &["bad_checksum"]),
    ("void_segment", "checksum", VOID_SEGMENTS, &["checksum"]),
    ("void_segment", "no-ack", VOID_SEGMENTS, &["no-ack"]),
    ("void_segment", "syn-flag", VOID_SEGMENTS, &["syn-flag"]),
    ("void_segment", "md5", VOID_SEGMENTS, &["md5"]),
    ("void_segment", "paws", VOID_SEGMENTS, &["paws"]),
    ("void_segment", "ack-window", VOID_SEGMENTS, &["ack-window"]),
    ("decode_error", "link-unsupported", DECODE_ERRORS, &["link", "unsupported"]),
    ("decode_error", "link-truncated", DECODE_ERRORS, &["link", "truncated"]),
    ("decode_error", "link-malformed", DECODE_ERRORS, &["link", "malformed"]),
    ("decode_error", "not-ip", DECODE_ERRORS, &["link", "not_ip"]),
    ("decode_error", "encrypted", DECODE_ERRORS, &["link", "encrypted"]),
    ("decode_error", "shim-truncated", DECODE_ERRORS, &["shim", "truncated"]),
    ("decode_error", "shim-malformed", DECODE_ERRORS, &["shim", "malformed"]),
    ("decode_error", "ipv4-truncated", DECODE_ERRORS, &["ipv4", "truncated"]),
    ("decode_error", "ipv4-malformed", DECODE_ERRORS, &["ipv4", "malformed"]),
    ("decode_error", "ipv6-truncated", DECODE_ERRORS, &["ipv6", "truncated"]),
    ("decode_error", "ipv6-malformed", DECODE_ERRORS, &["ipv6", "malformed"]),
    ("decode_error", "extension-truncated", DECODE_ERRORS, &["extension", "truncated"]),
    ("decode_error", "tcp-truncated", DECODE_ERRORS, &["tcp", "truncated"]),
    ("decode_error", "tcp-malformed", DECODE_ERRORS, &["tcp", "malformed"]),
    ("decode_error", "udp-truncated", DECODE_ERRORS, &["udp", "truncated"]),
    ("decode_error", "udp-malformed", DECODE_ERRORS, &["udp", "malformed"]),
    ("decode_error", "tunnel-truncated", DECODE_ERRORS, &["tunnel", "truncated"]),
    ("decode_error", "tunnel-malformed", DECODE_ERRORS, &["tunnel", "malformed"]),
    ("decode_error", "tunnel-unsupported", DECODE_ERRORS, &["tunnel", "unsupported"]),
    ("decode_error", "too-deep", DECODE_ERRORS, &["nesting", "too_deep"]),
];

/// Whether the family has a series for each worker.
pub fn is_per_worker(family: Family) -> bool {
    family.labels.first() == Some(&"worker")
}

/// Where a worker's count is exported, if anywhere.
pub fn worker_count(family: &str, reason: &str) -> Option<(Family, &'static [&'static str])> {
    let found = WORKER_COUNTS.iter().find(|known| known.0 == family && known.1 == reason);
    found.map(|&(_, _, family, values)| (family, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use vigie_metrics::Kind;

    #[test]
    fn counts_of_workers_go_to_counters_with_a_value_for_each_label_and_to_series_of_their_own() {
        let (mut pairs, mut series) = (HashSet::new(), HashSet::new());
        for (family, reason, shown, values) in WORKER_COUNTS {
            assert!(pairs.insert((family, reason)), "{family} {reason} twice");
            assert!(series.insert((shown.name, values)), "{shown:?} {values:?} twice");
            assert_eq!(shown.kind, Kind::Counter);
            assert_eq!(values.len() + usize::from(is_per_worker(*shown)), shown.labels.len(), "{family} {reason}");
        }
        assert_eq!(worker_count("flow", "evicted"), Some((FLOWS_ENDED, &["evicted"][..])));
        assert_eq!(worker_count("flow", "vanished"), None);
    }
}
