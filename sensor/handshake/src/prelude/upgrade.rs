//! Requests to switch a clear-text connection to TLS. The binary ones are recognised whole, at a message's start; those of
//! line protocols and XMPP by the word right in front of the hello.

use vigie_wire::Cursor;

/// Object identifier of LDAP's StartTLS (RFC 4511 §4.14.1).
const LDAP_START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

/// How far before a hello the request for it may begin.
pub(super) const REQUEST_BYTES_MAX: usize = 128;

/// Longest binary request that is waited for.
const BINARY_BYTES_MAX: usize = 1024;

/// What stands at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// None of the requests.
    No,
    /// Too few bytes to tell.
    Maybe,
    /// A request of this length; the hello follows.
    Yes(usize),
}

/// The binary request at the start of `bytes`.
pub(super) fn binary(bytes: &[u8]) -> Request {
    let read = match bytes.first() {
        Some(0x00) => postgresql(bytes),
        Some(0x03) => remote_desktop(bytes),
        Some(0x20) => mysql(bytes),
        Some(0x30) => ldap(bytes),
        Some(_) => Err(Request::No),
        None => Err(Request::Maybe),
    };
    match read {
        Ok(length) if length > BINARY_BYTES_MAX => Request::No,
        Ok(length) if length > bytes.len() => Request::Maybe,
        Ok(length) => Request::Yes(length),
        Err(verdict) => verdict,
    }
}

/// Whether `before`, the bytes in front of a possible hello, ends with a textual request: a line of SMTP, LMTP, IMAP, NNTP,
/// Sieve or IRC (STARTTLS), POP3 (STLS), FTP (AUTH TLS, RFC 4217), or XMPP's `<starttls …/>` (RFC 6120 §5.4.2). Looks
/// at the last word or tag only, so a stream full of false hellos stays cheap.
pub(super) fn text_ends(before: &[u8]) -> bool {
    let window = before.get(before.len().saturating_sub(REQUEST_BYTES_MAX)..).unwrap_or_default();
    match window.split_last() {
        Some((b'\n', text)) => {
            let line = text.trim_ascii_end();
            [&b"STARTTLS"[..], b"STLS", b"AUTH TLS", b"AUTH SSL"].iter().any(|word| ends_with(line, word))
        }
        Some((b'>', text)) => {
            let start = memchr::memrchr(b'<', text).unwrap_or(text.len());
            let tag = text.get(start..).unwrap_or_default();
            tag.starts_with(b"<starttls") || tag.starts_with(b"</starttls")
        }
        _ => false,
    }
}

fn ends_with(line: &[u8], word: &[u8]) -> bool {
    line.len().checked_sub(word.len()).and_then(|at| line.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(word))
}

fn arrived<T>(read: Option<T>) -> Result<T, Request> {
    read.ok_or(Request::Maybe)
}

fn require(holds: bool) -> Result<(), Request> {
    if holds { Ok(()) } else { Err(Request::No) }
}

/// Checks as many bytes of `expected` as there are.
fn expect(cursor: &mut Cursor<'_>, expected: &[u8]) -> Result<(), Request> {
    require(super::proxied::begins(cursor.rest(), expected))?;
    arrived(cursor.skip(expected.len()))
}

/// SSLRequest, or GSSENCRequest, after whose refusal the client sends the other ("Message Formats" of its manual).
fn postgresql(bytes: &[u8]) -> Result<usize, Request> {
    let mut cursor = Cursor::new(bytes);
    expect(&mut cursor, &[0, 0, 0, 8, 0x04, 0xd2, 0x16])?;
    require(matches!(arrived(cursor.u8())?, 0x2f | 0x30))?;
    Ok(8)
}

/// The X.224 connection request that begins RDP, in a TPKT (MS-RDPBCGR §2.2.1.1).
fn remote_desktop(bytes: &[u8]) -> Result<usize, Request> {
    let mut cursor = Cursor::new(bytes);
    expect(&mut cursor, &[3, 0])?;
    let length = usize::from(arrived(cursor.u16())?);
    // The X.224 header is as long as the rest of the TPKT and its own length byte say alike, up to 254.
    require(length >= 11 && usize::from(arrived(cursor.u8())?) + 5 == length)?;
    expect(&mut cursor, &[0xe0, 0, 0])?;
    Ok(length)
}

/// The SSL request: a login packet cut off behind its fixed part, number 1, with the flags for protocol 4.1 and SSL.
fn mysql(bytes: &[u8]) -> Result<usize, Request> {
    let mut cursor = Cursor::new(bytes);
    expect(&mut cursor, &[32, 0, 0, 1])?;
    arrived(cursor.skip(1))?;
    require(arrived(cursor.u8())? & 0x0a == 0x0a)?;
    Ok(4 + 32)
}

