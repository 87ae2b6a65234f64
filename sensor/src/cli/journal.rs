//! `vigie journal`: whether the journal is what was sealed, and a copy of a span of time for somebody who asks.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, UtcOffset};
use vigie_journal::{Damage, Verified, VerifyError};

use super::exit::{Exit, Failure};
use super::reveal::load;
use super::terminal::print;
use super::words::counted;

/// `vigie journal`.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub struct JournalArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: JournalCommand,
}

/// What can be done with the journal.
#[derive(Debug, Subcommand)]
pub enum JournalCommand {
    /// Compare the journal with its seals, and name the first segment that was altered, cut or removed.
    ///
    /// The seals in the journal's folder show accidental damage. Who may write there can make them anew: only seals that
    /// somebody else holds, such as the receivers of the events, show that (--against).
    #[command(
        after_help = "Examples:\n  vigie journal verify\n  vigie journal verify /media/evidence/journal --against seals-of-the-soc.jsonl\n\n\
                      Exit codes: 0 all is as it was sealed; 64 wrong usage; 65 the journal is not what was sealed; \
                      69 it cannot be read; 78 wrong configuration."
    )]
    Verify {
        /// Folder of the journal [default: journal.folder of the configuration].
        #[arg(value_name = "FOLDER")]
        folder: Option<PathBuf>,
        /// Seals that somebody else holds: lines of seals.jsonl, alone or in the events of a receiver.
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
        /// Configuration file [default: /etc/vigie/vigie.toml, if it exists].
        #[arg(long, short, value_name = "FILE", env = "VIGIE_CONFIG")]
        config: Option<PathBuf>,
    },
    /// Copy the events of a span of time to the standard output, one per line. Times are UTC where they name no offset.
    #[command(after_help = "Examples:\n  vigie journal export --from 2026-11-27 --to 2026-11-28 > day.jsonl\n  \
                      vigie journal export --from 2026-11-27T08:00+01:00 | jq .alert.signature\n\n\
                      Exit codes: 0 copied; 64 wrong usage; 65 a segment is damaged; 69 the journal cannot be read; \
                      78 wrong configuration.")]
    Export {
        /// Folder of the journal [default: journal.folder of the configuration].
        #[arg(value_name = "FOLDER")]
        folder: Option<PathBuf>,
        /// Events from this time on, such as 2026-11-27 or 2026-11-27T08:00.
        #[arg(long, value_name = "TIME", value_parser = event_time)]
        from: Option<String>,
        /// Events before this time.
        #[arg(long, value_name = "TIME", value_parser = event_time)]
        to: Option<String>,
        /// Configuration file [default: /etc/vigie/vigie.toml, if it exists].
        #[arg(long, short, value_name = "FILE", env = "VIGIE_CONFIG")]
        config: Option<PathBuf>,
    },
}

/// Runs the command.
///
/// # Errors
/// The journal is damaged or cannot be read, or the configuration is wrong.
pub fn run(arguments: &JournalArguments) -> Result<Exit, Failure> {
    match &arguments.command {
        JournalCommand::Verify { folder, against, config } => {
            let folder = folder_of(folder.as_deref(), config.as_deref())?;
            verify(&folder, against.as_deref())
        }
        JournalCommand::Export { folder, from, to, config } => {
            if let (Some(from), Some(to)) = (from, to)
                && from >= to
            {
                let what = format!("--from {from} is not before --to {to}");
                return Err(Failure::new(Exit::Usage, what, "give the earlier time to --from"));
            }
            let folder = folder_of(folder.as_deref(), config.as_deref())?;
            export(&folder, from.as_deref(), to.as_deref())
        }
    }
}

fn folder_of(given: Option<&Path>, config: Option<&Path>) -> Result<PathBuf, Failure> {
    let folder = match given {
        Some(folder) => folder.to_owned(),
        None => load(config)?.settings.journal.folder.ok_or_else(|| {
            let what = "there is no journal: journal.folder is empty in the configuration";
            Failure::new(Exit::Configuration, what, "set it, name the folder, or give --config FILE")
        })?,
    };
    if folder.is_dir() {
        return Ok(folder);
    }
    let what = format!("{}: it is no folder, or cannot be read", folder.display());
    Err(Failure::new(Exit::Unavailable, what, "name the folder of a journal; do it as root or the user of the sensor"))
}

fn verify(folder: &Path, against: Option<&Path>) -> Result<Exit, Failure> {
    let verified = vigie_journal::verify(folder, against).map_err(|error| not_verified(&error))?;
    print(&told(&verified, against))?;
    Ok(Exit::Success)
}

