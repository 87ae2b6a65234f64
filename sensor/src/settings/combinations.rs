//! What settings say about each other: combinations that are impossible, and those that are probably not intended.

use std::collections::BTreeSet;

use vigie_capture::live::options::SNAP_BYTES_MAX;
use vigie_capture::live::shunt::INTERFACES_MAX;
use vigie_capture::live::{Backend, ShuntMode, Timestamps};
use vigie_config::Review;
use vigie_privilege::Demand;

use super::choices::Fsync;
use super::{MemoryNeed, Settings};

/// Room that the kernel needs before a packet in a block of a ring, generously: headers of block and packet, alignment.
const BLOCK_OVERHEAD_BYTES: usize = 512;
/// The longest ordinary Ethernet frame, with a VLAN tag.
const ETHERNET_BYTES: usize = 1518;
/// The longest usual packet, also where segments are joined.
const PACKET_BYTES: usize = 65_535;

/// Reports all of them.
pub(super) fn check(review: &mut Review<'_, Settings>) {
    interfaces(review);
    workers(review);
    rings(review);
    backend(review);
    shunt(review);
    events(review);
    journal(review);
    metrics(review);
    limits(review);
    privilege(review);
    privacy(review);
}

fn interfaces(review: &mut Review<'_, Settings>) {
    let interfaces = &review.settings.capture.interfaces;
    let key = &["capture.interfaces"];
    if interfaces.is_empty() {
        review.refuse(key, "there is nothing to listen on", "name an interface, such as [\"eth1\"]");
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = interfaces.iter().find(|interface| !seen.insert(*interface)) {
        review.refuse(key, format!("{twice} is listed twice"), "name each interface once");
    }
    if interfaces.iter().any(|interface| interface == "any") {
        review.refuse(key, "the interface any is not supported", "name the interfaces; 'vigie interfaces' lists them");
    }
}

fn workers(review: &mut Review<'_, Settings>) {
    let capture = &review.settings.capture;
    let (workers, cpus) = (capture.workers, &capture.cpus);
    let keys = &["capture.cpus", "capture.workers"];
    if !cpus.is_empty() && cpus.len() < workers {
        let mend = format!("name {workers} CPUs, or set capture.workers = {}", cpus.len());
        review.refuse(keys, format!("{} for {workers} workers", counted(cpus.len(), "CPU")), mend);
    }
    if cpus.len() > workers {
        let mend = format!("set capture.workers = {}", cpus.len());
        review.warn(keys, format!("{} for {}", counted(cpus.len(), "CPU"), counted(workers, "worker")), mend);
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = cpus.iter().find(|cpu| !seen.insert(**cpu)) {
        let mend = "give each worker a CPU of its own";
        review.warn(&["capture.cpus"], format!("two workers share CPU {twice}"), mend);
    }
    if let (Some(last), Some(missing)) =
        (review.machine.cpu_last, cpus.iter().find(|cpu| review.machine.cpu_last.is_some_and(|last| **cpu > last)))
    {
        let what = format!("this machine has no CPU {missing}");
        review.refuse(&["capture.cpus"], what, format!("its CPUs are 0 to {last}"));
    }
}

fn rings(review: &mut Review<'_, Settings>) {
    let capture = &review.settings.capture;
    if capture.snap_bytes < ETHERNET_BYTES {
        let what = "packets are cut, and hellos with them";
        review.warn(&["capture.snap_bytes"], what, format!("set capture.snap_bytes = {SNAP_BYTES_MAX}"));
    }
    if !capture.backend.may_be_ring() {
        return;
    }
    let (ring, block) = (capture.ring_bytes, capture.block_bytes);
    let keys = &["capture.ring_bytes", "capture.block_bytes"];
    if !block.is_power_of_two() {
        let mend = format!("write {}", block.checked_next_power_of_two().unwrap_or(1 << 20));
        review.refuse(&["capture.block_bytes"], "not a power of two", mend);
    } else if ring < block.saturating_mul(2) {
        let mend = format!("set capture.ring_bytes to at least {}", block.saturating_mul(2));
        review.refuse(keys, format!("the ring has fewer than two blocks of {block} bytes"), mend);
    } else if !ring.is_multiple_of(block) {
        let mend = format!("set capture.ring_bytes = {}", ring - ring % block);
        review.refuse(keys, format!("the ring is not a multiple of a block of {block} bytes"), mend);
    }
    let snap = capture.snap_bytes.min(PACKET_BYTES);
    if snap + BLOCK_OVERHEAD_BYTES > block {
        let mend = format!("set capture.block_bytes = {}", (snap + BLOCK_OVERHEAD_BYTES).next_power_of_two());
        let what = format!("a packet of {snap} bytes is cut because it does not fit into a block of {block}");
        review.warn(&["capture.block_bytes", "capture.snap_bytes"], what, mend);
    }
}

fn shunt(review: &mut Review<'_, Settings>) {
    let capture = &review.settings.capture;
    if capture.shunt == ShuntMode::Off {
        return;
    }
    let off = "set capture.shunt = \"off\"";
    if capture.backend == Backend::Pcap {
        let mend = format!("{off}, or capture.backend = \"ring\"");
        review.refuse(&["capture.shunt", "capture.backend"], "the backend pcap has no shunt", mend);
    }
    if capture.shunt == ShuntMode::Pass {
        if capture.backend == Backend::Xdp {
            let mend = "set capture.backend = \"ring\", or capture.shunt = \"drop\" on a tap";
            let what = "by AF_XDP no packet is passed on to this machine";
            review.refuse(&["capture.shunt", "capture.backend"], what, mend);
        }
        if capture.bpf.is_some() {
            let what = "a packet socket has one filter only, this or that of capture.bpf";
            review.refuse(&["capture.shunt", "capture.bpf"], what, format!("{off}, or remove capture.bpf"));
        }
    }
    if capture.interfaces.len() > INTERFACES_MAX {
        let what = format!("{} interfaces cannot be shunted, {INTERFACES_MAX} can", capture.interfaces.len());
        review.refuse(&["capture.shunt", "capture.interfaces"], what, off);
    }
}

fn backend(review: &mut Review<'_, Settings>) {
    let capture = &review.settings.capture;
    let without_effect: &[&str] = match capture.backend {
        Backend::Ring | Backend::Auto => &[],
        Backend::Xdp => &["capture.fanout", "capture.block_bytes", "capture.block_timeout_ms", "capture.spare_sockets"],
        Backend::Pcap => &["capture.fanout", "capture.block_bytes"],
    };
    for key in without_effect {
        if review.is_given(key) {
            review.warn(&[key], format!("has no effect with the backend {}", capture.backend), "remove it");
        }
    }
    match capture.backend {
        Backend::Ring | Backend::Auto => {}
        Backend::Xdp => backend_xdp(review),
        Backend::Pcap => backend_pcap(review),
    }
}

fn backend_xdp(review: &mut Review<'_, Settings>) {
    let capture = &review.settings.capture;
    if capture.bpf.is_some() {
        let mend = "remove capture.bpf, or set capture.backend = \"ring\"";
        review.refuse(&["capture.bpf", "capture.backend"], "the backend xdp has no filters", mend);
    }
    if capture.timestamps == Timestamps::Hardware {
        let mend = "set capture.backend = \"ring\", or capture.timestamps = \"kernel\"";
        let what = "the backend xdp has only timestamps of the kernel";
        review.refuse(&["capture.timestamps", "capture.backend"], what, mend);
    }
    if capture.interfaces.len() > INTERFACES_MAX {
        let what = format!("the backend xdp takes {INTERFACES_MAX} interfaces, not {}", capture.interfaces.len());
        let mend = "set capture.backend = \"ring\"";
        review.refuse(&["capture.backend", "capture.interfaces"], what, mend);
    }
}

fn backend_pcap(review: &mut Review<'_, Settings>) {
    let capture = &review.settings.capture;
    if capture.timestamps == Timestamps::Hardware {
        let mend = "set capture.backend = \"ring\", or capture.timestamps = \"kernel\"";
        review.refuse(
            &["capture.timestamps", "capture.backend"],
            "the backend pcap has only timestamps of the kernel",
            mend,
        );
    }
    if capture.workers > 1 {
        let mend = "set capture.workers = 1, or capture.backend = \"ring\"";
        review.refuse(&["capture.workers", "capture.backend"], "the backend pcap has one worker", mend);
    }
}

fn events(review: &mut Review<'_, Settings>) {
    let events = &review.settings.events;
    let is_stdout = events.file.as_os_str() == "-";
    if is_stdout && events.fsync != Fsync::Never && review.is_given("events.fsync") {
        let mend = "set events.fsync = \"never\", or events.file to a path";
        review.refuse(&["events.fsync", "events.file"], "the standard output cannot be forced to a disk", mend);
    }
    if events.fsync != Fsync::Interval && review.is_given("events.fsync_interval_ms") {
        let what = format!("has no effect with events.fsync = \"{}\"", events.fsync);
        let mend = "remove it, or set events.fsync = \"interval\"";
        review.warn(&["events.fsync_interval_ms", "events.fsync"], what, mend);
    }
    if events.mode.0 & 0o007 != 0 {
        let what = "every user of this machine could read the events, which contain addresses of people";
        review.warn(&["events.mode"], what, "write \"0640\"");
    }
    if events.types.iter().any(|record| record.names_all_traffic()) {
        let what = "the names of ALL traffic are recorded, banned or not";
        review.warn(&["events.types"], what, "write [] unless it is your own traffic");
    }
}

fn journal(review: &mut Review<'_, Settings>) {
    let journal = &review.settings.journal;
    if journal.folder.is_none() {
        return;
    }
    if review.is_given("events.file") {
        let what = "events go either to the journal or to a file";
        let mend = "remove events.file ('vigie-forward' writes a file from the journal), or journal.folder";
        review.refuse(&["events.file", "journal.folder"], what, mend);
    }
    if let Some(key) =
        ["events.fsync", "events.fsync_interval_ms", "events.mode"].into_iter().find(|key| review.is_given(key))
    {
        let mend = "remove it; a journal has settings of its own under [journal]";
        review.warn(&[key, "journal.folder"], "has no effect with a journal", mend);
    }
    if journal.alerts_days > journal.incidents_days {
        let mend = format!("set journal.alerts_days to at most {}", journal.incidents_days);
        let what = "alerts would be kept longer than the incidents that they belong to";
        review.refuse(&["journal.alerts_days", "journal.incidents_days"], what, mend);
    }
    if journal.fsync != Fsync::Interval && review.is_given("journal.fsync_interval_ms") {
        let what = format!("has no effect with journal.fsync = \"{}\"", journal.fsync);
        let mend = "remove it, or set journal.fsync = \"interval\"";
        review.warn(&["journal.fsync_interval_ms", "journal.fsync"], what, mend);
    }
}

fn metrics(review: &mut Review<'_, Settings>) {
    let metrics = &review.settings.metrics;
    let Some(listen) = metrics.listen else {
        if metrics.web_config.is_some() {
            let mend = "set metrics.listen, or remove metrics.web_config";
            review.warn(&["metrics.web_config", "metrics.listen"], "there is no endpoint that uses it", mend);
        }
        return;
    };
    if !listen.ip().to_canonical().is_loopback() && metrics.web_config.is_none() {
        let what = "other machines could read the metrics without TLS or authentication";
        let keys = &["metrics.listen", "metrics.web_config", "metrics.allow_open"];
        match metrics.allow_open {
            true => review.warn(keys, what, "set metrics.web_config"),
            false => {
                let mend = "set metrics.web_config, or metrics.allow_open = true if the network is trusted";
                review.refuse(keys, what, mend);
            }
        }
    }
    if listen.port() == 0 {
        let what = "the port is different at each start";
        review.warn(&["metrics.listen"], what, "give a fixed port, so that Prometheus can find it");
    }
}

fn limits(review: &mut Review<'_, Settings>) {
    let limits = &review.settings.limits;
    if limits.reassembly_bytes_max < limits.stream_bytes_max {
        let mend = format!("set limits.reassembly_bytes_max to at least {}", limits.stream_bytes_max);
        let (all, one) = (limits.reassembly_bytes_max, limits.stream_bytes_max);
        let what = format!("limits.reassembly_bytes_max, {all}, is less than limits.stream_bytes_max, {one}");
        review.refuse(&["limits.reassembly_bytes_max", "limits.stream_bytes_max"], what, mend);
    }
    if limits.hello_bytes_max > limits.stream_bytes_max {
        let mend = format!("set limits.stream_bytes_max to at least {}", limits.hello_bytes_max);
        let (hello, stream) = (limits.hello_bytes_max, limits.stream_bytes_max);
        let what = format!("limits.hello_bytes_max, {hello}, is more than limits.stream_bytes_max, {stream}");
        review.warn(&["limits.hello_bytes_max", "limits.stream_bytes_max"], what, mend);
    }
    let Some(memory) = review.machine.memory_bytes else { return };
    let need = MemoryNeed::of(review.settings);
    let keys = &["limits.flows_max", "capture.workers", "capture.ring_bytes"];
    if need.rings_bytes >= memory {
        let what = format!("the rings need {}, and this machine has {}", gib(need.rings_bytes), gib(memory));
        review.refuse(&["capture.ring_bytes", "capture.workers"], what, "make capture.ring_bytes smaller");
    } else if need.total_bytes() > memory {
        let what = format!("up to {} are needed, and this machine has {}", gib(need.total_bytes()), gib(memory));
        review.warn(keys, what, "make limits.flows_max or capture.workers smaller");
    }
}

fn privilege(review: &mut Review<'_, Settings>) {
    let privilege = &review.settings.privilege;
    if matches!(privilege.user.as_str(), "root" | "0") {
        review.warn(&["privilege.user"], "the sensor keeps the privileges of root", "write \"vigie\"");
    }
    for (key, demand) in [("privilege.landlock", privilege.landlock), ("privilege.seccomp", privilege.seccomp)] {
        if demand == Demand::Off {
            review.warn(&[key], "a protection is turned off", "write \"preferred\"");
        }
    }
}

fn privacy(review: &mut Review<'_, Settings>) {
    let privacy = &review.settings.privacy;
    let mend = "set privacy.pseudonyms = true, or remove it";
    if !privacy.pseudonyms && privacy.key_file.is_some() {
        review.warn(&["privacy.key_file"], "without pseudonyms, the key is not used", mend);
    }
    if !privacy.pseudonyms && privacy.reveal_needs_second {
        review.warn(&["privacy.reveal_needs_second"], "without pseudonyms, there is nothing to reveal", mend);
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Bytes in GiB with one digit after the point.
fn gib(bytes: u64) -> String {
    format!("{}.{} GiB", bytes >> 30, (bytes >> 20) % 1024 * 10 / 1024)
}
