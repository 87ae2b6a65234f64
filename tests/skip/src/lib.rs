//! What a test calls that cannot run on this machine: it says so where the reader of `cargo test` sees it.
//!
//! In goes the reason, out comes a line on the standard error. The test harness captures what the print macros write and
//! shows it of failed tests only; a line written to the stream itself is always shown. It does not count skipped tests,
//! and does not make them fail.
#![forbid(unsafe_code)]

use std::fmt::Display;
use std::io::{self, Write};
use std::panic::Location;
use std::thread;

/// Says that the running test is skipped. The reason names what is missing and, where there is one, the remedy.
#[track_caller]
pub fn skipped(reason: impl Display) {
    // The test harness names a test's thread after the test, unless there is one thread for all.
    let thread = thread::current();
    let test =
        thread.name().filter(|name| *name != "main").map_or_else(|| Location::caller().to_string(), str::to_owned);
    // The harness may have written dots without a line's end. One write, so that lines of two tests do not mix.
    let _ = io::stderr().write_all(format!("\nskipped: {test}: {reason}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    #[test]
    #[ignore = "a part of `the_reason_is_shown_of_a_test_that_passes`, which runs it"]
    fn cannot_run_here() {
        skipped("there is no moon; wait for the night");
    }

    #[test]
    fn the_reason_is_shown_of_a_test_that_passes() {
        let harness = std::env::current_exe().unwrap();
        for threads in ["1", "2"] {
            let output = Command::new(&harness)
                .args(["--quiet", "--ignored", "--exact", "tests::cannot_run_here", "--test-threads", threads])
                .output()
                .unwrap();
            assert!(output.status.success());
            let errors = String::from_utf8(output.stderr).unwrap();
            let line = errors.lines().find(|line| line.starts_with("skipped: ")).unwrap();
            assert!(line.ends_with(": there is no moon; wait for the night"), "{line}");
            let test = line.split(": ").nth(1).unwrap();
            assert!(test == "tests::cannot_run_here" || test.starts_with(file!()), "{line}");
        }
    }

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            match path.file_name().and_then(|name| name.to_str()) {
                Some("target") => {}
                Some(name) if !name.starts_with('.') && path.is_dir() => sources(&path, found),
                Some(name) if name.ends_with(".rs") => found.push(path),
                _ => {}
            }
        }
    }

    /// The print macros would hide the reason again.
    #[test]
    fn no_test_prints_that_it_is_skipped() {
        let mut files = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), &mut files);
        assert!(files.len() > 200, "{}", files.len());
        let printed = concat!("print", "ln!(\"skipped");
        let wrong: Vec<_> = files.iter().filter(|file| fs::read_to_string(file).unwrap().contains(printed)).collect();
        assert!(wrong.is_empty(), "call vigie_skip::skipped there: {wrong:?}");
    }
}
