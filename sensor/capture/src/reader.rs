//! One capture file, read record by record. Frames stay in the window until the records found in it are used up.

use std::borrow::Cow;
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use arrayvec::ArrayVec;

use super::classic::Classic;
use super::pcapng::Pcapng;
use super::record::{Halt, Interfaces, Record, Records};
use super::window::{Fill, ReadAhead, Window};
use super::{BATCH_FRAMES_MAX, Block, CaptureError, SourceStatistics, WARNINGS_MAX, Warning};
use vigie_wire::Frame;

/// The name that stands for the standard input.
pub(super) const STANDARD_INPUT: &str = "-";

/// A capture file in reading.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    window: Window,
    /// Up to here the window was searched for records. In a cell, as is `next`, so that both may move while frames borrow
    /// the window.
    at: Cell<usize>,
    format: Format,
    records: Records,
    /// The first of the records not yet given out.
    next: Cell<usize>,
    ended: bool,
    warnings: Vec<Warning>,
    warnings_left_out: u64,
    /// The file's length when it was opened; `None` for what has none, as a pipe.
    length: Option<u64>,
}

#[derive(Debug)]
enum Format {
    Classic(Classic),
    Pcapng(Pcapng),
}

impl Reader {
    /// Opens a capture and finds its first records.
    pub(super) fn open(path: &Path, known: &mut Interfaces) -> Result<Box<Self>, CaptureError> {
        let io_error = |source| CaptureError::Io { file: path.to_owned(), source };
        let file = open_file(path).map_err(io_error)?;
        let length = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
        let mut window = Window::open(file).map_err(io_error)?;
        let (format, at) = recognise(&mut window, known).map_err(|unreadable| match unreadable {
            Unreadable::Io(source) => io_error(source),
            Unreadable::NotACapture(seen) => CaptureError::NotACapture { file: path.to_owned(), seen },
        })?;
        let mut reader = Box::new(Self {
            path: path.to_owned(),
            window,
            at: Cell::new(at),
            format,
            records: Records::new(),
            next: Cell::new(0),
            ended: false,
            warnings: Vec::new(),
            warnings_left_out: 0,
            length,
        });
        reader.refill(known)?;
        match reader.unsupported() {
            Some(link_type) => {
                Err(CaptureError::LinkType { file: reader.path, number: link_type.0, name: link_type.name() })
            }
            None => Ok(reader),
        }
    }

    fn unsupported(&self) -> Option<vigie_wire::LinkType> {
        match &self.format {
            Format::Classic(classic) => Some(classic.link_type()).filter(|link_type| !link_type.is_supported()),
            Format::Pcapng(pcapng) => pcapng.unsupported(),
        }
    }

    /// The next record, if one is found already.
    #[inline]
    pub(super) fn peek(&self) -> Option<&Record> {
        self.records.get(self.next.get())
    }

    /// The records found already and not yet taken.
    #[inline]
    pub(super) fn found(&self) -> &[Record] {
        self.records.get(self.next.get()..).unwrap_or_default()
    }

    /// Takes `count` of the records found.
    #[inline]
    pub(super) fn advance(&self, count: usize) {
        self.next.set(self.next.get() + count);
    }

