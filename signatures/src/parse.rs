//! One TOML file of a bundle, read into rules, with a finding for every fault.
//!
//! Reads one file alone: what two files say of each other is the bundle's matter. The format is told in README.md.

use serde_spanned::Spanned;
use time::{Date, Month};
use toml::de::{DeTable, DeValue};

use crate::address::Network;
use crate::diagnostic::{Diagnostic, Severity};
use crate::judgement::{SERVICE_IDS, place};
use crate::normalise::{LABEL_BYTES_MAX, NAME_BYTES_MAX, Name, normalise};
use crate::pattern;
use crate::rule::{Confidence, MatchKind, Role, Rule, Signal};

/// Findings kept per file; a file that has more is not read by anyone.
const DIAGNOSTICS_MAX: usize = 200;

/// What a rule matches, as far as its text does not say it.
#[derive(Clone, Debug)]
pub(crate) enum Matches {
    Exact,
    Suffix,
    Pattern {
        /// Regular expression that the labels before a zone must match whole.
        head: String,
        /// Names below which the pattern is tried.
        zones: Vec<String>,
    },
    Network(Network),
    Ja4,
}

/// A rule as read. Its id still lacks the service's base, its service the name.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) rule: Rule,
    pub(crate) matches: Matches,
    pub(crate) note: Option<String>,
}

/// What a file says about the service as a whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Header {
    pub(crate) service: String,
    pub(crate) name: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) category: Option<String>,
    pub(crate) base: Option<u32>,
    pub(crate) replace: bool,
    /// Line of the `service` key.
    pub(crate) line: u32,
}

/// A file as read.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    pub(crate) label: String,
    pub(crate) header: Header,
    pub(crate) drafts: Vec<Draft>,
}

/// Reads one file. What is faulty is left out of the file and told.
pub(crate) fn parse(label: &str, text: &str) -> (File, Vec<Diagnostic>) {
    let mut reader = Reader::new(label, text);
    let (document, faults) = DeTable::parse_recoverable(text);
    for fault in faults {
        let at = fault.span().map_or(0, |span| span.start);
        reader.error(at, "", format!("not TOML: {}", fault.message()), "see https://toml.io for the syntax");
    }
    let file = if reader.diagnostics.is_empty() { reader.document(document.get_ref()) } else { File::default() };
    (File { label: label.to_owned(), ..file }, reader.diagnostics)
}

/// Reads a day written `YYYY-MM-DD`.
pub(crate) fn parse_day(text: &str) -> Option<Date> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    if (year.len(), month.len(), day.len()) != (4, 2, 2) {
        return None;
    }
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()
}

/// What a rule proves and who says so: set for a file, refined by a group, refined by a single rule.
#[derive(Clone, Debug, Default)]
struct Facts {
    role: Option<Role>,
    signal: Option<Signal>,
    confidence: Option<Confidence>,
    sources: Vec<String>,
    reviewed: Option<String>,
    alert: Option<bool>,
    note: Option<String>,
    asn: Option<u32>,
}

const FACT_KEYS: [&str; 8] = ["role", "signal", "confidence", "sources", "reviewed", "alert", "note", "asn"];
const HEADER_KEYS: [&str; 7] = ["service", "name", "owner", "category", "base", "replace", "reviewed"];
const GROUP_KEYS: [&str; 4] = ["names", "patterns", "prefixes", "fingerprints"];

type Value<'i> = Spanned<DeValue<'i>>;

struct Reader<'t> {
    label: &'t str,
    line_starts: Vec<usize>,
    diagnostics: Vec<Diagnostic>,
}

impl<'t> Reader<'t> {
    fn new(label: &'t str, text: &'t str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { label, line_starts: std::iter::once(0).chain(ends).collect(), diagnostics: Vec::new() }
    }

    fn line(&self, at: usize) -> u32 {
        self.line_starts.partition_point(|start| *start <= at) as u32
    }

