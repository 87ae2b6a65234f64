//! From a name to its rule, at a cost that does not grow with the number of rules.
//!
//! Exact rules, suffix rules and pattern zones stand in one open-addressed table, keyed by the hash of a whole suffix
//! of labels. Every ancestor of an entry stands there too, down to two labels, so a look-up walks from the right,
//! hashes each label once, probes once per label, and stops at the first suffix nobody stands below: most names die at
//! their registered domain, on a one-byte tag that is usually in cache. Look-ups allocate nothing.
//!
//! Order of precedence: exact, then patterns in their given order, then the longest suffix. Rules for DNS answers
//! only are passed over where a flow's name is asked for.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use crate::normalise::NAME_BYTES_MAX;
use crate::pattern::{self, Asked, Pattern, PatternSets};

/// What a rule asks of a name.
#[derive(Clone, Debug)]
pub(crate) enum Form<'t> {
    /// The whole name.
    Exact(&'t str),
    /// The name and everything below it.
    Suffix(&'t str),
    /// The labels before a zone.
    Pattern {
        /// Regular expression that these labels must match whole.
        head: &'t str,
        /// Names below which the pattern is tried.
        zones: Vec<&'t str>,
    },
}

/// One rule as the table needs it.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'t> {
    /// What it asks of a name.
    pub(crate) form: Form<'t>,
    /// Number given back by look-ups.
    pub(crate) rule: u32,
    /// Only for names in DNS answers.
    pub(crate) dns_only: bool,
}

/// A rule's number and whether only DNS answers may have it, in one word; zero is nobody.
#[derive(Clone, Copy, Debug, Default)]
struct Answer(u32);

impl Answer {
    const DNS_ONLY: u32 = 1 << 31;

    const fn new(rule: u32, dns_only: bool) -> Self {
        let answer = rule.saturating_add(1) & !Self::DNS_ONLY;
        Self(if dns_only { answer | Self::DNS_ONLY } else { answer })
    }

    const fn to(self, asked: Asked) -> Option<u32> {
        if matches!(asked, Asked::Flow) && self.0 & Self::DNS_ONLY != 0 {
            return None;
        }
        (self.0 & !Self::DNS_ONLY).checked_sub(1)
    }
}

/// One suffix of labels that a rule names, or that some rule stands below.
#[derive(Clone, Debug, Default)]
struct Node {
    hash: u64,
    text_start: u32,
    text_length: u32,
    exact: Answer,
    suffix: Answer,
    /// Number of its zone plus one; zero if no pattern is tried below it.
    zone: u32,
}

/// A name below which patterns are tried.
#[derive(Clone, Copy, Debug)]
struct Zone {
    length: u32,
    /// Which patterns.
    set: u32,
    /// The next zone up, as in [`Node::zone`].
    above: u32,
}

/// The node of each text, while the table is built. The texts are the operator's own: no one floods it with collisions.
type Index<'t> = HashMap<&'t str, u32, FixedState>;

/// The table.
#[derive(Debug, Default)]
pub(crate) struct NameTable {
    /// One byte of hash per slot, zero where the slot is free.
    tags: Vec<u8>,
    /// Node of each slot.
    slots: Vec<u32>,
    nodes: Vec<Node>,
    /// Texts of the nodes, end to end.
    texts: Vec<u8>,
    zones: Vec<Zone>,
    patterns: PatternSets,
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline(always)]
const fn fold(word: u64) -> u64 {
    let wide = (word as u128).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (wide as u64) ^ (wide >> 64) as u64
}

/// Takes one more label, to the left of those that `hash` stands for. Collisions cost time only: texts are compared.
#[inline(always)]
fn take_label(mut hash: u64, label: &[u8]) -> u64 {
    let mut rest = label;
    while let Some((head, word)) = rest.split_last_chunk::<8>() {
        hash = fold(hash ^ u64::from_le_bytes(*word));
        rest = head;
    }
    let tail = match (rest, rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        // Of four to seven bytes, the middle ones are taken twice.
        (_, Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
        }
        (&[one, two, three], ..) => u64::from(one) | u64::from(two) << 8 | u64::from(three) << 16,
        (&[one, two], ..) => u64::from(one) | u64::from(two) << 8,
        (&[one], ..) => u64::from(one),
        _ => 0,
    };
    fold(hash.rotate_left(17) ^ tail ^ (label.len() as u64) << 58)
}

#[inline(always)]
const fn tag_of(hash: u64) -> u8 {
    let tag = (hash >> 56) as u8;
    if tag == 0 { 1 } else { tag }
}

fn labels_from_right(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.rsplit(|byte| *byte == b'.')
}

fn hash_of(text: &[u8]) -> u64 {
    labels_from_right(text).fold(SEED, take_label)
}

