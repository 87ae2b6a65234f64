//! One capture file, read record by record. Frames stay in the window until all records found in it are taken.

mod format;

use std::borrow::Cow;
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrayvec::ArrayVec;

use self::format::{Format, Unreadable, recognise};
use super::classic::Classic;
use super::record::{Interfaces, Record, Records, ScanEnd};
use super::window::{Fill, ReadAhead, Window};
use super::{BATCH_FRAMES_MAX, Block, CaptureError, SourceStatistics, WARNINGS_MAX, Warning};
use vigie_wire::Frame;

/// The file name that means the standard input.
pub(super) const STANDARD_INPUT: &str = "-";

/// A capture file being read.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    window: Window,
    /// The window was searched for records up to here. This is a cell, as is `next`, so that both can move while frames
    /// borrow the window.
    at: Cell<usize>,
    format: Format,
    records: Records,
    /// The first record that was not taken yet.
    next: Cell<usize>,
    ended: bool,
    /// Bytes of a long block that are still to be skipped.
    skip_bytes: u64,
    time_order: Cell<TimeOrder>,
    is_damaged: bool,
    warnings: Vec<Warning>,
    warnings_left_out: u64,
    /// The file's length when it was opened; `None` for a pipe.
    length: Option<u64>,
}

impl Reader {
    /// Opens a capture and finds its first records.
    pub(super) fn open(
        path: &Path,
        stop: Option<&Arc<AtomicBool>>,
        known: &mut Interfaces,
    ) -> Result<Box<Self>, CaptureError> {
        let io_error = |source| CaptureError::Io { file: path.to_owned(), source };
        let file = open_file(path).map_err(io_error)?;
        let length = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
        let mut window = Window::open(file, stop.cloned()).map_err(io_error)?;
        let (format, at) =
            recognise(&mut window, length.is_some_and(|length| length > 0), known).map_err(|unreadable| {
                match unreadable {
                    Unreadable::Io(source) => io_error(source),
                    Unreadable::NotACapture(seen) => CaptureError::NotACapture { file: path.to_owned(), seen },
                }
            })?;
        let mut reader = Box::new(Self {
            path: path.to_owned(),
            window,
            at: Cell::new(at),
            format,
            records: Records::new(),
            next: Cell::new(0),
            ended: false,
            skip_bytes: 0,
            time_order: Cell::default(),
            is_damaged: false,
            warnings: Vec::new(),
            warnings_left_out: 0,
            length,
        });
        reader.refill(known)?;
        reader.check_supported()?;
        Ok(reader)
    }

    /// # Errors
    /// No frame of the file can be read because of its link type.
    pub(super) fn check_supported(&self) -> Result<(), CaptureError> {
        let Some(link_type) = self.unsupported() else { return Ok(()) };
        Err(CaptureError::LinkType { file: self.path.clone(), number: link_type.0, name: link_type.name() })
    }

    /// The link type for which no frame of the file can be read.
    pub(super) fn unsupported(&self) -> Option<vigie_wire::LinkType> {
        match &self.format {
            Format::Classic(classic) => Some(classic.link_type()).filter(|link_type| !link_type.is_supported()),
            // An interface that is supported may follow yet.
            Format::Pcapng(pcapng) => pcapng.unsupported().filter(|_| self.ended && self.found().is_empty()),
        }
    }

    /// The next record, if one was found already.
    #[inline]
    pub(super) fn peek(&self) -> Option<&Record> {
        self.records.get(self.next.get())
    }

    /// The records found and not yet taken.
    #[inline]
    pub(super) fn found(&self) -> &[Record] {
        self.records.get(self.next.get()..).unwrap_or_default()
    }

    /// Takes `count` of the records found.
    #[inline]
    pub(super) fn advance(&self, count: usize) {
        let mut order = self.time_order.get();
        for record in self.found().iter().take(count) {
            order.see(record.timestamp_ns, record.start, self.window.offset());
        }
        self.time_order.set(order);
        self.next.set(self.next.get() + count);
    }

