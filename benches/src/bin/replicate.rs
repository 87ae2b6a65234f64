//! Makes a big capture of small ones: `replicate OUTPUT BYTES CAPTURE...` interleaves their Ethernet frames within a minute,
//! and adds copies of that minute that start two seconds apart until the file has BYTES. Each copy has other IP addresses, so
//! it opens all flows anew. Checksums are changed with the addresses: what was right stays right, what was wrong stays wrong.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use vigie_capture::{Files, FilesOptions, Source};
use vigie_synth::pcap;
use vigie_wire::LinkType;

/// When the first frame is said to be seen.
const BEGIN_NS: u64 = 1_700_000_000_000_000_000;
/// From the start of one copy to that of the next.
const COPIES_APART_NS: u64 = 2_000_000_000;
/// How long a copy takes; longer captures are squeezed.
const COPY_NS: u64 = 60_000_000_000;
/// As many bytes of a frame are written at most.
const FRAME_BYTES_MAX: usize = 65_535;

/// A frame and when it comes after the start of its copy.
struct TimedFrame {
    after_ns: u64,
    bytes: Vec<u8>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [output, bytes, captures @ ..] = arguments.as_slice() else { usage() };
    let Ok(bytes) = bytes.parse::<u64>() else { usage() };
    let mut frames: Vec<TimedFrame> = captures.iter().flat_map(|capture| frames_of(capture)).collect();
    // Stable: frames of one capture keep their order.
    frames.sort_by_key(|frame| frame.after_ns);
    if frames.is_empty() {
        eprintln!("replicate: no Ethernet frames in {} captures", captures.len());
        std::process::exit(66);
    }
    match write(output, bytes, &frames) {
        Ok((count, copies)) => println!("{count} packets, {copies} copies of {}", frames.len()),
        Err(error) => {
            eprintln!("replicate: {output}: {error}");
            std::process::exit(73);
        }
    }
}

fn usage() -> ! {
    eprintln!("replicate OUTPUT BYTES CAPTURE...");
    std::process::exit(64);
}

/// The Ethernet frames of a capture as far as it can be read, within a minute.
fn frames_of(capture: &str) -> Vec<TimedFrame> {
    let mut all = Vec::new();
    let Ok(mut files) = Files::open(&[capture], &FilesOptions::default()) else { return all };
    let mut take = |frames: &[vigie_wire::Frame<'_>]| {
        let ethernet = frames.iter().filter(|frame| frame.link_type == LinkType::ETHERNET);
        all.extend(ethernet.map(|frame| {
            let bytes = frame.data.iter().take(FRAME_BYTES_MAX).copied().collect();
            TimedFrame { after_ns: frame.timestamp_ns, bytes }
        }));
    };
    while let Ok(true) = files.next_batch(&mut take) {}
    let first_ns = all.iter().map(|frame| frame.after_ns).min().unwrap_or_default();
    let span_ns = all.iter().map(|frame| frame.after_ns - first_ns).max().unwrap_or_default();
    let mut latest_ns = 0;
    for frame in &mut all {
        let mut after_ns = frame.after_ns - first_ns;
        if span_ns > COPY_NS {
            after_ns = (u128::from(after_ns) * u128::from(COPY_NS) / u128::from(span_ns)) as u64;
        }
        latest_ns = after_ns.max(latest_ns);
        frame.after_ns = latest_ns;
    }
    all
}

fn write(output: &str, bytes: u64, frames: &[TimedFrame]) -> io::Result<(u64, u64)> {
    let copy_bytes: u64 = frames.iter().map(|frame| frame.bytes.len() as u64 + 16).sum();
    let copies = bytes.div_ceil(copy_bytes.max(1));
    let mut file = BufWriter::with_capacity(1 << 20, File::create(output)?);
    file.write_all(&pcap::file_header())?;
    // The next frame of each copy: when, which copy, which frame.
    let mut next: BinaryHeap<Reverse<(u64, u64, usize)>> =
        (0..copies).map(|copy| Reverse((copy * COPIES_APART_NS, copy, 0))).collect();
    let mut count = 0;
    while let Some(Reverse((after_ns, copy, place))) = next.pop() {
        let Some(frame) = frames.get(place) else { continue };
        let mut data = frame.bytes.clone();
        move_addresses(&mut data, copy as u16);
        file.write_all(&pcap::record_header(BEGIN_NS + after_ns, data.len()))?;
        file.write_all(&data)?;
        count += 1;
        if let Some(following) = frames.get(place + 1) {
            next.push(Reverse((copy * COPIES_APART_NS + following.after_ns, copy, place + 1)));
        }
    }
    file.flush()?;
    Ok((count, copies))
}

