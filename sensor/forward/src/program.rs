//! The command line, and the life of the process: start, reload (SIGHUP), end (SIGTERM, SIGINT).

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use clap::Parser;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use vigie_config::{ConfigErrors, Flag, Layers, Source, Table, key_and_value};
use vigie_metrics::{Server, ServerOptions, Serving};

use crate::check::check;
use crate::configuration::Configuration;
use crate::engine::{Ended, Engine, Log, Status};
use crate::settings::Settings;
use crate::telemetry::{self, Telemetry};

/// How often signals are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How long threads may take to end; the unit's time-out is longer.
const STOP_TIME_MAX: Duration = Duration::from_secs(8);

/// Exit codes, from `sysexits.h`.
const EXIT_SUCCESS: u8 = 0;
const EXIT_USAGE: u8 = 64;
const EXIT_UNAVAILABLE: u8 = 69;
const EXIT_INTERNAL: u8 = 70;
const EXIT_CONFIGURATION: u8 = 78;

/// Sends the events of vigie's journal to receivers: syslog, webhooks, files.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "vigie-forward",
    version,
    max_term_width = 100,
    after_help = "SIGHUP reads the receivers again and opens files anew; SIGTERM ends within ten seconds.\n\
                  Exit codes: 0 success; 64 wrong usage; 69 something cannot be used; 70 internal error; 78 wrong \
                  configuration."
)]
pub struct Arguments {
    /// Configuration file [default: /etc/vigie-forward/forward.toml].
    #[arg(long, short, value_name = "FILE", env = "VIGIE_FORWARD_CONFIG")]
    pub config: Option<PathBuf>,
    /// Override a setting of the file, such as delivery.batch_events_max=500; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
    /// Check the configuration, the journal and every receiver without sending an event, and end.
    #[arg(long)]
    pub check: bool,
    /// Send what is in the journal, and end.
    #[arg(long)]
    pub once: bool,
    /// Print the default configuration, and end.
    #[arg(long)]
    pub print_config: bool,
    /// Print the metrics as a Markdown page, and end.
    #[arg(long)]
    pub print_metrics: bool,
    /// The same in words, as `vigie` has them: `check`, `generate config` or `generate metrics`.
    #[arg(value_name = "COMMAND", num_args = 0..=2)]
    pub words: Vec<String>,
}

impl Arguments {
    /// The words as options.
    fn with_words(&self) -> Option<Self> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let mut arguments = self.clone();
        match words[..] {
            [] => {}
            ["check"] => arguments.check = true,
            ["generate", "config"] => arguments.print_config = true,
            ["generate", "metrics"] => arguments.print_metrics = true,
            _ => return None,
        }
        Some(arguments)
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    key_and_value(text, "delivery.batch_events_max=500")
}

fn say(text: &str) {
    // Nobody reads: nothing can be done about it.
    let _ = io::stderr().write_all(format!("vigie-forward: {text}\n").as_bytes());
}

fn print(text: &str) -> u8 {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Ok(()) => EXIT_SUCCESS,
        Err(_) => EXIT_UNAVAILABLE,
    }
}

/// The end of the default file: receivers, which have no defaults.
const RECEIVER_EXAMPLES: &str = r#"
# Receivers, each on a thread of its own. `events` is what a receiver gets: "incidents" (the default), "alerts", "audit",
# "coverage", "seals". `encoding` is "eve" (the default), "ecs", "ocsf", "cef" or "leef". Passwords, tokens and keys stand in
# files; a path without / at its start is a credential of the unit (LoadCredential=).
#
#[[receiver]]
#name = "soc"
#kind = "syslog"
#server = "siem.example.org:6514"
#transport = "tls"                     # or "tcp", "udp"
#ca_file = "/etc/vigie-forward/siem-ca.pem"    # the system's authorities without it
#certificate_file = "/etc/vigie-forward/forward.pem"
#key_file = "forward-key"
#events = ["incidents", "seals"]
#
#[[receiver]]
#name = "file"
#kind = "file"
#path = "/var/log/vigie-forward/eve.json"
#events = ["incidents", "alerts"]
#
#[[receiver]]
#name = "splunk"
#kind = "webhook"
#format = "splunk-hec"                 # or "json", "elasticsearch", "thehive", "alertmanager"
#url = "https://splunk.example.org:8088/services/collector/event"
#token_file = "splunk-token"
#
#[[receiver]]
#name = "kafka"
#kind = "kafka"
#brokers = "kafka1.example.org:9093,kafka2.example.org:9093"
#topic = "vigie-events"
#user = "vigie"
#password_file = "kafka-password"
#sasl_mechanism = "scram-sha-512"      # or "scram-sha-256", "plain"
#
# Further kinds: "journald", "stdout".
"#;

