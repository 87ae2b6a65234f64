//! The known word that a mistyped one most likely means.

/// Longer words are not compared: they are not typing errors.
const WORD_BYTES_MAX: usize = 64;

/// The word of `known` that is nearest to `typed`, unless all are too different.
pub fn nearest<'k>(typed: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if typed.is_empty() || typed.len() > WORD_BYTES_MAX {
        return None;
    }
    let typed = typed.to_lowercase().replace('-', "_");
    let distance_max = (typed.len() / 3).max(1);
    let of = |word: &str| strsim::damerau_levenshtein(&typed, &word.to_lowercase().replace('-', "_"));
    let all = known.into_iter().map(|word| (of(word), word));
    all.filter(|(distance, _)| *distance <= distance_max).min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_found_and_nothing_is_guessed() {
        let known = ["workers", "ring_bytes", "block_bytes", "round-robin"];
        for (typed, expected) in [
            ("worker", Some("workers")),
            ("Workers", Some("workers")),
            ("wrokers", Some("workers")),
            ("ring-bytes", Some("ring_bytes")),
            ("round_robin", Some("round-robin")),
            ("threads", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), expected, "{typed}");
        }
        assert_eq!(nearest(&"workers".repeat(100), known), None);
    }
}
