//! Live capture in tests: frames with numbers, and a reader that keeps what it sees.

use std::time::{Duration, Instant};

use crate::daemon::has;
use crate::hello::application_data;
use crate::network::Namespace;
use crate::packets::{CLIENT, SERVER, udp};
use crate::tcp::Connection;
use vigie_capture::live::shunt::ProgramOptions;
use vigie_capture::live::{self, Live, LiveOptions, State, xdp};
use vigie_capture::{BATCH_FRAMES_MAX, Source};
use vigie_skip::skipped;
use vigie_wire::LinkType;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long it waits for what must not come.
pub const QUIET: Duration = Duration::from_millis(300);

/// Options for these interfaces, with small rings.
pub fn options(interfaces: &[&str]) -> LiveOptions {
    LiveOptions {
        interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
        ring_bytes_per_worker: 8 << 20,
        wait_ms: 20,
        ..LiveOptions::default()
    }
}

/// The source of a single worker.
///
/// # Panics
/// The interfaces cannot be opened.
pub fn open_one(options: &LiveOptions) -> Live {
    live::open(options, 1).unwrap().remove(0)
}

/// A namespace with a pair of interfaces, from `out0` to `tap0`, where frames arrive as they were sent. None, with the reason
/// said, without the rights or programs for it, or without AF_XDP if that is needed.
pub fn tapped(needs_xdp: bool) -> Option<Namespace> {
    let namespace = Namespace::new()?;
    let options = ProgramOptions::for_sockets(Vec::new());
    if needs_xdp && let Err(lacking) = namespace.inside(|| xdp::check(&options)) {
        skipped(format_args!("AF_XDP cannot be used: {lacking:?}"));
        return None;
    }
    if !has("ethtool") {
        return None;
    }
    namespace.pair("out0", "tap0");
    take_tags_in_place(&namespace, "tap0");
    Some(namespace)
}

/// From now on an interface leaves VLAN tags where they are, and joins no segments.
pub fn take_tags_in_place(namespace: &Namespace, interface: &str) {
    namespace.run(&format!("ethtool -K {interface} rxvlan off gro off"));
}

/// A frame that carries its number.
pub fn numbered(number: usize, bytes: usize) -> Vec<u8> {
    let mut payload = (number as u32).to_be_bytes().to_vec();
    payload.extend((4..bytes.max(20)).map(|place| (place * 7 + number) as u8));
    udp(CLIENT, SERVER, &payload)
}

/// So many frames with their numbers, of different lengths.
pub fn numbered_frames(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| numbered(number, number * 37 % 1400)).collect()
}

/// The frames as the sender takes them.
pub fn slices(frames: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    frames.iter().map(Vec::as_slice)
}

/// Some packets of an established connection, in both directions.
pub fn talk(connection: &Connection, packets: usize) -> Vec<Vec<u8>> {
    let data = application_data(400);
    let both = |number: usize| {
        let offset = 600 + number * data.len();
        [connection.from_client(offset, &data), connection.from_server(offset, &data)]
    };
    (0..packets).flat_map(both).collect()
}

/// A frame as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The number of its interface.
    pub interface: u16,
    /// Nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// Bytes on the wire.
    pub wire_length: u32,
    /// What its bytes begin with.
    pub link_type: LinkType,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// Reads until so many frames were seen, and then until no more come.
///
/// # Panics
/// The source fails.
pub fn see(live: &mut Live, count: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    let began = Instant::now();
    let mut last = Instant::now();
    while last.elapsed() < QUIET || (seen.len() < count && began.elapsed() < PATIENCE) {
        let before = seen.len();
        let more = live.next_batch(&mut |batch| {
            assert!(!batch.is_empty() && batch.len() <= BATCH_FRAMES_MAX);
            seen.extend(batch.iter().map(|frame| Seen {
                interface: frame.interface,
                timestamp_ns: frame.timestamp_ns,
                wire_length: frame.wire_length,
                link_type: frame.link_type,
                data: frame.data.to_vec(),
            }));
        });
        assert!(more.unwrap());
        if seen.len() > before {
            last = Instant::now();
        }
    }
    seen
}

/// The bytes of frames.
pub fn data(seen: &[Seen]) -> Vec<Vec<u8>> {
    seen.iter().map(|frame| frame.data.clone()).collect()
}

/// Reads until the interface is in that state.
///
/// # Panics
/// It does not come into it.
pub fn until(live: &mut Live, place: usize, state: State) {
    let began = Instant::now();
    while live.counts()[place].state != state {
        assert!(began.elapsed() < PATIENCE, "{:?} is not {state:?}", live.counts()[place]);
        live.next_batch(&mut |_| {}).unwrap();
    }
}
