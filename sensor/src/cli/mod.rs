//! The command line: what was typed, what is printed, and how the program ends. What a command does with packets is
//! [`read`](crate::read)'s and [`run`](crate::run)'s.

pub mod arguments;
pub mod bundle;
pub mod check;
pub mod configuration;
pub mod exit;
pub mod explain;
pub mod findings;
pub mod generate;
pub mod interfaces;
pub mod progress;
pub mod read;
pub mod run;
pub mod signatures;
pub mod summary;
pub mod synth;
pub mod terminal;
pub mod words;

use std::ffi::OsString;

use clap::Parser;
use clap::error::ErrorKind;

use arguments::{Arguments, Command};
use exit::{Exit, Failure};
use terminal::{Terminal, print, tell};

/// Carries out a command line, its first word being the program's name, and tells how to end. Failures are told in one
/// line on the standard error.
pub fn run(line: impl IntoIterator<Item = OsString>) -> Exit {
    let result = match Arguments::try_parse_from(line) {
        Ok(arguments) => dispatch(&arguments.command),
        Err(error) => not_a_command(&error),
    };
    result.unwrap_or_else(|failure| {
        tell(&format!("{failure}\n"));
        failure.exit
    })
}

fn dispatch(command: &Command) -> Result<Exit, Failure> {
    let terminal = Terminal::detect();
    match command {
        Command::Read(arguments) => read::run(arguments, terminal),
        Command::Run(arguments) => run::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Signatures(arguments) => signatures::run(arguments, terminal),
        Command::Interfaces(arguments) => interfaces::run(arguments, terminal),
        Command::Synth(arguments) => synth::run(arguments, terminal),
        Command::Check(arguments) => check::run(arguments),
        Command::Generate(arguments) => generate::run(arguments),
    }
}

/// Help and version that were asked for are printed; help that was not, and wrong usage, are failures.
fn not_a_command(error: &clap::Error) -> Result<Exit, Failure> {
    let terminal = Terminal::detect();
    let rendered = |coloured: bool| match coloured {
        true => error.render().ansi().to_string(),
        false => error.render().to_string(),
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print(&rendered(terminal.stdout_look().colour))?;
            Ok(Exit::Success)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            tell(&rendered(terminal.stderr_look().colour));
            Ok(Exit::Usage)
        }
        _ => Err(Failure::from(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(line: &str) -> u8 {
        run(line.split(' ').map(OsString::from)) as u8
    }

    #[test]
    fn exit_codes_tell_what_happened() {
        let folder = tempfile::tempdir().unwrap();
        let bad = folder.path().join("bad.pcap");
        std::fs::write(&bad, "this is not a capture, not at all").unwrap();
        let bad = bad.display();
        assert_eq!(exit("vigie --version"), 0);
        assert_eq!(exit("vigie read --help"), 0);
        assert_eq!(exit("vigie"), 64);
        assert_eq!(exit("vigie signatures"), 64);
        assert_eq!(exit("vigie read"), 64);
        assert_eq!(exit(&format!("vigie read --quiet {bad}")), 65);
        assert_eq!(exit(&format!("vigie read --quiet {bad}.not-there")), 69);
        assert_eq!(exit("vigie read --signatures /no/such/folder x"), 78);
        assert_eq!(exit("vigie explain --json www.tiktok.com"), 0);
        assert_eq!(exit("vigie interfaces --json"), 0);
    }
}