    fn error(&mut self, at: usize, key: &str, message: impl Into<String>, mend: impl Into<String>) {
        if self.diagnostics.len() < DIAGNOSTICS_MAX {
            let line = self.line(at);
            self.diagnostics.push(Diagnostic::new(Severity::Error, self.label, line, key, message, mend));
        }
    }

    fn document(&mut self, document: &DeTable<'_>) -> File {
        let mut header = Header::default();
        let mut shared = Facts::default();
        for (key, value) in document.iter() {
            match key.get_ref().as_ref() {
                "service" => {
                    header.line = self.line(key.span().start);
                    header.service = self.service_key(value).unwrap_or_default();
                }
                "name" => header.name = self.string("name", value),
                "owner" => header.owner = self.string("owner", value),
                "category" => header.category = self.string("category", value),
                "base" => header.base = self.base(value),
                "replace" => header.replace = self.boolean("replace", value).unwrap_or_default(),
                "reviewed" => shared.reviewed = self.day(value),
                group if GROUP_KEYS.contains(&group) => {}
                other => {
                    let known = [&HEADER_KEYS[..], &GROUP_KEYS].concat().join(", ");
                    self.unknown_key(key.span().start, other, &known);
                }
            }
        }
        if !document.iter().any(|(key, _)| key.get_ref() == "service") {
            self.error(0, "service", "the service is missing", "begin the file with service = \"key-of-the-service\"");
        }
        let mut file = File { label: String::new(), header, drafts: Vec::new() };
        // Patterns first: they keep the order of the file.
        for group in GROUP_KEYS {
            let found = document.iter().find(|(key, _)| key.get_ref() == group);
            let Some((_, value)) = found else { continue };
            let DeValue::Array(tables) = value.get_ref() else {
                let mend = format!("write [[{group}]] above it");
                self.error(value.span().start, group, format!("{group} is not a list of tables"), mend);
                continue;
            };
            for table in tables.iter() {
                self.group(group, table, &shared, &mut file);
            }
        }
        file
    }

    fn group(&mut self, group: &str, table: &Value<'_>, shared: &Facts, file: &mut File) {
        let at = table.span().start;
        let DeValue::Table(table) = table.get_ref() else {
            return self.error(at, group, format!("an entry of {group} is no table"), format!("write [[{group}]]"));
        };
        let mut facts = shared.clone();
        let own_keys: &[&str] = match group {
            "names" => &["exact", "suffix"],
            "patterns" => &["pattern", "zones"],
            "prefixes" => &["prefix"],
            _ => &["ja4"],
        };
        for (key, value) in table.iter() {
            let word = key.get_ref().as_ref();
            if !own_keys.contains(&word) && !self.fact(&mut facts, word, value) {
                let known = [own_keys, &FACT_KEYS].concat().join(", ");
                self.unknown_key(key.span().start, word, &known);
            }
        }
        let before = file.drafts.len();
        let mut group = Group { at, facts, file, faulty: false };
        for (key, value) in table.iter() {
            match key.get_ref().as_ref() {
                "exact" => self.each(&mut group, "exact", value, |text| host(text).map(|()| Matches::Exact)),
                "suffix" => self.each(&mut group, "suffix", value, |text| host(text).map(|()| Matches::Suffix)),
                "prefix" => self.each(&mut group, "prefix", value, |text| match text.parse::<Network>() {
                    Ok(network) => Ok(Matches::Network(network)),
                    Err(message) => Err((message, "write it as 192.0.2.0/24 or 2001:db8::/32".to_owned())),
                }),
                "ja4" => self.each(&mut group, "ja4", value, ja4),
                "pattern" => self.pattern(&mut group, table, value),
                _ => {}
            }
        }
        if group.file.drafts.len() == before && self.diagnostics.is_empty() {
            let mend = format!("give it {}", own_keys.join(" or "));
            self.error(at, "", "the group has no rule in it", mend);
        }
    }

