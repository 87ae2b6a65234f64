//! Reads the seals that were added since: `seals.jsonl`, line by line, from where it was read last.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::seal;

/// The seals of a journal, and how far they were read.
#[derive(Debug)]
pub struct SealReader {
    path: PathBuf,
    offset: u64,
    line_bytes_max: u64,
}

impl SealReader {
    /// Begins at a byte of the file, which need not be there yet. A line that is longer than `line_bytes_max` is not read, nor
    /// what follows it.
    pub fn new(folder: &Path, offset: u64, line_bytes_max: u64) -> Self {
        Self { path: folder.join(seal::FILE), offset, line_bytes_max }
    }

    /// Up to where it has read.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Begins at another byte.
    pub const fn seek(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// Begins after all seals that are there.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn skip_all(&mut self) -> io::Result<()> {
        self.offset = self.length()?;
        Ok(())
    }

    /// Whether the file is shorter than what was read of it. It was made anew then, and is read from its beginning.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn begin_anew_if_shorter(&mut self) -> io::Result<bool> {
        let is_shorter = self.length()? < self.offset;
        if is_shorter {
            self.offset = 0;
        }
        Ok(is_shorter)
    }

    /// Gives at most `count_max` further whole lines, without newline.
    ///
    /// # Errors
    /// The file cannot be read, or `with` fails: its line is read again.
    pub fn next(&mut self, count_max: usize, mut with: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.begin_anew_if_shorter()?;
        if self.length()? == self.offset {
            return Ok(());
        }
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        for _ in 0..count_max {
            line.clear();
            Read::by_ref(&mut reader).take(self.line_bytes_max).read_until(b'\n', &mut line)?;
            let Some(seal) = line.strip_suffix(b"\n") else { break };
            with(seal)?;
            self.offset += line.len() as u64;
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            metadata => Ok(metadata?.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_whole_seal_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut reader = SealReader::new(folder.path(), 0, 1_000);
        let read = |reader: &mut SealReader| {
            let mut seen = Vec::new();
            let take = |seal: &[u8]| {
                seen.push(String::from_utf8(seal.to_vec()).unwrap());
                Ok(())
            };
            reader.next(2, take).unwrap();
            seen
        };
        assert!(read(&mut reader).is_empty());
        fs::write(folder.path().join(seal::FILE), "{\"seq\":1}\n{\"seq\":2}\n{\"seq\":3}\n{\"se").unwrap();
        assert_eq!(read(&mut reader), ["{\"seq\":1}", "{\"seq\":2}"]);
        assert_eq!(read(&mut reader), ["{\"seq\":3}"]);
        assert!(read(&mut reader).is_empty());
        assert_eq!(reader.offset(), 30);
        fs::write(folder.path().join(seal::FILE), "{\"seq\":4}\n").unwrap();
        assert_eq!(read(&mut reader), ["{\"seq\":4}"]);
    }
}
