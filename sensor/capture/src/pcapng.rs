//! The pcapng format: blocks in sections, frames of several interfaces (draft-ietf-opsawg-pcapng). Section header,
//! interface description, enhanced, simple and the obsolete packet block are read, other blocks passed over. Options
//! are read only where an interface's clock and name are told.

use std::borrow::Cow;

use super::FRAME_BYTES_MAX;
use super::record::{ByteOrder, Halt, INTERFACES_MAX, Interfaces, Record, Records};
use vigie_wire::LinkType;

/// How long a block may be; one that claims more is taken for damage.
const BLOCK_BYTES_MAX: usize = 16 << 20;
/// Type and length in front of a block's body.
const BLOCK_HEADER_BYTES: usize = 8;
/// A block without a body: header, and the length again behind.
const BLOCK_BYTES_MIN: usize = 12;
/// How much of an interface's name is kept.
const NAME_BYTES_MAX: usize = 255;

/// Block types (draft-ietf-opsawg-pcapng §4). That of the section header reads the same in both byte orders.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

const NO_BYTE_ORDER: &str = "a section whose byte order is not told; what follows is not read";

/// Option codes of an interface description (§4.2).
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;

/// Something odd that does not hinder.
type Oddity = Cow<'static, str>;

/// Reads the blocks of a file.
#[derive(Debug)]
pub(super) struct Pcapng {
    order: ByteOrder,
    /// Whether the present section is of a known version; if not, it is passed over.
    is_understood: bool,
    /// Those of the present section.
    interfaces: Vec<Interface>,
    /// Interfaces of former sections.
    interfaces_before: usize,
    /// Simple packet blocks have no time; they get that of the frame before.
    last_timestamp_ns: u64,
    warned_of_missing_interface: bool,
    first_link_type: Option<LinkType>,
    any_supported: bool,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link_type: LinkType,
    /// As the whole capture numbers it; `None` for one too many.
    number: Option<u16>,
    supported: bool,
    frame_bytes_max: u32,
    clock: Clock,
}

impl Pcapng {
    /// Whether a file that begins so is of this format. Its first block must still be readable.
    pub(super) fn recognises(start: [u8; 4]) -> bool {
        u32::from_be_bytes(start) == SECTION_HEADER
    }

