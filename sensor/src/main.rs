//! The `vigie` command: parses, runs, and ends with the right code.
//!
//! SIGPIPE stays ignored, as the standard library leaves it: a reader that goes away is an error of the write, which
//! ends the program quietly but in order, with what else it writes complete.

use std::panic;
use std::process::ExitCode;

use vigie::cli;
use vigie::cli::exit::{Exit, Failure};
use vigie::cli::terminal::eprint;

fn main() -> ExitCode {
    panic::set_hook(Box::new(|defect| {
        let failure = Failure::new(Exit::Internal, format!("internal error: {defect}"), "please report it");
        eprint(&format!("{failure}\n"));
    }));
    let exit = panic::catch_unwind(|| cli::run(std::env::args_os())).unwrap_or(Exit::Internal);
    ExitCode::from(exit as u8)
}
