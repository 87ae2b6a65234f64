//! `vigie reveal`: who is behind a pseudonym. The audit line is written first; without it there is no answer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use vigie_config::{ConfigErrors, Layers, Severity, Source};
use vigie_privacy::{MasterKey, NotAPeriod, Period, PeriodKeys, Pseudonyms, RevealError};

use super::exit::{Exit, Failure};
use super::terminal::print;
use vigie_journal::names_an_address;

use crate::audit::{Audit, AuditEvent, this_user};
use crate::policy::load_settings;
use crate::privacy::{period_keys, read_secret};
use crate::settings::Loaded;

/// `vigie reveal`.
#[derive(Args, Debug)]
#[command(
    long_about = "Show who is behind a pseudonym of an event. Needs the key of the period: that of the sensor \
                  (privacy.key_file), or the master key with site and period.\n\nFirst a line is written to \
                  privacy.audit_file: which pseudonym, for which case, why, by whom. Without it there is no answer.",
    after_help = "Examples:\n  vigie reveal 100.115.72.131 --case 2026-7 --reason 'second finding after a warning'\n  \
                  vigie reveal 100.115.72.131 --case 2026-7 --reason 'second finding' --period 2026-10 --master \
                  /media/dpo/master --site ministry\n\nExit codes: 0 revealed; 64 wrong usage; 65 the pseudonym is of \
                  another key; 69 the audit line cannot be written; 78 wrong configuration or key."
)]
pub struct RevealArguments {
    /// The pseudonym, as `client` or `src_ip` of an event has it.
    #[arg(value_name = "PSEUDONYM")]
    pub pseudonym: String,

    /// Number of the case for which it is revealed.
    #[arg(long, value_name = "NUMBER", value_parser = some_text)]
    pub case: String,

    /// Why it is revealed.
    #[arg(long, value_name = "TEXT", value_parser = some_text)]
    pub reason: String,

    /// Who else agrees, where privacy.reveal_needs_second is set.
    #[arg(long, value_name = "NAME", value_parser = some_text)]
    pub second_person: Option<String>,

    /// Period of the event, as its pseudonym_period has it; without it the current one.
    #[arg(long, value_name = "PERIOD", value_parser = period)]
    pub period: Option<Period>,

    /// File with the master key, where the sensor has no key of the period.
    #[arg(long, value_name = "FILE")]
    pub master: Option<PathBuf>,

    /// Site of the sensor, with --master [default: privacy.site].
    #[arg(long, value_name = "NAME", requires = "master")]
    pub site: Option<String>,

    /// Configuration file [default: /etc/vigie/vigie.toml, if it exists].
    #[arg(long, short, value_name = "FILE", env = "VIGIE_CONFIG")]
    pub config: Option<PathBuf>,
}