    /// Looks at the first section header. Nothing of it is consumed.
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
        match pcapng.block(bytes).and_then(|block| pcapng.enter_section(block.body)) {
            Ok(_) if pcapng.is_understood => Ok(pcapng),
            Ok(_) => Err("a pcapng section header of a version other than 1.0".to_owned()),
            Err(Halt::Damaged(what)) => Err(format!("a pcapng section header, but {what}")),
            Err(_) => Err(format!("a pcapng section header cut short at {} bytes", bytes.len())),
        }
    }

    /// The first interface's link type if no interface met up to now is supported.
    pub(super) fn unsupported(&self) -> Option<LinkType> {
        self.first_link_type.filter(|_| !self.any_supported)
    }

    /// Finds records from `at` on until something halts it. `at` is then behind the last block read.
    pub(super) fn scan(&mut self, bytes: &[u8], at: &mut usize, records: &mut Records, known: &mut Interfaces) -> Halt {
        while !records.is_full() {
            let rest = bytes.get(*at..).unwrap_or_default();
            let body_start = *at + BLOCK_HEADER_BYTES;
            let block = match self.block(rest) {
                Ok(block) => block,
                Err(halt) => return halt,
            };
            let odd = match block.kind {
                SECTION_HEADER => match self.enter_section(block.body) {
                    Ok(odd) => odd,
                    Err(halt) => return halt,
                },
                _ if !self.is_understood => None,
                ENHANCED_PACKET | OBSOLETE_PACKET | SIMPLE_PACKET => match self.packet(block) {
                    Found::Record(mut record) => {
                        record.start += body_start;
                        records.push(record);
                        None
                    }
                    Found::NoInterface(record) => {
                        records.push(record);
                        let again = std::mem::replace(&mut self.warned_of_missing_interface, true);
                        (!again).then_some("a frame of an interface that is not described; such are passed over".into())
                    }
                    Found::Damage(what) => return Halt::Damaged(what),
                },
                INTERFACE_DESCRIPTION => match self.describe(block.body, known) {
                    Ok(odd) => odd,
                    Err(what) => return Halt::Damaged(what),
                },
                _ => None,
            };
            let start = *at;
            *at += block.length;
            if let Some(odd) = odd {
                return Halt::Odd(start, odd);
            }
        }
        Halt::Full
    }

    /// The record of the block at the start of `rest`, which is all that is left, with as many of its bytes as
    /// there are.
    pub(super) fn cut_record(&mut self, rest: &[u8]) -> Option<Record> {
        let (header, body) = rest.split_first_chunk::<BLOCK_HEADER_BYTES>()?;
        let &[k0, k1, k2, k3, ..] = header;
        let kind = if self.is_understood { self.order.u32([k0, k1, k2, k3]) } else { 0 };
        let fixed = match kind {
            ENHANCED_PACKET | OBSOLETE_PACKET => 20,
            SIMPLE_PACKET => 4,
            _ => return None,
        };
        let there = u32::try_from(body.len().checked_sub(fixed).filter(|&there| there > 0)?).ok()?;
        let block = Block { kind, length: usize::MAX, body };
        let mut record = match self.packet_with(block, usize::MAX) {
            Found::Record(record) | Found::NoInterface(record) => record,
            Found::Damage(_) => return None,
        };
        record.start = record.start.saturating_add(BLOCK_HEADER_BYTES);
        record.length = record.length.min(there);
        Some(record)
    }

    /// The block at the start of `rest`: whole, and of the same length before and behind.
    #[inline]
    fn block<'a>(&self, rest: &'a [u8]) -> Result<Block<'a>, Halt> {
        let Some(&[k0, k1, k2, k3, l0, l1, l2, l3, m0, m1, m2, m3]) = rest.first_chunk::<BLOCK_BYTES_MIN>() else {
            return Err(Halt::Needs(BLOCK_BYTES_MIN));
        };
        let mut order = self.order;
        let kind = order.u32([k0, k1, k2, k3]);
        if kind == SECTION_HEADER {
            order = section_order([m0, m1, m2, m3]).ok_or(Halt::Damaged(NO_BYTE_ORDER))?;
        }
        let length = order.u32([l0, l1, l2, l3]) as usize;
        if length < BLOCK_BYTES_MIN {
            return Err(Halt::Damaged("a block shorter than any can be; what follows is not read"));
        }
        if length > BLOCK_BYTES_MAX {
            return Err(Halt::Damaged("a block longer than any should be; what follows is not read"));
        }
        let whole = rest.get(..length).ok_or(Halt::Needs(length))?;
        let (body, trailer) = whole
            .get(BLOCK_HEADER_BYTES..)
            .and_then(<[u8]>::split_last_chunk::<4>)
            .ok_or(Halt::Damaged("a block shorter than any can be; what follows is not read"))?;
        if order.u32(*trailer) as usize != length {
            return Err(Halt::Damaged("a block whose two lengths differ; it and what follows are not read"));
        }
        Ok(Block { kind, length, body })
    }

    /// Reads a section header (§4.1). What is odd about it comes back.
    fn enter_section(&mut self, body: &[u8]) -> Result<Option<Oddity>, Halt> {
        let Some((&[m0, m1, m2, m3, major0, major1, minor0, minor1, ..], _)) = body.split_first_chunk::<16>() else {
            return Err(Halt::Damaged("a section header shorter than any can be; what follows is not read"));
        };
        self.order = section_order([m0, m1, m2, m3]).ok_or(Halt::Damaged(NO_BYTE_ORDER))?;
        self.interfaces_before = self.interfaces_before.saturating_add(self.interfaces.len());
        self.interfaces.clear();
        let (major, minor) = (self.order.u16([major0, major1]), self.order.u16([minor0, minor1]));
        self.is_understood = major == 1;
        Ok(match (major, minor) {
            // Minor version 2 was written by mistake and is to be read as 0.
            (1, 0 | 2) => None,
            (1, _) => Some(format!("a section of version 1.{minor}, read as one of version 1.0").into()),
            _ => {
                Some(format!("a section of version {major}.{minor}, where only 1.0 is known; it is passed over").into())
            }
        })
    }

    /// Reads an interface description (§4.2). What is odd about it comes back.
    fn describe(&mut self, body: &[u8], known: &mut Interfaces) -> Result<Option<Oddity>, &'static str> {
        let Some((&[link0, link1, _, _, s0, s1, s2, s3], options)) = body.split_first_chunk::<8>() else {
            return Err("an interface description too short; what follows is not read");
        };
        if self.interfaces.len() >= INTERFACES_MAX {
            return Ok(None);
        }
        let link_type = LinkType::from_file(u32::from(self.order.u16([link0, link1])));
        let snapshot = self.order.u32([s0, s1, s2, s3]);
        let (name, clock) = self.interface_options(options);
        let number = known.number(name, self.interfaces_before.saturating_add(self.interfaces.len()), link_type);
        let supported = link_type.is_supported() && number.is_some();
        self.first_link_type.get_or_insert(link_type);
        self.any_supported |= supported;
        self.interfaces.push(Interface {
            link_type,
            number,
            supported,
            frame_bytes_max: if snapshot == 0 { u32::MAX } else { snapshot },
            clock,
        });
        Ok((!supported).then(|| {
            let (number, name) = (link_type.0, link_type.name());
            format!("an interface of link type {number} ({name}), which is not supported; its frames are passed over")
                .into()
        }))
    }

    fn interface_options(&self, mut options: &[u8]) -> (Option<String>, Clock) {
        let mut name = None;
        let mut resolution = 6;
        let mut offset_seconds = 0;
        while let Some((&[c0, c1, l0, l1], rest)) = options.split_first_chunk::<4>() {
            let length = usize::from(self.order.u16([l0, l1]));
            let Some(value) = rest.get(..length) else { break };
            match (self.order.u16([c0, c1]), value) {
                (0, _) => break,
                (IF_NAME, text) if !text.is_empty() => {
                    let text = text.get(..NAME_BYTES_MAX).unwrap_or(text);
                    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
                    name = Some(String::from_utf8_lossy(text).into_owned());
                }
                (IF_TSRESOL, &[byte, ..]) => resolution = byte,
                (IF_TSOFFSET, value) => {
                    if let Some(seconds) = value.first_chunk::<8>() {
                        offset_seconds = self.order.u64(*seconds) as i64;
                    }
                }
                _ => {}
            }
            options = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        (name, Clock::new(resolution, offset_seconds))
    }

    #[inline]
    fn packet(&mut self, block: Block<'_>) -> Found {
        self.packet_with(block, block.body.len())
    }

    /// The record of a packet block, its place counted from the body's start. `body_length` is what the body should
    /// have.
    #[inline]
    fn packet_with(&mut self, block: Block<'_>, body_length: usize) -> Found {
        if block.kind == SIMPLE_PACKET {
            return self.simple_packet(block.body, body_length);
        }
        let Some(&[i0, i1, i2, i3, h0, h1, h2, h3, t0, t1, t2, t3, c0, c1, c2, c3, w0, w1, w2, w3]) =
            block.body.first_chunk::<20>()
        else {
            return Found::Damage("a packet block too short; it and what follows are not read");
        };
        let order = self.order;
        // The obsolete block tells the interface in 16 bits, and in the other 16 how many frames were lost (§ appendix).
        let interface = if block.kind == ENHANCED_PACKET {
            order.u32([i0, i1, i2, i3]) as usize
        } else {
            usize::from(order.u16([i0, i1]))
        };
        let ticks = u64::from(order.u32([h0, h1, h2, h3])) << 32 | u64::from(order.u32([t0, t1, t2, t3]));
        let captured = order.u32([c0, c1, c2, c3]);
        let wire = order.u32([w0, w1, w2, w3]);
        if captured as usize > FRAME_BYTES_MAX || captured as usize > body_length - 20 {
            return Found::Damage("a frame longer than its block or than any can be; it and what follows are not read");
        }
        let Some(interface) = self.interfaces.get(interface) else {
            return Found::NoInterface(self.no_interface(wire));
        };
        self.last_timestamp_ns = interface.clock.nanoseconds(ticks);
        Found::Record(interface.record(self.last_timestamp_ns, 20, captured, wire))
    }

    /// The simple packet block (§4.4) tells neither interface nor time nor captured length.
    fn simple_packet(&self, body: &[u8], body_length: usize) -> Found {
        let Some(&[w0, w1, w2, w3]) = body.first_chunk::<4>() else {
            return Found::Damage("a packet block too short; it and what follows are not read");
        };
        let wire = self.order.u32([w0, w1, w2, w3]);
        let Some(interface) = self.interfaces.first() else {
            return Found::NoInterface(self.no_interface(wire));
        };
        let room = u32::try_from(body_length - 4).unwrap_or(u32::MAX);
        let captured = wire.min(interface.frame_bytes_max).min(room);
        if captured as usize > FRAME_BYTES_MAX {
            return Found::Damage("a frame longer than any can be; it and what follows are not read");
        }
        Found::Record(interface.record(self.last_timestamp_ns, 4, captured, wire))
    }

    /// A record that only counts.
    fn no_interface(&self, wire_length: u32) -> Record {
        Record {
            timestamp_ns: self.last_timestamp_ns,
            start: 0,
            length: 0,
            wire_length,
            link_type: LinkType(u16::MAX),
            interface: u16::MAX,
            supported: false,
        }
    }
}

