//! Replays what the fuzzer starts from and what it once broke: `fuzz/seeds/<target>/*` and `fuzz/crashes/<target>/*`.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are no #[test] functions")]

#[path = "../fuzz/src/lib.rs"]
#[allow(clippy::indexing_slicing, clippy::expect_used, clippy::panic, reason = "a harness panics to say what is wrong")]
#[allow(missing_docs, reason = "documented as a crate of its own")]
mod fuzz;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files by the target that they are for. A folder that is no target's would never be replayed, so it must not be.
fn cases(folder: &str) -> BTreeMap<String, Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    let mut cases: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let target = entry.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(fuzz::TARGETS.iter().any(|(name, _)| *name == target), "{target} is no target");
        let mut files: Vec<PathBuf> = fs::read_dir(&entry).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        cases.insert(target, files);
    }
    cases
}

fn replay(folder: &str) -> usize {
    let mut count = 0;
    for (target, files) in cases(folder) {
        for file in files {
            println!("{}", file.display());
            fuzz::run(&target, &fs::read(&file).unwrap());
            count += 1;
        }
    }
    count
}

#[test]
fn every_target_has_seeds_that_pass() {
    let cases = cases("seeds");
    for (name, _) in fuzz::TARGETS {
        assert!(cases.get(*name).is_some_and(|files| !files.is_empty()), "{name} has no seeds");
        let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/fuzz_targets/{name}.rs"));
        let text = fs::read_to_string(&binary).unwrap();
        assert!(text.contains(&format!("\"{name}\"")), "{} runs another target", binary.display());
    }
    assert!(replay("seeds") >= fuzz::TARGETS.len());
}

#[test]
fn what_once_crashed_passes() {
    replay("crashes");
}
