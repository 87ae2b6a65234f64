//! One file of a ban, read and checked.

use time::Date;
use toml::de::DeTable;

use super::Ban;
use super::words::{BanForm, Forbids, Personal, Precision, ScopeWord};
use crate::diagnostic::{Diagnostic, missing_keys};
use crate::parse::parse_day;
use crate::parse::reader::{Reader, Value};

const KEYS: [&str; 28] = [
    "id",
    "authority",
    "country",
    "language",
    "title",
    "title_en",
    "instrument",
    "form",
    "decided",
    "in_force",
    "precision",
    "remove_by",
    "review",
    "extended",
    "extended_until",
    "ended",
    "time_zone",
    "forbids",
    "services",
    "services_by_choice",
    "owners",
    "categories",
    "owner_countries",
    "scope",
    "personal",
    "severity",
    "severity_web",
    "derogation",
];
const MORE_KEYS: [&str; 3] = ["note", "sources", "reviewed"];

/// Reads one file; no ban where it has an error.
pub(super) fn read(label: &str, text: &str) -> (Option<Ban>, Vec<Diagnostic>) {
    let mut reader = Reader::new(label, text);
    let (document, faults) = DeTable::parse_recoverable(text);
    for fault in faults {
        let at = fault.span().map_or(0, |span| span.start);
        reader.error(at, "", format!("not TOML: {}", fault.message()), "see https://toml.io for the syntax");
    }
    if reader.has_errors() {
        return (None, reader.into_findings());
    }
    finish(Fields { reader, table: document.get_ref(), is_inline: false, at: 0 }, label)
}

/// Reads a ban that stands as a table in another file, at a byte of its text. What only a public text has (authority,
/// instrument, titles in two languages, sources) may be missing.
pub(super) fn read_table(label: &str, text: &str, table: &DeTable<'_>, at: usize) -> (Option<Ban>, Vec<Diagnostic>) {
    let (ban, findings) = finish(Fields { reader: Reader::new(label, text), table, is_inline: true, at }, label);
    let ban = ban.map(|mut ban| {
        if ban.title_en.is_empty() {
            ban.title_en.clone_from(&ban.title);
        }
        if ban.scope.is_empty() {
            ban.scope.push(ScopeWord::Official);
        }
        ban
    });
    (ban, findings)
}

fn finish(mut fields: Fields<'_, '_>, label: &str) -> (Option<Ban>, Vec<Diagnostic>) {
    let ban = fields.ban(label);
    fields.check(&ban);
    let sound = !fields.reader.has_errors();
    (sound.then_some(ban), fields.reader.into_findings())
}

/// The table of a file, read key by key.
struct Fields<'r, 't> {
    reader: Reader<'r>,
    table: &'t DeTable<'t>,
    /// It stands in another file.
    is_inline: bool,
    /// Where the table stands.
    at: usize,
}

