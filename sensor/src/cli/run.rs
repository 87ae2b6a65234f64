//! `vigie run`: the sensor as a daemon.

use clap::Args;

use super::bundle;
use super::configuration::ConfigurationArguments;
use super::exit::{Exit, Failure};
use super::read::capture_failure;
use super::terminal::eprint;
use super::words::counted;
use crate::run::{RunError, run as run_sensor};
use vigie_capture::CaptureError;

/// Where filter expressions are described.
pub(super) const FILTER_MEND: &str = "see 'man pcap-filter'";

/// A filter expression of the configuration that libpcap refuses.
pub(super) fn wrong_filter(origin: &str, expression: &str, reason: &str) -> String {
    format!("{origin}: capture.bpf = {expression:?}: {reason}")
}

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
    let filter_origin = loaded.origins.get("capture.bpf").map(ToString::to_string).unwrap_or_default();
    run_sensor(&arguments.configuration.layers(), loaded, &load_signatures)
        .map_err(|error| failure(&error, &filter_origin))?;
    Ok(Exit::Success)
}

fn failure(error: &RunError, filter_origin: &str) -> Failure {
    if let RunError::Policy(errors) = error {
        eprint(&format!("{errors}\n"));
        let what = format!("{} in the policy", counted(errors.count() as u64, "error"));
        return Failure::new(Exit::Configuration, what, "mend what stands above; 'vigie check' checks everything");
    }
    let exit = match error {
        RunError::Signatures(_) | RunError::Policy(_) => Exit::Configuration,
        RunError::Capture(CaptureError::Filter { expression, reason, .. }) => {
            return Failure::new(Exit::Configuration, wrong_filter(filter_origin, expression, reason), FILTER_MEND);
        }
        RunError::Capture(error) => return capture_failure(error),
        RunError::Metrics(_) | RunError::Privilege(_) | RunError::Events { .. } => Exit::Unavailable,
        RunError::System { .. } | RunError::Failed(_) => Exit::Internal,
    };
    Failure::new(exit, error.to_string(), "")
}
