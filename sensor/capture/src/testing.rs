//! Captures made byte by byte for tests, and their reading by every way there is.

use std::fs;
use std::iter;
use std::path::Path;

use super::record::ByteOrder;
use super::{BATCH_FRAMES_MAX, Block, CaptureError, Files, FilesOptions, Source, SourceStatistics};
use vigie_wire::{Frame, LinkType};

/// A frame that outlives its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnedFrame {
    pub(super) timestamp_ns: u64,
    pub(super) number: u64,
    pub(super) wire_length: u32,
    pub(super) link_type: LinkType,
    pub(super) interface: u16,
    pub(super) data: Vec<u8>,
}

impl OwnedFrame {
    pub(super) fn of(frame: &Frame<'_>) -> Self {
        Self {
            timestamp_ns: frame.timestamp_ns,
            number: frame.number,
            wire_length: frame.wire_length,
            link_type: frame.link_type,
            interface: frame.interface,
            data: frame.data.to_vec(),
        }
    }
}

pub(super) type Outcome = Result<(Vec<OwnedFrame>, SourceStatistics), CaptureError>;

/// All that a source gives, batch by batch.
pub(super) fn drain(files: &mut Files) -> Outcome {
    let mut kept = Vec::new();
    while files.next_batch(&mut |frames| {
        assert!(!frames.is_empty() && frames.len() <= BATCH_FRAMES_MAX);
        kept.extend(frames.iter().map(OwnedFrame::of));
    })? {}
    outcome(files, kept)
}

/// How some of what a source gives is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) is_block: bool,
    /// Whether then it is read ahead.
    pub(super) reads_ahead: bool,
}

/// All that a source gives, by these steps over and over; blocks take turns in the same memory.
pub(super) fn drain_by(files: &mut Files, steps: impl Iterator<Item = Step> + Clone) -> Outcome {
    let mut kept = Vec::new();
    let mut blocks = [Block::default(), Block::default()];
    for step in steps.cycle() {
        let more = if step.is_block {
            blocks.swap(0, 1);
            let [block, _] = &mut blocks;
            let more = files.next_block(block)?;
            assert_eq!(block.iter().len(), block.len());
            kept.extend(block.iter().map(|frame| OwnedFrame::of(&frame)));
            more
        } else {
            files.next_batch(&mut |frames| kept.extend(frames.iter().map(OwnedFrame::of)))?
        };
        if !more {
            break;
        }
        if step.reads_ahead {
            files.read_ahead().inspect(|ahead| ahead.read());
        }
    }
    outcome(files, kept)
}

/// All that a source gives, by a batch and then by blocks.
fn drain_blocks(files: &mut Files, reads_ahead: bool) -> Outcome {
    let batch = Step { is_block: false, reads_ahead };
    let block = Step { is_block: true, reads_ahead };
    drain_by(files, iter::once(batch).chain(iter::repeat(block)))
}

fn outcome(files: &Files, kept: Vec<OwnedFrame>) -> Outcome {
    let statistics = files.statistics();
    assert_eq!(statistics.frames, kept.len() as u64);
    assert_eq!(statistics.bytes, kept.iter().map(|frame| frame.data.len() as u64).sum::<u64>());
    let position = files.position();
    assert!(position.bytes_total.is_none_or(|total| total == position.bytes_done), "{position:?} {statistics:?}");
    Ok((kept, statistics))
}

pub(super) fn read_files<P: AsRef<Path>>(paths: &[P]) -> Outcome {
    let open = || Files::open(paths, &FilesOptions::default());
    let by_batches = drain(&mut open()?);
    for reads_ahead in [false, true] {
        assert_same(&by_batches, &drain_blocks(&mut open()?, reads_ahead));
    }
    by_batches
}

pub(super) fn assert_same(one: &Outcome, other: &Outcome) {
    match (one, other) {
        (Ok((one, one_statistics)), Ok((other, other_statistics))) => {
            assert_eq!(one_statistics, other_statistics);
            let place = one.iter().zip(other).position(|(one, other)| one != other);
            assert!(one == other, "the frames differ at {place:?}");
        }
        (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
        (one, other) => panic!("{one:?} but {other:?}"),
    }
}

/// What a file of these bytes gives, as it is and compressed, which must be the same.
pub(super) fn read(bytes: &[u8]) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pcap");
    fs::write(&path, bytes).unwrap();
    let plain = read_files(&[&path]);
    fs::write(&path, zstd::encode_all(bytes, 1).unwrap()).unwrap();
    assert_same(&plain, &read_files(&[&path]));
    plain
}

/// Puts numbers and bytes one behind the other.
#[derive(Clone, Debug)]
pub(super) struct CaptureBuilder {
    order: ByteOrder,
    pub(super) bytes: Vec<u8>,
}

impl CaptureBuilder {
    pub(super) fn new(order: ByteOrder) -> Self {
        Self { order, bytes: Vec::new() }
    }

    pub(super) fn u16(mut self, value: u16) -> Self {
        self.bytes.extend(if self.order == ByteOrder::Big { value.to_be_bytes() } else { value.to_le_bytes() });
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.bytes.extend(if self.order == ByteOrder::Big { value.to_be_bytes() } else { value.to_le_bytes() });
        self
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    /// The header of a classic file.
    pub(super) fn classic(order: ByteOrder, magic: u32, link_field: u32) -> Self {
        Self::new(order).u32(magic).u16(2).u16(4).u32(0).u32(0).u32(65_535).u32(link_field)
    }

    /// A frame of a classic file.
    pub(super) fn record(self, seconds: u32, fraction: u32, wire_length: u32, data: &[u8]) -> Self {
        self.u32(seconds).u32(fraction).u32(data.len() as u32).u32(wire_length).raw(data)
    }

    /// A pcapng block with a body already padded.
    pub(super) fn block(self, kind: u32, body: &Self) -> Self {
        let length = body.bytes.len() as u32 + 12;
        self.u32(kind).u32(length).raw(&body.bytes).u32(length)
    }

    pub(super) fn section(mut self, order: ByteOrder) -> Self {
        self.order = order;
        let body = Self::new(order).u32(0x1a2b_3c4d).u16(1).u16(0).u32(u32::MAX).u32(u32::MAX);
        self.block(0x0a0d_0d0a, &body)
    }

    pub(super) fn interface(self, link_type: LinkType, snapshot: u32, options: &[(u16, &[u8])]) -> Self {
        let mut body = Self::new(self.order).u16(link_type.0).u16(0).u32(snapshot);
        for (code, value) in options {
            body = body.u16(*code).u16(value.len() as u16).raw(value).padded();
        }
        self.block(1, &body)
    }

    pub(super) fn enhanced(self, interface: u32, ticks: u64, wire_length: u32, data: &[u8]) -> Self {
        let body = Self::new(self.order)
            .u32(interface)
            .u32((ticks >> 32) as u32)
            .u32(ticks as u32)
            .u32(data.len() as u32)
            .u32(wire_length)
            .raw(data)
            .padded();
        self.block(6, &body)
    }

    pub(super) fn padded(mut self) -> Self {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }
}
