//! Frames from capture files and from network interfaces.
//!
//! In: files in the pcap and pcapng formats, plain or compressed ([`Files`]); Linux interfaces, by packet socket rings or
//! by libpcap ([`live`]), with settled flows shunted at the driver ([`live::shunt`]); a filter expression. Out: [`Source`],
//! which gives frames in batches and in [`Block`]s whose bytes stay valid while they are used, in the order of time, with
//! counts of what was skipped, dropped or damaged.
//!
//! Not here: what a frame means (that is `decode`'s), which of several workers a frame belongs to, and how errors and
//! warnings are shown to people.
//!
//! Unsafe code is in `live/ring.rs`, `live/ring/memory.rs`, `live/shunt/memory.rs`, `live/shunt/grace.rs`,
//! `live/shunt/bpf.rs`, `live/xdp/queue.rs`, `live/xdp/memory.rs`, `live/xdp/clock.rs`, `live/prefetch.rs` and `live/system/` only.

mod block;
mod classic;
mod error;
mod files;
mod filter;
mod pcapng;
mod reader;
mod record;
mod source;
mod statistics;
#[cfg(test)]
mod testing;
mod window;

pub mod live;

pub use block::Block;
pub use error::CaptureError;
pub use files::{Files, FilesOptions};
pub use source::Source;
pub use statistics::{FileFailure, Position, SourceStatistics, Warning};
pub use window::ReadAhead;

/// How many frames a batch holds at most.
pub const BATCH_FRAMES_MAX: usize = 128;

/// Captured bytes of a frame at most; a record that claims more is taken for damage. Programs that write captures have the
/// same limit.
pub const FRAME_BYTES_MAX: usize = 262_144;

/// How many warnings a source keeps; later ones are only counted.
pub const WARNINGS_MAX: usize = 1024;