    /// Adds frames that can be found without making records, up to a full batch, if all records were taken. `number` is
    /// that of the last frame.
    pub(super) fn find_frames<'w>(&'w self, number: &mut u64, frames: &mut ArrayVec<Frame<'w>, BATCH_FRAMES_MAX>) {
        if let Format::Classic(classic) = &self.format
            && !self.ended
            && self.found().is_empty()
        {
            let mut at = self.at.get();
            let most = frames.remaining_capacity();
            let (mut order, offset) = (self.time_order.get(), self.window.offset());
            classic.frames(self.window.bytes(), &mut at, number, most, |frame, start| {
                order.see(frame.timestamp_ns, start, offset);
                frames.push(frame);
            });
            self.time_order.set(order);
            self.at.set(at);
        }
    }

    /// The window that holds the bytes of the records found since the last refill.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.window.bytes()
    }

    /// Whether the file can be opened again later.
    pub(super) fn can_be_opened_again(&self) -> bool {
        self.length.is_some() && self.path.as_os_str() != STANDARD_INPUT
    }

    /// The file's length, if it has one.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// How much of the file is read.
    pub(super) fn position(&self) -> u64 {
        self.window.file_position()
    }

    /// A handle with which another thread can read ahead. There is none for a pipe: reading from it may block while frames
    /// wait to be worked on.
    pub(super) fn read_ahead(&self) -> Option<ReadAhead> {
        // A file that claims to have no bytes and gives some (as in /proc) may be as slow as a pipe.
        let is_on_a_disk = self.length.is_some_and(|length| length > 0);
        (is_on_a_disk && !self.ended).then(|| self.window.read_ahead())
    }

    /// Whether the reading ended at damaged bytes.
    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// At the end of the file: warns if time went back in it.
    pub(super) fn warn_of_time_order(&mut self) {
        let order = self.time_order.take();
        if order.frames_back > 0 {
            let seconds = order.back_max_ns as f64 / 1e9;
            let frames = if order.frames_back == 1 { "frame is" } else { "frames are" };
            let message = format!(
                "time goes back: {} {frames} earlier than one before, by up to {seconds:.6} s",
                order.frames_back
            );
            let file = self.path.clone();
            self.warnings.push(Warning { file, offset: order.first_offset, message: message.into() });
        }
    }

    /// Moves the warnings since the last call.
    pub(super) fn move_warnings(&mut self, statistics: &mut SourceStatistics) {
        self.warnings.drain(..).for_each(|warning| statistics.warn(warning));
        statistics.warnings_left_out += std::mem::take(&mut self.warnings_left_out);
    }

    /// Finds more records once those found were taken. Returns false at the end.
    pub(super) fn refill(&mut self, known: &mut Interfaces) -> Result<bool, CaptureError> {
        self.records.clear();
        self.next.set(0);
        // One record is enough to know the time of the next frame; more frames are found without records.
        while self.search(1, known) && self.records.is_empty() {
            // The window may move only while no record refers to it.
            self.fill()?;
        }
        Ok(!self.records.is_empty())
    }

    /// Searches the window for records, up to `most` of them. Returns true if there may be more behind the window.
    fn search(&mut self, most: usize, known: &mut Interfaces) -> bool {
        while !self.ended {
            let bytes = self.window.bytes();
            if self.skip_bytes > 0 {
                let there = bytes.len() - self.at.get();
                let skipped = usize::try_from(self.skip_bytes).unwrap_or(usize::MAX).min(there);
                self.at.set(self.at.get() + skipped);
                self.skip_bytes -= skipped as u64;
                if self.skip_bytes > 0 {
                    return true;
                }
            }
            let end = match &mut self.format {
                Format::Classic(classic) => classic.scan(bytes, self.at.get_mut(), &mut self.records, most),
                Format::Pcapng(pcapng) => pcapng.scan(bytes, self.at.get_mut(), &mut self.records, known),
            };
            match end {
                ScanEnd::Full => break,
                ScanEnd::Damaged(message) => self.end(message),
                ScanEnd::Warning(place, message) => self.warn_at(place, message),
                ScanEnd::Needs(_) => return true,
                ScanEnd::Skip(bytes) => self.skip_bytes = bytes,
            }
        }
        false
    }

    /// Moves all frames in the window that are earlier than `due_ns` to `block`, together with the window's memory. Returns
    /// how many frames were skipped because their link type is unsupported. `number` is that of the last frame.
    pub(super) fn take_block(
        &mut self,
        due_ns: Option<u64>,
        known: &mut Interfaces,
        number: &mut u64,
        block: &mut Block,
    ) -> u64 {
        let mut unsupported = 0;
        let mut kept = None;
        while !self.found().is_empty() {
            let is_due = |record: &Record| due_ns.is_some_and(|due_ns| record.timestamp_ns >= due_ns);
            let due = self.found().iter().position(is_due);
            let given = due.unwrap_or(self.found().len());
            for record in self.found().iter().take(given) {
                *number += 1;
                if record.supported {
                    block.frames.push(record.entry(*number));
                } else {
                    unsupported += 1;
                }
            }
            self.advance(given);
            if due.is_some() {
                kept = self.peek().map(|record| record.start);
                break;
            }
            if let (Format::Classic(classic), None, false) = (&self.format, due_ns, self.ended) {
                let bytes = self.window.bytes();
                let (order, offset) = (self.time_order.get_mut(), self.window.offset());
                classic.frames(bytes, self.at.get_mut(), number, usize::MAX, |frame, start| {
                    order.see(frame.timestamp_ns, start, offset);
                    block.add(&frame, start);
                });
            }
            self.records.clear();
            self.next.set(0);
            self.search(BATCH_FRAMES_MAX, known);
        }
        let kept = kept.unwrap_or(self.at.get());
        block.start = self.window.exchange(&mut block.bytes, kept);
        for record in &mut self.records {
            record.start = record.start.saturating_sub(kept);
        }
        self.at.set(self.at.get() - kept);
        unsupported
    }

    fn fill(&mut self) -> Result<(), CaptureError> {
        match self.window.fill(self.at.get_mut()) {
            Ok(Fill::More) => {}
            Ok(Fill::End) => self.finish("the file ends within a record"),
            Ok(Fill::Cut) => {
                self.finish("");
                self.warn("the file was cut while it was being read; what follows is lost".into());
            }
            Ok(Fill::Broken(message)) => {
                self.finish("");
                self.is_damaged = true;
                let message =
                    format!("the compressed file is damaged or ends early ({message}); what follows is not read");
                self.warn(message.into());
            }
            Err(source) => {
                self.ended = true;
                return Err(CaptureError::Io { file: self.path.clone(), source });
            }
        }
        Ok(())
    }

    /// Ends the reading where the bytes end. What is there of the last record is given.
    fn finish(&mut self, message: &'static str) {
        self.ended = true;
        if self.skip_bytes > 0 {
            self.warn(
                format!("the file ends within a block of which {} more bytes should follow", self.skip_bytes).into(),
            );
        }
        let rest = self.window.bytes().get(self.at.get()..).unwrap_or_default();
        if rest.is_empty() {
            return;
        }
        if let (Format::Classic(_), Some(message)) = (&self.format, Classic::end_message(rest)) {
            self.warn(message.into());
            self.at.set(self.window.bytes().len());
            return;
        }
        let cut = match &mut self.format {
            Format::Classic(classic) => classic.cut_record(rest),
            Format::Pcapng(pcapng) => pcapng.cut_record(rest),
        };
        let start = self.at.get();
        if !message.is_empty() {
            let note = if cut.is_some() { "; its frame is read up to there" } else { "; it is left out" };
            self.warn(format!("{message}{note}").into());
        }
        if let Some(mut record) = cut {
            record.start += start;
            // There is room: a full queue ends the search before the end of the file is met.
            let _ = self.records.try_push(record);
        }
        self.at.set(self.window.bytes().len());
    }

    /// Ends the reading at damaged bytes.
    fn end(&mut self, message: &'static str) {
        self.ended = true;
        self.is_damaged = true;
        self.warn(Cow::Borrowed(message));
    }

    fn warn(&mut self, message: Cow<'static, str>) {
        self.warn_at(self.at.get(), message);
    }

    fn warn_at(&mut self, place: usize, message: Cow<'static, str>) {
        let offset = self.window.offset() + place as u64;
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(Warning { file: self.path.clone(), offset, message });
        } else {
            self.warnings_left_out += 1;
        }
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    if path.as_os_str() == STANDARD_INPUT {
        return Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?));
    }
    File::open(path)
}

