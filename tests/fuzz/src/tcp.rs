//! Segments of one client that contradict each other, as a worker reads them.

use vigie_decode::{NetworkHeader, Segment};
use vigie_flow::Side;
use vigie_handshake::stream::Findings;
use vigie_handshake::tcp::TcpInspector;
use vigie_handshake::{Counts, Limits};

use super::input::Input;
use super::tls;

const FIRST_BYTE: u32 = u32::MAX - 300;
const STREAM_BYTES_MAX: usize = 4096;

/// A script of segments, each with its offset, its flags and an urgent pointer in front.
pub fn versions(data: &[u8]) {
    let limits = Limits { stream_bytes_max: STREAM_BYTES_MAX, hello_bytes_max: 4096, ..Limits::default() };
    let (mut counts, mut inspector, mut input) = (Counts::default(), TcpInspector::default(), Input::new(data));
    inspector.begin(Side::Low, FIRST_BYTE);
    let mut readings = 0;
    while !input.is_empty() {
        let (offset, flags, pointer) = (input.u16() % 4096, input.u8(), input.u16());
        let mut header = [0; 20];
        header[12] = 5 << 4;
        header[13] = Segment::ACK | flags & Segment::URG;
        header[4..8].copy_from_slice(&FIRST_BYTE.wrapping_add(offset.into()).to_be_bytes());
        header[18..].copy_from_slice(&pointer.to_be_bytes());
        let payload = input.chunk();
        let bytes = [&header[..], payload].concat();
        let Some(segment) = Segment::parse(&bytes, bytes.len(), NetworkHeader::new(&[])) else { return };
        if inspector.is_done_with(Side::Low) {
            inspector.late_segment(Side::Low, &segment, &limits, &mut counts);
        } else {
            check(&inspector.segment(Side::Low, &segment, &limits, &mut counts));
        }
        while let Some(found) = inspector.next_reading(Side::Low, &limits, &mut counts) {
            check(&found);
            readings += 1;
        }
        if !inspector.is_done_with(Side::Low) {
            inspector.free_unused(Side::Low);
        }
        assert!(readings <= limits.stream_readings_max);
        let patches_bytes = limits.stream_versions_max * (payload.len().max(1 << 16) + 64);
        assert!(inspector.memory_bytes() <= patches_bytes + 16 * STREAM_BYTES_MAX, "{}", inspector.memory_bytes());
    }
    inspector.take_partial_hello(&limits);
}

fn check(found: &Findings<'_>) {
    assert!(found.name.is_none_or(|(_, name)| !name.is_empty()));
    if let Some(hello) = &found.hello {
        tls::tell(hello);
    }
}
