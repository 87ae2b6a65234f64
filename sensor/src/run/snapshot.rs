//! The part of the settings that a reload replaces while the workers run: one immutable snapshot, replaced as a whole.

use std::sync::Arc;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use vigie_judgement::policy::Policy;
use vigie_signatures::Bundle;

use crate::privacy::Privacy;

/// What a reload may replace, as far as workers need it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The signatures.
    pub bundle: Arc<Bundle>,
    /// The policy.
    pub policy: Arc<Policy>,
    /// Whom events name.
    pub privacy: Privacy,
}

/// The current snapshot.
pub type CurrentSnapshot = Arc<ArcSwap<Snapshot>>;

/// A reader of the current snapshot. A check costs one load while nothing has changed.
pub struct SnapshotReader {
    cache: Cache<CurrentSnapshot, Arc<Snapshot>>,
    seen: Arc<Snapshot>,
}

impl SnapshotReader {
    /// A reader that has seen the current snapshot.
    pub fn new(current: &CurrentSnapshot) -> Self {
        Self { cache: Cache::new(Arc::clone(current)), seen: current.load_full() }
    }

    /// The snapshot that it has seen last.
    pub const fn seen(&self) -> &Arc<Snapshot> {
        &self.seen
    }

    /// The snapshot, if it was replaced since the last call.
    #[inline]
    pub fn changed(&mut self) -> Option<&Arc<Snapshot>> {
        let current = self.cache.load();
        if Arc::ptr_eq(current, &self.seen) {
            return None;
        }
        self.seen = Arc::clone(current);
        Some(&self.seen)
    }
}
