//! The standard streams: whether they are terminals, and printing to them.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};

use console::{Term, measure_text_width};

use super::exit::Failure;

/// Columns of text that goes to no terminal, and the most that text on a terminal has.
pub const WIDTH_MAX: usize = 120;

/// The standard streams.
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
    /// The standard streams of this process.
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

    /// Text for the standard output: if that is a terminal, long lines are broken between words.
    pub fn fitted(&self, text: String) -> String {
        if self.stdout { wrap(&text, self.width) } else { text }
    }

    /// The style of text on the standard output.
    pub const fn stdout_style(&self) -> Style {
        self.style(self.stdout)
    }

    /// The style of text on the standard error.
    pub const fn stderr_style(&self) -> Style {
        self.style(self.stderr)
    }

    const fn style(&self, is_terminal: bool) -> Style {
        Style { width: if is_terminal { self.width } else { WIDTH_MAX }, colour: is_terminal && self.colour }
    }
}

/// By no-color.org any value but the empty one means no. A dumb terminal shows the escape sequences as text.
fn wants_colour(no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    no_color.is_none_or(|value| value.is_empty()) && term.is_none_or(|value| value != "dumb")
}

/// How wide text may be, and whether it has colours.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Columns of the terminal.
    pub width: usize,
    /// Colours are wanted.
    pub colour: bool,
}

/// The text with long lines broken between words. Lines that go on are indented by two more.
pub fn wrap(text: &str, width: usize) -> String {
    let mut wrapped = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let indent = line.chars().take_while(|character| *character == ' ').count();
        let mut column = 0;
        for word in line.split_inclusive(' ') {
            let wide = measure_text_width(word.trim_end());
            if column > indent + 2 && column + wide > width {
                wrapped.truncate(wrapped.trim_end_matches(' ').len());
                wrapped.push('\n');
                wrapped.push_str(&" ".repeat(indent + 2));
                column = indent + 2;
            }
            wrapped.push_str(word);
            column += measure_text_width(word.trim_end_matches('\n'));
        }
    }
    wrapped
}

/// The code of bold text, for [`Style::paint`].
pub const BOLD: &str = "1";

impl Style {
    /// The text between the escape sequences (ECMA-48 SGR) that colour it, or as it is where no colours are wanted.
    pub fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Prints to the standard output. A reader that closed its end of the pipe is no failure.
///
/// # Errors
/// Anything else that keeps the text from being written.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    ignore_broken_pipe(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// Prints to the standard error. A failure there cannot be reported anywhere.
pub fn eprint(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// The result of writing to the standard output, where a reader that closed its end of the pipe is no failure.
///
/// # Errors
/// Anything else.
pub fn ignore_broken_pipe(result: io::Result<()>) -> Result<(), Failure> {
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
        assert!(terminal.stdout_style().colour && !terminal.stderr_style().colour);
        assert_eq!((terminal.stdout_style().width, terminal.stderr_style().width), (80, 120));
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        let text = "one two three\n  four five six\n\nsupercalifragilistic word\n";
        let expected = "one two\n  three\n  four five\n    six\n\nsupercalifragilistic\n  word\n";
        assert_eq!(wrap(text, 11), expected);
        assert_eq!(wrap(text, 80), text);
        assert_eq!(wrap("", 80), "");
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        assert_eq!(ignore_broken_pipe(Err(io::ErrorKind::BrokenPipe.into())), Ok(()));
        assert!(ignore_broken_pipe(Err(io::ErrorKind::StorageFull.into())).is_err());
    }
}
