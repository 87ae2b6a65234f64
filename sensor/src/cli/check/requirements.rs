//! What a configuration requires of the machine: signatures, user, events file, metrics address. The requirements of
//! capture and of privileges have modules of their own.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use vigie_signatures::{Bundle, LoadOptions};

use super::accounts::{Account, READ, SEARCH, WRITE};
use super::{capture, policy, privileges};
use crate::cli::bundle;
use crate::cli::exit::Exit;
use crate::cli::words::{counted, quoted, quoted_path};
use crate::settings::{Loaded, Settings};
use vigie_metrics::Server;
use vigie_privilege::{Profile, probe};

/// How long a program that listens at the metrics address may take to answer.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// Whether a requirement is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Ok,
    Warning,
    /// The sensor cannot run, and would end with this code.
    Error(Exit),
}

/// A requirement, and whether it is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Requirement {
    part: &'static str,
    outcome: Outcome,
    message: String,
    mend: String,
}

impl Requirement {
    pub(super) fn ok(part: &'static str, message: impl Into<String>) -> Self {
        Self { part, outcome: Outcome::Ok, message: message.into(), mend: String::new() }
    }

    pub(super) fn warning(part: &'static str, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { part, outcome: Outcome::Warning, message: message.into(), mend: mend.into() }
    }

    pub(super) fn unavailable(part: &'static str, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { part, outcome: Outcome::Error(Exit::Unavailable), message: message.into(), mend: mend.into() }
    }

    pub(super) fn misconfigured(part: &'static str, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { part, outcome: Outcome::Error(Exit::Configuration), message: message.into(), mend: mend.into() }
    }

    /// The exit code of a sensor with this requirement.
    pub(super) const fn exit(&self) -> Exit {
        match self.outcome {
            Outcome::Error(exit) => exit,
            Outcome::Ok | Outcome::Warning => Exit::Success,
        }
    }

    /// Whether it is met with a warning.
    pub(super) fn is_warning(&self) -> bool {
        self.outcome == Outcome::Warning
    }

    fn severity(&self) -> &'static str {
        match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Warning => "warning",
            Outcome::Error(_) => "error",
        }
    }

    /// One JSON object.
    pub(super) fn json(&self) -> Value {
        json!({ "part": self.part, "severity": self.severity(), "message": self.message, "mend": self.mend })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.part)?;
        if self.outcome != Outcome::Ok {
            write!(formatter, "{}: ", self.severity())?;
        }
        formatter.write_str(&self.message)?;
        match self.mend.as_str() {
            "" => Ok(()),
            mend => write!(formatter, "; {mend}"),
        }
    }
}

/// All requirements of `settings`.
pub(super) fn all(loaded: &Loaded) -> Vec<Requirement> {
    let settings = &loaded.settings;
    let (mut requirements, bundle) = signatures(settings);
    let account = Account::find(&settings.privilege.user, &settings.privilege.group);
    if let Some(bundle) = bundle {
        requirements.extend(policy::all(loaded, &bundle, account.as_ref().ok()));
    }
    let filter_origin = loaded.origins.get("capture.bpf").map(ToString::to_string).unwrap_or_default();
    requirements.extend(capture::all(settings, &filter_origin));
    requirements.extend(permissions(loaded));
    requirements.push(user(settings, &account));
    if let Ok(account) = &account {
        requirements.push(events(settings, account));
    }
    requirements.extend(metrics(settings, account.as_ref().ok()));
    requirements.extend(privileges::all(settings, &probe(&Profile::SENSOR)));
    requirements
}

fn signatures(settings: &Settings) -> (Vec<Requirement>, Option<Bundle>) {
    const PART: &str = "signatures";
    let folders: Vec<_> = settings.signatures.folder.iter().cloned().collect();
    let today = Some(OffsetDateTime::now_utc().date());
    let options = LoadOptions { today, review_days_max: settings.signatures.max_age_days, ..LoadOptions::default() };
    let (bundle, findings) = match Bundle::load(&folders, options) {
        Ok((bundle, findings)) => (Some(bundle), findings),
        Err(findings) => (None, findings),
    };
    let mut requirements: Vec<Requirement> = findings
        .iter()
        .map(|finding| {
            let message = format!("{}: {}", bundle::place(finding), finding.message);
            match finding.severity {
                vigie_signatures::Severity::Error => Requirement::misconfigured(PART, message, &finding.mend),
                vigie_signatures::Severity::Warning => Requirement::warning(PART, message, &finding.mend),
            }
        })
        .collect();
    if let Some(bundle) = &bundle {
        let (services, rules) = (bundle.services().len() as u64, bundle.len() as u64);
        requirements
            .push(Requirement::ok(PART, format!("{}, {}", counted(services, "service"), counted(rules, "rule"))));
    }
    (requirements, bundle)
}

/// A warning for each file that others can change, or secret that others can read.
fn permissions(loaded: &Loaded) -> impl Iterator<Item = Requirement> {
    loaded.settings.exposures(loaded.file.as_deref().map(Path::new)).into_iter().map(|exposure| {
        Requirement::warning("permissions", format!("{}: {}", exposure.path.display(), exposure.what), exposure.mend)
    })
}

