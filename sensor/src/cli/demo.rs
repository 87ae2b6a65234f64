//! `vigie demo`: a made-up day of a ministry, judged into a temporary journal, and shown by the console on loopback. The day is
//! removed when the demonstration ends.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use vigie_synth::ministry::{CLIENTS_MAX, CLIENTS_MIN};

use super::arguments::numbers;
use super::beside;
use super::exit::{Exit, Failure};
use super::terminal::eprint;

/// How often signals, and the console, are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Minutes of a day.
const MINUTES: u32 = 1_440;

/// `vigie demo`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  vigie demo      # then open http://127.0.0.1:19844/ in a browser\n\n\
                  Exit codes: 0 ended by a signal; 69 the program vigie-console, the address or the disk cannot be used.")]
pub struct DemoArguments {
    /// People of the ministry, guests among them.
    #[arg(long, value_name = "N", default_value_t = 1_500, value_parser = numbers::<u32>(CLIENTS_MIN, CLIENTS_MAX))]
    pub clients: u32,

    /// Address and port of the pages, on loopback.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:19844")]
    pub listen: SocketAddr,

    /// Seed of the day.
    #[arg(long, value_name = "S", default_value_t = 7)]
    pub seed: u64,
}

/// Runs the command until a signal comes.
///
/// # Errors
/// The day cannot be written, or the console cannot be started.
pub fn run(arguments: &DemoArguments) -> Result<Exit, Failure> {
    let end = Arc::<AtomicBool>::default();
    for signal in [SIGINT, SIGTERM] {
        let registered = signal_hook::flag::register(signal, Arc::clone(&end));
        registered.map_err(|error| Failure::new(Exit::Internal, format!("cannot wait for signals: {error}"), ""))?;
    }
    let folder = Folder::make()?;
    eprint(&format!("vigie: makes a day of {} people in {} …\n", arguments.clients, folder.0.display()));
    make_day(arguments, &folder.0)?;
    let mut console = start(arguments, &folder.0)?;
    loop {
        if end.load(Relaxed) {
            stop(&mut console);
            return Ok(Exit::Success);
        }
        match console.try_wait() {
            Ok(None) => thread::sleep(LOOK_INTERVAL),
            // It had the signal of the terminal first.
            Ok(Some(_)) if end.load(Relaxed) => return Ok(Exit::Success),
            Ok(Some(_)) => return Err(Failure::new(Exit::Unavailable, "vigie-console has ended", "it said why above")),
            Err(error) => return Err(Failure::new(Exit::Internal, format!("vigie-console: {error}"), "")),
        }
    }
}

/// A folder of its own, removed with everything in it.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, Failure> {
        let path = env::temp_dir().join(format!("vigie-demo-{}", std::process::id()));
        // A folder that is there already may be somebody else's.
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.and_then(|()| DirBuilder::new().mode(0o700).create(path.join("journal")))
            .map_err(|error| Failure::write(&path.display().to_string(), &error))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes the traffic, judges it, and adds what a running sensor would say of its coverage.
fn make_day(arguments: &DemoArguments, folder: &Path) -> Result<(), Failure> {
    let (capture, policy) = (folder.join("day.pcap"), folder.join("policy.toml"));
    let journal = folder.join("journal").join("00000001.jsonl");
    vigie(&["synth", "--profile", "ministry"], |command| {
        command.args(["--clients", &arguments.clients.to_string(), "--seed", &arguments.seed.to_string()]);
        command.arg("--output").arg(&capture)
    })?;
    vigie(&["read", "--quiet", "--json"], |command| {
        command.arg("--policy").arg(&policy).arg("--output").arg(&journal).arg(&capture)
    })?;
    let _ = fs::remove_file(&capture);
    add_coverage(&journal).map_err(|error| Failure::write(&journal.display().to_string(), &error))?;
    let candidates = folder.join("candidates");
    add_candidates(&journal, &candidates).map_err(|error| Failure::write(&candidates.display().to_string(), &error))
}

