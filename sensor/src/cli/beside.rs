//! Commands that are programs of their own, such as `vigie forward`: they lie beside `vigie`, or where programs are searched.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
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
    let beside = env::current_exe().ok().and_then(|vigie| vigie.parent().map(|folder| folder.join(program)));
    let path = beside.filter(|path| path.is_file()).unwrap_or_else(|| Path::new(program).to_owned());
    let error = Command::new(&path).args(&arguments.arguments).exec();
    let mend = match error.kind() {
        io::ErrorKind::NotFound => format!("install the package {program}"),
        _ => "check its permissions".to_owned(),
    };
    Err(Failure::new(Exit::Unavailable, format!("{program} cannot be started: {error}"), mend))
}
