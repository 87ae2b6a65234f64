//! What the tests share: a journal, the program, certificates, and waiting.
// Each test uses some of it. Clippy knows only functions marked as tests, which may panic.
#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[cfg(feature = "kafka")]
pub mod broker;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_vigie-forward");

/// A folder with a journal, a folder for cursors, and a configuration.
pub struct Place {
    pub folder: TempDir,
}

/// A line of the journal: an incident with this number in its id.
pub fn line(number: usize) -> String {
    format!(
        "{{\"timestamp\":\"2026-11-27T18:58:14.000000+0000\",\"event_type\":\"alert\",\"src_ip\":\"10.0.0.1\",\"host\":\"tap\",\
         \"alert\":{{\"action\":\"allowed\",\"gid\":7,\"signature_id\":1,\"rev\":1,\"signature\":\"vigie incident opened\",\
         \"category\":\"Potential Corporate Privacy Violation\",\"severity\":2,\"metadata\":{{\"event_id\":[\"{number:016x}\"],\
         \"incident\":[\"k7q2m-4x9d0-f\"],\"incident_state\":[\"opened\"],\"service\":[\"tiktok\"]}}}}}}"
    )
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["journal", "state"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Appends incidents to the journal's live segment.
    pub fn append(&self, numbers: std::ops::Range<usize>) {
        let mut text = String::new();
        for number in numbers {
            text.push_str(&line(number));
            text.push('\n');
        }
        let path = self.path("journal/00000001.jsonl");
        OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Writes the configuration: these tables, and settings that make tests quick.
    pub fn configure(&self, receivers: &str) {
        let (journal, state) = (self.path("journal"), self.path("state"));
        let text = format!(
            "[journal]\nfolder = {journal:?}\npoll_interval_ms = 20\n[state]\nfolder = {state:?}\n[metrics]\nlisten = \"\"\n\
             [delivery]\nretry_first_ms = 50\nretry_max_ms = 400\n{receivers}"
        );
        fs::write(self.path("forward.toml"), text).unwrap();
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(self.path("forward.toml")).stdin(Stdio::null());
        command
    }

    pub fn once(&self) -> Output {
        self.command().arg("--once").output().unwrap()
    }

    pub fn check(&self) -> Output {
        self.command().arg("--check").output().unwrap()
    }

    /// Starts the program; its log goes to `log`.
    pub fn start(&self) -> Running {
        let log = OpenOptions::new().append(true).create(true).open(self.path("log")).unwrap();
        Running(self.command().stderr(log).spawn().unwrap())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits until the log has this text.
    pub fn until_log(&self, text: &str) {
        until(&format!("{text} in the log"), || self.log().contains(text).then_some(()));
    }
}

/// A program that ends with the test.
pub struct Running(pub Child);

impl Running {
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Asks it to end, and gives the time that it took.
    pub fn end(mut self) -> Duration {
        let began = Instant::now();
        self.signal("TERM");
        let status = self.0.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{status}");
        began.elapsed()
    }

    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for something.
#[track_caller]
pub fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "no {what} within a minute");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The numbers of the incidents in a text, in its order.
pub fn numbers(text: &str) -> Vec<usize> {
    let parts = text.split("\"event_id\":[\"").skip(1);
    parts.filter_map(|part| usize::from_str_radix(part.get(..16)?, 16).ok()).collect()
}

/// Waits until a file has every incident up to `count`.
#[track_caller]
pub fn until_all(path: &Path, count: usize) -> Vec<usize> {
    let mut seen = 0;
    until(&format!("all {count} events in {}", path.display()), || {
        let found = numbers(&String::from_utf8_lossy(&fs::read(path).unwrap_or_default()));
        let mut all = found.clone();
        all.sort_unstable();
        all.dedup();
        seen = all.len();
        (seen == count).then_some(found)
    })
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn until_listens(port: u16) {
    until(&format!("listener on port {port}"), || TcpStream::connect(("127.0.0.1", port)).ok().map(drop));
}

/// Whether a program is there; else the test is told to be skipped.
pub fn has(program: &str, package: &str) -> bool {
    let found =
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists());
    if !found {
        vigie_skip::skipped(format_args!("{program} is not installed; install the package {package}"));
    }
    found
}

/// A request as the server got it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub head: String,
    pub body: String,
}

/// An HTTP server that answers as a function says.
pub struct HttpServer {
    pub address: SocketAddr,
}

impl HttpServer {
    pub fn start(answer: impl FnMut(&Request) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(&listener, answer));
        Self { address }
    }
}

/// Answers one request of each connection, for ever. What stands before an empty line of an answer are headers.
pub fn serve(listener: &TcpListener, mut answer: impl FnMut(&Request) -> (u16, String)) {
    for stream in listener.incoming().flatten() {
        let Some(request) = read_request(&stream) else { continue };
        let (status, rest) = answer(&request);
        let (headers, body) = rest.split_once("\n\n").unwrap_or(("", &rest));
        let headers: String = headers.lines().map(|header| format!("{header}\r\n")).collect();
        let head =
            format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
        let _ = (&stream).write_all(format!("{head}{body}").as_bytes());
    }
}

fn read_request(mut stream: &TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 65_536];
    loop {
        let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.trim().parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(Request { head: head.to_owned(), body: body.to_owned() });
        }
    }
}

/// An authority, and certificates that it signs.
pub struct Authority<'p> {
    place: &'p Place,
}

impl<'p> Authority<'p> {
    /// Makes one. `None`, and a line that says why, without openssl.
    pub fn new(place: &'p Place) -> Option<Self> {
        if !has("openssl", "openssl") {
            return None;
        }
        let authority = Self { place };
        authority.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
            -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.pem",
        );
        Some(authority)
    }

    fn openssl(&self, line: &str) {
        let output =
            Command::new("openssl").args(line.split_whitespace()).current_dir(self.place.folder.path()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A certificate `NAME.pem` with key `NAME.key` for these names; `is_valid`: not expired.
    pub fn sign(&self, name: &str, names: &str, is_valid: bool) {
        fs::write(self.place.path("ext"), format!("subjectAltName={names}\nbasicConstraints=CA:FALSE\n")).unwrap();
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        let dates = if is_valid { "20200101000000Z 20400101000000Z" } else { "20200101000000Z 20210101000000Z" };
        let (from, to) = dates.split_once(' ').unwrap();
        fs::create_dir_all(self.place.path("db")).unwrap();
        File::create(self.place.path("db/index.txt")).unwrap();
        let config = "[ca]\ndefault_ca = d\n[d]\ndatabase = db/index.txt\nnew_certs_dir = db\nrand_serial = yes\n\
            default_md = sha256\npolicy = p\n[p]\ncommonName = supplied\n";
        fs::write(self.place.path("ca.cnf"), config).unwrap();
        self.openssl(&format!(
            "ca -batch -config ca.cnf -cert ca.pem -keyfile ca.key -in {name}.csr -out {name}.pem -extfile ext -notext \
             -startdate {from} -enddate {to}"
        ));
    }
}
