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

use crate::access::{Access, FormKey, Roles, Sessions, SignIn, Users};
use crate::alias::AliasKey;
use crate::clock::Clock;
use crate::database::Database;
use crate::own_journal::OwnJournal;
use crate::pivot::Template;
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
    let opened = make_folder(&settings.state.folder).and_then(|()| listener(&settings));
    let opened = opened.map_err(|message| (message, EXIT_UNAVAILABLE)).and_then(|(listener, shown)| {
        fits(&listener, &access).map_err(|message| (message, EXIT_CONFIGURATION))?;
        Ok((listener, shown))
    });
    let (listener, shown) = match opened {
        Ok(opened) => opened,
        Err((message, code)) => {
            say(&message);
            return code;
        }
    };
    match serve(arguments, settings, access, clock, (listener, &shown)) {
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
    let roles = Roles { viewers: access.viewers.clone(), analysts: access.analysts.clone(), dpos: access.dpos.clone() };
    if !access.proxy_user_header.is_empty() {
        let uids = access.proxy_uids.clone();
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        if let Some(uid) = uids.iter().find(|uid| !is_mapped(&map, **uid)) {
            return Err(format!(
                "access.proxy_uids: user id {uid} cannot be seen from here, since the process runs in a user namespace \
                 (PrivateUsers=yes); leave it empty, so that the group of the socket decides"
            ));
        }
        return Ok(Access::Proxy { header: access.proxy_user_header.to_ascii_lowercase(), uids, roles });
    }
    let file = access.users_file.as_deref().unwrap_or(Path::new(""));
    let users = Users::read(file, roles, Arc::new(say)).map_err(|error| error.to_string())?;
    Ok(Access::Users(users))
}

/// Whether a user id of the system can be told from others here: in a user namespace, those that its map (user_namespaces(7)) lacks
/// all look like one.
fn is_mapped(map: &str, uid: u32) -> bool {
    let has = |line: &str| {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u64>().ok());
        let (inside, _, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        Some((inside..inside + count).contains(&u64::from(uid)))
    };
    map.is_empty() || map.lines().any(|line| has(line) == Some(true))
}

/// Whether people can be known as the settings say on this socket.
fn fits(listener: &Listener, access: &Access) -> Result<(), String> {
    match (listener, access) {
        (Listener::Tcp(_), Access::Proxy { .. }) => Err(
            "access.proxy_user_header: on loopback everybody on this machine could name any user; set server.socket".to_owned(),
        ),
        (Listener::Unix(listener), Access::Proxy { uids, .. }) if uids.is_empty() => {
            let address = listener.local_addr().ok();
            let path = address.as_ref().and_then(|address| address.as_pathname());
            let path = path.ok_or_else(|| {
                "access.proxy_uids: the socket has no path, so no permissions; give the user ids of the proxy".to_owned()
            })?;
            let mode = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?.permissions().mode();
            match mode & 0o002 {
                0 => Ok(()),
                _ => Err(format!(
                    "{}: everybody on this machine can connect and could name any user; set SocketMode=0660 and a group of \
                     the proxy",
                    path.display()
                )),
            }
        }
        (Listener::Unix(_), access) if access.tls().is_some() => Err(
            "access.users_file: TLS is for server.listen, not for a Unix socket; remove tls_server_config, and let the proxy \
             in front speak TLS"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

/// Opens what needs rights, gives them up, and answers requests until a signal comes.
fn serve(
    arguments: &Arguments,
    settings: Settings,
    access: Access,
    clock: Clock,
    (listener, shown): (Listener, &str),
) -> Result<(), String> {
    // Files get the modes that the journal gives them, whatever the umask of who starts the program: the sandbox allows no chmod.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o027));
    let state = settings.state.folder.clone();
    let has_tls = access.tls().is_some();
    let is_tcp = matches!(listener, Listener::Tcp(_));
    let is_demo = arguments.demo.is_some();
    let own_journal = state.join("journal");
    vigie_journal::Journal::make_folder(&own_journal)
        .map_err(|error| format!("{}: {error}; check its permissions", own_journal.display()))?;
    give_up_rights(&settings, &access)?;
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
        is_behind_tls: !is_tcp || has_tls,
        journal: settings.journal.folder.clone(),
        register: settings.sensor.derogations.clone(),
        forwarder_folder: settings.sensor.forwarder_folder.clone(),
        candidates_folder: settings.sensor.candidates_folder.clone(),
        // They were checked with the settings.
        links: settings.links.templates.iter().filter_map(|text| Template::parse(text).ok()).collect(),
        links_margin_us: settings.links.margin_s as i64 * 1_000_000,
    };
    let limits = Limits {
        connections_max: settings.server.connections_max,
        header_timeout: Duration::from_secs(settings.server.header_timeout_s),
        request_timeout: Duration::from_secs(settings.server.request_timeout_s),
        connection_age_max: Duration::from_secs(settings.server.connection_age_s_max),
    };
    let scheme = if has_tls { "https" } else { "http" };
    let shown = if is_tcp { format!("{scheme}://{shown}/") } else { shown.to_owned() };
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
        let address = listener.local_addr().map_err(wrong)?;
        if !address.ip().is_loopback() {
            return Err(format!(
                "the socket that was passed listens on {address}; give one on loopback, or a Unix socket"
            ));
        }
        return Ok((Listener::Tcp(listener), address.to_string()));
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
    Ok((listener, address.to_string()))
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

/// What is read after the start. Of single files it is the folder: who edits one puts a new file in its place.
fn readable(settings: &Settings, access: &Access) -> Vec<PathBuf> {
    let sensor = &settings.sensor;
    let of_register = sensor.derogations.as_deref().and_then(Path::parent).map(Path::to_owned);
    let more = of_register.into_iter().chain(sensor.candidates_folder.clone()).chain(access.folders());
    let more = more.chain(sensor.forwarder_folder.clone());
    std::iter::once(settings.journal.folder.clone()).chain(more).collect()
}

/// Confines the process: it reads the journal, writes its own folder, and makes no socket.
fn give_up_rights(settings: &Settings, access: &Access) -> Result<(), String> {
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
        readable: readable(settings, access),
        writable: vec![settings.state.folder.clone()],
        ..Confinement::default()
    };
    confine(&confinement).map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_everybody_names_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console.sock");
        let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let proxy = |uids| Access::Proxy { header: "x-remote-user".to_owned(), uids, roles: Roles::default() };
        fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
        let listener = Listener::Unix(socket);
        assert_eq!(fits(&listener, &proxy(Vec::new())), Ok(()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(fits(&listener, &proxy(Vec::new())).unwrap_err().contains("set SocketMode=0660"));
        assert_eq!(fits(&listener, &proxy(vec![33])), Ok(()));
    }

    #[test]
    fn user_ids_that_a_namespace_hides_are_known() {
        let whole = "         0          0 4294967295\n";
        assert!(is_mapped(whole, 33) && is_mapped(whole, 0));
        // As PrivateUsers=yes makes it: root and the unit's own user.
        let private = "         0          0          1\n       998        998          1\n";
        assert!(is_mapped(private, 0) && is_mapped(private, 998));
        assert!(!is_mapped(private, 33) && !is_mapped(private, 999));
    }
}
