//! The daily files of names that may be missing in the signatures.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use time::{Date, Duration};

use crate::judging::{Candidates, Judging};

/// Files are kept for so many days.
const KEPT_DAYS: i64 = 7;
const PREFIX: &str = "candidates-";
const SUFFIX: &str = ".jsonl";

/// A folder with a file for each day.
#[derive(Debug)]
pub struct CandidateFiles {
    folder: PathBuf,
}

impl CandidateFiles {
    /// In this folder.
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the names of the day. When the next day has begun, counting begins anew.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write(&self, judging: &mut Judging, today: Date) -> io::Result<()> {
        let candidates = judging.candidates();
        let Some(day) = candidates.day() else { return Ok(()) };
        self.write_day(candidates, day)?;
        if day < today {
            judging.take_candidates();
            self.remove_old(today)?;
        }
        Ok(())
    }

    fn write_day(&self, candidates: &Candidates, day: Date) -> io::Result<()> {
        let path = self.folder.join(format!("{PREFIX}{day}{SUFFIX}"));
        let new = path.with_extension("new");
        fs::write(&new, candidates.lines())?;
        fs::rename(new, path)
    }

    fn remove_old(&self, today: Date) -> io::Result<()> {
        let oldest = format!("{PREFIX}{}{SUFFIX}", today.saturating_sub(Duration::days(KEPT_DAYS)));
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(PREFIX) && name.ends_with(SUFFIX) && *name < *oldest {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    #[test]
    fn files_older_than_a_week_go_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["candidates-2026-11-01.jsonl", "candidates-2026-11-20.jsonl", "candidates-2026-11-19.jsonl", "notes"]
        {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let files = CandidateFiles::new(folder.path().to_owned());
        let mut candidates = Candidates::default();
        candidates.add("host.example.net", "bytedance-infra", 1_795_766_400_000_000_000);
        files.write_day(&candidates, candidates.day().unwrap()).unwrap();
        files.remove_old(date!(2026 - 11 - 27)).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["candidates-2026-11-20.jsonl", "candidates-2026-11-27.jsonl", "notes"]);
        let text = fs::read_to_string(folder.path().join("candidates-2026-11-27.jsonl")).unwrap();
        assert!(text.contains("host.example.net"), "{text}");
    }
}
