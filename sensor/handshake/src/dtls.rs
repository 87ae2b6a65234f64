//! Reads the ClientHello out of DTLS datagrams: DTLS 1.0 and 1.2 (RFC 6347), 1.3 (RFC 9147 §4, whose hellos use the same
//! record) and OpenSSL's version before 1.0. Handles several records in a datagram, several messages in a record, and
//! fragments in any order. A second hello after HelloVerifyRequest is read like the first. Encrypted records are skipped.

use super::tls::{ClientHello, HelloScan};
use vigie_wire::Cursor;
use vigie_wire::assembly::Assembly;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// ChangeCipherSpec, alert, handshake, application data, heartbeat; then connection ids (RFC 9146) and ACK (RFC 9147).
const CONTENT_TYPES: std::ops::RangeInclusive<u8> = 20..=26;
/// The fixed fields of a hello, with empty session id and cookie, one cipher suite and one compression method.
const HELLO_BYTES_MIN: usize = 2 + 32 + 1 + 1 + 4 + 2;

/// A record's header and content, the content as far as it was captured.
struct Record<'a> {
    content_type: u8,
    epoch: u16,
    content: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Option<Self> {
        let mut ahead = *cursor;
        let content_type = ahead.u8().filter(|kind| CONTENT_TYPES.contains(kind))?;
        // 1.0, 1.2, the version that 1.3 might have written, and OpenSSL's before 1.0.
        if !matches!(ahead.u16()?, 0xfeff | 0xfefd | 0xfefc | 0x0100) {
            return None;
        }
        let epoch = ahead.u16()?;
        ahead.skip(6)?;
        let length = usize::from(ahead.u16()?);
        let content = ahead.take(length.min(ahead.remaining()))?;
        *cursor = ahead;
        Some(Self { content_type, epoch, content })
    }
}

/// A fragment of a handshake message (RFC 6347 §4.2.2), its bytes as far as they were captured.
#[derive(Clone, Copy)]
struct Fragment<'a> {
    kind: u8,
    /// Of the whole message.
    length: usize,
    sequence: u16,
    offset: usize,
    bytes: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// The next fragment; `None` at the end, or where lengths contradict each other.
    #[inline]
    fn read(cursor: &mut Cursor<'a>) -> Option<Self> {
        let kind = cursor.u8()?;
        let length = cursor.u24()? as usize;
        let sequence = cursor.u16()?;
        let offset = cursor.u24()? as usize;
        let fragment_length = cursor.u24()? as usize;
        if offset + fragment_length > length {
            return None;
        }
        let bytes = cursor.take(fragment_length.min(cursor.remaining()))?;
        Some(Self { kind, length, sequence, offset, bytes })
    }

    fn is_whole_message(&self) -> bool {
        self.bytes.len() == self.length
    }
}

/// Whether a datagram starts with a DTLS record that starts with a ClientHello, or with a fragment of one.
#[inline]
pub fn looks_like_dtls(payload: &[u8]) -> bool {
    let [HANDSHAKE, 0xfe | 0x01, _, 0, 0, ..] = *payload else { return false };
    let mut cursor = Cursor::new(payload);
    let Some(record) = Record::read(&mut cursor) else { return false };
    Fragment::read(&mut Cursor::new(record.content))
        .is_some_and(|fragment| fragment.kind == CLIENT_HELLO && fragment.length >= HELLO_BYTES_MIN)
}

/// What a datagram gave.
#[derive(Clone, Copy, Debug)]
pub enum DtlsStep<'a> {
    /// Nothing new: more datagrams are needed.
    More,
    /// The hello, as much of it as is there.
    Hello(ClientHello<'a>),
    /// These are no DTLS records.
    NotDtls,
}

/// The client's direction of a DTLS association, until its hello is read.
#[derive(Debug, Default)]
pub struct DtlsHello {
    /// The bytes of the current hello, if it comes in fragments.
    assembly: Assembly,
    scan: HelloScan,
    /// Its message number and length, once a fragment of it was seen.
    message: Option<(u16, usize)>,
}

