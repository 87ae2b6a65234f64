//! `vigie bans`: who forbids what on whose devices, and whether it is in force.

use std::path::PathBuf;

use time::{Date, OffsetDateTime};
use vigie_journal::json::Object;
use vigie_signatures::{Ban, Bans, Diagnostic, Severity};

use super::arguments::{BansArguments, BansCommand};
use super::bundle;
use super::exit::{Exit, Failure};
use super::table::{self, Left};
use super::terminal::{Style, Terminal, print, wrap};

/// Runs the command.
///
/// # Errors
/// A file is refused, no ban has the id that was asked for, or the standard output cannot be written to.
pub fn run(arguments: &BansArguments, terminal: Terminal) -> Result<Exit, Failure> {
    match &arguments.command {
        BansCommand::List { json, bans, as_of } => {
            let (known, day) = (load(bans)?, day(as_of.as_deref())?);
            print(&if *json { list_json(&known, day) } else { list(&known, day, terminal.stdout_style()) })?;
        }
        BansCommand::Show { id, bans, as_of } => {
            let (known, day) = (load(bans)?, day(as_of.as_deref())?);
            let Some(ban) = known.get(id) else {
                let message = format!("no ban has the id \"{}\"", id.escape_default());
                return Err(Failure::new(Exit::Usage, message, "'vigie bans list' shows the ids"));
            };
            print(&show(ban, day, terminal.stdout_style()))?;
        }
    }
    Ok(Exit::Success)
}

/// The bans built in, with those of `paths` over them.
fn load(paths: &[PathBuf]) -> Result<Bans, Failure> {
    let refused = |findings: &[Diagnostic]| {
        let first = findings.iter().find(|finding| finding.severity == Severity::Error);
        first.map(|first| {
            let message = format!("{}: {}", bundle::place(first), first.message);
            Failure::new(Exit::Configuration, message, first.mend.clone())
        })
    };
    match Bans::from_files(paths) {
        Ok((bans, _)) => Ok(bans),
        Err(findings) => Err(refused(&findings)
            .unwrap_or_else(|| Failure::new(Exit::Internal, "bans were refused for no reason", "please report it"))),
    }
}

pub(super) fn day(text: Option<&str>) -> Result<Date, Failure> {
    let Some(text) = text else { return Ok(OffsetDateTime::now_utc().date()) };
    let format = time::macros::format_description!("[year]-[month]-[day]");
    Date::parse(text, format).map_err(|_| {
        let message = format!("\"{}\" is not a day", text.escape_default());
        Failure::new(Exit::Usage, message, "write it as --as-of 2026-11-27")
    })
}

/// What a ban covers, in a few words.
pub fn covered(ban: &Ban) -> String {
    let mut parts = ban.services.clone();
    parts.extend(ban.owners.iter().map(|owner| format!("all of {owner}")));
    parts.extend(ban.categories.iter().map(|category| format!("category {category}")));
    parts.extend(ban.owner_countries.iter().map(|country| format!("owners in {country}")));
    parts.join(", ")
}

/// A line for each ban.
fn list(bans: &Bans, day: Date, style: Style) -> String {
    let headings = [("BAN", Left), ("IN FORCE", Left), ("FORM", Left), ("STATE", Left), ("COVERS", Left)];
    let mut table = table::with_headings(headings);
    for ban in bans.iter() {
        let since = ban.in_force.map_or_else(|| "-".to_owned(), |day| day.to_string());
        let state = ban.state_at(day).as_str().to_owned();
        table.add_row([ban.id.clone(), since, ban.form.to_string(), state, covered(ban)]);
    }
    table::fitting_text(table, style, &[2])
}

