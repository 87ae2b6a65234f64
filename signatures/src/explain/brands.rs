//! Names that look as if they belonged to a service: its word is in them, in letters of another script, or almost.

use std::sync::Arc;

use crate::rule::Rule;
use crate::words::MatchKind;

/// Shorter service keys are ordinary words or parts of them.
const BRAND_BYTES_MIN: usize = 6;
/// In words of so many bytes two differences are a likeness.
const LONG_BRAND_BYTES: usize = 8;

/// Words that make a name look as if it belonged to a service.
#[derive(Debug, Default)]
pub(crate) struct Brands {
    /// Word and its service's plainest rule.
    words: Vec<(String, u32)>,
}

impl Brands {
    pub(crate) fn new(rules: &[Arc<Rule>]) -> Self {
        let mut words: Vec<(String, u32)> = Vec::new();
        let mut least = None;
        // Rules come in order of service.
        for (number, rule) in (0_u32..).zip(rules) {
            let word = rule.service.as_str();
            if rule.kind != MatchKind::Suffix || word.len() < BRAND_BYTES_MIN || word.contains('-') {
                continue;
            }
            let distance = Some(rule.distance_from_main_name());
            match words.last_mut() {
                Some((last, plainest)) if last == word => {
                    if distance < least {
                        (*plainest, least) = (number, distance);
                    }
                }
                _ => {
                    words.push((word.to_owned(), number));
                    least = distance;
                }
            }
        }
        Self { words }
    }

    /// The word that begins first in a name, and its rule.
    pub(super) fn find(&self, name: &str) -> Option<(&str, u32)> {
        let found = self.words.iter().filter_map(|(word, rule)| Some((name.find(word)?, word.as_str(), *rule)));
        found.min_by_key(|(at, ..)| *at).map(|(_, word, rule)| (word, rule))
    }

    /// A word that a label of the name looks like or is spelled almost like, and its rule.
    pub(super) fn find_similar(&self, name: &str) -> Option<(Likeness, u32)> {
        let (shown, _) = idna::domain_to_unicode(name);
        self.words.iter().filter(|(word, _)| !name.contains(word.as_str())).find_map(|(word, rule)| {
            let likeness = shown.split('.').find_map(|label| Likeness::of(label, word))?;
            Some((likeness, *rule))
        })
    }
}

/// How a label resembles the word of a service.
#[derive(Debug)]
pub(super) enum Likeness {
    /// It contains the word, written with these letters of other scripts.
    OtherLetters(Vec<char>),
    /// It is spelled almost like the word.
    Spelling,
}

impl Likeness {
    fn of(label: &str, word: &str) -> Option<Self> {
        let seen: String = label.chars().filter(|character| *character != '-').map(latin_look).collect();
        if !label.is_ascii() && seen.contains(word) {
            let mut others: Vec<char> = Vec::new();
            for character in label.chars().filter(|character| latin_look(*character) != *character) {
                if !others.contains(&character) {
                    others.push(character);
                }
            }
            return Some(Self::OtherLetters(others));
        }
        let differences_max = if word.len() < LONG_BRAND_BYTES { 1 } else { 2 };
        let is_near = seen.chars().count().abs_diff(word.len()) <= differences_max
            && strsim::osa_distance(&seen, word) <= differences_max;
        is_near.then_some(Self::Spelling)
    }

    /// In words; `main` is the service's name that is resembled.
    pub(super) fn told(&self, main: &str) -> String {
        match self {
            Self::OtherLetters(letters) => {
                let letters: Vec<String> =
                    letters.iter().map(|letter| format!("{letter} (U+{:04X})", u32::from(*letter))).collect();
                format!("the name looks like {main}, but has the letters {}", letters.join(", "))
            }
            Self::Spelling => format!("the name is spelled almost like {main}"),
        }
    }
}

/// The Latin letter that a small letter of another script looks like, as impostors use them.
const fn latin_look(character: char) -> char {
    match character {
        'а' | 'α' => 'a',
        'в' | 'β' => 'b',
        'с' | 'ϲ' => 'c',
        'ԁ' => 'd',
        'е' | 'ё' | 'ε' => 'e',
        'ғ' => 'f',
        'һ' | 'н' => 'h',
        'і' | 'ї' | 'ι' | 'ı' => 'i',
        'ј' | 'ϳ' => 'j',
        'к' | 'κ' | 'қ' => 'k',
        'ӏ' | 'ł' => 'l',
        'м' => 'm',
        'п' | 'η' => 'n',
        'о' | 'ο' | 'ø' | 'σ' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' => 'q',
        'г' => 'r',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'υ' => 'u',
        'ѵ' | 'ν' => 'v',
        'ԝ' | 'ω' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'ү' | 'γ' => 'y',
        other => other,
    }
}
