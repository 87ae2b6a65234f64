//! `[[silence]]`: services, classes and severities that an operator silences.

use toml::de::{DeTable, DeValue};

use super::reader::{Reader, Value};
use crate::words::Class;

/// One `[[silence]]`: rules for which all that it names holds. What it leaves open holds for any rule.
#[derive(Clone, Debug, Default)]
pub(crate) struct Silence {
    pub(crate) services: Vec<String>,
    pub(crate) classes: Vec<Class>,
    pub(crate) severities: Vec<u8>,
}

impl Silence {
    /// Whether it names nothing, and would silence everything.
    pub(crate) const fn is_empty(&self) -> bool {
        self.services.is_empty() && self.classes.is_empty() && self.severities.is_empty()
    }
}

/// Reads `[[silence]]`.
pub(super) fn read(reader: &mut Reader<'_>, document: &DeTable<'_>) -> Vec<Silence> {
    let Some((_, value)) = document.iter().find(|(key, _)| key.get_ref() == "silence") else { return Vec::new() };
    let DeValue::Array(tables) = value.get_ref() else {
        reader.error(value.span().start, "silence", "silence is not a list of tables", "write [[silence]] above it");
        return Vec::new();
    };
    let mut silences = Vec::new();
    for table in tables.iter() {
        let at = table.span().start;
        let mut silence = Silence::default();
        let DeValue::Table(table) = table.get_ref() else {
            reader.error(at, "silence", "an entry of silence is no table", "write [[silence]]");
            continue;
        };
        for (key, value) in table.iter() {
            match key.get_ref().as_ref() {
                "services" => silence.services = reader.strings("services", value),
                "classes" => silence.classes = reader.words("classes", value),
                "severities" => silence.severities = severities(reader, value),
                other => reader.unknown_key(key.span().start, other, "services, classes, severities"),
            }
        }
        if silence.is_empty() {
            let mend = "name services, classes or severities";
            reader.error(at, "silence", "the silence names nothing and would silence everything", mend);
            continue;
        }
        silences.push(silence);
    }
    silences
}

fn severities(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<u8> {
    let DeValue::Array(list) = value.get_ref() else {
        reader.error(value.span().start, "severities", "severities is not a list", "write severities = [3]");
        return Vec::new();
    };
    let mut severities = Vec::new();
    for one in list.iter() {
        match reader.number("severities", one) {
            Some(severity @ 1..=3) => severities.push(severity as u8),
            Some(other) => {
                let message = format!("severities has {other}, which is not 1, 2 or 3");
                reader.error(one.span().start, "severities", message, "1 is high, 3 is low");
            }
            None => {}
        }
    }
    severities
}
