//! What a crash, a loss of power or somebody's hand left in the folder of a journal, mended at the start.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::live::Live;
use crate::event_file::FileTarget;
use crate::seal::{REPAIR, Seal, SealFile};
use crate::segment::{self, FILE_MODE, Forms, Segment};

/// What was mended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// Bytes of a cut line that were removed from the live segment.
    pub cut_bytes: u64,
    /// Bytes of a cut line that were removed from the file of seals.
    pub seal_cut_bytes: u64,
    /// Closed segments without a seal, which have one now.
    pub sealed: Vec<u64>,
    /// Closed segments without a seal that cannot be read.
    pub unreadable: Vec<u64>,
    /// Segments whose rewriting had not ended.
    pub unfinished: u64,
}

pub(super) struct Repaired {
    pub(super) seals: SealFile,
    /// Number of the live segment.
    pub(super) live_seq: u64,
    pub(super) repairs: Repairs,
}

pub(super) fn repair(folder: &Path) -> io::Result<Repaired> {
    let (mut seals, seal_cut_bytes) = SealFile::open(folder)?;
    let mut repairs = Repairs { seal_cut_bytes, ..Repairs::default() };
    for (seq, forms) in segment::list(folder)? {
        end_rewriting(folder, seq, forms, &seals, &mut repairs)?;
    }
    let segments = segment::list(folder)?;
    let live_seq = live_seq(&segments, &seals);
    let unsealed: Vec<u64> = segments.keys().copied().filter(|seq| seals.latest(*seq).is_none()).collect();
    for seq in unsealed.into_iter().filter(|seq| *seq < live_seq) {
        match seal_of(folder, seq) {
            Ok(seal) if seal.lines > 0 => {
                seals.append(Seal { reason: Some(REPAIR.to_owned()), ..seal })?;
                repairs.sealed.push(seq);
            }
            Ok(_) => segment::remove_if_there(&segment::plain_path(folder, seq))?,
            Err(_) => repairs.unreadable.push(seq),
        }
    }
    repairs.cut_bytes = cut_damaged_end(folder, live_seq)?;
    Ok(Repaired { seals, live_seq, repairs })
}

/// The segment that has no seal yet and none after it, or the one after all others.
fn live_seq(segments: &BTreeMap<u64, Forms>, seals: &SealFile) -> u64 {
    let highest = segments.last_key_value().map_or((0, Forms::default()), |(seq, forms)| (*seq, *forms));
    let (seq, forms) = highest;
    let is_live = forms.plain && !forms.compressed && seq > seals.highest();
    if is_live { seq } else { seq.max(seals.highest()) + 1 }
}

/// Ends what compression or retention had begun, or takes it back.
fn end_rewriting(folder: &Path, seq: u64, forms: Forms, seals: &SealFile, repairs: &mut Repairs) -> io::Result<()> {
    let (plain, compressed) = (segment::plain_path(folder, seq), segment::compressed_path(folder, seq));
    if seals.is_removed(seq) {
        repairs.unfinished += 1;
        for path in [plain, compressed, segment::unfinished_path(folder, seq)] {
            segment::remove_if_there(&path)?;
        }
        return Ok(());
    }
    if forms.unfinished {
        repairs.unfinished += 1;
        let path = segment::unfinished_path(folder, seq);
        let is_sealed = seals.latest(seq).is_some_and(|seal| has_lines(&path, seal));
        return if is_sealed { segment::use_unfinished(folder, seq) } else { fs::remove_file(path) };
    }
    if forms.plain && forms.compressed {
        repairs.unfinished += 1;
        // One of the two has the sealed lines; where neither has them, both stay as evidence.
        let latest = seals.latest(seq);
        if latest.is_some_and(|seal| has_lines(&compressed, seal)) {
            return segment::remove_if_there(&plain);
        }
        let plain_hash = File::open(&plain).and_then(segment::plain_hash);
        if plain_hash.is_ok_and(|hash| latest.is_none_or(|seal| seal.sha256 == hash)) {
            return segment::remove_if_there(&compressed);
        }
    }
    Ok(())
}

/// Whether a compressed segment is whole and has the lines that the seal names.
fn has_lines(path: &Path, seal: &Seal) -> bool {
    let hash = || segment::plain_hash(zstd::Decoder::new(File::open(path)?)?);
    segment::is_intact(path).unwrap_or(false) && hash().is_ok_and(|hash: String| hash == seal.sha256)
}

/// The seal of a closed segment that has none.
fn seal_of(folder: &Path, seq: u64) -> io::Result<Seal> {
    let plain = segment::plain_path(folder, seq);
    if plain.exists() {
        // Removes a last line that was cut.
        drop(FileTarget::open(&plain, FILE_MODE)?);
    }
    Ok(Live::of(seq, Segment::open(folder, seq)?.into_lines())?.seal())
}

/// Removes last lines that are no events: a file system may have stored the length before the bytes, which are zero then.
/// Returns how many bytes were removed.
fn cut_damaged_end(folder: &Path, seq: u64) -> io::Result<u64> {
    let path = segment::plain_path(folder, seq);
    if !path.exists() {
        return Ok(0);
    }
    let (mut length, mut good_length) = (0, 0);
    segment::each_line(File::open(&path)?, |line| {
        length += line.len() as u64;
        if line.starts_with(b"{") && line.ends_with(b"}\n") && memchr::memchr(0, line).is_none() {
            good_length = length;
        }
        Ok(())
    })?;
    if good_length < length {
        fs::OpenOptions::new().write(true).open(&path)?.set_len(good_length)?;
    }
    Ok(length - good_length)
}
