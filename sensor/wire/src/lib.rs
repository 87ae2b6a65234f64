//! Bytes from the wire, before anything is known of them: the [`Frame`] as captured, the one [`Cursor`] that reads
//! bytes, the [`assembly`] of pieces into a stream, and the list of link types.
//!
//! In: bytes. Out: numbers, slices, contiguous bytes. No other protocol is known here, and nothing is opened or read from.

#![forbid(unsafe_code)]

pub mod assembly;
mod cursor;
mod frame;
mod link_type;

pub use cursor::Cursor;
pub use frame::Frame;
pub use link_type::LinkType;
