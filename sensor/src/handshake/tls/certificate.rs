//! The names in a server's certificate, which stands in clear before TLS 1.3 (RFC 5246 §7.4.2). Only the server's own
//! certificate is read, the first of the chain; nothing is verified.

use arrayvec::ArrayVec;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::wire::Cursor;

/// How many names of a certificate are told.
pub const NAMES_MAX: usize = 8;

/// The longest certificate that is parsed; its parser takes memory in proportion.
pub const CERTIFICATE_BYTES_MAX: usize = 16 << 10;

/// The longest host name (RFC 1035 §2.3.4), as text without its final dot.
const NAME_BYTES_MAX: usize = 253;

/// The names of a certificate.
pub type Names = ArrayVec<String, NAMES_MAX>;

/// The server's certificate, from the body of a Certificate message that may lack its tail; `None` while it is not
/// there to its end.
pub fn leaf(body: &[u8]) -> Option<&[u8]> {
    let mut cursor = Cursor::new(body);
    let list_length = cursor.u24()?;
    let length = cursor.u24()?;
    if length.checked_add(3)? > list_length {
        return None;
    }
    cursor.take(length as usize)
}

/// The host names that a certificate is for: its dNSNames (RFC 5280 §4.2.1.6), else its common name if that looks like
/// a host name. A wildcard stays as it is.
pub fn names(der: &[u8]) -> Names {
    let mut names = Names::new();
    if der.len() > CERTIFICATE_BYTES_MAX {
        return names;
    }
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return names };
    for extension in certificate.extensions() {
        if let ParsedExtension::SubjectAlternativeName(alternative) = extension.parsed_extension() {
            let dns = alternative.general_names.iter().filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(*name),
                _ => None,
            });
            for name in dns.filter(|name| looks_like_host_name(name)).take(names.remaining_capacity()) {
                names.push(name.to_owned());
            }
        }
    }
    if names.is_empty() {
        let common_names = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        if let Some(name) = common_names.filter(|name| looks_like_host_name(name)).last() {
            names.push(name.to_owned());
        }
    }
    names
}

/// Whether this may be a host name of at least two labels, the first perhaps a wildcard.
fn looks_like_host_name(name: &str) -> bool {
    let bare = name.strip_prefix("*.").unwrap_or(name);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    bare.len() <= NAME_BYTES_MAX
        && bare.contains('.')
        && bare.parse::<std::net::Ipv4Addr>().is_err()
        && bare.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::tls::build::unhex;

    fn certificate() -> Vec<u8> {
        unhex(include_str!("testdata/certificate_alternative_names.hex"))
    }

    fn chain(certificates: &[&[u8]]) -> Vec<u8> {
        let with_length = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[1..], bytes].concat();
        with_length(&certificates.iter().flat_map(|certificate| with_length(certificate)).collect::<Vec<u8>>())
    }

    #[test]
    fn alternative_names_go_before_the_common_name() {
        assert_eq!(names(&certificate())[..], ["www.example.org", "*.cdn.example.org"]);
    }

    #[test]
    fn a_common_name_stands_in() {
        let der = unhex(include_str!("testdata/certificate_common_name.hex"));
        assert_eq!(names(&der)[..], ["only-cn.example.org"]);
    }

    #[test]
    fn the_leaf_is_told_before_the_chain_is_there() {
        let der = certificate();
        let body = chain(&[&der, &[7; 900]]);
        for cut in 0..=body.len() {
            assert_eq!(leaf(&body[..cut]), (cut >= 6 + der.len()).then_some(&der[..]), "cut at {cut}");
        }
        assert_eq!(leaf(&chain(&[])), None);
        let mut longer_than_its_list = chain(&[&der]);
        longer_than_its_list[2] -= 1;
        assert_eq!(leaf(&longer_than_its_list), None);
    }

    #[test]
    fn damage_and_size_give_no_names_and_no_panic() {
        let der = certificate();
        for place in 0..der.len() {
            for byte in [0, 0x7f, 0x80, 0xff] {
                let mut other = der.clone();
                other[place] = byte;
                assert!(names(&other).len() <= NAMES_MAX);
            }
            assert!(names(&der[..place]).is_empty());
        }
        let mut padded = der;
        padded.resize(CERTIFICATE_BYTES_MAX + 1, 0);
        assert!(names(&padded).is_empty());
    }

    #[test]
    fn what_looks_like_a_host_name() {
        for name in ["a.b", "*.tiktokv.com", "x_y.example.", "xn--bcher-kva.example"] {
            assert!(looks_like_host_name(name), "{name}");
        }
        for name in ["", "localhost", "Example Root CA", "10.0.0.1", "a..b", "*", "*.", "a b.c", "*.*.c", "a@b.c"] {
            assert!(!looks_like_host_name(name), "{name}");
        }
        assert!(!looks_like_host_name(&format!("{}.example", "a".repeat(64))));
    }
}
