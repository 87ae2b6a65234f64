//! The active web configuration. It is read at start, and again whenever it or a file that it names has changed. If the
//! new one is wrong, the old one stays active; that is logged once and counted.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;

use super::web_config::{WebConfig, WebConfigError};
use super::{EndpointCounts, Log, tls};
use crate::monitored::locked;

/// Size, inode and modification time of a file, which change when it is written or replaced. `None` if it does not
/// exist.
type FileVersion = Option<(u64, u64, i64, i64)>;

/// What TLS connections are made with.
pub type TlsServer = Arc<ServerConfig>;

/// What applies to the next connection.
#[derive(Clone, Default)]
pub struct Active {
    /// Users and the bcrypt hashes of their passwords.
    pub users: Arc<Vec<(String, String)>>,
    /// TLS, if any.
    pub tls: Option<TlsServer>,
}

struct State {
    active: Active,
    /// All files that the configuration depends on, as they were when they were read.
    files: Vec<(PathBuf, FileVersion)>,
}

/// The web configuration, kept up to date.
pub struct LiveConfig {
    file: Option<PathBuf>,
    state: Mutex<State>,
    counts: Arc<EndpointCounts>,
    log: Log,
}

impl LiveConfig {
    /// Reads the file and those that it names; without a file there are no users and no TLS.
    ///
    /// # Errors
    /// What is wrong, with file, line, key and mend.
    pub fn open(file: Option<&Path>, counts: Arc<EndpointCounts>, log: Log) -> Result<Self, WebConfigError> {
        let state = match file {
            None => State { active: Active::default(), files: Vec::new() },
            Some(file) => {
                let (config, files) = read(file, &[]);
                State { active: activate(file, &config?)?, files }
            }
        };
        Ok(Self { file: file.map(Path::to_owned), state: Mutex::new(state), counts, log })
    }

    /// Folders of the configuration and of the files that it names, from which they are read again.
    pub fn folders(&self) -> Vec<PathBuf> {
        let state = locked(&self.state);
        let folder = |file: &PathBuf| match file.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let mut folders: Vec<PathBuf> = state.files.iter().map(|(file, _)| folder(file)).collect();
        folders.sort();
        folders.dedup();
        folders
    }

    /// What is active, after reading it again if a file has changed.
    pub fn current(&self) -> Active {
        let mut state = locked(&self.state);
        let Some(file) = &self.file else { return state.active.clone() };
        if state.files.iter().all(|(file, known)| version(file) == *known) {
            return state.active.clone();
        }
        let (config, files) = read(file, &state.files);
        state.files = files;
        let is_switched = |new: &Active| new.tls.is_some() != state.active.tls.is_some();
        let result = config.and_then(|config| activate(file, &config)).and_then(|new| match is_switched(&new) {
            true => Err(WebConfigError {
                file: file.clone(),
                line: 0,
                key: "tls_server_config".to_owned(),
                what: "TLS can be switched on or off only at start; restart the service".to_owned(),
            }),
            false => Ok(new),
        });
        self.counts.web_config_reload(result.is_ok());
        match result {
            Ok(new) => {
                state.active = new;
                (self.log)(&format!("{}: read again, now active", file.display()));
            }
            Err(error) => (self.log)(&format!("{error}; the old configuration stays active")),
        }
        state.active.clone()
    }
}

/// The configuration, and the versions of all files that it depends on. The versions are taken before the files are
/// read, so that no change is missed. If the configuration cannot be read, the files that it named before count.
fn read(
    file: &Path,
    before: &[(PathBuf, FileVersion)],
) -> (Result<WebConfig, WebConfigError>, Vec<(PathBuf, FileVersion)>) {
    let own = (file.to_owned(), version(file));
    let config = WebConfig::read(file);
    let files = match &config {
        Ok(config) => {
            let named = config.files().into_iter().map(|file| (file.to_owned(), version(file)));
            std::iter::once(own).chain(named).collect()
        }
        Err(_) => {
            let others = before.iter().filter(|(known, _)| known != file);
            let others = others.map(|(file, _)| (file.clone(), version(file)));
            std::iter::once(own).chain(others).collect()
        }
    };
    (config, files)
}

fn activate(file: &Path, config: &WebConfig) -> Result<Active, WebConfigError> {
    let tls = config.tls.as_ref().map(|tls| tls::server_config(file, tls)).transpose()?;
    Ok(Active { users: Arc::new(config.users.clone()), tls })
}

fn version(file: &Path) -> FileVersion {
    let facts = fs::metadata(file).ok()?;
    Some((facts.len(), facts.ino(), facts.mtime(), facts.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

    #[test]
    fn changes_become_active_and_mistakes_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("web.yml");
        let users = |names: &[&str]| {
            let lines: Vec<String> = names.iter().map(|name| format!("  {name}: {HASH}\n")).collect();
            fs::write(&file, format!("basic_auth_users:\n{}", lines.concat())).unwrap();
        };
        users(&["a"]);
        let logged = Arc::new(Mutex::new(Vec::new()));
        let (counts, lines) = (Arc::<EndpointCounts>::default(), Arc::clone(&logged));
        let log: Log = Arc::new(move |line: &str| locked(&lines).push(line.to_owned()));
        let config = LiveConfig::open(Some(&file), Arc::clone(&counts), log).unwrap();
        assert_eq!(config.folders(), [folder.path()]);
        let known = || config.current().users.len();
        assert_eq!((known(), locked(&logged).len()), (1, 0));
        users(&["a", "bc"]);
        assert_eq!((known(), locked(&logged).len()), (2, 1));
        fs::write(&file, "nonsense: 1\n").unwrap();
        assert_eq!((known(), known(), locked(&logged).len()), (2, 2, 2));
        assert!(locked(&logged).iter().any(|line| line.contains("web.yml:1: nonsense: is not a known key")));
        fs::remove_file(&file).unwrap();
        assert_eq!((known(), known(), locked(&logged).len()), (2, 2, 3));
        users(&["a", "bc", "def"]);
        assert_eq!((known(), locked(&logged).len()), (3, 4));
        assert_eq!(counts.web_config_reloads(), (2, 2));
    }

    #[test]
    fn missing_and_mismatched_key_files_are_refused_at_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("web.yml");
        let open = || LiveConfig::open(Some(&file), Arc::default(), Arc::new(|_| {}));
        fs::write(&file, "\ntls_server_config:\n  cert_file: a.crt\n  key_file: a.key\n").unwrap();
        let error = open().err().unwrap().to_string();
        assert!(
            error.contains("web.yml:2: tls_server_config.cert_file: ") && error.contains("cannot be read"),
            "{error}"
        );
        fs::write(folder.path().join("a.crt"), "nothing").unwrap();
        let error = open().err().unwrap().to_string();
        assert!(error.contains("a.crt contains no certificate"), "{error}");
    }
}
