//! What the file formats share: records found in a window, the end of a scan, byte order, interface numbers.

use std::borrow::Cow;
use std::collections::HashMap;

use arrayvec::ArrayVec;

use super::BATCH_FRAMES_MAX;
use super::block::FrameEntry;
use vigie_wire::{Frame, LinkType};

/// How many interfaces a capture may have; frames of further ones are skipped. Frames name their interface in 16 bits.
pub(super) const INTERFACES_MAX: usize = 4096;

/// A frame's record, whose bytes are given by their place in the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) timestamp_ns: u64,
    pub(super) start: usize,
    pub(super) length: u32,
    pub(super) wire_length: u32,
    pub(super) link_type: LinkType,
    pub(super) interface: u16,
    pub(super) supported: bool,
}

impl Record {
    /// The frame, in the window in which the record was found.
    #[inline]
    pub(super) fn frame<'w>(&self, number: u64, window: &'w [u8]) -> Frame<'w> {
        self.entry(number).frame(window)
    }

    /// The frame as an entry of a block.
    #[inline]
    pub(super) fn entry(&self, number: u64) -> FrameEntry {
        FrameEntry {
            timestamp_ns: self.timestamp_ns,
            number,
            start: self.start,
            length: self.length,
            wire_length: self.wire_length,
            link_type: self.link_type,
            interface: self.interface,
        }
    }
}

/// Records found and not yet given out.
pub(super) type Records = ArrayVec<Record, BATCH_FRAMES_MAX>;

/// Why a scan for records ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ScanEnd {
    /// No more records fit.
    Full,
    /// To go on, the window must hold this many bytes from the present place on.
    Needs(usize),
    /// This many bytes from the present place on are of no interest.
    Skip(u64),
    /// The bytes at the present place are damaged.
    Damaged(&'static str),
    /// A warning about an earlier place, which does not keep the scan from going on.
    Warning(usize, Cow<'static, str>),
}

/// The byte order of a file or section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    #[inline]
    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    #[inline]
    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    pub(super) fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
}

/// The interfaces of all files of a capture, numbered in the order in which they are met. Interfaces of equal name and
/// link type are one, so that a ring of files has as many interfaces as one of its files.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    names: Vec<Option<String>>,
    link_types: Vec<LinkType>,
    numbers: HashMap<(Label, LinkType), u16>,
}

/// What distinguishes interfaces: the name, or without one the position in the file.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Label {
    Name(String),
    Position(usize),
}

impl Interfaces {
    /// The number of an interface, new or known. `None` beyond the limit.
    pub(super) fn add(&mut self, name: Option<String>, position: usize, link_type: LinkType) -> Option<u16> {
        let label = name.clone().map_or(Label::Position(position), Label::Name);
        let next = self.names.len();
        let full = next >= INTERFACES_MAX;
        match self.numbers.entry((label, link_type)) {
            std::collections::hash_map::Entry::Occupied(entry) => Some(*entry.get()),
            std::collections::hash_map::Entry::Vacant(_) if full => None,
            std::collections::hash_map::Entry::Vacant(entry) => {
                self.names.push(name);
                self.link_types.push(link_type);
                Some(*entry.insert(next as u16))
            }
        }
    }

    pub(super) fn count(&self) -> usize {
        self.names.len()
    }

    pub(super) fn name(&self, number: u16) -> Option<&str> {
        self.names.get(usize::from(number))?.as_deref()
    }

    pub(super) fn link_types(&self) -> &[LinkType] {
        &self.link_types
    }
}
