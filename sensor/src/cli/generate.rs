//! `vigie generate`: files made from the definitions of settings, metrics and commands, so that they cannot drift apart.

pub mod completions;
mod manual;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::Shell;

use super::exit::{Exit, Failure};
use super::terminal::print;
use crate::settings;
use crate::telemetry;

/// `vigie generate`.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub struct GenerateArguments {
    /// What to print.
    #[command(subcommand)]
    pub what: Generated,
}

/// What to generate.
#[derive(Debug, Subcommand)]
pub enum Generated {
    /// Print the default configuration file: every setting, documented, at its default.
    Config,
    /// Print the settings as a Markdown page.
    Reference,
    /// Print the metrics as a Markdown page: names, types, labels, meanings.
    Metrics,
    /// Print completions of commands and options for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page, or with --folder write the pages of all commands and vigie.toml(5).
    Man {
        /// Write a page for each command into this folder instead of printing the main page.
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

/// Runs the command.
///
/// # Errors
/// The text cannot be written.
pub fn run(arguments: &GenerateArguments) -> Result<Exit, Failure> {
    let text = match &arguments.what {
        Generated::Config => settings::default_file(),
        Generated::Reference => settings::reference(),
        Generated::Metrics => telemetry::documentation(),
        Generated::Completions { shell } => completions::script(*shell)
            .map_err(|error| Failure::write("the script", &error))?
            .ok_or_else(|| Failure::new(Exit::Usage, format!("there are no completions for {shell}"), ""))?,
        Generated::Man { folder: None } => manual::main_page(),
        Generated::Man { folder: Some(folder) } => {
            manual::write_all(folder).map_err(|error| Failure::write(&folder.display().to_string(), &error))?;
            return Ok(Exit::Success);
        }
    };
    print(&text)?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_knows_the_commands() {
        let page = manual::main_page();
        assert!(page.starts_with(".ie") && page.contains("vigie\\-check"), "{page}");
        let folder = tempfile::tempdir().unwrap();
        let arguments = GenerateArguments { what: Generated::Man { folder: Some(folder.path().to_path_buf()) } };
        assert_eq!(run(&arguments), Ok(Exit::Success));
        assert!(folder.path().join("vigie-check.1").exists() && folder.path().join("vigie.toml.5").exists());
    }
}
