//! The frame: bytes as captured, with what the capture says of them.

use crate::LinkType;

/// A frame as captured.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Capture time, nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// Place in the capture, from 1, over all its files.
    pub number: u64,
    /// Length on the wire in bytes; `data` may be shorter, never longer.
    pub wire_length: u32,
    /// What the first header is.
    pub link_type: LinkType,
    /// Which interface of the capture saw it, from 0; its name is the source's to tell.
    pub interface: u16,
    /// The captured bytes, from the link header on.
    pub data: &'a [u8],
}