    /// Every rule of a list, or of a table from rule to sources or facts.
    fn each(
        &mut self,
        group: &mut Group<'_>,
        key: &str,
        value: &Value<'_>,
        read: impl Fn(&str) -> Result<Matches, (String, String)>,
    ) {
        match value.get_ref() {
            DeValue::Array(list) => {
                for one in list.iter() {
                    let at = one.span().start;
                    let Some(text) = one.get_ref().as_str() else {
                        self.error(at, key, format!("an entry of {key} is not a string"), "put it in quotes");
                        continue;
                    };
                    let facts = group.facts.clone();
                    self.rule(group, at, text, read(text), facts);
                }
            }
            DeValue::Table(table) => {
                for (name, value) in table.iter() {
                    let (at, text) = (name.span().start, name.get_ref().as_ref());
                    let facts = self.own_facts(group, text, value);
                    self.rule(group, at, text, read(text), facts);
                }
            }
            _ => self.error(value.span().start, key, format!("{key} is neither list nor table"), "write a list"),
        }
    }

    /// What a single rule adds to its group: its sources, or a table of facts.
    fn own_facts(&mut self, group: &Group<'_>, text: &str, value: &Value<'_>) -> Facts {
        let mut facts = group.facts.clone();
        match value.get_ref() {
            DeValue::Table(table) => {
                for (key, value) in table.iter() {
                    let word = key.get_ref().as_ref();
                    if !self.fact(&mut facts, word, value) {
                        self.unknown_key(key.span().start, word, &FACT_KEYS.join(", "));
                    }
                }
            }
            DeValue::Array(_) => facts.sources = self.strings("sources", value),
            _ => {
                let mend = "write a list of sources, or a table such as { sources = [\"…\"], alert = false }";
                self.error(value.span().start, text, format!("\"{text}\" has neither sources nor a table"), mend);
            }
        }
        facts
    }