impl NameTable {
    /// Builds the table. Of two entries with the same form the later one answers; patterns keep their order.
    /// Fails, with the rule's number and a reason, if a pattern cannot be used.
    pub(crate) fn build(entries: &[Entry<'_>]) -> Result<Self, (u32, String)> {
        let mut table = Self::default();
        let mut index = Index::with_capacity_and_hasher(entries.len() * 2, FixedState::default());
        let mut by_zone: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        let mut patterns: Vec<Pattern> = Vec::new();
        for entry in entries {
            let answer = Answer::new(entry.rule, entry.dns_only);
            match &entry.form {
                Form::Exact(text) => {
                    let node = table.plant(text, &mut index);
                    table.node_mut(node, |node| node.exact = answer);
                }
                Form::Suffix(text) => {
                    let node = table.plant(text, &mut index);
                    table.node_mut(node, |node| node.suffix = answer);
                }
                Form::Pattern { head, zones } => {
                    for zone in zones {
                        table.plant(zone, &mut index);
                        by_zone.entry(zone).or_default().push(patterns.len() as u32);
                    }
                    let head = pattern::read(head).map_err(|reason| (entry.rule, reason))?;
                    patterns.push(Pattern { head, rule: entry.rule, dns_only: entry.dns_only });
                }
            }
        }
        table.lay_out_zones(&by_zone, &patterns, &index)?;
        table.fill();
        Ok(table)
    }

    /// Number of the node of `text`; makes it and its ancestors as needed.
    fn plant<'t>(&mut self, text: &'t str, index: &mut Index<'t>) -> u32 {
        let whole = self.node_of(text, index);
        let mut rest = text;
        while let Some((_, above)) = rest.split_once('.') {
            if !above.contains('.') || index.contains_key(above) {
                break;
            }
            self.node_of(above, index);
            rest = above;
        }
        whole
    }

