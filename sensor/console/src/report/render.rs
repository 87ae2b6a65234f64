//! A report as HTML, JSON and CSV.

use askama::Template;
use serde_json::json;

use super::destinations::{Destination, Shares};
use super::figures::{Cell, Figures, Seen, Table};
use super::rules::RuleDecisions;
use super::seals::JournalSeals;
use super::suppress::CELL_MIN;
use crate::words::{Language, Words, ban_title, decided_word, verdict_word};

/// What stands in place of what may not be told.
const HIDDEN: &str = "–";

struct Line {
    name: String,
    count: String,
    before: Option<String>,
    width: u64,
}

struct Part {
    title: &'static str,
    lines: Vec<Line>,
    has_before: bool,
}

/// A table of texts; the first cell of a row names it.
struct Grid {
    title: &'static str,
    hint: &'static str,
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    w: &'static Words,
    title: String,
    coverage: Vec<(&'static str, String)>,
    warning: Option<&'static str>,
    of_sources: Option<Grid>,
    incidents: String,
    compared: Option<String>,
    before: &'static str,
    parts: Vec<Part>,
    grids: Vec<Grid>,
    small: String,
    seals: Vec<(String, String)>,
}

/// One page that needs nothing else.
pub fn html(figures: &Figures, seals: &[JournalSeals], language: Language) -> String {
    let w = language.words();
    let title = match language {
        Language::En => format!("Report from {} to {}", figures.from, figures.to),
        Language::Fr => format!("Rapport du {} au {}", figures.from, figures.to),
    };
    let small = match language {
        Language::En => format!(
            "“{HIDDEN}” is a number from 1 to {}, or one from which such a number could be computed. Totals are always told.",
            CELL_MIN - 1
        ),
        Language::Fr => format!(
            "« {HIDDEN} » est un nombre de 1 à {}, ou un nombre d’où on pourrait le calculer. Les totaux sont toujours donnés.",
            CELL_MIN - 1
        ),
    };
    let tables = figures.tables.iter().filter(|table| has_names(table));
    let page = Page {
        w,
        title,
        coverage: coverage(figures, language),
        warning: warning(&figures.coverage, language),
        of_sources: of_sources(figures, language),
        incidents: w.incident_count(figures.incidents),
        compared: compared(figures, language),
        before: language.pick("Before", "Avant"),
        parts: tables.map(|table| part(table, figures, language)).collect(),
        grids: [destinations(figures, language), rules(figures, language)]
            .into_iter()
            .flatten()
            .chain([derogations(figures, language)])
            .collect(),
        small,
        seals: sealed(seals, language),
    };
    page.render().unwrap_or_default()
}

fn coverage(figures: &Figures, language: Language) -> Vec<(&'static str, String)> {
    let w = language.words();
    let pick = |english, french| language.pick(english, french);
    let seen = &figures.coverage;
    let mut lines = vec![
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
    if let Some(before) = &figures.before {
        let share = w.percent(before.coverage.seen_s, before.coverage.period_s);
        lines.push((pick("Time seen in the period before", "Temps vu pendant la période précédente"), share));
    }
    let told = match &figures.devices {
        None => pick("not told by the sensor", "non signalé par le capteur").to_owned(),
        Some(devices) => {
            let seen = devices.seen.map_or_else(|| HIDDEN.to_owned(), |seen| w.number(seen));
            match language {
                Language::En => format!("{seen} of {} in the month in which the period ends", w.number(devices.listed)),
                Language::Fr => {
                    format!("{seen} sur {} au cours du mois où la période se termine", w.number(devices.listed))
                }
            }
        }
    };
    lines.push((pick("Listed devices that were seen", "Appareils de l’inventaire vus"), told));
    lines
}

fn warning(seen: &Seen, language: Language) -> Option<&'static str> {
    (seen.seen_s * 10 < seen.period_s * 9).then(|| {
        language.pick(
            "Less than nine tenths of the period were seen: that something is not in this report does not prove that it did not happen.",
            "Moins de neuf dixièmes de la période ont été vus : ce qui ne figure pas dans ce rapport a pu avoir lieu.",
        )
    })
}

fn of_sources(figures: &Figures, language: Language) -> Option<Grid> {
    let w = language.words();
    let pick = |english, french| language.pick(english, french);
    let row = |source: &super::figures::OfSource| {
        let seen = &source.coverage;
        vec![
            source.name.clone(),
            w.percent(seen.seen_s, seen.period_s),
            w.duration(seen.blind_s),
            w.percent(seen.hellos_nameless, seen.hellos),
            told(source.incidents, w),
        ]
    };
    (!figures.sources.is_empty()).then(|| Grid {
        title: pick("By sensor", "Par capteur"),
        hint: "",
        head: vec![
            pick("Sensor", "Capteur"),
            pick("Time seen", "Temps vu"),
            pick("Blind", "Aveugle"),
            pick("Without a name", "Sans nom"),
            pick("Incidents", "Incidents"),
        ],
        rows: figures.sources.iter().map(row).collect(),
    })
}

fn compared(figures: &Figures, language: Language) -> Option<String> {
    let before = figures.before.as_ref()?;
    let w = language.words();
    let count = w.incident_count(before.incidents);
    Some(match language {
        Language::En => format!("Period before, {} to {}: {count}.", before.from, before.to),
        Language::Fr => format!("Période précédente, du {} au {} : {count}.", before.from, before.to),
    })
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
        (_, "") => HIDDEN.to_owned(),
        ("verdict", word) => verdict_word(language, word),
        ("service", key) => service_name(key),
        ("ban", id) => {
            let known = vigie_signatures::Bans::builtin();
            known.get(id).map_or_else(|| id.to_owned(), |ban| format!("{} ({id})", ban_title(language, ban)))
        }
        ("first_start", "yes") => pick("yes", "oui").to_owned(),
        ("first_start", _) => pick("no", "non").to_owned(),
        ("decision", "none") => w.undecided.to_owned(),
        ("decision", "taken-up") => w.taken_up.to_owned(),
        ("decision", word) => decided_word(w, word),
        (_, other) => other.to_owned(),
    };
    let has_before = figures.before.is_some() && table.by != "day";
    let line = |cell: &Cell| Line {
        name: name(&cell.name),
        count: told(cell.incidents, w),
        before: has_before.then(|| told(cell.before, w)),
        width: cell.incidents.unwrap_or_default() * 100 / figures.incidents.max(1),
    };
    Part { title, lines: table.cells.iter().map(line).collect(), has_before }
}

