//! Whether a journal is what was sealed. The chain of seals alone shows accidental damage, and an edit by somebody who does not
//! know of the seals. Who knows of them can make the chain anew: that is found with the seals that somebody else holds.
//!
//! The live segment has no seal yet; its lines are counted and not judged.

mod damage;
mod segments;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use self::damage::{Damage, DamageKind};
use crate::seal::{self, NO_SEAL, RETENTION, Seal};
use crate::segment;
use crate::sha256::Sha256;

/// What was found to be as it was sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Segments that were read.
    pub segments: u64,
    /// Their lines.
    pub lines: u64,
    /// Bytes of their plain lines.
    pub bytes: u64,
    /// Seals in the chain.
    pub seals: u64,
    /// Segments of which retention removed lines, or all.
    pub changed: u64,
    /// Earliest and latest time of events in them; empty if there are none.
    pub first: String,
    /// See `first`.
    pub last: String,
    /// Lines of the live segment, which has no seal yet.
    pub unsealed_lines: u64,
    /// Seals that somebody else held, and that are in the chain.
    pub seals_held: u64,
}

/// Why a journal is not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file to compare with has no seal.
    #[error("{}: there is no seal in it: it needs lines of a seals.jsonl, as receivers got them", .0.display())]
    NoSeals(PathBuf),
    /// The journal is not what was sealed.
    #[error("{0}")]
    Damaged(Damage),
}

/// Verifies the journal in a folder; with `against`, also that it has all seals of that file. Names the first segment that
/// is not what was sealed.
///
/// # Errors
/// The journal is damaged, or a file cannot be read.
pub fn verify(folder: &Path, against: Option<&Path>) -> Result<Verified, VerifyError> {
    let failed = |source| VerifyError::Io { path: folder.to_owned(), source };
    let chain = Chain::read(folder).map_err(failed)?;
    let mut damages: Vec<Damage> = chain.damage.iter().cloned().collect();
    let mut verified = Verified { seals: chain.seals, changed: chain.changed, ..Verified::default() };
    if let Some(path) = against {
        let held = held_seals(path)?;
        verified.seals_held = held.len() as u64;
        damages.extend(contradicted(&chain, &held));
    }
    damages.extend(segments::verify_all(folder, &chain, &mut verified).map_err(failed)?);
    damages.sort_by_key(|damage| damage.seq);
    damages.into_iter().next().map_or(Ok(verified), |damage| Err(VerifyError::Damaged(damage)))
}

/// The seals in the file, up to the first that does not follow.
#[derive(Default)]
pub(super) struct Chain {
    /// The last seal of each segment, removed ones included.
    pub(super) latest: BTreeMap<u64, Seal>,
    /// All seals, as what a receiver holds is compared.
    all: BTreeSet<String>,
    seals: u64,
    changed: u64,
    damage: Option<Damage>,
}

impl Chain {
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        let mut chain = Self::default();
        let mut prev = NO_SEAL.to_owned();
        seal::each_line(&folder.join(seal::FILE), |line| {
            chain.seals += 1;
            let result = chain.take(line, &prev);
            if let Err(damage) = result {
                chain.damage.get_or_insert(damage);
            }
            prev = Sha256::of(line);
            Ok(())
        })?;
        Ok(chain)
    }

    fn take(&mut self, line: &[u8], prev: &str) -> Result<(), Damage> {
        let highest = self.latest.last_key_value().map_or(0, |(seq, _)| *seq);
        let number = self.seals;
        let at = |seq: u64, kind| Damage { seq, kind };
        let Ok(seal) = serde_json::from_slice::<Seal>(line) else {
            return Err(at(highest + 1, DamageKind::NoSeal { line: number }));
        };
        let result = if seal.prev != prev {
            Err(at(seal.seq.min(highest + 1), DamageKind::ChainBroken { line: number }))
        } else if seal.is_change() {
            self.changed += 1;
            let before = self.latest.get(&seal.seq).filter(|before| !before.is_removal());
            let follows = before.is_some_and(|before| Some(&before.sha256) == seal.sha256_before.as_ref());
            let is_said =
                seal.reason.as_deref().is_some_and(|reason| reason == RETENTION || reason.starts_with("case "));
            if follows && is_said { Ok(()) } else { Err(at(seal.seq, DamageKind::ChangeNotAllowed { line: number })) }
        } else if seal.seq == highest + 1 {
            Ok(())
        } else {
            Err(at(seal.seq.min(highest + 1), DamageKind::OutOfOrder { line: number }))
        };
        self.all.insert(key(&seal));
        self.latest.insert(seal.seq, seal);
        result
    }
}

/// What two copies of a seal have in common, however a receiver wrote it.
fn key(seal: &Seal) -> String {
    serde_json::to_string(seal).unwrap_or_default()
}

/// The first segment of which somebody else holds a seal that the chain has not.
fn contradicted(chain: &Chain, held: &[Seal]) -> Option<Damage> {
    let missing = held.iter().filter(|seal| !chain.all.contains(&key(seal)));
    let seal = missing.min_by_key(|seal| seal.seq)?;
    let is_known = chain.latest.contains_key(&seal.seq);
    let kind = if is_known { DamageKind::OtherSeal } else { DamageKind::SealRemoved };
    Some(Damage { seq: seal.seq, kind })
}

/// The seals in a file of lines: each may stand alone, in an object around it, or behind the head of a syslog line.
fn held_seals(path: &Path) -> Result<Vec<Seal>, VerifyError> {
    let failed = |source| VerifyError::Io { path: path.to_owned(), source };
    let mut seals = Vec::new();
    for line in BufReader::new(File::open(path).map_err(failed)?).lines() {
        let line = line.map_err(failed)?;
        let Some(begin) = line.find('{') else { continue };
        if let Some(Ok(value)) =
            serde_json::Deserializer::from_str(line.get(begin..).unwrap_or_default()).into_iter::<Value>().next()
        {
            seals.extend(find_seal(&value, 0));
        }
    }
    if seals.is_empty() { Err(VerifyError::NoSeals(path.to_owned())) } else { Ok(seals) }
}

fn find_seal(value: &Value, depth: usize) -> Option<Seal> {
    const DEPTH_MAX: usize = 8;
    let object = value.as_object().filter(|_| depth < DEPTH_MAX)?;
    if ["seq", "sha256", "prev"].iter().all(|key| object.contains_key(*key)) {
        return serde_json::from_value(value.clone()).ok();
    }
    object.values().find_map(|inner| match inner {
        // A message as text.
        Value::String(text) if text.starts_with('{') => {
            serde_json::from_str(text).ok().and_then(|value: Value| find_seal(&value, depth + 1))
        }
        inner => find_seal(inner, depth + 1),
    })
}

/// Segments in the folder.
pub(super) fn segments_in(folder: &Path) -> io::Result<BTreeMap<u64, segment::Forms>> {
    Ok(segment::list(folder)?.into_iter().filter(|(_, forms)| forms.is_readable()).collect())
}
