//! Recognising a capture's format by its first bytes.

use std::io;

use super::{Fill, Window};
use crate::classic::Classic;
use crate::pcapng::Pcapng;
use crate::record::Interfaces;

/// The format of a file and the state of its reading.
#[derive(Debug)]
pub(super) enum Format {
    Classic(Classic),
    Pcapng(Pcapng),
}

pub(super) enum Unreadable {
    Io(io::Error),
    /// What the file holds instead of a capture.
    NotACapture(String),
}

/// Recognises the format and reads the file's header. Returns how many bytes of it are consumed.
///
/// Of a file on a disk, unlike a pipe, enough is read to tell by its first records how they are laid out.
pub(super) fn recognise(
    window: &mut Window,
    is_on_disk: bool,
    known: &mut Interfaces,
) -> Result<(Format, usize), Unreadable> {
    /// More than the headers need, unless a section header has long options.
    const START_BYTES: usize = 512;
    const SECTION_HEADER_BYTES_MAX: usize = 64 << 10;
    let mut wanted = if is_on_disk { SECTION_HEADER_BYTES_MAX } else { START_BYTES };
    let mut is_whole = false;
    let mut broken = None;
    loop {
        let mut at = 0;
        while window.bytes().len() < wanted && broken.is_none() {
            match window.fill(&mut at).map_err(Unreadable::Io)? {
                Fill::More => {}
                Fill::End | Fill::Cut => {
                    is_whole = true;
                    break;
                }
                Fill::Broken(message) => broken = Some(message),
            }
            // A pipe may give a header and then nothing for long.
            if !is_on_disk && has_header(window.bytes()) {
                break;
            }
        }
        let bytes = window.bytes();
        let start = bytes.first_chunk::<4>().copied();
        let opened = match start {
            Some(start) if Classic::recognises(start) => {
                Classic::open(bytes, is_whole, known).map(|(classic, consumed)| (Format::Classic(classic), consumed))
            }
            Some(start) if Pcapng::recognises(start) => Pcapng::open(bytes).map(|pcapng| (Format::Pcapng(pcapng), 0)),
            _ => Err(describe(bytes)),
        };
        match opened {
            Ok(opened) => return Ok(opened),
            // The options of a section header may be long.
            Err(_) if bytes.len() >= wanted && wanted < SECTION_HEADER_BYTES_MAX => wanted = SECTION_HEADER_BYTES_MAX,
            Err(seen) => {
                let damage =
                    broken.map(|message| format!("; its compression is damaged ({message})")).unwrap_or_default();
                return Err(Unreadable::NotACapture(seen + &damage));
            }
        }
    }
}

fn has_header(bytes: &[u8]) -> bool {
    bytes.first_chunk::<4>().is_some_and(|start| {
        Classic::recognises(*start) && bytes.len() >= 24 || Pcapng::recognises(*start) && Pcapng::open(bytes).is_ok()
    })
}

/// What a file that is no capture seems to be.
fn describe(bytes: &[u8]) -> String {
    const KNOWN: &[(&[u8], &str)] = &[
        (b"snoop\0\0\0", "a snoop capture"),
        (b"GMBU", "a Network Monitor capture"),
        (b"RTSS", "a Network Monitor capture"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\xfd7zXZ\0", "xz-compressed; gzip, zstd and lz4 are read"),
        (b"BZh", "bzip2-compressed; gzip, zstd and lz4 are read"),
        (b"\x04\x22\x4d\x18", "lz4-compressed twice"),
        (b"\x1f\x8b", "gzip-compressed twice"),
        (b"\x28\xb5\x2f\xfd", "zstd-compressed twice"),
        (b"\x7fELF", "a program"),
        (b"%PDF", "a PDF document"),
    ];
    if bytes.is_empty() {
        return "it is empty".to_owned();
    }
    if let Some((_, what)) = KNOWN.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return format!("it is {what}");
    }
    let start = bytes.get(..bytes.len().min(16)).unwrap_or_default();
    if start.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        return format!("it begins with the text \"{}\"", start.escape_ascii());
    }
    let hex: Vec<String> = start.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("it begins with the bytes {}", hex.join(" "))
}
