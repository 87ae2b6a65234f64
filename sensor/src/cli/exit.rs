//! How a command ends: the exit codes, and failures, which are one line that says what is wrong and what would mend it.

use std::fmt;
use std::io;

use clap::error::ErrorKind;

/// Exit codes. Those of failures are from `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// Found, with `--fail-on-alert` or `--fail-on-incident`.
    Found = 1,
    /// Wrong command line.
    Usage = 64,
    /// Input is damaged or of a wrong kind.
    BadData = 65,
    /// A file, an interface or an address cannot be used.
    Unavailable = 69,
    /// A defect of the program.
    Internal = 70,
    /// Wrong configuration or signatures.
    Configuration = 78,
    /// Interrupted (SIGINT), as a shell reports it.
    Interrupted = 130,
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// What is wrong.
    pub what: String,
    /// What would mend it; empty if nothing is known.
    pub mend: String,
}

impl Failure {
    /// A failure.
    pub fn new(exit: Exit, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { exit, what: what.into(), mend: mend.into() }
    }

    /// Events or text could not be written to `target`.
    pub fn write(target: &str, error: &io::Error) -> Self {
        Self::new(Exit::Unavailable, format!("cannot write to {target}: {error}"), "check free space and permissions")
    }
}

impl Failure {
    /// Wrong usage of `command`, such as `vigie read`: clap's message without its decoration. The mend is clap's tip, the
    /// usage, or the way to the help.
    pub fn usage(error: &clap::Error, command: &str) -> Self {
        let text = error.to_string();
        let mut paragraphs = text.split("\n\n");
        let first = paragraphs.next().unwrap_or_default().trim_start_matches("error: ");
        let tips: Vec<&str> =
            text.lines().filter_map(|line| line.trim_start().strip_prefix("tip: ")).map(str::trim).collect();
        let usage = paragraphs.find_map(|paragraph| paragraph.strip_prefix("Usage: "));
        let is_wrong_word = error.kind() == ErrorKind::InvalidSubcommand;
        let mend = match (tips.first(), usage.filter(|_| !is_wrong_word)) {
            (Some(tip), _) => format!("{tip} ('{command} --help' lists all)"),
            (None, None) if is_wrong_word => format!("'{command} --help' lists the commands"),
            (None, Some(usage)) => format!("usage: {}", one_line(usage)),
            (None, None) => format!("try '{command} --help'"),
        };
        Self::new(Exit::Usage, one_line(first), mend)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = one_line(&self.what);
        match self.mend.as_str() {
            "" => write!(formatter, "vigie: {what}"),
            mend => write!(formatter, "vigie: {what}; {}", one_line(mend)),
        }
    }
}

/// Makes white space single spaces, and escapes other control characters, which a terminal might obey.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        for character in word.chars() {
            match character.is_control() {
                true => line.extend(character.escape_default()),
                false => line.push(character),
            }
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::Arguments;
    use clap::Parser;

    fn usage(line: &str) -> String {
        let error = Arguments::try_parse_from(line.split(' ')).unwrap_err();
        let failure = Failure::usage(&error, "vigie read");
        assert_eq!(failure.exit, Exit::Usage);
        failure.to_string()
    }

    #[test]
    fn wrong_usage_is_one_line() {
        assert_eq!(
            usage("vigie read"),
            "vigie: the following required arguments were not provided: <FILE>...; usage: vigie read <FILE>..."
        );
        assert_eq!(
            usage("vigie read a --progress sometimes"),
            "vigie: invalid value 'sometimes' for '--progress <WHEN>' [possible values: auto, always, never]; \
             try 'vigie read --help'"
        );
        assert_eq!(
            usage("vigie read a --jsn"),
            "vigie: unexpected argument '--jsn' found; a similar argument exists: '--json' ('vigie read --help' lists all)"
        );
        assert_eq!(
            usage("vigie read a --workers x"),
            "vigie: invalid value 'x' for '--workers <N>': write a number from 1 to 1024; try 'vigie read --help'"
        );
        assert_eq!(
            usage("vigie synth --flows 0"),
            "vigie: invalid value '0' for '--flows <N>': write a number from 1 to 10000000; try 'vigie read --help'"
        );
        assert!(usage("vigie read a --sensor-name=").contains("write a name of 1 to 255 characters"));
        // A number that begins with a minus is a wrong number and no option.
        assert_eq!(
            usage("vigie read a --workers -1"),
            "vigie: invalid value '-1' for '--workers <N>': write a number from 1 to 1024; try 'vigie read --help'"
        );
        assert_eq!(
            usage("vigie signatures frobnicate"),
            "vigie: unrecognized subcommand 'frobnicate'; 'vigie read --help' lists the commands"
        );
        assert!(usage("vigie read a\u{1b}[2J --workers 0").starts_with("vigie: invalid value '0' for '--workers <N>'"));
        assert!(!usage("vigie read a --\u{1b}[2J").contains('\u{1b}'));
    }

    #[test]
    fn a_failure_is_what_and_mend() {
        let failure = Failure::new(Exit::BadData, "x.pcap:\nnot a\tcapture", "");
        assert_eq!(failure.to_string(), "vigie: x.pcap: not a capture");
        let failure = Failure::write("out.json", &io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(failure.exit as u8, 69);
        assert!(failure.to_string().ends_with("; check free space and permissions"));
    }
}
