//! Host names as the wire brings them, and texts of signatures.

use vigie_signatures::{Bundle, LoadOptions, NAME_BYTES_MAX, Name, SourceText, normalise};

/// A name: its normal form is stable, and can be looked up.
pub fn names(data: &[u8]) {
    let mut buffer = [0; 256];
    let Name::Host(host) = normalise(data, &mut buffer) else { return };
    let host = std::str::from_utf8(host.as_ref()).expect("ASCII");
    assert!(!host.is_empty() && host.len() <= NAME_BYTES_MAX && !host.ends_with('.'));
    assert!(host.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
    let mut again = [0; 256];
    assert!(matches!(normalise(host.as_bytes(), &mut again), Name::Host(same) if same.as_str() == host));
    let bundle = Bundle::builtin();
    let found = bundle.name(host);
    if let Some(rule) = found
        && rule.kind == vigie_signatures::MatchKind::Suffix
    {
        assert!(host == rule.text || host.ends_with(&format!(".{}", rule.text)), "{host} by {}", rule.text);
    }
    let _ = bundle.dns_name(host);
    let _ = bundle.ja4(host);
}

/// A signature file, and what the bundle made of it is asked.
pub fn bundle(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let layer = vec![SourceText { label: "fuzz".to_owned(), text: text.to_owned() }];
    let options = LoadOptions { builtin: false, ..LoadOptions::default() };
    let Ok((bundle, _)) = Bundle::from_texts(&[layer], options) else { return };
    assert_eq!(bundle.is_empty(), bundle.rules().is_empty());
    for rule in bundle.rules() {
        let _ = bundle.name(&rule.text);
        let _ = bundle.explain(&rule.text);
    }
}
