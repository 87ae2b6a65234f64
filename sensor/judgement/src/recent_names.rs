//! The names that were added last. Most contacts repeat one of them: then no look at the texts is needed, each of which lies
//! somewhere in memory and in no cache.

use std::hash::BuildHasher;
use std::sync::LazyLock;

use foldhash::fast::RandomState;

use crate::Sighting;

/// Names that are remembered.
const RECENT: usize = 8;

/// Nobody who chooses names knows the key, so nobody can choose two names that are taken for one.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// A name with the class and family that it counts for, as 64 bits that no other name has but by chance (2^-61).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameKey(u64);

impl NameKey {
    /// That of a sighting. `is_proof` sets apart contacts that prove more than the name does.
    pub(crate) fn of(sighting: &Sighting<'_>, is_proof: bool) -> Self {
        let rule = sighting.rule;
        // 0 stands for a place that is free.
        Self(KEY.hash_one((rule.class as u8, is_proof, rule.family.as_str(), sighting.name)) | 1)
    }
}

/// The keys of the names that were added last.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecentNames {
    keys: [u64; RECENT],
    oldest: u8,
}

impl RecentNames {
    /// Whether a name was added lately. Adds it if not.
    pub(crate) fn has_or_add(&mut self, key: NameKey) -> bool {
        if self.keys.contains(&key.0) {
            return true;
        }
        if let Some(place) = self.keys.get_mut(usize::from(self.oldest)) {
            *place = key.0;
        }
        self.oldest = (self.oldest + 1) % RECENT as u8;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_name_is_forgotten_first() {
        let mut recent = RecentNames::default();
        let keys: Vec<NameKey> = (1..=RECENT as u64 + 1).map(NameKey).collect();
        assert!(keys.iter().all(|key| !recent.has_or_add(*key)));
        assert!(keys[1..].iter().all(|key| recent.has_or_add(*key)));
        assert!(!recent.has_or_add(keys[0]) && recent.has_or_add(keys[0]));
    }
}
