//! Whether a TLS ClientHello record begins at a place in a stream, told from its first 44 bytes (RFC 8446 §4.1.2,
//! §5.1). Reading the hello, over however many records, is the work of `handshake::tls`.

use vigie_wire::Cursor;

/// First byte of a handshake record.
pub const HANDSHAKE_RECORD: u8 = 0x16;

/// Largest record length: 2¹⁴ and what TLS 1.2 allowed encryption to add (RFC 5246 §6.2.3).
pub(super) const RECORD_BYTES_MAX: u16 = 18_432;

/// Smallest hello behind its header: version, random, empty session id, one suite, one compression method.
const HELLO_BYTES_MIN: u32 = 2 + 32 + 1 + 4 + 2;

/// Largest hello behind its header: all its vectors full.
const HELLO_BYTES_MAX: u32 = 2 + 32 + 33 + 2 + 65_534 + 256 + 2 + 65_535;

/// Whether bytes match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// They do.
    Yes,
    /// They do not.
    No,
    /// All bytes so far match, but more are needed.
    Maybe,
}

/// How much the position vouches for a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A hello is expected here: at a stream's start, or where a recognised message ended. Any hello passes, even one cut
    /// into records of a byte each; nine bytes decide.
    Boundary,
    /// Any place in unknown bytes. The record must hold the hello up to its session id and agree with it in length; 44
    /// bytes decide. Random bytes pass once in 2⁵⁰ or so.
    Anywhere,
}

/// Whether a ClientHello record begins at `offset` of `stream`.
#[inline]
pub fn client_hello_at(stream: &[u8], offset: usize, place: Place) -> Match {
    let bytes = stream.get(offset..).unwrap_or_default();
    match bytes.first() {
        Some(&HANDSHAKE_RECORD) => record(bytes, place).err().unwrap_or(Match::Yes),
        Some(_) => Match::No,
        None => Match::Maybe,
    }
}

/// Checks every field that is there. `Err` tells the verdict if it is not yes.
fn record(bytes: &[u8], place: Place) -> Result<(), Match> {
    let mut cursor = Cursor::new(bytes);
    arrived(cursor.skip(1))?;
    // RFC 8446 §5.1 has the record's version ignored; no version has used the high nibble.
    let major = arrived(cursor.u8())?;
    require(major == 3 || place == Place::Boundary && major < 0x10)?;
    arrived(cursor.skip(1))?;
    let length = arrived(cursor.u16())?;
    require((1..=RECORD_BYTES_MAX).contains(&length))?;
    let content = cursor.rest();
    let content = content.get(..usize::from(length)).unwrap_or(content);
    // Fields beyond the record are in the next one and cannot be checked here.
    let ended = match place {
        Place::Boundary => Ok(()),
        Place::Anywhere => Err(Match::No),
    };
    match hello(Cursor::new(content), u32::from(length), place) {
        Err(Match::Maybe) if content.len() == usize::from(length) => ended,
        verdict => verdict,
    }
}

fn hello(mut cursor: Cursor<'_>, record_length: u32, place: Place) -> Result<(), Match> {
    require(arrived(cursor.u8())? == 1)?;
    let length = arrived(cursor.u24())?;
    require((HELLO_BYTES_MIN..=HELLO_BYTES_MAX).contains(&length))?;
    require(place == Place::Boundary || length + 4 >= record_length)?;
    if place == Place::Anywhere {
        // Servers negotiate by extension and ignore the version (RFC 8446 §4.1.2): clients may write odd ones.
        require(matches!(arrived(cursor.u8())?, 3 | 4))?;
        arrived(cursor.skip(1 + 32))?;
        require(arrived(cursor.u8())? <= 32)?;
    }
    Ok(())
}

fn arrived<T>(read: Option<T>) -> Result<T, Match> {
    read.ok_or(Match::Maybe)
}

