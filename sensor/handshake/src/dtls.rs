//! Reads the ClientHello out of DTLS datagrams: DTLS 1.0 and 1.2 (RFC 6347), 1.3 (RFC 9147 §4, whose hellos use the same
//! record) and OpenSSL's version before 1.0. Handles several records in a datagram, several messages in a record, and
//! fragments in any order. A second hello after HelloVerifyRequest is read like the first. Encrypted records are skipped.

use super::tls::{ClientHello, HelloScan};
use vigie_wire::Cursor;
use vigie_wire::assembly::Assembly;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const HELLO_VERIFY_REQUEST: u8 = 3;
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
        // DTLS of any version, whose minor part servers ignore as that of TLS, and OpenSSL's before 1.0.
        if !matches!(ahead.u16()?, 0xfe00..=0xfeff | 0x0100) {
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

/// Whether a datagram consists of DTLS records and one of them holds a ClientHello or a fragment of one: behind an alert, a
/// ChangeCipherSpec, encrypted records or other messages too.
#[inline]
pub fn looks_like_dtls(payload: &[u8]) -> bool {
    let may_be_record = matches!(*payload, [kind, 0xfe | 0x01, ..] if CONTENT_TYPES.contains(&kind));
    may_be_record && client_hellos(payload).next().is_some()
}

/// Whether a server's datagram begins with a HelloVerifyRequest: the client will send another hello (RFC 6347 §4.2.1).
pub fn is_hello_verify_request(payload: &[u8]) -> bool {
    matches!(*payload, [HANDSHAKE, 0xfe | 0x01, ..])
        && handshake_fragments(payload).next().is_some_and(|fragment| fragment.kind == HELLO_VERIFY_REQUEST)
}

/// The ClientHellos in a datagram, whole or in fragments.
fn client_hellos(payload: &[u8]) -> impl Iterator<Item = Fragment<'_>> {
    handshake_fragments(payload).filter(|fragment| fragment.kind == CLIENT_HELLO && fragment.length >= HELLO_BYTES_MIN)
}

/// The fragments of handshake messages in a datagram's records that are not encrypted.
fn handshake_fragments(payload: &[u8]) -> impl Iterator<Item = Fragment<'_>> {
    let mut records = Cursor::new(payload);
    let records = std::iter::from_fn(move || Record::read(&mut records));
    records.filter(|record| record.content_type == HANDSHAKE && record.epoch == 0).flat_map(|record| {
        let mut fragments = Cursor::new(record.content);
        std::iter::from_fn(move || Fragment::read(&mut fragments))
    })
}

/// The client's direction of a DTLS association.
#[derive(Debug, Default)]
pub struct DtlsHello {
    /// The bytes of the current hello, if it comes in fragments.
    assembly: Assembly,
    scan: HelloScan,
    /// Its message number and length, once a fragment of it was seen.
    message: Option<(u16, usize)>,
}

/// What a datagram brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtlsStep {
    /// Nothing new of a hello.
    Nothing,
    /// More of a hello in fragments is known than before: ask [`DtlsHello::so_far`].
    MoreFragments,
    /// Hellos that the datagram holds whole, which were visited.
    Hellos,
}

