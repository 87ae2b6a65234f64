//! The journal's seals as events: `seals.jsonl` is read line by line, and each seal becomes an audit line that has the
//! seal as it stands there. Who keeps these lines elsewhere can prove later that the journal was changed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use vigie_journal::eve;
use vigie_journal::record::Audit;

use crate::selection::{SIGNATURE_LOST, SIGNATURE_SEAL};
use crate::time::now_ns;

/// The file of seals in the folder of a journal.
const FILE: &str = "seals.jsonl";
/// Longest seal; one has some 400 bytes.
const SEAL_BYTES_MAX: u64 = 64 << 10;

/// Reads seals that were not read yet.
#[derive(Debug)]
pub struct SealReader {
    path: PathBuf,
    offset: u64,
}

impl SealReader {
    /// Begins at a byte of the file.
    pub fn new(journal: &Path, offset: u64) -> Self {
        Self { path: journal.join(FILE), offset }
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

    fn length(&self) -> io::Result<u64> {
        match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            metadata => Ok(metadata?.len()),
        }
    }

    /// Gives at most `count_max` further whole lines.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next(&mut self, count_max: usize, mut with: impl FnMut(&str)) -> io::Result<()> {
        let length = self.length()?;
        if length == self.offset {
            return Ok(());
        }
        if length < self.offset {
            // The file was made anew: all that it has may be new.
            self.offset = 0;
        }
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut reader = BufReader::new(file);
        let mut line = String::new();
        for _ in 0..count_max {
            line.clear();
            io::Read::take(&mut reader, SEAL_BYTES_MAX).read_line(&mut line)?;
            let Some(seal) = line.strip_suffix('\n') else { break };
            with(seal);
            self.offset += line.len() as u64;
        }
        Ok(())
    }
}

/// A seal as an event.
pub fn seal_event(seal: &str, host: &str) -> Vec<u8> {
    let fact = |key: &str| {
        let object: serde_json::Value = serde_json::from_str(seal).unwrap_or_default();
        match object.get(key) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(serde_json::Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    };
    let digest = ring::digest::digest(&ring::digest::SHA256, seal.as_bytes());
    let event_id = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let facts = [
        ("event_id", event_id),
        ("audit", "sealed".to_owned()),
        ("segment", fact("seq")),
        ("sha256", fact("sha256")),
        ("reason", fact("reason")),
        ("seal", seal.to_owned()),
    ];
    event(SIGNATURE_SEAL, "vigie journal: a segment was sealed", &facts, host)
}

/// What a receiver is told of events that it never got.
pub fn lost_event(receiver: &str, segments: u64, host: &str) -> Vec<u8> {
    let facts = [("audit", "lost".to_owned()), ("receiver", receiver.to_owned()), ("segments", segments.to_string())];
    event(SIGNATURE_LOST, "vigie forward: segments were removed before this receiver had them", &facts, host)
}

fn event(signature_id: u32, signature: &'static str, facts: &[(&'static str, String)], host: &str) -> Vec<u8> {
    let audit = Audit { timestamp_ns: now_ns(), signature_id, signature, facts };
    let mut line = Vec::new();
    eve::encode_audit(&audit, Some(host).filter(|host| !host.is_empty()), &mut line);
    line.pop();
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::{Class, Head};
    use std::fs;

    #[test]
    fn each_whole_seal_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut reader = SealReader::new(folder.path(), 0);
        let read = |reader: &mut SealReader| {
            let mut seen = Vec::new();
            reader.next(2, |seal| seen.push(seal.to_owned())).unwrap();
            seen
        };
        assert!(read(&mut reader).is_empty());
        fs::write(folder.path().join(FILE), "{\"seq\":1}\n{\"seq\":2}\n{\"seq\":3}\n{\"se").unwrap();
        assert_eq!(read(&mut reader), ["{\"seq\":1}", "{\"seq\":2}"]);
        assert_eq!(read(&mut reader), ["{\"seq\":3}"]);
        assert!(read(&mut reader).is_empty());
        assert_eq!(reader.offset(), 30);
        fs::write(folder.path().join(FILE), "{\"seq\":4}\n").unwrap();
        assert_eq!(read(&mut reader), ["{\"seq\":4}"]);
    }

    #[test]
    fn a_seal_stands_in_its_event_as_it_is() {
        let seal = r#"{"seq":7,"sha256":"ab","prev":"00"}"#;
        let line = seal_event(seal, "tap");
        assert_eq!(Head::parse(&line).unwrap().class(), Class::Seals);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["alert"]["metadata"]["seal"][0], seal);
        assert_eq!(value["alert"]["metadata"]["segment"][0], "7");
        assert_eq!(Head::parse(&line).unwrap().event_id().unwrap().len(), 16);
        let lost = lost_event("soc", 3, "tap");
        assert_eq!(Head::parse(&lost).unwrap().class(), Class::Audit);
    }
}
