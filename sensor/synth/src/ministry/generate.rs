//! Names that a pattern of a signature file matches, drawn by chance: the regular expression is walked, and each choice in
//! it is random.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::random::Random;

/// Repetitions beyond the least that are drawn of `*`, `+` and `{n,}`.
const REPETITIONS_MORE: usize = 3;

/// The syntax tree of a pattern; none if it is not a regular expression.
pub(super) fn parse(pattern: &str) -> Option<Hir> {
    ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern).ok()
}

/// A text that the expression matches. Look-around is not obeyed, so the caller asks the signatures again.
pub(super) fn text(hir: &Hir, random: &mut Random) -> String {
    let mut out = String::new();
    append(hir, random, &mut out);
    out
}

fn append(hir: &Hir, random: &mut Random, out: &mut String) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(class) => out.extend(character(class, random)),
        HirKind::Repetition(repetition) => {
            let least = repetition.min as usize;
            let most = repetition.max.map_or(least + REPETITIONS_MORE, |most| most as usize);
            let most = most.min(least + REPETITIONS_MORE);
            for _ in 0..random.within(least..most + 1) {
                append(&repetition.sub, random, out);
            }
        }
        HirKind::Capture(capture) => append(&capture.sub, random, out),
        HirKind::Concat(parts) => parts.iter().for_each(|part| append(part, random, out)),
        HirKind::Alternation(parts) => {
            if let Some(part) = random.choose(parts) {
                append(part, random, out);
            }
        }
    }
}

fn character(class: &Class, random: &mut Random) -> Option<char> {
    let ranges: Vec<(char, char)> = match class {
        Class::Bytes(bytes) => bytes.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect(),
        Class::Unicode(unicode) => unicode.ranges().iter().map(|range| (range.start(), range.end())).collect(),
    };
    let (first, last) = *random.choose(&ranges)?;
    let place = random.below(last as usize - first as usize + 1);
    char::from_u32(first as u32 + u32::try_from(place).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_form_of_the_expression() {
        let mut random = Random::new(1);
        let hir = parse("^(?:(tnc|log)[0-9]*(-[a-z]+)?)\\.(?:example\\.(?:org|com))$").unwrap();
        for _ in 0..200 {
            let text = text(&hir, &mut random);
            let (head, zone) = text.split_once('.').unwrap();
            assert!(head.starts_with("tnc") || head.starts_with("log"), "{text}");
            assert!(zone == "example.org" || zone == "example.com", "{text}");
            assert!(head.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
        }
        assert!(parse("(").is_none());
    }
}
