//! Other readings of a stream: of bytes that contradict each other, or of all of them where nothing else is shown of it.

use vigie_decode::Segment;

use super::Stream;
use crate::stage::Findings;
use crate::{Counts, Limits};

impl Stream {
    /// Takes a segment for its readings alone, of which nothing is shown before [`find_readings`](Self::find_readings).
    pub(crate) fn hold(
        &mut self,
        segment: &Segment<'_>,
        has_other_hop_limit: bool,
        limits: &Limits,
        counts: &mut Counts,
    ) {
        self.versions.get_or_insert_default();
        self.late_segment(segment, has_other_hop_limit, limits, counts);
    }

    /// From now on is read for its [readings](Self::hold) alone. Names with these hashes were reported.
    pub(crate) fn hold_all(&mut self, reported: &[u32]) {
        let versions = self.versions.get_or_insert_default();
        versions.note_growth();
        reported.iter().for_each(|&hash| versions.mark_reported_hash(hash));
    }

    /// Looks for other readings of bytes that contradict each other. False if there is none to show.
    pub fn find_readings(&mut self, limits: &Limits, counts: &mut Counts) -> bool {
        let Some(versions) = self.versions.as_deref_mut() else { return false };
        let was_exhausted = versions.is_exhausted(limits);
        if self.reported_name != 0 {
            versions.mark_reported_hash(self.reported_name);
        }
        let has_reading = versions.find_readings(&self.assembly, limits);
        counts.stream_readings += u64::from(!was_exhausted && versions.is_exhausted(limits));
        has_reading
    }

    /// Whether a [reading](Self::hold) that nothing contradicts has come to a message of which more may come.
    pub(crate) fn is_read_amid_message(&self) -> bool {
        self.versions.as_ref().is_some_and(|versions| versions.is_amid_message())
    }

    /// How many readings were tried.
    pub(crate) fn tried_readings(&self) -> usize {
        self.versions.as_ref().map_or(0, |versions| versions.tried_readings())
    }

    /// What the next of the readings that were found shows.
    pub fn found_reading(&mut self, limits: &Limits) -> Option<Findings<'_>> {
        self.versions.as_deref_mut()?.next_reading(&self.assembly, limits)
    }

    /// Hashes of the names that were reported, as far as they are kept.
    pub(crate) fn reported_names(&self) -> impl Iterator<Item = u32> {
        let of_readings = self.versions.iter().flat_map(|versions| versions.reported());
        of_readings.copied().chain(Some(self.reported_name).filter(|&hash| hash != 0))
    }

    /// Names with these hashes were reported of the connection; readings that give them again are not.
    pub(crate) fn mark_reported(&mut self, hashes: &[u32]) {
        if let Some(versions) = &mut self.versions {
            hashes.iter().for_each(|&hash| versions.mark_reported_hash(hash));
        }
    }
}