/// The default configuration, with receivers as examples.
pub fn default_file() -> String {
    vigie_config::document::default_file::<Settings>() + RECEIVER_EXAMPLES
}

/// Runs the program, and gives its exit code.
pub fn run(arguments: &Arguments) -> u8 {
    let Some(arguments) = &arguments.with_words() else {
        say("unknown command; write check, generate config or generate metrics, or see vigie-forward --help");
        return EXIT_USAGE;
    };
    if arguments.print_config {
        return print(&default_file());
    }
    if arguments.print_metrics {
        return print(&vigie_metrics::listing(&[
            telemetry::FAMILIES,
            vigie_metrics::process::FAMILIES,
            vigie_metrics::server::FAMILIES,
        ]));
    }
    let configuration = match load(arguments) {
        Ok(configuration) => configuration,
        Err(errors) => {
            say(&errors.to_string().replace('\n', "\nvigie-forward: "));
            return EXIT_CONFIGURATION;
        }
    };
    if arguments.check {
        let (lines, is_well) = check(&configuration);
        let written = print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>());
        return if is_well { written } else { EXIT_UNAVAILABLE };
    }
    for warning in &configuration.warnings {
        say(warning);
    }
    match Program::start(arguments, configuration) {
        Ok(program) => program.run(arguments),
        Err(message) => {
            say(&message);
            EXIT_UNAVAILABLE
        }
    }
}

fn load(arguments: &Arguments) -> Result<Configuration, ConfigErrors> {
    let source = match &arguments.config {
        Some(path) => Source::Path(path.clone()),
        None => Source::Path(crate::settings::FILE_DEFAULT.into()),
    };
    let flags = arguments.set.iter().map(|(key, value)| Flag::set(key, value));
    Configuration::load(&Layers::of_process(source, flags.collect()))
}

struct Signals {
    end: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    fn register() -> io::Result<Self> {
        let signals = Self { end: Arc::default(), reload: Arc::default() };
        signal_hook::flag::register(SIGTERM, Arc::clone(&signals.end))?;
        signal_hook::flag::register(SIGINT, Arc::clone(&signals.end))?;
        signal_hook::flag::register(SIGHUP, Arc::clone(&signals.reload))?;
        Ok(signals)
    }
}

struct Program {
    configuration: Configuration,
    signals: Signals,
    telemetry: Arc<Telemetry>,
    statuses: Vec<Arc<Status>>,
    engine: Engine,
    endpoint: Option<Serving>,
    /// Locked for as long as the program runs.
    _state_folder: Option<Flock<File>>,
}

