//! Which hello is a current browser's and which an app's own stack's: dated data, by JA4.
//!
//! In go TOML files, those of `clients/` or an operator's; out come answers for a fingerprint and a day. A fingerprint
//! supports a name and proves nothing by itself: unrelated programs share it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use time::Date;
use toml::de::{DeTable, DeValue};

use crate::bundle::{SourceText, read_directory};
use crate::diagnostic::{Diagnostic, Severity, missing_keys};
use crate::parse::reader::{Reader, Value};
use crate::parse::{is_ja4, parse_day};
use crate::words::words;

words! {
    /// What makes a hello.
    StackKind {
        /// A browser.
        Browser = "browser",
        /// The network stack of an app.
        App = "app",
        /// A library that browsers and apps share: it tells nothing.
        Library = "library",
    }
}

/// A network stack and the days on which it was in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// What it is.
    pub kind: StackKind,
    /// For people.
    pub name: String,
    /// Keys of the services whose apps have it.
    pub services: Vec<String>,
    /// First day.
    pub from: Date,
    /// Last day; none while it is in use.
    pub until: Option<Date>,
    /// Codes of the sources.
    pub sources: Vec<String>,
    /// Day of the last review, `YYYY-MM-DD`.
    pub reviewed: String,
    /// Fingerprints; one that ends in `*` stands for any third part.
    pub ja4: Vec<String>,
}

impl Stack {
    /// Was it in use on this day?
    pub fn is_current(&self, day: Date) -> bool {
        self.from <= day && self.until.is_none_or(|last| day <= last)
    }
}

/// All stacks that are known, by fingerprint.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    stacks: Vec<Arc<Stack>>,
    /// By the whole fingerprint, or by its first two parts with the underscore behind them.
    by_ja4: HashMap<String, Vec<usize>>,
}

/// Bytes of a fingerprint's first two parts, each with its underscore.
const HEAD_BYTES: usize = 24;

static BUILTIN: LazyLock<(Arc<Clients>, Vec<Diagnostic>)> = LazyLock::new(|| {
    let files = [
        ("clients/apps.toml", include_str!("../clients/apps.toml")),
        ("clients/browsers.toml", include_str!("../clients/browsers.toml")),
    ];
    let texts = files.map(|(label, text)| SourceText { label: label.to_owned(), text: text.to_owned() });
    let mut findings = Vec::new();
    let clients = Clients::default().with_layer(&texts, &mut findings);
    (Arc::new(clients), findings)
});

impl Clients {
    /// The stacks built in. Read once.
    pub fn builtin() -> Arc<Self> {
        Arc::clone(&BUILTIN.0)
    }

