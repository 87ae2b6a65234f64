//! A batch of frames, merged by time from the files being read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use arrayvec::ArrayVec;

use super::Head;
use crate::filter::Filter;
use crate::reader::Reader;
use crate::{BATCH_FRAMES_MAX, CaptureError, SourceStatistics};
use vigie_wire::Frame;

/// A batch being filled. It ends when it is full, when the records of a file are exhausted (finding more would move the
/// bytes that the batch borrows), or when the next file is due.
pub(super) struct Batch<'a> {
    pub(super) frames: ArrayVec<Frame<'a>, BATCH_FRAMES_MAX>,
    pub(super) readers: &'a [Option<Box<Reader>>],
    pub(super) heads: &'a mut BinaryHeap<Reverse<Head>>,
    pub(super) exhausted: &'a mut Option<usize>,
    pub(super) filter: Option<&'a mut Filter>,
    pub(super) next_file_ns: Option<u64>,
    pub(super) number: &'a mut u64,
    pub(super) statistics: &'a mut SourceStatistics,
}

impl<'a> Batch<'a> {
    pub(super) fn collect(&mut self) -> Result<(), CaptureError> {
        while !self.frames.is_full() {
            let Some(Reverse(head)) = self.heads.peek().copied() else { break };
            if self.is_next_file_due(head.timestamp_ns) {
                break;
            }
            self.heads.pop();
            let Some(reader) = self.readers.get(head.reader).and_then(Option::as_deref) else { continue };
            // This file's turn lasts until another file's head comes before its own.
            let limit = self.heads.peek().map(|Reverse(other)| *other);
            self.take_until(reader, head.reader, limit)?;
            match reader.peek() {
                Some(record) => {
                    self.heads.push(Reverse(Head { timestamp_ns: record.timestamp_ns, reader: head.reader }));
                }
                None => {
                    *self.exhausted = Some(head.reader);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Adds frames of one file, as long as no other file has an earlier one.
    fn take_until(&mut self, reader: &'a Reader, place: usize, limit: Option<Head>) -> Result<(), CaptureError> {
        if limit.is_none() && self.next_file_ns.is_none() && self.filter.is_none() {
            self.take_all(reader);
            return Ok(());
        }
        while let Some(record) = reader.peek() {
            if self.frames.is_full() {
                break;
            }
            let head = Head { timestamp_ns: record.timestamp_ns, reader: place };
            if limit.is_some_and(|limit| head > limit) || self.is_next_file_due(record.timestamp_ns) {
                break;
            }
            reader.advance(1);
            *self.number += 1;
            if !record.supported {
                self.statistics.frames_unsupported += 1;
                continue;
            }
            let frame = record.frame(*self.number, reader.bytes());
            if let Some(filter) = &mut self.filter
                && !filter.passes(frame.link_type, frame.data)?
            {
                self.statistics.frames_filtered += 1;
                continue;
            }
            self.statistics.count(std::iter::once((frame.timestamp_ns, frame.data.len() as u64)));
            self.frames.push(frame);
        }
        Ok(())
    }

    /// Adds frames of the only file left: [`take_until`](Self::take_until) without a question about each frame.
    fn take_all(&mut self, reader: &'a Reader) {
        let records = reader.found();
        let records = records.get(..records.len().min(self.frames.remaining_capacity())).unwrap_or(records);
        let window = reader.bytes();
        let mut number = *self.number;
        let before = self.frames.len();
        for record in records {
            number += 1;
            if !record.supported {
                continue;
            }
            self.frames.push(record.frame(number, window));
        }
        let given = self.frames.len() - before;
        self.statistics.frames_unsupported += (records.len() - given) as u64;
        reader.advance(records.len());
        reader.find_frames(&mut number, &mut self.frames);
        let added = self.frames.get(before..).unwrap_or_default();
        self.statistics.count(added.iter().map(|frame| (frame.timestamp_ns, frame.data.len() as u64)));
        *self.number = number;
    }

    fn is_next_file_due(&self, timestamp_ns: u64) -> bool {
        self.next_file_ns.is_some_and(|due| due <= timestamp_ns)
    }
}