/// The extended request StartTLS (RFC 4511 §4.14) in BER: message, message id, request with an object identifier.
fn ldap(bytes: &[u8]) -> Result<usize, Request> {
    let mut cursor = Cursor::new(bytes);
    expect(&mut cursor, &[0x30])?;
    let content = ber_length(&mut cursor)?;
    let total = bytes.len() - cursor.remaining() + content;
    expect(&mut cursor, &[0x02])?;
    let id_length = arrived(cursor.u8())?;
    require((1..=4).contains(&id_length))?;
    arrived(cursor.skip(usize::from(id_length)))?;
    expect(&mut cursor, &[0x77])?;
    ber_length(&mut cursor)?;
    expect(&mut cursor, &[0x80])?;
    require(ber_length(&mut cursor)? == LDAP_START_TLS.len())?;
    expect(&mut cursor, LDAP_START_TLS)?;
    require(total >= bytes.len() - cursor.remaining())?;
    Ok(total)
}

/// A definite length, short or in up to four bytes; small ones only.
fn ber_length(cursor: &mut Cursor<'_>) -> Result<usize, Request> {
    let first = arrived(cursor.u8())?;
    let length = match first {
        0..=0x7f => u32::from(first),
        0x81..=0x84 => {
            let mut length = 0;
            for _ in 0x80..first {
                length = length << 8 | u32::from(arrived(cursor.u8())?);
            }
            length
        }
        _ => return Err(Request::No),
    };
    require(length as usize <= BINARY_BYTES_MAX)?;
    Ok(length as usize)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub const POSTGRESQL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
    pub const MYSQL: &[u8] =
        b"\x20\0\0\x01\x85\xae\xff\x19\0\0\0\x01\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    pub const LDAP: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16\x31.3.6.1.4.1.1466.20037";
    pub const LDAP_LONG: &[u8] =
        b"\x30\x84\0\0\0\x25\x02\x01\x01\x77\x84\0\0\0\x1c\x80\x84\0\0\0\x16\x31.3.6.1.4.1.1466.20037";
    pub const REMOTE_DESKTOP: &[u8] =
        b"\x03\0\0\x2a\x25\xe0\0\0\0\0\0Cookie: mstshash=a\r\n\x01\0\x08\0\x0b\0\0\0\x20\x20\x20";

    #[test]
    fn knows_the_binary_requests() {
        for whole in [POSTGRESQL, MYSQL, LDAP, LDAP_LONG, REMOTE_DESKTOP] {
            assert_eq!(binary(&[whole, &[0x16]].concat()), Request::Yes(whole.len()), "{whole:x?}");
            (0..whole.len()).for_each(|end| assert_eq!(binary(&whole[..end]), Request::Maybe, "{end} of {whole:x?}"));
        }
        assert_eq!(binary(b"\0\0\0\x08\x04\xd2\x16\x30"), Request::Yes(8), "encryption by GSSAPI");
    }

    #[test]
    fn knows_what_is_none() {
        for other in [
            &b"GET"[..],
            b"\0\0\0\x08\x04\xd2\x16\x2e",
            b"\0\0\0\x54\0\x03\0\0",
            b"\x20\0\0\0",
            b"\x20\0\0\x01\x85\xa2",
            b"\x30\x0c\x02\x01\x01\x60",
            b"\x30\x80",
            b"\x30\x84\xff\xff\xff\xff",
            b"\x30\x1d\x02\x05",
            b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16\x31.3.6.1.4.1.1466.20036",
            b"\x30\x05\x02\x01\x01\x77\x18\x80\x16\x31.3.6.1.4.1.1466.20037",
            b"\x03\0\0\x2a\x24",
            b"\x03\0\0\x0a",
            b"\x03\0\0\x2a\x25\xd0",
        ] {
            assert_eq!(binary(other), Request::No, "{other:x?}");
        }
    }

    #[test]
    fn knows_the_requests_in_text() {
        for yes in [
            "EHLO a\r\nSTARTTLS\r\n",
            "starttls\n",
            "a.001 STARTTLS\r\n",
            "CAPA\r\nSTLS\r\n",
            "AUTH TLS\r\n",
            "auth ssl\r\n",
            "<stream:stream><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
            "<starttls xmlns=\"urn:ietf:params:xml:ns:xmpp-tls\"></starttls>",
        ] {
            assert!(text_ends(yes.as_bytes()), "{yes}");
        }
        for no in [
            "",
            "\n",
            "STARTTLS",
            "STARTTLS\r\nEHLO a\r\n",
            "STARTTLS a\r\n",
            "AUTH PLAIN\r\n",
            "<starttls/> ",
            "<stream>",
        ] {
            assert!(!text_ends(no.as_bytes()), "{no}");
        }
    }
}
