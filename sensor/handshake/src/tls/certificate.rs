//! The names in a server's certificate, which stands in clear before TLS 1.3 (RFC 5246 §7.4.2). Only the server's own
//! certificate is read, the first of the chain; nothing is verified.
//!
//! `x509-parser` is the second opinion of the tests and not used here: it rejects a whole certificate for one odd date,
//! and all alternative names for a duplicate extension, and it allocates for every field.

use arrayvec::ArrayString;

use vigie_wire::Cursor;

/// The longest host name (RFC 1035 §2.3.4), as text without its final dot.
const NAME_BYTES_MAX: usize = 253;

/// A host name as a certificate writes it, perhaps with a wildcard and a final dot.
type HostName = ArrayString<{ NAME_BYTES_MAX + 3 }>;

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

/// Visits the host names that a certificate is for: its dNSNames (RFC 5280 §4.2.1.6), else its common name if that looks
/// like a host name. A wildcard stays as it is. All names are visited: their number is bounded by the certificate's size.
pub fn for_each_name(der: &[u8], mut visit: impl FnMut(&str)) {
    let Some(certificate) = Certificate::read(der) else { return };
    let mut alternative = Cursor::new(certificate.alternative_names);
    let mut has_dns_name = false;
    while let Some((tag, name)) = element(&mut alternative) {
        if tag == DNS_NAME
            && let Some(name) = host_name(name.iter().map(|&byte| u32::from(byte)))
        {
            has_dns_name = true;
            visit(&name);
        }
    }
    if !has_dns_name && let Some(name) = common_name(certificate.subject) {
        visit(&name);
    }
}

/// Tags of DER (X.690 §8.1.2), those of a certificate's own fields (RFC 5280 §4.1) and of general names among them.
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const T61_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const VISIBLE_STRING: u8 = 0x1a;
const GENERAL_STRING: u8 = 0x1b;
const UNIVERSAL_STRING: u8 = 0x1c;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;

const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Where in a certificate names stand.
struct Certificate<'a> {
    subject: &'a [u8],
    /// Empty if there are none.
    alternative_names: &'a [u8],
}

impl<'a> Certificate<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let mut certificate = Cursor::new(tagged(&mut Cursor::new(der), SEQUENCE)?);
        let mut fields = Cursor::new(tagged(&mut certificate, SEQUENCE)?);
        if fields.peek() == Some(VERSION) {
            element(&mut fields)?;
        }
        // Serial number, signature algorithm, issuer, validity; the public key follows the subject.
        for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE] {
            tagged(&mut fields, tag)?;
        }
        let subject = tagged(&mut fields, SEQUENCE)?;
        tagged(&mut fields, SEQUENCE)?;
        let mut alternative_names = &[][..];
        while let Some((tag, content)) = element(&mut fields) {
            if tag == EXTENSIONS {
                alternative_names = alternative_names_among(content).unwrap_or_default();
            }
        }
        Some(Self { subject, alternative_names })
    }
}

/// The general names of the first extension that has such.
fn alternative_names_among(extensions: &[u8]) -> Option<&[u8]> {
    let mut extensions = Cursor::new(tagged(&mut Cursor::new(extensions), SEQUENCE)?);
    while let Some(extension) = tagged(&mut extensions, SEQUENCE) {
        let mut extension = Cursor::new(extension);
        if tagged(&mut extension, OBJECT_IDENTIFIER)? != SUBJECT_ALTERNATIVE_NAME {
            continue;
        }
        if extension.peek() == Some(BOOLEAN) {
            element(&mut extension)?;
        }
        return tagged(&mut Cursor::new(tagged(&mut extension, OCTET_STRING)?), SEQUENCE);
    }
    None
}

/// The last common name of a subject that looks like a host name.
fn common_name(subject: &[u8]) -> Option<HostName> {
    let mut found = None;
    let mut sets = Cursor::new(subject);
    while let Some(set) = tagged(&mut sets, SET) {
        let mut attributes = Cursor::new(set);
        while let Some(attribute) = tagged(&mut attributes, SEQUENCE) {
            let mut attribute = Cursor::new(attribute);
            if tagged(&mut attribute, OBJECT_IDENTIFIER) == Some(COMMON_NAME)
                && let Some((tag, value)) = element(&mut attribute)
            {
                found = directory_string(tag, value).or(found);
            }
        }
    }
    found
}

