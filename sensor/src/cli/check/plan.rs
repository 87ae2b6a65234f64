//! What would run with given settings.

use serde_json::{Value, json};

use crate::cli::words::{bytes, counted};
use crate::settings::{Fsync, MemoryNeed, Settings};
use vigie_capture::live::Backend;

/// What would run, for people.
pub(super) fn lines(settings: &Settings) -> String {
    let (capture, events) = (&settings.capture, &settings.events);
    let need = MemoryNeed::of(settings);
    let workers = counted(capture.workers as u64, "worker");
    let pinned = match capture.cpus.as_slice() {
        [] => String::new(),
        cpus => {
            let cpus: Vec<String> = cpus.iter().take(capture.workers).map(ToString::to_string).collect();
            format!(" on CPUs {}", cpus.join(", "))
        }
    };
    let how = match capture.backend {
        Backend::Ring => format!("rings of {}, fanout {}", bytes(capture.ring_bytes as u64), capture.fanout),
        Backend::Auto => format!("AF_XDP or packet sockets, rings of {}", bytes(capture.ring_bytes as u64)),
        Backend::Xdp => format!("AF_XDP, rings of {}", bytes(capture.ring_bytes as u64)),
        Backend::Pcap => "libpcap".to_owned(),
    };
    let mut types = vec!["alert"];
    types.extend(events.types.iter().map(|record| record.as_str()));
    let journal = &settings.journal;
    let (fsync, interval_ms) = match journal.folder {
        Some(_) => (journal.fsync, journal.fsync_interval_ms),
        None if events.file.as_os_str() == "-" => (Fsync::Never, 0),
        None => (events.fsync, events.fsync_interval_ms),
    };
    let fsync = match fsync {
        Fsync::Never => "never synced to disk".to_owned(),
        Fsync::Interval => format!("synced to disk every {interval_ms} ms"),
        Fsync::Each => "synced to disk at each write".to_owned(),
    };
    let target = match &journal.folder {
        Some(folder) => format!("the journal in {}", folder.display()),
        None if events.file.as_os_str() == "-" => "the standard output".to_owned(),
        None => events.file.display().to_string(),
    };
    let kept = match &journal.folder {
        Some(_) => format!(
            "alerts {} days, incidents {} days, at most {}; sealed, 'vigie journal verify' finds changes",
            journal.alerts_days,
            journal.incidents_days,
            bytes(journal.bytes_max)
        ),
        None => {
            let how = "set journal.folder = \"/var/lib/vigie/journal\" and remove events.file";
            format!("none; to keep events sealed and for a limited time, {how}")
        }
    };
    let metrics = settings.metrics.listen.map_or_else(
        || "not served".to_owned(),
        |listen| {
            let scheme = if settings.metrics.web_config.is_some() { "by metrics.web_config" } else { "without TLS" };
            format!("http://{listen}/metrics, {scheme}")
        },
    );
    let shunt = match need.shunt_bytes {
        0 => String::new(),
        table => format!(", shunt {}", bytes(table)),
    };
    [
        format!("would run as {}: sensor {}, {workers}{pinned}", settings.privilege.user, settings.sensor.name),
        format!("  capture: {} with {how}", capture.interfaces.join(", ")),
        format!(
            "  memory: at most {}: program {}, rings {}{shunt}, flow tables {}, handshakes and names {}, waiting events {}, judgement {}",
            bytes(need.total_bytes()),
            bytes(need.program_bytes),
            bytes(need.rings_bytes),
            bytes(need.tables_bytes),
            bytes(need.work_bytes),
            bytes(need.events_bytes),
            bytes(need.judgement_bytes)
        ),
        format!("  events: {} to {target}, {fsync}", types.join(", ")),
        format!("  journal: {kept}"),
        format!("  metrics: {metrics}"),
    ]
    .map(|line| line + "\n")
    .concat()
}

/// The memory that it takes.
pub(super) fn memory_json(settings: &Settings) -> Value {
    let need = MemoryNeed::of(settings);
    json!({
        "program_bytes": need.program_bytes,
        "rings_bytes": need.rings_bytes,
        "shunt_bytes": need.shunt_bytes,
        "tables_bytes": need.tables_bytes,
        "work_bytes": need.work_bytes,
        "events_bytes": need.events_bytes,
        "judgement_bytes": need.judgement_bytes,
        "total_bytes": need.total_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Record;
    use vigie_config::{Machine, Schema};

    #[test]
    fn what_would_run() {
        let machine = Machine { host_name: "tap".to_owned(), cpus: 2, cpu_last: Some(3), memory_bytes: Some(8 << 30) };
        let mut settings = Settings::defaults(&machine);
        settings.capture.interfaces = vec!["eth0".to_owned(), "eth1".to_owned()];
        settings.capture.cpus = vec![2, 3];
        settings.events.types = vec![Record::Stats];
        let expected = "\
would run as vigie: sensor tap, 2 workers on CPUs 2, 3
  capture: eth0, eth1 with rings of 67 MB, fanout addresses
  memory: at most 1.4 GB: program 67 MB, rings 268 MB, flow tables 166 MB, handshakes and names 125 MB, waiting events 127 MB, judgement 704 MB
  events: alert, stats to /var/log/vigie/eve.json, synced to disk every 1000 ms
  journal: none; to keep events sealed and for a limited time, set journal.folder = \"/var/lib/vigie/journal\" and remove events.file
  metrics: http://127.0.0.1:19843/metrics, without TLS
";
        assert_eq!(lines(&settings), expected);
        settings.journal.folder = Some("/var/lib/vigie/journal".into());
        let expected = "  events: alert, stats to the journal in /var/lib/vigie/journal, synced to disk every 1000 ms
  journal: alerts 30 days, incidents 180 days, at most 21 GB; sealed, 'vigie journal verify' finds changes\n";
        assert!(lines(&settings).contains(expected), "{}", lines(&settings));
        settings.metrics.listen = None;
        settings.capture.backend = Backend::Xdp;
        let expected = "capture: eth0, eth1 with AF_XDP, rings of 67 MB\n";
        assert!(
            lines(&settings).contains(expected) && lines(&settings).contains("rings 301 MB,"),
            "{}",
            lines(&settings)
        );
        settings.capture.backend = Backend::Pcap;
        assert!(lines(&settings).contains("with libpcap\n") && lines(&settings).ends_with("metrics: not served\n"));
    }
}
