//! Frames, and where they come from. A [`Source`] gives them in batches whose bytes stay valid while the batch is
//! being worked on; nothing is copied on the way.
//!
//! Capture files are read by [`Files`]: `reader` reads one of them, record by record, through a `window` on it;
//! `classic` and `pcapng` know the two formats. Interfaces are listened to by [`live`].

mod block;
mod classic;
mod files;
mod filter;
#[cfg(test)]
mod forge;
mod pcapng;
mod reader;
mod record;
mod window;

pub mod live;

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::PathBuf;

use vigie_wire::Frame;

pub use block::Block;
pub use files::{Files, FilesOptions};
pub use window::ReadAhead;

/// How many frames a batch holds at most.
pub const BATCH_FRAMES_MAX: usize = 128;

/// How many bytes of a frame may have been captured; a record that claims more is taken for damage. The same bound
/// as that of the programs that write captures.
pub const FRAME_BYTES_MAX: usize = 262_144;

/// How many warnings a source keeps; later ones are only counted.
pub const WARNINGS_MAX: usize = 1024;

/// Where frames come from.
pub trait Source {
    /// Shows the next frames, at most [`BATCH_FRAMES_MAX`] of them and never none, to `visit`. False at the end;
    /// true without a visit may be a source that waited in vain.
    ///
    /// # Errors
    /// Frames cannot be had any more; what was seen before stays good.
    fn next_batch(&mut self, visit: &mut dyn FnMut(&[Frame<'_>])) -> Result<bool, CaptureError>;

    /// Puts the next frames into `block`, in place of what was there. False at the end; true with an empty block may be a source
    /// that waited in vain.
    ///
    /// # Errors
    /// Frames cannot be had any more; those in the block stay good.
    fn next_block(&mut self, block: &mut Block) -> Result<bool, CaptureError> {
        copy_block(self, block)
    }

    /// By which another, without the source in hand, can read what the next block will be made of. `None` where that might make
    /// it wait, or is of no use. Frames and warnings are the same whether it is used or not.
    fn read_ahead(&self) -> Option<ReadAhead> {
        None
    }

    /// What was read up to now.
    fn statistics(&self) -> SourceStatistics;

    /// How far the reading is.
    fn position(&self) -> Position;

    /// How many interfaces are known by now: no frame given yet is of any other.
    fn interfaces(&self) -> usize;

    /// The name of an interface, where the capture tells it.
    fn interface_name(&self, interface: u16) -> Option<&str>;
}

/// A block of copied batches.
fn copy_block<S: Source + ?Sized>(source: &mut S, block: &mut Block) -> Result<bool, CaptureError> {
    block.clear();
    block.bytes.clear();
    block.start = 0;
    while !block.is_full() {
        let before = block.len();
        if !source.next_batch(&mut |frames| frames.iter().for_each(|frame| block.push(frame)))? {
            return Ok(!block.is_empty());
        }
        if block.len() == before {
            break;
        }
    }
    Ok(true)
}

/// How far the reading is, in bytes of the files as they lie on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Bytes read.
    pub bytes_done: u64,
    /// Bytes to read in all; `None` if one of the files is a pipe.
    pub bytes_total: Option<u64>,
}

/// What a source gave and what it had to leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceStatistics {
    /// Frames given.
    pub frames: u64,
    /// Captured bytes of the frames given.
    pub bytes: u64,
    /// Times of the earliest and the latest frame of a capture file, nanoseconds since the Unix epoch.
    pub seen_ns: Option<(u64, u64)>,
    /// Frames that the filter did not let pass.
    pub frames_filtered: u64,
    /// Frames passed over because the link type of their interface is unsupported, or the interface unknown.
    pub frames_unsupported: u64,
    /// What was odd, in the order in which it was met; at most [`WARNINGS_MAX`].
    pub warnings: Vec<Warning>,
    /// Warnings beyond that bound.
    pub warnings_left_out: u64,
}

impl SourceStatistics {
    /// Counts frames given: the time of each, and its captured bytes.
    #[inline]
    fn count(&mut self, frames: impl Iterator<Item = (u64, u64)>) {
        let (mut first_ns, mut last_ns) = self.seen_ns.unwrap_or((u64::MAX, 0));
        let (mut count, mut total) = (0, 0);
        for (timestamp_ns, bytes) in frames {
            first_ns = first_ns.min(timestamp_ns);
            last_ns = last_ns.max(timestamp_ns);
            total += bytes;
            count += 1;
        }
        if count > 0 {
            self.seen_ns = Some((first_ns, last_ns));
            self.frames += count;
            self.bytes += total;
        }
    }

    fn warn(&mut self, warning: Warning) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(warning);
        } else {
            self.warnings_left_out += 1;
        }
    }
}

/// Something odd in a capture that did not keep the rest from being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// In which file.
    pub file: PathBuf,
    /// Where in the file, in bytes; of a compressed file in bytes of its contents.
    pub offset: u64,
    /// What was odd and what was done about it.
    pub what: Cow<'static, str>,
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: at byte {}: {}", self.file.display(), self.offset, self.what)
    }
}

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file is missing or unreadable.
    #[error("{}: {source}", file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No file has a name of that pattern, or it is none.
    #[error("{pattern}: {reason}")]
    Pattern {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is no capture.
    #[error("{}: not a pcap or pcapng capture: {seen}", file.display())]
    NotACapture {
        /// Which file.
        file: PathBuf,
        /// What stands in it instead.
        seen: String,
    },
    /// The frames of the file begin with a header that is not understood.
    #[error("{}: link type {number} ({name}) is not supported", file.display())]
    LinkType {
        /// Which file.
        file: PathBuf,
        /// The link type's number in capture files.
        number: u16,
        /// The link type's name.
        name: &'static str,
    },
    /// The filter expression cannot be compiled.
    #[error("filter '{expression}' cannot be used on link type {link_type}: {reason}")]
    Filter {
        /// As given.
        expression: String,
        /// The name of the link type for which it was compiled.
        link_type: &'static str,
        /// What the compiler said.
        reason: String,
    },
    /// An interface cannot be listened to.
    #[error("interface {interface}: {reason}; {mend}")]
    Interface {
        /// Which.
        interface: String,
        /// What is wrong.
        reason: String,
        /// What would mend it.
        mend: String,
    },
    /// An option of live capture makes no sense.
    #[error("{option}: {reason}")]
    Option {
        /// Which.
        option: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
}
