//! `--check`: whether the journal, the state folder and each receiver can be used, without sending an event.

use std::path::Path;

use nix::unistd::{AccessFlags, access};

use crate::configuration::Configuration;
use crate::engine::journal_error;
use crate::error::SendError;
use crate::receiver::open;
use vigie_journal::{JournalReader, StartAt};

/// Looks at everything. A line each, and whether all is well.
pub fn check(configuration: &Configuration) -> (Vec<String>, bool) {
    let settings = &configuration.settings;
    let mut lines = configuration.warnings.clone();
    let mut is_well = true;
    let mut report = |what: &str, result: Result<String, SendError>| match result {
        Ok(text) => lines.push(format!("{what}: {text}")),
        Err(error) => {
            is_well = false;
            lines.push(format!("{what}: {error}"));
        }
    };
    let folder = &settings.journal.folder;
    let journal = JournalReader::open(folder, StartAt::Oldest).map_err(|error| journal_error(folder, &error));
    report("journal", journal.map(|_| format!("can be read: {}", folder.display())));
    let folder = &settings.state.folder;
    report("state", writable(folder).map(|()| format!("can be written: {}", folder.display())));
    for receiver in &configuration.receivers {
        let what = format!("receiver {} ({}, {})", receiver.name, receiver.kind.as_str(), receiver.encoding);
        report(&what, open(receiver).probe());
    }
    (lines, is_well)
}

fn writable(folder: &Path) -> Result<(), SendError> {
    let may = access(folder, AccessFlags::W_OK | AccessFlags::X_OK);
    may.map_err(|error| SendError::file(folder, &error.into()))
}
