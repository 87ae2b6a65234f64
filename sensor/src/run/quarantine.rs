//! Frames that stopped a worker, set aside in files beside the events file, so that the defect can be found: a capture file of
//! one frame each, readable by the sensor's user only. Few are kept, and none for more than a week.
//!
//! Such a frame is part of somebody's traffic. So its addresses are zeroed and its payload is cut, unless the setting
//! `privacy.debug_until` names a day that has not passed.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vigie_decode::Transport;
use vigie_flow::PacketHeaders;
use vigie_wire::{Frame, LinkType};

/// Files that are kept.
const FILES_MAX: usize = 16;
/// How long a file is kept.
const KEPT_FOR: Duration = Duration::from_secs(7 * 86_400);
/// Bytes that are kept of a frame without IP headers, and within which these are looked for.
const UNREAD_BYTES_MAX: usize = 48;
/// Bytes of the payload that are kept: less than a name needs.
const PAYLOAD_BYTES_MAX: usize = 8;
/// How far in front headers are searched for addresses.
const HEADERS_BYTES_MAX: usize = 512;
/// Protocols in IP, extension headers of IPv6 among them (IANA's protocol numbers).
const PROTOCOLS: [u8; 14] = [0, 1, 4, 6, 17, 41, 43, 44, 47, 50, 51, 58, 60, 132];
/// What the names of the files begin with.
const PREFIX: &str = "quarantine-";

/// A frame that stopped a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameSetAside {
    timestamp_ns: u64,
    link_type: LinkType,
    wire_length: u32,
    data: Vec<u8>,
}

impl FrameSetAside {
    /// The frame, whole or without what is private.
    pub fn of(frame: &Frame<'_>, is_whole: bool) -> Self {
        let data = if is_whole { frame.data.to_vec() } else { without_private_bytes(frame) };
        let Frame { timestamp_ns, link_type, wire_length, .. } = *frame;
        Self { timestamp_ns, link_type, wire_length, data }
    }

    /// A capture file with nanosecond times (draft-ietf-opsawg-pcap).
    fn pcap(&self) -> Vec<u8> {
        let (seconds, nanoseconds) = (self.timestamp_ns / 1_000_000_000, self.timestamp_ns % 1_000_000_000);
        let length = u32::try_from(self.data.len()).unwrap_or(u32::MAX);
        let header = [0xa1b2_3c4d, 0x0004_0002, 0, 0, 0x0004_0000, u32::from(self.link_type.0)];
        let record = [seconds as u32, nanoseconds as u32, length, self.wire_length.max(length)];
        let numbers = header.into_iter().chain(record).flat_map(u32::to_le_bytes);
        numbers.chain(self.data.iter().copied()).collect()
    }
}

/// The folder of the files.
#[derive(Clone, Debug)]
pub struct Quarantine(Option<PathBuf>);

impl Quarantine {
    /// Beside the events file; nowhere if events go to the standard output.
    pub fn beside(events_file: &Path) -> Self {
        let is_file = events_file.as_os_str() != "-";
        Self(events_file.parent().filter(|_| is_file).map(Path::to_owned))
    }

