//! The options of the commands that judge: by which policy, and by the bans of which day.

use std::path::PathBuf;

use clap::Args;
use vigie_config::{Layers, Severity, Source};
use vigie_judgement::policy::Policy;
use vigie_signatures::Bundle;

use super::bans::day;
use super::exit::{Exit, Failure};
use super::reveal::wrong_configuration;
use super::terminal::eprint;
use crate::policy::{LoadedPolicy, load_settings};
use crate::privacy::Privacy;

/// By which policy a command judges.
#[derive(Args, Clone, Debug, Default)]
pub struct PolicyArguments {
    /// Judge by the bans, scopes, assets and derogations of this configuration file, instead of the built-in policy: every
    /// client counts as an official device, the French ban applies, and all of ByteDance's services are watched.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// Judge by the bans in force on this day, such as 2023-12-31, whatever the time of the traffic.
    #[arg(long, value_name = "DATE")]
    pub as_of: Option<String>,
}

impl PolicyArguments {
    /// Loads the policy, and prints its warnings to the standard error.
    ///
    /// # Errors
    /// The first thing that is wrong with the file; all others are printed.
    pub fn load(&self, bundle: &Bundle) -> Result<Policy, Failure> {
        let as_of = self.as_of.as_deref().map(|text| day(Some(text))).transpose()?;
        let Some(path) = &self.policy else { return Ok(Policy::builtin().as_of(as_of)) };
        match LoadedPolicy::from_file(path, bundle) {
            Ok(LoadedPolicy { policy, warnings }) => {
                warnings.iter().for_each(|warning| eprint(&format!("{warning}\n")));
                Ok(policy.as_of(as_of))
            }
            Err(errors) => {
                let mut errors = errors.0.into_iter().filter(|finding| finding.severity == Severity::Error);
                let first = errors.next().map_or_else(|| "the policy is refused".to_owned(), |first| first.to_string());
                errors.for_each(|error| eprint(&format!("{error}\n")));
                Err(Failure::new(Exit::Configuration, first, ""))
            }
        }
    }

    /// Whom the output names by this policy.
    ///
    /// # Errors
    /// The file is wrong, or the key of pseudonyms cannot be used.
    pub fn load_privacy(&self) -> Result<Privacy, Failure> {
        let Some(path) = &self.policy else { return Ok(Privacy::default()) };
        let layers = Layers { environment: Vec::new(), ..Layers::of_process(Source::Path(path.clone()), Vec::new()) };
        let privacy = load_settings(layers).and_then(|loaded| Privacy::of(&loaded));
        privacy.map_err(|errors| wrong_configuration(&errors))
    }

    /// How people call the policy.
    pub fn name(&self) -> String {
        self.policy.as_ref().map_or_else(|| "the built-in policy".to_owned(), |path| path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_and_a_wrong_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ministry.toml");
        std::fs::write(&path, "[[ban]]\nuse = \"au\"\n").unwrap();
        let bundle = Bundle::builtin();
        let arguments = PolicyArguments { policy: Some(path.clone()), as_of: Some("2026-11-27".to_owned()) };
        let policy = arguments.load(&bundle).unwrap();
        assert!(policy.summary().contains("ban: au"), "{}", policy.summary());
        assert_eq!(arguments.name(), path.display().to_string());
        std::fs::write(&path, "[[ban]]\nuse = \"nowhere\"\n").unwrap();
        let failure = arguments.load(&bundle).unwrap_err();
        assert_eq!(failure.exit, Exit::Configuration);
        assert!(failure.what.contains("ministry.toml:2") && failure.what.contains("nowhere"), "{failure}");
        let wrong_day = PolicyArguments { policy: None, as_of: Some("soon".to_owned()) };
        assert_eq!(wrong_day.load(&bundle).unwrap_err().exit, Exit::Usage);
        assert_eq!(PolicyArguments::default().name(), "the built-in policy");
    }
}
