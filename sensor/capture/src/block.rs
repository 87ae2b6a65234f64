//! Frames with the memory that they stand in: what can be handed to another thread.

use vigie_wire::{Frame, LinkType};

/// Bytes after which no more frames are copied into a block.
const COPIED_BYTES: usize = 256 << 10;
/// Frames after which no more are.
const FRAMES: usize = 4_096;

/// A stretch of a capture.
#[derive(Debug, Default)]
pub struct Block {
    /// Where the frames' bytes stand.
    pub(super) bytes: Vec<u8>,
    /// From where on in these the frames' places count.
    pub(super) start: usize,
    pub(super) frames: Vec<Placed>,
}

/// A frame, its bytes told by their place in the block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
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

    /// The frame at a place.
    #[inline]
    pub fn frame(&self, place: usize) -> Option<Frame<'_>> {
        self.frames.get(place).map(|placed| placed.frame(self.counted()))
    }

    /// All frames.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Frame<'_>> {
        let bytes = self.counted();
        self.frames.iter().map(move |placed| placed.frame(bytes))
    }

    #[inline]
    fn counted(&self) -> &[u8] {
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
        self.place(frame, self.bytes.len());
        self.bytes.extend_from_slice(frame.data);
    }

    /// Notes a frame whose bytes stand, or will stand, at `start`.
    #[inline]
    pub(super) fn place(&mut self, frame: &Frame<'_>, start: usize) {
        self.frames.push(Placed {
            timestamp_ns: frame.timestamp_ns,
            number: frame.number,
            start,
            // No frame has more bytes than fit.
            length: frame.data.len() as u32,
            wire_length: frame.wire_length,
            link_type: frame.link_type,
            interface: frame.interface,
        });
    }
}

impl Placed {
    /// The frame, where its bytes stand among these.
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