/// Frames of a file that are earlier than one before them.
#[derive(Clone, Copy, Debug, Default)]
struct TimeOrder {
    latest_ns: u64,
    frames_back: u64,
    back_max_ns: u64,
    /// Where in the file the first of them is.
    first_offset: u64,
}

impl TimeOrder {
    /// Takes note of the next frame, whose bytes begin at `start` in a window at `window_offset` of the file.
    #[inline]
    fn see(&mut self, timestamp_ns: u64, start: usize, window_offset: u64) {
        if timestamp_ns >= self.latest_ns {
            self.latest_ns = timestamp_ns;
        } else {
            self.count_back(timestamp_ns, start, window_offset);
        }
    }

    #[cold]
    fn count_back(&mut self, timestamp_ns: u64, start: usize, window_offset: u64) {
        if self.frames_back == 0 {
            self.first_offset = window_offset + start as u64;
        }
        self.frames_back += 1;
        self.back_max_ns = self.back_max_ns.max(self.latest_ns - timestamp_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::ByteOrder;
    use super::super::testing::{CaptureBuilder, drain};
    use super::super::{Files, FilesOptions};
    use std::process::{Command, Stdio};

    const FRAMES: u32 = 4000;

    fn classic() -> Vec<u8> {
        let mut file = CaptureBuilder::classic(ByteOrder::Little, 0xa1b2_c3d4, 1);
        for number in 1..=FRAMES {
            file = file.record(number, 0, 700, &[number as u8 | 1; 684]);
        }
        file.bytes
    }

    fn pcapng() -> Vec<u8> {
        let mut file = CaptureBuilder::new(ByteOrder::Little).section(ByteOrder::Little);
        file = file.interface(vigie_wire::LinkType::ETHERNET, 0, &[]);
        for number in 1..=FRAMES {
            file = file.enhanced(0, u64::from(number), 700, &[number as u8 | 1; 668]);
        }
        file.bytes
    }

    #[test]
    fn a_file_cut_while_it_is_read_gives_the_frames_before_the_cut() {
        for (bytes, record, header) in [(classic(), 700, 16), (pcapng(), 700, 28)] {
            let head = bytes.len() - FRAMES as usize * record;
            for length in [1 << 19, (1 << 19) + 300, bytes.len() - 500, bytes.len() - 1] {
                let file = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(file.path(), &bytes).unwrap();
                let mut files = Files::open(&[file.path()], &FilesOptions::default()).unwrap();
                file.as_file().set_len(length as u64).unwrap();
                let (frames, statistics) = drain(&mut files).unwrap();
                let (complete, rest) = ((length - head) / record, (length - head) % record);
                assert_eq!(frames.len(), complete + usize::from(rest > header), "{length}");
                for (frame, number) in frames.iter().zip(1_u64..) {
                    assert_eq!((frame.number, frame.wire_length), (number, 700), "{length}");
                    assert!(frame.data.iter().all(|&byte| byte == number as u8 | 1), "{length}: {number}");
                }
                let warnings: Vec<_> = statistics.warnings.iter().map(ToString::to_string).collect();
                assert_eq!(warnings.len(), 1, "{length}: {warnings:?}");
                assert!(warnings[0].contains("was cut while it was being read"), "{length}: {warnings:?}");
            }
        }
    }

    #[test]
    fn the_standard_input() {
        const CHILD: &str = "VIGIE_TEST_READS_STANDARD_INPUT";
        if std::env::var_os(CHILD).is_some() {
            let (frames, _) = drain(&mut Files::open(&["-", "-"], &FilesOptions::default()).unwrap()).unwrap();
            assert_eq!(frames.len(), FRAMES as usize);
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), classic()).unwrap();
        let mut cat = Command::new("cat").arg(file.path()).stdout(Stdio::piped()).spawn().unwrap();
        let pipe = cat.stdout.take().unwrap();
        for input in [Stdio::from(pipe), Stdio::from(file.reopen().unwrap())] {
            let outcome = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "reader::tests::the_standard_input"])
                .env(CHILD, "1")
                .stdin(input)
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&outcome.stdout);
            assert!(outcome.status.success() && text.contains("1 passed"), "{text}");
        }
        cat.wait().unwrap();
    }
}
