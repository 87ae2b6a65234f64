//! The command line, and the life of the process.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use vigie_config::{ConfigErrors, Flag, Layers, Schema, Source, key_and_value};
use vigie_privilege::{Confinement, Demand, Profile, confine};

use crate::access::{Access, FormKey, Sessions, SignIn, Users};
use crate::alias::AliasKey;
use crate::clock::Clock;
use crate::database::Database;
use crate::own_journal::OwnJournal;
use crate::projection::{Options, Projection};
use crate::report::{self, ReportArguments};
use crate::server::{App, Limits, Listener};
use crate::settings::Settings;

/// Exit codes, from `sysexits.h`.
const EXIT_SUCCESS: u8 = 0;
const EXIT_UNAVAILABLE: u8 = 69;
const EXIT_CONFIGURATION: u8 = 78;
/// How often signals are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Days for which made-up data are kept.
const DAYS_OF_DEMO: u32 = 36_500;
/// The names of loopback.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Pages for the people who answer for what vigie finds: incidents with their evidence, coverage, bans, audit.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "vigie-console",
    version,
    max_term_width = 100,
    after_help = "SIGTERM ends the program.\n\
                  Exit codes: 0 success; 64 wrong usage; 69 something cannot be used; 70 internal error; 78 wrong \
                  configuration."
)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What to do; without it, serve pages.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Configuration file [default: /etc/vigie-console/console.toml].
    #[arg(long, short, value_name = "FILE", env = "VIGIE_CONSOLE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Override a setting of the file, such as server.connections_max=256; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
    /// Show the journal in this folder to everybody on this machine, without sign-in: for made-up data only.
    #[arg(long, value_name = "FOLDER", conflicts_with = "config")]
    pub demo: Option<PathBuf>,
    /// Check the configuration, and end.
    #[arg(long)]
    pub check: bool,
    /// Print the default configuration, and end.
    #[arg(long)]
    pub print_config: bool,
}

/// What the program does besides serving pages.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Write a report of a period: coverage first, then counts of incidents. It names no device and no person.
    Report(ReportArguments),
}

fn setting(text: &str) -> Result<(String, String), String> {
    key_and_value(text, "server.connections_max=256")
}

fn say(text: &str) {
    // Nobody reads: nothing can be done about it.
    let _ = io::stderr().write_all(format!("vigie-console: {text}\n").as_bytes());
}

/// Runs the program, and gives its exit code.
pub fn run(arguments: &Arguments) -> u8 {
    if let Some(Command::Report(arguments)) = &arguments.command {
        return report::run(arguments);
    }
    if arguments.print_config {
        let text = vigie_config::document::default_file::<Settings>();
        let written = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
        return if written.is_ok() { EXIT_SUCCESS } else { EXIT_UNAVAILABLE };
    }
    let settings = match load(arguments) {
        Ok(settings) => settings,
        Err(errors) => {
            say(&errors.to_string().replace('\n', "\nvigie-console: "));
            return EXIT_CONFIGURATION;
        }
    };
    let prepared = access(arguments, &settings).and_then(|access| {
        let clock = Clock::new(&settings.display.time_zone);
        Ok((access, clock.map_err(|error| format!("display.time_zone: {error}; give a name such as Europe/Paris"))?))
    });
    let (access, clock) = match prepared {
        Ok(prepared) => prepared,
        Err(message) => {
            say(&message);
            return EXIT_CONFIGURATION;
        }
    };
    if arguments.check {
        say("the configuration is right");
        return EXIT_SUCCESS;
    }
    match serve(arguments, settings, access, clock) {
        Ok(()) => EXIT_SUCCESS,
        Err(message) => {
            say(&message);
            EXIT_UNAVAILABLE
        }
    }
}