impl DtlsHello {
    /// Takes the payload of a datagram and visits the hellos that stand in it whole. Several may: those of different
    /// clients, or a decoy and the true one. A hello in fragments is held up to `bytes_max` bytes.
    pub fn datagram(&mut self, payload: &[u8], bytes_max: usize, visit: &mut dyn FnMut(&ClientHello<'_>)) -> DtlsStep {
        let (mut has_hello, mut has_grown) = (false, false);
        for fragment in client_hellos(payload) {
            if fragment.is_whole_message()
                && let Ok(hello) = HelloScan::dtls().advance(fragment.bytes, fragment.length)
            {
                has_hello = true;
                visit(&hello);
            } else {
                has_grown |= self.insert(&fragment, bytes_max);
            }
        }
        match (has_hello, has_grown) {
            (true, _) => DtlsStep::Hellos,
            (false, true) => DtlsStep::MoreFragments,
            (false, false) => DtlsStep::Nothing,
        }
    }

    /// The hello in fragments, as far as its beginning is there.
    pub fn so_far(&mut self) -> Option<ClientHello<'_>> {
        let (_, length) = self.message?;
        self.scan.advance(self.assembly.contiguous(), length).ok()
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

    /// What a datagram shows of hellos: name, cookie, version, whether complete.
    #[derive(Debug, PartialEq, Eq)]
    struct Shown {
        name: Option<String>,
        cookie: Vec<u8>,
        version: u16,
        is_complete: bool,
    }

    impl Shown {
        fn of(hello: &ClientHello<'_>) -> Self {
            let name = hello.server_name().map(|name| String::from_utf8_lossy(name).into_owned());
            let (cookie, version) = (hello.cookie().to_vec(), hello.legacy_version());
            Self { name, cookie, version, is_complete: hello.is_complete() }
        }

        fn name(name: &str) -> Self {
            Self { name: Some(name.to_owned()), cookie: vec![], version: 0xfefd, is_complete: true }
        }
    }

    /// The hellos that a datagram holds, or else that in fragments.
    fn show(state: &mut DtlsHello, payload: &[u8]) -> Vec<Shown> {
        let mut shown = Vec::new();
        match state.datagram(payload, BYTES_MAX, &mut |hello| shown.push(Shown::of(hello))) {
            DtlsStep::Nothing => assert!(shown.is_empty()),
            DtlsStep::Hellos => assert!(!shown.is_empty()),
            DtlsStep::MoreFragments => shown.extend(state.so_far().map(|hello| Shown::of(&hello))),
        }
        shown
    }

    #[test]
    fn a_hello_in_one_datagram_is_read_in_place() {
        let payload = datagram(&hello("a.example", &[]), 0);
        let mut state = DtlsHello::default();
        assert_eq!(show(&mut state, &payload), [Shown::name("a.example")]);
        assert_eq!(state.memory_bytes(), 0);
    }

    #[test]
    fn a_recorded_hello_of_openssl() {
        let payload = unhex(include_str!("tls/testdata/openssl_dtls12.hex"));
        assert!(looks_like_dtls(&payload));
        assert_eq!(show(&mut DtlsHello::default(), &payload), [Shown::name("dtls.example.org")]);
        DtlsHello::default().datagram(&payload, BYTES_MAX, &mut |hello| {
            assert!(!hello.is_malformed());
            assert_eq!(hello.highest_version(), 0xfefd);
        });
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
                assert!(show(&mut state, &datagrams[place]).iter().all(|shown| !shown.is_complete), "{order:?}");
            }
            assert_eq!(show(&mut state, &datagrams[order[3]]), [Shown::name("fragmented.example.org")]);
            assert_eq!(state.so_far().unwrap().alpn().count(), 20);
        }
    }

    #[test]
    fn fragments_of_one_byte() {
        let body = hello("one-byte.example", &[]);
        let mut state = DtlsHello::default();
        let mut last = Vec::new();
        for at in 0..body.len() {
            let payload = dtls_record(22, [0xfe, 0xfd], 0, 0, &dtls_fragment(1, 0, &body, at, at + 1));
            assert!(looks_like_dtls(&payload));
            last = show(&mut state, &payload);
        }
        assert_eq!(last, [Shown::name("one-byte.example")]);
    }

    #[test]
    fn the_name_is_told_before_the_last_fragment() {
        let hello = Hello::to("early.example").with(23, vec![]);
        let body = Hello { version: 0xfefd, cookie: Some(vec![]), ..hello }.body();
        let early = dtls_record(22, [0xfe, 0xfd], 0, 0, &dtls_fragment(1, 0, &body, 0, body.len() - 1));
        let expected = Shown { is_complete: false, ..Shown::name("early.example") };
        assert_eq!(show(&mut DtlsHello::default(), &early), [expected]);
    }

    #[test]
    fn the_second_hello_has_a_cookie() {
        let mut state = DtlsHello::default();
        // The first hello loses its tail, the second comes in two fragments, the first's rest comes late.
        let first = hello("first.example", &[]);
        let second = hello("second.example", &[0xc0; 20]);
        let head = dtls_record(22, [0xfe, 0xff], 0, 0, &dtls_fragment(1, 0, &first, 0, 50));
        assert!(show(&mut state, &head).iter().all(|shown| shown.name.is_none()));
        let head = dtls_record(22, [0xfe, 0xfd], 0, 1, &dtls_fragment(1, 1, &second, 0, 60));
        show(&mut state, &head);
        let late = dtls_record(22, [0xfe, 0xff], 0, 2, &dtls_fragment(1, 0, &first, 50, first.len()));
        assert_eq!(show(&mut state, &late), []);
        let tail = dtls_record(22, [0xfe, 0xfd], 0, 3, &dtls_fragment(1, 1, &second, 60, second.len()));
        assert_eq!(show(&mut state, &tail), [Shown { cookie: vec![0xc0; 20], ..Shown::name("second.example") }]);
    }

    #[test]
    fn other_records_and_messages_in_front() {
        let body = hello("behind.example", &[]);
        let alert = dtls_record(21, [0xfe, 0xfd], 0, 0, &[2, 40]);
        let change = dtls_record(20, [0xfe, 0xfd], 0, 0, &[1]);
        let encrypted = dtls_record(22, [0xfe, 0xfd], 1, 0, &[0xff; 40]);
        let request = dtls_fragment(0, 0, &[], 0, 0);
        let together = [request, dtls_fragment(1, 1, &body, 0, body.len())].concat();
        let hello = dtls_record(22, [0xfe, 0xfd], 0, 1, &together);
        for front in [&alert, &change, &encrypted, &[alert.clone(), encrypted.clone(), change.clone()].concat()] {
            let payload = [&front[..], &hello].concat();
            assert!(looks_like_dtls(&payload));
            assert_eq!(show(&mut DtlsHello::default(), &payload), [Shown::name("behind.example")]);
        }
        for other in [&alert[..], &encrypted, b"\x00\x01\x00\x00stun"] {
            assert!(!looks_like_dtls(other));
            assert_eq!(show(&mut DtlsHello::default(), other), []);
        }
    }

    #[test]
    fn all_hellos_of_a_datagram_are_visited() {
        let payload = [datagram(&hello("one.example", &[]), 0), datagram(&hello("two.example", &[]), 0)].concat();
        assert_eq!(show(&mut DtlsHello::default(), &payload), ["one.example", "two.example"].map(Shown::name));
    }

    #[test]
    fn minor_versions_are_ignored() {
        for minor in [0x00, 0xfa, 0xfc, 0xff] {
            let body = hello("minor.example", &[]);
            let fragment = dtls_fragment(CLIENT_HELLO, 0, &body, 0, body.len());
            let payload = dtls_record(HANDSHAKE, [0xfe, minor], 0, 0, &fragment);
            assert!(looks_like_dtls(&payload));
            assert_eq!(show(&mut DtlsHello::default(), &payload), [Shown::name("minor.example")]);
        }
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
        assert!(!at(0, 23) && !at(1, 3) && !at(4, 1) && !at(13, 2));
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
            show(&mut state, &dtls_record(22, [0xfe, 0xff], 0, 0, &fragment));
            fragment[6..9].copy_from_slice(&[0, 0x3f, 0]);
            show(&mut state, &dtls_record(22, [0xfe, 0xff], 0, 0, &fragment));
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
            let last = datagrams.iter().map(|datagram| show(&mut state, datagram)).last().unwrap();
            prop_assert_eq!(last, [Shown { cookie: vec![1, 2, 3], ..Shown::name("shuffled.example") }]);
        }

        #[test]
        fn no_bytes_panic(
            mut payload in proptest::collection::vec(any::<u8>(), 0..300),
            cut in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut state = DtlsHello::default();
            show(&mut state, &payload);
            payload = datagram(&hello("mutated.example", &[]), 0);
            let at = place.index(payload.len());
            payload[at] = byte;
            payload.truncate(cut.index(payload.len() + 1));
            looks_like_dtls(&payload);
            show(&mut state, &payload);
        }
    }
}
