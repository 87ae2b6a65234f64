//! What differs between the versions of QUIC that a client may open with: header layout, type numbering, frames, and the
//! salts and labels of the Initial keys. Knows versions only by number; parses nothing.

use super::frames::Framing;

/// The key schedules of Initial packets: a salt, and the labels that go with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schedule {
    /// draft-ietf-quic-tls-17 to -20.
    Draft17,
    /// Drafts 21 and 22, and mvfst's first version.
    Draft21,
    /// Drafts 23 to 28, and most of mvfst.
    Draft23,
    /// Drafts 29 to 32.
    Draft29,
    /// RFC 9001 §5.2, and drafts 33 and 34.
    V1,
    /// The early drafts of version 2.
    V2Draft,
    /// RFC 9369 §3.3.1.
    V2,
    /// Google's Q050.
    Q050,
    /// Google's T050.
    T050,
    /// Google's T051.
    T051,
}

/// The four HKDF-Expand-Label inputs of RFC 8446 §7.1, written out: length, label with its prefix, empty context; and behind
/// them the number of HKDF-Expand's only block (RFC 5869 §2.3).
#[derive(Debug)]
pub(super) struct Labels {
    pub(super) client: &'static [u8],
    pub(super) key: &'static [u8],
    pub(super) iv: &'static [u8],
    pub(super) header: &'static [u8],
}

/// RFC 9001 §5.1 and §5.2.
const LABELS_V1: Labels = Labels {
    client: b"\x00\x20\x0ftls13 client in\x00\x01",
    key: b"\x00\x10\x0etls13 quic key\x00\x01",
    iv: b"\x00\x0c\x0dtls13 quic iv\x00\x01",
    header: b"\x00\x10\x0dtls13 quic hp\x00\x01",
};

/// RFC 9369 §3.3.2; the label of the client secret is that of version 1.
const LABELS_V2: Labels = Labels {
    client: LABELS_V1.client,
    key: b"\x00\x10\x10tls13 quicv2 key\x00\x01",
    iv: b"\x00\x0c\x0ftls13 quicv2 iv\x00\x01",
    header: b"\x00\x10\x0ftls13 quicv2 hp\x00\x01",
};

impl Schedule {
    /// How many schedules there are.
    pub(super) const COUNT: usize = 10;

    /// Each schedule, at the place that its number says.
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::Draft17,
        Self::Draft21,
        Self::Draft23,
        Self::Draft29,
        Self::V1,
        Self::V2Draft,
        Self::V2,
        Self::Q050,
        Self::T050,
        Self::T051,
    ];

    #[rustfmt::skip]
    pub(super) const fn salt(self) -> [u8; 20] {
        match self {
            Self::Draft17 => [0xef, 0x4f, 0xb0, 0xab, 0xb4, 0x74, 0x70, 0xc4, 0x1b, 0xef, 0xcf, 0x80, 0x31, 0x33, 0x4f, 0xae, 0x48, 0x5e, 0x09, 0xa0],
            Self::Draft21 => [0x7f, 0xbc, 0xdb, 0x0e, 0x7c, 0x66, 0xbb, 0xe9, 0x19, 0x3a, 0x96, 0xcd, 0x21, 0x51, 0x9e, 0xbd, 0x7a, 0x02, 0x64, 0x4a],
            Self::Draft23 => [0xc3, 0xee, 0xf7, 0x12, 0xc7, 0x2e, 0xbb, 0x5a, 0x11, 0xa7, 0xd2, 0x43, 0x2b, 0xb4, 0x63, 0x65, 0xbe, 0xf9, 0xf5, 0x02],
            Self::Draft29 => [0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61, 0x11, 0xe0, 0x43, 0x90, 0xa8, 0x99],
            Self::V1 => [0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a],
            Self::V2Draft => [0xa7, 0x07, 0xc2, 0x03, 0xa5, 0x9b, 0x47, 0x18, 0x4a, 0x1d, 0x62, 0xca, 0x57, 0x04, 0x06, 0xea, 0x7a, 0xe3, 0xe5, 0xd3],
            Self::V2 => [0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9],
            Self::Q050 => [0x50, 0x45, 0x74, 0xef, 0xd0, 0x66, 0xfe, 0x2f, 0x9d, 0x94, 0x5c, 0xfc, 0xdb, 0xd3, 0xa7, 0xf0, 0xd3, 0xb5, 0x6b, 0x45],
            Self::T050 => [0x7f, 0xf5, 0x79, 0xe5, 0xac, 0xd0, 0x72, 0x91, 0x55, 0x80, 0x30, 0x4c, 0x43, 0xa2, 0x36, 0x7c, 0x60, 0x48, 0x83, 0x10],
            Self::T051 => [0x7a, 0x4e, 0xde, 0xf4, 0xe7, 0xcc, 0xee, 0x5f, 0xa4, 0x50, 0x6c, 0x19, 0x12, 0x4f, 0xc8, 0xcc, 0xda, 0x6e, 0x03, 0x3d],
        }
    }

    pub(super) const fn labels(self) -> &'static Labels {
        match self {
            Self::V2 | Self::V2Draft => &LABELS_V2,
            _ => &LABELS_V1,
        }
    }
}

