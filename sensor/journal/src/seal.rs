//! The seals of a journal: what each closed segment was, in a chain. A seal has the hash of the seal before it, so none can
//! be changed, taken out or put in without changing all that follow; who holds later seals elsewhere can prove it.
//!
//! Retention adds a further seal for a segment whose lines it removed, with the hash before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::segment::{self, FILE_MODE};
use crate::sha256::Sha256;

/// The file of seals in the folder of a journal.
pub(crate) const FILE: &str = "seals.jsonl";
/// `prev` of the first seal.
pub(crate) const NO_SEAL: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// `reason` of a seal that retention made.
pub(crate) const RETENTION: &str = "retention";
/// `reason` of a seal that the next start made, since the segment had none.
pub(crate) const REPAIR: &str = "repair";

/// What a closed segment was. A line of `seals.jsonl`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Number of the segment.
    pub seq: u64,
    /// Earliest time of its events.
    pub first: String,
    /// Latest time of its events.
    pub last: String,
    /// Its lines.
    pub lines: u64,
    /// Bytes of its plain lines.
    pub bytes: u64,
    /// SHA-256 of its plain lines.
    pub sha256: String,
    /// SHA-256 of the line of the seal before this one, without newline; zeros in the first seal.
    pub prev: String,
    /// Hash of the policy in use when it was closed.
    pub policy: String,
    /// Hash of the signatures in use when it was closed.
    pub signatures: String,
    /// Why this seal was made, if not because the segment was closed: `retention`, `repair`, or the number of a case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The setting that retention obeyed, such as `alerts_days`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// SHA-256 of the plain lines before lines were removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256_before: Option<String>,
    /// How many lines were removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines_removed: Option<u64>,
}

impl Seal {
    /// Whether the segment was sealed before, and lines of it were removed since.
    pub const fn is_change(&self) -> bool {
        self.sha256_before.is_some()
    }

    /// Whether nothing is left of the segment.
    pub const fn is_removal(&self) -> bool {
        self.is_change() && self.lines == 0
    }

    /// The seal of this segment after lines of it were removed.
    pub(crate) fn changed(&self, limit: &str, lines: u64, bytes: u64, sha256: String) -> Self {
        Self {
            lines,
            bytes,
            sha256,
            reason: Some(RETENTION.to_owned()),
            limit: Some(limit.to_owned()),
            sha256_before: Some(self.sha256.clone()),
            lines_removed: Some(self.lines.saturating_sub(lines)),
            ..self.clone()
        }
    }
}

/// The seals of a journal, in the order in which they were made.
///
/// # Errors
/// The file cannot be read, or a line is no seal.
pub fn read_seals(folder: &Path) -> io::Result<Vec<Seal>> {
    let mut seals = Vec::new();
    each_line(&folder.join(FILE), |line| {
        seals.push(serde_json::from_slice(line)?);
        Ok(())
    })?;
    Ok(seals)
}

/// Reads the whole lines of a file, without newline. There are none if there is no file.
pub(crate) fn each_line(path: &Path, mut with: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        let Some(whole) = line.strip_suffix(b"\n") else { return Ok(()) };
        with(whole)?;
    }
}

/// The file of seals, to which seals are appended.
pub(crate) struct SealFile {
    file: File,
    length: u64,
    /// Hash of the last line.
    last_hash: String,
    /// The last seal of each segment of which something is left.
    latest: BTreeMap<u64, Seal>,
    /// Segments of which nothing is left.
    removed: BTreeSet<u64>,
    /// The highest number of a segment that was ever sealed.
    highest: u64,
    count: u64,
}

impl SealFile {
    /// Opens the file, or makes it. A last line that was cut is removed; also returns its bytes.
    pub(crate) fn open(folder: &Path) -> io::Result<(Self, u64)> {
        let path = folder.join(FILE);
        let options = OpenOptions::new().read(true).append(true).create(true).mode(FILE_MODE).open(&path);
        let file = options?;
        segment::set_mode(&file, FILE_MODE)?;
        let mut seals = Self {
            file,
            length: 0,
            last_hash: NO_SEAL.to_owned(),
            latest: BTreeMap::new(),
            removed: BTreeSet::new(),
            highest: 0,
            count: 0,
        };
        let mut length = 0;
        let mut last = Vec::new();
        each_line(&path, |line| {
            length += line.len() as u64 + 1;
            line.clone_into(&mut last);
            // What is no seal was damaged; `verify` tells that. The chain goes on.
            if let Ok(seal) = serde_json::from_slice(line) {
                seals.note(seal);
            }
            Ok(())
        })?;
        if length > 0 {
            seals.last_hash = Sha256::of(&last);
        }
        let cut_bytes = seals.file.metadata()?.len().saturating_sub(length);
        if cut_bytes > 0 {
            seals.file.set_len(length)?;
        }
        seals.length = length;
        Ok((seals, cut_bytes))
    }

    /// Appends a seal. When this returns, it is on the disk.
    pub(crate) fn append(&mut self, mut seal: Seal) -> io::Result<()> {
        seal.prev.clone_from(&self.last_hash);
        let mut line = serde_json::to_vec(&seal)?;
        let hash = Sha256::of(&line);
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line).and_then(|()| self.file.sync_data()) {
            // The next seal must not follow the beginning of this one.
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::End(0))?;
            return Err(error);
        }
        self.length += line.len() as u64;
        self.last_hash = hash;
        self.note(seal);
        Ok(())
    }

    fn note(&mut self, seal: Seal) {
        self.count += 1;
        self.highest = self.highest.max(seal.seq);
        if seal.is_removal() {
            self.latest.remove(&seal.seq);
            self.removed.insert(seal.seq);
        } else {
            self.latest.insert(seal.seq, seal);
        }
    }

    /// The last seal of a segment of which something is left.
    pub(crate) fn latest(&self, seq: u64) -> Option<&Seal> {
        self.latest.get(&seq)
    }

    /// Whether the segment was sealed, and nothing is left of it.
    pub(crate) fn is_removed(&self, seq: u64) -> bool {
        self.removed.contains(&seq)
    }

    /// The highest number of a segment that was ever sealed; 0 before.
    pub(crate) const fn highest(&self) -> u64 {
        self.highest
    }

    /// Seals, in all.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }
}
