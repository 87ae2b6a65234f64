//! A running sensor for tests: `vigie run` started in a namespace, told signals, scraped, and ended with the test.
//! What it says is kept, and told when a test gives up on it.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::network::Namespace;
use crate::service::Service;
use vigie_skip::skipped;

/// How long a test waits for what must come, also on a machine that builds three other things meanwhile.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// An unprivileged user whom every system has.
pub const USER: &str = "nobody";
/// Their number, and that of their group.
pub const USER_ID: u32 = 65_534;
/// Where a sensor answers scrapes if it is told nothing else.
const ENDPOINT: ([u8; 4], u16) = ([127, 0, 0, 1], 19843);

/// The sensor's program: the one that was built for the same profile as the test, built now if sources are newer.
///
/// # Panics
/// It cannot be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().expect("a test has a name");
        let profile = test.ancestors().nth(2).expect("tests lie in a folder of their profile").to_owned();
        let binary = profile.join("vigie");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let sources = ["sensor", "signatures"].map(|folder| newest(&root.join(folder)));
        let built = fs::metadata(&binary).and_then(|metadata| metadata.modified()).ok();
        if built < sources.into_iter().max() {
            let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            command.args(["build", "--quiet", "-p", "vigie", "--bin", "vigie"]).current_dir(&root);
            if profile.ends_with("release") {
                command.arg("--release");
            }
            command.arg("--target-dir").arg(profile.parent().expect("the profile's folder lies in target"));
            assert!(command.status().expect("cargo runs").success(), "vigie cannot be built");
        }
        binary
    })
}

/// When something in a folder was changed the last time.
fn newest(folder: &Path) -> SystemTime {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let times = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => newest(&entry.path()),
        Ok(metadata) => metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        Err(_) => SystemTime::UNIX_EPOCH,
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Whether a program is there; says so if it is not.
pub fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|paths| std::env::split_paths(&paths).any(|folder| folder.join(program).is_file()));
    if !found {
        skipped(format_args!("{program} is not installed"));
    }
    found
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// There is none in time.
pub fn until<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < patience, "in vain waited for: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Raises a flag when dropped, so that threads which wait for it end with a test that fails.
#[derive(Debug)]
pub struct RaisedAtTheEnd<'f>(pub &'f AtomicBool);

