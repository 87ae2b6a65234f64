//! `vigie check`: whether a configuration can run on this machine, and what would run. Every error and warning is a
//! line. A check changes nothing.

mod accounts;
mod capture;
mod policy;
mod requirements;
mod plan;
mod privileges;

use clap::Args;
use serde_json::{Value, json};

use super::configuration::{ConfigurationArguments, file_name};
use super::exit::{Exit, Failure};
use super::terminal::print;
use super::words::counted;
use crate::settings::{Loaded, Settings};
use requirements::Requirement;
use vigie_config::{Definition, Finding, Severity, Table};

/// `vigie check`.
#[derive(Args, Debug)]
#[command(
    long_about = "Check the configuration and what it needs: signatures, policy, interfaces, file descriptors, events folder, \
                  user, metrics address, and the kernel's confinement (Landlock, seccomp). Prints every error and \
                  warning, one per line, and what would run.",
    after_help = "Examples:\n  vigie check\n  vigie check --config new.toml && cp new.toml /etc/vigie/vigie.toml\n  \
                  vigie check --interface eth1 --set capture.workers=2\n\n\
                  Exit codes: 0 it can run; 69 something that it needs is unavailable; 78 wrong configuration or \
                  signatures."
)]
pub struct CheckArguments {
    /// The configuration.
    #[command(flatten)]
    pub configuration: ConfigurationArguments,

    /// Print one JSON object instead of lines.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// The standard output cannot be written to.
pub fn run(arguments: &CheckArguments) -> Result<Exit, Failure> {
    let (exit, text) = match arguments.configuration.load() {
        Ok(loaded) => {
            let requirements = requirements::all(&loaded);
            let may_capture = privileges::may_capture();
            let exit = requirements.iter().fold(Exit::Success, |exit, requirement| worse(exit, requirement.exit()));
            match arguments.json {
                true => (exit, as_json(exit, &loaded.warnings, &requirements, Some(&loaded), may_capture)),
                false => (exit, as_lines(exit, &loaded, &requirements, may_capture)),
            }
        }
        Err(errors) => {
            let exit = Exit::Configuration;
            match arguments.json {
                true => (exit, as_json(exit, &errors.0, &[], None, privileges::may_capture())),
                false => {
                    let warnings = errors.0.len() - errors.count();
                    (exit, format!("{errors}\n{}\n", verdict(errors.count(), warnings, true)))
                }
            }
        }
    };
    print(&text)?;
    Ok(exit)
}

/// The exit code to end with: a wrong configuration comes before something unavailable.
fn worse(one: Exit, other: Exit) -> Exit {
    if other as u8 > one as u8 { other } else { one }
}

fn as_lines(exit: Exit, loaded: &Loaded, requirements: &[Requirement], may_capture: bool) -> String {
    let mut text = String::new();
    for warning in &loaded.warnings {
        text.push_str(&format!("{warning}\n"));
    }
    text.push_str(&format!("configuration: {}\n", file_name(loaded)));
    for requirement in requirements {
        text.push_str(&format!("{requirement}\n"));
    }
    let errors = requirements.iter().filter(|requirement| requirement.exit() != Exit::Success).count();
    let warnings = loaded.warnings.len() + requirements.iter().filter(|requirement| requirement.is_warning()).count();
    if exit == Exit::Success {
        text.push_str(&plan::lines(&loaded.settings));
    }
    text.push_str(&format!("{}\n", verdict(errors, warnings, may_capture)));
    text
}

/// A check needs no privileges, so that anybody can make one; to run does.
fn verdict(errors: usize, warnings: usize, may_capture: bool) -> String {
    let word = match (errors, may_capture) {
        (0, true) => "can run",
        (0, false) => "can run as the service or as root, but not as this user",
        _ => "cannot run",
    };
    let (errors, warnings) = (errors as u64, warnings as u64);
    format!("{word}; {}, {}", counted(errors, "error"), counted(warnings, "warning"))
}

fn as_json(
    exit: Exit,
    findings: &[Finding],
    requirements: &[Requirement],
    loaded: Option<&Loaded>,
    may_capture: bool,
) -> String {
    let findings: Vec<Value> = findings.iter().map(finding_json).collect();
    let requirements: Vec<Value> = requirements.iter().map(Requirement::json).collect();
    let mut object = json!({
        "can_run": exit == Exit::Success,
        "can_run_as_this_user": exit == Exit::Success && may_capture,
        "exit": exit as u8,
        "file": loaded.and_then(|loaded| loaded.file.clone()),
        "configuration": findings,
        "needs": requirements,
    });
    if let (Some(loaded), Some(fields)) = (loaded, object.as_object_mut()) {
        fields.insert("memory".to_owned(), plan::memory_json(&loaded.settings));
        fields.insert("settings".to_owned(), settings_json(&loaded.settings, loaded));
    }
    format!("{object}\n")
}

fn finding_json(finding: &Finding) -> Value {
    json!({
        "severity": match finding.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "origin": finding.origin.to_string(),
        "key": finding.key,
        "value": finding.value,
        "message": finding.what,
        "mend": finding.mend,
    })
}

/// Every setting with its value as in the file, and its origin.
fn settings_json(settings: &Settings, loaded: &Loaded) -> Value {
    let of = |definition: &Definition| {
        let origin = loaded.origins.get(definition.key);
        let origin = origin.map_or_else(|| "default".to_owned(), ToString::to_string);
        let value = settings.to_toml(definition);
        (definition.key.to_owned(), json!({ "value": value, "origin": origin }))
    };
    Value::Object(Settings::definitions().iter().map(of).collect())
}
