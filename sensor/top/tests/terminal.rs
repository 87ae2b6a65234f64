//! The program in a real terminal, against an endpoint of metrics and a journal: it draws, follows a change of the window's
//! size, survives an endpoint that goes, and leaves the terminal as it was.
// Clippy knows only functions marked as tests, which may panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};

const LONG: Duration = Duration::from_secs(20);
const INCIDENT: &str = r#"{"timestamp":"2026-11-24T10:09:07.329575+0000","event_type":"alert","alert":{"gid":7,"severity":1,"metadata":{"incident":["f967w-9phv8-j"],"incident_state":["opened"],"client":["10.16.0.9"],"service":["tiktok"],"service_name":["TikTok\u001b[31m"],"verdict":["app"],"ban":["fr"]}}}"#;

/// An endpoint of metrics: packets grow, and drops begin when asked for.
struct Endpoint {
    address: SocketAddr,
    drops: Arc<AtomicU64>,
    is_gone: Arc<AtomicBool>,
}

impl Endpoint {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (drops, is_gone) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (shared_drops, shared_gone) = (Arc::clone(&drops), Arc::clone(&is_gone));
        thread::spawn(move || {
            let mut packets = 0;
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                if shared_gone.load(Relaxed) {
                    continue;
                }
                let _ = stream.read(&mut [0; 4_096]);
                packets += 5_000;
                let drops = shared_drops.load(Relaxed);
                let body = format!(
                    "vigie_ready 1\nvigie_interface_up{{interface=\"tap0\"}} 1\nvigie_incidents_open 1\n\
                     vigie_capture_packets_total{{interface=\"tap0\"}} {packets}\n\
                     vigie_capture_drops_total{{interface=\"tap0\",reason=\"ring\"}} {drops}\n"
                );
                let _ = write!(stream, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n{body}");
            }
        });
        Self { address, drops, is_gone }
    }
}

/// The program in a terminal of its own.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    /// Everything that was written, and the part that was looked at.
    written: Mutex<(String, usize)>,
    slave: std::os::fd::OwnedFd,
    /// How the terminal was before.
    mode_before: String,
}

impl Terminal {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).unwrap();
        let stream = || Stdio::from(pair.slave.try_clone().unwrap());
        let mode_before = mode(&pair.slave);
        let mut command = Command::new(env!("CARGO_BIN_EXE_vigie-top"));
        command.args(arguments).env_clear().env("TERM", "xterm").envs(environment.iter().copied());
        let child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
        let keyboard = File::from(pair.master.try_clone().unwrap());
        let mut reader = File::from(pair.master);
        let (sender, screen) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 65_536];
            while let Ok(count) = reader.read(&mut bytes) {
                if count == 0 || sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keyboard, screen, written: Mutex::default(), slave: pair.slave, mode_before }
    }

    /// Waits until a text is written after what was looked at before.
    fn until(&self, wanted: &str) {
        let began = Instant::now();
        let mut written = self.written.lock().unwrap();
        loop {
            let (text, looked) = &mut *written;
            if let Some(at) = text[*looked..].find(wanted) {
                *looked += at + wanted.len();
                return;
            }
            assert!(began.elapsed() < LONG, "no {wanted:?} in {:?}", &text[*looked..]);
            match self.screen.recv_timeout(Duration::from_millis(200)) {
                Ok(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("it ended: {text:?}"),
            }
        }
    }

    /// Waits until a text was written, before or after what was looked at.
    fn shows(&self, wanted: &str) {
        let is_there = self.all().contains(wanted);
        if !is_there {
            self.until(wanted);
        }
    }

    fn all(&self) -> String {
        self.written.lock().unwrap().0.clone()
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Another size of the window, as a terminal tells it.
    fn resize(&self, rows: &str, columns: &str) {
        let mut command = Command::new("stty");
        command.args(["rows", rows, "cols", columns]).stdin(Stdio::from(self.slave.try_clone().unwrap()));
        assert!(command.status().unwrap().success());
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), nix::sys::signal::Signal::SIGWINCH)
            .unwrap();
    }

    fn is_as_before(&self) -> bool {
        mode(&self.slave) == self.mode_before
    }

    fn ends_within(&mut self, time: Duration) -> i32 {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap();
            }
            assert!(began.elapsed() < time, "it does not end");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The settings of a terminal, as `stty` tells them.