impl Drop for RaisedAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A process that ends with the test: killed when dropped.
#[derive(Debug)]
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder of a sensor: it may write there, and reads its configuration there.
#[derive(Debug)]
pub struct Folder(tempfile::TempDir);

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Folder {
    /// A new one, gone when dropped.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for a test");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        chown(folder.path(), Some(USER_ID), Some(USER_ID)).expect("only root comes so far");
        Self(folder)
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The same as text.
    pub fn text_path(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// Writes a file that the sensor may read; folders are made.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    /// The sensor's usual events file.
    pub fn events(&self) -> PathBuf {
        self.path("eve.json")
    }

    /// The events of a file, each of them whole.
    ///
    /// # Panics
    /// A line is none.
    pub fn events_of(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        assert!(text.is_empty() || text.ends_with('\n'), "the last line is cut");
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// Alerts in the usual file.
    pub fn alerts(&self) -> Vec<Value> {
        let mut events = self.events_of("eve.json");
        events.retain(is_alert);
        events
    }

    /// Alerts in the usual file while the sensor writes to it: whole lines only.
    pub fn alerts_so_far(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.events()).unwrap_or_default();
        let whole = text.get(..text.rfind('\n').map_or(0, |end| end + 1)).unwrap_or_default();
        let events = whole.lines().map(|line| serde_json::from_str::<Value>(line).expect("whole lines are events"));
        events.filter(is_alert).collect()
    }
}

/// Arguments of a sensor that also writes each flow that matched a signature.
pub const SIGHTINGS: [&str; 4] = ["--set", "events.types=[\"sighting\"]", "--set", "privacy.debug_until=2100-01-01"];

/// Whether an event is the record of a flow that matched a signature, and not an alert under an incident.
pub fn is_sighting(event: &Value) -> bool {
    is_alert(event) && event["alert"]["metadata"]["incident"].is_null()
}

/// Whether an event is an alert on a flow, and not a change of an incident.
pub fn is_alert(event: &Value) -> bool {
    event["event_type"] == "alert" && event["alert"]["gid"] == 1
}

/// A sensor that runs; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    said: Arc<Mutex<String>>,
    listening: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Starts one in a namespace, with its events in `folder`, and waits until it runs.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start(namespace: &Namespace, folder: &Folder, arguments: &[&str]) -> Self {
        let mut daemon = Self::spawn(namespace, folder, arguments);
        daemon.wait_until_it_says("running: ");
        daemon
    }

    /// Starts one without waiting for it.
    ///
    /// # Panics
    /// The program cannot be run.
    pub fn spawn(namespace: &Namespace, folder: &Folder, arguments: &[&str]) -> Self {
        Self::spawn_with(namespace, folder, arguments, &[])
    }

    /// Starts one with these environment variables, and waits until it runs.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start_with(namespace: &Namespace, folder: &Folder, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut daemon = Self::spawn_with(namespace, folder, arguments, variables);
        daemon.wait_until_it_says("running: ");
        daemon
    }

    /// Starts one as its service does, without waiting for it.
    ///
    /// # Panics
    /// The program cannot be run.
    pub fn spawn_in(service: &Service, folder: &Folder, arguments: &[&str]) -> Self {
        Self::spawn_by(service.unprivileged(&binary().to_string_lossy()), folder, arguments, &[])
    }

    fn spawn_with(namespace: &Namespace, folder: &Folder, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        namespace.run("ip link set lo up");
        Self::spawn_by(namespace.command(&binary().to_string_lossy()), folder, arguments, variables)
    }

    /// Starts one by a command that ends with the program.
    fn spawn_by(mut command: Command, folder: &Folder, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        command.arg("run").args(arguments).args(["--set", &format!("privilege.user={USER}")]);
        if !arguments.contains(&"--config") {
            command.arg("--config").arg("/dev/null");
        }
        if !arguments.iter().any(|argument| argument.starts_with("events.alerts_per_minute_max=")) {
            // Tests count each alert, and have few clients.
            command.args(["--set", "events.alerts_per_minute_max=0"]);
        }
        if !arguments.iter().any(|argument| argument.starts_with("judgement.alerts_per_minute_max=")) {
            command.args(["--set", "judgement.alerts_per_minute_max=4294967295"]);
        }
        let has_journal = arguments.iter().any(|argument| argument.starts_with("journal.folder="));
        if !has_journal && !arguments.contains(&"--events-file") {
            command.args(["--events-file", &folder.text_path("eve.json")]);
        }
        // What tests are told by variables is not the sensor's.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VIGIE_")) {
            command.env_remove(name);
        }
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("ip runs");
        let said = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&said);
        let stream = child.stderr.take().expect("it is a pipe");
        let listening = thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        Self { child, said, listening: Some(listening) }
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// How often it has said that.
    pub fn said_times(&self, text: &str) -> usize {
        self.said().matches(text).count()
    }

    /// Waits until it says that.
    ///
    /// # Panics
    /// It does not, or it ends.
    pub fn wait_until_it_says(&mut self, text: &str) {
        self.wait_until_it_says_times(text, 1);
    }

    /// Waits until it has said that so many times.
    ///
    /// # Panics
    /// It does not, or it ends.
    pub fn wait_until_it_says_times(&mut self, text: &str, times: usize) {
        let began = Instant::now();
        while self.said_times(text) < times {
            let ended = self.child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "{ended:?} before it said {text:?}:\n{}", self.said());
            assert!(began.elapsed() < PATIENCE, "it does not say {text:?}:\n{}", self.said());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// It is gone.
    pub fn signal(&self, signal: i32) {
        // SAFETY: `kill` takes numbers only; the process is a child that was not waited for, so the number is its own.
        let result = unsafe { libc::kill(self.child.id() as i32, signal) };
        assert_eq!(result, 0, "it is gone:\n{}", self.said());
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// It does not.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            assert!(began.elapsed() < patience, "it does not end:\n{}", self.said());
            thread::sleep(Duration::from_millis(5));
        };
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
        status
    }

    /// Asks it to stop; it must end well. What it had said comes back.
    ///
    /// # Panics
    /// It ends otherwise or not at all.
    pub fn stop(mut self) -> String {
        self.signal(libc::SIGTERM);
        let status = self.wait(PATIENCE);
        assert!(status.success(), "{status}:\n{}", self.said());
        self.said()
    }

    /// Kills it, as a machine does that has no memory left.
    pub fn kill(mut self) {
        self.signal(libc::SIGKILL);
        self.wait(PATIENCE);
    }

    /// What it answers to a scrape.
    ///
    /// # Panics
    /// It does not answer in time.
    pub fn scrape(&self, namespace: &Namespace) -> Scrape {
        until(&format!("an answer; it said:\n{}", self.said()), PATIENCE, || {
            let text = namespace.inside(|| get(SocketAddr::from(ENDPOINT), "/metrics"));
            (!text.is_empty()).then_some(Scrape(text))
        })
    }

    /// Scrapes until a number is reached; the scrape comes back.
    ///
    /// # Panics
    /// It is not reached.
    pub fn scrape_until(&self, namespace: &Namespace, what: &str, is_reached: impl Fn(&Scrape) -> bool) -> Scrape {
        let began = Instant::now();
        loop {
            let scrape = self.scrape(namespace);
            if is_reached(&scrape) {
                return scrape;
            }
            assert!(began.elapsed() < PATIENCE, "{what} in vain:\n{}\n{}", scrape.0, self.said());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its resident memory in KiB.
    ///
    /// # Panics
    /// It is gone.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the sensor said:\n{}", self.said());
        }
    }
}

