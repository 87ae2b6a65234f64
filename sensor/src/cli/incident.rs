//! `vigie incident close`: what an incident turned out to be. It goes into the audit, and `vigie signatures list
//! --by-disposition` shows which rules gave false ones.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use vigie_judgement::is_incident_id;

use super::exit::{Exit, Failure};
use super::reveal::{audited, load, some_text};
use super::terminal::print;
use crate::audit::{AuditEvent, this_user};

/// `vigie incident`.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub struct IncidentArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: IncidentCommand,
}

/// What can be done with incidents.
#[derive(Debug, Subcommand)]
pub enum IncidentCommand {
    /// Record what an incident turned out to be: a line of the audit. The sensor goes on as before.
    #[command(
        after_help = "Example:\n  vigie incident close k7q2m-4x9d0-6 --as false --note 'a lab device, not in the list'\n\n\
                      Exit codes: 0 recorded; 64 wrong usage; 69 the audit line cannot be written; 78 wrong configuration."
    )]
    Close {
        /// Id of the incident, as events have it.
        #[arg(value_name = "ID")]
        id: String,
        /// What it was.
        #[arg(long = "as", value_name = "WORD")]
        disposition: Disposition,
        /// Why.
        #[arg(long, value_name = "TEXT", value_parser = some_text)]
        note: String,
        /// Configuration file [default: /etc/vigie/vigie.toml, if it exists].
        #[arg(long, short, value_name = "FILE", env = "VIGIE_CONFIG")]
        config: Option<PathBuf>,
    },
}

/// What an incident turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Disposition {
    /// The device did what the incident says.
    Confirmed,
    /// It did not: a rule or a verdict was wrong.
    False,
    /// It did, and was allowed to.
    Excused,
}

impl Disposition {
    /// The word in the audit.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::False => "false",
            Self::Excused => "excused",
        }
    }
}

/// Runs the command.
///
/// # Errors
/// The id is none, the configuration is wrong, or the audit line cannot be written.
pub fn run(arguments: &IncidentArguments) -> Result<Exit, Failure> {
    let IncidentCommand::Close { id, disposition, note, config } = &arguments.command;
    if !is_incident_id(id) {
        let what = format!("{} is no id of an incident", super::words::printable(id));
        return Err(Failure::new(Exit::Usage, what, "copy it from an event; its last letter finds a wrong one"));
    }
    let loaded = load(config.as_deref())?;
    let by = this_user();
    audited(&loaded, &AuditEvent::Disposition { incident: id, disposition: disposition.as_str(), note, by: &by })?;
    print(&format!("{id}: {}\n", disposition.as_str()))?;
    Ok(Exit::Success)
}
