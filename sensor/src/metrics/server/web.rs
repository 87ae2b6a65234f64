//! The web configuration in use: read at start, and again whenever it or a file that it names has changed. A new one
//! that is wrong leaves the old one in use, says so once, and is counted.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;

use super::super::shared::{Shared, locked};
use super::Notice;
use super::tls;
use super::web_config::{WebConfig, WebConfigError};

/// Size, place and time of a file: what changes when it is written or replaced. `None` where there is none.
type Mark = Option<(u64, u64, i64, i64)>;

/// What holds for the next connection.
#[derive(Clone, Default)]
pub(super) struct InUse {
    pub(super) users: Arc<Vec<(String, String)>>,
    pub(super) tls: Option<Arc<ServerConfig>>,
}

struct State {
    in_use: InUse,
    marks: Vec<(PathBuf, Mark)>,
}

pub(super) struct Web {
    file: Option<PathBuf>,
    state: Mutex<State>,
    shared: Arc<Shared>,
    notice: Notice,
}

impl Web {
    pub(super) fn open(file: Option<&Path>, shared: Arc<Shared>, notice: Notice) -> Result<Self, WebConfigError> {
        let state = match file {
            None => State { in_use: InUse::default(), marks: Vec::new() },
            Some(file) => {
                let (config, marks) = read(file, &[]);
                State { in_use: use_it(file, &config?)?, marks }
            }
        };
        Ok(Self { file: file.map(Path::to_owned), state: Mutex::new(state), shared, notice })
    }

    /// Folders of the configuration and of the files that it names, from which they are read again.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let state = locked(&self.state);
        let folder = |file: &PathBuf| match file.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let mut folders: Vec<PathBuf> = state.marks.iter().map(|(file, _)| folder(file)).collect();
        folders.sort();
        folders.dedup();
        folders
    }

    /// What is in use, read again if it has changed.
    pub(super) fn current(&self) -> InUse {
        let mut state = locked(&self.state);
        let Some(file) = &self.file else { return state.in_use.clone() };
        if state.marks.iter().all(|(file, known)| mark(file) == *known) {
            return state.in_use.clone();
        }
        let (config, marks) = read(file, &state.marks);
        state.marks = marks;
        let switched = |new: &InUse| new.tls.is_some() != state.in_use.tls.is_some();
        let result = config.and_then(|config| use_it(file, &config)).and_then(|new| match switched(&new) {
            true => Err(WebConfigError {
                file: file.clone(),
                line: 0,
                key: "tls_server_config".to_owned(),
                what: "TLS is switched on or off at start only; restart the sensor".to_owned(),
            }),
            false => Ok(new),
        });
        self.shared.web_reloaded(result.is_ok());
        match result {
            Ok(new) => {
                state.in_use = new;
                (self.notice)(&format!("{}: read again, in use", file.display()));
            }
            Err(error) => (self.notice)(&format!("{error}; the old configuration stays in use")),
        }
        state.in_use.clone()
    }
}

/// The configuration, and the marks of all files that it depends on, taken before they were read so that no change is
/// missed; of those named before where it cannot be read.
fn read(file: &Path, before: &[(PathBuf, Mark)]) -> (Result<WebConfig, WebConfigError>, Vec<(PathBuf, Mark)>) {
    let own = (file.to_owned(), mark(file));
    let config = WebConfig::read(file);
    let marks = match &config {
        Ok(config) => {
            let named = config.files().into_iter().map(|file| (file.to_owned(), mark(file)));
            std::iter::once(own).chain(named).collect()
        }
        Err(_) => {
            let others = before.iter().filter(|(known, _)| known != file).map(|(file, _)| (file.clone(), mark(file)));
            std::iter::once(own).chain(others).collect()
        }
    };
    (config, marks)
}

fn use_it(file: &Path, config: &WebConfig) -> Result<InUse, WebConfigError> {
    let tls = config.tls.as_ref().map(|tls| tls::server_config(file, tls)).transpose()?;
    Ok(InUse { users: Arc::new(config.users.clone()), tls })
}

fn mark(file: &Path) -> Mark {
    let facts = fs::metadata(file).ok()?;
    Some((facts.len(), facts.ino(), facts.mtime(), facts.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

    #[test]
    fn changes_are_taken_up_and_mistakes_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("web.yml");
        let users = |names: &[&str]| {
            let lines: Vec<String> = names.iter().map(|name| format!("  {name}: {HASH}\n")).collect();
            fs::write(&file, format!("basic_auth_users:\n{}", lines.concat())).unwrap();
        };
        users(&["a"]);
        let said = Arc::new(Mutex::new(Vec::new()));
        let (shared, heard) = (Shared::new("s", &[], 1).unwrap(), Arc::clone(&said));
        let notice: Notice = Arc::new(move |line: &str| locked(&heard).push(line.to_owned()));
        let web = Web::open(Some(&file), Arc::clone(&shared), notice).unwrap();
        assert_eq!(web.folders(), [folder.path()]);
        let known = || web.current().users.len();
        assert_eq!((known(), locked(&said).len()), (1, 0));
        users(&["a", "bc"]);
        assert_eq!((known(), locked(&said).len()), (2, 1));
        fs::write(&file, "nonsense: 1\n").unwrap();
        assert_eq!((known(), known(), locked(&said).len()), (2, 2, 2));
        assert!(locked(&said).iter().any(|line| line.contains("web.yml:1: nonsense: is not known here")));
        fs::remove_file(&file).unwrap();
        assert_eq!((known(), known(), locked(&said).len()), (2, 2, 3));
        users(&["a", "bc", "def"]);
        assert_eq!((known(), locked(&said).len()), (3, 4));
        let counts = shared.web_reloads.each_ref().map(|count| count.load(std::sync::atomic::Ordering::Relaxed));
        assert_eq!(counts, [2, 2]);
    }

    #[test]
    fn missing_and_mismatched_key_files_are_refused_at_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("web.yml");
        let open = || Web::open(Some(&file), Shared::new("s", &[], 1).unwrap(), Arc::new(|_| {}));
        fs::write(&file, "\ntls_server_config:\n  cert_file: a.crt\n  key_file: a.key\n").unwrap();
        let error = open().err().unwrap().to_string();
        assert!(
            error.contains("web.yml:2: tls_server_config.cert_file: ") && error.contains("cannot be read"),
            "{error}"
        );
        fs::write(folder.path().join("a.crt"), "nothing").unwrap();
        let error = open().err().unwrap().to_string();
        assert!(error.contains("a.crt holds no certificate"), "{error}");
    }
}
