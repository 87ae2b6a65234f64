//! Completions: the shell asks the program itself, so they know limits, settings and the interfaces of the machine.
//!
//! The script of a shell calls the program with a variable set, and with the words that are typed so far.

use std::ffi::{OsStr, OsString};
use std::io;

use clap::CommandFactory;
use clap_complete::env::{Bash, CompleteEnv, Elvish, EnvCompleter, Fish, Powershell, Zsh};
use clap_complete::{CompletionCandidate, Shell};
use vigie_capture::live::interfaces::list;

use crate::cli::arguments::Arguments;
use crate::settings::Settings;
use vigie_config::{Definition, Table};

/// Set by the shell's script. Not `VIGIE_…`: these are settings.
const VARIABLE: &str = "_VIGIE_COMPLETE";

/// The script for a shell; `None` for one that is not known.
pub(super) fn script(shell: Shell) -> io::Result<Option<String>> {
    let completer: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Elvish => &Elvish,
        Shell::Fish => &Fish,
        Shell::PowerShell => &Powershell,
        Shell::Zsh => &Zsh,
        _ => return Ok(None),
    };
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "vigie", "vigie", "vigie", &mut script)?;
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if shell == Shell::Zsh {
        // As a file that zsh loads at the first completion, it has to give that one too.
        script.push_str("\nif [ \"$funcstack[1]\" = _vigie ]; then\n    _clap_dynamic_completer_vigie \"$@\"\nfi\n");
    }
    Ok(Some(script))
}

/// Answers a shell's question, if the command line is one.
pub fn answer(line: &[OsString]) -> bool {
    CompleteEnv::with_factory(Arguments::command)
        .var(VARIABLE)
        .try_complete(line.iter().cloned(), None)
        .unwrap_or(false)
}

/// `NAME=` of every limit.
pub fn limits(typed: &OsStr) -> Vec<CompletionCandidate> {
    assignments(typed, |definition| (definition.section == "limits").then(|| definition.name.to_owned()))
}

/// `KEY=` of every setting.
pub fn settings(typed: &OsStr) -> Vec<CompletionCandidate> {
    assignments(typed, |definition| Some(definition.key.to_owned()))
}

fn assignments(typed: &OsStr, name: impl Fn(&Definition) -> Option<String>) -> Vec<CompletionCandidate> {
    let candidate = |definition: &Definition| {
        let word = format!("{}=", name(definition)?);
        let help = definition.documentation.split(['.', ';']).next().unwrap_or_default().to_owned();
        Some(CompletionCandidate::new(word).help(Some(help.into())))
    };
    begun(typed, Settings::definitions().iter().filter_map(candidate))
}

/// The interfaces of the machine.
pub fn interfaces(typed: &OsStr) -> Vec<CompletionCandidate> {
    begun(typed, list().into_iter().map(|interface| CompletionCandidate::new(interface.name)))
}

fn begun(typed: &OsStr, all: impl Iterator<Item = CompletionCandidate>) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    all.filter(|candidate| candidate.get_value().to_string_lossy().starts_with(&*typed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is offered for the last word of a line.
    fn offered(line: &str) -> Vec<String> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let last = words.len() - 1;
        let candidates = clap_complete::engine::complete(&mut Arguments::command(), words, last, None).unwrap();
        candidates.iter().map(|candidate| candidate.get_value().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn commands_options_limits_settings_and_interfaces_are_offered() {
        assert_eq!(offered("vigie chec"), ["check"]);
        assert!(offered("vigie read --fail").contains(&"--fail-on-alert".to_owned()));
        assert_eq!(offered("vigie read --limit flows_m"), ["flows_max="]);
        assert_eq!(offered("vigie run --set capture.work"), ["capture.workers="]);
        assert!(offered("vigie run --set ").contains(&"privilege.landlock=".to_owned()));
        for line in ["vigie run --interface l", "vigie check -i l", "vigie interfaces l"] {
            assert!(offered(line).contains(&"lo".to_owned()), "{line}");
        }
        assert_eq!(offered("vigie run --set no.such"), Vec::<String>::new());
    }

    #[test]
    fn every_shell_has_a_script() {
        for shell in <Shell as clap::ValueEnum>::value_variants() {
            let script = script(*shell).unwrap().unwrap();
            assert!(script.contains(VARIABLE) && script.contains("vigie"), "{shell}");
        }
        let zsh = script(Shell::Zsh).unwrap().unwrap();
        assert!(zsh.contains("function _clap_dynamic_completer_vigie()"), "{zsh}");
    }
}