/// The name of a service, or its key where nothing names it.
fn service_name(key: &str) -> String {
    vigie_signatures::Bundle::builtin().service(key).map_or_else(|| key.to_owned(), |service| service.name.clone())
}

fn told(count: Option<u64>, w: &Words) -> String {
    count.map_or_else(|| HIDDEN.to_owned(), |count| w.number(count))
}

fn destinations(figures: &Figures, language: Language) -> Option<Grid> {
    let w = language.words();
    let pick = |english, french| language.pick(english, french);
    let share = |shares: Option<Shares>| {
        let permille = shares.and_then(|shares| shares.european_permille());
        permille.map_or_else(|| HIDDEN.to_owned(), |permille| w.percent(permille, 1_000))
    };
    let row = |one: &Destination| {
        let permille = |shares: Option<Shares>| shares.and_then(|shares| shares.european_permille());
        let change = permille(one.shares).zip(permille(one.before)).map(|(now, before)| {
            let points = now as f64 / 10.0 - before as f64 / 10.0;
            format!("{}{}", if points >= 0.0 { "+" } else { "−" }, w.decimal(points.abs()))
        });
        let whole = |shares: Shares| (shares.not_told, shares.bytes());
        vec![
            if one.service.is_empty() {
                pick("All services", "Tous les services").to_owned()
            } else {
                service_name(&one.service)
            },
            one.shares.map_or_else(|| HIDDEN.to_owned(), |shares| w.bytes(shares.bytes())),
            share(one.shares),
            share(one.before),
            change.unwrap_or_else(|| HIDDEN.to_owned()),
            one.shares.map(whole).map_or_else(|| HIDDEN.to_owned(), |(part, whole)| w.percent(part, whole)),
        ]
    };
    (!figures.destinations.is_empty()).then(|| Grid {
        title: pick("Where bytes went", "Où sont allés les octets"),
        hint: pick(
            "Of the bytes to hosts whose name tells a region, the share of regions in Europe, and its change in points against the period before. The region is what the host name says; it does not prove where data are kept. US-EastRed, which its operator calls the European enclave, is in the United States and counts as elsewhere.",
            "Parmi les octets vers des hôtes dont le nom dit une région, part des régions situées en Europe, et son évolution en points par rapport à la période précédente. La région est celle que dit le nom d’hôte ; elle ne prouve pas où les données sont conservées. US-EastRed, que son exploitant appelle l’enclave européenne, se trouve aux États-Unis et compte comme hors d’Europe.",
        ),
        head: vec![
            pick("Service", "Service"),
            pick("Bytes", "Octets"),
            pick("In Europe", "En Europe"),
            pick("Before", "Avant"),
            pick("Change, points", "Évolution, points"),
            pick("No region in the name", "Sans région dans le nom"),
        ],
        rows: figures.destinations.iter().map(row).collect(),
    })
}