    fn pattern(&mut self, group: &mut Group<'_>, table: &DeTable<'_>, value: &Value<'_>) {
        let at = value.span().start;
        let Some(head) = self.string("pattern", value) else { return };
        let zones = table.iter().find(|(key, _)| key.get_ref() == "zones");
        let zones: Vec<String> = match zones {
            Some((_, zones)) => self.strings("zones", zones),
            None => Vec::new(),
        };
        if zones.is_empty() {
            let mend = "add zones = [\"example.com\"], the names below which the pattern is tried";
            return self.error(at, "zones", "the pattern has no zones", mend);
        }
        let mut sound = Ok(());
        for zone in &zones {
            sound = sound.and(host(zone));
        }
        if head.is_empty() || head.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii_graphic()) {
            sound = Err((format!("pattern \"{head}\" is empty or not in lower-case ASCII"), LOWER_CASE.to_owned()));
        }
        if let Err(reason) = pattern::read(&head).and_then(|head| pattern::program(&[head])) {
            let mend = "mend the regular expression; it must match the labels before the zone whole".to_owned();
            sound = Err((format!("pattern \"{head}\": {reason}"), mend));
        }
        let escaped: Vec<String> = zones.iter().map(|zone| zone.replace('.', "\\.")).collect();
        let text = format!("^(?:{head})\\.(?:{})$", escaped.join("|"));
        let facts = group.facts.clone();
        let matches = sound.map(|()| Matches::Pattern { head, zones });
        self.rule(group, at, &text, matches, facts);
    }

    fn rule(
        &mut self,
        group: &mut Group<'_>,
        at: usize,
        text: &str,
        matches: Result<Matches, (String, String)>,
        facts: Facts,
    ) {
        let matches = match matches {
            Ok(matches) => matches,
            Err((message, mend)) => return self.error(at, text, message, mend),
        };
        let (Some(role), Some(signal), Some(confidence)) = (facts.role, facts.signal, facts.confidence) else {
            return self.missing_word(group, text, &facts);
        };
        if facts.sources.is_empty() {
            let mend = "say who says so: sources = [\"…\"] on the group or the rule";
            return self.error(at, text, format!("\"{text}\" has no source"), mend);
        }
        let Some(reviewed) = facts.reviewed else {
            let mend = "add reviewed = \"YYYY-MM-DD\" to the file, the group or the rule";
            return self.error(at, text, format!("\"{text}\" has no review date"), mend);
        };
        let kind = match &matches {
            Matches::Exact => MatchKind::Exact,
            Matches::Suffix => MatchKind::Suffix,
            Matches::Pattern { .. } => MatchKind::Pattern,
            Matches::Network(_) => MatchKind::Prefix,
            Matches::Ja4 => MatchKind::Ja4,
        };
        let text = if let Matches::Network(network) = &matches { network.to_string() } else { text.to_owned() };
        let rule = Rule {
            signature_id: place(kind, signal, facts.alert.unwrap_or(true)),
            service: group.file.header.service.clone(),
            service_name: String::new(),
            role,
            signal,
            confidence,
            kind,
            text,
            asn: facts.asn,
            sources: facts.sources,
            reviewed,
            file: self.label.to_owned(),
            line: self.line(at),
        };
        group.file.drafts.push(Draft { rule, matches, note: facts.note });
    }

    /// Told once per group: its rules all miss the same word.
    fn missing_word(&mut self, group: &mut Group<'_>, text: &str, facts: &Facts) {
        if std::mem::replace(&mut group.faulty, true) || !self.diagnostics.is_empty() {
            return;
        }
        let (key, words) = match (facts.role, facts.signal) {
            (None, _) => ("role", Role::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(", ")),
            (_, None) => ("signal", Signal::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(", ")),
            _ => ("confidence", Confidence::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(", ")),
        };
        self.error(group.at, key, format!("\"{text}\" has no {key}"), format!("add {key} = one of {words}"));
    }

    /// Takes a key that every kind of rule has; false if it is none of them.
    fn fact(&mut self, facts: &mut Facts, key: &str, value: &Value<'_>) -> bool {
        match key {
            "role" => facts.role = self.word("role", value),
            "signal" => facts.signal = self.word("signal", value),
            "confidence" => facts.confidence = self.word("confidence", value),
            "sources" => facts.sources = self.strings("sources", value),
            "reviewed" => facts.reviewed = self.day(value),
            "alert" => facts.alert = self.boolean("alert", value),
            "note" => facts.note = self.string("note", value),
            "asn" => facts.asn = self.number("asn", value),
            _ => return false,
        }
        true
    }

    fn unknown_key(&mut self, at: usize, key: &str, known: &str) {
        self.error(at, key, format!("unknown key \"{key}\""), format!("use one of {known}"));
    }

    fn string(&mut self, key: &str, value: &Value<'_>) -> Option<String> {
        let text = value.get_ref().as_str().map(str::trim).filter(|text| !text.is_empty());
        if text.is_none() {
            self.error(value.span().start, key, format!("{key} is not a string with something in it"), "quote a text");
        }
        text.map(str::to_owned)
    }

    fn strings(&mut self, key: &str, value: &Value<'_>) -> Vec<String> {
        let DeValue::Array(list) = value.get_ref() else {
            self.error(value.span().start, key, format!("{key} is not a list"), format!("write {key} = [\"…\"]"));
            return Vec::new();
        };
        list.iter().filter_map(|one| self.string(key, one)).collect()
    }

    fn boolean(&mut self, key: &str, value: &Value<'_>) -> Option<bool> {
        let truth = value.get_ref().as_bool();
        if truth.is_none() {
            self.error(value.span().start, key, format!("{key} is not true or false"), "write true or false");
        }
        truth
    }

    fn number(&mut self, key: &str, value: &Value<'_>) -> Option<u32> {
        let number = value.get_ref().as_integer();
        let number = number.and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
        if number.is_none() {
            self.error(value.span().start, key, format!("{key} is not a number of 32 bits"), "write a plain number");
        }
        number
    }

    fn word<W: std::str::FromStr<Err = String>>(&mut self, key: &str, value: &Value<'_>) -> Option<W> {
        let text = self.string(key, value)?;
        match text.parse() {
            Ok(word) => Some(word),
            Err(message) => {
                self.error(value.span().start, key, format!("{key} {message}"), "write one of these words");
                None
            }
        }
    }

    fn day(&mut self, value: &Value<'_>) -> Option<String> {
        let text = self.string("reviewed", value)?;
        if parse_day(&text).is_none() {
            let message = format!("reviewed \"{text}\" is not a day");
            self.error(value.span().start, "reviewed", message, "write it as \"YYYY-MM-DD\"");
            return None;
        }
        Some(text)
    }

    fn base(&mut self, value: &Value<'_>) -> Option<u32> {
        let base = self.number("base", value)?;
        if base == 0 || base % SERVICE_IDS != 0 || base.checked_add(SERVICE_IDS).is_none() {
            let message = format!("base {base} is not a positive multiple of {SERVICE_IDS}");
            self.error(value.span().start, "base", message, "take a free one from 7900000 on");
            return None;
        }
        Some(base)
    }

    fn service_key(&mut self, value: &Value<'_>) -> Option<String> {
        let text = self.string("service", value)?;
        let sound = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')) && text.len() <= 64;
        if !sound {
            let message = format!("service \"{text}\" is not a key");
            self.error(value.span().start, "service", message, "use at most 64 of a-z, 0-9 and -");
            return None;
        }
        Some(text)
    }
}

