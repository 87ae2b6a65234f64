//! The texts of rules: host names, fingerprints and keys, checked by their shape.

use super::Matches;
use crate::normalise::{LABEL_BYTES_MAX, NAME_BYTES_MAX, Name, normalise};

/// Why a text is refused, and the mend.
pub(super) type Refusal = (String, String);

/// Checks a name as rules write it: normal form, at least two labels.
pub(super) fn host(text: &str) -> Result<(), Refusal> {
    let mut buffer = [0; 256];
    let mend = match normalise(text.as_bytes(), &mut buffer) {
        Name::Host(name) if name.as_str() != text => format!("write it as \"{}\"", name.as_str()),
        Name::Host(_) if text.contains('.') => return Ok(()),
        Name::Host(_) => "give at least two labels".to_owned(),
        Name::IpLiteral(_) => "addresses belong under [[prefixes]]".to_owned(),
        Name::NotAHostName if text.contains('*') => "leave the star out: suffix matches everything below".to_owned(),
        Name::NotAHostName => format!(
            "use labels of up to {LABEL_BYTES_MAX} letters, digits, hyphens and underscores, {NAME_BYTES_MAX} in all"
        ),
    };
    Err((format!("\"{text}\" is not a host name as rules write it"), mend))
}

/// Checks a JA4 fingerprint.
pub(super) fn ja4(text: &str) -> Result<Matches, Refusal> {
    if is_ja4(text) {
        return Ok(Matches::Ja4);
    }
    Err((format!("\"{text}\" is not a JA4 fingerprint"), "write it as t13d1516h2_8daaf6152771_e5627efa2ab1".to_owned()))
}

/// Whether a text has the shape of a JA4 fingerprint: ten characters, and two truncated hashes.
pub(crate) fn is_ja4(text: &str) -> bool {
    let mut parts = text.split('_');
    let (head, ciphers, extensions) = (parts.next(), parts.next(), parts.next());
    let hash = |part: Option<&str>| {
        part.is_some_and(|part| part.len() == 12 && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
    };
    let sound = head.is_some_and(|head| {
        head.len() == 10 && head.starts_with(['t', 'q', 'd']) && head.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    sound && hash(ciphers) && hash(extensions) && parts.next().is_none()
}

/// Whether a text can be the key of a service or the name of a family.
pub(super) fn is_key(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}
