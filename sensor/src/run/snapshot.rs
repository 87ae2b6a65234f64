//! What workers judge by: one immutable snapshot, exchanged as a whole while they run.

use std::sync::Arc;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use vigie_signatures::Bundle;

/// What may change while the sensor runs, as far as workers need it.
#[derive(Debug)]
pub struct Snapshot {
    /// The signatures.
    pub bundle: Arc<Bundle>,
}

/// Where the newest snapshot is.
pub type Current = Arc<ArcSwap<Snapshot>>;

/// A worker's view of it: looking costs one load while nothing has changed.
pub struct View {
    cache: Cache<Current, Arc<Snapshot>>,
    seen: Arc<Snapshot>,
}

impl View {
    /// A view that has seen the present snapshot.
    pub fn new(current: &Current) -> Self {
        Self { cache: Cache::new(Arc::clone(current)), seen: current.load_full() }
    }

    /// The snapshot, if it is another one than the last time.
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