fn mode(terminal: &std::os::fd::OwnedFd) -> String {
    let mut command = Command::new("stty");
    let output = command.arg("--save").stdin(Stdio::from(terminal.try_clone().unwrap())).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn journal(folder: &Path) -> String {
    fs::write(folder.join("00000001.jsonl"), format!("{INCIDENT}\n")).unwrap();
    folder.display().to_string()
}

#[test]
fn it_draws_follows_and_leaves_the_terminal_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(folder.path());
    let endpoint = Endpoint::start();
    let address = endpoint.address.to_string();
    let arguments = ["--metrics", address.as_str(), "--journal", journal.as_str()];
    let mut terminal = Terminal::start(&arguments, &[("LANG", "C.UTF-8"), ("TZ", "UTC")]);
    terminal.until("\x1b[?1049h");
    terminal.shows("tap0");
    terminal.shows("10.16.0.9");
    // The colour of the record is not the terminal's.
    terminal.shows("TikTok\u{fffd}[31m");
    endpoint.drops.store(777, Relaxed);
    terminal.until("777");
    terminal.resize("40", "120");
    terminal.until("Busiest");
    endpoint.is_gone.store(true, Relaxed);
    terminal.until("NO METRICS");
    endpoint.is_gone.store(false, Relaxed);
    terminal.until("ready");
    terminal.press("q");
    terminal.until("\x1b[?1049l");
    assert_eq!(terminal.ends_within(LONG), 0);
    // Only the sixteen colours that every terminal has.
    let all = terminal.all();
    assert!(!all.contains("\x1b[38;2;") && !all.contains("\x1b[48;2;"), "{all:?}");
    assert!(terminal.is_as_before());
}

#[test]
fn a_signal_and_control_c_end_it_and_no_color_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(folder.path());
    // Nobody answers there.
    let arguments = ["--metrics", "127.0.0.1:1", "--journal", journal.as_str(), "--lang", "fr"];
    let mut terminal = Terminal::start(&arguments, &[("LANG", "C.UTF-8"), ("NO_COLOR", "1")]);
    terminal.until("AUCUNE MESURE");
    terminal.shows("10.16.0.9");
    terminal.press("\x03");
    assert_eq!(terminal.ends_within(LONG), 0);
    let all = terminal.all();
    for colour in ["\x1b[31", "\x1b[33", "\x1b[36", "\x1b[38;", ";31m", ";36m"] {
        assert!(!all.contains(colour), "{colour:?} in {all:?}");
    }
    assert!(terminal.is_as_before());
    let mut terminal = Terminal::start(&arguments, &[("LANG", "C")]);
    // Without symbols there are no accents either, but French was asked for.
    terminal.until("AUCUNE MESURE");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(terminal.child.id() as i32), nix::sys::signal::Signal::SIGTERM)
        .unwrap();
    assert_eq!(terminal.ends_within(LONG), 0);
    assert!(terminal.is_as_before());
}

#[test]
fn without_a_terminal_it_says_so() {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vigie-top"));
        let output = command.args(arguments).stdin(Stdio::null()).env("TERM", "xterm").output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&["--metrics", "127.0.0.1:1"]);
    assert_eq!(code, 69);
    assert!(said.contains("there is no terminal") && said.contains("http://127.0.0.1:1/metrics"), "{said}");
    assert_eq!(run(&["--config", "/no/such"]).0, 78);
    assert_eq!(run(&["--lang", "de"]).0, 64);
}
