//! File names, folders and patterns, turned into paths.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::CaptureError;

/// A file to be read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// It was found in a folder, where files that are no captures are to be expected.
    pub(super) is_from_folder: bool,
}

/// The files that names, folders and patterns mean, each once. Folders within folders come back apart: they are not searched.
pub(super) fn expand<P: AsRef<Path>>(patterns: &[P]) -> Result<(Vec<Found>, Vec<PathBuf>), CaptureError> {
    let (mut found, mut skipped) = (Vec::new(), Vec::new());
    for pattern in patterns {
        let path = pattern.as_ref();
        match path.to_str().filter(|text| text.contains(['*', '?', '['])) {
            Some(text) if path.symlink_metadata().is_err() => expand_pattern(text, &mut found)?,
            _ if path.is_dir() => expand_folder(path, &mut found, &mut skipped)?,
            _ => found.push(Found { path: path.to_owned(), is_from_folder: false }),
        }
    }
    let mut seen = HashSet::new();
    found.retain(|file| seen.insert(file.path.clone()));
    Ok((found, skipped))
}

fn expand_pattern(pattern: &str, files: &mut Vec<Found>) -> Result<(), CaptureError> {
    let wrong = |reason: String| CaptureError::Pattern { pattern: pattern.to_owned(), reason };
    let count = files.len();
    for found in glob::glob(pattern).map_err(|error| wrong(error.to_string()))? {
        match found {
            Ok(path) if path.is_dir() => {}
            Ok(path) => files.push(Found { path, is_from_folder: false }),
            Err(error) => return Err(CaptureError::Io { file: error.path().to_owned(), source: error.into() }),
        }
    }
    if files.len() == count { Err(wrong("no file has such a name".to_owned())) } else { Ok(()) }
}

/// The files in a folder, sorted by name.
fn expand_folder(folder: &Path, files: &mut Vec<Found>, skipped: &mut Vec<PathBuf>) -> Result<(), CaptureError> {
    let failed = |source| CaptureError::Io { file: folder.to_owned(), source };
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let mut paths = entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect::<Result<Vec<_>, CaptureError>>()?;
    paths.sort_unstable();
    let count = files.len();
    for path in paths {
        // Pipes and devices in a folder might never end.
        if path.is_file() {
            files.push(Found { path, is_from_folder: true });
        } else {
            skipped.push(path);
        }
    }
    if files.len() == count {
        let reason = "there is no file in the directory; directories within it are not searched".to_owned();
        return Err(CaptureError::Pattern { pattern: folder.display().to_string(), reason });
    }
    Ok(())
}
