//! Pseudorandom numbers, the same for the same seed on every machine and in every version of this program: SplitMix64
//! (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).

/// Bytes of precomputed noise.
const NOISE_BYTES: usize = 1 << 16;

/// A generator, and noise for payloads.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: u64,
    noise: Vec<u8>,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Self { state: seed, noise: Vec::new() };
        let words = (0..NOISE_BYTES / 8).map(|_| random.number());
        random.noise = words.flat_map(u64::to_le_bytes).collect();
        random
    }

    /// Any number.
    pub(super) fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.number()) * bound as u128) >> 64) as usize
    }

    /// A number of a range that is not empty.
    pub(super) fn within(&mut self, range: std::ops::Range<usize>) -> usize {
        range.start + self.below(range.end.saturating_sub(range.start))
    }

    /// True once in `times` on average.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Heavy-tailed: most numbers near `least`, few far above it, none above `most` (Pareto, index 1.1). In whole
    /// numbers throughout, since no two mathematics libraries round alike.
    pub(super) fn heavy_tailed(&mut self, least: usize, most: usize) -> usize {
        // Each doubling halves the chance, and a bit more: 2^-1.1 is 0.4665.
        let mut floor = least.max(1);
        while floor < most && self.below(10_000) < 4_665 {
            floor *= 2;
        }
        (floor + self.below(floor)).min(most)
    }

    /// Any `N` bytes.
    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            let word = self.number().to_le_bytes();
            chunk.iter_mut().zip(word).for_each(|(place, byte)| *place = byte);
        }
        bytes
    }

    /// Appends `count` bytes of noise.
    pub(super) fn noise(&mut self, count: usize, out: &mut Vec<u8>) {
        let mut left = count;
        while left > 0 {
            let start = self.below(NOISE_BYTES / 2);
            let piece = self.noise.get(start..).unwrap_or_default();
            let piece = piece.get(..left).unwrap_or(piece);
            out.extend_from_slice(piece);
            left = left.saturating_sub(piece.len().max(1));
        }
    }

    /// One of the items; `None` if there are none.
    pub(super) fn choose<'i, T>(&mut self, items: &'i [T]) -> Option<&'i T> {
        items.get(self.below(items.len()))
    }

    /// Shuffles the items.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_paper() {
        let mut random = Random::new(0);
        random.state = 1_234_567;
        assert_eq!([random.number(), random.number()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn tails_are_heavy() {
        let mut random = Random::new(1);
        let mut drawn: Vec<usize> = (0..100_000).map(|_| random.heavy_tailed(8, 100_000)).collect();
        drawn.sort_unstable();
        let total: usize = drawn.iter().sum();
        let of_the_top: usize = drawn[99_000..].iter().sum();
        assert!(drawn[0] == 8 && drawn[50_000] < 20, "{}", drawn[50_000]);
        assert!(of_the_top * 3 > total, "one in a hundred carries a third of all: {of_the_top} of {total}");
    }

    #[test]
    fn noise_has_the_length_asked_for() {
        let mut random = Random::new(1);
        let mut out = Vec::new();
        random.noise(100_000, &mut out);
        assert_eq!(out.len(), 100_000);
    }
}