impl Program {
    fn start(arguments: &Arguments, configuration: Configuration) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot start: {error}");
        let state_folder = lock_state(&configuration.settings.state.folder)?;
        let signals = Signals::register().map_err(failed)?;
        let telemetry = Arc::<Telemetry>::default();
        let statuses = statuses(&configuration, &[]);
        telemetry.show(statuses.clone());
        let endpoint = match configuration.settings.metrics.listen.filter(|_| !arguments.once) {
            None => None,
            Some(address) => {
                let web_config = configuration.settings.metrics.web_config.clone();
                let options = ServerOptions { web_config, log: Arc::new(say), ..ServerOptions::default() };
                let server = Server::bind(address, options, Arc::<Telemetry>::clone(&telemetry));
                Some(server.map_err(|error| error.to_string())?.serve().map_err(failed)?)
            }
        };
        let engine = Engine::start(&configuration, &statuses, arguments.once).map_err(failed)?;
        let count = configuration.receivers.len();
        let receivers = if count == 1 { "1 receiver".to_owned() } else { format!("{count} receivers") };
        say(&format!("reads {} for {receivers}", configuration.settings.journal.folder.display()));
        Ok(Self { configuration, signals, telemetry, statuses, engine, endpoint, _state_folder: state_folder })
    }

    fn run(mut self, arguments: &Arguments) -> u8 {
        loop {
            if self.signals.end.load(Relaxed) {
                break;
            }
            if arguments.once && self.engine.all_ended() {
                break;
            }
            if !arguments.once && self.engine.has_ended() {
                // Only a defect ends a thread. The service manager starts the program anew, and cursors are safe.
                say("a receiver's thread has ended; please report it");
                self.engine.ask_to_stop();
                self.engine.join(STOP_TIME_MAX);
                return EXIT_INTERNAL;
            }
            if self.signals.reload.swap(false, Relaxed) && !arguments.once {
                self = match self.reload(arguments) {
                    Ok(program) => program,
                    Err(message) => {
                        say(&message);
                        return EXIT_INTERNAL;
                    }
                };
            }
            thread::sleep(LOOK_INTERVAL);
        }
        let is_asked = self.signals.end.load(Relaxed);
        self.engine.ask_to_stop();
        let ended = self.engine.join(STOP_TIME_MAX);
        if let Some(endpoint) = self.endpoint {
            endpoint.stop();
        }
        match ended {
            Ended::Panicked => EXIT_INTERNAL,
            Ended::Undelivered if arguments.once && !is_asked => EXIT_UNAVAILABLE,
            Ended::Undelivered | Ended::Done => EXIT_SUCCESS,
        }
    }

    /// Starts all receivers anew by what the file says now. If it is wrong, the old ones go on.
    fn reload(mut self, arguments: &Arguments) -> Result<Self, String> {
        match load(arguments) {
            Err(errors) => {
                say(&errors.to_string().replace('\n', "\nvigie-forward: "));
                say("the configuration is wrong; the one before stays in use");
            }
            Ok(new) => {
                let changes = self.configuration.settings.changes(&new.settings);
                if !changes.is_empty() {
                    say(&format!("changed, but takes effect at a restart: {}", changes.restart.join(", ")));
                }
                self.configuration.receivers = new.receivers;
                say("reads its receivers again");
            }
        }
        // Two threads must never serve one receiver, so this waits as long as one waits for its answer.
        self.engine.ask_to_stop();
        while !self.engine.all_ended() && !self.signals.end.load(Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
        if self.signals.end.load(Relaxed) {
            return Ok(self);
        }
        if self.engine.join(Duration::ZERO) == Ended::Panicked {
            return Err("a receiver's thread has ended by a defect; please report it".to_owned());
        }
        self.statuses = statuses(&self.configuration, &self.statuses);
        self.telemetry.show(self.statuses.clone());
        let engine = Engine::start(&self.configuration, &self.statuses, false);
        self.engine = engine.map_err(|error| format!("cannot start: {error}"))?;
        Ok(self)
    }
}

/// Keeps others from using the folder, who would send each event a second time. One that cannot be opened is told with the first
/// cursor that is to be saved in it.
fn lock_state(folder: &Path) -> Result<Option<Flock<File>>, String> {
    let Ok(file) = File::open(folder) else { return Ok(None) };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(locked) => Ok(Some(locked)),
        Err((_, Errno::EWOULDBLOCK)) => {
            let what = "another vigie-forward uses this folder (state.folder)";
            Err(format!("{}: {what}; stop it first: systemctl stop vigie-forward", folder.display()))
        }
        // A file system may know no locks.
        Err(_) => Ok(None),
    }
}

/// The counts of the receivers: those of the same name go on.
fn statuses(configuration: &Configuration, before: &[Arc<Status>]) -> Vec<Arc<Status>> {
    let log: Log = Arc::new(say);
    let known = |name: &str| before.iter().find(|status| status.name() == name).cloned();
    let receivers = configuration.receivers.iter();
    receivers
        .map(|receiver| {
            known(&receiver.name).unwrap_or_else(|| Arc::new(Status::new(&receiver.name, Arc::clone(&log))))
        })
        .collect()
}