fn rules(figures: &Figures, language: Language) -> Option<Grid> {
    let w = language.words();
    let pick = |english, french| language.pick(english, french);
    let row = |one: &RuleDecisions| {
        vec![
            one.rule.clone(),
            w.number(one.decided),
            told(one.false_alarms, w),
            one.false_alarms.map_or_else(|| HIDDEN.to_owned(), |wrong| w.percent(wrong, one.decided)),
        ]
    };
    (!figures.rules.is_empty()).then(|| Grid {
        title: pick("False alarms by rule", "Fausses alertes par règle"),
        hint: pick(
            "Of the incidents that a person confirmed or called false, those in which the rule answered. Rules with fewer than five are left out, and so are incidents whose flows were already removed.",
            "Parmi les incidents qu’une personne a confirmés ou déclarés faux, ceux où la règle a répondu. Sont omises les règles de moins de cinq incidents, et les incidents dont les flux ont déjà été supprimés.",
        ),
        head: vec![
            pick("Rule", "Règle"),
            pick("Decided", "Décidés"),
            pick("False", "Faux"),
            pick("Share", "Part"),
        ],
        rows: figures.rules.iter().map(row).collect(),
    })
}

fn derogations(figures: &Figures, language: Language) -> Grid {
    let w = language.words();
    let pick = |english, french| language.pick(english, french);
    let derogations = &figures.derogations;
    let row = |name: &str, count| vec![name.to_owned(), told(count, w)];
    Grid {
        title: pick("Derogations", "Dérogations"),
        hint: pick(
            "What a derogation excuses is not recorded, so its use is not counted here.",
            "Ce qu’une dérogation excuse n’est pas enregistré ; son usage n’est donc pas compté ici.",
        ),
        head: vec![pick("In the period", "Pendant la période"), pick("Number", "Nombre")],
        rows: vec![
            row(pick("Added to the register", "Ajoutées au registre"), derogations.added),
            row(pick("Ended early", "Closes avant terme"), derogations.ended),
            row(pick("Incidents that one closed", "Incidents clos par une dérogation"), derogations.incidents_closed),
        ],
    }
}

