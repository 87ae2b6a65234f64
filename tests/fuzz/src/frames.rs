//! Capture files, frames, fragments.

use std::cell::OnceCell;
use std::fs;
use std::io::Write;

use vigie_capture::{BATCH_FRAMES_MAX, Block, CaptureError, FRAME_BYTES_MAX, Files, FilesOptions, Source};
use vigie_decode::fragments::{Carried, Datagram, FragmentLimits, Origin, Reassembler};
use vigie_decode::{
    DecodeError, DecodeLimits, Decoded, Encapsulation, Packet, Transport, decode_ip, decode_reassembled,
};
use vigie_wire::{Frame, LinkType};

use super::input::Input;

thread_local! {
    /// Captures come as files.
    static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

/// What one reading of a capture gave.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    frames: u64,
    bytes: u64,
    times: Vec<u64>,
    failed: bool,
}

/// A capture file, read in batches and in blocks, which must be alike.
pub fn capture(data: &[u8]) {
    let path = FOLDER.with(|folder| {
        let folder = folder.get_or_init(|| tempfile::tempdir().expect("a folder for captures"));
        folder.path().join("fuzz.pcap")
    });
    fs::File::create(&path).and_then(|mut file| file.write_all(data)).expect("a capture written");
    let by_batches = read(&path, &mut |files, take| {
        files.next_batch(&mut |frames| {
            assert!(!frames.is_empty() && frames.len() <= BATCH_FRAMES_MAX);
            frames.iter().for_each(&mut *take);
        })
    });
    let mut block = Block::default();
    let by_blocks = read(&path, &mut |files, take| {
        let more = files.next_block(&mut block);
        files.read_ahead().inspect(|ahead| ahead.read());
        block.iter().for_each(|frame| take(&frame));
        more
    });
    assert_eq!(by_batches, by_blocks);
}

type Step<'s> = dyn FnMut(&mut Files, &mut dyn FnMut(&Frame<'_>)) -> Result<bool, CaptureError> + 's;

/// What a capture gives, taken step by step.
fn read(path: &std::path::Path, step: &mut Step<'_>) -> Option<Reading> {
    let mut files = Files::open(&[path], &FilesOptions::default()).ok()?;
    let mut reading = Reading { frames: 0, bytes: 0, times: Vec::new(), failed: false };
    let mut number = 0;
    loop {
        let more = step(&mut files, &mut |frame| {
            assert!(frame.data.len() <= FRAME_BYTES_MAX && frame.wire_length as usize >= frame.data.len());
            reading.frames += 1;
            reading.bytes += frame.data.len() as u64;
            // Frames that are passed over count too.
            assert!(frame.number > number, "numbers grow");
            number = frame.number;
            reading.times.push(frame.timestamp_ns);
            let _ = vigie_decode::decode(frame, &DecodeLimits::default());
        });
        match more {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => {
                reading.failed = true;
                break;
            }
        }
    }
    let statistics = files.statistics();
    assert_eq!((statistics.frames, statistics.bytes), (reading.frames, reading.bytes));
    Some(reading)
}

const LINK_TYPES: [LinkType; 12] = [
    LinkType::ETHERNET,
    LinkType::RAW,
    LinkType::LINUX_SLL,
    LinkType::LINUX_SLL2,
    LinkType::NULL,
    LinkType::LOOP,
    LinkType::PPP,
    LinkType::PPP_HDLC,
    LinkType::PPPOE,
    LinkType::C_HDLC,
    LinkType::IPV4,
    LinkType::IPV6,
];

/// A frame of any link type, cut or not: the most common, the others that are supported, any number.
pub fn decode(data: &[u8]) {
    let mut input = Input::new(data);
    let chosen = input.u8();
    let cut = u32::from(input.u8() & 1);
    let data = input.rest();
    let known = LINK_TYPES.iter().chain(&LinkType::SUPPORTED).nth(usize::from(chosen)).copied();
    let link_type = known.unwrap_or_else(|| LinkType(u16::from(chosen) + data.len() as u16));
    let frame =
        Frame { timestamp_ns: 0, number: 1, wire_length: data.len() as u32 + cut, link_type, interface: 0, data };
    let limits = DecodeLimits::default();
    match vigie_decode::decode(&frame, &limits) {
        Ok(decoded) => check(&decoded, data),
        Err(error) => check_error(&error),
    }
    if let Ok(decoded) = decode_ip(data, Encapsulation::default(), &limits) {
        check(&decoded, data);
    }
}

fn check_error(error: &DecodeError) {
    assert!(!error.to_string().is_empty());
}

