//! File names and patterns, turned into paths.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::CaptureError;

/// The files that names and patterns mean, each once.
pub(super) fn expand<P: AsRef<Path>>(patterns: &[P]) -> Result<Vec<PathBuf>, CaptureError> {
    let mut paths = Vec::new();
    for pattern in patterns {
        let path = pattern.as_ref();
        match path.to_str().filter(|text| text.contains(['*', '?', '['])) {
            Some(text) if path.symlink_metadata().is_err() => expand_pattern(text, &mut paths)?,
            _ => paths.push(path.to_owned()),
        }
    }
    let mut seen = HashSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    Ok(paths)
}

fn expand_pattern(pattern: &str, paths: &mut Vec<PathBuf>) -> Result<(), CaptureError> {
    let wrong = |reason: String| CaptureError::Pattern { pattern: pattern.to_owned(), reason };
    let count = paths.len();
    for found in glob::glob(pattern).map_err(|error| wrong(error.to_string()))? {
        match found {
            Ok(path) if path.is_dir() => {}
            Ok(path) => paths.push(path),
            Err(error) => return Err(CaptureError::Io { file: error.path().to_owned(), source: error.into() }),
        }
    }
    if paths.len() == count { Err(wrong("no file has such a name".to_owned())) } else { Ok(()) }
}
