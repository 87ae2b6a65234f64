//! The memory of a window, of which a range holds bytes.

use std::mem;

#[derive(Debug)]
pub(super) struct Buffer {
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// A buffer without bytes, in memory of this length.
    pub(super) fn new(memory_bytes: usize) -> Self {
        Self { memory: vec![0; memory_bytes], start: 0, end: 0 }
    }

    /// A buffer whose bytes are a range of this memory.
    pub(super) const fn with(memory: Vec<u8>, start: usize, end: usize) -> Self {
        Self { memory, start, end }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.end).unwrap_or_default()
    }

    /// Drops bytes from the front.
    pub(super) const fn consume(&mut self, count: usize) {
        self.start += count;
    }

    /// Counts bytes that were written into [`room`](Self::room).
    pub(super) const fn extend(&mut self, count: usize) {
        self.end += count;
    }

    /// Swaps the memory for another of at least `bytes_min`, which gets a copy of the bytes from `kept` on. Returns where
    /// the bytes began in the memory given away.
    pub(super) fn exchange(&mut self, memory: &mut Vec<u8>, kept: usize, bytes_min: usize) -> usize {
        let rest = self.bytes().get(kept..).unwrap_or_default();
        if memory.len() < bytes_min.max(rest.len()) {
            memory.resize(bytes_min.max(rest.len()), 0);
        }
        if let Some(place) = memory.get_mut(..rest.len()) {
            place.copy_from_slice(rest);
        }
        let end = rest.len();
        mem::swap(&mut self.memory, memory);
        self.end = end;
        mem::take(&mut self.start)
    }

    /// Moves the bytes to the front and returns the free memory behind them, at least `bytes_min` of it.
    pub(super) fn room(&mut self, bytes_min: usize) -> &mut [u8] {
        self.move_to_front();
        if self.memory.len() - self.end < bytes_min {
            // The buffer is full of bytes that were really read, so a length field in the file cannot make it grow.
            self.memory.resize(self.memory.len() * 2, 0);
        }
        self.memory.get_mut(self.end..).unwrap_or_default()
    }

    /// Appends the bytes of the next buffer, in whichever of the two memories they fit. Returns the memory that is free now.
    pub(super) fn join(&mut self, mut next: Self) -> Vec<u8> {
        if next.bytes().is_empty() {
            return next.memory;
        }
        let rest = self.bytes();
        if let Some(start) = next.start.checked_sub(rest.len())
            && let Some(place) = next.memory.get_mut(start..next.start)
        {
            place.copy_from_slice(rest);
            next.start = start;
            return mem::replace(self, next).memory;
        }
        self.move_to_front();
        let end = self.end + next.bytes().len();
        if self.memory.len() < end {
            self.memory.resize(end, 0);
        }
        if let Some(place) = self.memory.get_mut(self.end..end) {
            place.copy_from_slice(next.bytes());
        }
        self.end = end;
        next.memory
    }

    fn move_to_front(&mut self) {
        self.memory.copy_within(self.start..self.end, 0);
        self.end -= mem::take(&mut self.start);
    }
}