/// An answer to a scrape.
#[derive(Clone, Debug)]
pub struct Scrape(pub String);

impl Scrape {
    /// The sum of a family's series that have all these labels, such as `reason="ring"`.
    ///
    /// # Panics
    /// There is no such series.
    pub fn sum(&self, family: &str, labels: &[&str]) -> u64 {
        let series = self.0.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let rest = series.strip_prefix(family)?;
            let is_it = (rest.is_empty() || rest.starts_with('{')) && labels.iter().all(|label| rest.contains(label));
            is_it.then(|| value.parse::<f64>().expect("a number"))
        });
        let (count, sum) = series.fold((0, 0.0), |(count, sum), value| (count + 1, sum + value));
        assert!(count > 0, "no series {family}{labels:?} in {}", self.0);
        sum as u64
    }

    /// Packets seen, and packets that the ring had no room for.
    pub fn packets_and_drops(&self) -> (u64, u64) {
        let drops = self.sum("vigie_capture_drops_total", &["reason=\"ring\""]);
        (self.sum("vigie_capture_packets_total", &[]), drops)
    }

    /// Alerts of which none may be lost.
    pub fn alerts_lost(&self) -> u64 {
        self.sum("vigie_alerts_lost_total", &[])
    }
}

/// A pipe with a name, into which a sensor writes its events.
#[derive(Debug)]
pub struct Pipe(String);

impl Pipe {
    /// One in a sensor's folder.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn new(folder: &Folder) -> Self {
        let path = folder.text_path("events.pipe");
        let made = Command::new("mkfifo").args(["-m", "600", &path]).status();
        assert!(made.is_ok_and(|status| status.success()), "no pipe {path}");
        chown(&path, Some(USER_ID), Some(USER_ID)).expect("only root comes so far");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &str {
        &self.0
    }

    /// Somebody who has it open from now on, and takes what comes or not.
    ///
    /// # Panics
    /// It cannot be opened.
    pub fn read(&self, takes: bool) -> PipeReader {
        let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&self.0).expect("our pipe");
        let taken = Arc::new((AtomicBool::new(takes), AtomicBool::new(false), Mutex::new(Vec::new())));
        let shared = Arc::clone(&taken);
        let thread = thread::spawn(move || {
            let (takes, is_over, taken) = &*shared;
            let mut piece = vec![0; 1 << 16];
            while !is_over.load(Ordering::Relaxed) {
                match takes.load(Ordering::Relaxed).then(|| file.read(&mut piece)) {
                    Some(Ok(count)) if count > 0 => taken.lock().unwrap().extend_from_slice(&piece[..count]),
                    _ => thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        PipeReader { shared: taken, thread: Some(thread) }
    }
}

/// Who reads a [`Pipe`], until dropped.
#[derive(Debug)]
pub struct PipeReader {
    /// Whether it takes what comes, whether it ends, and what it has taken.
    shared: Arc<(AtomicBool, AtomicBool, Mutex<Vec<u8>>)>,
    thread: Option<JoinHandle<()>>,
}

impl PipeReader {
    /// Takes what comes from now on, or not.
    pub fn take(&self, takes: bool) {
        self.shared.0.store(takes, Ordering::Relaxed);
    }

    /// The events that came, without the last if it is not whole.
    ///
    /// # Panics
    /// A line is none.
    pub fn events(&self) -> Vec<Value> {
        let taken = self.shared.2.lock().unwrap();
        whole_events(&taken)
    }

    /// Whether what came ends with a whole line.
    ///
    /// # Panics
    /// The thread that reads has panicked.
    pub fn ends_whole(&self) -> bool {
        self.shared.2.lock().unwrap().last().is_none_or(|&byte| byte == b'\n')
    }

    /// The events that came since the last time, which are forgotten here.
    ///
    /// # Panics
    /// A line is none.
    pub fn drain(&self) -> Vec<Value> {
        let mut taken = self.shared.2.lock().unwrap();
        let events = whole_events(&taken);
        let end = taken.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        taken.drain(..end);
        events
    }
}

fn whole_events(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
    lines.map(|line| serde_json::from_slice(line).expect("a line is an event")).collect()
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        self.shared.1.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a path of an HTTP server answers, without its headers; empty while it does not answer. Called where the server is.
pub fn get(address: SocketAddr, path: &str) -> String {
    let mut answer = Vec::new();
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(2)) else { return String::new() };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let request = format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n");
    if stream.write_all(request.as_bytes()).is_ok() {
        let _ = stream.read_to_end(&mut answer);
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}
