//! Pages: what the tables say, in the words of the reader, as HTML. Templates escape all values.

pub mod bans;
pub mod candidates;
pub mod coverage;
pub mod derogations;
pub mod destinations;
pub mod device;
pub mod facts;
pub mod incident;
pub mod incidents;
pub mod log;
mod proof;
pub mod row;
pub mod services;
pub mod strip;
mod ticket;

use std::fmt::Write;

use vigie_journal::eve::time_us;

use crate::access::Person;
use crate::clock::Stamp;
use crate::server::App;
use crate::server::visit::Visit;
use crate::words::{Language, Words};

/// What all pages have.
pub struct Page {
    words: &'static Words,
    pub theme: &'static str,
    pub other_theme: &'static str,
    pub keys: bool,
    pub here: String,
    pub person: Option<Person>,
    /// What everybody has to know now, such as that the tables are being made anew.
    pub notice: Option<String>,
    pub zone: String,
    pub last_event: Option<Stamp>,
    pub assets: &'static str,
    section: &'static str,
}

impl Page {
    /// The frame of a page of a section.
    pub fn of(app: &App, visit: &Visit, section: &'static str) -> Self {
        let words = visit.words();
        let reading = app.projection.progress.reading();
        let last = reading.last_event.as_deref().and_then(time_us);
        Self {
            words,
            theme: visit.theme,
            other_theme: match visit.theme {
                "auto" => "dark",
                "dark" => "light",
                _ => "auto",
            },
            keys: visit.keys,
            here: visit.here.clone(),
            person: visit.person.clone(),
            notice: notice(visit.language, words, &reading),
            zone: app.clock.zone_name().to_owned(),
            last_event: last.map(|time| app.clock.short(visit.language, time)),
            assets: env!("CARGO_PKG_VERSION"),
            section,
        }
    }

    /// Address and name of the sections, and whether this page belongs to one.
    pub fn navigation(&self) -> Vec<(&'static str, &'static str, bool)> {
        let w = self.words;
        let sees_devices = self.person.as_ref().is_some_and(|person| person.role.sees_devices());
        let mut sections = vec![
            ("/", w.incidents),
            ("/coverage", w.coverage),
            ("/bans", w.bans),
            ("/services", w.services),
            ("/destinations", w.destinations),
        ];
        if sees_devices {
            sections.extend([("/derogations", w.derogations), ("/candidates", w.candidates), ("/audit", w.audit)]);
        }
        sections.push(("/health", w.health));
        sections.into_iter().map(|(href, name)| (href, name, href == self.section)).collect()
    }

    /// What the button of the theme says.
    pub fn other_theme_name(&self) -> &'static str {
        match self.other_theme {
            "dark" => self.words.theme_dark,
            "light" => self.words.theme_light,
            _ => self.words.theme_auto,
        }
    }
}

fn notice(language: Language, words: &Words, reading: &crate::projection::Reading) -> Option<String> {
    if let Some(error) = &reading.error {
        let text = language.pick(
            "The journal is not being read at the moment, so these pages may be old:",
            "Le journal n’est pas lu en ce moment ; ces pages peuvent être anciennes :",
        );
        return Some(format!("{text} {error}"));
    }
    // Less than this is read before anybody looks.
    const WORTH_TELLING_BYTES: u64 = 4 << 20;
    if reading.is_current || reading.bytes_left < WORTH_TELLING_BYTES {
        return None;
    }
    let (lines, left) = (words.number(reading.lines), words.bytes(reading.bytes_left));
    Some(match language {
        Language::En => {
            format!("The journal is being read: {lines} events so far, {left} to go. Pages show what there is.")
        }
        Language::Fr => format!(
            "Lecture du journal en cours : {lines} événements lus, {left} restants. Les pages montrent ce qui est déjà là."
        ),
    })
}

/// A text as a part of an address (RFC 3986 §2.1).
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").unwrap_or_default(),
        }
    }
    out
}

/// A way to choose something, and whether it is chosen.
pub struct Choice {
    pub name: String,
    pub href: String,
    pub is_chosen: bool,
    pub count: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_addresses_are_encoded() {
        assert_eq!(encode("2001:db8::1"), "2001%3Adb8%3A%3A1");
        assert_eq!(encode("é/?&#\"<"), "%C3%A9%2F%3F%26%23%22%3C");
    }
}
