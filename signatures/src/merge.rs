//! Layers of files laid over each other: the built-in signatures, then the operator's directories.
//!
//! A rule for the same name in a later layer overrides; twice in one layer is a fault.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use foldhash::fast::FixedState;

use crate::address::{self, AddressTable};
use crate::builtin;
use crate::bundle::{Bundle, Service, SourceText};
use crate::diagnostic::{Diagnostic, Severity};
use crate::lookup::{self, Form, NameTable};
use crate::parse::{Draft, File, Header, Matches, Silence, parse};
use crate::rule::Rule;
use crate::silence;
use crate::words::{Class, MatchKind};

/// A service while layers are laid over each other.
#[derive(Debug)]
struct Gathered {
    name: String,
    owner: String,
    owner_country: String,
    category: String,
    base: u32,
    enabled: bool,
}

/// What makes two rules the same one.
type Key = (MatchKind, String, Option<u32>);

/// Layers being laid over each other.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    layers: u32,
    services: BTreeMap<String, Gathered>,
    drafts: Vec<Option<(u32, Draft)>>,
    silences: Vec<(u32, Silence)>,
    /// Where each draft stands. Without those of the layer built in until another layer is laid over it.
    index: HashMap<Key, usize, FixedState>,
}

impl Merge {
    /// The signatures built in, as the first layer. The crate's tests see to it that nothing stands in it twice.
    pub(crate) fn with_builtin(findings: &mut Vec<Diagnostic>) -> Self {
        let mut merge = Self { layers: 1, ..Self::default() };
        let mut files: Vec<File> = builtin::files().collect();
        merge.drafts.reserve(files.iter().map(|file| file.drafts.len()).sum());
        files.sort_by_key(|file| file.header.name.is_none());
        for file in files {
            if merge.announce(&file.label, &file.header, findings) {
                merge.drafts.extend(file.drafts.into_iter().map(|draft| Some((0, draft))));
            }
        }
        merge
    }

    /// Lays one more layer on top.
    pub(crate) fn with_layer(mut self, texts: &[SourceText], findings: &mut Vec<Diagnostic>) -> Self {
        let layer = self.layers;
        self.layers += 1;
        if self.index.is_empty() {
            let places = self.drafts.iter().enumerate();
            self.index = places.filter_map(|(place, slot)| Some((key(&slot.as_ref()?.1), place))).collect();
        }
        let mut files = Vec::new();
        for text in texts {
            let (file, mut faults) = parse(&text.label, &text.text);
            findings.append(&mut faults);
            self.silences.extend(file.silences.iter().map(|silence| (layer, silence.clone())));
            if file.header.silent {
                let services = vec![file.header.service.clone()];
                // Of earlier layers: what this one says of the service says by itself whether it alerts.
                self.silences.push((layer - 1, Silence { services, ..Silence::default() }));
            }
            if !file.header.service.is_empty() {
                files.push(file);
            }
        }
        for file in files.iter().filter(|file| file.header.replace) {
            self.forget(&file.header, layer);
        }
        // Files that name the service come before those that only add to it.
        files.sort_by_key(|file| file.header.name.is_none());
        let without_rules: Vec<(String, Header)> = files
            .iter()
            .filter(|file| file.header.name.is_some() && file.drafts.is_empty())
            .map(|file| (file.label.clone(), file.header.clone()))
            .collect();
        for file in files {
            if self.announce(&file.label, &file.header, findings) {
                self.add(layer, file, findings);
            }
        }
        for (label, header) in without_rules {
            self.warn_of_no_rules(&label, &header, findings);
        }
        self
    }

    /// A service that is named but has no rules is never recognised.
    fn warn_of_no_rules(&self, label: &str, header: &Header, findings: &mut Vec<Diagnostic>) {
        let service = &header.service;
        // Rules that were refused are told already.
        let is_faulty = |finding: &Diagnostic| finding.file == label && finding.severity == Severity::Error;
        if findings.iter().any(is_faulty) {
            return;
        }
        if !self.drafts.iter().flatten().any(|(_, draft)| draft.rule.service == *service) {
            let message = format!("service \"{service}\" has no rules, so it is never recognised");
            let mend = "add names, patterns, prefixes or fingerprints";
            findings.push(Diagnostic::new(Severity::Warning, label, header.line, "service", message, mend));
        }
    }

