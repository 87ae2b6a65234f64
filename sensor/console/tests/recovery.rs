//! Tables can be lost at any moment: by a kill, or because somebody removes or damages the file. The console comes back by
//! itself, with all that the journals say, and touches nothing of them.
// Clippy knows only functions marked as tests, which may panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use self::common::{CLIENT, Console, ID, journal};

const INCIDENTS: usize = 300;

/// Many incidents: the tables are not made in a moment.
fn many() -> String {
    (0..INCIDENTS).map(|number| journal("").replace(ID, &format!("p{number:04}-00000-0"))).collect()
}

/// Starts the console anew over what is left.
fn start_again(console: &mut Console) {
    let journal = console.folder.path().join("journal");
    let mut command = Command::new(env!("CARGO_BIN_EXE_vigie-console"));
    command.arg("--demo").arg(&journal).args(["--set", &format!("state.folder={}", console.state().display())]);
    let mut child = command.args(["--set", "server.listen=127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    errors.read_line(&mut said).unwrap();
    thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
    console.port = said.trim_end().trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
    console.child = child;
}

fn kill(console: &mut Console) {
    console.child.kill().unwrap();
    console.child.wait().unwrap();
}

/// What somebody may do to the file while nobody uses it.
fn damage(database: &Path, how: usize) {
    let length = fs::metadata(database).map(|file| file.len()).unwrap_or_default();
    let with = |suffix: &str| format!("{}{suffix}", database.display());
    match how {
        0 => _ = fs::remove_file(database),
        // A kill between the removal of damaged tables and the new ones left no file: damage enough.
        1 | 2 if !database.exists() => {}
        1 => fs::File::options().write(true).open(database).unwrap().set_len(length / 2).unwrap(),
        2 => fs::File::options().write(true).open(database).unwrap().write_all_at(&[0xff; 20_000], length / 3).unwrap(),
        3 => _ = fs::remove_file(with("-wal")),
        4 => fs::write(with("-wal"), [7; 5_000]).unwrap(),
        5 => fs::write(with("-shm"), [7; 40_000]).unwrap(),
        6 => fs::write(database, "").unwrap(),
        _ => {}
    }
}

#[test]
fn kills_and_damage_at_any_moment_cost_nothing_of_the_record() {
    let mut console = Console::demo(&many());
    let journal = console.folder.path().join("journal").join("00000001.jsonl");
    let before = fs::read(&journal).unwrap();
    let first = "/incident/p0000-00000-0";
    let page = console.until(first, "", CLIENT);
    let form = format!("csrf={}&as=confirmed&note=kept", page.csrf());
    assert_eq!(console.post(&format!("{first}/decide"), "", "", &form).status, 303);
    for (round, pause_ms) in [3_u64, 40, 15, 90, 7, 60, 25, 0, 120].into_iter().enumerate() {
        kill(&mut console);
        damage(&console.state().join("console.sqlite"), round);
        start_again(&mut console);
        thread::sleep(Duration::from_millis(pause_ms));
    }
    console.until("/?day=all", "", &format!("{INCIDENTS} incidents"));
    let page = console.until(first, "", "kept");
    assert!(page.text.contains("Confirmed"), "the decision survives: {}", page.text);
    assert_eq!(fs::read(&journal).unwrap(), before, "the record is not touched");
}

#[test]
fn damage_while_the_tables_are_in_use_is_noticed() {
    let console = Console::demo(&many());
    console.until("/?day=all", "", &format!("{INCIDENTS} incidents"));
    console.until("/health", "", "vigie");
    let database = console.state().join("console.sqlite");
    // All is in the file itself, and not in the log beside it.
    let tables = rusqlite::Connection::open(&database).unwrap();
    tables.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(tables);
    let file = fs::File::options().write(true).open(&database).unwrap();
    let length = file.metadata().unwrap().len();
    file.write_all_at(&vec![0xa5; length as usize - 4_096], 4_096).unwrap();
    // Somebody looks, or a line comes in: then it is noticed.
    for number in 0..INCIDENTS {
        let _ = console.get(&format!("/incident/p{number:04}-00000-0"), "");
    }
    let mut lines =
        fs::File::options().append(true).open(console.folder.path().join("journal/00000001.jsonl")).unwrap();
    lines.write_all(journal("").as_bytes()).unwrap();
    console.until("/?day=all", "", &format!("{} incidents", INCIDENTS + 1));
    let page = console.until(&format!("/incident/{ID}"), "", "tnc16.tiktokv.eu");
    assert!(page.text.contains(CLIENT));
}

#[test]
fn it_starts_under_the_narrowest_umask() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(path("journal")).unwrap();
    let mut command = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_vigie-console");
    command.args(["-c", "umask 077; exec \"$0\" \"$@\"", program, "--demo", &path("journal")]);
    command.args(["--set", &format!("state.folder={}", path("state")), "--set", "server.listen=127.0.0.1:0"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    let _ = child.kill();
    let _ = child.wait();
    assert!(said.contains("answers on"), "{said}");
}
