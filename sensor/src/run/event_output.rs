//! Where the writer's lines go: to the journal, or to one file.

use std::io;
use std::time::Duration;

use vigie_journal::{EventFile, Journal, Written};

/// The journal, or a file.
pub enum EventOutput {
    /// A journal of segments.
    Journal(Box<Journal>),
    /// One file, or the standard output.
    File(Box<EventFile>),
}

impl From<Journal> for EventOutput {
    fn from(journal: Journal) -> Self {
        Self::Journal(Box::new(journal))
    }
}

impl From<EventFile> for EventOutput {
    fn from(file: EventFile) -> Self {
        Self::File(Box::new(file))
    }
}

impl EventOutput {
    /// Adds the line that `encode` appends, newline included.
    pub fn add_line(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        match self {
            Self::Journal(journal) => journal.add_line(encode),
            Self::File(file) => file.add_line(encode),
        };
    }

    /// Whether so much waits that it should be written before more is added.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Journal(journal) => journal.is_full(),
            Self::File(file) => file.is_full(),
        }
    }

    /// Writes all that waits.
    ///
    /// # Errors
    /// See [`Journal::write`] and [`EventFile::write`].
    pub fn write(&mut self) -> io::Result<()> {
        match self {
            Self::Journal(journal) => journal.write(),
            Self::File(file) => file.write(),
        }
    }

    /// What was written since the last call.
    pub fn take_written(&mut self) -> Written {
        match self {
            Self::Journal(journal) => journal.take_written(),
            Self::File(file) => file.take_written(),
        }
    }

    /// Has the system store what was written since the last call.
    ///
    /// # Errors
    /// The system could not.
    pub fn sync(&mut self) -> io::Result<()> {
        match self {
            Self::Journal(journal) => journal.sync(),
            Self::File(file) => file.sync(),
        }
    }

    /// Gives up the lines that wait.
    pub fn give_up(&mut self) {
        match self {
            Self::Journal(journal) => journal.give_up(),
            Self::File(file) => file.give_up(),
        };
    }

    /// Opens a file again under its name. Nobody renames segments.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn reopen(&mut self) -> io::Result<()> {
        match self {
            Self::Journal(_) => Ok(()),
            Self::File(file) => file.reopen(),
        }
    }

    /// Writes to the file in use after all, although it should have been reopened.
    pub const fn forgo_reopen(&mut self) {
        if let Self::File(file) = self {
            file.forgo_reopen();
        }
    }

    /// Waits until the output may take more, but not longer than this.
    pub fn wait(&self, time_max: Duration) {
        match self {
            Self::Journal(_) => std::thread::sleep(time_max),
            Self::File(file) => file.wait(time_max),
        }
    }

    /// The journal, if it is one.
    pub fn journal(&mut self) -> Option<&mut Journal> {
        match self {
            Self::Journal(journal) => Some(journal),
            Self::File(_) => None,
        }
    }
}