    /// Drops what earlier layers say of a service; its name and base too, if the file brings its own.
    fn forget(&mut self, header: &Header, layer: u32) {
        if header.name.is_some() && header.base.is_some() {
            self.services.remove(&header.service);
        }
        for slot in &mut self.drafts {
            if slot.as_ref().is_some_and(|(of, draft)| *of < layer && draft.rule.service == header.service) {
                *slot = None;
            }
        }
    }

    /// Makes the service known, or checks that a file agrees with what is known.
    fn announce(&mut self, label: &str, header: &Header, findings: &mut Vec<Diagnostic>) -> bool {
        let key = &header.service;
        let mut refuse = |about: &str, message: String, mend: String| {
            findings.push(Diagnostic::new(Severity::Error, label, header.line, about, message, &mend));
            false
        };
        if let Some(known) = self.services.get_mut(key) {
            if header.base.is_some_and(|base| base != known.base) {
                let message = format!("service \"{key}\" has the base {} already", known.base);
                return refuse("base", message, "leave base out, or set replace = true".to_owned());
            }
            for (new, old) in [
                (&header.name, &mut known.name),
                (&header.owner, &mut known.owner),
                (&header.owner_country, &mut known.owner_country),
                (&header.category, &mut known.category),
            ] {
                if let Some(new) = new {
                    old.clone_from(new);
                }
            }
            if let Some(enabled) = header.enabled {
                known.enabled = enabled;
            }
            return true;
        }
        let (Some(name), Some(base)) = (&header.name, header.base) else {
            let message = format!("service \"{key}\" is new and needs a name and a base");
            return refuse("name", message, "add name = \"…\" and base = a multiple of 100 from 7900000 on".to_owned());
        };
        if let Some((other, _)) = self.services.iter().find(|(_, service)| service.base == base) {
            let message = format!("base {base} belongs to service \"{other}\"");
            return refuse("base", message, "take a free multiple of 100 from 7900000 on".to_owned());
        }
        let gathered = Gathered {
            name: name.clone(),
            owner: header.owner.clone().unwrap_or_default(),
            owner_country: header.owner_country.clone().unwrap_or_default(),
            category: header.category.clone().unwrap_or_default(),
            base,
            enabled: header.enabled.unwrap_or(true),
        };
        self.services.insert(key.clone(), gathered);
        true
    }

    fn add(&mut self, layer: u32, file: File, findings: &mut Vec<Diagnostic>) {
        for draft in file.drafts {
            let place = *self.index.entry(key(&draft)).or_insert(self.drafts.len());
            match self.drafts.get_mut(place) {
                Some(Some((of, other))) if *of == layer => {
                    let Rule { text, file, line, .. } = &draft.rule;
                    let message = format!("\"{text}\" stands at {}:{} already", other.rule.file, other.rule.line);
                    findings.push(Diagnostic::new(Severity::Error, file, *line, text, message, "keep one of the two"));
                }
                Some(slot) => *slot = Some((layer, draft)),
                None => self.drafts.push(Some((layer, draft))),
            }
        }
    }