/// The next element's content, if its tag is this one.
fn tagged<'a>(cursor: &mut Cursor<'a>, tag: u8) -> Option<&'a [u8]> {
    element(cursor).filter(|&(found, _)| found == tag).map(|(_, content)| content)
}

/// The next element: tag and content. Lengths take at most three bytes here (X.690 §8.1.3), as in any certificate.
fn element<'a>(cursor: &mut Cursor<'a>) -> Option<(u8, &'a [u8])> {
    let tag = cursor.u8()?;
    let length = match cursor.u8()? {
        short @ 0..=0x7f => usize::from(short),
        0x81 => usize::from(cursor.u8()?),
        0x82 => usize::from(cursor.u16()?),
        0x83 => cursor.u24()? as usize,
        _ => return None,
    };
    Some((tag, cursor.take(length)?))
}

/// The host name in a string of any type that certificates have (RFC 5280 §4.1.2.4). Of each type a host name's characters
/// are those of ASCII, in units of one, two or four bytes.
fn directory_string(tag: u8, value: &[u8]) -> Option<HostName> {
    match tag {
        UTF8_STRING | PRINTABLE_STRING | T61_STRING | IA5_STRING | VISIBLE_STRING | GENERAL_STRING => {
            host_name(value.iter().map(|&byte| u32::from(byte)))
        }
        BMP_STRING => {
            let (units, rest) = value.as_chunks::<2>();
            let characters = units.iter().map(|&unit| u32::from(u16::from_be_bytes(unit)));
            if rest.is_empty() { host_name(characters) } else { None }
        }
        UNIVERSAL_STRING => {
            let (units, rest) = value.as_chunks::<4>();
            if rest.is_empty() { host_name(units.iter().map(|&unit| u32::from_be_bytes(unit))) } else { None }
        }
        _ => None,
    }
}