fn load(arguments: &Arguments) -> Result<Settings, ConfigErrors> {
    let mut flags: Vec<Flag> = Vec::new();
    let mut set = |key: &str, value: &str| flags.push(Flag::set(key, value));
    let source = match (&arguments.demo, &arguments.config) {
        (Some(folder), _) => {
            set("journal.folder", &folder.display().to_string());
            // Nobody signs in to a demonstration; a file of users is asked for all the same.
            set("access.users_file", "/dev/null");
            Source::Absent
        }
        (None, Some(path)) => Source::Path(path.clone()),
        (None, None) => Source::Path(crate::settings::FILE_DEFAULT.into()),
    };
    arguments.set.iter().for_each(|(key, value)| set(key, value));
    let loaded = Settings::load(&Layers::of_process(source, flags))?;
    for warning in &loaded.warnings {
        say(&warning.to_string());
    }
    Ok(loaded.settings)
}

fn access(arguments: &Arguments, settings: &Settings) -> Result<Access, String> {
    if arguments.demo.is_some() {
        return Ok(Access::Open("demo".to_owned()));
    }
    let access = &settings.access;
    if !access.proxy_user_header.is_empty() {
        return Ok(Access::Proxy {
            header: access.proxy_user_header.to_ascii_lowercase(),
            uids: access.proxy_uids.clone(),
            users: Users::of_roles(&access.analysts, &access.dpos),
        });
    }
    let file = access.users_file.as_deref().unwrap_or(Path::new(""));
    let users = Users::read(file, &access.analysts, &access.dpos).map_err(|error| error.to_string())?;
    Ok(Access::Passwords(users))
}

/// Opens what needs rights, gives them up, and answers requests until a signal comes.
fn serve(arguments: &Arguments, settings: Settings, access: Access, clock: Clock) -> Result<(), String> {
    let state = settings.state.folder.clone();
    make_folder(&state)?;
    let (listener, shown) = listener(&settings)?;
    let is_tcp = matches!(listener, Listener::Tcp(_));
    let is_demo = arguments.demo.is_some();
    let own_journal = state.join("journal");
    vigie_journal::Journal::make_folder(&own_journal)
        .map_err(|error| format!("{}: {error}; check its permissions", own_journal.display()))?;
    give_up_rights(&settings)?;
    let own = OwnJournal::open(&own_journal, settings.state.incidents_days)
        .map_err(|error| format!("{}: {error}; check its permissions", own_journal.display()))?;
    let key_file = state.join("alias.key");
    let key = AliasKey::open(&key_file).map_err(|error| format!("{}: {error}", key_file.display()))?;
    let options = Options {
        journal: settings.journal.folder.clone(),
        own_journal,
        database: state.join("console.sqlite"),
        evidence_max: settings.state.evidence_per_incident_max,
        // Made-up data may be of any day.
        incidents_days: if is_demo { DAYS_OF_DEMO } else { settings.state.incidents_days },
        evidence_days: if is_demo { DAYS_OF_DEMO } else { settings.state.alerts_days },
    };
    let failed = |error: io::Error| format!("cannot start: {error}");
    let database = options.database.clone();
    let projection = Projection::start(options, key).map_err(failed)?;
    let minutes = |count: u64| Duration::from_secs(count * 60);
    let sessions =
        Sessions::new(minutes(settings.access.session_idle_minutes), minutes(settings.access.session_hours_max * 60));
    let app = App {
        database: Database::new(database, Arc::clone(&projection.progress)),
        projection,
        own,
        access,
        sessions,
        sign_in: SignIn::new(),
        form_key: FormKey::new().map_err(failed)?,
        clock,
        hosts: hosts(&settings, is_tcp),
        is_behind_tls: !is_tcp,
        journal: settings.journal.folder.clone(),
    };
    let limits = Limits {
        connections_max: settings.server.connections_max,
        header_timeout: Duration::from_secs(settings.server.header_timeout_s),
        request_timeout: Duration::from_secs(settings.server.request_timeout_s),
        connection_age_max: Duration::from_secs(settings.server.connection_age_s_max),
    };
    say(&format!("reads {}, answers on {shown}", settings.journal.folder.display()));
    if is_demo {
        say("a demonstration: everybody on this machine can look, without sign-in");
    }
    answer(listener, app, limits)
}