    /// The stacks built in and those of files or folders.
    ///
    /// # Errors
    /// All findings, if one of them is an error.
    pub fn from_files(paths: &[PathBuf]) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut findings = Vec::new();
        let layers: Vec<Vec<SourceText>> = paths.iter().map(|path| read_directory(path, &mut findings)).collect();
        Self::assemble(&layers, findings)
    }

    /// As [`Clients::from_files`], from texts.
    ///
    /// # Errors
    /// All findings, if one of them is an error.
    pub fn from_texts(texts: &[SourceText]) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        Self::assemble(&[texts.to_vec()], Vec::new())
    }

    fn assemble(
        layers: &[Vec<SourceText>],
        mut findings: Vec<Diagnostic>,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let builtin = Self::clone(&Self::builtin());
        let clients = layers.iter().fold(builtin, |clients, layer| clients.with_layer(layer, &mut findings));
        if findings.iter().any(|finding| finding.severity == Severity::Error) {
            return Err(findings);
        }
        Ok((clients, findings))
    }

    fn with_layer(mut self, texts: &[SourceText], findings: &mut Vec<Diagnostic>) -> Self {
        for text in texts {
            for stack in read(text, findings) {
                for ja4 in &stack.ja4 {
                    let key = ja4.strip_suffix('*').unwrap_or(ja4);
                    self.by_ja4.entry(key.to_owned()).or_default().push(self.stacks.len());
                }
                self.stacks.push(Arc::new(stack));
            }
        }
        self
    }

    /// All stacks, in order of file.
    pub fn stacks(&self) -> &[Arc<Stack>] {
        &self.stacks
    }

    /// The stacks that have a fingerprint, whenever that was.
    pub fn with_ja4(&self, ja4: &str) -> impl Iterator<Item = &Arc<Stack>> {
        let head = ja4.get(..HEAD_BYTES).unwrap_or_default();
        let numbers = [self.by_ja4.get(ja4), self.by_ja4.get(head)].into_iter().flatten().flatten();
        numbers.filter_map(|number| self.stacks.get(*number))
    }

    /// Is it the fingerprint of a browser that was current on this day, and of no shared library?
    pub fn is_current_browser(&self, ja4: &str, day: Date) -> bool {
        let current = || self.with_ja4(ja4).filter(|stack| stack.is_current(day));
        current().any(|stack| stack.kind == StackKind::Browser)
            && !current().any(|stack| stack.kind == StackKind::Library)
    }

    /// Is it the fingerprint of the stack that the service's own app had on this day?
    pub fn is_app(&self, ja4: &str, service: &str, day: Date) -> bool {
        let of_service = |stack: &Arc<Stack>| stack.services.iter().any(|key| key == service);
        self.with_ja4(ja4).any(|stack| stack.kind == StackKind::App && stack.is_current(day) && of_service(stack))
    }
}

const KEYS: [&str; 8] = ["kind", "name", "services", "from", "until", "sources", "reviewed", "ja4"];

fn read(text: &SourceText, findings: &mut Vec<Diagnostic>) -> Vec<Stack> {
    let mut reader = Reader::new(&text.label, &text.text);
    let (document, faults) = DeTable::parse_recoverable(&text.text);
    for fault in faults {
        let at = fault.span().map_or(0, |span| span.start);
        reader.error(at, "", format!("not TOML: {}", fault.message()), "see https://toml.io for the syntax");
    }
    let mut stacks = Vec::new();
    if !reader.has_errors() {
        for (key, value) in document.get_ref().iter() {
            let DeValue::Array(tables) = value.get_ref() else {
                reader.unknown_key(key.span().start, key.get_ref(), "[[stack]]");
                continue;
            };
            if key.get_ref() != "stack" {
                reader.unknown_key(key.span().start, key.get_ref(), "[[stack]]");
                continue;
            }
            stacks.extend(tables.iter().filter_map(|table| read_stack(&mut reader, table)));
        }
    }
    findings.append(&mut reader.into_findings());
    stacks
}