    /// The bundle that the layers make.
    pub(crate) fn finish(self, findings: &mut Vec<Diagnostic>) -> Bundle {
        let mut drafts = Vec::with_capacity(self.drafts.len());
        let services = &self.services;
        let enabled = |draft: &Draft| services.get(&draft.rule.service).is_none_or(|service| service.enabled);
        drafts.extend(self.drafts.into_iter().flatten().filter(|(_, draft)| enabled(draft)));
        let service_numbers: HashMap<&str, u32> = self.services.keys().map(String::as_str).zip(0..).collect();
        drafts.sort_by(|(_, one), (_, other)| {
            let (one, other) = (&one.rule, &other.rule);
            one.service.cmp(&other.service).then_with(|| one.file.cmp(&other.file)).then(one.line.cmp(&other.line))
        });
        for rules in drafts.chunk_by_mut(|(_, one), (_, other)| one.rule.service == other.rule.service) {
            let service = rules.first().and_then(|(_, draft)| self.services.get(&draft.rule.service));
            let Some(Gathered { name, base, .. }) = service else { continue };
            for (_, draft) in rules {
                draft.rule.service_name.clone_from(name);
                draft.rule.signature_id += base;
            }
        }
        let partly_silent = silence::apply(&mut drafts, &self.silences);
        let mut names = Vec::new();
        let mut addresses = Vec::new();
        let mut fingerprints = HashMap::default();
        let mut notes: HashMap<String, Vec<(MatchKind, String)>, FixedState> = HashMap::default();
        for (number, (layer, draft)) in (0_u32..).zip(&drafts) {
            let rule = &draft.rule;
            match &draft.matches {
                Matches::Exact => names.push((*layer, name_entry(Form::Exact(&rule.text), number, rule))),
                Matches::Suffix => names.push((*layer, name_entry(Form::Suffix(&rule.text), number, rule))),
                Matches::Pattern { head, zones } => {
                    let zones = zones.iter().map(String::as_str).collect();
                    names.push((*layer, name_entry(Form::Pattern { head, zones }, number, rule)));
                }
                Matches::Network(network) => addresses.push(address::Entry {
                    network: *network,
                    rule: number,
                    asn: rule.asn,
                    service: service_numbers.get(rule.service.as_str()).copied().unwrap_or(u32::MAX),
                    confidence: rule.confidence,
                    layer: *layer,
                    silent: rule.is_silent(),
                }),
                Matches::Ja4 => {
                    fingerprints.insert(rule.text.clone(), number);
                }
            }
            if let Some(note) = &draft.note {
                notes.entry(rule.text.clone()).or_default().push((rule.kind, note.clone()));
            }
        }
        // The operator's patterns are tried before the built-in ones; within a layer the order of files holds.
        names.sort_by_key(|(layer, _)| std::cmp::Reverse(*layer));
        let names: Vec<lookup::Entry<'_>> = names.into_iter().map(|(_, entry)| entry).collect();
        let names = NameTable::build(&names).unwrap_or_else(|(number, reason)| {
            if let Some((_, Draft { rule, .. })) = drafts.get(number as usize) {
                let message = format!("the patterns beside it cannot be compiled together: {reason}");
                findings.push(Diagnostic::new(
                    Severity::Error,
                    &rule.file,
                    rule.line,
                    &rule.text,
                    message,
                    "use fewer or simpler patterns",
                ));
            }
            NameTable::default()
        });
        let rules: Vec<Arc<Rule>> = drafts.into_iter().map(|(_, draft)| Arc::new(draft.rule)).collect();
        Bundle {
            notes,
            partly_silent,
            names,
            addresses: AddressTable::build(&addresses),
            fingerprints,
            services: summaries(&self.services, &rules),
            brands: OnceLock::new(),
            rules,
        }
    }
}

fn key(draft: &Draft) -> Key {
    let Rule { kind, text, asn, .. } = &draft.rule;
    (*kind, text.clone(), if *kind == MatchKind::Prefix { *asn } else { None })
}

fn name_entry<'t>(form: Form<'t>, number: u32, rule: &Rule) -> lookup::Entry<'t> {
    lookup::Entry { form, rule: number, dns_only: rule.class == Class::Cname }
}

/// What there is of each service; the rules come in order of service.
fn summaries(gathered: &BTreeMap<String, Gathered>, rules: &[Arc<Rule>]) -> Vec<Service> {
    gathered
        .iter()
        .map(|(key, service)| {
            let Gathered { name, owner, owner_country, category, base, enabled } = service;
            let mut service = Service {
                key: key.clone(),
                name: name.clone(),
                owner: owner.clone(),
                owner_country: owner_country.clone(),
                category: category.clone(),
                base: *base,
                enabled: *enabled,
                names: 0,
                patterns: 0,
                prefixes: 0,
                fingerprints: 0,
                alerting: 0,
                oldest_review: String::new(),
            };
            let first = rules.partition_point(|rule| rule.service < *key);
            for rule in rules.iter().skip(first).take_while(|rule| rule.service == *key) {
                match rule.kind {
                    MatchKind::Exact | MatchKind::Suffix => service.names += 1,
                    MatchKind::Pattern => service.patterns += 1,
                    MatchKind::Prefix => service.prefixes += 1,
                    MatchKind::Ja4 => service.fingerprints += 1,
                }
                service.alerting += usize::from(rule.raises_alert());
                if service.oldest_review.is_empty() || rule.reviewed < service.oldest_review {
                    service.oldest_review.clone_from(&rule.reviewed);
                }
            }
            service
        })
        .collect()
}
