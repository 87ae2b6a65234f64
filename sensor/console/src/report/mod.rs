//! `vigie report FROM TO`: a period's findings, coverage first, so that "no finding" is not mistaken for "no look". No device and
//! no person is named or ranked, and small numbers are not told.

mod figures;
mod render;
mod suppress;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use jiff::civil::Date;
use rusqlite::{Connection, OpenFlags};
use vigie_journal::{Seal, read_seals};

use self::figures::Period;
use crate::clock::{Clock, parse_day};
use crate::words::Language;

/// Exit codes, from `sysexits.h`.
const EXIT_SUCCESS: u8 = 0;
const EXIT_USAGE: u8 = 64;
const EXIT_UNAVAILABLE: u8 = 69;

/// `vigie-console report`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  vigie report 2026-11-01 2026-11-30 --lang fr > report.html\n  \
                  vigie report 2026-11-01 2026-11-30 --format csv --output november.csv\n\n\
                  Exit codes: 0 success; 64 wrong usage; 69 the tables cannot be read, or the report cannot be written.")]
pub struct ReportArguments {
    /// First day, such as 2026-11-01.
    #[arg(value_name = "FROM", value_parser = day)]
    pub from: Date,
    /// Last day.
    #[arg(value_name = "TO", value_parser = day)]
    pub to: Date,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Format::Html)]
    pub format: Format,
    /// In which language: en or fr.
    #[arg(long, value_name = "LANGUAGE", default_value = "en", value_parser = ["en", "fr"])]
    pub lang: String,
    /// The folder of the console's tables.
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/vigie-console")]
    pub state: PathBuf,
    /// The folder of the sensor's journal, for the seals that cover the period.
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/vigie/journal")]
    pub journal: PathBuf,
    /// Time zone, such as Europe/Paris [default: that of the system].
    #[arg(long, value_name = "ZONE", default_value = "", hide_default_value = true)]
    pub time_zone: String,
    /// File to write [default: the standard output].
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One page that needs nothing else, also for paper.
    Html,
    /// For programs.
    Json,
    /// For spreadsheets.
    Csv,
}

fn day(text: &str) -> Result<Date, String> {
    parse_day(text).ok_or_else(|| "write a day as 2026-11-01".to_owned())
}

/// Writes the report, and gives the exit code.
pub fn run(arguments: &ReportArguments) -> u8 {
    let complain = |text: &str| {
        let _ = io::stderr().write_all(format!("vigie-console: {text}\n").as_bytes());
    };
    if arguments.from > arguments.to {
        complain("the first day is after the last one; swap the two");
        return EXIT_USAGE;
    }
    let Ok(clock) = Clock::new(&arguments.time_zone) else {
        complain("--time-zone: no such time zone; give a name such as Europe/Paris");
        return EXIT_USAGE;
    };
    match text(arguments, &clock).and_then(|text| write(arguments.output.as_deref(), &text)) {
        Ok(()) => EXIT_SUCCESS,
        Err(message) => {
            complain(&message);
            EXIT_UNAVAILABLE
        }
    }
}

fn text(arguments: &ReportArguments, clock: &Clock) -> Result<String, String> {
    let path = arguments.state.join("console.sqlite");
    let failed =
        |error: rusqlite::Error| format!("{}: {error}; start vigie-console once, or give --state", path.display());
    // As a reader of a database in WAL mode, which writes nothing.
    let tables = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    tables.pragma_update(None, "query_only", true).map_err(failed)?;
    let period = Period {
        from: arguments.from.to_string(),
        to: arguments.to.to_string(),
        from_us: clock.span_of(arguments.from).0,
        until_us: clock.span_of(arguments.to).1,
        now_us: Clock::now_us(),
    };
    let figures = figures::of(&tables, &period).map_err(failed)?;
    let seals = covering(&arguments.journal, &arguments.from, &arguments.to);
    let language = Language::of(&arguments.lang).unwrap_or(Language::En);
    Ok(match arguments.format {
        Format::Html => render::html(&figures, seals.as_deref(), language),
        Format::Json => render::json(&figures, seals.as_deref()),
        Format::Csv => render::csv(&figures),
    })
}

/// The seals of segments with events of the period. None if the journal cannot be read.
fn covering(journal: &Path, from: &Date, to: &Date) -> Option<Vec<Seal>> {
    let (from, to) = (from.to_string(), to.to_string());
    let day = |time: &str| time.get(..10).unwrap_or_default().to_owned();
    let mut seals = read_seals(journal).ok()?;
    seals.retain(|seal| day(&seal.last) >= from && day(&seal.first) <= to);
    Some(seals)
}

fn write(output: Option<&Path>, text: &str) -> Result<(), String> {
    match output {
        Some(path) => fs::write(path, text).map_err(|error| format!("{}: {error}; check its folder", path.display())),
        None => io::stdout()
            .write_all(text.as_bytes())
            .and_then(|()| io::stdout().flush())
            .map_err(|error| format!("the report cannot be written: {error}")),
    }
}