impl Interface {
    #[inline]
    fn record(&self, timestamp_ns: u64, start: usize, captured: u32, wire: u32) -> Record {
        Record {
            timestamp_ns,
            start,
            length: captured,
            wire_length: wire.max(captured),
            link_type: self.link_type,
            interface: self.number.unwrap_or(u16::MAX),
            supported: self.supported,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Block<'a> {
    kind: u32,
    length: usize,
    body: &'a [u8],
}

enum Found {
    Record(Record),
    NoInterface(Record),
    Damage(&'static str),
}

fn section_order(magic: [u8; 4]) -> Option<ByteOrder> {
    [ByteOrder::Little, ByteOrder::Big].into_iter().find(|order| order.u32(magic) == BYTE_ORDER_MAGIC)
}

/// How an interface counts time: the length of a tick (`if_tsresol`) and where it starts (`if_tsoffset`).
#[derive(Clone, Copy, Debug)]
struct Clock {
    tick: Tick,
    offset_ns: i128,
}

#[derive(Clone, Copy, Debug)]
enum Tick {
    /// So many nanoseconds.
    Nanoseconds(u64),
    /// So many in a nanosecond; `None` for more than can be counted.
    PerNanosecond(Option<u64>),
    /// 2 to that power in a second.
    PowerOfTwo(u32),
}

impl Clock {
    fn new(resolution: u8, offset_seconds: i64) -> Self {
        let power = u32::from(resolution & 0x7f);
        let tick = if resolution & 0x80 != 0 {
            Tick::PowerOfTwo(power)
        } else if power <= 9 {
            Tick::Nanoseconds(10_u64.pow(9 - power))
        } else {
            Tick::PerNanosecond(10_u64.checked_pow(power - 9))
        };
        Self { tick, offset_ns: i128::from(offset_seconds) * 1_000_000_000 }
    }

    /// Nanoseconds since the epoch; what lies outside of what they can tell comes out as the nearest that they can.
    #[inline]
    fn nanoseconds(&self, ticks: u64) -> u64 {
        let since_start = match self.tick {
            Tick::Nanoseconds(nanoseconds) => ticks.saturating_mul(nanoseconds),
            Tick::PerNanosecond(count) => count.map_or(0, |count| ticks / count),
            // Fits: 64 and 30 bits.
            Tick::PowerOfTwo(power) => u64::try_from((u128::from(ticks) * 1_000_000_000) >> power).unwrap_or(u64::MAX),
        };
        if self.offset_ns == 0 {
            return since_start;
        }
        (i128::from(since_start) + self.offset_ns).clamp(0, i128::from(u64::MAX)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::super::CaptureError;
    use super::super::forge::{Forge, Kept, read};
    use super::*;
    use proptest::prelude::*;

    const ORDERS: [ByteOrder; 2] = [ByteOrder::Little, ByteOrder::Big];

    fn start(order: ByteOrder) -> Forge {
        Forge::new(order).section(order)
    }

    fn ethernet(order: ByteOrder) -> Forge {
        start(order).interface(LinkType::ETHERNET, 0, &[])
    }

    fn facts(frames: &[Kept]) -> Vec<(u64, u64, u16, &[u8])> {
        frames.iter().map(|frame| (frame.number, frame.timestamp_ns, frame.interface, &frame.data[..])).collect()
    }

    #[test]
    fn enhanced_simple_and_obsolete_packets() {
        for order in ORDERS {
            let obsolete = Forge::new(order).u16(0).u16(9).u32(0).u32(5).u32(3).u32(80).raw(b"old").padded();
            let simple = Forge::new(order).u32(6).raw(b"simple").padded();
            let file = ethernet(order)
                .enhanced(0, 0x1_0000_0001, 60, b"enhanced")
                .block(0x0bad, &Forge::new(order).raw(b"unknown."))
                .block(SIMPLE_PACKET, &simple)
                .block(OBSOLETE_PACKET, &obsolete);
            let (frames, statistics) = read(&file.bytes).unwrap();
            let expected = [
                (1, 4_294_967_297_000, 0, &b"enhanced"[..]),
                (2, 4_294_967_297_000, 0, b"simple"),
                (3, 5000, 0, b"old"),
            ];
            assert_eq!(facts(&frames), expected);
            assert_eq!(frames.iter().map(|frame| frame.wire_length).collect::<Vec<_>>(), [60, 6, 80]);
            assert_eq!(statistics.warnings, []);
        }
    }

    #[test]
    fn a_simple_packet_is_as_long_as_the_snapshot_length_lets_it() {
        let order = ByteOrder::Big;
        let simple = Forge::new(order).u32(100).raw(b"abcdefgh");
        for (snapshot, data) in [(6, &b"abcdef"[..]), (0, b"abcdefgh"), (64, b"abcdefgh")] {
            let file = start(order).interface(LinkType::RAW, snapshot, &[]).block(SIMPLE_PACKET, &simple);
            let (frames, _) = read(&file.bytes).unwrap();
            assert_eq!((&frames[0].data[..], frames[0].wire_length), (data, 100));
        }
    }

    #[test]
    fn clocks_of_every_kind() {
        for (resolution, offset, ticks, nanoseconds) in [
            (6_u8, 0_i64, 7, 7000),
            (0, 0, 7, 7_000_000_000),
            (3, 0, 7, 7_000_000),
            (9, 0, 7, 7),
            (9, 0, u64::MAX, u64::MAX),
            (6, 0, u64::MAX, u64::MAX),
            (12, 0, 7_999, 7),
            (127, 0, u64::MAX, 0),
            (0x80, 0, 3, 3_000_000_000),
            (0x80 | 10, 0, 1536, 1_500_000_000),
            (0x80 | 32, 0, 1 << 31, 500_000_000),
            (0x80 | 127, 0, u64::MAX, 0),
            (0x80, 0, u64::MAX, u64::MAX),
            (6, 10, 7, 10_000_007_000),
            (6, -1, 7_000_000, 6_000_000_000),
            (6, -8, 7_000_000, 0),
            (9, i64::MAX, 0, u64::MAX),
            (9, i64::MIN, u64::MAX, 0),
        ] {
            assert_eq!(Clock::new(resolution, offset).nanoseconds(ticks), nanoseconds, "{resolution} {offset} {ticks}");
        }
    }

    #[test]
    fn an_interface_tells_its_clock_and_name() {
        for order in ORDERS {
            let offset = if order == ByteOrder::Big { 100_u64.to_be_bytes() } else { 100_u64.to_le_bytes() };
            let file = start(order)
                .interface(LinkType::ETHERNET, 0, &[(3, b"a tap"), (IF_NAME, b"eth0"), (IF_TSRESOL, &[9]), (0, b"")])
                .interface(LinkType::LINUX_SLL, 0, &[(IF_TSOFFSET, &offset), (IF_NAME, b"any\0")])
                .interface(LinkType::ETHERNET, 0, &[(0, b""), (IF_TSRESOL, &[9])])
                .enhanced(1, 1, 1, b"b")
                .enhanced(0, 1, 1, b"a")
                .enhanced(2, 1, 1, b"c");
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.pcapng");
            std::fs::write(&path, &file.bytes).unwrap();
            let mut files = super::super::Files::open(&[path], &Default::default()).unwrap();
            let (frames, _) = super::super::forge::drain(&mut files).unwrap();
            assert_eq!(facts(&frames), [(1, 100_000_001_000, 1, &b"b"[..]), (2, 1, 0, b"a"), (3, 1000, 2, b"c")]);
            assert_eq!(frames[0].link_type, LinkType::LINUX_SLL);
            use super::super::Source;
            let names: Vec<_> = (0..4).map(|number| files.interface_name(number)).collect();
            assert_eq!(names, [Some("eth0"), Some("any"), None, None]);
        }
    }

    #[test]
    fn sections_of_different_byte_orders_have_their_own_interfaces() {
        let file = ethernet(ByteOrder::Little)
            .enhanced(0, 1, 1, b"a")
            .section(ByteOrder::Big)
            .interface(LinkType::RAW, 0, &[(IF_NAME, b"tun0")])
            .enhanced(0, 2, 1, b"b")
            .section(ByteOrder::Little)
            .interface(LinkType::RAW, 0, &[(IF_NAME, b"tun0")])
            .interface(LinkType::ETHERNET, 0, &[])
            .enhanced(0, 3, 1, b"c")
            .enhanced(1, 4, 1, b"d");
        let (frames, statistics) = read(&file.bytes).unwrap();
        let expected = [(1, 1000, 0, &b"a"[..]), (2, 2000, 1, b"b"), (3, 3000, 1, b"c"), (4, 4000, 2, b"d")];
        assert_eq!(facts(&frames), expected);
        assert_eq!(frames[1].link_type, LinkType::RAW);
        assert_eq!(statistics.warnings, []);
    }

    #[test]
    fn frames_of_unsupported_and_unknown_interfaces_count() {
        let file = start(ByteOrder::Little)
            .interface(LinkType(107), 0, &[])
            .interface(LinkType::ETHERNET, 0, &[])
            .enhanced(0, 1, 1, b"a")
            .enhanced(1, 2, 1, b"b")
            .enhanced(5, 3, 1, b"c")
            .enhanced(6, 3, 1, b"d")
            .enhanced(1, 4, 1, b"e");
        let (frames, statistics) = read(&file.bytes).unwrap();
        assert_eq!(facts(&frames), [(2, 2000, 1, &b"b"[..]), (5, 4000, 1, b"e")]);
        assert_eq!(statistics.frames_unsupported, 3);
        let warnings: Vec<_> = statistics.warnings.iter().map(|warning| warning.what.to_string()).collect();
        assert_eq!(warnings.len(), 2);
        assert!(
            warnings[0].contains("link type 107 (FRELAY)") && warnings[1].contains("not described"),
            "{warnings:?}"
        );
    }

    #[test]
    fn no_supported_interface_at_all_is_an_error() {
        let file = start(ByteOrder::Big).interface(LinkType(107), 0, &[]).interface(LinkType(10), 0, &[]);
        for bytes in [&file.bytes, &file.clone().enhanced(0, 1, 1, b"a").bytes] {
            let error = read(bytes).unwrap_err();
            assert!(matches!(error, CaptureError::LinkType { number: 107, .. }), "{error}");
        }
        assert_eq!(read(&start(ByteOrder::Big).bytes).unwrap().0, []);
    }

    #[test]
    fn every_cut_gives_what_is_there() {
        for order in ORDERS {
            let head = ethernet(order).bytes.len();
            let one = ethernet(order).enhanced(0, 1, 60, b"first, longer").bytes.len();
            let whole = ethernet(order).enhanced(0, 1, 60, b"first, longer").enhanced(0, 2, 60, b"second").bytes;
            for cut in head..whole.len() {
                let (frames, statistics) = read(&whole[..cut]).unwrap();
                let (complete, since, data) = if cut < one { (0, cut - head, 13) } else { (1, cut - one, 6) };
                let partial = since.saturating_sub(28).min(data);
                assert_eq!(frames.len(), complete + usize::from(partial > 0), "cut at {cut}");
                if partial > 0 {
                    assert_eq!(frames[complete].data.len(), partial);
                }
                assert_eq!(statistics.warnings.len(), usize::from(since > 0));
                assert!(statistics.warnings.iter().all(|warning| warning.offset == (cut - since) as u64));
            }
        }
        let simple = Forge::new(ByteOrder::Big).u32(8).raw(b"abcdefgh");
        let whole = ethernet(ByteOrder::Big).block(SIMPLE_PACKET, &simple).bytes;
        assert_eq!(read(&whole[..whole.len() - 9]).unwrap().0[0].data, b"abc");
        assert_eq!(read(&whole[..whole.len() - 12]).unwrap().0, []);
    }

    #[test]
    fn damage_ends_the_reading_where_it_stands() {
        let order = ByteOrder::Little;
        let good = ethernet(order).enhanced(0, 1, 5, b"first");
        let again = |damage: Forge| damage.enhanced(0, 2, 6, b"second").bytes;
        let long = Forge::new(order).u32(0).u32(0).u32(0).u32(9).u32(9).raw(b"12345678");
        let huge = Forge::new(order).u32(0).u32(0).u32(0).u32(300_000).u32(9).raw(&vec![0; 300_000]);
        let orderless = Forge::new(order).u32(7).u16(1).u16(0).u32(0).u32(0);
        for (name, bytes) in [
            ("length too small", again(good.clone().u32(6).u32(11))),
            ("length too large", again(good.clone().u32(6).u32(BLOCK_BYTES_MAX as u32 + 4))),
            ("lengths differ", again(good.clone().u32(0x0bad).u32(16).u32(0).u32(20))),
            ("captured beyond the block", again(good.clone().block(ENHANCED_PACKET, &long))),
            ("captured beyond all", again(good.clone().block(ENHANCED_PACKET, &huge))),
            ("too short for a packet", again(good.clone().block(ENHANCED_PACKET, &Forge::new(order).u32(0)))),
            ("too short for a simple one", again(good.clone().block(SIMPLE_PACKET, &Forge::new(order)))),
            ("too short for an interface", again(good.clone().block(INTERFACE_DESCRIPTION, &Forge::new(order).u32(0)))),
            ("no byte order", again(good.clone().block(SECTION_HEADER, &orderless))),
            ("zeros", again(good.clone().raw(&[0; 64]))),
        ] {
            let (frames, statistics) = read(&bytes).unwrap();
            assert_eq!(facts(&frames), [(1, 1000, 0, &b"first"[..])], "{name}");
            assert_eq!(statistics.warnings.len(), 1, "{name}");
            assert_eq!(statistics.warnings[0].offset, good.bytes.len() as u64, "{name}");
        }
    }

    #[test]
    fn sections_of_other_versions() {
        let order = ByteOrder::Little;
        let version = |major, minor| Forge::new(order).u32(BYTE_ORDER_MAGIC).u16(major).u16(minor).u32(0).u32(0);
        let file = ethernet(order)
            .enhanced(0, 1, 1, b"a")
            .block(SECTION_HEADER, &version(2, 0))
            .interface(LinkType::ETHERNET, 0, &[])
            .enhanced(0, 2, 1, b"b")
            .block(SECTION_HEADER, &version(1, 1))
            .interface(LinkType::RAW, 0, &[])
            .enhanced(0, 3, 1, b"c")
            .block(SECTION_HEADER, &version(1, 2))
            .interface(LinkType::RAW, 0, &[])
            .enhanced(0, 4, 1, b"d");
        let (frames, statistics) = read(&file.bytes).unwrap();
        let data: Vec<_> = frames.iter().map(|frame| &frame.data[..]).collect();
        assert_eq!(data, [b"a", b"c", b"d"]);
        let warnings: Vec<_> = statistics.warnings.iter().map(|warning| &warning.what[..24]).collect();
        assert_eq!(warnings, ["a section of version 2.0", "a section of version 1.1"]);
        let first = ethernet(order).enhanced(0, 1, 1, b"a").bytes.len() as u64;
        assert_eq!(statistics.warnings[0].offset, first);
        let error = read(&Forge::new(order).block(SECTION_HEADER, &version(0, 1)).bytes).unwrap_err();
        assert!(error.to_string().contains("pcapng section header of a version other"), "{error}");
    }

    #[test]
    fn a_section_header_that_is_none_is_no_capture() {
        let order = ByteOrder::Little;
        let orderless = Forge::new(order).u32(7).u16(1).u16(0).u32(0).u32(0);
        for bytes in [
            &Forge::new(order).block(SECTION_HEADER, &orderless).bytes,
            &start(order).bytes[..20],
            &start(order).bytes[..5],
        ] {
            let error = read(bytes).unwrap_err();
            assert!(matches!(error, CaptureError::NotACapture { .. }), "{error}");
            assert!(error.to_string().contains("pcapng section header"), "{error}");
        }
    }

    #[test]
    fn a_section_header_may_be_long() {
        let order = ByteOrder::Big;
        let body = Forge::new(order).u32(BYTE_ORDER_MAGIC).u16(1).u16(0).u32(0).u32(0).raw(&vec![9; 50_000]);
        let file = Forge::new(order)
            .block(SECTION_HEADER, &body)
            .interface(LinkType::ETHERNET, 0, &[])
            .block(0x0bad, &Forge::new(order).raw(&vec![0; 1 << 20]))
            .enhanced(0, 1, 1, b"a");
        assert_eq!(read(&file.bytes).unwrap().0.len(), 1);
    }

    #[test]
    fn interfaces_without_end_are_bounded() {
        let order = ByteOrder::Little;
        let mut file = start(order);
        for _ in 0..INTERFACES_MAX + 10 {
            file = file.interface(LinkType::ETHERNET, 0, &[]);
        }
        file = file.enhanced(INTERFACES_MAX as u32 - 1, 1, 1, b"a").enhanced(INTERFACES_MAX as u32, 1, 1, b"b");
        let (frames, statistics) = read(&file.bytes).unwrap();
        assert_eq!(facts(&frames), [(1, 1000, INTERFACES_MAX as u16 - 1, &b"a"[..])]);
        assert_eq!(statistics.frames_unsupported, 1);
        file = file.section(order);
        for _ in 0..2000 {
            file = file.interface(LinkType(107), 0, &[]);
        }
        let (_, statistics) = read(&file.bytes).unwrap();
        assert_eq!(statistics.warnings.len(), super::super::WARNINGS_MAX);
        assert_eq!(statistics.warnings_left_out as usize, 2001 - super::super::WARNINGS_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..600), big in any::<bool>()) {
            let _ = read(&ethernet(ORDERS[usize::from(big)]).raw(&bytes).bytes).unwrap();
            let _ = read(&Forge::new(ByteOrder::Big).u32(SECTION_HEADER).raw(&bytes).bytes);
        }

        #[test]
        fn any_block_ends(
            blocks in proptest::collection::vec(
                (0_u32..8, proptest::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..60)), 0..150),
            big in any::<bool>(),
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let order = ORDERS[usize::from(big)];
            let mut file = ethernet(order);
            for (kind, body) in &blocks {
                file = file.block(*kind, &Forge::new(order).raw(body).padded());
            }
            let head = start(order).bytes.len();
            for (place, value) in flips {
                let place = place.index(file.bytes.len()).max(head);
                file.bytes[place] = value;
            }
            if let Ok((frames, statistics)) = read(&file.bytes) {
                prop_assert!(frames.len() as u64 + statistics.frames_unsupported <= blocks.len() as u64 + 10);
            }
        }
    }
}
