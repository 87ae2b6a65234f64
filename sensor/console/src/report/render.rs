//! A report as HTML, JSON and CSV.

use askama::Template;
use serde_json::json;
use vigie_journal::Seal;

use super::figures::{Figures, Table};
use super::suppress::CELL_MIN;
use crate::words::{Language, Words, decided_word, verdict_word};

struct Line {
    name: String,
    count: String,
    width: u64,
}

struct Part {
    title: &'static str,
    lines: Vec<Line>,
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    w: &'static Words,
    title: String,
    coverage: Vec<(&'static str, String)>,
    warning: Option<&'static str>,
    incidents: String,
    parts: Vec<Part>,
    small: String,
    seals: Vec<(String, String)>,
}

/// One page that needs nothing else.
pub fn html(figures: &Figures, seals: Option<&[Seal]>, language: Language) -> String {
    let w = language.words();
    let pick = |english, french| language.pick(english, french);
    let seen = &figures.coverage;
    let warning = (seen.seen_s * 10 < seen.period_s * 9).then(|| {
        pick(
            "Less than nine tenths of the period were seen: that something is not in this report does not prove that it did not happen.",
            "Moins de neuf dixièmes de la période ont été vus : ce qui ne figure pas dans ce rapport a pu avoir lieu.",
        )
    });
    let coverage = vec![
        (pick("Time seen", "Temps vu"), w.percent(seen.seen_s, seen.period_s)),
        (pick("Blind", "Aveugle"), w.duration(seen.blind_s)),
        (pick("With losses", "Avec pertes"), w.duration(seen.lossy_s)),
        (pick("Hellos", "Hellos"), w.number(seen.hellos)),
        (pick("Hellos without a name", "Hellos sans nom"), w.percent(seen.hellos_nameless, seen.hellos)),
        (
            pick("Hellos with an ECH extension", "Hellos avec une extension ECH"),
            w.percent(seen.hellos_ech, seen.hellos),
        ),
    ];
    let period = match language {
        Language::En => format!("Report from {} to {}", figures.from, figures.to),
        Language::Fr => format!("Rapport du {} au {}", figures.from, figures.to),
    };
    let small = match language {
        Language::En => format!(
            "“–” is a number from 1 to {}, or one from which such a number could be computed. Totals are always told.",
            CELL_MIN - 1
        ),
        Language::Fr => format!(
            "« – » est un nombre de 1 à {}, ou un nombre d’où on pourrait le calculer. Les totaux sont toujours donnés.",
            CELL_MIN - 1
        ),
    };
    let page = Page {
        w,
        title: period,
        coverage,
        warning,
        incidents: w.incident_count(figures.incidents),
        parts: figures
            .tables
            .iter()
            .filter(|table| has_names(table))
            .map(|table| part(table, figures, language))
            .collect(),
        small,
        seals: sealed(seals, language),
    };
    page.render().unwrap_or_default()
}

/// Whether a table tells more than the total: of no site, for instance, it does not.
fn has_names(table: &Table) -> bool {
    table.cells.iter().any(|cell| !cell.name.is_empty())
}

fn part(table: &Table, figures: &Figures, language: Language) -> Part {
    let w = language.words();
    let pick = |english, french| language.pick(english, french);
    let title = match table.by {
        "day" => pick("By day", "Par jour"),
        "ban" => pick("By ban", "Par interdiction"),
        "service" => pick("By service", "Par service"),
        "site" => pick("By site", "Par site"),
        "ministry" => pick("By ministry", "Par ministère"),
        "verdict" => pick("By verdict", "Par verdict"),
        "first_start" => pick("First starts of an application", "Premiers lancements d’une application"),
        _ => pick("By decision", "Par décision"),
    };
    let name = |text: &str| match (table.by, text) {
        (_, "") => "–".to_owned(),
        ("verdict", word) => verdict_word(language, word),
        ("first_start", "yes") => pick("yes", "oui").to_owned(),
        ("first_start", _) => pick("no", "non").to_owned(),
        ("decision", "none") => w.undecided.to_owned(),
        ("decision", "taken-up") => w.taken_up.to_owned(),
        ("decision", word) => decided_word(w, word),
        (_, other) => other.to_owned(),
    };
    let lines = table.cells.iter().map(|cell| Line {
        name: name(&cell.name),
        count: cell.incidents.map_or_else(|| "–".to_owned(), |count| w.number(count)),
        width: cell.incidents.unwrap_or_default() * 100 / figures.incidents.max(1),
    });
    Part { title, lines: lines.collect() }
}

fn sealed(seals: Option<&[Seal]>, language: Language) -> Vec<(String, String)> {
    let pick = |english, french| language.pick(english, french);
    match seals {
        None => vec![(
            pick("Seals", "Scellés").to_owned(),
            pick("the journal cannot be read", "journal illisible").to_owned(),
        )],
        Some(seals) => {
            let mut lines = vec![(pick("Seals", "Scellés").to_owned(), seals.len().to_string())];
            let ends = [seals.first(), seals.last().filter(|_| seals.len() > 1)];
            lines.extend(ends.into_iter().flatten().map(|seal| {
                (
                    format!("{} {}", pick("Segment", "Segment"), seal.seq),
                    format!("{} – {}, {}", seal.first, seal.last, seal.sha256),
                )
            }));
            lines
        }
    }
}

/// For programs.
pub fn json(figures: &Figures, seals: Option<&[Seal]>) -> String {
    let report = json!({ "report": figures, "cell_min": CELL_MIN, "seals": seals });
    format!("{}\n", serde_json::to_string_pretty(&report).unwrap_or_default())
}

/// For spreadsheets: coverage first, then a line for each count.
pub fn csv(figures: &Figures) -> String {
    let seen = &figures.coverage;
    let mut lines = vec!["by,name,incidents".to_owned()];
    for (name, number) in [
        ("period_s", seen.period_s),
        ("seen_s", seen.seen_s),
        ("blind_s", seen.blind_s),
        ("lossy_s", seen.lossy_s),
        ("hellos", seen.hellos),
        ("hellos_nameless", seen.hellos_nameless),
        ("hellos_ech", seen.hellos_ech),
    ] {
        lines.push(format!("coverage,{name},{number}"));
    }
    lines.push(format!("total,,{}", figures.incidents));
    for table in &figures.tables {
        for cell in &table.cells {
            let count = cell.incidents.map_or_else(|| format!("<{CELL_MIN} or hidden"), |count| count.to_string());
            lines.push(format!("{},{},{count}", table.by, field(&cell.name)));
        }
    }
    lines.join("\r\n") + "\r\n"
}

/// A field (RFC 4180). What a spreadsheet would take for a formula is text.
fn field(text: &str) -> String {
    let begins_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '%']);
    let text = if begins_formula { format!("'{text}") } else { text.to_owned() };
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.contains(['"', ',', ';', '\'']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreadsheets_compute_nothing_of_the_record() {
        for (text, expected) in [
            ("tiktok", "tiktok"),
            ("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\""),
            ("+1", "\"'+1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("-2,3", "\"'-2,3\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\r\n=1", "a  =1"),
        ] {
            assert_eq!(field(text), expected);
        }
    }
}
