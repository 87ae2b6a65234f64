//! Where metrics and events are: the options, else the configuration of the sensor, else its defaults.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The sensor's configuration.
pub const CONFIG_DEFAULT: &str = "/etc/vigie/vigie.toml";
/// Where the sensor serves metrics unless told otherwise.
const METRICS_DEFAULT: &str = "127.0.0.1:19843";
/// Where the package has the journal.
const JOURNAL_DEFAULT: &str = "/var/lib/vigie/journal";

/// Where events are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Events {
    /// The folder of a journal.
    Journal(PathBuf),
    /// A file of events.
    File(PathBuf),
}

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// None: the sensor serves no metrics.
    pub metrics: Option<SocketAddr>,
    pub events: Events,
}

/// What options say.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub config: Option<PathBuf>,
    pub metrics: Option<SocketAddr>,
    pub journal: Option<PathBuf>,
    pub events: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    metrics: Metrics,
    journal: Journal,
    events: EventsFile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metrics {
    listen: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Journal {
    folder: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EventsFile {
    file: Option<String>,
}

/// Finds them.
///
/// # Errors
/// The configuration that was asked for cannot be read.
pub fn find(wanted: Wanted) -> Result<Sources, String> {
    let file = read(wanted.config.as_deref())?;
    let metrics = match (wanted.metrics, file.metrics.listen.as_deref()) {
        (Some(address), _) => Some(address),
        (None, Some("")) => None,
        (None, listen) => {
            let listen = listen.unwrap_or(METRICS_DEFAULT);
            Some(listen.parse().map_err(|_| format!("metrics.listen: {listen:?} is no address with a port"))?)
        }
    };
    let folder = file.journal.folder.filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let written = file.events.file.filter(|file| !file.is_empty() && file != "-").map(PathBuf::from);
    let events = match (wanted.journal, wanted.events) {
        (Some(folder), _) => Events::Journal(folder),
        (None, Some(file)) => Events::File(file),
        (None, None) => match (folder, written) {
            (Some(folder), _) => Events::Journal(folder),
            (None, Some(file)) => Events::File(file),
            (None, None) => Events::Journal(JOURNAL_DEFAULT.into()),
        },
    };
    Ok(Sources { metrics, events })
}

fn read(config: Option<&Path>) -> Result<File, String> {
    let path = config.unwrap_or(Path::new(CONFIG_DEFAULT));
    let text = match fs::read_to_string(path) {
        // Nobody asked for this file: the defaults of the sensor hold, also for who may not read it.
        Err(error) if config.is_none() && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            return Ok(File::default());
        }
        read => read.map_err(|error| format!("{}: {error}", path.display()))?,
    };
    toml::from_str(&text).map_err(|error| format!("{}: {}", path.display(), error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, wanted: Wanted) -> Result<Sources, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vigie.toml");
        fs::write(&path, text).unwrap();
        find(Wanted { config: Some(path), ..wanted })
    }

    #[test]
    fn options_win_over_the_configuration_and_that_over_defaults() {
        let sources = of("", Wanted::default()).unwrap();
        assert_eq!(sources.metrics, Some(METRICS_DEFAULT.parse().unwrap()));
        assert_eq!(sources.events, Events::Journal(JOURNAL_DEFAULT.into()));
        let text = "[metrics]\nlisten = \"127.0.0.1:1\"\n[journal]\nfolder = \"/j\"\n[events]\nfile = \"/e\"\n[capture]\nx = 1\n";
        let sources = of(text, Wanted::default()).unwrap();
        assert_eq!(
            (sources.metrics, sources.events),
            (Some("127.0.0.1:1".parse().unwrap()), Events::Journal("/j".into()))
        );
        let sources = of(text, Wanted { events: Some("/f".into()), ..Wanted::default() }).unwrap();
        assert_eq!(sources.events, Events::File("/f".into()));
        let sources = of("[metrics]\nlisten = \"\"\n[events]\nfile = \"/e\"\n", Wanted::default()).unwrap();
        assert_eq!((sources.metrics, sources.events), (None, Events::File("/e".into())));
    }

    #[test]
    fn what_was_asked_for_and_cannot_be_read_is_an_error() {
        assert!(
            find(Wanted { config: Some("/no/such".into()), ..Wanted::default() }).unwrap_err().contains("/no/such")
        );
        assert!(of("[metrics]\nlisten = \"nowhere\"\n", Wanted::default()).unwrap_err().contains("nowhere"));
        assert!(of("not toml", Wanted::default()).is_err());
    }
}
