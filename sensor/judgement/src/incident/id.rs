//! Ids of incidents that can be read over the phone: `k7q2m-4x9d0-6`.
//!
//! They are a hash of what the incident is about, so that a replay gives the same ones.

use sha1::{Digest, Sha1};

/// Digits and letters that are not taken for others. Their number is prime, so the check letter finds every wrong letter
/// and every two that changed places.
const ALPHABET: &[u8; 31] = b"0123456789abcdefghjkmnpqrstvwxy";
/// Letters before the check letter.
const LETTERS: usize = 10;

/// The id of what these parts say.
pub fn incident_id(parts: &[&[u8]]) -> String {
    let mut number = hash(parts);
    let base = ALPHABET.len() as u64;
    let mut id = String::with_capacity(LETTERS + 3);
    let mut check = 0;
    for place in 0..LETTERS {
        if place == LETTERS / 2 {
            id.push('-');
        }
        let value = number % base;
        number /= base;
        check = (check + value * (place as u64 + 1)) % base;
        id.push(letter(value));
    }
    id.push('-');
    id.push(letter(check));
    id
}

/// Whether an id is one that was not misheard.
pub fn is_incident_id(id: &str) -> bool {
    let values: Option<Vec<u64>> = id
        .bytes()
        .filter(|byte| *byte != b'-')
        .map(|byte| ALPHABET.iter().position(|letter| *letter == byte).map(|place| place as u64))
        .collect();
    let Some(values) = values else { return false };
    let Some((check, letters)) = values.split_last() else { return false };
    let sum: u64 = letters.iter().zip(1..).map(|(value, weight)| value * weight).sum();
    letters.len() == LETTERS && sum % ALPHABET.len() as u64 == *check
}

fn letter(value: u64) -> char {
    ALPHABET.get(value as usize).map_or('0', |letter| char::from(*letter))
}

/// The first 64 bits of the hash, each part with its length before it.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = Sha1::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_differ() {
        assert_eq!(incident_id(&[b"10.0.0.1", b"tiktok"]), incident_id(&[b"10.0.0.1", b"tiktok"]));
        assert_ne!(incident_id(&[b"10.0.0.1", b"tiktok"]), incident_id(&[b"10.0.0.1t", b"iktok"]));
        let ids: std::collections::HashSet<_> = (0_u32..2_000).map(|n| incident_id(&[&n.to_be_bytes()])).collect();
        assert_eq!(ids.len(), 2_000);
    }

    #[test]
    fn the_form_is_five_five_one() {
        let id = incident_id(&[b"x"]);
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [5, 5, 1]);
        assert!(is_incident_id(&id));
        assert!(is_incident_id("k7q2m-4x9d0-6"), "the example of the help");
    }

    #[test]
    fn a_wrong_letter_and_two_that_changed_places_are_found() {
        let id = incident_id(&[b"x"]);
        let letters: Vec<char> = id.chars().collect();
        for place in (0..letters.len()).filter(|place| letters[*place] != '-') {
            for other in ALPHABET.iter().map(|letter| char::from(*letter)).filter(|other| *other != letters[place]) {
                let mut wrong = letters.clone();
                wrong[place] = other;
                assert!(!is_incident_id(&wrong.iter().collect::<String>()));
            }
        }
        for place in 0..4 {
            let mut swapped = letters.clone();
            swapped.swap(place, place + 1);
            assert_eq!(is_incident_id(&swapped.iter().collect::<String>()), letters[place] == letters[place + 1]);
        }
        for none in ["", "-", "k7q2m", "k7q2m-4x9d0-l", "k7q2m-4x9d00-f"] {
            assert!(!is_incident_id(none), "{none}");
        }
    }
}
