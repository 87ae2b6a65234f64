//! Makes a big capture of small ones: `replicate OUTPUT BYTES CAPTURE...` interleaves their Ethernet frames within a minute,
//! and adds copies of that minute that start two seconds apart until the file has BYTES. Each copy has other IP addresses, so
//! it opens all flows anew. Checksums are left as they were.

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
    let places = match frame.get(at..at + 2) {
        Some([0x08, 0x00]) => [at + 2 + 13, at + 2 + 17],
        Some([0x86, 0xdd]) => [at + 2 + 10, at + 2 + 26],
        _ => return,
    };
    for place in places {
        if let Some(part) = frame.get_mut(place..).and_then(<[u8]>::first_chunk_mut) {
            *part = u16::from_be_bytes(*part).wrapping_add(copy).to_be_bytes();
        }
    }
}
