//! What settings say of each other: combinations that cannot be, and those that somebody probably did not mean.

use std::collections::{BTreeMap, BTreeSet};

use super::choices::Fsync;
use super::finding::{Fault, Finding, Origin, Severity};
use super::machine::Machine;
use super::memory::MemoryNeed;
use super::table::Settings;
use vigie_capture::live::options::SNAP_BYTES_MAX;
use vigie_capture::live::{Backend, Timestamps};
use vigie_privilege::Demand;

/// Room that the kernel puts before a packet in a ring's block, generously: headers of block and packet, alignment.
const BLOCK_OVERHEAD_BYTES: usize = 512;
/// The least that holds any packet of an Ethernet, with a tag.
const ETHERNET_BYTES: usize = 1518;
/// The longest that is usual, even where segments are joined.
const PACKET_BYTES: usize = 65_535;

/// Settings, and what is known of how they came about.
pub(super) struct View<'a> {
    pub(super) settings: &'a Settings,
    pub(super) origins: &'a BTreeMap<&'static str, Origin>,
    /// Keys whose values were refused: nothing more is said of them.
    pub(super) faulty: &'a BTreeSet<&'static str>,
    pub(super) file: Option<&'a str>,
    /// The file could not be read whole: what it does not set is not known.
    pub(super) is_broken: bool,
    pub(super) machine: &'a Machine,
}