    fn node_of<'t>(&mut self, text: &'t str, index: &mut Index<'t>) -> u32 {
        *index.entry(text).or_insert_with(|| {
            let node = self.nodes.len() as u32;
            self.nodes.push(Node {
                hash: hash_of(text.as_bytes()),
                text_start: self.texts.len() as u32,
                text_length: text.len() as u32,
                ..Node::default()
            });
            self.texts.extend_from_slice(text.as_bytes());
            node
        })
    }

    fn node_mut(&mut self, node: u32, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(node as usize) {
            change(node);
        }
    }

    /// Gives each zone its patterns and the way to the zone above it.
    fn lay_out_zones(
        &mut self,
        by_zone: &BTreeMap<&str, Vec<u32>>,
        patterns: &[Pattern],
        index: &Index<'_>,
    ) -> Result<(), (u32, String)> {
        let numbers: HashMap<&str, u32> = by_zone.keys().zip(1..).map(|(zone, number)| (*zone, number)).collect();
        for (zone, list) in by_zone {
            let set = self.patterns.add(list, patterns)?;
            let mut above = *zone;
            let above = loop {
                let Some((_, next)) = above.split_once('.') else { break 0 };
                if let Some(number) = numbers.get(next) {
                    break *number;
                }
                above = next;
            };
            self.zones.push(Zone { length: zone.len() as u32, set, above });
            if let (Some(node), Some(number)) = (index.get(zone), numbers.get(zone)) {
                self.node_mut(*node, |node| node.zone = *number);
            }
        }
        Ok(())
    }

    /// Puts the nodes into slots, at most half of which are taken.
    fn fill(&mut self) {
        let capacity = (self.nodes.len() * 2).next_power_of_two().max(64);
        self.tags = vec![0; capacity];
        self.slots = vec![0; capacity];
        for (number, node) in self.nodes.iter().enumerate() {
            let mut slot = node.hash as usize & (capacity - 1);
            while self.tags.get(slot).is_some_and(|tag| *tag != 0) {
                slot = (slot + 1) & (capacity - 1);
            }
            if let (Some(tag), Some(place)) = (self.tags.get_mut(slot), self.slots.get_mut(slot)) {
                (*tag, *place) = (tag_of(node.hash), number as u32);
            }
        }
    }

    /// The node of a suffix, given its hash.
    #[inline]
    fn probe(&self, hash: u64, suffix: &[u8]) -> Option<&Node> {
        let mask = self.tags.len().wrapping_sub(1);
        let (mut slot, wanted) = (hash as usize & mask, tag_of(hash));
        loop {
            let tag = *self.tags.get(slot)?;
            if tag == wanted {
                let node = self.nodes.get(*self.slots.get(slot)? as usize)?;
                if node.hash == hash && self.text(node) == suffix {
                    return Some(node);
                }
            } else if tag == 0 {
                return None;
            }
            slot = (slot + 1) & mask;
        }
    }

    fn text(&self, node: &Node) -> &[u8] {
        let start = node.text_start as usize;
        self.texts.get(start..start + node.text_length as usize).unwrap_or_default()
    }

    /// The rule that answers for a name in normal form.
    pub(crate) fn find(&self, name: impl AsRef<[u8]>, asked: Asked) -> Option<u32> {
        let name = name.as_ref();
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
        let mut suffix = None;
        let mut zone = 0;
        let mut hash = SEED;
        let mut start = name.len() + 1;
        for (place, label) in labels_from_right(name).enumerate() {
            hash = take_label(hash, label);
            start = start.saturating_sub(label.len() + 1);
            if place == 0 && start > 0 {
                continue;
            }
            let Some(node) = self.probe(hash, name.get(start..)?) else { break };
            if start == 0
                && let Some(rule) = node.exact.to(asked)
            {
                return Some(rule);
            }
            suffix = node.suffix.to(asked).or(suffix);
            if start > 0 && node.zone > 0 {
                zone = node.zone;
            }
        }
        if zone > 0 { self.first_pattern(zone, name, asked).or(suffix) } else { suffix }
    }

    /// The first pattern, in order, that matches the labels before its zone; `zone` is the deepest one.
    #[inline(never)]
    fn first_pattern(&self, mut zone: u32, name: &[u8], asked: Asked) -> Option<u32> {
        let mut best: Option<(u32, u32)> = None;
        while let Some(one) = (zone as usize).checked_sub(1).and_then(|zone| self.zones.get(zone)) {
            let head = name.len().checked_sub(one.length as usize + 1).and_then(|length| name.get(..length));
            let found = head.and_then(|head| self.patterns.find(one.set, head, asked));
            best = match (best, found) {
                (Some(best), Some(found)) => Some(best.min(found)),
                (best, found) => best.or(found),
            };
            zone = one.above;
        }
        best.map(|(_, rule)| rule)
    }

    /// Rules whose text the name ends in without being matched by them: off a label boundary, or above an exact rule.
    /// Costs a hash and a probe per byte; for explanations, not for packets.
    pub(crate) fn near(&self, name: &str) -> impl Iterator<Item = (u32, Near)> {
        let bytes = name.as_bytes();
        let bytes = bytes.get(bytes.len().saturating_sub(NAME_BYTES_MAX)..).unwrap_or_default();
        let (mut hash, mut next) = (SEED, bytes.len() + 1);
        labels_from_right(bytes).flat_map(move |label| {
            let right = hash;
            hash = take_label(right, label);
            next = next.saturating_sub(label.len() + 1);
            let start = next;
            (0..label.len()).rev().filter_map(move |cut| {
                let node = self.probe(take_label(right, label.get(cut..)?), bytes.get(start + cut..)?)?;
                match (cut, start) {
                    (0, 0) => None,
                    (0, _) => Some((node.exact.to(Asked::Dns)?, Near::BelowExact)),
                    _ => Some((node.suffix.to(Asked::Dns).or(node.exact.to(Asked::Dns))?, Near::OffLabelBoundary)),
                }
            })
        })
    }
}

/// Why a rule nearly answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Near {
    /// The name ends in the rule's text, in the middle of a label.
    OffLabelBoundary,
    /// The name stands below one that is matched whole only.
    BelowExact,
}

#[cfg(test)]
#[path = "reference.rs"]
mod reference;

#[cfg(test)]
mod tests {
    use super::reference::naive_find;
    use super::*;
    use proptest::prelude::*;

