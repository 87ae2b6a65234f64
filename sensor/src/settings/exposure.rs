//! Files of the configuration that others can change, or secrets that others can read. The sensor runs with them, and says so.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Settings;
use vigie_metrics::server::web_config::WebConfig;

/// Permission of all others to write, and to read (chmod(2)).
const OTHERS_WRITE: u32 = 0o002;
const OTHERS_READ: u32 = 0o004;
/// In a folder with this mark, only owners rename and delete.
const STICKY: u32 = 0o1000;

/// A file or folder with permissions that are too wide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// Which.
    pub path: PathBuf,
    /// What everybody can do.
    pub what: &'static str,
    /// What would mend it, in words: the path may be a folder that many use.
    pub mend: &'static str,
}

impl Settings {
    /// The files of this configuration with permissions that are too wide; `file` is the configuration file.
    pub fn exposures(&self, file: Option<&Path>) -> Vec<Exposure> {
        let mut exposures = Vec::new();
        let mut changeable = |path: &Path, what| {
            if others_may(path, OTHERS_WRITE) {
                exposures.push(Exposure {
                    path: path.to_owned(),
                    what,
                    mend: "take it where only its owner may write",
                });
            }
        };
        if let Some(file) = file {
            changeable(file, "everybody can change the configuration");
            if let Some(folder) = file.parent() {
                changeable(folder, "everybody can replace the configuration");
            }
        }
        if let Some(folder) = &self.signatures.folder {
            changeable(folder, "everybody can add signatures, or silence those in use");
            let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
            for path in entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
                changeable(&path, "everybody can change these signatures");
            }
        }
        if let Some(path) = &self.metrics.web_config {
            changeable(path, "everybody can change the passwords of the metrics");
            let key = WebConfig::read(path).ok().and_then(|config| config.tls).map(|tls| tls.key_file);
            if let Some(key) = key.filter(|key| others_may(key, OTHERS_READ)) {
                exposures.push(Exposure {
                    path: key,
                    what: "everybody can read the key of the metrics",
                    mend: "let only its owner read it",
                });
            }
        }
        exposures
    }
}

fn others_may(path: &Path, what: u32) -> bool {
    fs::metadata(path).is_ok_and(|metadata| {
        let mode = metadata.permissions().mode();
        (metadata.is_file() || metadata.is_dir() && mode & STICKY == 0) && mode & what != 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_can_change_or_read_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let set = |name: &str, mode| fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        fs::create_dir(path("signatures")).unwrap();
        for name in ["vigie.toml", "signatures/own.toml", "signatures/note.txt", "key.pem", "cert.pem"] {
            fs::write(path(name), "").unwrap();
            set(name, 0o640);
        }
        fs::write(path("web.yml"), "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n").unwrap();
        set("web.yml", 0o640);
        set("signatures", 0o755);
        let mut settings = Settings::default();
        settings.signatures.folder = Some(path("signatures"));
        settings.metrics.web_config = Some(path("web.yml"));
        let found = || -> Vec<PathBuf> {
            settings.exposures(Some(&path("vigie.toml"))).into_iter().map(|exposure| exposure.path).collect()
        };
        assert!(found().is_empty(), "{:?}", found());
        for (name, mode) in [
            ("vigie.toml", 0o642),
            ("signatures", 0o757),
            ("signatures/own.toml", 0o666),
            ("web.yml", 0o602),
            ("key.pem", 0o644),
        ] {
            let before = fs::metadata(path(name)).unwrap().permissions();
            set(name, mode);
            assert_eq!(found(), [path(name)]);
            fs::set_permissions(path(name), before).unwrap();
        }
        set("signatures/note.txt", 0o666);
        set("signatures", 0o1777);
        assert!(found().is_empty(), "of folders with the sticky mark, only owners take files away");
    }
}