impl View<'_> {
    /// All there is to say.
    pub(super) fn judge(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.interfaces(&mut findings);
        self.workers(&mut findings);
        self.rings(&mut findings);
        self.backend(&mut findings);
        self.events(&mut findings);
        self.metrics(&mut findings);
        self.limits(&mut findings);
        self.privilege(&mut findings);
        findings
    }

    fn is_given(&self, key: &str) -> bool {
        self.origins.contains_key(key)
    }

    /// A finding about the first of `keys`, at the place of whichever was typed last; nothing if one was refused.
    fn say(&self, out: &mut Vec<Finding>, severity: Severity, keys: &[&'static str], what: String, mend: &str) {
        if keys.iter().any(|key| self.faulty.contains(key)) {
            return;
        }
        let typed = keys.iter().filter_map(|key| Some((*key, self.origins.get(key)?)));
        let last = typed.reduce(|one, other| if other.1 > one.1 { other } else { one });
        let (key, origin) = match last {
            Some((key, origin)) => (key, origin.clone()),
            None if self.is_broken => return,
            None => {
                let whole = self.file.map_or(Origin::Default, |label| Origin::File(label.to_owned(), 0));
                (keys.first().copied().unwrap_or_default(), whole)
            }
        };
        let (section, name) = key.split_once('.').unwrap_or_default();
        let value = super::finding::one_line(&self.settings.toml(section, name));
        out.push(Finding { severity, ..Finding::error(origin, key, &value, Fault::new(what, mend)) });
    }

    fn refuse(&self, out: &mut Vec<Finding>, keys: &[&'static str], what: impl Into<String>, mend: &str) {
        self.say(out, Severity::Error, keys, what.into(), mend);
    }

    fn warn(&self, out: &mut Vec<Finding>, keys: &[&'static str], what: impl Into<String>, mend: &str) {
        self.say(out, Severity::Warning, keys, what.into(), mend);
    }

    fn interfaces(&self, out: &mut Vec<Finding>) {
        let interfaces = &self.settings.capture.interfaces;
        let key = &["capture.interfaces"];
        if interfaces.is_empty() {
            self.refuse(out, key, "there is nothing to listen on", "name an interface, such as [\"eth1\"]");
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = interfaces.iter().find(|interface| !seen.insert(*interface)) {
            self.refuse(out, key, format!("{twice} is there twice"), "name each interface once");
        }
        if interfaces.iter().any(|interface| interface == "any") {
            self.refuse(out, key, "any cannot be listened to", "name the interfaces; 'vigie interfaces' lists them");
        }
    }

    fn workers(&self, out: &mut Vec<Finding>) {
        let capture = &self.settings.capture;
        let (workers, cpus) = (capture.workers, &capture.cpus);
        let keys = &["capture.cpus", "capture.workers"];
        if !cpus.is_empty() && cpus.len() < workers {
            let mend = format!("name {workers} CPUs, or set capture.workers = {}", cpus.len());
            self.refuse(out, keys, format!("{} for {workers} workers", counted(cpus.len(), "CPU")), &mend);
        }
        if cpus.len() > workers {
            let mend = format!("set capture.workers = {}", cpus.len());
            self.warn(out, keys, format!("{} for {}", counted(cpus.len(), "CPU"), counted(workers, "worker")), &mend);
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = cpus.iter().find(|cpu| !seen.insert(**cpu)) {
            let mend = "give each worker a CPU of its own";
            self.warn(out, &["capture.cpus"], format!("two workers share CPU {twice}"), mend);
        }
        if let (Some(last), Some(missing)) =
            (self.machine.cpu_last, cpus.iter().find(|cpu| self.machine.cpu_last.is_some_and(|last| **cpu > last)))
        {
            let what = format!("this machine has no CPU {missing}");
            self.refuse(out, &["capture.cpus"], what, &format!("its CPUs are 0 to {last}"));
        }
    }

    fn rings(&self, out: &mut Vec<Finding>) {
        let capture = &self.settings.capture;
        if capture.snap_bytes < ETHERNET_BYTES {
            let what = "packets are cut, and hellos with them";
            self.warn(out, &["capture.snap_bytes"], what, &format!("set capture.snap_bytes = {SNAP_BYTES_MAX}"));
        }
        if capture.backend != Backend::Ring {
            return;
        }
        let (ring, block) = (capture.ring_bytes, capture.block_bytes);
        let keys = &["capture.ring_bytes", "capture.block_bytes"];
        if !block.is_power_of_two() {
            let mend = format!("write {}", block.checked_next_power_of_two().unwrap_or(1 << 20));
            self.refuse(out, &["capture.block_bytes"], "no power of two", &mend);
        } else if ring < block.saturating_mul(2) {
            let mend = format!("set capture.ring_bytes to at least {}", block.saturating_mul(2));
            self.refuse(out, keys, format!("the ring has less than two blocks of {block} bytes"), &mend);
        } else if !ring.is_multiple_of(block) {
            let mend = format!("set capture.ring_bytes = {}", ring - ring % block);
            self.refuse(out, keys, format!("the ring is no multiple of a block of {block} bytes"), &mend);
        }
        let snap = capture.snap_bytes.min(PACKET_BYTES);
        if snap + BLOCK_OVERHEAD_BYTES > block {
            let mend = format!("set capture.block_bytes = {}", (snap + BLOCK_OVERHEAD_BYTES).next_power_of_two());
            let what = format!("a packet of {snap} bytes is cut, as it does not fit into a block of {block}");
            self.warn(out, &["capture.block_bytes", "capture.snap_bytes"], what, &mend);
        }
    }

    fn backend(&self, out: &mut Vec<Finding>) {
        let capture = &self.settings.capture;
        if capture.backend != Backend::Pcap {
            return;
        }
        if capture.timestamps == Timestamps::Hardware {
            let mend = "set capture.backend = \"ring\", or capture.timestamps = \"kernel\"";
            self.refuse(
                out,
                &["capture.timestamps", "capture.backend"],
                "the backend pcap has the kernel's only",
                mend,
            );
        }
        if capture.workers > 1 {
            let mend = "set capture.workers = 1, or capture.backend = \"ring\"";
            self.refuse(out, &["capture.workers", "capture.backend"], "the backend pcap has one worker", mend);
        }
        for key in ["capture.fanout", "capture.block_bytes"] {
            if self.is_given(key) {
                self.warn(out, &[key], "does nothing with the backend pcap", "leave it out");
            }
        }
    }

    fn events(&self, out: &mut Vec<Finding>) {
        let events = &self.settings.events;
        let is_stdout = events.file.as_os_str() == "-";
        if is_stdout && events.fsync != Fsync::Never && self.is_given("events.fsync") {
            let mend = "set events.fsync = \"never\", or events.file to a path";
            self.refuse(out, &["events.fsync", "events.file"], "the standard output cannot be forced to a disk", mend);
        }
        if events.fsync != Fsync::Interval && self.is_given("events.fsync_interval_ms") {
            let what = format!("does nothing with events.fsync = \"{}\"", events.fsync);
            let mend = "leave it out, or set events.fsync = \"interval\"";
            self.warn(out, &["events.fsync_interval_ms", "events.fsync"], what, mend);
        }
        if events.mode.0 & 0o007 != 0 {
            let what = "everybody on this machine may open the events, which name people's addresses";
            self.warn(out, &["events.mode"], what, "write \"0640\"");
        }
        if events.types.iter().any(|record| record.tells_of_everybody()) {
            let what = "the names of ALL traffic are recorded, banned or not";
            self.warn(out, &["events.types"], what, "write [] unless it is traffic of your own");
        }
    }

    fn metrics(&self, out: &mut Vec<Finding>) {
        let metrics = &self.settings.metrics;
        let Some(listen) = metrics.listen else {
            if metrics.web_config.is_some() {
                let mend = "set metrics.listen, or leave metrics.web_config out";
                self.warn(out, &["metrics.web_config", "metrics.listen"], "there is nowhere to use it", mend);
            }
            return;
        };
        if !listen.ip().to_canonical().is_loopback() && metrics.web_config.is_none() {
            let what = "other machines could read the metrics without TLS or authentication";
            let keys = &["metrics.listen", "metrics.web_config", "metrics.allow_open"];
            match metrics.allow_open {
                true => self.warn(out, keys, what, "set metrics.web_config"),
                false => {
                    let mend = "set metrics.web_config, or metrics.allow_open = true where the network is trusted";
                    self.refuse(out, keys, what, mend);
                }
            }
        }
        if listen.port() == 0 {
            let what = "the port is another one at each start";
            self.warn(out, &["metrics.listen"], what, "give a port that Prometheus can be told");
        }
    }

    fn limits(&self, out: &mut Vec<Finding>) {
        let limits = &self.settings.limits;
        if limits.reassembly_bytes_max < limits.stream_bytes_max {
            let mend = format!("set limits.reassembly_bytes_max to at least {}", limits.stream_bytes_max);
            let (all, one) = (limits.reassembly_bytes_max, limits.stream_bytes_max);
            let what = format!("limits.reassembly_bytes_max, {all}, is less than limits.stream_bytes_max, {one}");
            self.refuse(out, &["limits.reassembly_bytes_max", "limits.stream_bytes_max"], what, &mend);
        }
        if limits.hello_bytes_max > limits.stream_bytes_max {
            let mend = format!("set limits.stream_bytes_max to at least {}", limits.hello_bytes_max);
            let (hello, stream) = (limits.hello_bytes_max, limits.stream_bytes_max);
            let what = format!("limits.hello_bytes_max, {hello}, is more than limits.stream_bytes_max, {stream}");
            self.warn(out, &["limits.hello_bytes_max", "limits.stream_bytes_max"], what, &mend);
        }
        let Some(memory) = self.machine.memory_bytes else { return };
        let need = MemoryNeed::of(self.settings);
        let keys = &["limits.flows_max", "capture.workers", "capture.ring_bytes"];
        if need.rings_bytes >= memory {
            let what = format!("the rings take {}, and this machine has {}", gib(need.rings_bytes), gib(memory));
            self.refuse(out, &["capture.ring_bytes", "capture.workers"], what, "make capture.ring_bytes smaller");
        } else if need.total_bytes() > memory {
            let what = format!("{} could be taken, and this machine has {}", gib(need.total_bytes()), gib(memory));
            self.warn(out, keys, what, "make limits.flows_max or capture.workers smaller");
        }
    }

    fn privilege(&self, out: &mut Vec<Finding>) {
        let privilege = &self.settings.privilege;
        if matches!(privilege.user.as_str(), "root" | "0") {
            self.warn(out, &["privilege.user"], "the sensor keeps the superuser's rights", "write \"vigie\"");
        }
        for (key, demand) in [("privilege.landlock", privilege.landlock), ("privilege.seccomp", privilege.seccomp)] {
            if demand == Demand::Off {
                self.warn(out, &[key], "a protection is turned off", "write \"preferred\"");
            }
        }
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Bytes in GiB with one digit after the point.
fn gib(bytes: u64) -> String {
    format!("{}.{} GiB", bytes >> 30, (bytes >> 20) % 1024 * 10 / 1024)
}
