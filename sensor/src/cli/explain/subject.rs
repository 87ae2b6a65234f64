//! What analysts paste when they ask about a name: URLs, indicators made harmless to click, wildcards, names with a port.

/// How reports write a dot, a colon or a scheme so that nobody clicks on it.
const HARMLESS: [(&str, &str); 8] = [
    ("[://]", "://"),
    ("[:]", ":"),
    ("[.]", "."),
    ("(.)", "."),
    ("{.}", "."),
    ("[dot]", "."),
    ("(dot)", "."),
    ("\\.", "."),
];

/// The name, address or fingerprint in a pasted text. A text without one is given back as it is.
pub(super) fn subject(pasted: &str) -> String {
    let mut text = pasted.trim().trim_matches(['"', '\'', '<', '>', '`', ',', ';']).trim().to_owned();
    for (written, meant) in HARMLESS {
        if text.contains(written) {
            text = text.replace(written, meant);
        }
    }
    let rest = text.split_once("://").map_or(text.as_str(), |(_scheme, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).find(|part| !part.is_empty()).unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_user, host)| host);
    let host = without_port(host);
    host.strip_prefix("*.").or_else(|| host.strip_prefix('.')).unwrap_or(host).to_owned()
}

/// A host without the port behind it (RFC 3986 §3.2).
fn without_port(host: &str) -> &str {
    if let Some((address, _port)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    match host.split_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_analysts_paste() {
        for (pasted, expected) in [
            ("www.tiktok.com", "www.tiktok.com"),
            (" www.tiktok.com. ", "www.tiktok.com."),
            ("https://www.tiktok.com/@user/video/1?x=https://example.org", "www.tiktok.com"),
            ("hxxps://www[.]tiktok[.]com/", "www.tiktok.com"),
            ("hxxp[:]//www(.)tiktok{.}com:8443/a", "www.tiktok.com"),
            ("hXXps[://]tiktok[dot]com", "tiktok.com"),
            ("tiktok\\.com", "tiktok.com"),
            ("//tiktok.com/a", "tiktok.com"),
            ("tiktok.com:443", "tiktok.com"),
            ("tiktok.com/", "tiktok.com"),
            ("*.tiktok.com", "tiktok.com"),
            (".tiktok.com", "tiktok.com"),
            ("<https://tiktok.com>,", "tiktok.com"),
            ("user:secret@tiktok.com:443", "tiktok.com"),
            ("147.160.176.1:443", "147.160.176.1"),
            ("147.160.176.0/20", "147.160.176.0"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("https://[2001:db8::1]/", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::1", "::1"),
            ("t13d1516h2_8daaf6152771_e5627efa2ab1", "t13d1516h2_8daaf6152771_e5627efa2ab1"),
            ("", ""),
            ("://", ""),
            ("a b", "a b"),
        ] {
            assert_eq!(subject(pasted), expected, "{pasted}");
        }
    }
}