fn require(holds: bool) -> Result<(), Match> {
    if holds { Ok(()) } else { Err(Match::No) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A hello of 512 bytes in one record, as a browser sends it: version 3.3, session id of 32 bytes.
    pub fn browser_hello() -> Vec<u8> {
        let mut bytes = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        bytes.extend_from_slice(&[0xa5; 32]);
        bytes.push(32);
        bytes.resize(517, 0x5a);
        bytes
    }

    #[test]
    fn knows_a_hello_as_soon_as_it_can() {
        let hello = browser_hello();
        for (place, decided) in [(Place::Boundary, 9), (Place::Anywhere, 44)] {
            for end in 0..hello.len() {
                let expected = if end < decided { Match::Maybe } else { Match::Yes };
                assert_eq!(client_hello_at(&hello[..end], 0, place), expected, "{place:?} {end}");
            }
            let inside = [&[0x16, 0x16], &hello[..]].concat();
            assert_eq!(client_hello_at(&inside, 2, place), Match::Yes);
            assert_eq!(client_hello_at(&inside, 1, place), Match::No);
            assert_eq!(client_hello_at(&inside, 9999, place), Match::Maybe);
        }
    }

    #[test]
    fn each_field_is_required() {
        for (at, to) in [(0, 0x17), (1, 0x47), (3, 0x49), (5, 2), (6, 3)] {
            let mut hello = browser_hello();
            hello[at] = to;
            assert_eq!(client_hello_at(&hello, 0, Place::Boundary), Match::No, "byte {at}");
            assert_eq!(client_hello_at(&hello, 0, Place::Anywhere), Match::No, "byte {at}");
        }
        for (at, to) in [(1, 2), (9, 2), (9, 0xfe)] {
            let mut hello = browser_hello();
            hello[at] = to;
            assert_eq!(client_hello_at(&hello, 0, Place::Boundary), Match::Yes, "byte {at}");
            assert_eq!(client_hello_at(&hello, 0, Place::Anywhere), Match::No, "byte {at}");
        }
        for (at, to) in [(2, 5), (2, 0xff), (9, 4), (10, 0), (10, 0xff)] {
            let mut hello = browser_hello();
            hello[at] = to;
            assert_eq!(client_hello_at(&hello, 0, Place::Anywhere), Match::Yes, "byte {at}");
        }
        let mut hello = browser_hello();
        hello[43] = 33;
        assert_eq!(client_hello_at(&hello, 0, Place::Anywhere), Match::No, "session id");
        hello = browser_hello();
        hello[8] = 0xfb;
        assert_eq!(client_hello_at(&hello, 0, Place::Anywhere), Match::No, "ends before its record");
        hello[7] = 0xff;
        assert_eq!(client_hello_at(&hello, 0, Place::Anywhere), Match::Yes, "goes on in the next record");
    }

    #[test]
    fn tiny_records_pass_only_where_a_hello_is_expected() {
        for length in 1..=38_u8 {
            let mut hello = vec![0x16, 3, 1, 0, length];
            hello.extend_from_slice(&browser_hello()[5..5 + usize::from(length)]);
            assert_eq!(client_hello_at(&hello, 0, Place::Boundary), Match::Yes, "{length}");
            assert_eq!(client_hello_at(&hello, 0, Place::Anywhere), Match::No, "{length}");
        }
        assert_eq!(client_hello_at(&[0x16, 3, 1, 0, 1, 2], 0, Place::Boundary), Match::No);
        assert_eq!(client_hello_at(&[0x16, 3, 1, 0, 0, 1], 0, Place::Boundary), Match::No);
    }

    proptest! {
        /// Maybe is all that may change as bytes arrive, and what passes anywhere passes at a boundary.
        #[test]
        fn verdicts_are_final(
            damage in proptest::collection::vec((0_usize..50, any::<u8>()), 0..4),
            length in 0_usize..60,
        ) {
            let mut hello = browser_hello();
            damage.into_iter().for_each(|(at, to)| hello[at] = to);
            for place in [Place::Boundary, Place::Anywhere] {
                let now = client_hello_at(&hello[..length], 0, place);
                prop_assert!(now == Match::Maybe || now == client_hello_at(&hello, 0, place));
            }
            if client_hello_at(&hello, 0, Place::Anywhere) == Match::Yes {
                prop_assert_eq!(client_hello_at(&hello, 0, Place::Boundary), Match::Yes);
            }
        }
    }
}
