//! The pcapng format: blocks in sections, with frames of several interfaces (draft-ietf-opsawg-pcapng).
//!
//! Section headers, interface descriptions and packet blocks are read; other blocks are skipped. Of the options only an
//! interface's name and clock are read.

mod interface;
mod packet;

use std::borrow::Cow;

use self::interface::Interface;
use self::packet::Packet;
use super::record::{ByteOrder, Interfaces, Records, ScanEnd};
use vigie_wire::LinkType;

/// Bytes at most of a block that is read; one that claims more is taken for damage. Other blocks may be longer.
const BLOCK_BYTES_MAX: usize = 16 << 20;
/// Type and length in front of a block's body.
const BLOCK_HEADER_BYTES: usize = 8;
/// A block without a body: its header, and the length once more behind it.
const BLOCK_BYTES_MIN: usize = 12;

/// Block types (§4). The section header's reads the same in both byte orders.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

const NO_BYTE_ORDER: &str = "a section whose byte order is not told; what follows is not read";

/// The text of a warning.
type Message = Cow<'static, str>;

/// Reads the blocks of a file.
#[derive(Debug)]
pub(super) struct Pcapng {
    order: ByteOrder,
    /// Whether the present section has a known version. If not, it is skipped.
    is_understood: bool,
    /// Interfaces of the present section.
    interfaces: Vec<Interface>,
    /// How many interfaces earlier sections had.
    interfaces_before: usize,
    /// Time of the last frame. Simple packet blocks have no time of their own and get this one.
    last_timestamp_ns: u64,
    warned_of_missing_interface: bool,
    first_link_type: Option<LinkType>,
    any_supported: bool,
}

#[derive(Clone, Copy, Debug)]
struct Block<'a> {
    kind: u32,
    length: usize,
    body: &'a [u8],
}

impl Pcapng {
    /// Whether a file that begins with these bytes is of this format. Its first block may still be unreadable.
    pub(super) fn recognises(start: [u8; 4]) -> bool {
        u32::from_be_bytes(start) == SECTION_HEADER
    }

    /// Looks at the first section header, without consuming it.
    ///
    /// # Errors
    /// Tells what is wrong with it.
    pub(super) fn open(bytes: &[u8]) -> Result<Self, String> {
        let mut pcapng = Self {
            order: ByteOrder::Little,
            is_understood: true,
            interfaces: Vec::new(),
            interfaces_before: 0,
            last_timestamp_ns: 0,
            warned_of_missing_interface: false,
            first_link_type: None,
            any_supported: false,
        };
        match pcapng.block(bytes).and_then(|block| pcapng.begin_section(block.body)) {
            Ok(_) if pcapng.is_understood => Ok(pcapng),
            Ok(_) => Err("a pcapng section header of a version other than 1.0".to_owned()),
            Err(ScanEnd::Damaged(message)) => Err(format!("a pcapng section header, but {message}")),
            Err(_) => Err(format!("a pcapng section header cut short at {} bytes", bytes.len())),
        }
    }

    /// The first interface's link type, if no interface read so far is supported.
    pub(super) fn unsupported(&self) -> Option<LinkType> {
        self.first_link_type.filter(|_| !self.any_supported)
    }

    /// Finds records from `at` on, until something ends the scan. `at` is then behind the last block read.
    pub(super) fn scan(
        &mut self,
        bytes: &[u8],
        at: &mut usize,
        records: &mut Records,
        known: &mut Interfaces,
    ) -> ScanEnd {
        while !records.is_full() {
            let rest = bytes.get(*at..).unwrap_or_default();
            let body_start = *at + BLOCK_HEADER_BYTES;
            let block = match self.block(rest) {
                Ok(block) => block,
                Err(end) => return end,
            };
            let warning = match block.kind {
                SECTION_HEADER => match self.begin_section(block.body) {
                    Ok(warning) => warning,
                    Err(end) => return end,
                },
                _ if !self.is_understood => None,
                ENHANCED_PACKET | OBSOLETE_PACKET | SIMPLE_PACKET => match self.packet(block) {
                    Packet::Record(mut record) => {
                        record.start += body_start;
                        records.push(record);
                        None
                    }
                    Packet::NoInterface(record) => {
                        records.push(record);
                        let again = std::mem::replace(&mut self.warned_of_missing_interface, true);
                        (!again)
                            .then_some("a frame of an interface that is not described; such frames are skipped".into())
                    }
                    Packet::Damaged(message) => return ScanEnd::Damaged(message),
                },
                INTERFACE_DESCRIPTION => match self.add_interface(block.body, known) {
                    Ok(warning) => warning,
                    Err(message) => return ScanEnd::Damaged(message),
                },
                _ => None,
            };
            let start = *at;
            *at += block.length;
            if let Some(message) = warning {
                return ScanEnd::Warning(start, message);
            }
        }
        ScanEnd::Full
    }

