//! The options that make a configuration, the same for every command that needs one.

use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, Failure};
use super::terminal::tell;
use super::words::counted;
use crate::config::{ConfigErrors, FILE_DEFAULT, Flag, Layers, Loaded, Settings, Source, Typed};

/// Which file, and what is set over it.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigurationArguments {
    /// Configuration file [default: /etc/vigie/vigie.toml, if it exists].
    #[arg(long, short, value_name = "FILE", env = "VIGIE_CONFIG")]
    pub config: Option<PathBuf>,

    /// Set a setting over file and environment, such as capture.workers=2; may be given several times. 'vigie generate
    /// config' prints all settings.
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,

    /// Listen on this interface; may be given several times. Stands for capture.interfaces.
    #[arg(long, short, value_name = "NAME")]
    pub interface: Vec<String>,

    /// Number of workers. Stands for capture.workers.
    #[arg(long, value_name = "N")]
    pub workers: Option<String>,

    /// Answer Prometheus here; empty: nowhere. Stands for metrics.listen.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<String>,

    /// Append events to this file; `-` is the standard output. Stands for events.file.
    #[arg(long, value_name = "FILE")]
    pub events_file: Option<String>,
}

/// A setting as it is typed.
fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, such as capture.workers=2")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

impl ConfigurationArguments {
    /// The layers that they make, with the environment of this process.
    pub fn layers(&self) -> Layers {
        let source = match &self.config {
            Some(path) => Source::Path(path.clone()),
            None => Source::Default,
        };
        Layers::of_process(source, self.flags())
    }

    /// The layers as settings.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        Settings::load(&self.layers())
    }

    /// The layers as settings. Errors and warnings are told on the standard error, a line each.
    ///
    /// # Errors
    /// How many errors there were, for the program to end with.
    pub fn load_telling(&self) -> Result<Loaded, Failure> {
        match self.load() {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    tell(&format!("{warning}\n"));
                }
                Ok(loaded)
            }
            Err(errors) => {
                tell(&format!("{errors}\n"));
                let what = format!("{} in the configuration", counted(errors.count() as u64, "error"));
                Err(Failure::new(Exit::Configuration, what, "mend them; 'vigie check' checks everything"))
            }
        }
    }

    /// `--set` first, then the shortcuts.
    fn flags(&self) -> Vec<Flag> {
        let flag = |option: &str, key: &str, value| Flag { option: option.to_owned(), key: key.to_owned(), value };
        let mut flags = Vec::new();
        for (key, value) in &self.set {
            let is_path = ["events.file", "signatures.folder", "metrics.web_config"].contains(&key.as_str());
            let value = if is_path { from_here(value) } else { value.clone() };
            flags.push(flag("--set", key, Typed::Word(value)));
        }
        if !self.interface.is_empty() {
            let names = self.interface.iter().cloned().map(Typed::Word).collect();
            flags.push(flag("--interface", "capture.interfaces", Typed::List(names)));
        }
        for (option, key, value) in [
            ("--workers", "capture.workers", self.workers.clone()),
            ("--metrics-listen", "metrics.listen", self.metrics_listen.clone()),
            ("--events-file", "events.file", self.events_file.as_deref().map(from_here)),
        ] {
            if let Some(value) = value {
                flags.push(flag(option, key, Typed::Word(value)));
            }
        }
        flags
    }
}

/// A path typed on the command line, from the root on: unlike a file's, it is meant from where the command runs.
fn from_here(path: &str) -> String {
    match path {
        "" | "-" => path.to_owned(),
        path => std::path::absolute(path).map_or_else(|_| path.to_owned(), |full| full.to_string_lossy().into_owned()),
    }
}

/// How a configuration is called: its file, or that there is none.
pub fn called(loaded: &Loaded) -> String {
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
        assert_eq!(flags[1].value, Typed::Word("tcp[13]=2".to_owned()));
        assert!(matches!(&flags[4].value, Typed::Word(path) if path.starts_with('/') && path.ends_with("/eve.json")));
        assert!(setting("capture.workers").is_err());
        assert_eq!((from_here("-"), from_here("")), ("-".to_owned(), String::new()));
    }
}
