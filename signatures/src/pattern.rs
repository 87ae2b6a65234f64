//! Patterns over the labels before a zone, all of a zone's in one automaton.
//!
//! A pattern is a regular expression in lower case that must match whole. It is linear in the name's length, whatever
//! it says; back-references and look-around do not exist in it.

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::util::pool::Pool;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::Hir;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::sync::Arc;

/// Memory that one automaton's program may take.
const PROGRAM_BYTES_MAX: usize = 4 << 20;

/// Where a name was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// On a flow: SNI, host header, certificate.
    Flow,
    /// In a DNS answer.
    Dns,
}

/// One pattern rule.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) head: Hir,
    pub(crate) rule: u32,
    pub(crate) dns_only: bool,
}

/// Reads a pattern, as one that must match whole.
pub(crate) fn read(head: &str) -> Result<Hir, String> {
    let config = syntax::Config::new().unicode(false).utf8(false);
    // The last line of several is the one that tells.
    syntax::parse_with(&format!("^(?:{head})$"), &config)
        .map_err(|error| error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
}

/// The program of some patterns. Fails, with a reason, if they are too large.
pub(crate) fn program(heads: &[impl Borrow<Hir>]) -> Result<NFA, String> {
    let config =
        thompson::Config::new().nfa_size_limit(Some(PROGRAM_BYTES_MAX)).utf8(false).which_captures(WhichCaptures::None);
    thompson::Compiler::new().configure(config).build_many_from_hir(heads).map_err(|error| error.to_string())
}

/// Memory of a search under way, made when a thread asks for the first time.
type Caches = Pool<Cache, Box<dyn Fn() -> Cache + Send + Sync>>;

/// Patterns that must match whole, in one automaton whose states are made as names ask for them.
#[derive(Debug)]
pub(crate) struct Whole {
    automaton: Arc<DFA>,
    caches: Caches,
}

impl Whole {
    pub(crate) fn new(heads: &[impl Borrow<Hir>]) -> Result<Self, String> {
        let automaton = DFA::builder()
            .configure(DFA::config().skip_cache_capacity_check(true))
            .build_from_nfa(program(heads)?)
            .map_err(|error| error.to_string())?;
        let automaton = Arc::new(automaton);
        let made_for = Arc::clone(&automaton);
        Ok(Self { automaton, caches: Pool::new(Box::new(move || made_for.create_cache())) })
    }

    /// The first pattern in order that matches.
    pub(crate) fn find(&self, text: &[u8]) -> Option<usize> {
        let input = Input::new(text).anchored(Anchored::Yes);
        // It never fails: no byte makes it quit, and it starts over when its memory is full.
        let found = self.automaton.try_search_fwd(&mut self.caches.get(), &input).ok()??;
        Some(found.pattern().as_usize())
    }
}

/// Patterns of one place, compiled together: number in order, and rule, of each.
#[derive(Debug)]
struct Matcher {
    whole: Whole,
    answers: Vec<(u32, u32)>,
}

impl Matcher {
    fn build(numbers: &[u32], patterns: &[Pattern], asked: Asked) -> Result<Option<Arc<Self>>, (u32, String)> {
        let chosen: Vec<(u32, &Pattern)> = numbers
            .iter()
            .filter_map(|number| Some((*number, patterns.get(*number as usize)?)))
            .filter(|(_, pattern)| asked == Asked::Dns || !pattern.dns_only)
            .collect();
        let Some((_, first)) = chosen.first() else {
            return Ok(None);
        };
        let heads: Vec<&Hir> = chosen.iter().map(|(_, pattern)| &pattern.head).collect();
        let whole = Whole::new(&heads).map_err(|reason| (first.rule, reason))?;
        let answers = chosen.iter().map(|(number, pattern)| (*number, pattern.rule)).collect();
        Ok(Some(Arc::new(Self { whole, answers })))
    }
}

/// The patterns of one zone.
#[derive(Debug)]
struct Set {
    flow: Option<Arc<Matcher>>,
    dns: Option<Arc<Matcher>>,
}

/// The sets of patterns that zones use; zones with the same patterns share one.
#[derive(Debug, Default)]
pub(crate) struct PatternSets {
    sets: Vec<Set>,
    known: HashMap<Vec<u32>, u32>,
}

impl PatternSets {
    /// Number of the set with these patterns.
    pub(crate) fn add(&mut self, numbers: &[u32], patterns: &[Pattern]) -> Result<u32, (u32, String)> {
        if let Some(set) = self.known.get(numbers) {
            return Ok(*set);
        }
        let flow = Matcher::build(numbers, patterns, Asked::Flow)?;
        let complete = flow.as_ref().is_some_and(|flow| flow.answers.len() == numbers.len());
        let dns = if complete { flow.clone() } else { Matcher::build(numbers, patterns, Asked::Dns)? };
        let set = self.sets.len() as u32;
        self.sets.push(Set { flow, dns });
        self.known.insert(numbers.to_vec(), set);
        Ok(set)
    }

    /// Number in order, and rule, of the first pattern of the set that matches `head` whole.
    pub(crate) fn find(&self, set: u32, head: &[u8], asked: Asked) -> Option<(u32, u32)> {
        let set = self.sets.get(set as usize)?;
        let matcher = match asked {
            Asked::Flow => set.flow.as_deref(),
            Asked::Dns => set.dns.as_deref(),
        }?;
        matcher.answers.get(matcher.whole.find(head)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_or_not_at_all() {
        let whole = Whole::new(&[read("api[0-9]+|log").unwrap()]).unwrap();
        for (text, expected) in [("api16", true), ("log", true), ("xlog", false), ("log1", false), ("api16.us", false)]
        {
            assert_eq!(whole.find(text.as_bytes()).is_some(), expected, "{text}");
        }
    }

    #[test]
    fn the_first_of_several_answers() {
        let patterns = [
            Pattern { head: read("b.*").unwrap(), rule: 10, dns_only: true },
            Pattern { head: read("[a-z]+-boot").unwrap(), rule: 11, dns_only: false },
            Pattern { head: read(".*").unwrap(), rule: 12, dns_only: false },
        ];
        let mut sets = PatternSets::default();
        let set = sets.add(&[0, 1, 2], &patterns).unwrap();
        assert_eq!(sets.add(&[0, 1, 2], &patterns).unwrap(), set);
        assert_eq!(sets.find(set, b"b-boot", Asked::Flow), Some((1, 11)));
        assert_eq!(sets.find(set, b"b-boot", Asked::Dns), Some((0, 10)));
        assert_eq!(sets.find(set, b"c", Asked::Dns), Some((2, 12)));
    }

    #[test]
    fn faults_are_told() {
        assert!(read("api[0-9").unwrap_err().contains("unclosed"));
        assert!(read("(a)\\1").is_err());
        assert!(program(&[read("(((a{1000}){1000}){1000})").unwrap()]).is_err());
    }
}
