//! The bar of coverage: a span in equal parts, each seen, with losses, blind, or without a word from the sensor.

use rusqlite::Connection;

use crate::clock::Clock;
use crate::query::coverage::{self, Sums};
use crate::server::visit::Visit;
use crate::words::{Language, Words};

/// Parts of a bar.
const PARTS: i64 = 96;

/// A part of the bar.
pub struct Part {
    pub x: i64,
    pub class: &'static str,
    pub title: String,
}

/// The bar, and what it says in words.
pub struct Strip {
    pub parts: Vec<Part>,
    pub marks: Vec<String>,
    pub sentence: String,
    pub href: String,
}

/// What is known of the coverage of a span.
pub struct Coverage {
    from_us: i64,
    until_us: i64,
    /// For each part the interface that saw least.
    parts: Vec<Option<Sums>>,
    is_known: bool,
}

impl Coverage {
    /// Asks the tables.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn of(tables: &Connection, from_us: i64, until_us: i64) -> rusqlite::Result<Self> {
        let part_us = (until_us - from_us) / PARTS;
        let mut parts: Vec<Option<Sums>> = vec![None; PARTS as usize];
        for part in coverage::parts(tables, from_us, until_us, part_us)? {
            let Some(known) = usize::try_from(part.number).ok().and_then(|number| parts.get_mut(number)) else {
                continue;
            };
            match known {
                Some(worst) => {
                    worst.window_s = worst.window_s.min(part.sums.window_s);
                    worst.blind_s = worst.blind_s.max(part.sums.blind_s);
                    worst.lossy_s = worst.lossy_s.max(part.sums.lossy_s);
                    worst.hellos += part.sums.hellos;
                    worst.nameless += part.sums.nameless;
                }
                None => *known = Some(part.sums),
            }
        }
        Ok(Self { from_us, until_us, parts, is_known: coverage::is_known(tables)? })
    }

    /// Seconds of the span up to now, those that were seen, and those that were blind.
    fn seconds(&self) -> (u64, u64, u64) {
        let until = self.until_us.min(Clock::now_us()).max(self.from_us);
        let whole = (until - self.from_us) as u64 / 1_000_000;
        let known = self.parts.iter().flatten();
        let (window, blind) = known
            .fold((0, 0), |(window, blind), sums| (window + sums.window_s, blind + sums.blind_s.min(sums.window_s)));
        let window = window.min(whole);
        let blind = blind.min(window);
        (whole, window - blind, blind)
    }

    /// In words: "Seen 98.7% of the time, blind 4 min."
    pub fn sentence(&self, language: Language, w: &Words) -> String {
        if !self.is_known {
            return language
                .pick(
                    "The sensor tells no coverage: no finding does not mean that nothing happened.",
                    "Le capteur ne signale pas sa couverture : l’absence de constat ne veut pas dire qu’il ne s’est rien passé.",
                )
                .to_owned();
        }
        let (whole, seen, blind) = self.seconds();
        let silent = whole - seen - blind;
        let share = w.percent(seen, whole);
        let (blind, silent) = (w.duration(blind), if silent < 120 { 0 } else { silent });
        let told = w.duration(silent);
        match (language, silent) {
            (Language::En, 0) => format!("Seen {share} of the time, blind {blind}."),
            (Language::En, _) => format!("Seen {share} of the time, blind {blind}, nothing told for {told}."),
            (Language::Fr, 0) => format!("Vu {share} du temps, aveugle {blind}."),
            (Language::Fr, _) => format!("Vu {share} du temps, aveugle {blind}, rien de signalé pendant {told}."),
        }
    }

    /// The bar.
    pub fn strip(&self, clock: &Clock, visit: &Visit) -> Strip {
        let (language, w) = (visit.language, visit.words());
        let part_us = (self.until_us - self.from_us) / PARTS;
        let now = Clock::now_us();
        let parts = self.parts.iter().zip(0..).map(|(sums, number)| {
            let begin = self.from_us + number * part_us;
            let (class, word) = match sums {
                _ if begin > now => ("future", "–".to_owned()),
                None => ("off", w.off.to_owned()),
                Some(sums) if sums.blind_s * 2 >= sums.window_s.max(1) => ("blind", w.blind.to_owned()),
                Some(sums) if sums.blind_s > 0 => ("lossy", format!("{} {}", w.blind, w.duration(sums.blind_s))),
                Some(sums) if sums.lossy_s > 0 => ("lossy", w.lossy.to_owned()),
                Some(_) => ("seen", w.seen.to_owned()),
            };
            let title = format!("{}–{}: {word}", clock.minute(begin), clock.minute(begin + part_us));
            Part { x: number * 10, class, title }
        });
        let marks = (0..=4).map(|quarter| clock.minute(self.from_us + quarter * (PARTS / 4) * part_us));
        let day = clock.day((self.from_us + self.until_us) / 2);
        Strip {
            parts: parts.collect(),
            marks: marks.collect(),
            sentence: self.sentence(language, w),
            href: format!("/coverage?day={day}"),
        }
    }

    /// Whether the sensor tells any coverage at all.
    pub const fn is_known(&self) -> bool {
        self.is_known
    }
}