/// Gives the packet of an Ethernet frame addresses that it has in no other of 65 536 copies.
fn move_addresses(frame: &mut [u8], copy: u16) {
    let mut at = 12;
    while let Some(&[0x81 | 0x88, 0x00 | 0xa8, ..]) = frame.get(at..at + 2) {
        at += 4;
    }
    let Some((ether_type, packet)) = frame.get_mut(at..).and_then(<[u8]>::split_first_chunk_mut::<2>) else { return };
    let is_v4 = match ether_type {
        [0x08, 0x00] => true,
        [0x86, 0xdd] => false,
        _ => return,
    };
    let checksum = transport_checksum(packet, is_v4);
    let is_partial = checksum.is_some_and(|checksum| is_partial(packet, is_v4, checksum));
    for place in if is_v4 { [13, 17] } else { [10, 26] } {
        let Some(part) = word_mut(packet, place) else { continue };
        let old = u16::from_be_bytes(*part);
        let new = old.wrapping_add(copy);
        *part = new.to_be_bytes();
        // The middle of an IPv4 address stands across two of the words that are summed.
        let (old, new) = if is_v4 { (old.swap_bytes(), new.swap_bytes()) } else { (old, new) };
        if is_v4 {
            adjust(packet, 10, old, new, false);
        }
        if let Some(checksum) = checksum {
            adjust(packet, checksum.place, old, new, is_partial);
        }
    }
}

fn word_mut(packet: &mut [u8], place: usize) -> Option<&mut [u8; 2]> {
    packet.get_mut(place..)?.first_chunk_mut()
}

fn word(packet: &[u8], place: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*packet.get(place..)?.first_chunk()?))
}

/// A checksum that covers the addresses.
#[derive(Clone, Copy)]
struct TransportChecksum {
    place: usize,
    protocol: u8,
    /// Length of what it covers.
    length: u16,
}

/// The checksum of TCP, UDP or ICMPv6 in a packet without extension headers.
fn transport_checksum(packet: &[u8], is_v4: bool) -> Option<TransportChecksum> {
    let (header, protocol, length) = if is_v4 {
        let header = usize::from(packet.first()? & 0x0f) * 4;
        if word(packet, 6)? & 0x1fff != 0 {
            return None;
        }
        (header, *packet.get(9)?, word(packet, 2)?.checked_sub(header as u16)?)
    } else {
        (40, *packet.get(6)?, word(packet, 4)?)
    };
    let place = header
        + match protocol {
            6 => 16,
            17 => 6,
            58 if !is_v4 => 2,
            _ => return None,
        };
    // A sender of UDP may compute none.
    (word(packet, place)? != 0).then_some(TransportChecksum { place, protocol, length })
}

/// Whether the checksum is the sum of the pseudo-header, which a network card was to complete.
fn is_partial(packet: &[u8], is_v4: bool, checksum: TransportChecksum) -> bool {
    let addresses = packet.get(if is_v4 { 12..20 } else { 8..40 }).unwrap_or_default();
    let sum = addresses.as_chunks::<2>().0.iter().map(|&pair| u32::from(u16::from_be_bytes(pair))).sum::<u32>()
        + u32::from(checksum.protocol);
    let stored = word(packet, checksum.place);
    stored == Some(fold(sum)) || stored == Some(fold(sum + u32::from(checksum.length)))
}

/// Changes a checksum for a word that it covers (RFC 1624 §3).
fn adjust(packet: &mut [u8], place: usize, old: u16, new: u16, is_partial: bool) {
    let Some(checksum) = word_mut(packet, place) else { return };
    let stored = u16::from_be_bytes(*checksum);
    let sum = fold(u32::from(if is_partial { stored } else { !stored }) + u32::from(!old) + u32::from(new));
    *checksum = if is_partial { sum } else { !sum }.to_be_bytes();
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
