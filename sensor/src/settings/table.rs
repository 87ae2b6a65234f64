//! The table of settings: everything that can be configured, with types, defaults, rules and documentation.
//! Combinations are checked in `combinations`.
//!
//! The upper ends of the limits are what the code can handle, so that nothing is cut silently: slots of the flow table
//! have 32 bits, ages are a byte in steps of four seconds, depths are a byte.

use std::net::SocketAddr;
use std::path::PathBuf;

use vigie_capture::live::options::{
    BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, BLOCK_TIMEOUT_MS_MAX, RING_BYTES_MAX, SNAP_BYTES_MAX, SNAP_BYTES_MIN,
};
use vigie_capture::live::{Backend, Fanout, ShuntMode, Timestamps};
use vigie_config::{Day, Mode, Rule, absolute_path, account_name, printable, settings};
use vigie_privilege::{Demand, LANDLOCK_DEFAULT, SECCOMP_DEFAULT};

use super::choices::{Fsync, KeyPeriod, Language, Level, LogFormat, Naming, Record, Unlisted};
use super::rules::{interface, output, sensor_name, user};
use crate::telemetry::ADDRESS_DEFAULT;

settings! {
    /// The settings of the sensor: valid and resolved.
    Settings;

    /// The sensor itself.
    sensor: Sensor {
        /// Name of this sensor, written to events as `host`; empty: the host name of the machine.
        name: String = String::new(), Rule::Text("at most 255 characters", sensor_name), Restart;
    }

    /// Where packets come from.
    capture: Capture {
        /// Interfaces to listen on, such as both sides of a tap. At least one is required. Packets of a flow may arrive on
        /// several of them.
        interfaces: Vec<String> = Vec::new(), Rule::Text("names of network interfaces", interface), Restart;
        /// How packets are captured: `ring` shares memory with the kernel, `pcap` uses libpcap, which works everywhere but
        /// has one worker. `xdp` takes packets from the driver before the kernel looks at them (AF_XDP): only on a tap, since
        /// this machine gets none of them. It needs Linux 6.1, a driver that leaves VLAN tags in place, and at the start the
        /// rights of root or `vigie-xdp.service`; it has no `bpf`. `auto`, only on a tap too, takes `xdp` where nothing stands
        /// against it and the driver has XDP, else `ring`, and says why at the start.
        backend: Backend = Backend::Ring, Rule::Any, Restart;
        /// How the kernel distributes packets to workers. `addresses` gives both directions of a flow, its fragments and whole
        /// tunnels to one worker; the load is even where there are many clients. `hash` takes the ports in: it also spreads
        /// the traffic of few clients, but separates fragments from their flow. `cpu` and `qm` leave it to the network card,
        /// whose receive hash has to be symmetric.
        fanout: Fanout = Fanout::Addresses, Rule::Any, Restart;
        /// Number of workers, which are threads with a flow table each. 0: one for each entry of `cpus`, or one for each
        /// CPU if `cpus` is empty; one with the backends pcap, xdp and auto. With `xdp` the queues of an interface are divided among
        /// workers, so that several need a network card whose receive hash is symmetric.
        workers: usize = 0, Rule::Range(0, 1024), Restart;
        /// CPUs to which workers are pinned, one for each worker; empty: not pinned.
        cpus: Vec<usize> = Vec::new(), Rule::Range(0, 8191), Restart;
        /// Bytes of a ring; each worker has one ring for each interface. A multiple of `block_bytes`, at least two
        /// blocks. With the backend pcap, the size of its buffer; with xdp, divided among the queues of a worker.
        ring_bytes: usize = 67_108_864, Rule::Range(2 * BLOCK_BYTES_MIN as u64, RING_BYTES_MAX as u64), Restart;
        /// Bytes of a block of a ring; the kernel delivers packets by the block. A power of two. A packet that does not fit
        /// into a block is cut.
        block_bytes: usize = 1_048_576, Rule::Range(BLOCK_BYTES_MIN as u64, BLOCK_BYTES_MAX as u64), Restart;
        /// Milliseconds after which the kernel delivers a block that is not full: the longest delay of a packet.
        block_timeout_ms: u32 = 20, Rule::Range(1, BLOCK_TIMEOUT_MS_MAX as u64), Restart;
        /// Bytes of each packet that are captured; the rest is cut. The default captures all of any packet: hellos fill
        /// whole packets, and a network card or kernel that joins segments makes packets of 64 KiB and more.
        snap_bytes: usize = SNAP_BYTES_MAX as usize, Rule::Range(SNAP_BYTES_MIN as u64, SNAP_BYTES_MAX as u64), Restart;
        /// Whether interfaces receive packets that are not addressed to this machine. Required on a tap.
        promiscuous: bool = true, Rule::Any, Restart;
        /// Filter for the packets to capture, in the syntax of tcpdump; empty: all packets.
        bpf: Option<String> = None, Rule::Text("a filter of at most 65536 bytes", printable), Restart;
        /// Clock for the timestamps of packets. `hardware` needs the backend ring and a network card with that function.
        timestamps: Timestamps = Timestamps::Kernel, Rule::Any, Restart;
        /// What becomes of packets of which the sensor needs nothing more, such as those of a connection whose hello was read.
        /// `drop` has the network driver count and drop them, which takes most of the work away: only on a tap, since the
        /// machine itself does not get them either. Needs the backend ring or xdp, a driver with native XDP that leaves VLAN tags
        /// in place, and at the start the rights of root. A `bpf` that selects single packets of a connection does not
        /// hold for those. `pass` has the kernel count them and keep them from the sensor only, on any interface and with any
        /// driver; it takes less of the work away. Needs the backend ring without `bpf`, and at the start the rights of root.
        shunt: ShuntMode = ShuntMode::Off, Rule::Any, Restart;
        /// Whether the sensor starts although an interface is missing, and waits for it. The sensor always waits for an
        /// interface that disappears later.
        wait_for_interfaces: bool = true, Rule::Any, Restart;
        /// Spare sockets for each worker and interface. Each time that an interface disappears and returns, as when its
        /// driver is loaded again, one is used. They are opened at the start, since that needs privileges.
        spare_sockets: usize = 8, Rule::Range(0, 1000), Restart;
    }

    /// What a worker may use; each limit that is reached is counted under its name.
    limits: Limits {
        /// Flows in the table of a worker; when it is full, the flow that was idle longest is evicted.
        flows_max: usize = 1_048_576, Rule::Range(16, 1_500_000_000), Restart;
        /// Seconds without a packet after which a flow ends.
        idle_timeout_s: usize = 300, Rule::Range(8, 800), Restart;
        /// Flows of all workers whose packets do not come to them, with `capture.shunt`. Packets of further ones go to
        /// the workers.
        shunt_flows_max: usize = 1_048_576, Rule::Range(16, 268_435_456), Restart;
        /// Flows of a worker that have ended and whose events wait until their last shunted packets are counted, for some
        /// hundredths of a second. The events of further ones do not wait, and may lack those packets.
        shunt_ending_flows_max: usize = 65_536, Rule::Range(0, 16_777_216), Restart;
        /// Flows of a worker whose handshake is being read or that matched; when it is reached, the one that was idle
        /// longest is given up.
        records_max: usize = 131_072, Rule::Range(16, 1_500_000_000), Restart;
        /// Bytes of one direction of a TCP connection that are kept while its hello is being read.
        stream_bytes_max: usize = 49_152, Rule::Range(1_024, 1_073_741_824), Restart;
        /// Bytes that a worker keeps for all handshakes that are being read; when it is reached, the one that was idle longest
        /// is given up.
        reassembly_bytes_max: usize = 10_485_760, Rule::Range(65_536, 1_099_511_627_776), Restart;
        /// Bytes of a hello that are read; the rest is ignored.
        hello_bytes_max: usize = 32_768, Rule::Range(512, 1_073_741_824), Restart;
        /// Bytes of clear text that may precede a hello.
        prelude_bytes_max: usize = 8_192, Rule::Range(64, 1_073_741_824), Restart;
        /// TCP segments with payload after which a flow without a hello is ignored.
        undecided_segments_max: usize = 16_384, Rule::Range(4, 1_073_741_824), Restart;
        /// Pieces of one direction of a TCP connection that are kept because they contradict others at the same place.
        stream_versions_max: usize = 16, Rule::Range(1, 31), Restart;
        /// Attempts to read a hello with such pieces, for one direction of a TCP connection. One in a long stream counts once more
        /// for each 16 KiB.
        stream_readings_max: usize = 256, Rule::Range(1, 1_048_576), Restart;
        /// Bytes of the head of an HTTP request; a connection with a longer one is given up.
        http_head_bytes_max: usize = 262_144, Rule::Range(1_024, 1_073_741_824), Restart;
        /// HTTP requests of a connection that are read.
        http_requests_max: usize = 10_000, Rule::Range(1, 4_294_967_295), Restart;
        /// Hosts of a connection's HTTP requests that are kept, so that each is reported once; of more the oldest is forgotten.
        http_hosts_max: usize = 64, Rule::Range(1, 65_536), Restart;
        /// TCP segments without an HTTP request after which a connection is given up, if it is not known where a request begins.
        http_lost_segments_max: usize = 4_096, Rule::Range(1, 1_073_741_824), Restart;
        /// UDP datagrams after which a flow without a hello is ignored.
        undecided_datagrams_max: usize = 48, Rule::Range(1, 1_073_741_824), Restart;
        /// Hellos with different names that are read from one UDP flow before its server answers.
        udp_hellos_max: usize = 16, Rule::Range(1, 65_536), Restart;
        /// Versions that are kept of a QUIC handshake whose packets contradict each other.
        quic_stream_versions_max: usize = 8, Rule::Range(1, 1_024), Restart;
        /// Failed attempts in a row to decrypt a QUIC Initial after which a flow is ignored.
        quic_attempts_max: usize = 16, Rule::Range(1, 65_535), Restart;
        /// Encapsulating headers that are decoded in one packet.
        tunnel_depth_max: usize = 8, Rule::Range(1, 255), Restart;
        /// Fragmented datagrams of a worker that wait for fragments.
        fragment_datagrams_max: usize = 4_096, Rule::Range(1, 16_777_216), Restart;
        /// Bytes of memory of a worker for reassembling fragments.
        fragment_bytes_max: usize = 8_388_608, Rule::Range(65_536, 1_099_511_627_776), Restart;
        /// Readings of one fragmented datagram, where its fragments contradict each other.
        fragment_versions_max: usize = 8, Rule::Range(1, 32), Restart;
        /// Milliseconds that a fragment waits for the others.
        fragment_timeout_ms: usize = 30_000, Rule::Range(1, 1_073_741_824), Restart;
        /// Milliseconds that a complete datagram is kept for fragments that contradict it.
        fragment_completed_ms: usize = 1_000, Rule::Range(0, 1_073_741_824), Restart;
        /// Addresses for which a name from DNS is kept; when it is reached, answers that nobody asked for make room first,
        /// then those that are old and unused, then those of the client with the most.
        address_names_max: usize = 262_144, Rule::Range(16, 1_000_000_000), Restart;
        /// Hosts whose IPv4 and IPv6 addresses are known as one client's by their link-layer address; when it is reached, one
        /// that was silent for long is forgotten.
        neighbours_max: usize = 16_384, Rule::Range(8, 16_777_216), Restart;
        /// Bytes of a server name in an event; what is longer is cut.
        event_name_bytes_max: usize = 512, Rule::Range(256, 1_024), Restart;
        /// Bytes of all protocols of a hello's ALPN list in an event; what is beyond is left out.
        event_alpn_bytes_max: usize = 1_024, Rule::Range(64, 2_048), Restart;
        /// Bytes of a user agent in an event; what is longer is cut.
        event_user_agent_bytes_max: usize = 512, Rule::Range(64, 1_024), Restart;
        /// Bytes of all records of a DNS answer in an event; what is beyond is left out.
        event_answers_bytes_max: usize = 4_096, Rule::Range(512, 6_144), Restart;
        /// Flows of a worker without a name that wait until DNS answers in the rings of other workers are read; further
        /// ones do not wait.
        waiting_flows_max: usize = 4_096, Rule::Range(0, 1_048_576), Restart;
        /// Milliseconds that they wait at most, once or twice.
        names_wait_ms: usize = 1_000, Rule::Range(1, 10_000), Restart;
    }

    /// Where events go.
    events: Events {
        /// File to which events are appended as EVE JSON, one per line; `-` means the standard output.
        file: PathBuf = PathBuf::from("/var/log/vigie/eve.json"), Rule::Text("an absolute path, or -", output), Restart;
        /// Records that are written besides incidents and alerts: sighting, tls, quic, http, dns, flow, stats. PRIVACY: all
        /// but `stats` record traffic of everybody, banned or not; use them only for tests and for your own traffic.
        types: Vec<Record> = Vec::new(), Rule::Any, Restart;
        /// When events are forced to the disk: `never` leaves it to the kernel, `interval` does it every
        /// `fsync_interval_ms`, `each` after every write.
        fsync: Fsync = Fsync::Interval, Rule::Any, Live;
        /// Milliseconds after which events are forced to the disk, with `fsync = "interval"`.
        fsync_interval_ms: u64 = 1000, Rule::Range(10, 3_600_000), Live;
        /// Permissions of the events file, if the sensor creates it.
        mode: Mode = Mode(0o640), Rule::Any, Restart;
        /// Events that wait between the workers and the writer.
        channel_events_max: usize = 65_536, Rule::Range(16, 16_777_216), Restart;
        /// Events that a worker keeps and offers again later while `channel_events_max` is reached.
        pending_events_max: usize = 65_536, Rule::Range(16, 16_777_216), Restart;
        /// Bytes of the events that wait between the workers and the writer.
        channel_bytes_max: usize = 33_554_432, Rule::Range(65_536, 1_099_511_627_776), Restart;
        /// Bytes of the events that a worker keeps while the channel is full.
        pending_bytes_max: usize = 33_554_432, Rule::Range(65_536, 1_099_511_627_776), Restart;
        /// Alerts of one client and signature that a worker writes in a minute. One more is written at its end, and says for
        /// how many it stands (`alert.metadata.summarised`). 0: all are written.
        alerts_per_minute_max: usize = 1_000, Rule::Range(0, 4_294_967_295), Restart;
        /// Seconds between `stats` records.
        stats_interval_s: u64 = 60, Rule::Range(1, 86_400), Live;
    }

    /// The journal: the record of the sensor in segments that are sealed, so that a change is found ('vigie journal verify'),
    /// and removed in time. It takes the place of `events.file`; 'vigie-forward' sends it on.
    journal: Journal {
        /// Folder of the journal, such as /var/lib/vigie/journal; empty: none, and events go to `events.file`.
        folder: Option<PathBuf> = None, Rule::Text("an absolute path", absolute_path), Restart;
        /// When events are forced to the disk: `never` leaves it to the kernel until a segment is closed, `interval` does it
        /// every `fsync_interval_ms`, `each` after every write.
        fsync: Fsync = Fsync::Interval, Rule::Any, Live;
        /// Milliseconds after which events are forced to the disk, with `fsync = "interval"`.
        fsync_interval_ms: u64 = 1000, Rule::Range(10, 3_600_000), Live;
        /// Bytes from which on a segment is closed.
        segment_bytes: u64 = 67_108_864, Rule::Range(65_536, 1_073_741_824), Restart;
        /// Seconds after its first event from which on a segment is closed.
        segment_age_s: u64 = 600, Rule::Range(1, 86_400), Restart;
        /// Days after which all but incidents, audit and `stats` is removed.
        alerts_days: u32 = 30, Rule::Range(1, 365), Live;
        /// Days after which all is removed.
        incidents_days: u32 = 180, Rule::Range(1, 365), Live;
        /// Bytes of all segments on the disk; when there are more, the oldest is removed.
        bytes_max: u64 = 21_474_836_480, Rule::Range(1_048_576, 1_125_899_906_842_624), Live;
    }

    /// The services that are recognised.
    signatures: Signatures {
        /// Folder with signature files (*.toml) that are used in addition to the built-in signatures; empty: only the
        /// built-in ones. The files are read again on reload.
        folder: Option<PathBuf> = None, Rule::Text("an absolute path", absolute_path), Restart;
        /// Days after its review when a signature is stale: `vigie check` warns about it. When the newest signature is
        /// stale, the sensor is not ready.
        max_age_days: u32 = vigie_signatures::REVIEW_DAYS_MAX, Rule::Range(1, 36_500), Restart;
    }

    /// What counts as a finding, and on whose devices. The bans in use stand in this file as [[ban]], the networks as
    /// [[scope]]; without a ban, that of France applies and all services of ByteDance are watched. Paths are relative to
    /// this file's folder; the files are read again on reload.
    policy: Policy {
        /// Clients that no scope and no asset names: `official`, `out` (nothing is recorded of them), or `auto`: out if a
        /// scope or an asset names devices that bans cover, else official.
        unlisted: Unlisted = Unlisted::Auto, Rule::Any, Live;
        /// File with the asset list: CSV (`.csv`, the first line names the columns) or JSON lines (`.jsonl`), with prefix
        /// or mac, label, site, ministry, scope; empty: none. Of prefixes the longest counts.
        assets: Option<PathBuf> = None, Rule::Text("relative to this file's folder", printable), Live;
        /// File with the register of derogations, which 'vigie derogation' edits; empty: none.
        derogations: Option<PathBuf> = None, Rule::Text("relative to this file's folder", printable), Live;
        /// File or folder (*.toml) with bans that can be used besides the built-in ones; empty: none.
        bans: Option<PathBuf> = None, Rule::Text("relative to this file's folder", printable), Live;
    }

    /// How verdicts are reached, and what may be kept for them.
    judgement: Judgement {
        /// Clients and services under observation; when it is reached, the one that has waited longest ends early.
        episodes_max: usize = 262_144, Rule::Range(16, 16_777_216), Restart;
        /// Open incidents; when it is reached, the one that is open longest is closed early.
        incidents_max: usize = 65_536, Rule::Range(16, 16_777_216), Restart;
        /// Sighted flows whose bytes are added up; of further ones the oldest is forgotten.
        flows_max: usize = 262_144, Rule::Range(16, 16_777_216), Restart;
        /// Bytes of sightings that wait to be judged in the order of time; of more, the oldest are judged before their turn.
        ordering_bytes_max: usize = 134_217_728, Rule::Range(65_536, 1_099_511_627_776), Restart;
        /// Bytes of sightings that wait until their client has an incident, to be written with it.
        waiting_bytes_max: usize = 67_108_864, Rule::Range(65_536, 1_099_511_627_776), Restart;
        /// Alerts in a minute of packet time that are written of one client, service and ban; the incident counts the others.
        alerts_per_minute_max: u32 = 60, Rule::Range(0, 4_294_967_295), Restart;
        /// Clients that had a finding in a period, with `privacy.mode = "warn-first"`; of further ones no finding names the
        /// client.
        warned_max: usize = 262_144, Rule::Range(16, 16_777_216), Restart;
        /// Seconds between two records that an incident continues, at least.
        continues_s: u64 = 3_600, Rule::Range(1, 86_400), Restart;
        /// Seconds without a contact that end an episode: what is contacted within it is judged together.
        silence_s: u64 = 300, Rule::Range(10, 86_400), Restart;
        /// Bytes of media in an episode from which on an application counts as in use.
        in_use_media_bytes: u64 = 2_000_000, Rule::Range(1, 1_099_511_627_776), Restart;
        /// Seconds of an episode beyond which much video may be the site and not an embedded player.
        player_s: u64 = 180, Rule::Range(1, 86_400), Restart;
        /// Bytes of an episode beyond which video may be the site and not an embedded player.
        player_bytes: u64 = 20_000_000, Rule::Range(1, 1_099_511_627_776), Restart;
        /// Flows of a link preview at most.
        preview_flows_max: u32 = 4, Rule::Range(1, 1_000), Restart;
        /// Seconds between two contacts with the same lone interface of an application that prove it, at least.
        return_min_s: u64 = 300, Rule::Range(1, 86_400), Restart;
        /// The same, at most.
        return_max_s: u64 = 86_400, Rule::Range(1, 604_800), Restart;
        /// Seconds that names of a first start wait for names that show whose they are.
        boot_wait_s: u64 = 30, Rule::Range(0, 3_600), Restart;
        /// Folder for a daily file of names that may be missing in the signatures: hellos of clients in scope, to servers in
        /// prefixes of a known owner, that name a host which no signature knows. No client stands in it; files older than
        /// seven days are removed. Empty: none is written.
        candidates_folder: Option<PathBuf> = None, Rule::Text("an absolute path", absolute_path), Restart;
        /// File in which open incidents survive a restart; empty: `judgement.state` in the folder of the events file, or with a
        /// journal a file for each segment in its folder.
        state_file: Option<PathBuf> = None, Rule::Text("an absolute path", absolute_path), Restart;
        /// Seconds after which it is saved again. After a crash, what came since then is unknown.
        state_interval_s: u64 = 60, Rule::Range(1, 86_400), Restart;
    }

    /// What the law asks of the operator (the sensor warns until it is given), and what events tell of people.
    privacy: Privacy {
        /// Reference of the data protection impact assessment (DPIA).
        dpia_reference: Option<String> = None, Rule::Text("at most 255 characters", sensor_name), Live;
        /// Day on which the people whose traffic passes the sensor were told of it.
        notice_date: Option<Day> = None, Rule::Any, Live;
        /// Day on which the representatives of the staff were consulted.
        staff_consultation_date: Option<Day> = None, Rule::Any, Live;
        /// Who is responsible for the processing, as the texts of 'vigie privacy' name it.
        controller: Option<String> = None, Rule::Text("at most 255 characters", sensor_name), Live;
        /// Whom people ask about their data, such as the data protection officer with an address.
        contact: Option<String> = None, Rule::Text("at most 255 characters", sensor_name), Live;
        /// Languages of 'vigie privacy'.
        languages: Vec<Language> = vec![Language::French, Language::English, Language::Dutch], Rule::Any, Live;
        /// Whether events have pseudonyms in place of clients: their addresses encrypted with the key of a period, so that
        /// only its holder learns whose device it was ('vigie reveal').
        pseudonyms: bool = false, Rule::Any, Restart;
        /// Name of this site, which its keys are derived for.
        site: Option<String> = None, Rule::Text("at most 255 characters", sensor_name), Live;
        /// How long a key is used, in UTC. Also after which time a client's first finding counts anew.
        period: KeyPeriod = KeyPeriod::Month, Rule::Any, Restart;
        /// File with the keys of one period or several, as 'vigie privacy key' prints them. Only its owner may read it. Empty:
        /// systemd's credential vigie-period-key, or /etc/credstore/vigie-period-key. It is read again on reload.
        key_file: Option<PathBuf> = None, Rule::Text("relative to this file's folder", printable), Live;
        /// What the first finding of a client in a period tells: `named` the client, `warn-first` only site and service, so
        /// that the staff can be warned; the second names it.
        mode: Naming = Naming::Named, Rule::Any, Restart;
        /// Whether 'vigie reveal' wants a second person.
        reveal_needs_second: bool = false, Rule::Any, Live;
        /// File to which audit lines are appended: reveals, changes of policy and derogations, new keys. Only its owner may
        /// read it.
        audit_file: PathBuf = PathBuf::from("/var/lib/vigie/audit.jsonl"), Rule::Text("an absolute path", absolute_path), Restart;
        /// Last day on which the records sighting, tls, quic, http, dns and flow of `events.types` are written: they name the
        /// traffic of everybody. Until then, packets that stop a worker are kept whole, else without addresses and payload; empty: never.
        debug_until: Option<Day> = None, Rule::Any, Restart;
    }

    /// Metrics for Prometheus, over HTTP.
    metrics: Metrics {
        /// Address and port of the metrics endpoint; empty: none.
        listen: Option<SocketAddr> = Some(ADDRESS_DEFAULT), Rule::Any, Restart;
        /// File that turns on TLS and authentication, in the format of Prometheus' exporters; empty: neither.
        web_config: Option<PathBuf> = None, Rule::Text("an absolute path", absolute_path), Restart;
        /// Whether `listen` may be an address that other machines reach although there is no `web_config`.
        allow_open: bool = false, Rule::Any, Restart;
        /// Connections at the same time; further ones are refused.
        connections_max: usize = 32, Rule::Range(1, 4096), Restart;
        /// Seconds without any packet after which the sensor is not ready.
        silence_s: u64 = 60, Rule::Range(1, 86_400), Restart;
        /// Percentage of packets dropped within ten seconds from which on the sensor is not ready.
        drops_percent: u32 = 90, Rule::Range(1, 100), Restart;
    }

    /// Privileges of the running sensor.
    privilege: Privilege {
        /// User that the sensor runs as once its sockets are open.
        user: String = "vigie".to_owned(), Rule::Text("a user of this machine", user), Restart;
        /// Group that the sensor runs as once its sockets are open; empty: the group of the user.
        group: String = String::new(), Rule::Text("a group of this machine", account_name), Restart;
        /// Landlock, with which the kernel restricts the sensor to its own files.
        landlock: Demand = LANDLOCK_DEFAULT, Rule::Any, Restart;
        /// seccomp, with which the kernel restricts the sensor to the system calls that it needs.
        seccomp: Demand = SECCOMP_DEFAULT, Rule::Any, Restart;
    }

    /// The sensor's own log, on the standard error.
    log: Log {
        /// The least severe messages that are logged.
        level: Level = Level::Info, Rule::Any, Live;
        /// `text` is for people and the systemd journal, `json` for programs.
        format: LogFormat = LogFormat::Text, Rule::Any, Live;
    }
}
