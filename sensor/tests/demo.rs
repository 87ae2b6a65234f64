//! `vigie demo`: from one command to pages, and nothing is left behind.

// Clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn a_newcomer_sees_incidents_and_coverage_and_nothing_is_left() {
    let vigie = Path::new(env!("CARGO_BIN_EXE_vigie"));
    if !vigie.with_file_name("vigie-console").is_file() {
        return vigie_skip::skipped("vigie-console is not built; cargo build -p vigie-console");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(vigie);
    command.args(["demo", "--clients", "60", "--listen", "127.0.0.1:0"]).env("TMPDIR", folder.path());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("answers on") {
        assert!(errors.read_line(&mut said).unwrap() > 0, "it ended: {said}");
    }
    let address = said.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let mut page = get("/");
    for _ in 0..200 {
        if page.contains("/incident/") && page.contains("Seen ") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        page = get("/");
    }
    assert!(page.contains("/incident/") && page.contains("Seen 99."), "{page}");
    assert!(page.contains("blind 4"), "{page}");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "the day is removed");
    assert!(TcpStream::connect(&address).is_err(), "the console has ended");
}
