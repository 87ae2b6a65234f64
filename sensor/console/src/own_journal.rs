//! The console's own journal: what people decided, and at what they looked. It has the format of the sensor's, so it is sealed,
//! survives a rebuild of the tables, and a forwarder can read it.

use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use vigie_journal::{Journal, JournalOptions, Retention, eve, record};

/// What somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act<'a> {
    /// Looked at an incident.
    Viewed { incident: &'a str },
    /// Took an incident up.
    Acknowledged { incident: &'a str, note: &'a str },
    /// Wrote a note.
    Note { incident: &'a str, note: &'a str },
    /// Decided what an incident was: `confirmed`, `false` or `excused`.
    Disposition { incident: &'a str, disposition: &'a str, note: &'a str },
    /// Signed in.
    SignedIn,
}

impl Act<'_> {
    /// The word in events, the id by kind of act, and what a SIEM shows as its name. A decision is the same event as that of
    /// `vigie incident close`.
    const fn signature(&self) -> (&'static str, u32, &'static str) {
        match self {
            Self::Disposition { .. } => ("disposition", 6, "vigie audit: an incident was decided"),
            Self::Viewed { .. } => ("incident-viewed", 20, "vigie audit: an incident was viewed"),
            Self::Acknowledged { .. } => ("acknowledged", 21, "vigie audit: an incident was taken up"),
            Self::Note { .. } => ("note", 22, "vigie audit: a note was written"),
            Self::SignedIn => ("signed-in", 23, "vigie audit: somebody signed in to the console"),
        }
    }
}

/// The journal.
pub struct OwnJournal(Mutex<Journal>);

impl OwnJournal {
    /// Opens it.
    ///
    /// # Errors
    /// The folder cannot be written, or another console writes to it.
    pub fn open(folder: &Path, days: u32) -> io::Result<Self> {
        let retention = Retention { alerts_days: days, incidents_days: days, ..Retention::default() };
        let (journal, _) = Journal::open(folder, JournalOptions { retention, ..JournalOptions::default() })?;
        Ok(Self(Mutex::new(journal)))
    }

    /// Writes down what somebody did. When this returns, others can read it; what was decided is on the disk.
    ///
    /// # Errors
    /// It cannot be written: what it is about must not be done.
    pub fn write(&self, by: &str, act: &Act<'_>) -> io::Result<()> {
        let (word, signature_id, signature) = act.signature();
        let mut facts = vec![("audit", word.to_owned())];
        let mut tell = |key, text: &str| facts.push((key, text.to_owned()));
        match *act {
            Act::Viewed { incident } => tell("incident", incident),
            Act::Acknowledged { incident, note } | Act::Note { incident, note } => {
                tell("incident", incident);
                tell("note", note);
            }
            Act::Disposition { incident, disposition, note } => {
                tell("incident", incident);
                tell("disposition", disposition);
                tell("note", note);
            }
            Act::SignedIn => {}
        }
        tell("by", by);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let audit = record::Audit { timestamp_ns: now.as_nanos() as u64, signature_id, signature, facts: &facts };
        let mut journal = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        journal.add_line(|line| eve::encode_audit(&audit, None, line));
        let written = journal.write();
        if written.is_err() {
            // It must not appear later, after the person was told that it was not done.
            journal.give_up();
        }
        written?;
        if matches!(act, Act::Viewed { .. } | Act::SignedIn) { Ok(()) } else { journal.sync() }
    }
}
