//! One datagram that is not yet complete.

use super::super::checksum::StoredHeader;
use super::{Key, SlotIndex};

/// Separate pieces of one datagram; pieces that arrive in order count as one.
pub(super) const PIECES_MAX: usize = 512;
/// Entries of the list of pieces that a free slot keeps.
const POOLED_PIECES_MAX: usize = 16;

/// A run of bytes: its range in the datagram, and its offset in the buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    start: u32,
    end: u32,
    at: u32,
}

/// One datagram that is not yet complete. `older` and `newer` are its neighbours by age; in a free slot `newer` is the next
/// free slot.
#[derive(Debug)]
pub(super) struct Slot {
    pub key: Key,
    pub first_seen_ns: u64,
    /// Received bytes in order of arrival, without duplicates.
    pub buffer: Vec<u8>,
    /// In order of the datagram, not overlapping.
    pieces: Vec<Piece>,
    /// The datagram's length, once its last fragment was received.
    total: Option<usize>,
    pub older: Option<SlotIndex>,
    pub newer: Option<SlotIndex>,
    pub protocol: u8,
    pub is_v6: bool,
    pub depth: u8,
    /// The IP header of the first fragment.
    pub network: StoredHeader,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Added {
    pub overlapping: bool,
    pub conflicting: bool,
    pub too_many_pieces: bool,
}

impl Slot {
    pub fn new(key: Key) -> Self {
        Self {
            key,
            first_seen_ns: 0,
            buffer: Vec::new(),
            pieces: Vec::new(),
            total: None,
            older: None,
            newer: None,
            protocol: 0,
            is_v6: false,
            depth: 0,
            network: StoredHeader::EMPTY,
        }
    }

    pub fn held(&self) -> usize {
        self.buffer.capacity() + self.pieces.capacity() * size_of::<Piece>()
    }

    /// Empties the slot, and gives its buffer back.
    pub fn clear(&mut self) -> Vec<u8> {
        self.pieces.clear();
        self.pieces.shrink_to(POOLED_PIECES_MAX);
        self.total = None;
        std::mem::take(&mut self.buffer)
    }

    /// Whether all bytes are there: none is stored twice, and none beyond the end.
    pub fn is_complete(&self) -> bool {
        self.total == Some(self.buffer.len())
    }

    /// Adds the new bytes of a fragment.
    pub fn add(&mut self, start: usize, bytes: &[u8], more: bool) -> Added {
        let mut added = Added::default();
        let end = start + bytes.len();
        let known_end = self.pieces.last().map_or(0, |piece| piece.end as usize);
        added.conflicting = match self.total {
            Some(total) => end > total || (!more && end != total),
            None => !more && end < known_end,
        };
        if added.conflicting {
            return added;
        }
        if !more {
            self.total = Some(end);
        }
        let mut at = start;
        let mut index = self.pieces.partition_point(|piece| piece.end as usize <= start);
        while at < end {
            let known = self.pieces.get(index).copied();
            let gap_end = known.map_or(end, |piece| end.min(piece.start as usize));
            if at < gap_end {
                let new = bytes.get(at - start..gap_end - start).unwrap_or_default();
                match self.fill_gap(index, at, new) {
                    Some(next) => index = next,
                    None => {
                        added.too_many_pieces = true;
                        return added;
                    }
                }
                at = gap_end;
            } else if let Some(known) = known {
                added.overlapping = true;
                at = known.end as usize;
                index += 1;
            }
        }
        added
    }

    /// Adds bytes in the gap before piece `index`; gives the index of the piece behind them.
    fn fill_gap(&mut self, index: usize, start: usize, bytes: &[u8]) -> Option<usize> {
        let (start, end, at) = (start as u32, (start + bytes.len()) as u32, self.buffer.len() as u32);
        let count = self.pieces.len();
        let before = index.checked_sub(1).and_then(|before| self.pieces.get_mut(before));
        match before {
            Some(before) if before.end == start && before.at + (before.end - before.start) == at => {
                before.end = end;
                self.buffer.extend_from_slice(bytes);
                Some(index)
            }
            _ if count >= PIECES_MAX => None,
            _ => {
                self.pieces.insert(index, Piece { start, end, at });
                self.buffer.extend_from_slice(bytes);
                Some(index + 1)
            }
        }
    }

    /// The datagram's bytes in order, and the buffer that is no longer used.
    pub fn in_order(&mut self, mut spare: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
        let buffer = std::mem::take(&mut self.buffer);
        if self.pieces.len() == 1 {
            return (buffer, spare);
        }
        spare.reserve_exact(buffer.len());
        for piece in &self.pieces {
            let at = piece.at as usize;
            spare.extend_from_slice(buffer.get(at..at + (piece.end - piece.start) as usize).unwrap_or_default());
        }
        (spare, buffer)
    }
}
