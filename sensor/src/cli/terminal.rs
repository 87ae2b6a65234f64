//! What stands at the ends of the standard streams, and how text gets there.

use std::io::{self, IsTerminal, Write};

use console::Term;

use super::exit::Failure;
use super::summary::Look;

/// Columns of a summary that goes to no terminal, and the most that one on a terminal has.
const WIDTH_MAX: usize = 120;

/// What is known of the standard streams.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    /// The standard output is a terminal.
    pub stdout: bool,
    /// The standard error is a terminal.
    pub stderr: bool,
    colour: bool,
    width: usize,
}

impl Terminal {
    /// The terminal that the program has.
    pub fn detect() -> Self {
        let (stdout, stderr) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let size = if stdout { Term::stdout().size_checked() } else { Term::stderr().size_checked() };
        Self {
            stdout,
            stderr,
            colour: wants_colour(std::env::var_os("NO_COLOR").as_deref(), std::env::var_os("TERM").as_deref()),
            width: size.map_or(WIDTH_MAX, |(_, columns)| usize::from(columns).min(WIDTH_MAX)),
        }
    }

    /// How text for the standard output looks.
    pub const fn stdout_look(&self) -> Look {
        self.look(self.stdout)
    }

    /// How text for the standard error looks.
    pub const fn stderr_look(&self) -> Look {
        self.look(self.stderr)
    }

    const fn look(&self, is_terminal: bool) -> Look {
        Look { width: if is_terminal { self.width } else { WIDTH_MAX }, colour: is_terminal && self.colour }
    }
}

/// no-color.org: any value but the empty one means no. A dumb terminal shows the codes.
fn wants_colour(no_color: Option<&std::ffi::OsStr>, term: Option<&std::ffi::OsStr>) -> bool {
    no_color.is_none_or(|value| value.is_empty()) && term.is_none_or(|value| value != "dumb")
}

/// Prints to the standard output. A reader that has gone away is no failure.
///
/// # Errors
/// Anything else that keeps the text from being written.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    quiet_if_gone(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// Prints to the standard error; where that fails nothing can be said about it.
pub fn tell(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Writing to the standard output came to `result`; a reader that has gone away is no failure.
///
/// # Errors
/// Anything else.
pub fn quiet_if_gone(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::write("the standard output", &error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        assert!(wants_colour(None, None));
        assert!(wants_colour(Some("".as_ref()), Some("xterm".as_ref())));
        assert!(!wants_colour(Some("0".as_ref()), Some("xterm".as_ref())));
        assert!(!wants_colour(None, Some("dumb".as_ref())));
        let terminal = Terminal { stdout: true, stderr: false, colour: true, width: 80 };
        assert!(terminal.stdout_look().colour && !terminal.stderr_look().colour);
        assert_eq!((terminal.stdout_look().width, terminal.stderr_look().width), (80, 120));
    }

    #[test]
    fn a_reader_that_has_gone_away_is_no_failure() {
        assert_eq!(quiet_if_gone(Err(io::ErrorKind::BrokenPipe.into())), Ok(()));
        assert!(quiet_if_gone(Err(io::ErrorKind::StorageFull.into())).is_err());
    }
}
