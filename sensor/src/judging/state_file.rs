//! The file in which open incidents, and the evidence that waits, survive a restart. Only its owner can read it: it also
//! names clients without an incident.
//!
//! A line of JSON says what follows, and its SHA-256; then comes [`Saved`] as JSON. A new file takes the old one's
//! place when it is complete and on the disk, so there is always a whole one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::{Saved, SavedRef};

/// The format of what follows the first line.
const FORMAT: u32 = 1;
/// A file that is larger is not read: the limits of judgement allow none such.
const BYTES_MAX: u64 = 1 << 30;
/// Bytes of the first line at most.
const HEADER_BYTES_MAX: u64 = 512;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    bytes: u64,
    sha256: String,
}

/// Why a saved state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It was cut or changed.
    #[error("it is damaged")]
    Damaged,
    /// Another version of the program wrote it.
    #[error("it has format {0}, which this version does not read")]
    Format(u32),
}

/// The file.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// At this path.
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Saves the state.
    ///
    /// # Errors
    /// It cannot be written; the old file stays.
    pub fn save(&self, state: &SavedRef<'_>) -> io::Result<()> {
        let body = serde_json::to_vec(state)?;
        let header = Header { format: FORMAT, bytes: body.len() as u64, sha256: sha256(&body) };
        let mut first = serde_json::to_vec(&header)?;
        first.push(b'\n');
        vigie_journal::replace_file(&self.path, 0o600, &[&first, &body])
    }

    /// What was saved; none if nothing was.
    ///
    /// # Errors
    /// It cannot be read, or not used.
    pub fn load(&self) -> Result<Option<Saved>, StateError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut reader = BufReader::new(file);
        let mut first = Vec::new();
        (&mut reader).take(HEADER_BYTES_MAX).read_until(b'\n', &mut first)?;
        let header: Header = serde_json::from_slice(&first).map_err(|_| StateError::Damaged)?;
        if header.format != FORMAT {
            return Err(StateError::Format(header.format));
        }
        if header.bytes > BYTES_MAX {
            return Err(StateError::Damaged);
        }
        let mut body = Vec::new();
        reader.take(header.bytes + 1).read_to_end(&mut body)?;
        if body.len() as u64 != header.bytes || sha256(&body) != header.sha256 {
            return Err(StateError::Damaged);
        }
        serde_json::from_slice(&body).map(Some).map_err(|_| StateError::Damaged)
    }
}

fn sha256(bytes: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