/// Answers until SIGTERM or SIGINT.
fn answer(listener: Listener, app: App, limits: Limits) -> Result<(), String> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    let failed = |error: io::Error| format!("cannot start: {error}");
    let end = Arc::<AtomicBool>::default();
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&end)).map_err(failed)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(failed)?;
    runtime.block_on(async {
        let serving = tokio::spawn(listener.serve(Arc::new(app), limits));
        while !end.load(Relaxed) {
            if serving.is_finished() {
                return Err("the socket cannot be used any more".to_owned());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    })
}

/// Where requests come in, and how it is called.
fn listener(settings: &Settings) -> Result<(Listener, String), String> {
    let mut passed = listenfd::ListenFd::from_env();
    let wrong = |error: io::Error| format!("the socket that was passed cannot be used: {error}");
    if passed.len() > 0 {
        if let Ok(Some(listener)) = passed.take_unix_listener(0) {
            listener.set_nonblocking(true).map_err(wrong)?;
            return Ok((Listener::Unix(listener), "the socket of its unit".to_owned()));
        }
        let listener = passed.take_tcp_listener(0).map_err(wrong)?;
        let listener = listener.ok_or_else(|| "no socket of a known kind was passed".to_owned())?;
        listener.set_nonblocking(true).map_err(wrong)?;
        return Ok((Listener::Tcp(listener), "the socket of its unit".to_owned()));
    }
    if let Some(path) = &settings.server.socket {
        let failed = |error: io::Error| format!("{}: {error}; check its folder", path.display());
        // What is left of a process that was killed.
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(format!("{}: another console answers there; stop it", path.display()));
        }
        let _ = fs::remove_file(path);
        let listener = std::os::unix::net::UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        return Ok((Listener::Unix(listener), path.display().to_string()));
    }
    let address = settings.server.listen;
    let listener = Listener::tcp(address)
        .map_err(|error| format!("cannot listen on {address}: {error}; give another server.listen"))?;
    let address = match &listener {
        Listener::Tcp(listener) => listener.local_addr().unwrap_or(address),
        Listener::Unix(_) => address,
    };
    Ok((listener, format!("http://{address}/")))
}

fn hosts(settings: &Settings, is_tcp: bool) -> Vec<String> {
    let mut hosts = settings.server.hosts.clone();
    if is_tcp {
        hosts.extend(LOOPBACK_NAMES.map(str::to_owned));
    }
    hosts
}

fn make_folder(folder: &Path) -> Result<(), String> {
    let made = fs::DirBuilder::new().mode(0o750).recursive(true).create(folder);
    made.map_err(|error| format!("{}: {error}; check its permissions", folder.display()))
}

/// Confines the process: it reads the journal, writes its own folder, and makes no socket.
fn give_up_rights(settings: &Settings) -> Result<(), String> {
    let privileges = &settings.privileges;
    let is_off = privileges.landlock.demand() == Demand::Off && privileges.seccomp.demand() == Demand::Off;
    if is_off && privileges.user.is_none() {
        return Ok(());
    }
    let folder = &settings.journal.folder;
    if !folder.is_dir() {
        return Err(format!("{}: no such folder; set journal.folder, and start the sensor first", folder.display()));
    }
    let confinement = Confinement {
        user: privileges.user.clone(),
        landlock: privileges.landlock.demand(),
        seccomp: privileges.seccomp.demand(),
        profile: Profile::CONSOLE,
        readable: vec![folder.clone()],
        writable: vec![settings.state.folder.clone()],
        ..Confinement::default()
    };
    confine(&confinement).map(drop).map_err(|error| error.to_string())
}