/// An object a line.
fn list_json(bans: &Bans, day: Date) -> String {
    let mut out = Vec::new();
    for ban in bans.iter() {
        let mut object = Object::open(&mut out);
        for (key, value) in
            [("ban", &ban.id), ("authority", &ban.authority), ("country", &ban.country), ("title", &ban.title)]
        {
            object.text(key, value);
        }
        object.text("title_en", &ban.title_en);
        object.text("form", ban.form.as_str());
        object.text("state", ban.state_at(day).as_str());
        for (key, day) in [
            ("decided", ban.decided),
            ("in_force", ban.in_force),
            ("remove_by", ban.remove_by),
            ("review_due", ban.review_due()),
            ("ended", ban.ended),
        ] {
            object.text_or_null(key, day.map(|day| day.to_string()).as_deref());
        }
        object.texts("forbids", ban.forbids.iter().map(|word| word.as_str()));
        object.texts("services", ban.services.iter().map(String::as_str));
        object.texts("owners", ban.owners.iter().map(String::as_str));
        object.texts("categories", ban.categories.iter().map(String::as_str));
        object.texts("owner_countries", ban.owner_countries.iter().map(String::as_str));
        object.texts("scope", ban.scope.iter().map(|word| word.as_str()));
        object.text("personal", ban.personal.as_str());
        object.number("severity", ban.severity.into());
        object.close();
        out.push(b'\n');
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the values of one ban begin.
const VALUE_COLUMN: usize = 18;

/// All that is known of one ban.
fn show(ban: &Ban, day: Date, style: Style) -> String {
    let words = |list: Vec<&str>| list.join(", ");
    let date = |day: Option<Date>| day.map(|day| day.to_string()).unwrap_or_default();
    let in_force = match ban.precision {
        vigie_signatures::Precision::Day => date(ban.in_force),
        vigie_signatures::Precision::Month => format!("{} (known by its month)", date(ban.in_force)),
    };
    let rows = [
        ("Title", ban.title.clone()),
        ("In English", ban.title_en.clone()),
        ("Authority", ban.authority.clone()),
        ("Country", ban.country.clone()),
        ("Text", ban.instrument.clone()),
        ("Form", ban.form.to_string()),
        ("State", format!("{} on {day}", ban.state_at(day).as_str())),
        ("Decided", date(ban.decided)),
        ("In force", in_force),
        ("Remove by", date(ban.remove_by)),
        ("Review", date(ban.review)),
        ("Extended", date(ban.extended)),
        ("Extended until", date(ban.extended_until)),
        ("Ended", date(ban.ended)),
        ("Time zone", ban.time_zone.clone()),
        ("Forbids", words(ban.forbids.iter().map(|word| word.as_str()).collect())),
        ("Covers", covered(ban)),
        ("By choice", ban.services_by_choice.join(", ")),
        ("Devices", words(ban.scope.iter().map(|word| word.as_str()).collect())),
        ("Personal ones", ban.personal.to_string()),
        ("Severity", format!("{}, {} for a visit of the site", ban.severity, ban.severity_web)),
        ("Derogations", ban.derogation.join("; ")),
        ("Note", ban.note.clone()),
        ("Sources", ban.sources.join("; ")),
        ("Reviewed", format!("{}; {}", ban.reviewed, ban.file)),
    ];
    let mut text = format!("{}\n", ban.id);
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        let value = wrap(&printable(value), style.width.saturating_sub(VALUE_COLUMN));
        let mut lines = value.lines().map(str::trim_start);
        text.push_str(&format!("  {name:<14}  {}\n", lines.next().unwrap_or_default()));
        lines.for_each(|line| text.push_str(&format!("{:VALUE_COLUMN$}{line}\n", "")));
    }
    text
}

/// A file's text without what a terminal might obey.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Date = time::macros::date!(2026 - 11 - 27);
    const STYLE: Style = Style { width: 120, colour: false };

    #[test]
    fn the_list_tells_state_and_cover() {
        let text = list(&Bans::builtin(), DAY, STYLE);
        let line = |id: &str| text.lines().find(|line| line.starts_with(&format!("{id} "))).unwrap().to_owned();
        assert!(
            line("fr").contains("2023-03-24  ban")
                && line("fr").ends_with("in force                  tiktok, netflix, king")
        );
        assert!(line("be-wallonia").contains("in force, review overdue"));
        assert!(line("nl").contains("owners in RU, owners in CN"));
        assert!(line("watch-bytedance").ends_with("all of ByteDance"));
        let before = list(&Bans::builtin(), time::macros::date!(2023 - 01 - 01), STYLE);
        assert!(before.lines().find(|line| line.starts_with("fr ")).unwrap().contains("not yet in force"));
    }

    #[test]
    fn json_has_an_object_for_each() {
        let text = list_json(&Bans::builtin(), DAY);
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), Bans::builtin().iter().count());
        let fr = lines.iter().find(|line| line["ban"] == "fr").unwrap();
        assert_eq!((&fr["forbids"], &fr["ended"]), (&serde_json::json!(["install"]), &serde_json::Value::Null));
    }

    #[test]
    fn one_ban_in_full() {
        let text = show(Bans::builtin().get("uk-scotland").unwrap(), DAY, STYLE);
        assert!(text.contains("  In force        2023-03-31 (known by its month)\n"), "{text}");
        assert!(text.starts_with("uk-scotland\n") && !text.contains("Ended"), "{text}");
        let unknown = BansArguments { command: BansCommand::Show { id: "x".into(), bans: vec![], as_of: None } };
        assert_eq!(run(&unknown, Terminal::detect()).unwrap_err().exit, Exit::Usage);
        assert_eq!(day(Some("soon")).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn wrong_files_are_refused_with_their_place() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("own.toml"), "id = \"own\"\n").unwrap();
        let failure = load(&[folder.path().to_path_buf()]).unwrap_err();
        assert_eq!(failure.exit, Exit::Configuration);
        assert!(failure.to_string().contains("own.toml:1: authority, language, title"), "{failure}");
    }
}
