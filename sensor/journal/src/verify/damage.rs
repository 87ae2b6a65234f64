//! How a journal is not what was sealed.

use std::fmt;

/// The first segment that is not what was sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Number of the segment.
    pub seq: u64,
    /// What is wrong with it.
    pub kind: DamageKind,
}

/// What is wrong with a segment. `line` is a line of `seals.jsonl`, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// Its lines are others.
    Altered,
    /// Its last lines are gone.
    Cut {
        /// Bytes that it has.
        bytes: u64,
        /// Bytes that were sealed.
        sealed: u64,
    },
    /// The compressed file cannot be read.
    Unreadable(String),
    /// Bytes of the compressed file are others, its lines are not.
    FileAltered,
    /// Its file is gone.
    Missing,
    /// It was closed and has no seal.
    Unsealed,
    /// A line is no seal.
    NoSeal {
        /// Which.
        line: u64,
    },
    /// The seal before it is not the one that it names.
    ChainBroken {
        /// Which.
        line: u64,
    },
    /// It is not its turn: seals are missing, doubled or reordered.
    OutOfOrder {
        /// Which.
        line: u64,
    },
    /// The seal tells a change that is not one of retention, or not of the lines that were sealed.
    ChangeNotAllowed {
        /// Which.
        line: u64,
    },
    /// Somebody else holds another seal of it.
    OtherSeal,
    /// Somebody else holds a seal of it, and the journal has none.
    SealRemoved,
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seq = self.seq;
        match &self.kind {
            DamageKind::Altered => write!(formatter, "segment {seq:08}: its lines are not those that were sealed"),
            DamageKind::Cut { bytes, sealed } => {
                write!(formatter, "segment {seq:08}: it was cut: it has {bytes} of {sealed} bytes")
            }
            DamageKind::Unreadable(error) => write!(formatter, "segment {seq:08}: it cannot be read: {error}"),
            DamageKind::FileAltered => {
                write!(formatter, "segment {seq:08}: its file was altered, its lines are those that were sealed")
            }
            DamageKind::Missing => write!(formatter, "segment {seq:08}: its file is missing"),
            DamageKind::Unsealed => write!(formatter, "segment {seq:08}: it is closed and has no seal"),
            DamageKind::NoSeal { line } => {
                write!(formatter, "segment {seq:08}: line {line} of seals.jsonl is no seal")
            }
            DamageKind::ChainBroken { line } => write!(
                formatter,
                "segment {seq:08}: line {line} of seals.jsonl does not follow the line before it: one of them was altered, or \
                 lines between them are missing"
            ),
            DamageKind::OutOfOrder { line } => write!(
                formatter,
                "segment {seq:08}: line {line} of seals.jsonl is out of order: seals are missing, doubled or reordered"
            ),
            DamageKind::ChangeNotAllowed { line } => write!(
                formatter,
                "segment {seq:08}: line {line} of seals.jsonl tells a change that is neither one of retention nor of a case"
            ),
            DamageKind::OtherSeal => write!(formatter, "segment {seq:08}: the seal that the file holds is another one"),
            DamageKind::SealRemoved => {
                write!(formatter, "segment {seq:08}: the file holds a seal of it, and the journal has none")
            }
        }
    }
}