    /// Behind the records found already, if all of them were taken: adds frames as long as they can be found without
    /// records, up to a full batch. `number` is that of the last frame.
    pub(super) fn find_frames<'w>(&'w self, number: &mut u64, frames: &mut ArrayVec<Frame<'w>, BATCH_FRAMES_MAX>) {
        if let Format::Classic(classic) = &self.format
            && !self.ended
            && self.found().is_empty()
        {
            let mut at = self.at.get();
            let most = frames.remaining_capacity();
            classic.frames(self.window.bytes(), &mut at, number, most, |frame, _| frames.push(frame));
            self.at.set(at);
        }
    }

    /// The window in which the records lie that were found since the last refill.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.window.bytes()
    }

    /// Whether the file is one that can be opened again later.
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

    /// By which another can read ahead. A pipe gives its bytes when it likes; nobody is to wait for them with frames in hand.
    pub(super) fn read_ahead(&self) -> Option<ReadAhead> {
        // What claims to be a file of no bytes, and gives some, may be as slow as a pipe.
        let is_on_a_disk = self.length.is_some_and(|length| length > 0);
        (is_on_a_disk && !self.ended).then(|| self.window.read_ahead())
    }

    /// Moves what was odd since the last call.
    pub(super) fn move_warnings(&mut self, statistics: &mut SourceStatistics) {
        self.warnings.drain(..).for_each(|warning| statistics.warn(warning));
        statistics.warnings_left_out += std::mem::take(&mut self.warnings_left_out);
    }

    /// Finds more records when those found are used up. False at the end.
    pub(super) fn refill(&mut self, known: &mut Interfaces) -> Result<bool, CaptureError> {
        self.records.clear();
        self.next.set(0);
        // One record tells whether there are any, and of what time; more frames are found without.
        while self.search(1, known) && self.records.is_empty() {
            // The records found must be given out before the window may move.
            self.fill()?;
        }
        Ok(!self.records.is_empty())
    }

    /// Searches the window for records, up to `most` of them. True if there may be more behind it.
    fn search(&mut self, most: usize, known: &mut Interfaces) -> bool {
        while !self.ended {
            let bytes = self.window.bytes();
            let halt = match &mut self.format {
                Format::Classic(classic) => classic.scan(bytes, self.at.get_mut(), &mut self.records, most),
                Format::Pcapng(pcapng) => pcapng.scan(bytes, self.at.get_mut(), &mut self.records, known),
            };
            match halt {
                Halt::Full => break,
                Halt::Damaged(what) => self.end(what),
                Halt::Odd(place, what) => self.warn_at(place, what),
                Halt::Needs(_) => return true,
            }
        }
        false
    }

    /// Gives all frames in the window before `due_ns`, and the window with them. How many were passed over because their
    /// link type is unsupported comes back. `number` is that of the last frame.
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
                    block.frames.push(record.placed(*number));
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
                classic.frames(bytes, self.at.get_mut(), number, usize::MAX, |frame, start| block.place(&frame, start));
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
            Ok(Fill::Broken(what)) => {
                self.finish("");
                self.warn(
                    format!("the compressed file is damaged or ends early ({what}); what follows is not read").into(),
                );
            }
            Err(source) => {
                self.ended = true;
                return Err(CaptureError::Io { file: self.path.clone(), source });
            }
        }
        Ok(())
    }

    /// Ends the reading where no more bytes come: what is there of the last record is given.
    fn finish(&mut self, what: &'static str) {
        self.ended = true;
        let rest = self.window.bytes().get(self.at.get()..).unwrap_or_default();
        if rest.is_empty() {
            return;
        }
        let cut = match &mut self.format {
            Format::Classic(classic) => classic.cut_record(rest),
            Format::Pcapng(pcapng) => pcapng.cut_record(rest),
        };
        let start = self.at.get();
        if !what.is_empty() {
            let note = if cut.is_some() { "; its frame is read up to there" } else { "; it is left out" };
            self.warn(format!("{what}{note}").into());
        }
        if let Some(mut record) = cut {
            record.start += start;
            // Room is certain: a full queue halts the search before its end is met.
            let _ = self.records.try_push(record);
        }
        self.at.set(self.window.bytes().len());
    }

    /// Ends the reading at damaged bytes.
    fn end(&mut self, what: &'static str) {
        self.ended = true;
        self.warn(Cow::Borrowed(what));
    }

    fn warn(&mut self, what: Cow<'static, str>) {
        self.warn_at(self.at.get(), what);
    }

    fn warn_at(&mut self, place: usize, what: Cow<'static, str>) {
        let offset = self.window.offset() + place as u64;
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(Warning { file: self.path.clone(), offset, what });
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

enum Unreadable {
    Io(io::Error),
    NotACapture(String),
}

/// Tells the format from the first bytes and reads the file's header. How many bytes are consumed comes with it.
fn recognise(window: &mut Window, known: &mut Interfaces) -> Result<(Format, usize), Unreadable> {
    /// More than the headers need, but for the options of a section header.
    const START_BYTES: usize = 512;
    const SECTION_HEADER_BYTES_MAX: usize = 64 << 10;
    let mut wanted = START_BYTES;
    let mut broken = None;
    loop {
        let mut at = 0;
        while window.bytes().len() < wanted && broken.is_none() {
            match window.fill(&mut at).map_err(Unreadable::Io)? {
                Fill::More => {}
                Fill::End | Fill::Cut => break,
                Fill::Broken(what) => broken = Some(what),
            }
            // A pipe may give a header and then nothing for long.
            if opens(window.bytes()) {
                break;
            }
        }
        let bytes = window.bytes();
        let start = bytes.first_chunk::<4>().copied();
        let opened = match start {
            Some(start) if Classic::recognises(start) => {
                Classic::open(bytes, known).map(|(classic, consumed)| (Format::Classic(classic), consumed))
            }
            Some(start) if Pcapng::recognises(start) => Pcapng::open(bytes).map(|pcapng| (Format::Pcapng(pcapng), 0)),
            _ => Err(describe(bytes)),
        };
        match opened {
            Ok(opened) => return Ok(opened),
            // The options of a section header may be long.
            Err(_) if bytes.len() >= wanted && wanted < SECTION_HEADER_BYTES_MAX => wanted = SECTION_HEADER_BYTES_MAX,
            Err(seen) => {
                let broken = broken.map(|what| format!("; its compression is damaged ({what})")).unwrap_or_default();
                return Err(Unreadable::NotACapture(seen + &broken));
            }
        }
    }
}

fn opens(bytes: &[u8]) -> bool {
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
        (b"\xfd7zXZ\0", "xz-compressed; gzip and zstd are read"),
        (b"BZh", "bzip2-compressed; gzip and zstd are read"),
        (b"\x04\x22\x4d\x18", "lz4-compressed; gzip and zstd are read"),
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

#[cfg(test)]
mod tests {
    use super::super::forge::{Forge, drain};
    use super::super::record::ByteOrder;
    use super::super::{Files, FilesOptions};
    use std::process::{Command, Stdio};

    const FRAMES: u32 = 4000;

    fn classic() -> Vec<u8> {
        let mut file = Forge::classic(ByteOrder::Little, 0xa1b2_c3d4, 1);
        for number in 1..=FRAMES {
            file = file.record(number, 0, 700, &[number as u8 | 1; 684]);
        }
        file.bytes
    }

    fn pcapng() -> Vec<u8> {
        let mut file = Forge::new(ByteOrder::Little).section(ByteOrder::Little);
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
                .args(["--exact", "capture::reader::tests::the_standard_input"])
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
