//! The segments of a journal as files: their names, what is in the folder, and their plain lines.
//!
//! A compressed segment ends with a skippable frame (RFC 8878 §3.1.2) that has the SHA-256 of all bytes before it: a bit
//! that changes nothing in the plain lines, such as one of the window size, is found as well. Any zstd program reads it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::sha256::Sha256;

/// Permissions of segments and seals.
pub(crate) const FILE_MODE: u32 = 0o640;
/// Compression level: about 1 CPU second for 300 MB of events.
const LEVEL: i32 = 3;
/// How many bytes are copied at a time.
const CHUNK_BYTES: usize = 128 << 10;
/// The first skippable frame's magic number, then the length of what follows: 32 bytes.
const TRAILER_HEAD: [u8; 8] = [0x50, 0x2A, 0x4D, 0x18, 32, 0, 0, 0];
const TRAILER_BYTES: u64 = 40;

/// In which forms a segment is in the folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forms {
    /// Plain lines.
    pub plain: bool,
    /// Compressed.
    pub compressed: bool,
    /// Compressed, and not complete or not in its place yet.
    pub unfinished: bool,
}

impl Forms {
    pub(crate) const fn is_readable(self) -> bool {
        self.plain || self.compressed
    }
}

pub(crate) fn plain_path(folder: &Path, seq: u64) -> PathBuf {
    folder.join(format!("{seq:08}.jsonl"))
}

pub(crate) fn compressed_path(folder: &Path, seq: u64) -> PathBuf {
    folder.join(format!("{seq:08}.jsonl.zst"))
}

pub(crate) fn unfinished_path(folder: &Path, seq: u64) -> PathBuf {
    folder.join(format!("{seq:08}.jsonl.zst.new"))
}

/// The segments in a folder.
pub(crate) fn list(folder: &Path) -> io::Result<BTreeMap<u64, Forms>> {
    let mut segments = BTreeMap::<u64, Forms>::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some((digits, form)) = name.to_str().and_then(|name| name.split_once('.')) else { continue };
        let is_number = digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let Some(seq) = is_number.then(|| digits.parse().ok()).flatten() else { continue };
        let found = match form {
            "jsonl" => Forms { plain: true, ..Forms::default() },
            "jsonl.zst" => Forms { compressed: true, ..Forms::default() },
            "jsonl.zst.new" => Forms { unfinished: true, ..Forms::default() },
            _ => continue,
        };
        let forms = segments.entry(seq).or_default();
        forms.plain |= found.plain;
        forms.compressed |= found.compressed;
        forms.unfinished |= found.unfinished;
    }
    Ok(segments)
}

/// Segments that can be read.
pub(crate) fn readable(folder: &Path) -> io::Result<Vec<u64>> {
    let segments = list(folder)?;
    Ok(segments.into_iter().filter(|(_, forms)| forms.is_readable()).map(|(seq, _)| seq).collect())
}

/// A segment that is open.
pub(crate) enum Segment {
    Plain(File),
    Compressed(Box<dyn Read + Send>),
}

impl Segment {
    /// Opens a segment in either form.
    pub(crate) fn open(folder: &Path, seq: u64) -> io::Result<Self> {
        match File::open(plain_path(folder, seq)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => return opened.map(Self::Plain),
        }
        let file = File::open(compressed_path(folder, seq))?;
        Ok(Self::Compressed(Box::new(zstd::Decoder::new(file)?)))
    }

    /// Its plain lines from the beginning.
    pub(crate) fn into_lines(self) -> Box<dyn Read + Send> {
        match self {
            Self::Plain(file) => Box::new(file),
            Self::Compressed(lines) => lines,
        }
    }
}

/// Reads all plain bytes of a segment, a chunk at a time.
pub(crate) fn each_chunk(mut lines: impl Read, mut with: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match lines.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => with(chunk.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads all lines of a segment, each with its newline.
pub(crate) fn each_line(lines: impl Read, mut with: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(CHUNK_BYTES, lines);
    let mut line = Vec::new();
    loop {
        line.clear();
        if io::BufRead::read_until(&mut reader, b'\n', &mut line)? == 0 {
            return Ok(());
        }
        with(&line)?;
    }
}

/// A compressed segment that is being written, under a name that no reader opens.
pub(crate) struct NewSegment {
    folder: PathBuf,
    seq: u64,
    encoder: zstd::Encoder<'static, HashingFile>,
}

impl NewSegment {
    pub(crate) fn create(folder: &Path, seq: u64) -> io::Result<Self> {
        let path = unfinished_path(folder, seq);
        remove_if_there(&path)?;
        let file = create_file(&path, FILE_MODE)?;
        let mut encoder = zstd::Encoder::new(HashingFile { file, hash: Sha256::new() }, LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Self { folder: folder.to_owned(), seq, encoder })
    }

    /// Ends it, and has the system store it. [`use_unfinished`] puts it in its place.
    pub(crate) fn finish(self) -> io::Result<()> {
        let HashingFile { mut file, hash } = self.encoder.finish()?;
        file.write_all(&TRAILER_HEAD)?;
        file.write_all(&hash.bytes())?;
        file.sync_all()
    }

    /// Removes what was written so far.
    pub(crate) fn discard(self) {
        let _ = fs::remove_file(unfinished_path(&self.folder, self.seq));
    }
}

impl Write for NewSegment {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.encoder.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
    }
}

struct HashingFile {
    file: File,
    hash: Sha256,
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Puts a compressed segment in its place, and removes the plain one.
pub(crate) fn use_unfinished(folder: &Path, seq: u64) -> io::Result<()> {
    fs::rename(unfinished_path(folder, seq), compressed_path(folder, seq))?;
    sync_folder(folder)?;
    remove_if_there(&plain_path(folder, seq))
}

/// Whether the bytes of a compressed segment are those that were written.
pub(crate) fn is_intact(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let Some(length) = file.metadata()?.len().checked_sub(TRAILER_BYTES) else { return Ok(false) };
    let mut hash = Sha256::new();
    each_chunk(Read::by_ref(&mut file).take(length), |chunk| {
        hash.update(chunk);
        Ok(())
    })?;
    let mut trailer = Vec::new();
    file.seek(SeekFrom::Start(length))?;
    file.read_to_end(&mut trailer)?;
    Ok(trailer.strip_prefix(&TRAILER_HEAD).is_some_and(|stored| stored == hash.bytes()))
}

/// The SHA-256 of the plain lines of a file, compressed or not.
pub(crate) fn plain_hash(lines: impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    each_chunk(lines, |chunk| {
        hash.update(chunk);
        Ok(())
    })?;
    Ok(hash.hex())
}

/// Makes a file with these permissions, whatever the umask says.
pub(crate) fn create_file(path: &Path, mode: u32) -> io::Result<File> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    set_mode(&file, mode)?;
    Ok(file)
}

pub(crate) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    if file.metadata()?.permissions().mode() & 0o7777 == mode {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Length of a time in events, such as `2026-11-28T02:14:06.123456+0000`.
pub(crate) const TIME_BYTES: usize = 31;

/// The time of an event, as it is written. Times in this form are in the order of their text: all are UTC.
pub(crate) fn time_of(line: &[u8]) -> Option<&[u8; TIME_BYTES]> {
    let (time, rest) = line.strip_prefix(b"{\"timestamp\":\"")?.split_first_chunk::<TIME_BYTES>()?;
    let is_utc = time.ends_with(b"+0000") && rest.first() == Some(&b'"');
    is_utc.then_some(time)
}
