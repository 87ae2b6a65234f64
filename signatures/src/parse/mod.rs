//! One TOML file of a bundle, read into rules, with a finding for every fault.
//!
//! It reads one file alone; the merge checks what files say of each other. README.md describes the format.

mod facts;
mod groups;
mod old_words;
pub(crate) mod reader;
mod silences;
mod texts;

use toml::de::{DeTable, DeValue};

use crate::address::Network;
use crate::diagnostic::Diagnostic;
use crate::id::SERVICE_IDS;
use crate::rule::Rule;
use facts::Facts;
use reader::{Reader, Value};

pub(crate) use reader::parse_day;
pub(crate) use silences::Silence;
pub(crate) use texts::is_ja4;

/// What a rule matches, as far as its text does not tell it.
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
    pub(crate) owner_country: Option<String>,
    pub(crate) category: Option<String>,
    pub(crate) base: Option<u32>,
    pub(crate) replace: bool,
    /// Whether its rules answer; a later file may say otherwise.
    pub(crate) enabled: Option<bool>,
    /// Whether the file silences the whole service: `alert = false` at its top.
    pub(crate) silent: bool,
    /// Line of the `service` key.
    pub(crate) line: u32,
}

/// A file as read.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    pub(crate) label: String,
    pub(crate) header: Header,
    pub(crate) drafts: Vec<Draft>,
    pub(crate) silences: Vec<Silence>,
}

const HEADER_KEYS: [&str; 10] =
    ["service", "name", "owner", "owner_country", "category", "base", "replace", "enabled", "alert", "reviewed"];
/// In the order in which they are read.
const GROUP_KEYS: [&str; 4] = ["names", "patterns", "prefixes", "fingerprints"];

/// Reads one file. Faulty parts are left out of the file, each with a finding.
pub(crate) fn parse(label: &str, text: &str) -> (File, Vec<Diagnostic>) {
    let mut reader = Reader::new(label, text);
    let (document, faults) = DeTable::parse_recoverable(text);
    for fault in faults {
        let at = fault.span().map_or(0, |span| span.start);
        reader.error(at, "", format!("not TOML: {}", fault.message()), "see https://toml.io for the syntax");
    }
    let file = if reader.has_errors() { File::default() } else { read_document(&mut reader, document.get_ref()) };
    (File { label: label.to_owned(), ..file }, reader.into_findings())
}

fn read_document(reader: &mut Reader<'_>, document: &DeTable<'_>) -> File {
    let mut header = Header::default();
    let mut shared = Facts::default();
    for (key, value) in document.iter() {
        match key.get_ref().as_ref() {
            "service" => {
                header.line = reader.line(key.span().start);
                header.service = service_key(reader, value).unwrap_or_default();
            }
            "name" => header.name = reader.string("name", value),
            "owner" => header.owner = reader.string("owner", value),
            "owner_country" => header.owner_country = owner_country(reader, value),
            "category" => header.category = reader.string("category", value),
            "base" => header.base = base(reader, value),
            "replace" => header.replace = reader.boolean("replace", value).unwrap_or_default(),
            "alert" => {
                shared.alert = reader.boolean("alert", value);
                header.silent = shared.alert == Some(false);
            }
            "silence" => {}
            "enabled" => header.enabled = reader.boolean("enabled", value),
            "reviewed" => shared.reviewed = reader.day("reviewed", value),
            group if GROUP_KEYS.contains(&group) => {}
            other => {
                let known = [&HEADER_KEYS[..], &GROUP_KEYS].concat().join(", ");
                reader.unknown_key(key.span().start, other, &known);
            }
        }
    }
    let silences = silences::read(reader, document);
    if silences.is_empty() && !document.iter().any(|(key, _)| key.get_ref() == "service") {
        reader.error(0, "service", "the service is missing", "begin the file with service = \"key-of-the-service\"");
    }
    let mut file = File { label: String::new(), header, drafts: Vec::new(), silences };
    for group in GROUP_KEYS {
        let found = document.iter().find(|(key, _)| key.get_ref() == group);
        let Some((_, value)) = found else { continue };
        let DeValue::Array(tables) = value.get_ref() else {
            let mend = format!("write [[{group}]] above it");
            reader.error(value.span().start, group, format!("{group} is not a list of tables"), mend);
            continue;
        };
        for table in tables.iter() {
            groups::read_group(reader, group, table, &shared, &mut file);
        }
    }
    file
}

fn base(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<u32> {
    let base = reader.number("base", value)?;
    if base == 0 || base % SERVICE_IDS != 0 || base.checked_add(SERVICE_IDS).is_none() {
        let message = format!("base {base} is not a positive multiple of {SERVICE_IDS}");
        reader.error(value.span().start, "base", message, "take a free one from 7900000 on");
        return None;
    }
    Some(base)
}

fn service_key(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
    let text = reader.string("service", value)?;
    if !texts::is_key(&text) {
        let message = format!("service \"{text}\" is not a key");
        reader.error(value.span().start, "service", message, "use at most 64 of a-z, 0-9 and -");
        return None;
    }
    Some(text)
}

/// Two letters as in ISO 3166-1.
fn owner_country(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
    let text = reader.string("owner_country", value)?;
    if text.len() != 2 || !text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        let message = format!("owner_country \"{text}\" is not a country code");
        reader.error(value.span().start, "owner_country", message, "write two capital letters, such as \"CN\"");
        return None;
    }
    Some(text)
}
