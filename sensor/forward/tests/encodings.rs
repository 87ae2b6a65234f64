//! Each encoding of real events, as it is committed beside them.
//!
//! `VIGIE_BLESS=1 cargo test -p vigie-forward --test encodings` writes the files anew, for when an encoding is meant to
//! change. Look at the difference before it is committed; `tests/encodings/validate` has parsers of others read the result.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are no #[test] functions")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use vigie_forward::encode::Encoding;
use vigie_skip::skipped;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/encodings")
}

fn events() -> String {
    fs::read_to_string(folder().join("events.jsonl")).unwrap()
}

fn encoded(encoding: Encoding, line: &str) -> String {
    let mut out = Vec::new();
    encoding.encode(line.as_bytes(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn events_are_encoded_as_the_files_beside_them_say() {
    for (encoding, file) in [
        (Encoding::Ecs, "ecs.jsonl"),
        (Encoding::Ocsf, "ocsf.jsonl"),
        (Encoding::Cef, "cef.txt"),
        (Encoding::Leef, "leef.txt"),
    ] {
        let lines: Vec<String> = events().lines().map(|line| encoded(encoding, line)).collect();
        let path = folder().join(file);
        if std::env::var_os("VIGIE_BLESS").is_some() {
            fs::write(&path, lines.join("\n") + "\n").unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap();
        assert_eq!(lines.len(), expected.lines().count(), "{file}");
        for (line, expected) in lines.iter().zip(expected.lines()) {
            assert_eq!(line, expected, "{file}");
        }
    }
}

#[test]
fn parsers_of_others_accept_them() {
    let output = Command::new(folder().join("validate")).arg("--offline").output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    match output.status.code() {
        Some(0) => println!("{said}"),
        Some(69) => skipped(said.trim()),
        _ => panic!("{said}"),
    }
}