fn sealed(journals: &[JournalSeals], language: Language) -> Vec<(String, String)> {
    let w = language.words();
    let pick = |english, french| language.pick(english, french);
    let mut lines = Vec::new();
    for journal in journals {
        let Some(seals) = &journal.seals else {
            lines.push((journal.journal.clone(), pick("the journal cannot be read", "journal illisible").to_owned()));
            continue;
        };
        let count = w.number(seals.len() as u64);
        let missing = w.number(journal.missing);
        lines.push((
            journal.journal.clone(),
            match language {
                Language::En => format!("{count} seals, {missing} segments between them without one"),
                Language::Fr => format!("{count} scellés, {missing} segments sans scellé entre eux"),
            },
        ));
        let ends = [seals.first(), seals.last().filter(|_| seals.len() > 1)];
        lines.extend(ends.into_iter().flatten().map(|seal| {
            let name = format!("{} {}", pick("Segment", "Segment"), seal.seq);
            (name, format!("{} – {}, SHA-256 {}", seal.first, seal.last, seal.sha256))
        }));
    }
    lines
}

/// For programs.
pub fn json(figures: &Figures, seals: &[JournalSeals]) -> String {
    let report = json!({ "report": figures, "cell_min": CELL_MIN, "seals": seals });
    format!("{}\n", serde_json::to_string_pretty(&report).unwrap_or_default())
}

/// For spreadsheets: coverage first, then a line for each number.
pub fn csv(figures: &Figures) -> String {
    let mut lines = vec!["by,name,value".to_owned()];
    let mut line = |by: &str, name: &str, value: String| lines.push(format!("{by},{},{value}", field(name)));
    let seen = &figures.coverage;
    for (name, number) in [
        ("period_s", seen.period_s),
        ("seen_s", seen.seen_s),
        ("blind_s", seen.blind_s),
        ("lossy_s", seen.lossy_s),
        ("hellos", seen.hellos),
        ("hellos_nameless", seen.hellos_nameless),
        ("hellos_ech", seen.hellos_ech),
    ] {
        line("coverage", name, number.to_string());
    }
    let hidden = |count: Option<u64>| count.map_or_else(|| format!("<{CELL_MIN} or hidden"), |count| count.to_string());
    for source in &figures.sources {
        line("seen_s_of_sensor", &source.name, source.coverage.seen_s.to_string());
        line("incidents_of_sensor", &source.name, hidden(source.incidents));
    }
    if let Some(devices) = &figures.devices {
        line("devices", "listed", devices.listed.to_string());
        line("devices", "seen", hidden(devices.seen));
    }
    line("total", "", figures.incidents.to_string());
    if let Some(before) = &figures.before {
        line("total_before", "", before.incidents.to_string());
    }
    for table in &figures.tables {
        for cell in &table.cells {
            line(table.by, &cell.name, hidden(cell.incidents));
            if figures.before.is_some() && table.by != "day" {
                line(&format!("{}_before", table.by), &cell.name, hidden(cell.before));
            }
        }
    }
    for one in &figures.destinations {
        for (by, shares) in [("bytes", one.shares), ("bytes_before", one.before)] {
            let parts =
                shares.map(|shares| [shares.european, shares.elsewhere, shares.not_told]).map(|parts| parts.map(Some));
            for (part, bytes) in ["european", "elsewhere", "no_region"].iter().zip(parts.unwrap_or([None; 3])) {
                line(
                    &format!("{part}_{by}"),
                    &one.service,
                    bytes.map_or_else(|| "hidden".to_owned(), |bytes| bytes.to_string()),
                );
            }
        }
    }
    for one in &figures.rules {
        line("decided_of_rule", &one.rule, one.decided.to_string());
        line("false_alarms_of_rule", &one.rule, hidden(one.false_alarms));
    }
    for (name, count) in [
        ("added", figures.derogations.added),
        ("ended", figures.derogations.ended),
        ("incidents_closed", figures.derogations.incidents_closed),
    ] {
        line("derogations", name, hidden(count));
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
