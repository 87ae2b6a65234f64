//! Makes a big capture of small ones: `replicate OUTPUT BYTES CAPTURE...` writes their Ethernet frames one after another,
//! round by round, until the file has BYTES. In each round all IP addresses are other ones, so each opens the flows
//! anew; frames are 3 µs apart. Checksums are left as they were.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use vigie_capture::{Files, FilesOptions, Source};
use vigie_synth::pcap;
use vigie_wire::LinkType;

/// When the first frame is said to be seen.
const BEGIN_NS: u64 = 1_700_000_000_000_000_000;
/// From one frame to the next.
const APART_NS: u64 = 3_000;
/// As many bytes of a frame are written at most.
const FRAME_BYTES_MAX: usize = 65_535;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [output, bytes, captures @ ..] = arguments.as_slice() else { usage() };
    let Ok(bytes) = bytes.parse::<u64>() else { usage() };
    let frames = frames_of(captures);
    if frames.is_empty() {
        eprintln!("replicate: no Ethernet frames in {} captures", captures.len());
        std::process::exit(66);
    }
    match write(output, bytes, &frames) {
        Ok((count, rounds)) => println!("{count} packets, {rounds} rounds of {}", frames.len()),
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

/// The Ethernet frames of captures; those that cannot be read are passed over.
fn frames_of(captures: &[String]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for capture in captures {
        let Ok(mut files) = Files::open(&[capture], &FilesOptions::default()) else { continue };
        let mut take = |frames: &[vigie_wire::Frame<'_>]| {
            let ethernet = frames.iter().filter(|frame| frame.link_type == LinkType::ETHERNET);
            all.extend(ethernet.map(|frame| frame.data.iter().take(FRAME_BYTES_MAX).copied().collect()));
        };
        while let Ok(true) = files.next_batch(&mut take) {}
    }
    all
}

fn write(output: &str, bytes: u64, frames: &[Vec<u8>]) -> io::Result<(u64, u32)> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(output)?);
    file.write_all(&pcap::file_header())?;
    let (mut count, mut written, mut round) = (0, 24, 0);
    'rounds: loop {
        round += 1;
        for frame in frames {
            if written >= bytes {
                break 'rounds;
            }
            let mut frame = frame.clone();
            move_addresses(&mut frame, round);
            let header = pcap::record_header(BEGIN_NS + count * APART_NS, frame.len());
            file.write_all(&header)?;
            file.write_all(&frame)?;
            written += (header.len() + frame.len()) as u64;
            count += 1;
        }
    }
    file.flush()?;
    Ok((count, round))
}

/// Gives the packet of an Ethernet frame addresses that it has in no other of 65 536 rounds.
fn move_addresses(frame: &mut [u8], round: u32) {
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
            *part = u16::from_be_bytes(*part).wrapping_add(round as u16).to_be_bytes();
        }
    }
}
