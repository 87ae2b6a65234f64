//! The sensor's record of what it saw: event records, their encoding as Suricata EVE JSON, and the journal to which the
//! lines are appended.
//!
//! In: plain [`record`]s of addresses, strings and numbers. Out: [`eve`] lines, written by [`JsonLines`] (replays), by
//! [`Journal`] (a running sensor), or by [`EventFile`] (a running sensor that writes one file).
//!
//! # The folder of a journal
//!
//! | file | content |
//! |---|---|
//! | `NNNNNNNN.jsonl` | the live segment: plain lines; a closed one until it is compressed |
//! | `NNNNNNNN.jsonl.zst` | a closed segment |
//! | `seals.jsonl` | a [`Seal`] for each closed segment, each with the hash of the seal before it |
//! | `NNNNNNNN.state` | what the program saved of its open incidents |
//! | `lock` | held by the program that writes |
//!
//! [`JournalReader`] follows a journal while it is written, [`verify`](verify()) finds damage, [`export`](export()) copies a
//! span of time. Offsets are in bytes of plain lines, whether a segment is compressed or not.
//!
//! Not here: packets and their parsers, which facts an event has (the program fills in the records), which events are written, and the sending of events over a
//! network. This crate depends on no other crate of the project, so a program that reads the journal links no parser of
//! hostile bytes.

#![forbid(unsafe_code)]

pub mod record;

pub mod community_id;
mod address_text;
pub mod json;
pub mod eve;

mod lines;
mod event_file;

mod sha256;
mod segment;
mod seal;
mod seal_reader;
mod journal;
mod reader;
mod replace_file;
mod verify;
mod export;

pub use address_text::names_an_address;
pub use event_file::{EventFile, Target, Written, end_of_last_line};
pub use export::{Exported, export};
pub use journal::{Journal, JournalOptions, JournalStatus, Repairs, Retention};
pub use lines::JsonLines;
pub use reader::{Cursor, JournalReader, Lag, Lost, ReadError, StartAt};
pub use record::Record;
pub use replace_file::replace_file;
pub use seal::{Seal, read_seals};
pub use seal_reader::SealReader;
pub use verify::{Damage, DamageKind, Verified, VerifyError, verify};

/// The longest line that is read back.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// How many bytes are gathered before they are written.
pub const BUFFER_BYTES: usize = 256 * 1024;