impl DtlsHello {
    /// Takes the payload of a datagram. A hello in fragments is held up to `bytes_max` bytes; if it is longer, what
    /// these bytes tell is told.
    pub fn datagram<'a>(&'a mut self, payload: &'a [u8], bytes_max: usize) -> DtlsStep<'a> {
        let mut records = Cursor::new(payload);
        let mut any_record = false;
        let mut has_grown = false;
        while let Some(record) = Record::read(&mut records) {
            any_record = true;
            if record.content_type != HANDSHAKE || record.epoch != 0 {
                continue;
            }
            let mut fragments = Cursor::new(record.content);
            while let Some(fragment) = Fragment::read(&mut fragments) {
                if fragment.kind != CLIENT_HELLO || fragment.length < HELLO_BYTES_MIN {
                    continue;
                }
                if fragment.is_whole_message()
                    && let Ok(hello) = HelloScan::dtls().advance(fragment.bytes, fragment.length)
                {
                    return DtlsStep::Hello(hello);
                }
                has_grown |= self.insert(&fragment, bytes_max);
            }
        }
        match (any_record, has_grown) {
            (false, _) => DtlsStep::NotDtls,
            (true, false) => DtlsStep::More,
            (true, true) => self.look(),
        }
    }

    /// The hello as far as it is there.
    pub fn so_far(&mut self) -> Option<ClientHello<'_>> {
        match self.look() {
            DtlsStep::Hello(hello) => Some(hello),
            DtlsStep::More | DtlsStep::NotDtls => None,
        }
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.assembly.capacity()
    }

    /// Adds a fragment to the current hello, or starts another one with it. True if more of the hello's beginning is known.
    fn insert(&mut self, fragment: &Fragment<'_>, bytes_max: usize) -> bool {
        let message = (fragment.sequence, fragment.length);
        if self.message != Some(message) {
            // A fragment of an older hello that comes late is of no use; one with a beginning always is.
            let is_late = self.message.is_some_and(|(sequence, _)| fragment.sequence <= sequence);
            if is_late && fragment.offset > 0 {
                return false;
            }
            self.assembly.clear();
            self.scan = HelloScan::dtls();
            self.message = Some(message);
        }
        let before = self.assembly.contiguous().len();
        // An error tells that a part was left out; what fits was inserted.
        let _ = self.assembly.insert(fragment.offset, fragment.bytes, bytes_max.min(fragment.length));
        self.assembly.contiguous().len() > before
    }

    fn look(&mut self) -> DtlsStep<'_> {
        let Some((_, length)) = self.message else { return DtlsStep::More };
        match self.scan.advance(self.assembly.contiguous(), length) {
            Ok(hello) => DtlsStep::Hello(hello),
            Err(_) => DtlsStep::More,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tls::build::{Hello, dtls_fragment, dtls_record, message, unhex};

    const BYTES_MAX: usize = 16 << 10;

    fn hello(name: &str, cookie: &[u8]) -> Vec<u8> {
        Hello { version: 0xfefd, cookie: Some(cookie.to_vec()), ..Hello::to(name) }.body()
    }

    /// The whole body in one fragment, in one record.
    fn datagram(body: &[u8], sequence: u16) -> Vec<u8> {
        dtls_record(HANDSHAKE, [0xfe, 0xff], 0, 0, &dtls_fragment(CLIENT_HELLO, sequence, body, 0, body.len()))
    }

    fn name(step: &DtlsStep<'_>) -> Option<String> {
        match step {
            DtlsStep::Hello(hello) => hello.server_name().map(|name| String::from_utf8(name.to_vec()).unwrap()),
            _ => None,
        }
    }

    #[test]
    fn a_hello_in_one_datagram_is_read_in_place() {
        let payload = datagram(&hello("a.example", &[]), 0);
        let mut state = DtlsHello::default();
        let step = state.datagram(&payload, BYTES_MAX);
        assert!(matches!(step, DtlsStep::Hello(hello) if hello.is_complete() && hello.legacy_version() == 0xfefd));
        assert_eq!(name(&step).as_deref(), Some("a.example"));
        assert_eq!(state.memory_bytes(), 0);
    }

    #[test]
    fn a_recorded_hello_of_openssl() {
        let payload = unhex(include_str!("tls/testdata/openssl_dtls12.hex"));
        assert!(looks_like_dtls(&payload));
        let mut state = DtlsHello::default();
        let DtlsStep::Hello(hello) = state.datagram(&payload, BYTES_MAX) else { panic!("no hello") };
        assert!(hello.is_complete() && !hello.is_malformed());
        assert_eq!(hello.server_name(), Some(&b"dtls.example.org"[..]));
        assert_eq!(hello.highest_version(), 0xfefd);
    }

    #[test]
    fn a_recorded_hello_in_fragments_in_any_order() {
        let recorded = include_str!("tls/testdata/openssl_dtls12_fragments.hex");
        let datagrams: Vec<Vec<u8>> = recorded.lines().filter(|line| !line.starts_with('#')).map(unhex).collect();
        assert_eq!(datagrams.len(), 4);
        assert!(datagrams.iter().all(|datagram| looks_like_dtls(datagram)));
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let mut state = DtlsHello::default();
            for &place in &order[..3] {
                let step = state.datagram(&datagrams[place], BYTES_MAX);
                assert!(!matches!(step, DtlsStep::Hello(hello) if hello.is_complete()), "{order:?}");
            }
            let DtlsStep::Hello(hello) = state.datagram(&datagrams[order[3]], BYTES_MAX) else { panic!("no hello") };
            assert!(hello.is_complete());
            assert_eq!(hello.server_name(), Some(&b"fragmented.example.org"[..]));
            assert_eq!(hello.alpn().count(), 20);
        }
    }

    #[test]
    fn the_name_is_told_before_the_last_fragment() {
        let hello = Hello::to("early.example").with(23, vec![]);
        let body = Hello { version: 0xfefd, cookie: Some(vec![]), ..hello }.body();
        let early = dtls_record(22, [0xfe, 0xfd], 0, 0, &dtls_fragment(1, 0, &body, 0, body.len() - 1));
        let mut state = DtlsHello::default();
        let step = state.datagram(&early, BYTES_MAX);
        assert_eq!(name(&step).as_deref(), Some("early.example"));
        assert!(matches!(step, DtlsStep::Hello(hello) if !hello.is_complete()));
    }

    #[test]
    fn the_second_hello_has_a_cookie() {
        let mut state = DtlsHello::default();
        // The first hello loses its tail, the second comes in two fragments, the first's rest comes late.
        let first = hello("first.example", &[]);
        let second = hello("second.example", &[0xc0; 20]);
        let head = dtls_record(22, [0xfe, 0xff], 0, 0, &dtls_fragment(1, 0, &first, 0, 50));
        assert!(matches!(state.datagram(&head, BYTES_MAX), DtlsStep::Hello(hello) if hello.server_name().is_none()));
        let head = dtls_record(22, [0xfe, 0xfd], 0, 1, &dtls_fragment(1, 1, &second, 0, 60));
        state.datagram(&head, BYTES_MAX);
        let late = dtls_record(22, [0xfe, 0xff], 0, 2, &dtls_fragment(1, 0, &first, 50, first.len()));
        assert!(matches!(state.datagram(&late, BYTES_MAX), DtlsStep::More));
        let tail = dtls_record(22, [0xfe, 0xfd], 0, 3, &dtls_fragment(1, 1, &second, 60, second.len()));
        let step = state.datagram(&tail, BYTES_MAX);
        assert_eq!(name(&step).as_deref(), Some("second.example"));
        assert!(matches!(step, DtlsStep::Hello(hello) if hello.is_complete() && hello.cookie() == [0xc0; 20]));
    }

    #[test]
    fn other_records_and_messages_go_by() {
        let body = hello("behind.example", &[]);
        let alert = dtls_record(21, [0xfe, 0xfd], 0, 0, &[2, 40]);
        let encrypted = dtls_record(22, [0xfe, 0xfd], 1, 0, &[0xff; 40]);
        let request = dtls_fragment(0, 0, &[], 0, 0);
        let together = [request, dtls_fragment(1, 1, &body, 0, body.len())].concat();
        let hello = dtls_record(22, [0xfe, 0xfd], 0, 1, &together);
        let payload = [alert.clone(), encrypted, hello].concat();
        assert_eq!(name(&DtlsHello::default().datagram(&payload, BYTES_MAX)).as_deref(), Some("behind.example"));
        assert!(matches!(DtlsHello::default().datagram(&alert, BYTES_MAX), DtlsStep::More));
        assert!(matches!(DtlsHello::default().datagram(b"\x00\x01\x00\x00stun", BYTES_MAX), DtlsStep::NotDtls));
    }

    #[test]
    fn only_a_hello_looks_like_one() {
        let body = hello("a.example", &[]);
        let hello = datagram(&body, 0);
        assert!(looks_like_dtls(&hello));
        let at = |place: usize, byte: u8| {
            let mut other = hello.clone();
            other[place] = byte;
            looks_like_dtls(&other)
        };
        assert!(!at(0, 23) && !at(1, 3) && !at(2, 0xfa) && !at(4, 1) && !at(13, 2));
        assert!(!at(22, 0xff), "a fragment longer than its message");
        assert!(!looks_like_dtls(&dtls_record(22, [0xfe, 0xff], 0, 0, &message(3, &[0; 60]))));
        assert!(!looks_like_dtls(&[]) && !looks_like_dtls(&hello[..24]));
    }

    #[test]
    fn memory_is_bounded_whatever_is_announced() {
        let mut state = DtlsHello::default();
        for sequence in 0..50 {
            let mut fragment = dtls_fragment(1, sequence, &[7; 90], 80, 90);
            fragment[1..4].copy_from_slice(&[0xff, 0xff, 0xff]);
            fragment[6..9].copy_from_slice(&[0xff, 0, 0]);
            state.datagram(&dtls_record(22, [0xfe, 0xff], 0, 0, &fragment), BYTES_MAX);
            fragment[6..9].copy_from_slice(&[0, 0x3f, 0]);
            state.datagram(&dtls_record(22, [0xfe, 0xff], 0, 0, &fragment), BYTES_MAX);
        }
        assert!(state.memory_bytes() > 0 && state.memory_bytes() <= 2 * BYTES_MAX);
    }

    proptest! {
        #[test]
        fn any_fragments_in_any_order_give_the_name(
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
            shuffle in any::<u64>(), per_datagram in 1_usize..4,
        ) {
            let body = hello("shuffled.example", &[1, 2, 3]);
            let mut bounds: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
            bounds.extend([0, body.len()]);
            bounds.sort_unstable();
            bounds.dedup();
            let mut fragments: Vec<Vec<u8>> = bounds.windows(2)
                .map(|pair| dtls_record(22, [0xfe, 0xfd], 0, 0, &dtls_fragment(1, 0, &body, pair[0], pair[1])))
                .collect();
            fragments.sort_by_key(|fragment| {
                fragment.iter().fold(shuffle, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
            });
            let mut state = DtlsHello::default();
            let datagrams: Vec<Vec<u8>> = fragments.chunks(per_datagram).map(|chunk| chunk.concat()).collect();
            let mut last = None;
            for datagram in &datagrams {
                if let DtlsStep::Hello(hello) = state.datagram(datagram, BYTES_MAX) {
                    last = Some((hello.is_complete(), hello.server_name().map(<[u8]>::to_vec)));
                }
            }
            prop_assert_eq!(last, Some((true, Some(b"shuffled.example".to_vec()))));
        }

        #[test]
        fn no_bytes_panic(
            mut payload in proptest::collection::vec(any::<u8>(), 0..300),
            cut in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut state = DtlsHello::default();
            state.datagram(&payload, BYTES_MAX);
            payload = datagram(&hello("mutated.example", &[]), 0);
            let at = place.index(payload.len());
            payload[at] = byte;
            payload.truncate(cut.index(payload.len() + 1));
            looks_like_dtls(&payload);
            state.datagram(&payload, BYTES_MAX);
        }
    }
}
