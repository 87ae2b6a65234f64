//! Reads all segments, on all CPUs, and compares each with its seal.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{Chain, Damage, DamageKind, Verified, segments_in};
use crate::seal::Seal;
use crate::segment::{self, Forms, Segment};
use crate::sha256::Sha256;

/// The segments that are not what was sealed. Counts the others.
pub(super) fn verify_all(folder: &Path, chain: &Chain, verified: &mut Verified) -> io::Result<Vec<Damage>> {
    let present = segments_in(folder)?;
    let highest = present.keys().next_back().copied().unwrap_or_default();
    let (mut sealed, mut damages) = (Vec::new(), Vec::new());
    for (seq, forms) in &present {
        match chain.latest.get(seq) {
            // Its removal had not ended: that is what the seal says.
            Some(seal) if seal.is_removal() => {}
            Some(seal) => sealed.push((seal, *forms)),
            None if *seq == highest && forms.plain => verified.unsealed_lines = lines_of(folder, *seq)?,
            None => damages.push(Damage { seq: *seq, kind: DamageKind::Unsealed }),
        }
    }
    let is_missing = |seal: &&Seal| !seal.is_removal() && !present.contains_key(&seal.seq);
    let missing: Vec<u64> = chain.latest.values().filter(is_missing).map(|seal| seal.seq).collect();
    for seq in missing {
        if let Some(kind) = confirmed(folder, seq, DamageKind::Missing)? {
            damages.push(Damage { seq, kind });
        }
    }
    let next = AtomicUsize::new(0);
    let results = Mutex::new((&mut *verified, damages));
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let read = || {
            while let Some((seal, forms)) = sealed.get(next.fetch_add(1, Ordering::Relaxed)) {
                let kind = compare(folder, seal, *forms)
                    .and_then(|kind| kind.map_or(Ok(None), |kind| confirmed(folder, seal.seq, kind)));
                let kind = kind.unwrap_or_else(|error| Some(DamageKind::Unreadable(error.to_string())));
                let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                match kind {
                    None => count(results.0, seal),
                    Some(kind) => results.1.push(Damage { seq: seal.seq, kind }),
                }
            }
        };
        (0..cpus.min(sealed.len())).for_each(|_| drop(scope.spawn(read)));
    });
    Ok(results.into_inner().unwrap_or_else(PoisonError::into_inner).1)
}

fn count(verified: &mut Verified, seal: &Seal) {
    verified.segments += 1;
    verified.lines += seal.lines;
    verified.bytes += seal.bytes;
    if verified.first.is_empty() || seal.first < verified.first {
        verified.first.clone_from(&seal.first);
    }
    if seal.last > verified.last {
        verified.last.clone_from(&seal.last);
    }
}

/// What is wrong with a segment, if anything is.
fn compare(folder: &Path, seal: &Seal, forms: Forms) -> io::Result<Option<DamageKind>> {
    let mut hash = Sha256::new();
    let (mut lines, mut bytes) = (0, 0);
    let segment = match Segment::open(folder, seal.seq) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(DamageKind::Missing)),
        opened => opened?,
    };
    let is_compressed = matches!(segment, Segment::Compressed(_));
    let read = segment::each_chunk(segment.into_lines(), |chunk| {
        hash.update(chunk);
        bytes += chunk.len() as u64;
        lines += memchr::memchr_iter(b'\n', chunk).count() as u64;
        Ok(())
    });
    if let Err(error) = read {
        return Ok(Some(DamageKind::Unreadable(error.to_string())));
    }
    if bytes < seal.bytes {
        return Ok(Some(DamageKind::Cut { bytes, sealed: seal.bytes }));
    }
    if hash.hex() != seal.sha256 || lines != seal.lines || bytes != seal.bytes {
        return Ok(Some(DamageKind::Altered));
    }
    // Bytes that no decoder looks at may be altered as well, also of a file beside the one that was read.
    let path = segment::compressed_path(folder, seal.seq);
    if is_compressed || forms.compressed {
        return match segment::is_intact(&path) {
            Ok(true) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Ok(false) => Ok(Some(DamageKind::FileAltered)),
            Err(error) => Err(error),
        };
    }
    Ok(None)
}

/// The same damage, looked at again: the sensor may have compressed or rewritten the segment since the seals were read.
fn confirmed(folder: &Path, seq: u64, kind: DamageKind) -> io::Result<Option<DamageKind>> {
    let chain = Chain::read(folder)?;
    let Some(seal) = chain.latest.get(&seq) else { return Ok(Some(kind)) };
    if seal.is_removal() {
        return Ok(None);
    }
    let forms = segments_in(folder)?.remove(&seq).unwrap_or_default();
    compare(folder, seal, forms)
}

fn lines_of(folder: &Path, seq: u64) -> io::Result<u64> {
    let mut lines = 0;
    segment::each_chunk(Segment::open(folder, seq)?.into_lines(), |chunk| {
        lines += memchr::memchr_iter(b'\n', chunk).count() as u64;
        Ok(())
    })?;
    Ok(lines)
}
