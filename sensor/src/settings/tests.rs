//! Configurations with mistakes, and the errors that people get.

use std::ffi::OsString;
use std::path::PathBuf;

use proptest::prelude::*;
use vigie_capture::live::{Backend, ShuntMode};
use vigie_config::{Changes, Definition, File, Flag, Layers, Machine, Mode, Origin, RawValue, Source, Table};

use super::*;

/// The first line of every file here, so that nothing else is wrong.
const INTERFACE: &str = "capture.interfaces = [\"eth0\"]\n";

fn machine() -> Machine {
    Machine { host_name: "tap-1".to_owned(), cpus: 4, cpu_last: Some(7), memory_bytes: Some(16 << 30) }
}

fn layers(text: impl AsRef<[u8]>) -> Layers {
    Layers {
        source: Source::Bytes("vigie.toml".to_owned(), text.as_ref().to_vec()),
        environment: Vec::new(),
        flags: Vec::new(),
        machine: machine(),
    }
}

fn variables(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

fn flag(key: &str, value: &str) -> Flag {
    Flag::set(key, value)
}

fn loaded(text: &str) -> Loaded {
    Settings::load(&layers(text)).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

/// Errors and warnings of a file, one per line.
fn findings(text: &str) -> Vec<String> {
    match Settings::load(&layers(text)) {
        Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect(),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

/// A file of one line below the interface has this one finding.
fn assert_finding(line: &str, expected: &str) {
    assert_eq!(findings(&format!("{INTERFACE}{line}\n")), [expected], "{line}");
}

#[test]
fn invalid_values_are_refused_with_what_to_write() {
    for (line, expected) in [
        // Numbers.
        (
            "capture.ring_bytes = \"64MiB\"",
            "vigie.toml:2: capture.ring_bytes = \"64MiB\": expected a number of bytes; write 67108864",
        ),
        (
            "capture.ring_bytes = \"lots\"",
            "vigie.toml:2: capture.ring_bytes = \"lots\": expected a number of bytes; the default is 67_108_864",
        ),
        ("capture.workers = \"4\"", "vigie.toml:2: capture.workers = \"4\": expected a whole number; write 4"),
        ("capture.workers = 2.5", "vigie.toml:2: capture.workers = 2.5: expected a whole number; the default is 0"),
        ("capture.workers = -1", "vigie.toml:2: capture.workers = -1: too small; give at least 0"),
        ("capture.workers = 5000", "vigie.toml:2: capture.workers = 5000: too large; give at most 1024"),
        (
            "capture.workers = 99999999999999999999",
            "vigie.toml:2: capture.workers = 99999999999999999999: too large; give at most 1024",
        ),
        ("capture.workers = true", "vigie.toml:2: capture.workers = true: expected a whole number; the default is 0"),
        (
            "capture.block_timeout_ms = \"1s\"",
            "vigie.toml:2: capture.block_timeout_ms = \"1s\": expected a number of milliseconds; write 1000",
        ),
        (
            "events.stats_interval_s = \"5 min\"",
            "vigie.toml:2: events.stats_interval_s = \"5 min\": expected a number of seconds; write 300",
        ),
        (
            "signatures.max_age_days = \"1 year\"",
            "vigie.toml:2: signatures.max_age_days = \"1 year\": expected a number of days; write 365",
        ),
        ("limits.flows_max = 4", "vigie.toml:2: limits.flows_max = 4: too small; give at least 16"),
        ("limits.idle_timeout_s = 3600", "vigie.toml:2: limits.idle_timeout_s = 3600: too large; give at most 800"),
        (
            "limits.hello_bytes_max = \"32 KiB\"",
            "vigie.toml:2: limits.hello_bytes_max = \"32 KiB\": expected a number of bytes; write 32768",
        ),
        // Truth.
        (
            "capture.promiscuous = \"yes\"",
            "vigie.toml:2: capture.promiscuous = \"yes\": expected true or false; write true",
        ),
        ("capture.promiscuous = 0", "vigie.toml:2: capture.promiscuous = 0: expected true or false; write false"),
        (
            "metrics.allow_open = \"perhaps\"",
            "vigie.toml:2: metrics.allow_open = \"perhaps\": expected true or false; write true or false, without \
             quotation marks",
        ),
        // One of a few words.
        (
            "capture.backend = \"rign\"",
            "vigie.toml:2: capture.backend = \"rign\": expected ring, xdp, pcap or auto; did you mean \"ring\"?",
        ),
        (
            "capture.backend = \"dpdk\"",
            "vigie.toml:2: capture.backend = \"dpdk\": expected ring, xdp, pcap or auto; the default is \"ring\"",
        ),
        (
            "capture.fanout = \"round_robin\"",
            "vigie.toml:2: capture.fanout = \"round_robin\": expected addresses, hash, cpu or qm; the default is \
             \"addresses\"",
        ),
        (
            "capture.timestamps = 3",
            "vigie.toml:2: capture.timestamps = 3: expected kernel or hardware; the default is \"kernel\"",
        ),
        (
            "events.fsync = \"always\"",
            "vigie.toml:2: events.fsync = \"always\": expected never, interval or each; the default is \"interval\"",
        ),
        (
            "privilege.landlock = \"on\"",
            "vigie.toml:2: privilege.landlock = \"on\": expected required, preferred or off; the default is \
             \"preferred\"",
        ),
        (
            "log.level = \"warning\"",
            "vigie.toml:2: log.level = \"warning\": expected error, warn, info, debug or trace; the default is \"info\"",
        ),
        // Lists.
        ("capture.cpus = 3", "vigie.toml:2: capture.cpus = 3: expected a list; write [3]"),
        (
            "capture.cpus = [\"0\", 1, 2, 3]",
            "vigie.toml:2: capture.cpus = [\"0\", 1, 2, 3]: item \"0\": expected a whole number; write 0",
        ),
        ("events.types = \"tls\"", "vigie.toml:2: events.types = \"tls\": expected a list; write [\"tls\"]"),
        (
            "events.types = [\"stat\"]",
            "vigie.toml:2: events.types = [\"stat\"]: item \"stat\": expected alert, sighting, tls, quic, http, dns, flow or stats; did you mean \
             \"stats\"?",
        ),
        // Text.
        ("sensor.name = 7", "vigie.toml:2: sensor.name = 7: expected text; write \"7\""),
        (
            "sensor.name = [\"a\"]",
            "vigie.toml:2: sensor.name = [\"a\"]: expected text, not a list; the default is \"\"",
        ),
        (
            "sensor.name = \"a\\u001b[2J\"",
            "vigie.toml:2: sensor.name = \"a\\u001B[2J\": has control characters; remove them",
        ),
        (
            "events.file = \"eve.json\"",
            "vigie.toml:2: events.file = \"eve.json\": expected a path that begins with /; write \"/…/eve.json\"",
        ),
        (
            "events.file = \"/var/log/vigie/\"",
            "vigie.toml:2: events.file = \"/var/log/vigie/\": a folder, not a file; write \"/var/log/vigie/eve.json\"",
        ),
        (
            "privilege.user = \"\"",
            "vigie.toml:2: privilege.user = \"\": empty; write \"vigie\", or another user without privileges",
        ),
        (
            "privilege.group = \"a:b\"",
            "vigie.toml:2: privilege.group = \"a:b\": not a name of a user or group; see getent(1)",
        ),
        // Addresses and permissions.
        (
            "metrics.listen = \"localhost:9000\"",
            "vigie.toml:2: metrics.listen = \"localhost:9000\": expected an address and a port; write \"127.0.0.1:9000\"",
        ),
        (
            "metrics.listen = 9000",
            "vigie.toml:2: metrics.listen = 9000: expected an address and a port; the default is \"127.0.0.1:19843\"",
        ),
        (
            "events.mode = 640",
            "vigie.toml:2: events.mode = 640: expected octal permissions in quotation marks; write \"0640\"",
        ),
        (
            "events.mode = \"rw-\"",
            "vigie.toml:2: events.mode = \"rw-\": expected octal permissions; the default is \"0640\"",
        ),
        (
            "events.mode = \"0440\"",
            "vigie.toml:2: events.mode = \"0440\": the owner could not write the file; the default is \"0640\"",
        ),
        (
            "log.level = 1979-05-27",
            "vigie.toml:2: log.level = 1979-05-27: expected error, warn, info, debug or trace; the default is \"info\"",
        ),
    ] {
        assert_finding(line, expected);
    }
    for (interface, what) in [
        ("eth0/1", "not a name of an interface"),
        ("", "no interface has an empty name"),
        ("a-very-long-interface", "too long for an interface"),
    ] {
        let line = format!("capture.interfaces = [\"{interface}\"]");
        let mend = "'vigie interfaces' lists them";
        assert_eq!(findings(&line), [format!("vigie.toml:1: {line}: item \"{interface}\": {what}; {mend}")]);
    }
}

#[test]
fn unknown_keys_are_refused_with_the_nearest() {
    for (line, expected) in [
        ("capture.ring_byte = 1", "vigie.toml:2: capture.ring_byte: unknown key; did you mean capture.ring_bytes?"),
        ("capture.Workers = 1", "vigie.toml:2: capture.Workers: unknown key; did you mean capture.workers?"),
        ("capture.level = 1", "vigie.toml:2: capture.level: unknown key; did you mean log.level?"),
        ("log.colour = true", "vigie.toml:2: log.colour: unknown key; [log] has level, format"),
        ("workers = 2", "vigie.toml:2: workers: unknown key; did you mean capture.workers?"),
        ("wrokers = 2", "vigie.toml:2: wrokers: unknown key; did you mean capture.workers?"),
        ("frobnicate = 2", "vigie.toml:2: frobnicate: unknown key; 'vigie generate config' lists all keys"),
        ("[captures]\nworkers = 2", "vigie.toml:2: captures: unknown section; did you mean [capture]?"),
        (
            "[network]\nx = 2",
            "vigie.toml:2: network: unknown section; there are [sensor], [capture], [limits], [events], [journal], [signatures], \
             [policy], [judgement], [privacy], [metrics], [privilege], [log]",
        ),
        (
            "capture.ring = { bytes = 1 }",
            "vigie.toml:2: capture.ring: unknown key; [capture] has interfaces, backend, \
          fanout, workers, cpus, ring_bytes, block_bytes, block_timeout_ms, snap_bytes, promiscuous, bpf, timestamps, shunt, \
          wait_for_interfaces, spare_sockets",
        ),
        ("log = 3", "vigie.toml:2: log: a section, not a value; write [log] and its keys below"),
        ("[[log]]\nlevel = 3", "vigie.toml:2: log: a section, not a value; write [log] and its keys below"),
        ("limits.flow_max = 100", "vigie.toml:2: limits.flow_max: unknown key; did you mean limits.flows_max?"),
        ("\"\\u001b[2J\" = 1", "vigie.toml:2: \\u{1b}[2J: unknown key; 'vigie generate config' lists all keys"),
    ] {
        assert_finding(line, expected);
    }
}

#[test]
fn syntax_errors_have_their_line() {
    for (text, expected) in [
        (
            "[log]\nlevel = \"info\"\nlevel = \"warn\"",
            "vigie.toml:4: level: this key is set a second time; keep one of the two",
        ),
        ("[log]\nlevel = info", "vigie.toml:3: not TOML: "),
        ("[log\nlevel = \"info\"", "vigie.toml:2: not TOML: "),
        ("[log]\nlevel", "vigie.toml:3: not TOML: "),
        ("[log]\nlevel = ", "vigie.toml:3: not TOML: "),
        ("[log]\nlevel = \"info", "vigie.toml:3: not TOML: "),
    ] {
        let lines = findings(&format!("{INTERFACE}{text}\n"));
        assert!(lines.len() == 1 && lines[0].starts_with(expected), "{text}: {lines:?}");
    }
    let text = format!("{INTERFACE}[log\nlevel = 3\n[events]\nmode = 640\nfsync = \n");
    let lines = findings(&text);
    let starts = ["vigie.toml:2: not TOML", "vigie.toml:5: events.mode = 640", "vigie.toml:6: not TOML"];
    assert_eq!(lines.len(), starts.len(), "{lines:?}");
    assert!(lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{lines:?}");
    let not_text = Settings::load(&layers(b"[log]\n# caf\xe9\n")).unwrap_err();
    assert_eq!(not_text.0[0].to_string(), "vigie.toml:2: not UTF-8 text; save the file as UTF-8");
    let large = Settings::load(&layers(vec![b'#'; 2 << 20])).unwrap_err();
    assert!(large.0[0].to_string().starts_with("vigie.toml: larger than 1 MiB"), "{large}");
}

#[test]
fn all_errors_are_reported_at_once_in_order() {
    let text = "\
[capture]
interfaces = [\"eth0\", \"eth0\"]
workers = \"many\"
ringbytes = 5

[events]
mode = 640
mode = \"0640\"

[log]
level = \"loud\"
";
    let mut layers = layers(text);
    layers.environment = variables(&[("VIGIE_LOG__FORMAT", "xml"), ("HOME", "/root")]);
    layers.flags = vec![flag("capture.snap_bytes", "1")];
    let errors = Settings::load(&layers).unwrap_err();
    let expected = "\
vigie.toml:2: capture.interfaces = [\"eth0\", \"eth0\"]: eth0 is listed twice; name each interface once
vigie.toml:3: capture.workers = \"many\": expected a whole number; the default is 0
vigie.toml:4: capture.ringbytes: unknown key; did you mean capture.ring_bytes?
vigie.toml:7: events.mode = 640: expected octal permissions in quotation marks; write \"0640\"
vigie.toml:8: mode: this key is set a second time; keep one of the two
vigie.toml:11: log.level = \"loud\": expected error, warn, info, debug or trace; the default is \"info\"
VIGIE_LOG__FORMAT: log.format = xml: expected text or json; the default is \"text\"
--set: capture.snap_bytes = 1: too small; give at least 64";
    assert_eq!(errors.to_string(), expected);
    assert_eq!(errors.count(), 8);
}

#[test]
fn impossible_combinations_are_refused() {
    for (lines, expected) in [
        (
            "capture.backend = \"pcap\"\ncapture.timestamps = \"hardware\"",
            "vigie.toml:3: capture.timestamps = \"hardware\": the backend pcap has only timestamps of the kernel; set \
             capture.backend = \"ring\", or capture.timestamps = \"kernel\"",
        ),
        (
            "capture.workers = 2\ncapture.backend = \"pcap\"",
            "vigie.toml:3: capture.backend = \"pcap\": the backend pcap has one worker; set capture.workers = 1, or \
             capture.backend = \"ring\"",
        ),
        (
            "capture.backend = \"xdp\"\ncapture.bpf = \"tcp\"",
            "vigie.toml:3: capture.bpf = \"tcp\": the backend xdp has no filters; remove capture.bpf, or set \
             capture.backend = \"ring\"",
        ),
        (
            "capture.backend = \"xdp\"\ncapture.timestamps = \"hardware\"",
            "vigie.toml:3: capture.timestamps = \"hardware\": the backend xdp has only timestamps of the kernel; set \
             capture.backend = \"ring\", or capture.timestamps = \"kernel\"",
        ),
        (
            "capture.workers = 1\ncapture.backend = \"pcap\"\ncapture.shunt = \"drop\"",
            "vigie.toml:4: capture.shunt = \"drop\": the backend pcap has no shunt; set capture.shunt = \"off\", or \
             capture.backend = \"ring\"",
        ),
        (
            "capture.backend = \"xdp\"\ncapture.shunt = \"pass\"",
            "vigie.toml:3: capture.shunt = \"pass\": by AF_XDP no packet is passed on to this machine; set \
             capture.backend = \"ring\", or capture.shunt = \"drop\" on a tap",
        ),
        (
            "capture.bpf = \"tcp\"\ncapture.shunt = \"pass\"",
            "vigie.toml:3: capture.shunt = \"pass\": a packet socket has one filter only, this or that of capture.bpf; set \
             capture.shunt = \"off\", or remove capture.bpf",
        ),
        (
            "capture.workers = 3\ncapture.cpus = [0, 1]",
            "vigie.toml:3: capture.cpus = [0, 1]: 2 CPUs for 3 workers; name 3 CPUs, or set capture.workers = 2",
        ),
        (
            "capture.cpus = [0, 8]",
            "vigie.toml:2: capture.cpus = [0, 8]: this machine has no CPU 8; its CPUs are 0 to 7",
        ),
        (
            "capture.ring_bytes = 1048577",
            "vigie.toml:2: capture.ring_bytes = 1_048_577: the ring has fewer than two blocks of 1048576 bytes; set \
             capture.ring_bytes to at least 2097152",
        ),
        (
            "capture.ring_bytes = 3000000",
            "vigie.toml:2: capture.ring_bytes = 3_000_000: the ring is not a multiple of a block of 1048576 bytes; set \
             capture.ring_bytes = 2097152",
        ),
        (
            "capture.block_bytes = 100000",
            "vigie.toml:2: capture.block_bytes = 100_000: not a power of two; write 131072",
        ),
        (
            "capture.workers = 1\ncapture.ring_bytes = 2147483647\ncapture.block_bytes = 131072",
            "vigie.toml:4: capture.block_bytes = 131_072: the ring is not a multiple of a block of 131072 bytes; set \
             capture.ring_bytes = 2147352576",
        ),
        (
            "capture.ring_bytes = 2146435072\ncapture.workers = 9",
            "vigie.toml:3: capture.workers = 9: the rings need 17.9 GiB, and this machine has 16.0 GiB; make \
             capture.ring_bytes smaller",
        ),
        (
            "events.file = \"-\"\nevents.fsync = \"each\"",
            "vigie.toml:3: events.fsync = \"each\": the standard output cannot be forced to a disk; set events.fsync = \
             \"never\", or events.file to a path",
        ),
        (
            "journal.folder = \"/var/lib/vigie/journal\"\nevents.file = \"/var/log/vigie/eve.json\"",
            "vigie.toml:3: events.file = \"/var/log/vigie/eve.json\": events go either to the journal or to a file; remove \
             events.file ('vigie-forward' writes a file from the journal), or journal.folder",
        ),
        (
            "journal.folder = \"/j\"\njournal.alerts_days = 60\njournal.incidents_days = 50",
            "vigie.toml:4: journal.incidents_days = 50: alerts would be kept longer than the incidents that they belong to; set \
             journal.alerts_days to at most 50",
        ),
        (
            "metrics.listen = \"0.0.0.0:9100\"",
            "vigie.toml:2: metrics.listen = \"0.0.0.0:9100\": other machines could read the metrics without TLS or \
             authentication; set metrics.web_config, or metrics.allow_open = true if the network is trusted",
        ),
        (
            "limits.reassembly_bytes_max = 65536\nlimits.stream_bytes_max = 100000",
            "vigie.toml:3: limits.stream_bytes_max = 100_000: limits.reassembly_bytes_max, 65536, is \
             less than limits.stream_bytes_max, 100000; set limits.reassembly_bytes_max to at least 100000",
        ),
    ] {
        assert!(Settings::load(&layers(format!("{INTERFACE}{lines}\n"))).is_err(), "{lines}");
        assert_finding(lines, expected);
    }
    let nothing = Settings::load(&layers("")).unwrap_err().to_string();
    let expected = "vigie.toml: capture.interfaces = []: there is nothing to listen on; name an interface, such as \
                    [\"eth1\"]";
    assert_eq!(nothing, expected);
    let any = findings("capture.interfaces = [\"any\"]");
    assert!(any[0].contains("the interface any is not supported"), "{any:?}");
    assert_eq!(findings("capture.interfaces = [\"any\"]\ncapture.backend = \"pcap\""), any);
}

#[test]
fn doubtful_combinations_give_warnings() {
    for (lines, expected) in [
        (
            "capture.block_bytes = 65536",
            "vigie.toml:2: warning: capture.block_bytes = 65_536: a packet of 65535 bytes is cut because it does not fit \
             into a block of 65536; set capture.block_bytes = 131072",
        ),
        (
            "capture.workers = 1\ncapture.cpus = [2, 3]",
            "vigie.toml:3: warning: capture.cpus = [2, 3]: 2 CPUs for 1 worker; set capture.workers = 2",
        ),
        (
            "capture.cpus = [2, 2]",
            "vigie.toml:2: warning: capture.cpus = [2, 2]: two workers share CPU 2; give each worker a CPU of its own",
        ),
        (
            "capture.snap_bytes = 256",
            "vigie.toml:2: warning: capture.snap_bytes = 256: packets are cut, and hellos with them; set \
             capture.snap_bytes = 262144",
        ),
        (
            "capture.backend = \"xdp\"\ncapture.spare_sockets = 3",
            "vigie.toml:3: warning: capture.spare_sockets = 3: has no effect with the backend xdp; remove it",
        ),
        (
            "capture.backend = \"pcap\"\ncapture.fanout = \"hash\"",
            "vigie.toml:3: warning: capture.fanout = \"hash\": has no effect with the backend pcap; remove it",
        ),
        (
            "events.fsync = \"each\"\nevents.fsync_interval_ms = 100",
            "vigie.toml:3: warning: events.fsync_interval_ms = 100: has no effect with events.fsync = \"each\"; remove \
             it, or set events.fsync = \"interval\"",
        ),
        (
            "events.mode = \"0644\"",
            "vigie.toml:2: warning: events.mode = \"0644\": every user of this machine could read the events, \
             which contain addresses of people; write \"0640\"",
        ),
        (
            "events.types = [\"dns\", \"stats\"]",
            "vigie.toml:2: warning: events.types = [\"dns\", \"stats\"]: the names of ALL traffic are recorded, banned or \
             not; write [] unless it is your own traffic",
        ),
        (
            "privacy.key_file = \"period-key\"",
            "vigie.toml:2: warning: privacy.key_file = \"period-key\": without pseudonyms, the key is not used; set \
             privacy.pseudonyms = true, or remove it",
        ),
        (
            "privacy.reveal_needs_second = true",
            "vigie.toml:2: warning: privacy.reveal_needs_second = true: without pseudonyms, there is nothing to reveal; \
             set privacy.pseudonyms = true, or remove it",
        ),
        (
            "metrics.listen = \"[::]:9100\"\nmetrics.allow_open = true",
            "vigie.toml:3: warning: metrics.allow_open = true: other machines could read the metrics without TLS or \
             authentication; set metrics.web_config",
        ),
        (
            "metrics.listen = \"\"\nmetrics.web_config = \"/etc/vigie/web.yml\"",
            "vigie.toml:3: warning: metrics.web_config = \"/etc/vigie/web.yml\": there is no endpoint that uses it; \
             set metrics.listen, or remove metrics.web_config",
        ),
        (
            "metrics.listen = \"127.0.0.1:0\"",
            "vigie.toml:2: warning: metrics.listen = \"127.0.0.1:0\": the port is different at each start; give a fixed \
             port, so that Prometheus can find it",
        ),
        (
            "limits.flows_max = 100000000",
            "vigie.toml:2: warning: limits.flows_max = 100_000_000: up to 30.9 GiB are needed, and this machine has 16.0 \
             GiB; make limits.flows_max or capture.workers smaller",
        ),
        (
            "limits.hello_bytes_max = 65536",
            "vigie.toml:2: warning: limits.hello_bytes_max = 65_536: limits.hello_bytes_max, 65536, is more \
             than limits.stream_bytes_max, 49152; set limits.stream_bytes_max to at least 65536",
        ),
        (
            "privilege.user = \"root\"",
            "vigie.toml:2: warning: privilege.user = \"root\": the sensor keeps the privileges of root; write \"vigie\"",
        ),
        (
            "privilege.seccomp = \"off\"",
            "vigie.toml:2: warning: privilege.seccomp = \"off\": a protection is turned off; write \"preferred\"",
        ),
    ] {
        assert_finding(lines, expected);
        loaded(&format!("{INTERFACE}{lines}\n"));
    }
    for silent in [
        "metrics.listen = \"0.0.0.0:9100\"\nmetrics.web_config = \"/etc/vigie/web.yml\"",
        "metrics.listen = \"[::1]:9100\"",
        "events.types = [\"stats\"]",
        "events.file = \"-\"",
        "events.file = \"-\"\nevents.fsync = \"never\"",
        "capture.block_bytes = 65536\ncapture.snap_bytes = 2048",
        "capture.backend = \"pcap\"\ncapture.ring_bytes = 131072",
    ] {
        assert_eq!(findings(&format!("{INTERFACE}{silent}\n")), [""; 0], "{silent}");
    }
}

#[test]
fn settings_that_are_not_given_are_resolved() {
    let settings = loaded(INTERFACE).settings;
    assert_eq!((settings.sensor.name.as_str(), settings.capture.workers), ("tap-1", 4));
    assert_eq!(settings.events.file, PathBuf::from("/var/log/vigie/eve.json"));
    let pinned = loaded("capture = { interfaces = [\"eth0\"], cpus = [1, 2] }").settings;
    assert_eq!((pinned.capture.workers, pinned.capture.cpus), (2, vec![1, 2]));
    let pcap = loaded("capture = { interfaces = [\"eth0\"], backend = \"pcap\" }").settings;
    assert_eq!((pcap.capture.workers, pcap.capture.backend), (1, Backend::Pcap));
    let xdp = loaded("capture = { interfaces = [\"eth0\"], backend = \"xdp\" }").settings;
    assert_eq!((xdp.capture.workers, xdp.capture.backend), (1, Backend::Xdp));
    let auto = loaded("capture = { interfaces = [\"eth0\"], backend = \"auto\" }").settings;
    assert_eq!((auto.capture.workers, auto.capture.backend), (1, Backend::Auto));
    let types =
        loaded("capture.interfaces = [\"a\"]\nevents.types = [\"stats\", \"tls\", \"stats\"]").settings.events.types;
    assert_eq!(types, [Record::Tls, Record::Stats]);
    let octal = loaded(&format!("{INTERFACE}events.mode = 0o600\nmetrics.listen = \"\"\n")).settings;
    assert_eq!((octal.events.mode, octal.metrics.listen), (Mode(0o600), None));
    assert_eq!(Settings::default().capture.workers, Machine::detect().cpus);
}

#[test]
fn later_layers_win() {
    let workers = |layers: &Layers| {
        let loaded = Settings::load(layers).unwrap();
        (loaded.settings.capture.workers, loaded.origins.get("capture.workers").cloned())
    };
    let mut layers = layers(INTERFACE);
    assert_eq!(workers(&layers), (4, None));
    layers.source = Source::Bytes("vigie.toml".to_owned(), format!("{INTERFACE}capture.workers = 1").into_bytes());
    assert_eq!(workers(&layers), (1, Some(Origin::File("vigie.toml".to_owned(), 2))));
    layers.environment = variables(&[("VIGIE_CAPTURE__WORKERS", "2")]);
    assert_eq!(workers(&layers), (2, Some(Origin::Environment("VIGIE_CAPTURE__WORKERS".to_owned()))));
    layers.flags = vec![flag("capture.workers", "6"), flag("capture.workers", "3")];
    assert_eq!(workers(&layers), (3, Some(Origin::Flag("--set".to_owned()))));
}

#[test]
fn the_environment_names_settings_and_nothing_else() {
    let mut layers = layers("");
    layers.environment = variables(&[
        ("VIGIE_CAPTURE__INTERFACES", "eth0, eth1"),
        ("VIGIE_LIMITS__FLOWS_MAX", "65_536"),
        ("VIGIE_METRICS__LISTEN", ""),
        ("VIGIE_SENSOR_NAME", "older"),
        ("VIGIE_CONFIG", "/etc/vigie/other.toml"),
        ("PATH", "/bin"),
    ]);
    let settings = Settings::load(&layers).unwrap().settings;
    assert_eq!(settings.capture.interfaces, ["eth0", "eth1"]);
    assert_eq!((settings.limits.flows_max, settings.metrics.listen), (65_536, None));
    assert_eq!(settings.sensor.name, "older");
    layers.environment.extend(variables(&[("VIGIE_SENSOR__NAME", "newer")]));
    assert_eq!(Settings::load(&layers).unwrap().settings.sensor.name, "newer");

    layers.environment = variables(&[
        ("VIGIE_CAPTURE_WORKERS", "2"),
        ("VIGIE_CAPTURE__INTERFACES", "eth0"),
        ("VIGIE_capture__workers", "2"),
        ("VIGIE_NONSENSE", "2"),
    ]);
    let errors = Settings::load(&layers).unwrap_err().to_string();
    let expected = "\
VIGIE_CAPTURE_WORKERS: unknown variable; did you mean VIGIE_CAPTURE__WORKERS?
VIGIE_NONSENSE: unknown variable; unset it; variables are named like VIGIE_CAPTURE__WORKERS
VIGIE_capture__workers: unknown variable; did you mean VIGIE_CAPTURE__WORKERS?";
    assert_eq!(errors, expected);
    layers.environment = variables(&[("VIGIE_CAPTURE__RING_BYTES", "64 MiB"), ("VIGIE_CAPTURE__INTERFACES", "eth0")]);
    let errors = Settings::load(&layers).unwrap_err().to_string();
    assert_eq!(
        errors,
        "VIGIE_CAPTURE__RING_BYTES: capture.ring_bytes = 64 MiB: expected a number of bytes; write 67108864"
    );
}

#[test]
fn flags_name_settings_and_may_be_lists() {
    let mut layers = layers("");
    let names = RawValue::List(vec![RawValue::Unquoted("a".to_owned()), RawValue::Unquoted("b".to_owned())]);
    let option = "--interface".to_owned();
    layers.flags = vec![Flag { option, key: "capture.interfaces".to_owned(), value: names }];
    assert_eq!(Settings::load(&layers).unwrap().settings.capture.interfaces, ["a", "b"]);
    layers.flags.push(flag("capture.worker", "2"));
    layers.flags.push(flag("workers", "2"));
    let errors = Settings::load(&layers).unwrap_err().to_string();
    let expected = "--set: capture.worker: unknown key; did you mean capture.workers?\n\
                    --set: workers: unknown key; did you mean capture.workers?";
    assert_eq!(errors, expected);
}

#[test]
fn missing_files_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vigie.toml");
    let mut layers = layers("");
    layers.source = Source::Path(path.clone());
    let missing = Settings::load(&layers).unwrap_err().to_string();
    assert!(missing.starts_with(&format!("{}: cannot be read: ", path.display())), "{missing}");
    std::fs::write(&path, "[capture]\ninterfaces = [\"eth0\"]\n").unwrap();
    let loaded = Settings::load(&layers).unwrap();
    assert_eq!(loaded.file, Some(path.display().to_string()));
    layers.source = Source::Absent;
    layers.flags = vec![flag("capture.interfaces", "eth0")];
    assert_eq!(Settings::load(&layers).unwrap().file, None);
}

/// The default file of the last release: an upgrade stops no sensor.
const DEFAULT_FILE_0_1: &str = include_str!("default-0.1.toml");

#[test]
fn the_default_file_of_the_last_release_loads() {
    for text in [DEFAULT_FILE_0_1.to_owned(), activated(DEFAULT_FILE_0_1)] {
        let mut layers = layers(text);
        layers.flags = vec![flag("capture.interfaces", "eth0")];
        let loaded = Settings::load(&layers).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(loaded.warnings, []);
    }
}

/// The default file with every setting active.
fn activated(text: &str) -> String {
    let is_setting =
        |line: &&str| line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
    let lines = text.lines().map(|line| if is_setting(&line) { &line[1..] } else { line });
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_default_file_has_the_defaults() {
    let text = default_file();
    let (file, faults) = File::parse::<Settings>("vigie.toml", activated(&text).as_bytes());
    assert_eq!(faults, []);
    let keys: Vec<&str> = file.keys().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), Settings::definitions().len());
    for definition in Settings::definitions() {
        assert!(keys.contains(&definition.key), "{}", definition.key);
        assert!(definition.documentation.ends_with('.'), "{} has no whole sentence", definition.key);
    }

    // As it is printed it sets the journal; with every setting active but the file in its place it sets the defaults besides.
    let (file, _) = File::parse::<Settings>("vigie.toml", text.as_bytes());
    assert_eq!(file.keys().map(|(key, _)| key).collect::<Vec<_>>(), ["journal.folder"]);
    let without_file = activated(&text).replace("\nfile = \"/var/log/vigie/eve.json\"\n", "\n");
    // Of the other settings of the events file one is told: they have no effect with a journal.
    for (text, warnings) in [(text.clone(), 0), (without_file, 1)] {
        let mut layers = layers(text);
        layers.flags = vec![flag("capture.interfaces", "eth0")];
        let loaded = Settings::load(&layers).unwrap();
        let mut defaults = Settings::defaults(&machine());
        defaults.capture.interfaces = vec!["eth0".to_owned()];
        defaults.journal.folder = Some("/var/lib/vigie/journal".into());
        assert_eq!(loaded.settings, defaults);
        assert_eq!(loaded.warnings.len(), warnings, "{:?}", loaded.warnings);
    }
    let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 100).collect();
    assert_eq!(wide, [""; 0]);
}

#[test]
fn the_reference_has_every_setting() {
    let text = reference();
    assert_eq!(text.lines().filter(|line| line.starts_with("| `")).count(), Settings::definitions().len());
    assert!(text.contains("| `level` | `\"info\"` |") && text.contains("| on reload |"));
}

/// A value for each setting that is not its default.
fn other_value(definition: &Definition) -> String {
    let other = match definition.key {
        "capture.cpus" => "[0, 1]",
        "capture.interfaces" => "[\"eth7\"]",
        "capture.ring_bytes" => "33554432",
        "capture.block_bytes" => "2097152",
        "capture.backend" => "\"pcap\"",
        "capture.fanout" => "\"cpu\"",
        "capture.timestamps" => "\"hardware\"",
        "capture.shunt" => "\"drop\"",
        "events.types" => "[\"stats\"]",
        "events.mode" => "\"0600\"",
        "events.fsync" | "journal.fsync" => "\"each\"",
        "metrics.listen" => "\"127.0.0.1:1\"",
        "privilege.landlock" => "\"required\"",
        "privilege.seccomp" => "\"preferred\"",
        "log.level" => "\"debug\"",
        "log.format" => "\"json\"",
        "capture.workers" => "1",
        "policy.unlisted" => "\"out\"",
        "privacy.languages" => "[\"nl\"]",
        "privacy.period" => "\"week\"",
        "privacy.mode" => "\"warn-first\"",
        _ if definition.description.starts_with("day") => "\"2026-11-27\"",
        _ => match (definition.description.as_str(), definition.default.as_str()) {
            ("true or false", "true") => "false",
            ("true or false", _) => "true",
            ("path", _) => "\"/elsewhere/x\"",
            ("text", _) => "\"other\"",
            (_, default) => return (default.replace('_', "").parse::<u64>().unwrap() - 1).to_string(),
        },
    };
    other.to_owned()
}

#[test]
fn every_change_is_live_or_waits_for_a_restart() {
    let old = loaded(INTERFACE).settings;
    assert!(old.changes(&old).is_empty());
    let live = [
        "events.fsync",
        "events.fsync_interval_ms",
        "events.stats_interval_s",
        "journal.fsync",
        "journal.fsync_interval_ms",
        "journal.alerts_days",
        "journal.incidents_days",
        "journal.bytes_max",
        "policy.unlisted",
        "policy.assets",
        "policy.derogations",
        "policy.bans",
        "privacy.dpia_reference",
        "privacy.notice_date",
        "privacy.staff_consultation_date",
        "privacy.controller",
        "privacy.contact",
        "privacy.languages",
        "privacy.site",
        "privacy.key_file",
        "privacy.reveal_needs_second",
        "log.level",
        "log.format",
    ];
    for definition in Settings::definitions() {
        let line = format!("{} = {}\n", definition.key, other_value(definition));
        let text = if definition.name == "interfaces" { line } else { format!("{INTERFACE}{line}") };
        let new = loaded(&text).settings;
        let change = old.changes(&new);
        let key = definition.key;
        // The default number of workers also depends on the backend and on `cpus`.
        match live.contains(&key) {
            true => assert_eq!((change.live, change.restart), (vec![key], vec![]), "{key}"),
            false => assert!(change.live.is_empty() && change.restart.contains(&key), "{key}: {change:?}"),
        }
    }
}

#[test]
fn a_reload_takes_what_may_change_live() {
    let old = loaded(INTERFACE).settings;
    let new =
        loaded(&format!("{INTERFACE}log.level = \"debug\"\ncapture.workers = 2\nlimits.flows_max = 99\n")).settings;
    let now = old.with_live_changes(&new);
    assert_eq!((now.log.level, now.capture.workers, now.limits.flows_max), (Level::Debug, 4, old.limits.flows_max));
    assert_eq!(now.changes(&new).live, [""; 0]);
    assert_eq!(old.changes(&now), Changes { live: vec!["log.level"], restart: vec![] });
}

#[test]
fn memory_is_rings_tables_work_and_events() {
    let mut settings = loaded(INTERFACE).settings;
    settings.capture.interfaces.push("eth1".to_owned());
    let need = MemoryNeed::of(&settings);
    assert_eq!(need.rings_bytes, 4 * 2 * 67_108_864);
    assert_eq!(need.tables_bytes, 4 * 68 * (1_048_576 + 174_762));
    let limited = need.tables_bytes + need.work_bytes + need.events_bytes + need.judgement_bytes;
    assert_eq!(need.total_bytes(), need.program_bytes + need.rings_bytes + limited);
    let judgement = &settings.judgement;
    assert!(need.judgement_bytes > (judgement.ordering_bytes_max + judgement.waiting_bytes_max) as u64);
    let events = &settings.events;
    assert!(need.events_bytes > (events.channel_bytes_max + 4 * events.pending_bytes_max) as u64);
    assert_eq!(need.shunt_bytes, 0);
    settings.capture.shunt = ShuntMode::Drop;
    let shunted = MemoryNeed::of(&settings);
    let states = 4 * 2 * (1_048_576 + 174_762);
    assert_eq!(shunted.shunt_bytes, (32 << 20) + states + 4 * 65_536 * 352);
    assert_eq!(shunted.total_bytes(), need.total_bytes() + shunted.shunt_bytes);
    settings.capture.shunt = ShuntMode::Off;
    settings.capture.backend = Backend::Xdp;
    assert_eq!(MemoryNeed::of(&settings).rings_bytes, 4 * 2 * (67_108_864 + 8_388_608));
    settings.capture.backend = Backend::Pcap;
    assert_eq!(MemoryNeed::of(&settings).rings_bytes, 2 * 67_108_864);
}

/// Files that are almost right, made of pieces.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        proptest::sample::select(vec![
            "[capture]",
            "[[log]]",
            "[limits",
            "capture.",
            "workers",
            "ring_bytes",
            "interfaces",
            "listen",
            "mode",
            " = ",
            "\"",
            "'''",
            "[",
            "]",
            "{",
            "}",
            ",",
            "\n",
            "#",
            "0o",
            "640",
            "-1",
            "1e400",
            "true",
            "\"eth0\"",
            "nan",
            "1979-05-27",
            "99999999999999999999999999999999999999999",
            "\\u0000",
            "\u{feff}",
            "\r",
            "é",
            "\u{1b}",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,4}",
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Settings::load(&layers(bytes));
    }

    #[test]
    fn no_text_makes_it_panic_and_every_error_is_a_line(text in pieces()) {
        if let Err(errors) = Settings::load(&layers(&text)) {
            prop_assert!(errors.count() > 0);
            for finding in &errors.0 {
                let line = finding.to_string();
                prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
                prop_assert!(line.starts_with("vigie.toml") && line.len() < 2000, "{:?}", line);
            }
        }
    }

    #[test]
    fn no_word_makes_it_panic(key in 0..Settings::definitions().len(), value in "\\PC{0,12}|\\[\\PC{0,12}") {
        let mut layers = layers(INTERFACE);
        layers.flags = vec![flag(Settings::definitions()[key].key, &value)];
        let _ = Settings::load(&layers);
    }
}