fn not_verified(error: &VerifyError) -> Failure {
    match error {
        VerifyError::Io { .. } => {
            Failure::new(Exit::Unavailable, error.to_string(), "do it as root or the user of the sensor")
        }
        VerifyError::NoSeals(_) => Failure::new(Exit::BadData, error.to_string(), ""),
        VerifyError::Damaged(Damage { .. }) => {
            let mend = "keep a copy of the folder; a receiver of the events may hold what is missing";
            Failure::new(Exit::BadData, format!("the journal is not what was sealed: {error}"), mend)
        }
    }
}

/// What was verified, for people.
fn told(verified: &Verified, against: Option<&Path>) -> String {
    let mut lines = Vec::new();
    if verified.segments == 0 {
        lines.push("no segment is sealed yet".to_owned());
    } else {
        lines.push(format!(
            "{}, {}, are as they were sealed: {} to {}",
            counted(verified.segments, "segment"),
            counted(verified.lines, "line"),
            verified.first,
            verified.last
        ));
    }
    if verified.changed > 0 {
        lines.push(format!("retention changed or removed {}", counted(verified.changed, "segment")));
    }
    if verified.unsealed_lines > 0 {
        lines.push(format!("{} of the live segment: no seal yet", counted(verified.unsealed_lines, "line")));
    }
    lines.push(match against {
        Some(path) => format!("{} of {} are in the chain", counted(verified.seals_held, "seal"), path.display()),
        None => "a change by somebody who made the seals anew is found with seals held elsewhere only: --against FILE"
            .to_owned(),
    });
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn export(folder: &Path, from: Option<&str>, to: Option<&str>) -> Result<Exit, Failure> {
    let mut out = Output { stdout: io::stdout().lock(), error: None };
    let copied = vigie_journal::export(folder, from, to, &mut io::BufWriter::new(&mut out));
    if let Some(error) = out.error {
        // Who reads has seen enough.
        return match error.kind() {
            io::ErrorKind::BrokenPipe => Ok(Exit::Success),
            _ => Err(Failure::write("the standard output", &error)),
        };
    }
    match copied {
        Ok(_) => Ok(Exit::Success),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let what = format!("{}: {error}", folder.display());
            Err(Failure::new(Exit::Unavailable, what, "do it as root or the user of the sensor"))
        }
        Err(error) => {
            let what = format!("{}: a segment cannot be read: {error}", folder.display());
            Err(Failure::new(Exit::BadData, what, "'vigie journal verify' names it"))
        }
    }
}

/// The standard output, whose errors are not those of the journal.
struct Output {
    stdout: io::StdoutLock<'static>,
    error: Option<io::Error>,
}

impl Write for &mut Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdout.write(bytes).map_err(|error| self.note(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush().map_err(|error| self.note(error))
    }
}

impl Output {
    fn note(&mut self, error: io::Error) -> io::Error {
        let kind = error.kind();
        self.error = Some(error);
        kind.into()
    }
}

/// A time as events have it, or the beginning of one: a day, a minute.
fn event_time(text: &str) -> Result<String, String> {
    let wrong = || "write a time such as 2026-11-27, 2026-11-27T08:00 or 2026-11-27T08:00:00+01:00".to_owned();
    let seconds = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    // A time of day without seconds, with or without an offset.
    let (day, time) = text.split_once('T').unwrap_or((text, ""));
    let date = Date::parse(day, format_description!("[year]-[month]-[day]")).map_err(|_| wrong())?;
    let (clock, offset) = match time.find(['Z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => (time, "Z"),
    };
    let clock = match clock.len() {
        0 if !text.contains('T') => "00:00:00".to_owned(),
        5 => format!("{clock}:00"),
        8 => clock.to_owned(),
        _ => return Err(wrong()),
    };
    let moment = OffsetDateTime::parse(&format!("{date}T{clock}{offset}"), &Rfc3339).map_err(|_| wrong())?;
    moment.to_offset(UtcOffset::UTC).format(&seconds).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_minutes_or_seconds() {
        for (text, expected) in [
            ("2026-11-27", "2026-11-27T00:00:00"),
            ("2026-11-27T08:00", "2026-11-27T08:00:00"),
            ("2026-11-27T08:00:05Z", "2026-11-27T08:00:05"),
            ("2026-11-27T00:30+01:00", "2026-11-26T23:30:00"),
            ("2026-11-27T08:00:00-05:00", "2026-11-27T13:00:00"),
        ] {
            assert_eq!(event_time(text).as_deref(), Ok(expected));
        }
        for text in ["", "yesterday", "2026-13-01", "2026-11-27T", "2026-11-27T8", "2026-11-27T25:00", "27.11.2026"] {
            assert!(event_time(text).is_err(), "{text}");
        }
    }
}