fn user(settings: &Settings, account: &Result<Account, String>) -> Requirement {
    const PART: &str = "user";
    let (user, group) = (&settings.privilege.user, &settings.privilege.group);
    match account {
        Ok(account) => Requirement::ok(PART, format!("{user} has user id {}", account.user)),
        Err(missing) if missing.starts_with("group") => Requirement::unavailable(
            PART,
            format!("{missing} does not exist"),
            format!("groupadd --system {}", quoted(group)),
        ),
        Err(missing) => {
            let mend = format!("useradd --system --no-create-home --shell /usr/sbin/nologin {}", quoted(user));
            Requirement::unavailable(PART, format!("{missing} does not exist"), mend)
        }
    }
}

/// Whether the user can append events, and create the file again after it was renamed.
fn events(settings: &Settings, account: &Account) -> Requirement {
    const PART: &str = "events";
    if let Some(folder) = &settings.journal.folder {
        return journal(settings, folder, account);
    }
    let (path, user) = (&settings.events.file, &settings.privilege.user);
    if path.as_os_str() == "-" {
        return Requirement::ok(PART, "to the standard output");
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let group = if settings.privilege.group.is_empty() { user } else { &settings.privilege.group };
    let shown = path.display();
    match () {
        () if path.is_dir() => {
            Requirement::misconfigured(PART, format!("{shown} is a folder"), "set events.file to a file")
        }
        () if !folder.exists() => {
            let create = format!("install -d -o {} -g {} -m 0750 {}", quoted(user), quoted(group), quoted_path(folder));
            Requirement::unavailable(PART, format!("{} does not exist", folder.display()), create)
        }
        () if !account.reaches(path) || !account.may(folder, WRITE | SEARCH) => {
            // No command: to give away a folder that others use would harm them.
            let mend = format!("set events.file to a file in a folder that belongs to {user}, such as /var/log/vigie");
            Requirement::unavailable(PART, format!("{user} may not write in {}", folder.display()), mend)
        }
        () if path.exists() && !account.may(path, WRITE) => {
            // No command: the file may be somebody else's.
            let mend = format!("set events.file to a file that belongs to {user}, or to one that does not exist");
            Requirement::unavailable(PART, format!("{user} may not write to {shown}"), mend)
        }
        () => Requirement::ok(PART, format!("to {shown}")),
    }
}

/// Whether the user can write to the journal's folder. The sensor makes it if it may.
fn journal(settings: &Settings, folder: &Path, account: &Account) -> Requirement {
    const PART: &str = "events";
    let user = &settings.privilege.user;
    let group = if settings.privilege.group.is_empty() { user } else { &settings.privilege.group };
    let shown = folder.display();
    let is_missing = !folder.exists();
    let written = if is_missing { folder.parent().unwrap_or(Path::new("/")) } else { folder };
    let may_write = account.reaches(folder) && account.may(written, WRITE | SEARCH);
    match () {
        () if !is_missing && !folder.is_dir() => {
            Requirement::misconfigured(PART, format!("{shown} is no folder"), "set journal.folder to a folder")
        }
        () if is_missing && !may_write => {
            let create = format!("install -d -o {} -g {} -m 2750 {}", quoted(user), quoted(group), quoted_path(folder));
            Requirement::unavailable(PART, format!("{shown} does not exist"), create)
        }
        () if !may_write => {
            let mend = format!("set journal.folder to a folder that belongs to {user}, such as /var/lib/vigie/journal");
            Requirement::unavailable(PART, format!("{user} may not write in {shown}"), mend)
        }
        () => Requirement::ok(PART, format!("to the journal in {shown}")),
    }
}

fn metrics(settings: &Settings, account: Option<&Account>) -> Vec<Requirement> {
    const PART: &str = "metrics";
    let Some(listen) = settings.metrics.listen else { return vec![Requirement::ok(PART, "not served")] };
    let mut requirements = vec![match TcpListener::bind(listen) {
        Ok(_) => Requirement::ok(PART, format!("served at {listen}")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match is_vigie(listen) {
            true => Requirement::warning(
                PART,
                format!("{listen} is in use by a running vigie"),
                "stop it before you start another",
            ),
            false => {
                Requirement::unavailable(PART, format!("{listen} is in use"), "set metrics.listen to another port")
            }
        },
        Err(error) => Requirement::unavailable(
            PART,
            format!("{listen}: {error}"),
            "set metrics.listen to an address of this machine",
        ),
    }];
    if let Some(file) = &settings.metrics.web_config {
        let shown = file.display();
        let may = account.is_none_or(|account| account.reaches(file) && account.may(file, READ));
        if !file.is_file() {
            requirements.push(Requirement::unavailable(
                PART,
                format!("{shown} is not a file"),
                "create it, or remove metrics.web_config",
            ));
        } else if !may {
            let user = &settings.privilege.user;
            requirements.push(Requirement::unavailable(
                PART,
                format!("{user} may not read {shown}"),
                copy_for(&settings.privilege.user, file),
            ));
        } else {
            requirements.push(match Server::check(file) {
                Ok(()) => Requirement::ok(PART, format!("TLS and passwords by {shown}")),
                Err(error) => Requirement::misconfigured(PART, error.to_string(), ""),
            });
        }
    }
    requirements
}

/// How to give a user its own copy of a file; the file itself, which others may use, stays as it is.
fn copy_for(user: &str, file: &Path) -> String {
    let (name, from) = (file.file_name().unwrap_or_default().to_string_lossy(), quoted_path(file));
    let to = Path::new("/etc/vigie").join(&*name);
    let set = format!("set metrics.web_config to a copy of its own, such as {}", to.display());
    format!("{set}: install -D -g {} -m 0640 {from} {}", quoted(user), quoted_path(&to))
}

/// Whether the program at `listen` is a vigie. If so, the checked configuration is probably about to be reloaded.
fn is_vigie(listen: SocketAddr) -> bool {
    let ask = || -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&listen, ANSWER_MAX)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: vigie\r\nConnection: close\r\n\r\n")?;
        let mut answer = vec![0; 4096];
        let mut filled = 0;
        while let Some(room) = answer.get_mut(filled..).filter(|room| !room.is_empty()) {
            match stream.read(room) {
                Ok(0) | Err(_) => break,
                Ok(read) => filled += read,
            }
        }
        answer.truncate(filled);
        Ok(answer)
    };
    ask().is_ok_and(|answer| String::from_utf8_lossy(&answer).contains("vigie"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    fn settings() -> Settings {
        let mut settings = Settings::default();
        settings.privilege.user = "root".to_owned();
        settings
    }

    fn lines(requirements: &[Requirement]) -> Vec<String> {
        requirements.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn events_need_a_folder_that_the_user_may_write_in() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings();
        let root = Account { user: 0, groups: vec![0] };
        let nobody = Account { user: 4_000_000_000, groups: vec![4_000_000_000] };
        settings.events.file = folder.path().join("eve.json");
        assert_eq!(events(&settings, &root).exit(), Exit::Success);
        let refused = events(&settings, &nobody).to_string();
        assert!(refused.contains("error: root may not write in /"), "{refused}");
        // A folder that is there may be others': no command gives it away.
        assert!(!refused.contains("install ") && !refused.contains("chown "), "{refused}");
        settings.events.file = folder.path().join("no/eve.json");
        let line = events(&settings, &root).to_string();
        assert!(line.contains("/no does not exist; install -d -o root -g root -m 0750 /"), "{line}");
        settings.events.file = folder.path().to_path_buf();
        assert_eq!(events(&settings, &root).exit(), Exit::Configuration);
        settings.events.file = PathBuf::from("-");
        assert_eq!(events(&settings, &nobody).exit(), Exit::Success);
    }

    #[test]
    fn an_address_in_use_by_a_running_vigie_is_a_warning() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut settings = settings();
        settings.metrics.listen = Some(listener.local_addr().unwrap());
        let answering = std::thread::spawn(move || {
            for answer in ["HTTP/1.1 200 OK\r\n\r\n<title>vigie</title>", "HTTP/1.1 200 OK\r\n\r\nother"] {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let first = metrics(&settings, None);
        assert!(first[0].is_warning() && first[0].message.contains("a running vigie"), "{first:?}");
        let second = metrics(&settings, None);
        assert_eq!(second[0].exit(), Exit::Unavailable);
        assert!(second[0].message.ends_with("is in use"), "{second:?}");
        answering.join().unwrap();
        assert_eq!(metrics(&settings, None)[0].exit(), Exit::Success);
        settings.metrics.listen = None;
        assert_eq!(lines(&metrics(&settings, None)), ["metrics: not served"]);
    }

    #[test]
    fn the_web_configuration_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("web.yml");
        let mut settings = settings();
        settings.metrics.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        settings.metrics.web_config = Some(file.clone());
        assert_eq!(metrics(&settings, None)[1].exit(), Exit::Unavailable);
        fs::write(&file, "").unwrap();
        assert_eq!(lines(&metrics(&settings, None))[1], format!("metrics: TLS and passwords by {}", file.display()));
        fs::write(&file, "tls_server_config:\n  cert_file: none.pem\n  key_file: none.key\n").unwrap();
        let requirements = metrics(&settings, None);
        assert_eq!(requirements[1].exit(), Exit::Configuration);
        assert!(requirements[1].message.starts_with(&format!("{}:", file.display())), "{requirements:?}");
    }

    #[test]
    fn signatures_and_users() {
        let mut settings = settings();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.toml"), "nonsense = [\n").unwrap();
        settings.signatures.folder = Some(folder.path().to_path_buf());
        let (requirements, _) = signatures(&settings);
        assert!(requirements.iter().any(|requirement| requirement.exit() == Exit::Configuration && requirement.message.contains("a.toml:")));
        settings.privilege.user = "no-such-user".to_owned();
        let missing = Account::find("no-such-user", "");
        assert!(user(&settings, &missing).to_string().contains("error: user \"no-such-user\" does not exist; useradd"));
    }
}