/// A group while its rules are read.
struct Group<'f> {
    at: usize,
    facts: Facts,
    file: &'f mut File,
    /// A missing word was told already.
    faulty: bool,
}

const LOWER_CASE: &str = "write it in lower case";

/// Checks a name as rules write it: normal form, at least two labels.
fn host(text: &str) -> Result<(), (String, String)> {
    let mut buffer = [0; 256];
    let mend = match normalise(text.as_bytes(), &mut buffer) {
        Name::Host(name) if name == text && name.contains('.') => return Ok(()),
        Name::Host(name) if name == text => "give at least two labels".to_owned(),
        Name::Host(name) => format!("write it as \"{name}\""),
        Name::IpLiteral(_) => "addresses belong under [[prefixes]]".to_owned(),
        Name::NotAHostName if text.contains('*') => "leave the star out: suffix matches everything below".to_owned(),
        Name::NotAHostName => format!(
            "use labels of up to {LABEL_BYTES_MAX} letters, digits, hyphens and underscores, {NAME_BYTES_MAX} in all"
        ),
    };
    Err((format!("\"{text}\" is not a host name as rules write it"), mend))
}

/// Checks a JA4 fingerprint by its shape: ten characters, and two truncated hashes.
fn ja4(text: &str) -> Result<Matches, (String, String)> {
    if is_ja4(text) {
        return Ok(Matches::Ja4);
    }
    Err((format!("\"{text}\" is not a JA4 fingerprint"), "write it as t13d1516h2_8daaf6152771_e5627efa2ab1".to_owned()))
}

/// Has a text the shape of a JA4 fingerprint?
pub(crate) fn is_ja4(text: &str) -> bool {
    let mut parts = text.split('_');
    let (head, ciphers, extensions) = (parts.next(), parts.next(), parts.next());
    let hash = |part: Option<&str>| {
        part.is_some_and(|part| part.len() == 12 && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
    };
    let sound = head.is_some_and(|head| {
        head.len() == 10 && head.starts_with(['t', 'q', 'd']) && head.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    sound && hash(ciphers) && hash(extensions) && parts.next().is_none()
}
