//! Patterns over the labels before a zone, all of a zone's in one automaton.
//!
//! A pattern is a regular expression in lower case that must match whole. It is linear in the name's length, whatever
//! it says; back-references and look-around do not exist in it.

use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use std::collections::HashMap;

use crate::lookup::Asked;

/// Memory that one automaton's program may take.
const PROGRAM_BYTES_MAX: usize = 4 << 20;

/// One pattern rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern<'a> {
    pub(crate) head: &'a str,
    pub(crate) rule: u32,
    pub(crate) dns_only: bool,
}

/// Compiles patterns that must each match whole; the first in order that matches is the one reported.
pub(crate) fn whole(heads: &[impl AsRef<str>]) -> Result<Regex, String> {
    let heads: Vec<String> = heads.iter().map(|head| format!("^(?:{})$", head.as_ref())).collect();
    Regex::builder()
        .configure(Regex::config().nfa_size_limit(Some(PROGRAM_BYTES_MAX)).utf8_empty(false))
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .build_many(&heads)
        .map_err(|error| match error.syntax_error() {
            Some(error) => {
                error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
            }
            None => error.to_string(),
        })
}

/// Patterns of one place, compiled together: number in order, and rule, of each.
#[derive(Clone, Debug)]
struct Matcher {
    regex: Regex,
    answers: Vec<(u32, u32)>,
}

impl Matcher {
    fn build(numbers: &[u32], patterns: &[Pattern<'_>], asked: Asked) -> Result<Option<Self>, (u32, String)> {
        let chosen: Vec<(u32, &Pattern<'_>)> = numbers
            .iter()
            .filter_map(|number| Some((*number, patterns.get(*number as usize)?)))
            .filter(|(_, pattern)| asked == Asked::Dns || !pattern.dns_only)
            .collect();
        let Some((_, first)) = chosen.first() else {
            return Ok(None);
        };
        let heads: Vec<&str> = chosen.iter().map(|(_, pattern)| pattern.head).collect();
        let regex = whole(&heads).map_err(|reason| (first.rule, reason))?;
        Ok(Some(Self { regex, answers: chosen.iter().map(|(number, pattern)| (*number, pattern.rule)).collect() }))
    }
}

/// The sets of patterns that zones use; zones with the same patterns share one.
#[derive(Debug, Default)]
pub(crate) struct PatternSets {
    /// For flows, and for DNS answers.
    sets: Vec<(Option<Matcher>, Option<Matcher>)>,
    known: HashMap<Vec<u32>, u32>,
}

impl PatternSets {
    /// Number of the set with these patterns.
    pub(crate) fn add(&mut self, numbers: &[u32], patterns: &[Pattern<'_>]) -> Result<u32, (u32, String)> {
        if let Some(set) = self.known.get(numbers) {
            return Ok(*set);
        }
        let flow = Matcher::build(numbers, patterns, Asked::Flow)?;
        let complete = flow.as_ref().is_some_and(|flow| flow.answers.len() == numbers.len());
        let dns = if complete { flow.clone() } else { Matcher::build(numbers, patterns, Asked::Dns)? };
        let set = self.sets.len() as u32;
        self.sets.push((flow, dns));
        self.known.insert(numbers.to_vec(), set);
        Ok(set)
    }

    /// Number in order, and rule, of the first pattern of the set that matches `head` whole.
    pub(crate) fn find(&self, set: u32, head: &[u8], asked: Asked) -> Option<(u32, u32)> {
        let (flow, dns) = self.sets.get(set as usize)?;
        let matcher = match asked {
            Asked::Flow => flow,
            Asked::Dns => dns,
        };
        let matcher = matcher.as_ref()?;
        let found = matcher.regex.search_half(&regex_automata::Input::new(head))?;
        matcher.answers.get(found.pattern().as_usize()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_or_not_at_all() {
        let regex = whole(&["api[0-9]+|log"]).unwrap();
        for (text, expected) in [("api16", true), ("log", true), ("xlog", false), ("log1", false), ("api16.us", false)]
        {
            assert_eq!(regex.is_match(text), expected, "{text}");
        }
    }

    #[test]
    fn the_first_of_several_answers() {
        let patterns = [
            Pattern { head: "b.*", rule: 10, dns_only: true },
            Pattern { head: "[a-z]+-boot", rule: 11, dns_only: false },
            Pattern { head: ".*", rule: 12, dns_only: false },
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
        assert!(whole(&["api[0-9"]).unwrap_err().contains("unclosed"));
        assert!(whole(&["(a)\\1"]).is_err());
        assert!(whole(&["(((a{1000}){1000}){1000})"]).is_err());
    }
}
