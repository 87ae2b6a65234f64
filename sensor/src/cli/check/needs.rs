//! What a configuration needs of the machine, each need looked at by itself.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use vigie_signatures::{Bundle, LoadOptions};

use super::accounts::{Account, PASS, READ, WRITE};
use super::{capture, privileges};
use crate::cli::bundle;
use crate::cli::exit::Exit;
use crate::cli::words::counted;
use crate::config::Settings;
use crate::metrics::Server;
use vigie_privilege::probe;

/// How long whoever has the metrics address may take to answer.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// How a need is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    Well,
    Oddly,
    /// Not, and so the program ends.
    Not(Exit),
}

/// A need, and how it is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Need {
    part: &'static str,
    met: Met,
    says: String,
    mend: String,
}

impl Need {
    pub(super) fn well(part: &'static str, says: impl Into<String>) -> Self {
        Self { part, met: Met::Well, says: says.into(), mend: String::new() }
    }

    pub(super) fn oddly(part: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { part, met: Met::Oddly, says: says.into(), mend: mend.into() }
    }

    pub(super) fn missing(part: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { part, met: Met::Not(Exit::Unavailable), says: says.into(), mend: mend.into() }
    }

    pub(super) fn wrong(part: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { part, met: Met::Not(Exit::Configuration), says: says.into(), mend: mend.into() }
    }

    /// How the program ends for it.
    pub(super) const fn exit(&self) -> Exit {
        match self.met {
            Met::Not(exit) => exit,
            Met::Well | Met::Oddly => Exit::Success,
        }
    }

    /// Whether it is met, but oddly.
    pub(super) fn is_warning(&self) -> bool {
        self.met == Met::Oddly
    }

    fn severity(&self) -> &'static str {
        match self.met {
            Met::Well => "ok",
            Met::Oddly => "warning",
            Met::Not(_) => "error",
        }
    }

    /// As one object.
    pub(super) fn json(&self) -> Value {
        json!({ "part": self.part, "severity": self.severity(), "message": self.says, "mend": self.mend })
    }
}

impl fmt::Display for Need {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.part)?;
        if self.met != Met::Well {
            write!(formatter, "{}: ", self.severity())?;
        }
        formatter.write_str(&self.says)?;
        match self.mend.as_str() {
            "" => Ok(()),
            mend => write!(formatter, "; {mend}"),
        }
    }
}

/// All needs of `settings`.
pub(super) fn all(settings: &Settings) -> Vec<Need> {
    let mut needs = signatures(settings);
    needs.extend(capture::all(settings));
    let account = Account::find(&settings.privilege.user, &settings.privilege.group);
    needs.push(user(settings, &account));
    if let Ok(account) = &account {
        needs.push(events(settings, account));
    }
    needs.extend(metrics(settings, account.as_ref().ok()));
    needs.extend(privileges::all(settings, &probe()));
    needs
}

fn signatures(settings: &Settings) -> Vec<Need> {
    const PART: &str = "signatures";
    let folders: Vec<_> = settings.signatures.folder.iter().cloned().collect();
    let today = Some(OffsetDateTime::now_utc().date());
    let options = LoadOptions { today, review_days_max: settings.signatures.max_age_days, ..LoadOptions::default() };
    let (bundle, findings) = match Bundle::load(&folders, options) {
        Ok((bundle, findings)) => (Some(bundle), findings),
        Err(findings) => (None, findings),
    };
    let mut needs: Vec<Need> = findings
        .iter()
        .map(|finding| {
            let says = format!("{}: {}", bundle::place(finding), finding.message);
            match finding.severity {
                vigie_signatures::Severity::Error => Need::wrong(PART, says, &finding.mend),
                vigie_signatures::Severity::Warning => Need::oddly(PART, says, &finding.mend),
            }
        })
        .collect();
    if let Some(bundle) = bundle {
        let (services, rules) = (bundle.services().len() as u64, bundle.len() as u64);
        needs.push(Need::well(PART, format!("{}, {}", counted(services, "service"), counted(rules, "rule"))));
    }
    needs
}

fn user(settings: &Settings, account: &Result<Account, String>) -> Need {
    const PART: &str = "user";
    let (user, group) = (&settings.privilege.user, &settings.privilege.group);
    match account {
        Ok(account) => Need::well(PART, format!("{user} has the number {}", account.user)),
        Err(missing) if missing.starts_with("group") => {
            Need::missing(PART, format!("{missing} does not exist"), format!("groupadd --system {group}"))
        }
        Err(missing) => {
            let mend = format!("useradd --system --no-create-home --shell /usr/sbin/nologin {user}");
            Need::missing(PART, format!("{missing} does not exist"), mend)
        }
    }
}

