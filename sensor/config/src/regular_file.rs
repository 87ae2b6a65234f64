//! Opening of files that a configuration names.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Opens a regular file. Reading a named pipe would wait for a writer, and a device may have no end.
///
/// # Errors
/// It cannot be opened, or is of another kind.
pub fn open_regular(path: &Path) -> io::Result<File> {
    if fs::metadata(path)?.is_file() { File::open(path) } else { Err(io::Error::other("it is not a regular file")) }
}