impl<'t> Fields<'_, 't> {
    fn value(&self, key: &str) -> Option<&'t Value<'t>> {
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn text(&mut self, key: &str) -> String {
        self.value(key).and_then(|value| self.reader.string(key, value)).unwrap_or_default()
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        self.value(key).map(|value| self.reader.strings(key, value)).unwrap_or_default()
    }

    fn word<W: std::str::FromStr<Err = String>>(&mut self, key: &str, otherwise: W) -> W {
        self.value(key).and_then(|value| self.reader.word(key, value)).unwrap_or(otherwise)
    }

    fn words<W: std::str::FromStr<Err = String>>(&mut self, key: &str) -> Vec<W> {
        self.value(key).map(|value| self.reader.words(key, value)).unwrap_or_default()
    }

    fn day(&mut self, key: &str) -> Option<Date> {
        let value = self.value(key)?;
        parse_day(&self.reader.day(key, value)?)
    }

    fn severity(&mut self, key: &str, otherwise: u8) -> u8 {
        let Some(value) = self.value(key) else { return otherwise };
        match self.reader.number(key, value) {
            Some(severity @ 1..=3) => severity as u8,
            Some(other) => {
                let message = format!("{key} {other} is not 1, 2 or 3");
                self.reader.error(value.span().start, key, message, "1 is high, 3 is low");
                otherwise
            }
            None => otherwise,
        }
    }

    fn ban(&mut self, label: &str) -> Ban {
        let form = self.word("form", BanForm::Ban);
        let severity = self.severity("severity", if form == BanForm::Watch { 3 } else { 1 });
        Ban {
            id: self.text("id"),
            authority: self.text("authority"),
            country: self.text("country"),
            language: self.text("language"),
            title: self.text("title"),
            title_en: self.text("title_en"),
            instrument: self.text("instrument"),
            form,
            decided: self.day("decided"),
            in_force: self.day("in_force"),
            precision: self.word("precision", Precision::Day),
            remove_by: self.day("remove_by"),
            review: self.day("review"),
            extended: self.day("extended"),
            extended_until: self.day("extended_until"),
            ended: self.day("ended"),
            time_zone: self.text("time_zone"),
            forbids: self.words::<Forbids>("forbids"),
            services: self.texts("services"),
            services_by_choice: self.texts("services_by_choice"),
            owners: self.texts("owners"),
            categories: self.texts("categories"),
            owner_countries: self.texts("owner_countries"),
            scope: self.words::<ScopeWord>("scope"),
            personal: self.word("personal", Personal::No),
            severity,
            severity_web: self.severity("severity_web", (severity + 1).min(3)),
            derogation: self.texts("derogation"),
            note: if self.value("note").is_some() { self.text("note") } else { String::new() },
            sources: self.texts("sources"),
            reviewed: self.value("reviewed").and_then(|value| self.reader.day("reviewed", value)).unwrap_or_default(),
            file: label.to_owned(),
        }
    }

    fn check(&mut self, ban: &Ban) {
        for (key, _) in self.table.iter() {
            let word = key.get_ref().as_ref();
            if !KEYS.contains(&word) && !MORE_KEYS.contains(&word) {
                self.reader.unknown_key(key.span().start, word, &[&KEYS[..], &MORE_KEYS].concat().join(", "));
            }
        }
        self.check_presence(ban);
        self.check_words(ban);
        self.check_order(ban);
    }

    /// Reports a fault at a key, or at the start of the table where the key is missing.
    fn fault(&mut self, key: &str, message: String, mend: &str) {
        let at = self.value(key).map_or(self.at, |value| value.span().start);
        self.reader.error(at, key, message, mend);
    }

    fn check_presence(&mut self, ban: &Ban) {
        let mut missing = self.needed(ban.form);
        missing.retain(|key| self.value(key).is_none());
        let covers = ["services", "owners", "categories", "owner_countries"];
        let names_cover = covers.iter().any(|key| self.value(key).is_some());
        if !names_cover && !missing.is_empty() {
            missing.push("services");
        }
        if let Some(first) = missing.first() {
            let examples: Vec<String> = missing.iter().map(|key| format!("{key} = {}", example(key))).collect();
            self.fault(first, missing_keys(&missing), &format!("add {}", examples.join("; ")));
        }
        let covers_nothing =
            [&ban.services, &ban.owners, &ban.categories, &ban.owner_countries].iter().all(|list| list.is_empty());
        if covers_nothing && !missing.contains(&"services") {
            let mend = "name services, owners, categories or owner_countries";
            self.fault("services", "the ban covers no service".to_owned(), mend);
        }
    }

    /// The keys that must be there.
    fn needed(&self, form: BanForm) -> Vec<&'static str> {
        let is_watch = form == BanForm::Watch;
        match (self.is_inline, is_watch) {
            (true, true) => vec!["id", "title", "time_zone"],
            (true, false) => vec!["id", "title", "time_zone", "in_force", "forbids"],
            (false, _) => {
                let mut needed = vec!["id", "authority", "language", "title", "title_en", "form", "time_zone", "scope"];
                needed.extend(["personal", "severity", "reviewed"]);
                if !is_watch {
                    needed.extend(["country", "instrument", "decided", "in_force", "forbids", "sources"]);
                }
                needed
            }
        }
    }

    fn check_words(&mut self, ban: &Ban) {
        let is_key = |text: &str| text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !is_key(&ban.id) || ban.id.len() > 64 {
            self.fault("id", format!("id \"{}\" is not a key", ban.id), "use at most 64 of a-z, 0-9 and -");
        }
        let is_country = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        if !ban.country.is_empty() && !is_country(&ban.country) {
            let message = format!("country \"{}\" is not a country code", ban.country);
            self.fault("country", message, "write two capital letters, such as \"FR\"");
        }
        if let Some(wrong) = ban.owner_countries.iter().find(|text| !is_country(text)) {
            let message = format!("owner_countries has \"{wrong}\", which is no country code");
            self.fault("owner_countries", message, "write two capital letters, such as \"CN\"");
        }
        let zone = ban.time_zone.split_once('/');
        if !ban.time_zone.is_empty() && zone.is_none_or(|(area, place)| area.is_empty() || place.is_empty()) {
            let message = format!("time_zone \"{}\" is not a time zone", ban.time_zone);
            self.fault("time_zone", message, "write it as in the time zone database, such as \"Europe/Paris\"");
        }
        if ban.precision == Precision::Month
            && ban.in_force.is_some_and(|day| day.day() != day.month().length(day.year()))
        {
            let message = "in_force is not the last day of its month, as precision = \"month\" wants".to_owned();
            self.fault("in_force", message, "write the last day of the month");
        }
    }

    /// Each day must not lie before the one that it follows.
    fn check_order(&mut self, ban: &Ban) {
        for (key, later, before, earlier) in [
            ("in_force", ban.in_force, "decided", ban.decided),
            ("remove_by", ban.remove_by, "in_force", ban.in_force),
            ("review", ban.review, "in_force", ban.in_force),
            ("extended", ban.extended, "in_force", ban.in_force),
            ("extended_until", ban.extended_until, "in_force", ban.in_force),
            ("ended", ban.ended, "in_force", ban.in_force),
        ] {
            if let (Some(later), Some(earlier)) = (later, earlier)
                && later < earlier
            {
                self.fault(key, format!("{key} {later} lies before {before} {earlier}"), "correct one of the two days");
            }
        }
    }
}

/// What a key may be, as a file writes it.
fn example(key: &str) -> &'static str {
    match key {
        "id" => "\"our-ban\"",
        "country" => "\"FR\"",
        "language" => "\"fr\"",
        "form" => "\"ban\"",
        "time_zone" => "\"Europe/Paris\"",
        "forbids" => "[\"install\", \"use\", \"traffic\"]",
        "services" => "[\"tiktok\"]",
        "scope" => "[\"official\"]",
        "personal" => "\"no\"",
        "severity" => "1",
        "sources" => "[\"…\"]",
        "decided" | "in_force" | "reviewed" => "\"YYYY-MM-DD\"",
        _ => "\"…\"",
    }
}