/// What a long header packet is, by its type bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Encrypted with keys that anyone can derive by one of these schedules, the likeliest first.
    Initial(&'static [Schedule]),
    /// Encrypted with secret keys; its header tells its length.
    Opaque,
    /// It has no length field and ends the datagram.
    Retry,
    /// Google's unencrypted handshake packet under a long header: the hash of Q044 and Q046, then frames.
    Clear,
}

/// The format of a version's long headers and frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    /// Both connection id lengths stand in one byte, as nibbles less three (until draft 21).
    pub(super) nibble_lengths: bool,
    /// How frames are written.
    pub(super) framing: Framing,
    /// Whether the version is one that we know.
    pub(super) known: bool,
    numbering: Numbering,
    schedules: &'static [Schedule],
}

/// How packet types are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbering {
    /// RFC 9000 §17.2.
    V1,
    /// RFC 9369 §3.2.
    V2,
    /// Google's Q044: the whole of the seven bits, from the top down.
    Q044,
    /// Google's Q046: as RFC 9000, and Initial and 0-RTT packets carry no length.
    Q046,
}

/// The number of version 1.
pub(super) const V1: u32 = 1;

/// The number of Google's Q044.
const Q044: u32 = u32::from_be_bytes(*b"Q044");

/// The number of Google's Q046.
const Q046: u32 = u32::from_be_bytes(*b"Q046");

const fn dialect_of(numbering: Numbering, schedules: &'static [Schedule]) -> Dialect {
    Dialect { nibble_lengths: false, framing: Framing::Ietf, known: true, numbering, schedules }
}

const fn google(number: u8, schedules: &'static [Schedule]) -> Dialect {
    Dialect { framing: Framing::Google { version: number }, ..dialect_of(Numbering::V1, schedules) }
}

