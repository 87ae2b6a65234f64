//! Bytes that arrive in any order, cut anywhere, more than once: an interval set with a bounded buffer behind it.
//! Used for TCP streams, QUIC CRYPTO streams and DTLS handshake messages alike.

/// How many separate islands of bytes beyond the contiguous prefix are kept.
pub const ISLANDS_MAX: usize = 64;

/// Bytes of memory without content that are not worth giving back.
const SLACK_BYTES: usize = 64;

/// Why a piece, or a part of it, was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// It reaches beyond the bytes that the assembly may hold.
    BeyondLimit,
    /// It would be one island too many.
    TooManyIslands,
}

/// A byte stream from its offset 0 up to a bound, put together from pieces. The first copy of a byte stays.
#[derive(Debug, Default)]
pub struct Assembly {
    buffer: Vec<u8>,
    contiguous: usize,
    /// In order and apart; at most [`ISLANDS_MAX`]. It has no memory until a piece comes out of order.
    islands: Vec<(u32, u32)>,
}

impl Assembly {
    /// The first bytes of a stream.
    pub const fn of(bytes: Vec<u8>) -> Self {
        Self { contiguous: bytes.len(), buffer: bytes, islands: Vec::new() }
    }

    /// The bytes known without a hole from offset 0 on.
    #[inline]
    pub fn contiguous(&self) -> &[u8] {
        self.buffer.get(..self.contiguous).unwrap_or_default()
    }

