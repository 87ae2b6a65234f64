//! The program `vigie-top`.

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use vigie_top::program::{Arguments, run};

/// From `sysexits.h`.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let is_asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _ = error.print();
            return ExitCode::from(if is_asked { 0 } else { EXIT_USAGE });
        }
    };
    ExitCode::from(run(&arguments))
}
