//! The sensor's record of what it saw: event records, their encoding as Suricata EVE JSON, and the files to which the
//! lines are appended.
//!
//! In: plain [`record`]s of addresses, strings and numbers. Out: [`eve`] lines, written by [`JsonLines`] (replays) or
//! by [`Journal`] (a running sensor).
//!
//! Not here: packets and their parsers, which facts an event has (the program fills in the records), which events are written, and the sending of events over a
//! network. This crate depends on no other crate of the project, so a program that reads the journal links no parser of
//! hostile bytes.

#![forbid(unsafe_code)]

pub mod record;

pub mod community_id;
pub mod json;
pub mod eve;

mod lines;
mod file;

pub use file::{Journal, Target, Written};
pub use lines::JsonLines;
pub use record::Record;

/// How many bytes are gathered before they are written.
pub const BUFFER_BYTES: usize = 256 * 1024;