    /// Bytes of memory held.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity() + self.islands.capacity() * size_of::<(u32, u32)>()
    }

    /// Forgets all bytes, and gives the memory back.
    pub fn release(&mut self) {
        *self = Self::default();
    }

    /// Gives memory back that is far more than the bytes known take.
    pub fn trim(&mut self) {
        if self.buffer.capacity() >= self.buffer.len() + self.buffer.len() / 2 + SLACK_BYTES {
            self.buffer.shrink_to_fit();
        }
    }

    /// Grows the buffer to a length, by a quarter more than needed: pieces of one byte do not copy it each time. Most streams
    /// never grow beyond their first pieces.
    #[inline]
    fn reserve(&mut self, length: usize) {
        let more = length.saturating_sub(self.buffer.len());
        if more > self.buffer.capacity() - self.buffer.len() {
            self.buffer.reserve_exact(more.max(self.buffer.len() / 4));
        }
    }

    /// Makes room for so many bytes, so that the first pieces of a stream do not move each other.
    pub fn expect(&mut self, bytes: usize) {
        self.buffer.reserve_exact(bytes.saturating_sub(self.buffer.len()));
    }

    /// Forgets all bytes, keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.islands.clear();
        self.contiguous = 0;
    }

    /// Whether anything at all was kept.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The island of known bytes that holds `offset` beyond the contiguous prefix: its start, and its bytes.
    pub fn island(&self, offset: usize) -> Option<(usize, &[u8])> {
        self.islands.iter().find_map(|&(start, end)| {
            let (start, end) = (start as usize, end as usize);
            if (start..end).contains(&offset) { Some((start, self.buffer.get(start..end)?)) } else { None }
        })
    }

    /// Makes room for `count` bytes before offset 0: what was known stands that much further on.
    pub fn shift(&mut self, count: usize) {
        if self.buffer.is_empty() {
            return;
        }
        self.reserve(self.buffer.len() + count);
        self.buffer.splice(..0, std::iter::repeat_n(0, count));
        for (start, end) in &mut self.islands {
            *start += count as u32;
            *end += count as u32;
        }
        let known_to = std::mem::take(&mut self.contiguous);
        if known_to > 0 {
            // With the list full, the last island gives its place up.
            self.islands.truncate(ISLANDS_MAX - 1);
            self.islands.insert(0, (count as u32, (known_to + count) as u32));
        }
    }

    /// Makes `offset` the new offset 0; what stood before it is forgotten.
    pub fn rebase(&mut self, offset: usize) {
        let offset = offset.min(self.buffer.len());
        self.buffer.drain(..offset);
        let known_to = self.contiguous.saturating_sub(offset);
        let offset = offset as u32;
        self.islands.retain(|&(_, end)| end > offset);
        for (start, end) in &mut self.islands {
            (*start, *end) = (start.saturating_sub(offset), *end - offset);
        }
        self.contiguous = 0;
        self.record(0, known_to);
    }

    /// Holds these bytes from offset 0 on, and nothing else. Keeps the memory.
    pub fn replace(&mut self, bytes: &[u8]) {
        self.clear();
        self.reserve(bytes.len());
        self.buffer.extend_from_slice(bytes);
        self.contiguous = bytes.len();
    }

    /// Adds `piece` at `offset`. Bytes at or beyond `bytes_max` are left out. True if the contiguous prefix grew.
    ///
    /// # Errors
    /// [`InsertError`] tells that a part (or all) of the piece was left out, and why; what fitted was kept.
    pub fn insert(&mut self, offset: usize, piece: &[u8], bytes_max: usize) -> Result<bool, InsertError> {
        let end = offset.saturating_add(piece.len());
        if offset == self.buffer.len() && offset == self.contiguous && end <= bytes_max {
            self.reserve(end);
            self.buffer.extend_from_slice(piece);
            self.contiguous = end;
            return Ok(!piece.is_empty());
        }
        let bounded_end = end.min(bytes_max);
        let cut = if end > bytes_max { Err(InsertError::BeyondLimit) } else { Ok(()) };
        if offset >= bounded_end {
            return cut.map(|()| false);
        }
        if offset > self.contiguous && self.islands.len() >= ISLANDS_MAX && !self.touches_an_island(offset, bounded_end)
        {
            return Err(InsertError::TooManyIslands);
        }
        if self.buffer.len() < bounded_end {
            self.reserve(bounded_end);
            self.buffer.resize(bounded_end, 0);
        }
        self.copy_what_is_new(offset, piece, bounded_end);
        let before = self.contiguous;
        self.record(offset, bounded_end);
        cut.map(|()| self.contiguous > before)
    }

    /// Offset behind the last known byte.
    pub fn length(&self) -> usize {
        self.buffer.len()
    }

    /// Whether one of `count` bytes at `offset` is known already.
    pub fn overlaps(&self, offset: usize, count: usize) -> bool {
        let overlaps = |start: usize, end: usize| start.max(offset) < end.min(offset.saturating_add(count));
        overlaps(0, self.contiguous) || self.islands.iter().any(|&(start, end)| overlaps(start as usize, end as usize))
    }

    /// Whether a byte of `piece` at `offset` is known already, with another value.
    pub fn contradicts(&self, offset: usize, piece: &[u8]) -> bool {
        let differs = |start: usize, end: usize| {
            let (from, to) = (start.max(offset), end.min(offset.saturating_add(piece.len())));
            from < to && self.buffer.get(from..to) != piece.get(from - offset..to - offset)
        };
        differs(0, self.contiguous) || self.islands.iter().any(|&(start, end)| differs(start as usize, end as usize))
    }

    fn touches_an_island(&self, start: usize, end: usize) -> bool {
        self.islands
            .iter()
            .any(|&(island_start, island_end)| island_start as usize <= end && start <= island_end as usize)
    }

    /// Copies those bytes of `piece` that stand in a hole.
    fn copy_what_is_new(&mut self, offset: usize, piece: &[u8], end: usize) {
        let mut at = offset.max(self.contiguous);
        let mut copy = |from: usize, to: usize| {
            if let (Some(target), Some(source)) = (self.buffer.get_mut(from..to), piece.get(from - offset..to - offset))
            {
                target.copy_from_slice(source);
            }
        };
        for &(island_start, island_end) in &self.islands {
            let (island_start, island_end) = (island_start as usize, island_end as usize);
            if island_end <= at {
                continue;
            }
            if island_start >= end {
                break;
            }
            if at < island_start {
                copy(at, island_start);
            }
            at = island_end;
        }
        if at < end {
            copy(at, end);
        }
    }

    /// Notes that `start..end` is known, joining the intervals that it touches.
    fn record(&mut self, start: usize, end: usize) {
        if start <= self.contiguous {
            self.contiguous = self.contiguous.max(end);
        } else {
            let (mut start, mut end) = (start as u32, end as u32);
            self.islands.retain(|&(island_start, island_end)| {
                let apart = island_end < start || end < island_start;
                if !apart {
                    start = start.min(island_start);
                    end = end.max(island_end);
                }
                apart
            });
            let place = self.islands.partition_point(|&(island_start, _)| island_start < start);
            // The bound holds: `insert` refused a piece that touches nothing while the list was full.
            self.islands.insert(place, (start, end));
        }
        while let Some(&(island_start, island_end)) = self.islands.first() {
            if island_start as usize > self.contiguous {
                break;
            }
            self.contiguous = self.contiguous.max(island_end as usize);
            self.islands.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_retransmitted_piece_fills_no_hole() {
        let mut assembly = Assembly::default();
        assembly.insert(4, b"efgh", 64).unwrap();
        assembly.insert(4, b"efgh", 64).unwrap();
        assert_eq!(assembly.contiguous(), b"");
        assert_eq!(assembly.insert(0, b"abcdXX", 64), Ok(true));
        assert_eq!(assembly.contiguous(), b"abcdefgh");
    }

    #[test]
    fn bounds_bite_and_say_so() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.insert(0, b"abcdef", 4), Err(InsertError::BeyondLimit));
        assert_eq!(assembly.contiguous(), b"abcd");
        let mut islands = Assembly::default();
        for island in 1..=ISLANDS_MAX {
            islands.insert(island * 3, b"x", 4096).unwrap();
        }
        assert_eq!(islands.insert(ISLANDS_MAX * 3 + 3, b"x", 4096), Err(InsertError::TooManyIslands));
        assert_eq!(islands.insert(usize::MAX, b"x", 4096), Err(InsertError::BeyondLimit));
        assert_eq!(islands.insert(0, &[7; 1000], 4096), Ok(true));
        assert_eq!(islands.contiguous().len(), 1000);
    }

    #[test]
    fn islands_take_memory_only_once_there_are_any() {
        let mut assembly = Assembly::default();
        assembly.insert(0, b"abc", 64).unwrap();
        assert_eq!((assembly.islands.capacity(), assembly.capacity()), (0, assembly.buffer.capacity()));
        assembly.insert(5, b"f", 64).unwrap();
        let held = assembly.capacity();
        assert!(held > assembly.buffer.capacity());
        assembly.clear();
        assert_eq!(assembly.capacity(), held, "kept for the next stream");
        assert_eq!(assembly.island(5), None);
        assembly.insert(3, b"d", 64).unwrap();
        assert_eq!((assembly.contiguous(), assembly.island(3)), (&b""[..], Some((3, &b"d"[..]))));
    }

    #[test]
    fn an_island_can_become_the_start() {
        let mut assembly = Assembly::default();
        assembly.insert(10, b"klm", 64).unwrap();
        assembly.insert(20, b"uv", 64).unwrap();
        assert_eq!(assembly.island(12), Some((10, &b"klm"[..])));
        assert_eq!(assembly.island(13), None);
        assembly.rebase(10);
        assert_eq!(assembly.contiguous(), b"klm");
        assert_eq!(assembly.insert(3, b"nopqrst", 64), Ok(true));
        assert_eq!(assembly.contiguous(), b"klmnopqrstuv");
        assembly.rebase(4);
        assert_eq!(assembly.contiguous(), b"opqrstuv");
        assembly.shift(3);
        assert_eq!((assembly.contiguous(), assembly.island(3)), (&b""[..], Some((3, &b"opqrstuv"[..]))));
        assert_eq!(assembly.insert(0, b"lmn", 64), Ok(true));
        assert_eq!(assembly.contiguous(), b"lmnopqrstuv");
    }

    proptest! {
        #[test]
        fn any_order_any_cut_any_overlap_gives_the_stream(
            stream in proptest::collection::vec(any::<u8>(), 1..600),
            cuts in proptest::collection::vec((any::<prop::sample::Index>(), 1_usize..80), 1..60),
        ) {
            let mut assembly = Assembly::default();
            let mut known = vec![false; stream.len()];
            for (start, length) in cuts {
                let start = start.index(stream.len());
                let end = (start + length).min(stream.len());
                if assembly.insert(start, &stream[start..end], 4096).is_ok() {
                    known[start..end].fill(true);
                }
                let prefix = known.iter().take_while(|&&byte| byte).count();
                prop_assert_eq!(assembly.contiguous(), &stream[..prefix]);
            }
        }
    }
}
