//! `vigie run`: the sensor as a daemon.

use clap::Args;

use super::bundle;
use super::configuration::ConfigurationArguments;
use super::exit::{Exit, Failure};
use super::read::capture_failure;
use super::terminal::eprint;
use super::words::counted;
use crate::run::{RunError, run as run_sensor};

/// `vigie run`.
#[derive(Args, Debug)]
#[command(
    long_about = "Captures on network interfaces and writes an event for each flow that matches a signature, until it \
                  is stopped.\n\nSIGHUP: reloads configuration and signatures, and reopens the events file. SIGTERM, \
                  SIGINT: writes the remaining events and ends.",
    after_help = "Examples:\n  vigie run --config /etc/vigie/vigie.toml\n  \
                  vigie run -i eth0 -i eth1 --events-file - --set privilege.landlock=off | jq .alert.signature"
)]
pub struct RunArguments {
    /// The configuration.
    #[command(flatten)]
    pub configuration: ConfigurationArguments,
}

/// Runs the command.
///
/// # Errors
/// The configuration is wrong, something that it needs is unavailable, or a thread of the sensor failed.
pub fn run(arguments: &RunArguments) -> Result<Exit, Failure> {
    let loaded = arguments.configuration.load_or_report()?;
    let load_signatures = |settings: &crate::settings::Settings| {
        let folders: Vec<_> = settings.signatures.folder.clone().into_iter().collect();
        bundle::load(&folders).map_err(|failure| match failure.mend.as_str() {
            "" => failure.what,
            mend => format!("{}; {mend}", failure.what),
        })
    };
    run_sensor(&arguments.configuration.layers(), loaded, &load_signatures).map_err(|error| failure(&error))?;
    Ok(Exit::Success)
}

fn failure(error: &RunError) -> Failure {
    if let RunError::Policy(errors) = error {
        eprint(&format!("{errors}\n"));
        let what = format!("{} in the policy", counted(errors.count() as u64, "error"));
        return Failure::new(Exit::Configuration, what, "correct them; 'vigie check' checks everything");
    }
    let exit = match error {
        RunError::Signatures(_) | RunError::Policy(_) => Exit::Configuration,
        RunError::Capture(error) => return capture_failure(error),
        RunError::Metrics(_) | RunError::Privilege(_) | RunError::Events { .. } => Exit::Unavailable,
        RunError::System { .. } | RunError::Failed(_) => Exit::Internal,
    };
    Failure::new(exit, error.to_string(), "")
}
