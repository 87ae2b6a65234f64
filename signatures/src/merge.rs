//! Layers of files laid over each other: the built-in signatures, then the operator's directories.
//!
//! A rule for the same name in a later layer overrides; twice in one layer is a fault.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::address::{self, AddressTable};
use crate::bundle::{Bundle, Service, SourceText};
use crate::diagnostic::{Diagnostic, Severity};
use crate::explain::Brands;
use crate::lookup::{self, NameTable};
use crate::parse::{Draft, File, Header, Matches, parse};
use crate::rule::{MatchKind, Rule, Signal};

/// A service while layers are laid over each other.
#[derive(Debug)]
struct Gathered {
    name: String,
    owner: String,
    category: String,
    base: u32,
}

/// What makes two rules the same one.
type Key = (MatchKind, String, Option<u32>);

/// Layers being laid over each other.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    layers: u32,
    services: BTreeMap<String, Gathered>,
    drafts: Vec<Option<(u32, Draft)>>,
    index: HashMap<Key, usize>,
}

impl Merge {
    /// Lays one more layer on top.
    pub(crate) fn with_layer(mut self, texts: &[SourceText], findings: &mut Vec<Diagnostic>) -> Self {
        let layer = self.layers;
        self.layers += 1;
        let mut files = Vec::new();
        for text in texts {
            let (file, mut faults) = parse(&text.label, &text.text);
            findings.append(&mut faults);
            if !file.header.service.is_empty() {
                files.push(file);
            }
        }
        for file in files.iter().filter(|file| file.header.replace) {
            self.forget(&file.header, layer);
        }
        // Files that name the service come before those that only add to it.
        files.sort_by_key(|file| file.header.name.is_none());
        for file in files {
            if self.announce(&file.label, &file.header, findings) {
                self.add(layer, file, findings);
            }
        }
        self
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
                (&header.category, &mut known.category),
            ] {
                if let Some(new) = new {
                    old.clone_from(new);
                }
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
            category: header.category.clone().unwrap_or_default(),
            base,
        };
        self.services.insert(key.clone(), gathered);
        true
    }

    fn add(&mut self, layer: u32, file: File, findings: &mut Vec<Diagnostic>) {
        for draft in file.drafts {
            let asn = if draft.rule.kind == MatchKind::Prefix { draft.rule.asn } else { None };
            let key = (draft.rule.kind, draft.rule.text.clone(), asn);
            let place = *self.index.entry(key).or_insert(self.drafts.len());
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
        let mut drafts: Vec<(u32, Draft)> = self.drafts.into_iter().flatten().collect();
        let service_numbers: HashMap<&str, u32> = self.services.keys().map(String::as_str).zip(0..).collect();
        for (_, draft) in &mut drafts {
            if let Some(service) = self.services.get(&draft.rule.service) {
                draft.rule.service_name.clone_from(&service.name);
                draft.rule.signature_id += service.base;
            }
        }
        drafts.sort_by(|(_, one), (_, other)| {
            let (one, other) = (&one.rule, &other.rule);
            one.service.cmp(&other.service).then_with(|| one.file.cmp(&other.file)).then(one.line.cmp(&other.line))
        });
        let mut names = Vec::new();
        let mut addresses = Vec::new();
        let mut fingerprints = HashMap::new();
        let mut notes: HashMap<String, Vec<(MatchKind, String)>> = HashMap::new();
        for (number, (layer, draft)) in (0_u32..).zip(&drafts) {
            let rule = &draft.rule;
            match &draft.matches {
                Matches::Name(form) => {
                    let dns_only = rule.signal == Signal::DnsCname;
                    names.push((*layer, lookup::Entry { form: form.clone(), rule: number, dns_only }));
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
        let names: Vec<lookup::Entry> = names.into_iter().map(|(_, entry)| entry).collect();
        let rules: Vec<Arc<Rule>> = drafts.into_iter().map(|(_, draft)| Arc::new(draft.rule)).collect();
        let names = NameTable::build(&names).unwrap_or_else(|(number, reason)| {
            if let Some(rule) = rules.get(number as usize) {
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
        Bundle {
            notes,
            names,
            addresses: AddressTable::build(&addresses),
            fingerprints,
            services: summaries(&self.services, &rules),
            brands: Brands::new(&rules),
            rules,
        }
    }
}

fn summaries(gathered: &BTreeMap<String, Gathered>, rules: &[Arc<Rule>]) -> Vec<Service> {
    let mut services: BTreeMap<&str, Service> = gathered
        .iter()
        .map(|(key, service)| {
            let Gathered { name, owner, category, base } = service;
            let service = Service {
                key: key.clone(),
                name: name.clone(),
                owner: owner.clone(),
                category: category.clone(),
                base: *base,
                names: 0,
                patterns: 0,
                prefixes: 0,
                fingerprints: 0,
                alerting: 0,
                oldest_review: String::new(),
            };
            (key.as_str(), service)
        })
        .collect();
    for rule in rules {
        let Some(service) = services.get_mut(rule.service.as_str()) else { continue };
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
    services.into_values().collect()
}