    /// The block at the start of `rest`: whole, and with the same length before and behind.
    #[inline]
    fn block<'a>(&self, rest: &'a [u8]) -> Result<Block<'a>, ScanEnd> {
        let Some(&[k0, k1, k2, k3, l0, l1, l2, l3, m0, m1, m2, m3]) = rest.first_chunk::<BLOCK_BYTES_MIN>() else {
            return Err(ScanEnd::Needs(BLOCK_BYTES_MIN));
        };
        let mut order = self.order;
        let kind = order.u32([k0, k1, k2, k3]);
        if kind == SECTION_HEADER {
            order = section_order([m0, m1, m2, m3]).ok_or(ScanEnd::Damaged(NO_BYTE_ORDER))?;
        }
        let length = order.u32([l0, l1, l2, l3]) as usize;
        if length < BLOCK_BYTES_MIN {
            return Err(ScanEnd::Damaged("a block shorter than any can be; what follows is not read"));
        }
        let is_read =
            matches!(kind, SECTION_HEADER | INTERFACE_DESCRIPTION | OBSOLETE_PACKET | SIMPLE_PACKET | ENHANCED_PACKET);
        if length > BLOCK_BYTES_MAX && !is_read {
            return Err(ScanEnd::Skip(length.next_multiple_of(4) as u64));
        }
        if length > BLOCK_BYTES_MAX {
            return Err(ScanEnd::Damaged("a block longer than any should be; what follows is not read"));
        }
        let mut whole = rest.get(..length).ok_or(ScanEnd::Needs(length))?;
        // A block's length should be a multiple of four. Some writers do not count the padding that they write (§3.1).
        if !length.is_multiple_of(4) && !ends_with(whole, order, length) {
            whole = rest.get(..length.next_multiple_of(4)).ok_or(ScanEnd::Needs(length.next_multiple_of(4)))?;
        }
        let (body, trailer) = whole
            .get(BLOCK_HEADER_BYTES..)
            .and_then(<[u8]>::split_last_chunk::<4>)
            .ok_or(ScanEnd::Damaged("a block shorter than any can be; what follows is not read"))?;
        if order.u32(*trailer) as usize != length {
            return Err(ScanEnd::Damaged("a block whose two lengths differ; it and what follows are not read"));
        }
        Ok(Block { kind, length: whole.len(), body })
    }

    /// Reads a section header (§4.1). Returns a message if its version is odd.
    fn begin_section(&mut self, body: &[u8]) -> Result<Option<Message>, ScanEnd> {
        let Some((&[m0, m1, m2, m3, major0, major1, minor0, minor1, ..], _)) = body.split_first_chunk::<16>() else {
            return Err(ScanEnd::Damaged("a section header shorter than any can be; what follows is not read"));
        };
        self.order = section_order([m0, m1, m2, m3]).ok_or(ScanEnd::Damaged(NO_BYTE_ORDER))?;
        self.interfaces_before = self.interfaces_before.saturating_add(self.interfaces.len());
        self.interfaces.clear();
        let (major, minor) = (self.order.u16([major0, major1]), self.order.u16([minor0, minor1]));
        self.is_understood = major == 1;
        Ok(match (major, minor) {
            // Some programs wrote minor version 2 by mistake; readers treat it as 0 (§4.1).
            (1, 0 | 2) => None,
            (1, _) => Some(format!("a section of version 1.{minor}, read as one of version 1.0").into()),
            _ => Some(format!("a section of version {major}.{minor}, where only 1.0 is known; it is skipped").into()),
        })
    }
}

fn ends_with(block: &[u8], order: ByteOrder, length: usize) -> bool {
    block.last_chunk::<4>().is_some_and(|trailer| order.u32(*trailer) as usize == length)
}

fn section_order(magic: [u8; 4]) -> Option<ByteOrder> {
    [ByteOrder::Little, ByteOrder::Big].into_iter().find(|order| order.u32(magic) == BYTE_ORDER_MAGIC)
}

#[cfg(test)]
mod tests;