fn read_stack(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Stack> {
    let at = value.span().start;
    let DeValue::Table(table) = value.get_ref() else {
        reader.error(at, "stack", "an entry of stack is no table", "write [[stack]]");
        return None;
    };
    for (key, _) in table.iter() {
        if !KEYS.contains(&key.get_ref().as_ref()) {
            reader.unknown_key(key.span().start, key.get_ref(), &KEYS.join(", "));
        }
    }
    let mut missing = vec!["kind", "name", "from", "sources", "reviewed", "ja4"];
    missing.retain(|key| !table.contains_key(*key));
    if let Some(first) = missing.first() {
        reader.error(at, first, missing_keys(&missing), "add what is missing to the stack");
        return None;
    }
    let of = |key: &str| table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value);
    let mut day = |key: &str| of(key).and_then(|value| parse_day(&reader.day(key, value)?));
    let (from, until) = (day("from"), day("until"));
    let ja4 = reader.strings("ja4", of("ja4")?);
    for fingerprint in &ja4 {
        let whole =
            fingerprint.strip_suffix('*').map_or_else(|| fingerprint.clone(), |head| format!("{head}{:012}", 0));
        if !is_ja4(&whole) {
            let mend = "write it as t13d1516h2_8daaf6152771_e5627efa2ab1, or with * as its third part";
            reader.error(at, fingerprint, format!("\"{fingerprint}\" is not a JA4 fingerprint"), mend);
        }
    }
    let stack = Stack {
        kind: reader.word("kind", of("kind")?)?,
        name: reader.string("name", of("name")?)?,
        services: of("services").map(|value| reader.strings("services", value)).unwrap_or_default(),
        from: from?,
        until,
        sources: reader.strings("sources", of("sources")?),
        reviewed: reader.day("reviewed", of("reviewed")?)?,
        ja4,
    };
    if (stack.kind == StackKind::App) == stack.services.is_empty() {
        let message = "an app's stack names the services whose app it is, other stacks name none";
        reader.error(at, "services", message, "add or leave out services = [\"…\"]");
    }
    Some(stack)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    const TODAY: Date = date!(2026 - 11 - 27);
    const CHROME: &str = "t13d1516h2_8daaf6152771_d8a2da3f94cd";
    const APP: &str = "t13d1516h2_8daaf6152771_e5627efa2ab1";

    #[test]
    fn browsers_and_apps_are_told_apart_by_day() {
        assert_eq!(BUILTIN.1, []);
        let clients = Clients::builtin();
        assert!(clients.is_current_browser(CHROME, TODAY) && !clients.is_app(CHROME, "tiktok", TODAY));
        assert!(clients.is_current_browser("q13d0312h3_55b375c5d22e_178839b6cec1", TODAY));
        assert!(!clients.is_current_browser(CHROME, date!(2024 - 06 - 01)));
        assert!(clients.is_app(APP, "tiktok", TODAY) && !clients.is_current_browser(APP, TODAY));
        assert!(!clients.is_app(APP, "netflix", TODAY) && !clients.is_app(APP, "tiktok", date!(2020 - 01 - 01)));
        let older = "t13d1516h2_8daaf6152771_02713d6af862";
        assert!(clients.is_current_browser(older, date!(2024 - 06 - 01)) && !clients.is_current_browser(older, TODAY));
        for nothing in ["", "t13d2014h2_a09f3c656075_e42f34c56612", "t13d2014h2_a09f3c656075_", "é".repeat(30).as_str()]
        {
            assert!(
                !clients.is_current_browser(nothing, TODAY) && !clients.is_app(nothing, "tiktok", TODAY),
                "{nothing}"
            );
        }
        assert_eq!(clients.with_ja4("t13d2014h2_a09f3c656075_e42f34c56612").count(), 1);
    }

    #[test]
    fn an_operator_adds_stacks_and_faults_have_their_place() {
        let own = "[[stack]]\nkind = \"browser\"\nname = \"Ours\"\nfrom = \"2026-01-01\"\nsources = [\"us\"]\n\
                   reviewed = \"2026-11-27\"\nja4 = [\"t13d2014h2_a09f3c656075_000000000001\"]\n";
        let load = |text: &str| Clients::from_texts(&[SourceText { label: "own.toml".into(), text: text.into() }]);
        let (clients, findings) = load(own).unwrap();
        assert_eq!(findings, []);
        let shared = "t13d2014h2_a09f3c656075_000000000001";
        assert!(!clients.is_current_browser(shared, TODAY), "a library that apps share never counts as a browser");
        for (from, to, expected) in [
            ("from = \"2026-01-01\"\n", "", "from is missing; add"),
            ("kind = \"browser\"\nname = \"Ours\"\n", "", "kind and name are missing; add"),
            ("browser", "phone", "kind \"phone\" is not one of browser, app, library"),
            ("browser", "app", "names the services"),
            ("_000000000001", "_x", "not a JA4 fingerprint"),
            ("[[stack]]", "[[stacks]]", "unknown key \"stacks\""),
            ("name =", "title = \"x\"\nname =", "unknown key \"title\""),
        ] {
            let findings = load(&own.replacen(from, to, 1)).expect_err(to);
            assert!(findings[0].to_string().starts_with("own.toml:1") || findings[0].line > 1, "{}", findings[0]);
            assert!(findings[0].to_string().contains(expected), "{}", findings[0]);
        }
    }
}
