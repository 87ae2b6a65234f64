//! `vigie journal`: what it says of a journal that is as it was sealed and of one that is not, and its exit codes.

// Clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::process::Command;

use vigie_journal::{Journal, JournalOptions};

/// A journal of two closed segments of ten lines each, and one line that is not sealed yet.
fn journal() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(&root.path().join("journal"), JournalOptions::default()).unwrap();
    for number in 0..21 {
        let (day, hour) = (27 + number / 10, number % 10);
        let text = format!("{{\"timestamp\":\"2026-11-{day}T{hour:02}:00:00.000000+0000\",\"n\":{number}}}\n");
        journal.add_line(|line| line.extend(text.bytes()));
        journal.write().unwrap();
        if hour == 9 {
            journal.rotate().unwrap();
        }
    }
    while journal.status().compressed() < 2 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    root
}

/// What the command writes to both streams, and how it ends. The folder's path is left out.
fn vigie(root: &tempfile::TempDir, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_vigie")).args(arguments).current_dir(root).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_journal_that_is_as_it_was_sealed_is_told_with_what_was_not_judged() {
    let root = journal();
    let (code, out, error) = vigie(&root, &["journal", "verify", "journal"]);
    let expected = "2 segments, 20 lines, are as they were sealed: 2026-11-27T00:00:00.000000+0000 to \
                    2026-11-28T09:00:00.000000+0000\n1 line of the live segment: no seal yet\na change by somebody who made \
                    the seals anew is found with seals held elsewhere only: --against FILE\n";
    assert_eq!((code, out.as_str(), error.as_str()), (0, expected, ""));
    fs::copy(root.path().join("journal/seals.jsonl"), root.path().join("held")).unwrap();
    let (code, out, _) = vigie(&root, &["journal", "verify", "journal", "--against", "held"]);
    assert!(code == 0 && out.ends_with("2 seals of held are in the chain\n"), "{out}");
    fs::write(root.path().join("vigie.toml"), "[capture]\ninterfaces = [\"eth0\"]\n").unwrap();
    let (code, _, error) = vigie(&root, &["journal", "verify", "--config", "vigie.toml"]);
    let expected = "vigie: there is no journal: journal.folder is empty in the configuration; set it, name the folder, or give \
                    --config FILE\n";
    assert_eq!((code, error.as_str()), (78, expected));
    let folder = root.path().join("journal");
    let line = format!("[journal]\nfolder = \"{}\"\n", folder.display());
    fs::write(root.path().join("vigie.toml"), format!("[capture]\ninterfaces = [\"eth0\"]\n{line}")).unwrap();
    assert_eq!(vigie(&root, &["journal", "verify", "--config", "vigie.toml"]).0, 0);
    let (code, _, error) = vigie(&root, &["journal", "verify", "nowhere"]);
    assert!(code == 69 && error.starts_with("vigie: nowhere: it is no folder, or cannot be read; "), "{error}");
}

#[test]
fn the_first_damaged_segment_is_named_and_nothing_says_that_all_is_well() {
    let root = journal();
    let path = root.path().join("journal/00000002.jsonl.zst");
    let mut bytes = fs::read(&path).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (code, out, error) = vigie(&root, &["journal", "verify", "journal"]);
    assert_eq!((code, out.as_str()), (65, ""));
    assert!(error.starts_with("vigie: the journal is not what was sealed: segment 00000002: it"), "{error}");
    assert!(
        error.ends_with("; keep a copy of the folder; a receiver of the events may hold what is missing\n"),
        "{error}"
    );
    fs::remove_file(root.path().join("journal/00000001.jsonl.zst")).unwrap();
    let (_, _, error) = vigie(&root, &["journal", "verify", "journal"]);
    assert!(error.contains("segment 00000001: its file is missing"), "{error}");
    fs::write(root.path().join("held"), "nothing\n").unwrap();
    let (code, _, error) = vigie(&root, &["journal", "verify", "journal", "--against", "held"]);
    assert!(code == 65 && error.starts_with("vigie: held: there is no seal in it: "), "{error}");
    let (code, _, error) = vigie(&root, &["journal", "export", "journal"]);
    assert!(code == 65 && error.ends_with("; 'vigie journal verify' names it\n"), "{error}");
}

#[test]
fn a_span_of_time_is_copied() {
    let root = journal();
    let lines = |arguments: &[&str]| {
        let (code, out, error) = vigie(&root, &[&["journal", "export", "journal"], arguments].concat());
        assert_eq!((code, error.as_str()), (0, ""));
        out.lines().count()
    };
    assert_eq!(lines(&[]), 21);
    assert_eq!(lines(&["--from", "2026-11-28"]), 11);
    assert_eq!(lines(&["--from", "2026-11-27T08:00", "--to", "2026-11-28T01:00"]), 3);
    assert_eq!(lines(&["--to", "2026-11-27T02:00+01:00"]), 1);
    for (arguments, expected) in [
        (["--from", "yesterday"], "write a time such as 2026-11-27, 2026-11-27T08:00 or 2026-11-27T08:00:00+01:00"),
        (["--to", "2026-02-30"], "write a time such as"),
    ] {
        let (code, _, error) = vigie(&root, &[&["journal", "export", "journal"][..], &arguments[..]].concat());
        assert!(code == 64 && error.contains(expected), "{error}");
    }
    let (code, _, error) =
        vigie(&root, &["journal", "export", "journal", "--from", "2026-11-28", "--to", "2026-11-27"]);
    assert!(code == 64 && error.contains("is not before --to"), "{error}");
}
