//! Interface descriptions (draft-ietf-opsawg-pcapng §4.2) and their clocks.

use super::{Message, Pcapng};
use crate::record::{INTERFACES_MAX, Interfaces, Record};
use vigie_wire::LinkType;

/// How many bytes of an interface's name are kept.
const NAME_BYTES_MAX: usize = 255;

/// Option codes of an interface description.
pub(super) const IF_NAME: u16 = 2;
pub(super) const IF_TSRESOL: u16 = 9;
pub(super) const IF_TSOFFSET: u16 = 14;

/// An interface of the present section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interface {
    pub(super) link_type: LinkType,
    /// Its number in the whole capture; `None` for interfaces beyond the limit.
    number: Option<u16>,
    pub(super) supported: bool,
    /// The snapshot length.
    pub(super) frame_bytes_max: u32,
    pub(super) clock: Clock,
}

impl Interface {
    #[inline]
    pub(super) fn record(&self, timestamp_ns: u64, start: usize, captured: u32, wire: u32) -> Record {
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

impl Pcapng {
    /// Reads an interface description. Returns a message if its frames will be skipped.
    pub(super) fn add_interface(
        &mut self,
        body: &[u8],
        known: &mut Interfaces,
    ) -> Result<Option<Message>, &'static str> {
        let Some((&[link0, link1, _, _, s0, s1, s2, s3], options)) = body.split_first_chunk::<8>() else {
            return Err("an interface description too short; what follows is not read");
        };
        if self.interfaces.len() >= INTERFACES_MAX {
            return Ok(None);
        }
        let link_type = LinkType::from_file(u32::from(self.order.u16([link0, link1])));
        let snapshot = self.order.u32([s0, s1, s2, s3]);
        let (name, clock) = self.interface_options(options);
        let number = known.add(name, self.interfaces_before.saturating_add(self.interfaces.len()), link_type);
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
            format!("an interface of link type {number} ({name}), which is not supported; its frames are skipped")
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
}

/// How an interface counts time: the length of a tick (`if_tsresol`) and its offset from the epoch (`if_tsoffset`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    tick: Tick,
    offset_ns: i128,
}

#[derive(Clone, Copy, Debug)]
enum Tick {
    /// Nanoseconds in a tick.
    Nanoseconds(u64),
    /// Ticks in a nanosecond; `None` if the number does not fit.
    PerNanosecond(Option<u64>),
    /// A second has 2 to this power ticks.
    PowerOfTwo(u32),
}

impl Clock {
    pub(super) fn new(resolution: u8, offset_seconds: i64) -> Self {
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

    /// Nanoseconds since the epoch, saturating.
    #[inline]
    pub(super) fn nanoseconds(&self, ticks: u64) -> u64 {
        let since_start = match self.tick {
            Tick::Nanoseconds(nanoseconds) => ticks.saturating_mul(nanoseconds),
            Tick::PerNanosecond(count) => count.map_or(0, |count| ticks / count),
            // Cannot overflow: 64 and 30 bits.
            Tick::PowerOfTwo(power) => u64::try_from((u128::from(ticks) * 1_000_000_000) >> power).unwrap_or(u64::MAX),
        };
        if self.offset_ns == 0 {
            return since_start;
        }
        (i128::from(since_start) + self.offset_ns).clamp(0, i128::from(u64::MAX)) as u64
    }
}