/// Runs this program with other arguments; what it says appears only if it fails.
fn vigie(words: &[&str], with: impl FnOnce(&mut Command) -> &mut Command) -> Result<(), Failure> {
    let name = words.first().copied().unwrap_or_default();
    let failed =
        |what: String| Failure::new(Exit::Unavailable, format!("vigie {name}: {what}"), "free some space on the disk");
    let program = env::current_exe().map_err(|error| failed(error.to_string()))?;
    let mut command = Command::new(program);
    let output = with(command.args(words)).output().map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

/// The day of the first event.
fn day_of(journal: &Path) -> io::Result<String> {
    let mut day = [0; 24];
    OpenOptions::new().read(true).open(journal)?.read_exact(&mut day)?;
    // `{"timestamp":"2026-11-24`
    Ok(String::from_utf8_lossy(day.get(14..).unwrap_or_default()).into_owned())
}

/// Made-up names that no signature knows.
fn add_candidates(journal: &Path, folder: &Path) -> io::Result<()> {
    let day = day_of(journal)?;
    let line = |(name, flows, first, last): (&str, u32, &str, &str)| {
        format!(
            "{{\"name\":\"{name}\",\"service\":\"bytedance-infra\",\"flows\":{flows},\
             \"first\":\"{day}T{first}.000000+0000\",\"last\":\"{day}T{last}.000000+0000\"}}\n"
        )
    };
    let names = [
        ("edge-17.new-app.example", 42, "08:12:40", "17:03:11"),
        ("telemetry.new-app.example", 9, "08:12:41", "16:58:02"),
        ("www.shop.example", 1, "11:30:09", "11:30:09"),
    ];
    DirBuilder::new().mode(0o700).create(folder)?;
    fs::write(folder.join(format!("candidates-{day}.jsonl")), names.map(line).concat())
}

/// A minute each of a made-up interface: blind for some minutes at noon, with losses in the afternoon.
fn add_coverage(journal: &Path) -> io::Result<()> {
    let day = day_of(journal)?;
    let mut lines = String::new();
    for minute in 0..MINUTES {
        let (hour, of_hour) = (minute / 60, minute % 60);
        let (blind_s, drops_ppm) = match (hour, of_hour) {
            (12, 4..8) => (60, 0),
            (15, 30..45) => (0, 180),
            _ => (0, 0),
        };
        let hellos = if (6..18).contains(&hour) { 180 + (minute * 37) % 90 } else { 6 + minute % 5 };
        let _ = writeln!(
            lines,
            "{{\"timestamp\":\"{day}T{hour:02}:{of_hour:02}:59.000000+0000\",\"event_type\":\"stats\",\"in_iface\":\"demo0\",\
             \"stats\":{{\"uptime\":{uptime}}},\"metadata\":{{\"flowints\":{{\"vigie.window_s\":60,\"vigie.blind_s\":{blind_s},\
             \"vigie.drops_ppm\":{drops_ppm},\"vigie.hellos\":{hellos},\"vigie.hellos_nameless\":{nameless},\
             \"vigie.hellos_ech\":{ech},\"vigie.shunted\":0}}}}}}",
            uptime = minute * 60,
            nameless = hellos / 40,
            ech = hellos / 9,
        );
    }
    OpenOptions::new().append(true).open(journal)?.write_all(lines.as_bytes())
}

fn start(arguments: &DemoArguments, folder: &Path) -> Result<Child, Failure> {
    let mut command = Command::new(beside::path("vigie-console"));
    command.arg("--demo").arg(folder.join("journal"));
    command.args(["--set", &format!("state.folder={}", folder.join("console").display())]);
    command.args(["--set", &format!("sensor.derogations={}", folder.join("derogations.toml").display())]);
    command.args(["--set", &format!("sensor.candidates_folder={}", folder.join("candidates").display())]);
    command.args(["--set", &format!("server.listen={}", arguments.listen)]);
    command.spawn().map_err(|error| beside::failure("vigie-console", &error))
}

/// Ends the console. Nothing of it has to survive.
fn stop(console: &mut Child) {
    // It may have ended already.
    let _ = console.kill();
    let _ = console.wait();
}
