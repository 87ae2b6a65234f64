//! The classic capture file format, nanosecond variant, as much of it as is written (draft-ietf-opsawg-pcap §4, §5).

/// Bytes of a frame that are kept at most, as written in the header.
const SNAP_BYTES: u32 = 262_144;

/// The file header: version 2.4, Ethernet, little-endian.
pub fn file_header() -> [u8; 24] {
    let mut header = [0; 24];
    let fields = [0xa1b2_3c4d, 4 << 16 | 2, 0, 0, SNAP_BYTES, 1_u32];
    for (place, field) in header.chunks_exact_mut(4).zip(fields) {
        place.copy_from_slice(&field.to_le_bytes());
    }
    header
}

/// The header of a frame of `length` bytes, all of them kept.
pub fn record_header(timestamp_ns: u64, length: usize) -> [u8; 16] {
    let length = u32::try_from(length).unwrap_or(SNAP_BYTES);
    let seconds = u32::try_from(timestamp_ns / 1_000_000_000).unwrap_or(u32::MAX);
    let mut header = [0; 16];
    let fields = [seconds, (timestamp_ns % 1_000_000_000) as u32, length, length];
    for (place, field) in header.chunks_exact_mut(4).zip(fields) {
        place.copy_from_slice(&field.to_le_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_as_the_draft_says() {
        let header = file_header();
        assert_eq!(header[..8], [0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0]);
        assert_eq!(header[16..], [0, 0, 4, 0, 1, 0, 0, 0]);
        let record = record_header(7_000_000_009, 60);
        assert_eq!(record, [7, 0, 0, 0, 9, 0, 0, 0, 60, 0, 0, 0, 60, 0, 0, 0]);
    }
}
