//! A file that is replaced as a whole.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::segment;

/// Puts a file with this content in the place of the one at `path`: whenever power fails, one of the two is there, whole.
///
/// # Errors
/// It cannot be written; the old file stays.
pub fn replace_file(path: &Path, mode: u32, content: &[&[u8]]) -> io::Result<()> {
    let mut new = OsString::from(path);
    new.push(".new");
    let new = PathBuf::from(new);
    // What an interrupted call left may have another mode.
    segment::remove_if_there(&new)?;
    let mut file = segment::create_file(&new, mode)?;
    content.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    segment::sync_folder(folder.unwrap_or(Path::new(".")))
}