/// Whether events can be appended, and the file made anew when it was moved away.
fn events(settings: &Settings, account: &Account) -> Need {
    const PART: &str = "events";
    let (path, user) = (&settings.events.file, &settings.privilege.user);
    if path.as_os_str() == "-" {
        return Need::well(PART, "to the standard output");
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let group = if settings.privilege.group.is_empty() { user } else { &settings.privilege.group };
    let make = format!("install -d -o {user} -g {group} -m 0750 {}", folder.display());
    let shown = path.display();
    match () {
        () if path.is_dir() => Need::wrong(PART, format!("{shown} is a folder"), "set events.file to a file"),
        () if !folder.exists() => Need::missing(PART, format!("{} does not exist", folder.display()), make),
        () if !account.reaches(path) || !account.may(folder, WRITE | PASS) => {
            Need::missing(PART, format!("{user} may not write in {}", folder.display()), make)
        }
        () if path.exists() && !account.may(path, WRITE) => {
            Need::missing(PART, format!("{user} may not write to {shown}"), format!("chown {user}:{group} {shown}"))
        }
        () => Need::well(PART, format!("to {shown}")),
    }
}

fn metrics(settings: &Settings, account: Option<&Account>) -> Vec<Need> {
    const PART: &str = "metrics";
    let Some(listen) = settings.metrics.listen else { return vec![Need::well(PART, "nowhere")] };
    let mut needs = vec![match TcpListener::bind(listen) {
        Ok(_) => Need::well(PART, format!("on {listen}")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match speaks_vigie(listen) {
            true => {
                Need::oddly(PART, format!("{listen} is taken by a vigie that runs"), "stop it before starting another")
            }
            false => Need::missing(PART, format!("{listen} is taken"), "set metrics.listen to another port"),
        },
        Err(error) => {
            Need::missing(PART, format!("{listen}: {error}"), "set metrics.listen to an address of this machine")
        }
    }];
    if let Some(file) = &settings.metrics.web_config {
        let shown = file.display();
        let may = account.is_none_or(|account| account.reaches(file) && account.may(file, READ));
        if !file.is_file() {
            needs.push(Need::missing(PART, format!("{shown} is no file"), "write it, or leave metrics.web_config out"));
        } else if !may {
            let user = &settings.privilege.user;
            needs.push(Need::missing(PART, format!("{user} may not read {shown}"), format!("chgrp {user} {shown}")));
        } else {
            needs.push(match Server::check(file) {
                Ok(()) => Need::well(PART, format!("as {shown} says")),
                Err(error) => Need::wrong(PART, error.to_string(), ""),
            });
        }
    }
    needs
}

/// Whether who answers at `listen` is one of us: then the check is that of a configuration about to be reloaded.
fn speaks_vigie(listen: SocketAddr) -> bool {
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

    fn lines(needs: &[Need]) -> Vec<String> {
        needs.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn events_need_a_folder_that_the_user_may_write_in() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings();
        let root = Account { user: 0, groups: vec![0] };
        let nobody = Account { user: 4_000_000_000, groups: vec![4_000_000_000] };
        settings.events.file = folder.path().join("eve.json");
        assert_eq!(events(&settings, &root).exit(), Exit::Success);
        assert!(events(&settings, &nobody).to_string().contains("error: root may not write in /"));
        settings.events.file = folder.path().join("no/eve.json");
        let line = events(&settings, &root).to_string();
        assert!(line.contains("/no does not exist; install -d -o root -g root -m 0750 /"), "{line}");
        settings.events.file = folder.path().to_path_buf();
        assert_eq!(events(&settings, &root).exit(), Exit::Configuration);
        settings.events.file = PathBuf::from("-");
        assert_eq!(events(&settings, &nobody).exit(), Exit::Success);
    }

    #[test]
    fn a_taken_address_is_told_apart_from_a_running_vigie() {
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
        assert!(first[0].is_warning() && first[0].says.contains("a vigie that runs"), "{first:?}");
        let second = metrics(&settings, None);
        assert_eq!(second[0].exit(), Exit::Unavailable);
        assert!(second[0].says.ends_with("is taken"), "{second:?}");
        answering.join().unwrap();
        assert_eq!(metrics(&settings, None)[0].exit(), Exit::Success);
        settings.metrics.listen = None;
        assert_eq!(lines(&metrics(&settings, None)), ["metrics: nowhere"]);
    }

    #[test]
    fn the_file_of_the_endpoint_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("web.yml");
        let mut settings = settings();
        settings.metrics.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        settings.metrics.web_config = Some(file.clone());
        assert_eq!(metrics(&settings, None)[1].exit(), Exit::Unavailable);
        fs::write(&file, "").unwrap();
        assert_eq!(lines(&metrics(&settings, None))[1], format!("metrics: as {} says", file.display()));
        fs::write(&file, "tls_server_config:\n  cert_file: none.pem\n  key_file: none.key\n").unwrap();
        let needs = metrics(&settings, None);
        assert_eq!(needs[1].exit(), Exit::Configuration);
        assert!(needs[1].says.starts_with(&format!("{}:", file.display())), "{needs:?}");
    }

    #[test]
    fn signatures_and_users() {
        let mut settings = settings();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.toml"), "nonsense = [\n").unwrap();
        settings.signatures.folder = Some(folder.path().to_path_buf());
        let needs = signatures(&settings);
        assert!(needs.iter().any(|need| need.exit() == Exit::Configuration && need.says.contains("a.toml:")));
        settings.privilege.user = "no-such-user".to_owned();
        let missing = Account::find("no-such-user", "");
        assert!(user(&settings, &missing).to_string().contains("error: user \"no-such-user\" does not exist; useradd"));
    }
}
