//! Frames with their times, as a source for the sensor or as the bytes of a capture file.

use vigie_capture::{BATCH_FRAMES_MAX, CaptureError, Position, Source, SourceStatistics};
use vigie_wire::{Frame, LinkType};

/// Nanoseconds between two frames, where a test says nothing else.
const STEP_NS: u64 = 1_000_000;
/// When tapes begin: 2026-11-21.
const BEGIN_NS: u64 = 1_795_219_200_000_000_000;

/// Frames in order.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    frames: Vec<(u64, Vec<u8>)>,
    now_ns: u64,
    given: usize,
}

impl Tape {
    /// Frames a millisecond apart.
    pub fn of(frames: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut tape = Self { now_ns: BEGIN_NS, ..Self::default() };
        tape.extend(frames);
        tape
    }

    /// Adds a frame.
    pub fn push(&mut self, frame: Vec<u8>) {
        self.frames.push((self.now_ns, frame));
        self.now_ns += STEP_NS;
    }

    /// Adds frames.
    pub fn extend(&mut self, frames: impl IntoIterator<Item = Vec<u8>>) {
        frames.into_iter().for_each(|frame| self.push(frame));
    }

    /// The same with a silence at its end.
    pub fn then_silence(mut self, seconds: u64) -> Self {
        self.now_ns += seconds * 1_000_000_000;
        self
    }

    /// The same with more frames.
    pub fn then(mut self, frames: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.extend(frames);
        self
    }

    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// A capture file with nanosecond times (draft-ietf-opsawg-pcap).
    pub fn pcap(&self) -> Vec<u8> {
        pcap(LinkType::ETHERNET, &self.frames)
    }
}

/// A capture file of frames of any link type.
pub fn pcap(link_type: LinkType, frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = 0xa1b2_3c4d_u32.to_le_bytes().to_vec();
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0]);
    file.extend(u32::from(link_type.0).to_le_bytes());
    for (timestamp_ns, data) in frames {
        let length = u32::try_from(data.len()).unwrap();
        let (seconds, nanoseconds) = (timestamp_ns / 1_000_000_000, timestamp_ns % 1_000_000_000);
        for field in [seconds as u32, nanoseconds as u32, length, length] {
            file.extend(field.to_le_bytes());
        }
        file.extend(data);
    }
    file
}

/// Frames made as they are asked for, so that millions of them take no memory.
pub struct Generator<F> {
    make: F,
    step_ns: u64,
    frames_max: u64,
    given: u64,
}

impl<F: FnMut(u64) -> Vec<u8>> Generator<F> {
    /// `frames` frames, `step_ns` apart; `make` is given the number of each, from 0.
    pub const fn new(frames: u64, step_ns: u64, make: F) -> Self {
        Self { make, step_ns, frames_max: frames, given: 0 }
    }
}

impl<F: FnMut(u64) -> Vec<u8>> Source for Generator<F> {
    fn next_batch(&mut self, visit: &mut dyn FnMut(&[Frame<'_>])) -> Result<bool, CaptureError> {
        let numbers = self.given..self.frames_max.min(self.given + BATCH_FRAMES_MAX as u64);
        let made: Vec<(u64, Vec<u8>)> = numbers.map(|number| (number, (self.make)(number))).collect();
        let frame = |(number, data)| frame(BEGIN_NS + number * self.step_ns, number, data);
        let frames: Vec<Frame<'_>> = made.iter().map(|(number, data)| frame((*number, &data[..]))).collect();
        if frames.is_empty() {
            return Ok(false);
        }
        visit(&frames);
        self.given += frames.len() as u64;
        Ok(true)
    }

    fn statistics(&self) -> SourceStatistics {
        SourceStatistics { frames: self.given, ..SourceStatistics::default() }
    }

    fn position(&self) -> Position {
        Position { bytes_done: self.given, bytes_total: None }
    }

    fn interfaces(&self) -> usize {
        1
    }

    fn interface_name(&self, _: u16) -> Option<&str> {
        None
    }
}

/// A whole Ethernet frame; `number` counts from 0.
pub fn frame(timestamp_ns: u64, number: u64, data: &[u8]) -> Frame<'_> {
    let wire_length = u32::try_from(data.len()).unwrap();
    let link_type = LinkType::ETHERNET;
    Frame { timestamp_ns, number: number + 1, wire_length, link_type, interface: 0, data }
}

impl Source for Tape {
    fn next_batch(&mut self, visit: &mut dyn FnMut(&[Frame<'_>])) -> Result<bool, CaptureError> {
        let first = self.given;
        let batch = self.frames[first..].iter().take(BATCH_FRAMES_MAX).enumerate();
        let frames: Vec<Frame<'_>> =
            batch.map(|(place, (timestamp_ns, data))| frame(*timestamp_ns, (first + place) as u64, data)).collect();
        if frames.is_empty() {
            return Ok(false);
        }
        visit(&frames);
        self.given += frames.len();
        Ok(true)
    }

    fn statistics(&self) -> SourceStatistics {
        SourceStatistics { frames: self.given as u64, ..SourceStatistics::default() }
    }

    fn position(&self) -> Position {
        let bytes = |frames: &[(u64, Vec<u8>)]| frames.iter().map(|(_, data)| data.len() as u64 + 16).sum();
        Position { bytes_done: bytes(&self.frames[..self.given]), bytes_total: Some(bytes(&self.frames)) }
    }

    fn interfaces(&self) -> usize {
        1
    }

    fn interface_name(&self, _: u16) -> Option<&str> {
        None
    }
}
