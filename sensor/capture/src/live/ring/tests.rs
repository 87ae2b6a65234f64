use super::*;
use std::ptr::NonNull;
use vigie_skip::skipped;

const PAGE: usize = 4096;
const BLOCKS: usize = 2;

/// A ring in memory that the test fills instead of the kernel. Its socket, which has no ring, is never asked.
struct FakeRing {
    ring: Ring,
}

impl FakeRing {
    /// None where packet sockets are not permitted.
    fn new() -> Option<Self> {
        let socket = PacketSocket::open().ok()?;
        // SAFETY: a new private mapping at an address of the kernel's choice.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                PAGE * BLOCKS,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        let memory =
            RingMemory { start: NonNull::new(start.cast()).unwrap(), block_bytes: PAGE, blocks: BLOCKS as u32 };
        let (cursor, counts) = (Cell::default(), Cell::default());
        Some(Self { ring: Ring { memory, socket, cursor, counts, interface: 3, link_type: LinkType::ETHERNET } })
    }

    fn write<T: Copy>(&self, block: usize, at: usize, value: T) {
        assert!(at + size_of::<T>() <= PAGE);
        // SAFETY: inside the mapping, as asserted.
        unsafe { self.ring.memory.start.as_ptr().add(block * PAGE + at).cast::<T>().write_unaligned(value) }
    }

    /// Fills a block with frames: status, wire length, captured bytes.
    fn fill(&self, block: usize, frames: &[(u32, u32, Vec<u8>)]) {
        let mut at = 48;
        for (status, wire, data) in frames {
            let next = (82 + 4 + data.len()).next_multiple_of(16);
            let header = tpacket3_hdr {
                tp_next_offset: next as u32,
                tp_sec: 1,
                tp_nsec: at as u32,
                tp_snaplen: data.len() as u32,
                tp_len: *wire,
                tp_status: *status,
                tp_mac: 86,
                tp_net: 100,
                hv1: libc::tpacket_hdr_variant1 {
                    tp_rxhash: 0,
                    tp_vlan_tci: 0x2064,
                    tp_vlan_tpid: 0x88a8,
                    tp_padding: 0,
                },
                tp_padding: [0; 8],
            };
            self.write(block, at, header);
            for (place, byte) in data.iter().enumerate() {
                self.write(block, at + 86 + place, *byte);
            }
            at += next;
        }
        self.write(block, 12, frames.len() as u32);
        self.write(block, 16, 48_u32);
        self.write(block, 8, libc::TP_STATUS_USER);
    }

    fn status(&self, block: u32) -> u32 {
        self.ring.memory.status(block).load(Ordering::Relaxed)
    }
}

fn plain(byte: u8, length: usize) -> (u32, u32, Vec<u8>) {
    (1, length as u32, vec![byte; length])
}

#[test]
fn blocks_go_back_only_when_all_their_frames_were_visited() {
    let Some(mut fake) = FakeRing::new() else {
        return skipped("packet sockets are not permitted; run the tests as root");
    };
    assert!(fake.ring.next().is_none() && fake.ring.peek_ns().is_none());
    fake.fill(0, &[plain(1, 60), plain(2, 61)]);
    fake.fill(1, &[plain(3, 62)]);
    assert_eq!(fake.ring.peek_ns(), Some(1_000_000_048));
    assert_eq!(fake.ring.next().unwrap().data, vec![1; 60]);
    fake.ring.release();
    assert_eq!(fake.status(0), libc::TP_STATUS_USER);
    let (second, third) = (fake.ring.next().unwrap(), fake.ring.next().unwrap());
    assert_eq!((second.data.len(), third.data, third.interface), (61, &[3; 62][..], 3));
    assert!(fake.ring.next().is_none(), "both blocks were read and neither given back");
    assert_eq!((fake.status(0), fake.status(1)), (libc::TP_STATUS_USER, libc::TP_STATUS_USER));
    fake.ring.release();
    assert_eq!((fake.status(0), fake.status(1)), (libc::TP_STATUS_KERNEL, libc::TP_STATUS_KERNEL));
    fake.fill(0, &[plain(4, 63)]);
    assert_eq!(fake.ring.next().unwrap().data[0], 4);
    let counts = fake.ring.take_counts();
    assert_eq!((counts.frames, counts.bytes, counts.truncated, counts.damaged), (4, 60 + 61 + 62 + 63, 0, 0));
    assert_eq!(fake.ring.take_counts(), RingCounts::default());
}

#[test]
fn a_tag_is_put_back_behind_the_addresses() {
    let Some(mut fake) = FakeRing::new() else {
        return skipped("packet sockets are not permitted; run the tests as root");
    };
    let bytes: Vec<u8> = (0..20).collect();
    let valid = 1 | libc::TP_STATUS_VLAN_VALID;
    fake.fill(
        0,
        &[
            (valid, 1000, bytes.clone()),
            (valid | libc::TP_STATUS_VLAN_TPID_VALID, 20, bytes.clone()),
            (valid, 20, bytes[..11].to_vec()),
        ],
    );
    let first = fake.ring.next().unwrap();
    let tagged = |protocol: [u8; 2]| [&bytes[..12], &protocol, &[0x20, 0x64], &bytes[12..]].concat();
    assert_eq!((first.data, first.wire_length), (&tagged([0x81, 0])[..], 1004));
    let second = fake.ring.next().unwrap();
    assert_eq!((second.data, second.wire_length), (&tagged([0x88, 0xa8])[..], 24));
    assert_eq!(first.data, tagged([0x81, 0]), "still as it was");
    let third = fake.ring.next().unwrap();
    assert_eq!((third.data, third.wire_length), (&bytes[..11], 20), "too short to hold a tag");
    assert_eq!(fake.ring.take_counts().truncated, 2);
}

#[test]
fn what_makes_no_sense_is_counted_and_passed_over() {
    let Some(mut fake) = FakeRing::new() else {
        return skipped("packet sockets are not permitted; run the tests as root");
    };
    fake.fill(0, &[plain(1, 60), plain(2, 60), plain(3, 60)]);
    // The first frame is said to be longer than its block; the second's successor to be far away.
    fake.write(0, 48 + 12, 4096_u32);
    fake.write(0, 48 + 160, 1_000_000_u32);
    fake.fill(1, &[plain(4, 60)]);
    assert_eq!(fake.ring.next().unwrap().data[0], 2);
    assert!(fake.ring.next().is_none());
    assert_eq!(fake.ring.next().unwrap().data[0], 4);
    let counts = fake.ring.take_counts();
    assert_eq!((counts.frames, counts.damaged), (2, 2));
}