/// A text that says something and names no address: it goes into the audit, which has none.
pub(super) fn some_text(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty; say it in words".to_owned()),
        text if names_an_address(text) => Err("it names an address; the audit has none: leave it out".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// Parses a period.
pub fn period(text: &str) -> Result<Period, NotAPeriod> {
    text.parse()
}

/// Runs the command.
///
/// # Errors
/// Key, pseudonym or configuration are wrong, a second person is missing, or the audit line cannot be written.
pub fn run(arguments: &RevealArguments) -> Result<Exit, Failure> {
    let loaded = load(arguments.config.as_deref())?;
    let by = this_user();
    let second_person = second_person(arguments, &loaded, &by)?;
    let pseudonyms = pseudonyms(arguments, &loaded)?;
    let revealed = pseudonyms.reveal(&arguments.pseudonym).map_err(not_revealed)?;
    let event = AuditEvent::Reveal {
        pseudonym: &arguments.pseudonym,
        period: &pseudonyms.period().to_string(),
        case: &arguments.case,
        reason: &arguments.reason,
        by: &by,
        second_person,
    };
    audited(&loaded, &event)?;
    print(&format!("{revealed}\n"))?;
    Ok(Exit::Success)
}

/// The configuration, as far as it concerns judgement and privacy.
pub(super) fn load(config: Option<&Path>) -> Result<Loaded, Failure> {
    let source = config.map_or(Source::Default, |path| Source::Path(path.to_owned()));
    load_settings(Layers::of_process(source, Vec::new())).map_err(|errors| wrong_configuration(&errors))
}

pub(super) fn wrong_configuration(errors: &ConfigErrors) -> Failure {
    let first = errors.0.iter().find(|finding| finding.severity == Severity::Error);
    Failure::new(Exit::Configuration, first.map(ToString::to_string).unwrap_or_default(), "")
}

/// Writes a line to the audit.
pub(super) fn audited(loaded: &Loaded, event: &AuditEvent<'_>) -> Result<(), Failure> {
    open_audit(loaded)?.write(event).map_err(|error| no_audit(&loaded.settings.privacy.audit_file, &error))
}

pub(super) fn open_audit(loaded: &Loaded) -> Result<Audit, Failure> {
    let path = &loaded.settings.privacy.audit_file;
    Audit::open(path, Some(loaded.settings.sensor.name.clone())).map_err(|error| no_audit(path, &error))
}

pub(super) fn no_audit(path: &Path, error: &std::io::Error) -> Failure {
    let what = format!("no audit line can be written to {}: {error}", path.display());
    Failure::new(Exit::Unavailable, what, "do it as root or the user of the sensor, or set privacy.audit_file")
}

/// Who else agrees; empty if nobody does and nobody has to.
fn second_person<'a>(arguments: &'a RevealArguments, loaded: &Loaded, by: &str) -> Result<&'a str, Failure> {
    let second = arguments.second_person.as_deref().unwrap_or_default();
    if second == by {
        let what = format!("--second-person {second} is who asks");
        return Err(Failure::new(Exit::Usage, what, "name another person"));
    }
    if second.is_empty() && loaded.settings.privacy.reveal_needs_second {
        let what = "privacy.reveal_needs_second wants a second person";
        return Err(Failure::new(Exit::Usage, what, "add --second-person NAME"));
    }
    Ok(second)
}

/// The pseudonyms of the period that is asked for.
fn pseudonyms(arguments: &RevealArguments, loaded: &Loaded) -> Result<Arc<Pseudonyms>, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let period = arguments.period.unwrap_or_else(|| loaded.settings.privacy.period.length().at(now));
    if let Some(path) = &arguments.master {
        let site = arguments.site.as_ref().or(loaded.settings.privacy.site.as_ref());
        let site = site.ok_or_else(|| {
            Failure::new(Exit::Usage, "the site of the sensor is not known", "add --site NAME, or set privacy.site")
        })?;
        return Ok(Arc::new(Pseudonyms::new(period, &master_key(path)?.period_key(site, period))));
    }
    let keys = period_keys(loaded).map_err(|errors| wrong_configuration(&errors))?.ok_or_else(|| {
        let mend = "give --master FILE, or a configuration with privacy.pseudonyms = true";
        Failure::new(Exit::Configuration, "the configuration has no pseudonyms", mend)
    })?;
    of_period(&keys, period)
}

fn of_period(keys: &PeriodKeys, period: Period) -> Result<Arc<Pseudonyms>, Failure> {
    keys.of(period).map(Arc::clone).ok_or_else(|| {
        let periods: Vec<String> = keys.periods().map(|period| period.to_string()).collect();
        let what = format!("there is no key of {period}, but of {}", periods.join(", "));
        Failure::new(Exit::Usage, what, "give --period as pseudonym_period of the event has it, or --master FILE")
    })
}

/// Reads a master key.
pub(super) fn master_key(path: &Path) -> Result<MasterKey, Failure> {
    let wrong =
        |what: String, mend: &str| Failure::new(Exit::Configuration, format!("{}: {what}", path.display()), mend);
    let text = read_secret(path, None).map_err(|error| wrong(format!("the master key {}", error.what), &error.mend))?;
    MasterKey::parse(&text).map_err(|error| wrong(error.to_string(), "is it the right file?"))
}

fn not_revealed(error: RevealError) -> Failure {
    let (exit, mend) = match error {
        RevealError::NotAPseudonym => (Exit::Usage, "copy it from client or src_ip of an event"),
        RevealError::OtherKey => (Exit::BadData, "give --period as pseudonym_period of the event has it"),
        RevealError::Name => (Exit::BadData, "look for the client in the log that was judged"),
    };
    Failure::new(exit, error.to_string(), mend)
}