    fn exact(rule: u32, text: &str) -> Entry<'_> {
        Entry { form: Form::Exact(text), rule, dns_only: false }
    }

    fn suffix(rule: u32, text: &str) -> Entry<'_> {
        Entry { form: Form::Suffix(text), rule, dns_only: false }
    }

    fn pattern<'t>(rule: u32, head: &'t str, zones: &[&'t str]) -> Entry<'t> {
        Entry { form: Form::Pattern { head, zones: zones.to_vec() }, rule, dns_only: false }
    }

    fn dns(entry: Entry<'_>) -> Entry<'_> {
        Entry { dns_only: true, ..entry }
    }

    #[test]
    fn an_empty_table_answers_nothing() {
        let table = NameTable::build(&[]).unwrap();
        assert_eq!(table.find("tiktok.com", Asked::Flow), None);
        assert_eq!(NameTable::default().find("tiktok.com", Asked::Dns), None);
    }

    #[test]
    fn precedence() {
        let table = NameTable::build(&[
            suffix(0, "tiktokv.com"),
            suffix(1, "us.tiktokv.com"),
            exact(2, "api16-a.us.tiktokv.com"),
            pattern(3, "[a-z0-9-]+-boot", &["tiktokv.com", "us.tiktokv.com"]),
            pattern(4, "api[a-z0-9-]*(\\.us)?", &["tiktokv.com"]),
        ])
        .unwrap();
        let find = |name| table.find(name, Asked::Flow);
        assert_eq!(find("tiktokv.com"), Some(0));
        assert_eq!(find("x.tiktokv.com"), Some(0));
        assert_eq!(find("us.tiktokv.com"), Some(1));
        assert_eq!(find("x.y.us.tiktokv.com"), Some(1));
        assert_eq!(find("api16-a.us.tiktokv.com"), Some(2));
        assert_eq!(find("x.api16-a.us.tiktokv.com"), Some(1));
        assert_eq!(find("api-boot.tiktokv.com"), Some(3));
        assert_eq!(find("api-boot.us.tiktokv.com"), Some(3));
        assert_eq!(find("api-core.tiktokv.com"), Some(4));
        assert_eq!(find("api-core.us.tiktokv.com"), Some(4));
    }

    #[test]
    fn only_label_boundaries_count() {
        let table = NameTable::build(&[suffix(0, "tiktok.com"), exact(1, "a.example.com")]).unwrap();
        for name in ["mytiktok.com", "tiktok.com.evil.net", "iktok.com", "com", "", ".", "tiktok", "a.b.a.example.com"]
        {
            assert_eq!(table.find(name, Asked::Flow), None, "{name}");
        }
        let near: Vec<_> = table.near("mytiktok.com").collect();
        assert_eq!(near, [(0, Near::OffLabelBoundary)]);
        let near: Vec<_> = table.near("x.a.example.com").collect();
        assert_eq!(near, [(1, Near::BelowExact)]);
    }

    #[test]
    fn rules_for_dns_answers_are_passed_over_on_flows() {
        let table = NameTable::build(&[
            suffix(0, "bytedance.com"),
            dns(suffix(1, "gslb.bytedance.com")),
            dns(exact(2, "a.gslb.bytedance.com")),
            dns(pattern(3, "q.*", &["bytedance.com"])),
        ])
        .unwrap();
        let both = |name| (table.find(name, Asked::Flow), table.find(name, Asked::Dns));
        assert_eq!(both("x.gslb.bytedance.com"), (Some(0), Some(1)));
        assert_eq!(both("a.gslb.bytedance.com"), (Some(0), Some(2)));
        assert_eq!(both("q1.bytedance.com"), (Some(0), Some(3)));
    }

    #[test]
    fn long_and_deep_names_are_bounded() {
        let table = NameTable::build(&[suffix(0, "a.a")]).unwrap();
        let deep = "a.".repeat(126) + "a";
        assert_eq!(table.find(&deep, Asked::Flow), Some(0));
        assert_eq!(table.find(format!("a.{deep}"), Asked::Flow), None, "255 bytes are no name");
    }

    fn small_name() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof!["[ab]", "[ab]{2}", Just("boot".to_owned())], 2..6)
            .prop_map(|labels| labels.join("."))
    }

    fn entry() -> impl Strategy<Value = (u8, String, String, bool)> {
        (0_u8..3, small_name(), small_name(), any::<bool>())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn equals_the_naive_reference(
            drafts in proptest::collection::vec(entry(), 0..40),
            names in proptest::collection::vec(small_name(), 1..60),
        ) {
            let heads = ["a+", "[ab]+(\\.b)?", ".*boot", "a.*"];
            let entries: Vec<Entry<'_>> = drafts.iter().enumerate().map(|(rule, (kind, text, other, dns_only))| {
                let rule = rule as u32;
                let entry = match kind {
                    0 => exact(rule, text),
                    1 => suffix(rule, text),
                    _ => pattern(rule, heads[rule as usize % heads.len()], &[text, other]),
                };
                Entry { dns_only: *dns_only, ..entry }
            }).collect();
            let table = NameTable::build(&entries).unwrap();
            for name in names.iter().chain(drafts.iter().map(|draft| &draft.1)) {
                for asked in [Asked::Flow, Asked::Dns] {
                    prop_assert_eq!(table.find(name, asked), naive_find(&entries, name, asked), "{} {:?}", name, asked);
                }
            }
        }

        #[test]
        fn any_text_is_survived(name in ".{0,300}") {
            let table = NameTable::build(&[suffix(0, "a.b"), pattern(1, ".*", &["b.c"])]).unwrap();
            let _ = table.find(&name, Asked::Flow);
            let _ = table.near(&name).count();
        }
    }
}
