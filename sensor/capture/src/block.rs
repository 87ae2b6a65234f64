//! A block of frames together with the memory that holds their bytes, which can be handed to another thread.

use vigie_wire::{Frame, LinkType};

/// Bytes after which no more frames are copied into a block.
const COPIED_BYTES: usize = 256 << 10;
/// Frames after which no more are.
const FRAMES: usize = 4_096;

/// Frames of a capture, in order.
#[derive(Debug, Default)]
pub struct Block {
    /// The memory that holds the frames' bytes.
    pub(super) bytes: Vec<u8>,
    /// Where in `bytes` the frames' offsets begin to count.
    pub(super) start: usize,
    pub(super) frames: Vec<FrameEntry>,
}

/// A frame whose bytes are given by their place in the block's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameEntry {
    pub(super) timestamp_ns: u64,
    pub(super) number: u64,
    pub(super) start: usize,
    pub(super) length: u32,
    pub(super) wire_length: u32,
    pub(super) link_type: LinkType,
    pub(super) interface: u16,
}

impl Block {
    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The frame with this index.
    #[inline]
    pub fn frame(&self, index: usize) -> Option<Frame<'_>> {
        self.frames.get(index).map(|entry| entry.frame(self.frame_bytes()))
    }

    /// All frames.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Frame<'_>> {
        let bytes = self.frame_bytes();
        self.frames.iter().map(move |entry| entry.frame(bytes))
    }

    #[inline]
    fn frame_bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Forgets the frames, keeps the memory.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
    }

    /// Whether enough was copied.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= COPIED_BYTES || self.frames.len() >= FRAMES
    }

    /// Copies a frame.
    pub(super) fn push(&mut self, frame: &Frame<'_>) {
        self.add(frame, self.bytes.len());
        self.bytes.extend_from_slice(frame.data);
    }

    /// Adds a frame whose bytes are, or will be, at `start`.
    #[inline]
    pub(super) fn add(&mut self, frame: &Frame<'_>, start: usize) {
        self.frames.push(FrameEntry {
            timestamp_ns: frame.timestamp_ns,
            number: frame.number,
            start,
            // Fits: no frame is longer than `FRAME_BYTES_MAX`.
            length: frame.data.len() as u32,
            wire_length: frame.wire_length,
            link_type: frame.link_type,
            interface: frame.interface,
        });
    }
}

impl FrameEntry {
    /// The frame, whose bytes are a part of these.
    #[inline]
    pub(super) fn frame<'b>(&self, bytes: &'b [u8]) -> Frame<'b> {
        Frame {
            timestamp_ns: self.timestamp_ns,
            number: self.number,
            wire_length: self.wire_length,
            link_type: self.link_type,
            interface: self.interface,
            data: bytes.get(self.start..self.start + self.length as usize).unwrap_or_default(),
        }
    }
}
