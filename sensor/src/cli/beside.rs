//! Commands that are programs of their own, such as `vigie forward`: they lie beside `vigie`, or where programs are searched.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use super::exit::{Exit, Failure};

/// The arguments of another program.
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
pub struct ProgramArguments {
    /// Arguments of the program; --help lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    pub arguments: Vec<OsString>,
}

/// Becomes the program.
///
/// # Errors
/// It is not there, or cannot be started.
pub fn run(program: &str, arguments: &ProgramArguments) -> Result<Exit, Failure> {
    become_program(program, Command::new(path(program)).args(&arguments.arguments))
}

/// Becomes the program, with its command before the arguments.
///
/// # Errors
/// It is not there, or cannot be started.
pub fn run_with(program: &str, command: &str, arguments: &ProgramArguments) -> Result<Exit, Failure> {
    become_program(program, Command::new(path(program)).arg(command).args(&arguments.arguments))
}

fn become_program(program: &str, command: &mut Command) -> Result<Exit, Failure> {
    Err(failure(program, &command.exec()))
}

/// Where a program is: beside this one, or where programs are searched.
pub fn path(program: &str) -> PathBuf {
    let beside = env::current_exe().ok().and_then(|vigie| vigie.parent().map(|folder| folder.join(program)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| Path::new(program).to_owned())
}

/// That a program cannot be started.
pub fn failure(program: &str, error: &io::Error) -> Failure {
    let mend = match error.kind() {
        io::ErrorKind::NotFound => format!("install the package {program}"),
        _ => "check its permissions".to_owned(),
    };
    Failure::new(Exit::Unavailable, format!("{program} cannot be started: {error}"), mend)
}
