//! Small numbers: a cell below five may point at a person, so it is not told, nor what would give it away beside the total.

/// Counts below this are not told, unless they are nought.
pub const CELL_MIN: u64 = 5;

/// The counts that may be told; none for those that may not. The total is always told, so what is left untold must be at least two
/// cells, and at least [`CELL_MIN`] together.
pub fn suppressed(counts: &[u64]) -> Vec<Option<u64>> {
    let is_small = |count: u64| (1..CELL_MIN).contains(&count);
    let mut told: Vec<Option<u64>> = counts.iter().map(|&count| (!is_small(count)).then_some(count)).collect();
    loop {
        let untold: Vec<u64> =
            counts.iter().zip(&told).filter(|(_, told)| told.is_none()).map(|(&count, _)| count).collect();
        if untold.is_empty() || (untold.len() >= 2 && untold.iter().sum::<u64>() >= CELL_MIN) {
            return told;
        }
        // The least of those that are told, noughts apart: to hide one of them would hide nothing.
        let next = told.iter_mut().filter(|cell| cell.is_some_and(|count| count > 0)).min_by_key(|cell| **cell);
        match next {
            Some(cell) => *cell = None,
            // There is no other cell: then the total itself is what is small.
            None => return told,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_small_cell_can_be_computed_from_the_total() {
        assert_eq!(suppressed(&[10, 20, 0]), [Some(10), Some(20), Some(0)]);
        assert_eq!(suppressed(&[10, 3, 20]), [None, None, Some(20)], "the smallest goes with it");
        assert_eq!(
            suppressed(&[1, 1, 50, 9]),
            [None, None, Some(50), None],
            "two of one each are known from their sum"
        );
        assert_eq!(suppressed(&[4, 4, 50]), [None, None, Some(50)]);
        assert_eq!(suppressed(&[3]), [None]);
        assert_eq!(suppressed(&[]), [] as [Option<u64>; 0]);
        // By trial: whoever knows the total and the cells that are told never knows a small one.
        for first in 0..9_u64 {
            for second in 0..9 {
                for third in 0..9 {
                    let counts = [first, second, third];
                    let told = suppressed(&counts);
                    let untold: Vec<u64> =
                        counts.iter().zip(&told).filter(|(_, told)| told.is_none()).map(|(c, _)| *c).collect();
                    assert!(
                        counts
                            .iter()
                            .zip(&told)
                            .all(|(&count, told)| told.is_none() || count == 0 || count >= CELL_MIN)
                    );
                    let others = counts.iter().filter(|count| **count > 0).count() - untold.len();
                    assert!(untold.len() != 1 || others == 0, "{counts:?}: {told:?}");
                }
            }
        }
    }
}
