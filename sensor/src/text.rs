//! Texts from the wire as events show them: printable, and no longer than a limit, so that no event is longer than
//! [`EVENT_BYTES_MAX`].

use serde::{Deserialize, Serialize};

/// The longest line of an event. Elasticsearch and journald refuse or cut longer fields and lines.
pub const EVENT_BYTES_MAX: usize = 16_384;

/// Names of interfaces in captures are cut behind this many bytes. Those of systems are much shorter.
const INTERFACE_BYTES_MAX: usize = 256;

/// What JSON adds to each string of a list: two quotes and a comma.
const LISTED_BYTES: usize = 3;

/// How long texts in events may be, in bytes, escapes included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextLimits {
    /// A name.
    pub name_bytes_max: usize,
    /// All protocols of an ALPN list.
    pub alpn_bytes_max: usize,
    /// A user agent.
    pub user_agent_bytes_max: usize,
    /// All records of a DNS answer.
    pub answers_bytes_max: usize,
}

impl Default for TextLimits {
    fn default() -> Self {
        Self { name_bytes_max: 512, alpn_bytes_max: 1_024, user_agent_bytes_max: 512, answers_bytes_max: 4_096 }
    }
}

/// A text that was cut if it was longer than its limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundedText {
    /// The text, or its beginning.
    pub text: String,
    /// Whether it is the beginning only.
    pub is_cut: bool,
}

impl BoundedText {
    /// Escapes all but printable ASCII. Stops before the text gets longer than `bytes_max`.
    pub fn escaped(raw: &[u8], bytes_max: usize) -> Self {
        let mut text = String::with_capacity(raw.len().min(bytes_max));
        for &byte in raw {
            let escaped = std::ascii::escape_default(byte);
            if text.len() + escaped.len() > bytes_max {
                return Self { text, is_cut: true };
            }
            text.extend(escaped.map(char::from));
        }
        Self { text, is_cut: false }
    }
}

/// The texts of a list, escaped, as far as all together have no more than `bytes_max`; whether some were left out.
pub fn escaped_list<'a>(raw: impl Iterator<Item = &'a [u8]>, bytes_max: usize) -> (Vec<String>, bool) {
    let (mut texts, mut left) = (Vec::new(), bytes_max);
    for raw in raw {
        let Some(room) = left.checked_sub(LISTED_BYTES) else { return (texts, true) };
        let BoundedText { text, is_cut } = BoundedText::escaped(raw, room);
        if is_cut {
            return (texts, true);
        }
        left = room - text.len();
        texts.push(text);
    }
    (texts, false)
}

/// The name of a capture's interface, which its file may make as long as it likes.
pub fn interface_name(name: &str) -> String {
    let fits = |&(at, character): &(usize, char)| at + character.len_utf8() <= INTERFACE_BYTES_MAX;
    name.char_indices().take_while(fits).map(|(_, character)| character).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_cut_before_an_escape_that_does_not_fit() {
        let cut = |raw: &[u8], bytes_max| {
            let BoundedText { text, is_cut } = BoundedText::escaped(raw, bytes_max);
            (text, is_cut)
        };
        assert_eq!(cut(b"www.tiktok.com", 14), ("www.tiktok.com".to_owned(), false));
        assert_eq!(cut(b"www.tiktok.com", 13), ("www.tiktok.co".to_owned(), true));
        assert_eq!(cut(b"ab\xff", 5), ("ab".to_owned(), true));
        assert_eq!(cut(b"ab\xff", 6), ("ab\\xff".to_owned(), false));
        assert_eq!(
            escaped_list([&b"h2"[..], b"http/1.1"].into_iter(), 16),
            (vec!["h2".into(), "http/1.1".into()], false)
        );
        assert_eq!(escaped_list([&b"h2"[..], b"http/1.1"].into_iter(), 15), (vec!["h2".into()], true));
        assert_eq!(escaped_list([&b""[..]; 9].into_iter(), 8), (vec![String::new(); 2], true));
        assert_eq!(interface_name("Ethernet à 1"), "Ethernet à 1");
        assert_eq!(interface_name(&"à".repeat(200)).len(), INTERFACE_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn no_text_is_longer_than_its_limit(raw in proptest::collection::vec(any::<u8>(), 0..400), bytes_max in 0..500_usize) {
            let bounded = BoundedText::escaped(&raw, bytes_max);
            prop_assert!(bounded.text.len() <= bytes_max);
            let whole = raw.escape_ascii().to_string();
            prop_assert!(whole.starts_with(&bounded.text));
            prop_assert_eq!(bounded.is_cut, whole.len() > bytes_max);
        }
    }
}