/// What is handed on must lie inside what came.
fn check(decoded: &Decoded<'_>, data: &[u8]) {
    let inside =
        |part: &[u8]| part.is_empty() || data.as_ptr_range().contains(&part.as_ptr()) && part.len() <= data.len();
    match decoded {
        Decoded::Packet(packet) => check_packet(packet, inside),
        Decoded::Fragment(fragment) => {
            assert!(inside(fragment.payload));
            let is_ip = matches!(fragment.carried, Carried::Ip { .. });
            assert!(fragment.more || fragment.offset > 0 || !is_ip, "a fragment that is all is a packet");
        }
        Decoded::Aggregate(aggregate) => {
            assert!(aggregate.filter(|subframe| subframe.decoded.is_ok()).count() > 1);
            for subframe in *aggregate {
                match subframe.decoded {
                    Ok(decoded) => check(&decoded, data),
                    Err(error) => check_error(&error),
                }
            }
        }
    }
}

fn check_packet(packet: &Packet<'_>, inside: impl Fn(&[u8]) -> bool) {
    assert!(usize::from(packet.encapsulation.vlan_count) <= vigie_decode::VLANS_MAX);
    match packet.transport {
        Transport::Tcp(segment) => {
            assert!(inside(segment.payload));
            let _ = segment.checked_options();
            let _ = (segment.checksum(), segment.network().checksum(), segment.network().hop_limit());
        }
        Transport::Udp(datagram) => {
            assert!(inside(datagram.payload));
            let _ = datagram.checksum();
        }
        Transport::Other => {}
    }
}

/// A script of IPv4 fragments: datagram, place, length, more to come, time. Their bytes are those of one of two long texts at
/// their place, so that what is joined can be checked.
pub fn fragments(data: &[u8]) {
    let limits = FragmentLimits {
        fragment_datagrams_max: 3,
        fragment_bytes_max: 16_384,
        fragment_versions_max: 8,
        fragment_timeout_ms: 50,
        fragment_completed_ms: 20,
    };
    let mut cache = Reassembler::new(limits);
    let mut input = Input::new(data);
    let mut now_ns = 0;
    while !input.is_empty() {
        let control = input.u8();
        let offset = u16::from(input.u8());
        let length = usize::from(input.u8());
        now_ns += u64::from(control >> 5) * 2_000_000;
        let is_forged = control & 4 != 0 && length % 2 == 1;
        let packet = fragment(u16::from(control & 3), offset, control & 8 != 0, length, control & 16 != 0, is_forged);
        while let Some(part) = cache.next_expired(now_ns) {
            assert!(part.is_truncated());
            check_datagram(&part);
            cache.recycle(part);
        }
        let decoded = decode_ip(&packet, Encapsulation::default(), &DecodeLimits::default());
        let Ok(Decoded::Fragment(fragment)) = decoded else { continue };
        let mut readings = cache.insert(&fragment, &Origin { timestamp_ns: now_ns, ..Origin::default() });
        let mut count = 0;
        while let Some(datagram) = cache.next_reading(&mut readings) {
            check_datagram(&datagram);
            cache.recycle(datagram);
            count += 1;
            assert!(cache.bytes_held() <= limits.fragment_bytes_max);
        }
        // Those of the open datagram, and of a complete one that the fragment contradicts.
        assert!(count <= 2 * limits.fragment_versions_max);
        assert!(cache.datagrams() + cache.completed_datagrams() <= limits.fragment_datagrams_max);
        assert!(cache.bytes_held() <= limits.fragment_bytes_max);
    }
}

/// Every byte stands where a fragment said.
fn check_datagram(datagram: &Datagram) {
    let is_one_of_both = |(at, &byte): (usize, &u8)| byte == text(at, false) || byte == text(at, true);
    assert!(datagram.payload.iter().enumerate().all(is_one_of_both), "every byte stands where its fragment said");
    let _ = decode_reassembled(datagram, &DecodeLimits::default());
}

const fn text(at: usize, is_forged: bool) -> u8 {
    let byte = (at % 251) as u8;
    if is_forged { 255 - byte } else { byte }
}

fn fragment(identification: u16, eighths: u16, more: bool, length: usize, udp: bool, is_forged: bool) -> Vec<u8> {
    let total = (20 + length) as u16;
    let flags = u16::from(more) << 13 | eighths;
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&total.to_be_bytes());
    packet.extend_from_slice(&identification.to_be_bytes());
    packet.extend_from_slice(&flags.to_be_bytes());
    packet.extend_from_slice(&[64, if udp { 17 } else { 6 }, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    let start = usize::from(eighths) * 8;
    packet.extend((start..start + length).map(|at| text(at, is_forged)));
    packet
}
