//! `vigie report FROM TO`: a period's findings, coverage first, so that "no finding" is not mistaken for "no look". No device and
//! no person is named or ranked, and small numbers are not told.

mod destinations;
mod figures;
mod render;
mod rules;
mod seals;
mod sources;
mod suppress;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use jiff::ToSpan;
use jiff::civil::Date;

use self::figures::Period;
use self::sources::Sources;
use crate::clock::{Clock, parse_day};
use crate::words::Language;

/// Exit codes, from `sysexits.h`.
const EXIT_SUCCESS: u8 = 0;
const EXIT_USAGE: u8 = 64;
const EXIT_UNAVAILABLE: u8 = 69;

/// `vigie-console report`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  vigie report 2026-11-01 2026-11-30 --lang fr > report.html\n  \
                  vigie report 2026-11-01 2026-11-30 --format csv --output november.csv\n  \
                  vigie report 2026-11-01 2026-11-30 --journal /srv/finance --journal /srv/justice > all.html\n\n\
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
    /// The folder of a console's tables; may be repeated, and then the report is about all of them [default: /var/lib/vigie-console,
    /// unless only journals are given].
    #[arg(long, value_name = "FOLDER")]
    pub state: Vec<PathBuf>,
    /// The folder of a sensor's journal; may be repeated. With --state, for the seals that cover the period; without, its events
    /// are read into tables that are removed afterwards [default: /var/lib/vigie/journal].
    #[arg(long, value_name = "FOLDER")]
    pub journal: Vec<PathBuf>,
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
    let (from, to) = (arguments.from, arguments.to);
    let days = from.until(to).map_or(1, |span| span.get_days() + 1);
    let earlier = from.checked_sub(days.days()).ok().zip(from.yesterday().ok());
    let (earlier_from, earlier_to) = earlier.ok_or("there is no time before the first day; give a later one")?;
    let period = period(clock, from, to);
    let sources = Sources::open(&arguments.state, &arguments.journal)?;
    let figures = figures::of(&sources.sources, &period, &self::period(clock, earlier_from, earlier_to));
    let figures = figures.map_err(|error| format!("the tables cannot be read: {error}; start vigie-console once"))?;
    let seals = seals::covering(&sources.journals, &period);
    let language = Language::of(&arguments.lang).unwrap_or(Language::En);
    Ok(match arguments.format {
        Format::Html => render::html(&figures, &seals, language),
        Format::Json => render::json(&figures, &seals),
        Format::Csv => render::csv(&figures),
    })
}

fn period(clock: &Clock, from: Date, to: Date) -> Period {
    Period {
        from: from.to_string(),
        to: to.to_string(),
        from_us: clock.span_of(from).0,
        until_us: clock.span_of(to).1,
        now_us: Clock::now_us(),
    }
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
