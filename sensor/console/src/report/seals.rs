//! The seals of journals that cover a period: by them, the record behind a report can be checked.

use std::path::PathBuf;

use serde::Serialize;
use vigie_journal::eve::time_us;
use vigie_journal::{Seal, read_seals};

use super::figures::Period;

/// The seals of a journal.
#[derive(Clone, Debug, Serialize)]
pub struct JournalSeals {
    pub journal: String,
    /// None: they cannot be read.
    pub seals: Option<Vec<Seal>>,
    /// Numbers of segments that have no seal between the first and the last.
    pub missing: u64,
}

/// The seals of segments with events of the period, of each journal.
pub fn covering(journals: &[PathBuf], period: &Period) -> Vec<JournalSeals> {
    let of = |journal: &PathBuf| {
        let mut seals = read_seals(journal).ok();
        if let Some(seals) = &mut seals {
            seals.retain(|seal| is_of(seal, period));
        }
        let missing = seals.as_deref().map_or(0, missing);
        JournalSeals { journal: journal.display().to_string(), seals, missing }
    };
    journals.iter().map(of).collect()
}

fn is_of(seal: &Seal, period: &Period) -> bool {
    // A time that cannot be read is not a reason to leave a seal out.
    let begins_before_the_end = time_us(&seal.first).is_none_or(|first| first < period.until_us);
    let ends_after_the_begin = time_us(&seal.last).is_none_or(|last| last >= period.from_us);
    begins_before_the_end && ends_after_the_begin
}

fn missing(seals: &[Seal]) -> u64 {
    let mut numbers: Vec<u64> = seals.iter().map(|seal| seal.seq).collect();
    numbers.sort_unstable();
    // A segment is sealed anew when retention takes lines out of it.
    numbers.dedup();
    let span = numbers.first().zip(numbers.last()).map_or(0, |(first, last)| last - first + 1);
    span - numbers.len() as u64
}