fn host_name(characters: impl Iterator<Item = u32>) -> Option<HostName> {
    let mut name = HostName::new();
    for character in characters {
        name.try_push(char::from_u32(character).filter(char::is_ascii)?).ok()?;
    }
    looks_like_host_name(&name).then_some(name)
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
    use crate::tls::build::unhex;
    use proptest::prelude::*;
    use x509_parser::extensions::GeneralName;
    use x509_parser::prelude::{FromDer, X509Certificate};

    type Names = Vec<String>;

    fn names(der: &[u8]) -> Names {
        let mut names = Names::new();
        for_each_name(der, |name| names.push(name.to_owned()));
        names
    }

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
                assert!(names(&other).len() <= 3);
            }
            assert!(names(&der[..place]).is_empty());
        }
    }

    /// As a well-kept parser of certificates reads it.
    fn second_opinion(der: &[u8]) -> Option<Names> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let alternative = certificate.subject_alternative_name().ok()?;
        let mut names: Names = alternative
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => looks_like_host_name(name).then(|| (*name).to_owned()),
                _ => None,
            })
            .collect();
        if names.is_empty() {
            let common_names = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
            names.extend(common_names.filter(|name| looks_like_host_name(name)).last().map(str::to_owned));
        }
        Some(names)
    }

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        let header = match content.len() {
            0..=0x7f => vec![tag, length[7]],
            0x80..=0xff => vec![tag, 0x81, length[7]],
            _ => vec![tag, 0x82, length[6], length[7]],
        };
        [&header, content].concat()
    }

    /// A certificate with these common names and general names (tag, value).
    fn forged(common_names: &[String], general_names: &[(u8, String)], is_critical: bool) -> Vec<u8> {
        let common_names: Vec<_> = common_names.iter().map(|name| (UTF8_STRING, name.clone().into_bytes())).collect();
        forged_with(&common_names, general_names, is_critical)
    }

    /// The same with common names of any type.
    fn forged_with(common_names: &[(u8, Vec<u8>)], general_names: &[(u8, String)], is_critical: bool) -> Vec<u8> {
        let sequence = |parts: &[&[u8]]| tlv(SEQUENCE, &parts.concat());
        let oid = |oid: &[u8]| tlv(OBJECT_IDENTIFIER, oid);
        let algorithm = sequence(&[&oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2])]);
        let subject: Vec<u8> = common_names
            .iter()
            .flat_map(|(tag, name)| tlv(SET, &sequence(&[&oid(COMMON_NAME), &tlv(*tag, name)])))
            .collect();
        let time = tlv(0x17, b"260101000000Z");
        let names: Vec<u8> = general_names.iter().flat_map(|(tag, name)| tlv(*tag, name.as_bytes())).collect();
        let critical = if is_critical { tlv(BOOLEAN, &[0xff]) } else { vec![] };
        let value = tlv(OCTET_STRING, &tlv(SEQUENCE, &names));
        let key_usage = sequence(&[&oid(&[0x55, 0x1d, 0x0f]), &tlv(OCTET_STRING, &[3, 2, 5, 0xa0])]);
        let extension = sequence(&[&oid(SUBJECT_ALTERNATIVE_NAME), &critical, &value]);
        let to_be_signed = sequence(&[
            &tlv(VERSION, &tlv(INTEGER, &[2])),
            &tlv(INTEGER, &[1]),
            &algorithm,
            &tlv(SEQUENCE, &[]),
            &sequence(&[&time, &time]),
            &tlv(SEQUENCE, &subject),
            &sequence(&[&algorithm, &tlv(3, &[0, 4])]),
            &tlv(EXTENSIONS, &sequence(&[&key_usage, &extension])),
        ]);
        sequence(&[&to_be_signed, &algorithm, &tlv(3, &[0, 1])])
    }

    #[test]
    fn all_names_are_visited() {
        let name = |number: usize| (DNS_NAME, format!("h{number}.example.com"));
        let many: Vec<_> = (0..400).map(name).chain([(DNS_NAME, "www.example.org".to_owned())]).collect();
        let names = names(&forged(&[], &many, false));
        assert_eq!((names.len(), names.last().map(String::as_str)), (401, Some("www.example.org")));
    }

    #[test]
    fn common_names_of_any_string_type() {
        let wide = |bytes: usize| {
            "cn.example.org".bytes().flat_map(|byte| [vec![0; bytes - 1], vec![byte]].concat()).collect()
        };
        let narrow = b"cn.example.org".to_vec();
        for (tag, value) in [
            (UTF8_STRING, narrow.clone()),
            (PRINTABLE_STRING, narrow.clone()),
            (T61_STRING, narrow.clone()),
            (IA5_STRING, narrow.clone()),
            (VISIBLE_STRING, narrow.clone()),
            (GENERAL_STRING, narrow),
            (BMP_STRING, wide(2)),
            (UNIVERSAL_STRING, wide(4)),
        ] {
            assert_eq!(names(&forged_with(&[(tag, value)], &[], false)), ["cn.example.org"], "{tag:x}");
        }
        let odd: Vec<u8> = [wide(2), vec![0]].concat();
        for (tag, value) in
            [(BMP_STRING, odd.clone()), (UNIVERSAL_STRING, odd), (BMP_STRING, vec![1, b'a']), (4, vec![])]
        {
            assert!(names(&forged_with(&[(tag, value)], &[], false)).is_empty(), "{tag:x}");
        }
    }

    proptest! {
        #[test]
        fn a_second_opinion_agrees(
            common_names in proptest::collection::vec("([*]\\.)?[a-z]{1,9}(\\.[a-z]{2,5}){0,2}", 0..3),
            general_names in proptest::collection::vec((prop_oneof![Just(DNS_NAME), Just(0x81), Just(0x86)], "[a-z.]{1,70}"), 0..20),
            is_critical: bool,
        ) {
            let der = forged(&common_names, &general_names, is_critical);
            prop_assert_eq!(Some(names(&der)), second_opinion(&der));
        }
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
