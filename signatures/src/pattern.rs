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
use std::sync::{Arc, OnceLock};

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

/// The expression of a pattern.
#[derive(Clone, Debug)]
pub(crate) enum Head {
    Read(Hir),
    /// It is built in, and known to be sound: it is read when the first name asks for it, which spares a start most of the time
    /// that patterns take.
    Builtin(String),
}

impl Head {
    fn hir(&self) -> Result<Hir, String> {
        match self {
            Self::Read(hir) => Ok(hir.clone()),
            Self::Builtin(text) => read(text),
        }
    }
}

/// One pattern rule.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) head: Head,
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
    /// Made when the first name asks for it, if all patterns are built in.
    whole: OnceLock<Option<Whole>>,
    /// Those that are built in, until then.
    builtin: Vec<Head>,
    answers: Vec<(u32, u32)>,
}

fn whole_of<'h>(heads: impl Iterator<Item = &'h Head>) -> Result<Whole, String> {
    let heads: Vec<Hir> = heads.map(Head::hir).collect::<Result<_, _>>()?;
    Whole::new(&heads)
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
        let heads = chosen.iter().map(|(_, pattern)| &pattern.head);
        let (mut whole, mut builtin) = (OnceLock::new(), Vec::new());
        if heads.clone().all(|head| matches!(head, Head::Builtin(_))) {
            builtin.extend(heads.cloned());
        } else {
            whole = OnceLock::from(Some(whole_of(heads).map_err(|reason| (first.rule, reason))?));
        }
        let answers = chosen.iter().map(|(number, pattern)| (*number, pattern.rule)).collect();
        Ok(Some(Arc::new(Self { whole, builtin, answers })))
    }

    /// None only of patterns built in that are not sound, which no test lets through.
    fn whole(&self) -> Option<&Whole> {
        self.whole.get_or_init(|| whole_of(self.builtin.iter()).ok()).as_ref()
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
        matcher.answers.get(matcher.whole()?.find(head)?).copied()
    }

    /// Whether all patterns are sound, which is known of the operator's.
    #[cfg(test)]
    pub(crate) fn are_sound(&self) -> bool {
        let matchers = self.sets.iter().flat_map(|set| set.flow.iter().chain(&set.dns));
        !self.sets.is_empty() && matchers.into_iter().all(|matcher| matcher.whole().is_some())
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
            Pattern { head: Head::Read(read("b.*").unwrap()), rule: 10, dns_only: true },
            Pattern { head: Head::Builtin("[a-z]+-boot".to_owned()), rule: 11, dns_only: false },
            Pattern { head: Head::Builtin(".*".to_owned()), rule: 12, dns_only: false },
        ];
        let mut sets = PatternSets::default();
        let set = sets.add(&[0, 1, 2], &patterns).unwrap();
        assert_eq!(sets.add(&[0, 1, 2], &patterns).unwrap(), set);
        assert_eq!(sets.find(set, b"b-boot", Asked::Flow), Some((1, 11)));
        assert_eq!(sets.find(set, b"b-boot", Asked::Dns), Some((0, 10)));
        assert_eq!(sets.find(set, b"c", Asked::Dns), Some((2, 12)));
        let all_builtin = sets.add(&[1, 2], &patterns).unwrap();
        assert_eq!(sets.find(all_builtin, b"b-boot", Asked::Dns), Some((1, 11)));
        assert!(sets.are_sound());
    }

    #[test]
    fn faults_are_told() {
        assert!(read("api[0-9").unwrap_err().contains("unclosed"));
        assert!(read("(a)\\1").is_err());
        assert!(program(&[read("(((a{1000}){1000}){1000})").unwrap()]).is_err());
    }
}
