//! The options of every command that uses the configuration.

use std::path::PathBuf;

use clap::Args;
use clap_complete::ArgValueCompleter;

use super::exit::{Exit, Failure};
use super::generate::completions;
use super::terminal::eprint;
use super::words::counted;
use crate::settings::{FILE_DEFAULT, Loaded, Settings};
use vigie_config::{ConfigErrors, Flag, Layers, RawValue, Schema, Source, key_and_value};

/// The configuration file, and settings that override it.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigurationArguments {
    /// Configuration file [default: /etc/vigie/vigie.toml, if it exists].
    #[arg(long, short, value_name = "FILE", env = "VIGIE_CONFIG")]
    pub config: Option<PathBuf>,

    /// Override a setting of file and environment, such as capture.workers=2; may be repeated. 'vigie generate config'
    /// prints all settings.
    #[arg(long, value_name = "KEY=VALUE", add = ArgValueCompleter::new(completions::settings), value_parser = setting)]
    pub set: Vec<(String, String)>,

    /// Capture on this interface; may be repeated. Same as capture.interfaces.
    #[arg(long, short, value_name = "NAME", add = ArgValueCompleter::new(completions::interfaces))]
    pub interface: Vec<String>,

    /// Number of worker threads. Same as capture.workers.
    #[arg(long, value_name = "N")]
    pub workers: Option<String>,

    /// Serve metrics for Prometheus at this address; empty for none. Same as metrics.listen.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<String>,

    /// Append events to this file; `-` is the standard output. Same as events.file.
    #[arg(long, value_name = "FILE")]
    pub events_file: Option<String>,
}

/// Settings that are paths.
#[rustfmt::skip]
const PATHS: [&str; 9] = [
    "events.file", "journal.folder", "signatures.folder", "metrics.web_config", "policy.assets", "policy.derogations", "policy.bans",
    "privacy.key_file", "privacy.audit_file",
];

/// Parses KEY=VALUE.
fn setting(text: &str) -> Result<(String, String), String> {
    key_and_value(text, "capture.workers=2")
}

impl ConfigurationArguments {
    /// The layers of the configuration, the environment of this process included.
    pub fn layers(&self) -> Layers {
        let source = match &self.config {
            Some(path) => Source::Path(path.clone()),
            None => Source::Default,
        };
        Layers::of_process(source, self.flags())
    }

    /// Loads the settings.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        Settings::load(&self.layers())
    }

    /// Loads the settings, and prints errors and warnings to the standard error, a line each.
    ///
    /// # Errors
    /// The number of errors.
    pub fn load_or_report(&self) -> Result<Loaded, Failure> {
        match self.load() {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    eprint(&format!("{warning}\n"));
                }
                Ok(loaded)
            }
            Err(errors) => {
                eprint(&format!("{errors}\n"));
                let what = format!("{} in the configuration", counted(errors.count() as u64, "error"));
                Err(Failure::new(Exit::Configuration, what, "mend what stands above; 'vigie check' checks everything"))
            }
        }
    }

    /// `--set` first, then the options for single settings.
    fn flags(&self) -> Vec<Flag> {
        let flag = |option: &str, key: &str, value| Flag { option: option.to_owned(), key: key.to_owned(), value };
        let mut flags = Vec::new();
        for (key, value) in &self.set {
            let is_path = PATHS.contains(&key.as_str());
            let value = if is_path { absolute_path(value) } else { value.clone() };
            flags.push(Flag::set(key, &value));
        }
        if !self.interface.is_empty() {
            let names = self.interface.iter().cloned().map(RawValue::Unquoted).collect();
            flags.push(flag("--interface", "capture.interfaces", RawValue::List(names)));
        }
        for (option, key, value) in [
            ("--workers", "capture.workers", self.workers.clone()),
            ("--metrics-listen", "metrics.listen", self.metrics_listen.clone()),
            ("--events-file", "events.file", self.events_file.as_deref().map(absolute_path)),
        ] {
            if let Some(value) = value {
                flags.push(flag(option, key, RawValue::Unquoted(value)));
            }
        }
        flags
    }
}

/// Makes a path of the command line absolute: it is relative to the working directory, a path in the file is not.
fn absolute_path(path: &str) -> String {
    match path {
        "" | "-" => path.to_owned(),
        path => std::path::absolute(path).map_or_else(|_| path.to_owned(), |full| full.to_string_lossy().into_owned()),
    }
}

/// The configuration file, or that there is none.
pub fn file_name(loaded: &Loaded) -> String {
    loaded.file.clone().unwrap_or_else(|| format!("no file ({FILE_DEFAULT} does not exist)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_flags_in_order() {
        let arguments = ConfigurationArguments {
            set: vec![setting("capture.workers = 2").unwrap(), setting("capture.bpf=tcp[13]=2").unwrap()],
            interface: vec!["eth0".to_owned(), "eth1".to_owned()],
            workers: Some("3".to_owned()),
            events_file: Some("eve.json".to_owned()),
            ..ConfigurationArguments::default()
        };
        let flags = arguments.flags();
        let keys: Vec<&str> = flags.iter().map(|flag| flag.key.as_str()).collect();
        assert_eq!(keys, ["capture.workers", "capture.bpf", "capture.interfaces", "capture.workers", "events.file"]);
        assert_eq!(flags[1].value, RawValue::Unquoted("tcp[13]=2".to_owned()));
        assert!(
            matches!(&flags[4].value, RawValue::Unquoted(path) if path.starts_with('/') && path.ends_with("/eve.json"))
        );
        assert!(setting("capture.workers").is_err());
        assert_eq!((absolute_path("-"), absolute_path("")), ("-".to_owned(), String::new()));
    }
}
