//! Where the writer saves open incidents: in one file, or, with a journal, in `NNNNNNNN.state` beside the live segment, anew for
//! each segment. A start takes the newest that can be used; the file of a sensor that had no journal yet comes last.

use std::fs;
use std::path::{Path, PathBuf};

use crate::judging::{Saved, SavedRef, StateError, StateFile};

/// The files.
pub enum StateFiles {
    /// One file.
    One(StateFile),
    /// A file for each segment of the journal in this folder.
    OfJournal {
        /// The folder.
        folder: PathBuf,
        /// What a sensor without a journal saved.
        before: Option<StateFile>,
        /// The segment for which it was saved last.
        saved_for: u64,
    },
}

impl StateFiles {
    /// The files of a journal; `before` is the file that was used without it.
    pub fn of_journal(folder: PathBuf, before: Option<PathBuf>) -> Self {
        Self::OfJournal { folder, before: before.map(StateFile::new), saved_for: 0 }
    }

    /// Whether a file is saved for each segment of a journal.
    pub const fn are_of_journal(&self) -> bool {
        matches!(self, Self::OfJournal { .. })
    }

    /// What was saved last; also the path of each file that cannot be used, and why.
    pub fn load(&self) -> (Option<Saved>, Vec<(PathBuf, StateError)>) {
        let files = match self {
            Self::One(file) => vec![file.clone()],
            Self::OfJournal { folder, before, .. } => {
                let mut paths = state_paths(folder);
                paths.reverse();
                paths.into_iter().map(|(_, path)| StateFile::new(path)).chain(before.clone()).collect()
            }
        };
        let mut errors = Vec::new();
        for file in files {
            match file.load() {
                Ok(Some(saved)) => return (Some(saved), errors),
                Ok(None) => {}
                Err(error) => errors.push((file.path().to_owned(), error)),
            }
        }
        (None, errors)
    }

    /// Whether a segment was begun since it was saved last.
    pub const fn is_due(&self, live_seq: u64) -> bool {
        match self {
            Self::One(_) => false,
            Self::OfJournal { saved_for, .. } => *saved_for != live_seq && *saved_for != 0,
        }
    }

    /// Saves the state. The files of older segments are removed.
    ///
    /// # Errors
    /// It cannot be written; what was saved before stays.
    pub fn save(&mut self, state: &SavedRef<'_>, live_seq: u64) -> Result<(), (PathBuf, std::io::Error)> {
        match self {
            Self::One(file) => file.save(state).map_err(|error| (file.path().to_owned(), error)),
            Self::OfJournal { folder, saved_for, .. } => {
                let path = folder.join(format!("{live_seq:08}.state"));
                StateFile::new(path.clone()).save(state).map_err(|error| (path, error))?;
                *saved_for = live_seq;
                for (seq, path) in state_paths(folder) {
                    if seq != live_seq {
                        let _ = fs::remove_file(path);
                    }
                }
                Ok(())
            }
        }
    }
}

/// The files in a journal's folder, the oldest first.
fn state_paths(folder: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.path();
            let seq = path.file_name()?.to_str()?.strip_suffix(".state")?.parse().ok()?;
            Some((seq, path))
        })
        .collect();
    paths.sort_unstable();
    paths
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use vigie_judgement::policy::Policy;
    use vigie_signatures::Bundle;

    use super::*;
    use crate::judging::{Judging, Limits};

    #[test]
    fn each_segment_has_a_file_and_the_newest_good_one_counts() {
        let root = tempfile::tempdir().unwrap();
        let (folder, old) = (root.path().join("journal"), root.path().join("judgement.state"));
        fs::create_dir(&folder).unwrap();
        let judging = Judging::new(Bundle::builtin(), Arc::new(Policy::builtin()), Limits::default());
        let mut files = StateFiles::of_journal(folder.clone(), Some(old.clone()));
        assert!(files.load().0.is_none() && files.load().1.is_empty());
        // An upgrade takes over what was saved before there was a journal.
        StateFile::new(old).save(&judging.save()).unwrap();
        assert!(files.load().0.is_some());
        assert!(!files.is_due(1), "it is saved for the first time when its time has come");
        files.save(&judging.save(), 1).unwrap();
        assert!(files.is_due(2) && !files.is_due(1));
        let names = || state_paths(&folder).into_iter().map(|(seq, _)| seq).collect::<Vec<_>>();
        assert_eq!(names(), [1]);
        files.save(&judging.save(), 2).unwrap();
        assert_eq!(names(), [2], "the state of older segments is gone");
        let newest = folder.join("00000002.state");
        assert_eq!(newest.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        // One that is damaged is told, and the one before it is used.
        fs::copy(&newest, folder.join("00000001.state")).unwrap();
        fs::write(&newest, "nothing").unwrap();
        let (saved, errors) = files.load();
        assert!(saved.is_some());
        assert_eq!(errors.iter().map(|(path, _)| path).collect::<Vec<_>>(), [&newest]);
    }
}