/// The dialect of a version; an unknown one (greased, private, future) is taken for version 1, its drafts, or 2.
#[inline]
pub(super) const fn dialect(version: u32) -> Dialect {
    use Schedule as S;
    match version {
        V1 | 0xff00_0021 | 0xff00_0022 => dialect_of(Numbering::V1, &[S::V1]),
        0x6b33_43cf => dialect_of(Numbering::V2, &[S::V2]),
        // The number stayed while the salt changed under it, in draft-ietf-quic-v2-01 and after.
        0x709a_50c4 => dialect_of(Numbering::V2, &[S::V2Draft, S::V2]),
        0xff02_0000 => dialect_of(Numbering::V1, &[S::V2Draft]),
        0xff00_0011..=0xff00_0014 => Dialect { nibble_lengths: true, ..dialect_of(Numbering::V1, &[S::Draft17]) },
        0xff00_0015 => Dialect { nibble_lengths: true, ..dialect_of(Numbering::V1, &[S::Draft21]) },
        0xff00_0016 | 0xface_b001 => dialect_of(Numbering::V1, &[S::Draft21]),
        0xff00_0017..=0xff00_001c | 0xface_b002 | 0xface_b00e => dialect_of(Numbering::V1, &[S::Draft23]),
        0xff00_001d..=0xff00_0020 => dialect_of(Numbering::V1, &[S::Draft29]),
        // mvfst's aliases of version 1, then its experiments, whose salt it leaves at that of draft 23.
        0xface_b003 | 0xface_b004 => dialect_of(Numbering::V1, &[S::V1, S::Draft23]),
        0xface_b000..=0xface_b0ff => dialect_of(Numbering::V1, &[S::Draft23, S::V1]),
        Q044 => Dialect { nibble_lengths: true, numbering: Numbering::Q044, ..google(44, &[]) },
        Q046 => Dialect { nibble_lengths: true, numbering: Numbering::Q046, ..google(46, &[]) },
        _ => match &version.to_be_bytes() {
            b"Q048" => google(48, &[S::Q050]),
            b"Q050" => google(50, &[S::Q050]),
            b"T050" => google(50, &[S::T050]),
            b"T051" => google(51, &[S::T051]),
            // Clients have been seen to grease with the keys of the last draft that they spoke.
            _ => Dialect { known: false, ..dialect_of(Numbering::V1, &[S::V1, S::Draft29]) },
        },
    }
}

impl Dialect {
    /// What a packet is whose first byte is `first`.
    #[inline]
    pub(super) const fn kind(&self, first: u8) -> Kind {
        let bits = first >> 4 & 3;
        match (self.numbering, bits) {
            // An unknown version may number its types as version 2 does.
            (Numbering::V1, 1) if !self.known => Kind::Initial(&[Schedule::V2]),
            (Numbering::V1, 0) | (Numbering::V2, 1) => Kind::Initial(self.schedules),
            (Numbering::V1, 3) | (Numbering::V2, 0) => Kind::Retry,
            (Numbering::Q046, 0) => Kind::Clear,
            (Numbering::Q044, _) if first == 0xff => Kind::Clear,
            (Numbering::Q044 | Numbering::Q046, _) => Kind::Retry,
            _ => Kind::Opaque,
        }
    }
}

/// Whether a version is reserved to force version negotiation (RFC 9000 §15).
#[inline]
pub(super) const fn is_greased(version: u32) -> bool {
    version & 0x0f0f_0f0f == 0x0a0a_0a0a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_schedule_stands_at_its_number_and_labels_say_their_length() {
        for (place, schedule) in Schedule::ALL.into_iter().enumerate() {
            assert_eq!(schedule as usize, place);
            let labels = schedule.labels();
            for (label, length) in [(labels.client, 32), (labels.key, 16), (labels.iv, 12), (labels.header, 16)] {
                assert_eq!(label[1], length);
                assert_eq!(usize::from(label[2]), label.len() - 5);
                assert_eq!(label[label.len() - 2..], [0, 1]);
            }
        }
    }

    #[test]
    fn version_2_numbers_its_types_otherwise() {
        assert_eq!(dialect(V1).kind(0xc0), Kind::Initial(&[Schedule::V1]));
        assert_eq!(dialect(V1).kind(0xf0), Kind::Retry);
        assert_eq!(dialect(0x6b33_43cf).kind(0xd0), Kind::Initial(&[Schedule::V2]));
        assert_eq!(dialect(0x6b33_43cf).kind(0xc0), Kind::Retry);
        assert_eq!(dialect(0x6b33_43cf).kind(0xf0), Kind::Opaque);
        assert_eq!(dialect(0x1a2a_3a4a).kind(0xd0), Kind::Initial(&[Schedule::V2]));
        assert!(is_greased(0x1a2a_3a4a) && !is_greased(V1) && !dialect(0x1a2a_3a4a).known);
    }
}