    /// Writes a file, after removing others that are too old or too many.
    ///
    /// # Errors
    /// The file cannot be written, or there is no folder for it.
    pub fn set_aside(&self, frame: &FrameSetAside, worker: usize) -> io::Result<PathBuf> {
        let folder = self.0.as_ref().ok_or_else(|| io::Error::other("events go to the standard output"))?;
        self.remove_old(FILES_MAX - 1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = folder.join(format!("{PREFIX}{}-{worker}.pcap", now.as_millis()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(&frame.pcap())?;
        Ok(path)
    }

    /// Removes the files that are too old, and the oldest beyond so many.
    pub fn remove_old(&self, files_max: usize) {
        let Some(entries) = self.0.as_ref().and_then(|folder| fs::read_dir(folder).ok()) else { return };
        let is_ours = |name: &str| name.starts_with(PREFIX) && name.ends_with(".pcap");
        let mut files: Vec<(SystemTime, PathBuf)> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_str().is_some_and(is_ours))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        let too_many = files.len().saturating_sub(files_max);
        for (place, (modified, path)) in files.iter().enumerate() {
            if place < too_many || modified.elapsed().is_ok_and(|age| age > KEPT_FOR) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// The frame's bytes with zeros for addresses, up to the first bytes of the payload.
fn without_private_bytes(frame: &Frame<'_>) -> Vec<u8> {
    // What stopped the worker may be in the headers.
    let payload = std::panic::catch_unwind(|| {
        let headers = PacketHeaders::parse(frame)?;
        let payload = match headers.transport(frame)? {
            Transport::Tcp(segment) => segment.payload,
            Transport::Udp(datagram) => datagram.payload,
            Transport::Other => return None,
        };
        (payload.as_ptr() as usize).checked_sub(frame.data.as_ptr() as usize)
    });
    let payload_start = payload.ok().flatten();
    let kept = payload_start.map(|start| start + PAYLOAD_BYTES_MAX).or_else(|| ip_headers_end(frame.data));
    let kept = kept.unwrap_or(UNREAD_BYTES_MAX);
    let mut data = frame.data.get(..kept).unwrap_or(frame.data).to_vec();
    if frame.link_type == LinkType::ETHERNET {
        zero(&mut data, 0, 12);
    }
    for start in 0..frame.data.len().min(HEADERS_BYTES_MAX) {
        let Some(header) = frame.data.get(start..) else { break };
        if is_ipv4(header) {
            zero(&mut data, start + 12, 8);
        } else if is_ipv6(header) {
            zero(&mut data, start + 8, 32);
        }
    }
    data
}

/// Where the first IP header and those right behind it end, with the eight bytes after them: ports and lengths.
fn ip_headers_end(data: &[u8]) -> Option<usize> {
    let length_at = |start: usize| match data.get(start..)? {
        bytes if is_ipv4(bytes) => bytes.first().map(|first| usize::from(first & 15) * 4),
        bytes if is_ipv6(bytes) => Some(40),
        _ => None,
    };
    let mut end = (0..UNREAD_BYTES_MAX).find_map(|start| Some(start + length_at(start)?))?;
    while let Some(length) = length_at(end).filter(|_| end < HEADERS_BYTES_MAX) {
        end += length;
    }
    Some(end + PAYLOAD_BYTES_MAX)
}

fn zero(data: &mut [u8], start: usize, length: usize) {
    let end = (start + length).min(data.len());
    data.get_mut(start..end).unwrap_or_default().fill(0);
}

/// Whether this may be the header of an IPv4 packet: version, lengths, and a protocol that is carried often (RFC 791 §3.1).
fn is_ipv4(bytes: &[u8]) -> bool {
    let Some((header, rest)) = bytes.split_first_chunk::<20>() else { return false };
    let &[first, _, high, low, _, _, _, _, time_to_live, protocol, ..] = header;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let fits = length == 0 || (20..=rest.len() + 20).contains(&length) || rest.len() + 20 >= HEADERS_BYTES_MAX;
    (0x45..=0x4f).contains(&first) && fits && time_to_live > 0 && PROTOCOLS.contains(&protocol)
}

/// Whether this may be the header of an IPv6 packet: version, length, and a protocol that is carried often (RFC 8200 §3).
fn is_ipv6(bytes: &[u8]) -> bool {
    let Some((header, rest)) = bytes.split_first_chunk::<40>() else { return false };
    let &[first, _, _, _, high, low, protocol, hop_limit, ..] = header;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let fits = length <= rest.len() || rest.len() >= HEADERS_BYTES_MAX;
    first >> 4 == 6 && fits && hop_limit > 0 && PROTOCOLS.contains(&protocol)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(data: &[u8]) -> Frame<'_> {
        Frame {
            timestamp_ns: 1_795_000_000_000_000_005,
            number: 1,
            wire_length: data.len() as u32,
            link_type: LinkType::ETHERNET,
            interface: 0,
            data,
        }
    }

    /// Ethernet, IPv4, TCP, and a payload with a name.
    fn packet() -> Vec<u8> {
        let mut packet = vec![0x11; 12];
        packet.extend([8, 0, 0x45, 0, 0, 99, 0, 0, 0, 0, 64, 6, 0, 0, 10, 9, 8, 7, 203, 0, 113, 5]);
        packet.extend([0xc3, 0x50, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
        packet.extend([0x16, 3, 1, 0, 50, 1, 0, 0, 46, 3, 3]);
        packet.extend([0x55; 20]);
        packet.extend(b"www.private-name.example.org");
        packet
    }

    fn contains(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn addresses_are_zeroed_and_the_payload_is_cut() {
        let packet = packet();
        let kept = FrameSetAside::of(&frame(&packet), false).data;
        assert_eq!(kept.len(), 14 + 20 + 20 + PAYLOAD_BYTES_MAX);
        for private in [&[0x11; 6][..], &[10, 9, 8, 7], &[203, 0, 113, 5], b"private"] {
            assert!(contains(&packet, private) && !contains(&kept, private), "{private:?}");
        }
        assert!(contains(&kept, &[0xc3, 0x50, 1, 0xbb]), "ports say what to look for");
        assert_eq!(FrameSetAside::of(&frame(&packet), true).data, packet);
    }

    #[test]
    fn inner_addresses_are_zeroed_too_and_odd_frames_are_cut() {
        let mut tunnel = vec![0x11; 12];
        tunnel.extend([8, 0, 0x45, 0, 0, 119, 0, 0, 0, 0, 64, 4, 0, 0, 10, 9, 8, 7, 203, 0, 113, 5]);
        tunnel.extend(&packet()[14..]);
        let kept = FrameSetAside::of(&frame(&tunnel), false).data;
        assert!(!contains(&kept, &[10, 9, 8, 7]) && !contains(&kept, b"private"));
        assert_eq!(ip_headers_end(&packet()), Some(14 + 20 + PAYLOAD_BYTES_MAX));
        assert_eq!(ip_headers_end(&tunnel), Some(14 + 40 + PAYLOAD_BYTES_MAX));
        assert_eq!(FrameSetAside::of(&frame(&[0xaa; 1_000]), false).data.len(), UNREAD_BYTES_MAX);
        assert_eq!(FrameSetAside::of(&frame(&[1]), false).data, [0]);
    }

    #[test]
    fn files_are_few_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::beside(&folder.path().join("eve.json"));
        fs::write(folder.path().join("eve.json"), "{}\n").unwrap();
        let packet = packet();
        for worker in 0..FILES_MAX + 5 {
            let path = quarantine.set_aside(&FrameSetAside::of(&frame(&packet), true), worker).unwrap();
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o600);
            let file = fs::read(&path).unwrap();
            assert_eq!(&file[40..], packet);
        }
        let files = || fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files(), FILES_MAX + 1);
        let old = SystemTime::now() - KEPT_FOR - Duration::from_secs(60);
        for entry in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
            fs::File::options().write(true).open(entry.path()).unwrap().set_modified(old).unwrap();
        }
        quarantine.remove_old(FILES_MAX);
        assert_eq!(files(), 1, "the events file is nobody's to remove");
        assert!(Quarantine::beside(Path::new("-")).set_aside(&FrameSetAside::of(&frame(&packet), true), 0).is_err());
    }
}
