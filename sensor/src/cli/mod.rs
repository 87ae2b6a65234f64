//! The command line: arguments in, text and an exit code out. [`arguments`] defines what can be typed; each command has a
//! module of its own. The modules [`read`](crate::read) and [`run`](crate::run) of the crate do the work on packets.

pub mod arguments;
pub mod bans;
pub mod beside;
pub mod bundle;
pub mod check;
pub mod configuration;
pub mod demo;
pub mod derogation;
pub mod exit;
pub mod explain;
pub mod generate;
pub mod incident;
pub mod interfaces;
pub mod interrupt;
pub mod journal;
pub mod judge;
pub mod policy;
pub mod privacy;
pub mod progress;
pub mod read;
pub mod reveal;
pub mod run;
pub mod signatures;
pub mod summary;
pub mod synth;
pub mod table;
pub mod terminal;
pub mod words;
pub mod xdp;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use arguments::{Arguments, Command};
use exit::{Exit, Failure};
use terminal::{Terminal, eprint, print};

/// Runs a command line, whose first word is the name of the program, and returns the exit code. A failure is one line on
/// the standard error.
pub fn run(line: impl IntoIterator<Item = OsString>) -> Exit {
    let line: Vec<OsString> = line.into_iter().collect();
    if generate::completions::answer(&line) {
        return Exit::Success;
    }
    let result = match Arguments::try_parse_from(&line) {
        Ok(arguments) => dispatch(&arguments.command),
        Err(error) => no_command(&error, &line),
    };
    result.unwrap_or_else(|failure| {
        eprint(&format!("{failure}\n"));
        failure.exit
    })
}

fn dispatch(command: &Command) -> Result<Exit, Failure> {
    let terminal = Terminal::detect();
    match command {
        Command::Read(arguments) => read::run(arguments, terminal),
        Command::Judge(arguments) => judge::run(arguments, terminal),
        Command::Run(arguments) => run::run(arguments),
        Command::Forward(arguments) => beside::run("vigie-forward", arguments),
        Command::Console(arguments) => beside::run("vigie-console", arguments),
        Command::Top(arguments) => beside::run("vigie-top", arguments),
        Command::Report(arguments) => beside::run_with("vigie-console", "report", arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Explain(arguments) => explain::run(arguments, terminal),
        Command::Signatures(arguments) => signatures::run(arguments, terminal),
        Command::Bans(arguments) => bans::run(arguments, terminal),
        Command::Derogation(arguments) => derogation::run(arguments, terminal),
        Command::Incident(arguments) => incident::run(arguments),
        Command::Journal(arguments) => journal::run(arguments),
        Command::Reveal(arguments) => reveal::run(arguments),
        Command::Privacy(arguments) => privacy::run(arguments),
        Command::Interfaces(arguments) => interfaces::run(arguments, terminal),
        Command::Xdp(arguments) => xdp::run(arguments),
        Command::Synth(arguments) => synth::run(arguments, terminal),
        Command::Check(arguments) => check::run(arguments),
        Command::Generate(arguments) => generate::run(arguments),
    }
}

/// Help and version on request go to the standard output. Wrong usage is a failure, a missing command too.
fn no_command(error: &clap::Error, line: &[OsString]) -> Result<Exit, Failure> {
    let terminal = Terminal::detect();
    let render = |coloured: bool| match coloured {
        true => error.render().ansi().to_string(),
        false => error.render().to_string(),
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print(&render(terminal.stdout_style().colour))?;
            Ok(Exit::Success)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprint(&render(terminal.stderr_style().colour));
            Ok(Exit::Usage)
        }
        _ => Err(Failure::usage(error, &command_of(line))),
    }
}

/// The command that a line names, such as `vigie signatures list`.
fn command_of(line: &[OsString]) -> String {
    let (mut command, mut words) = (&Arguments::command(), vec!["vigie"]);
    for word in line.iter().skip(1).filter_map(|word| word.to_str()) {
        let Some(found) = command.find_subcommand(word) else { break };
        command = found;
        words.push(word);
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(line: &str) -> u8 {
        run(line.split(' ').map(OsString::from)) as u8
    }

    #[test]
    fn wrong_usage_names_the_command() {
        for (line, expected) in [
            ("vigie", "vigie"),
            ("vigie read --no-such", "vigie read"),
            ("vigie signatures list --no-such", "vigie signatures list"),
            ("vigie frobnicate read", "vigie"),
        ] {
            let line: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(command_of(&line), expected);
        }
    }

    #[test]
    fn commands_end_with_their_exit_codes() {
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

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let arguments = beside::ProgramArguments { arguments: vec!["--check".into()] };
        let failure = beside::run("vigie-no-such-program", &arguments).unwrap_err();
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(failure.to_string().ends_with("install the package vigie-no-such-program"), "{failure}");
    }
}
