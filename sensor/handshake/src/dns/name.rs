//! Domain names as DNS writes them (RFC 1035 §3.1, §4.1.4): labels and backward pointers, read into a fixed buffer.
//! Internationalised names are left in the form they have on the wire.

use std::fmt;

/// Longest name in text form: 255 bytes on the wire (RFC 1035 §2.3.4) less the first length byte and the root.
pub const NAME_BYTES_MAX: usize = 253;

/// How many compression pointers of one name are followed. A compressor needs one, or one per label; a hostile message
/// could chain thousands of pointers without a single label.
pub const POINTER_JUMPS_MAX: usize = 64;

/// Stands for a byte that no host name has: control, space, non-ASCII, and a dot or backslash *inside* a label, which
/// must not pass for a label boundary.
const UNPRINTABLE: u8 = b'?';

/// What stands for each byte of a label.
#[allow(clippy::indexing_slicing, reason = "computed by the compiler, which would refuse a bad index")]
static AS_TEXT: [u8; 256] = {
    let mut table = [UNPRINTABLE; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        if byte != b'.' && byte != b'\\' {
            table[byte as usize] = byte.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// Which bytes a plain host name has.
#[allow(clippy::indexing_slicing, reason = "computed by the compiler, which would refuse a bad index")]
static IS_PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        let byte_as_text = byte as u8;
        table[byte] = byte_as_text.is_ascii_alphanumeric() || matches!(byte_as_text, b'-' | b'_');
        byte += 1;
    }
    table
};

/// A domain name in text form on the stack: lower case, dots between labels, none at the end; the root is empty.
#[derive(Clone, Copy)]
pub struct DnsName {
    bytes: [u8; NAME_BYTES_MAX],
    length: u8,
    /// All bytes are those of plain host names, and no label is an A-label.
    is_plain: bool,
    /// The last label begins with a digit.
    may_be_address: bool,
}

impl DnsName {
    /// The root, to be read into.
    pub const fn new() -> Self {
        Self { bytes: [0; NAME_BYTES_MAX], length: 0, is_plain: true, may_be_address: false }
    }

    /// The name as text; printable ASCII only.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        // Only ASCII is ever written to the buffer.
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Whether it surely is a host name in normal form: it is plain, is no address and has no label to be decoded (RFC 5890
    /// §2.3.2.1).
    #[inline]
    pub const fn is_plain_host(&self) -> bool {
        self.length > 0 && self.is_plain && !self.may_be_address
    }

    /// Whether it is the root.
    pub const fn is_root(&self) -> bool {
        self.length == 0
    }

    fn push_label(&mut self, label: &[u8]) -> Option<()> {
        let mut at = usize::from(self.length);
        if at > 0 {
            *self.bytes.get_mut(at)? = b'.';
            at += 1;
        }
        let end = at + label.len();
        let text = self.bytes.get_mut(at..end)?;
        let mut is_plain = true;
        for (to, &from) in text.iter_mut().zip(label) {
            *to = AS_TEXT.get(usize::from(from)).copied().unwrap_or(UNPRINTABLE);
            is_plain &= IS_PLAIN.get(usize::from(from)).copied().unwrap_or(false);
        }
        self.is_plain &= is_plain && !text.starts_with(b"xn--");
        self.may_be_address = text.first().is_some_and(u8::is_ascii_digit);
        self.length = u8::try_from(end).ok()?;
        Some(())
    }
}

impl Default for DnsName {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(formatter)
    }
}

/// Where in a message a name stands; not read yet.
#[derive(Clone, Copy)]
pub struct NameAt<'a> {
    message: &'a [u8],
    offset: usize,
}

impl<'a> NameAt<'a> {
    /// The name at `offset` of `message`, and where the bytes behind it begin. `None` if its end is not there, or a
    /// label is of a kind never assigned. Where pointers lead is not looked at.
    pub(super) fn new(message: &'a [u8], offset: usize) -> Option<(Self, usize)> {
        let mut at = offset;
        loop {
            let length = *message.get(at)?;
            at += 1;
            match length {
                0 => break,
                1..=63 => at += usize::from(length),
                0xc0..=0xff => {
                    at += 1;
                    break;
                }
                _ => return None,
            }
            // A name longer than the wire allows ends the walk.
            if at - offset > NAME_BYTES_MAX + 2 {
                return None;
            }
        }
        (at <= message.len()).then_some((Self { message, offset }, at))
    }

    /// Reads the name into `name`. `None`, with `name` in any state, if it is malformed.
    ///
    /// Every pointer must lead before the labels that it ends (RFC 1035 §4.1.4: "a prior occurrence"), so there is no
    /// loop; jumps and total length are bounded besides.
    pub fn read(&self, name: &mut DnsName) -> Option<()> {
        (name.length, name.is_plain, name.may_be_address) = (0, true, false);
        let mut at = self.offset;
        let mut run_start = at;
        let mut jumps = 0;
        loop {
            let length = *self.message.get(at)?;
            match length {
                0 => return Some(()),
                1..=63 => {
                    let end = at + 1 + usize::from(length);
                    name.push_label(self.message.get(at + 1..end)?)?;
                    at = end;
                }
                0xc0..=0xff => {
                    let low = *self.message.get(at + 1)?;
                    at = usize::from(length & 0x3f) << 8 | usize::from(low);
                    jumps += 1;
                    if at >= run_start || jumps > POINTER_JUMPS_MAX {
                        return None;
                    }
                    run_start = at;
                }
                _ => return None,
            }
        }
    }

    /// The name, read.
    pub fn name(&self) -> Option<DnsName> {
        let mut name = DnsName::new();
        self.read(&mut name)?;
        Some(name)
    }
}

impl fmt::Debug for NameAt<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(message: &[u8], offset: usize) -> Option<String> {
        NameAt::new(message, offset)?.0.name().map(|name| name.as_str().to_owned())
    }

    /// The example of RFC 1035 §4.1.4: F.ISI.ARPA at 20, FOO.F.ISI.ARPA at 40, ARPA at 64, the root at 92.
    #[test]
    fn reads_the_example_of_rfc_1035() {
        let mut message = [0xff; 93];
        message[20..32].copy_from_slice(b"\x01F\x03ISI\x04ARPA\0");
        message[40..46].copy_from_slice(b"\x03FOO\xc0\x14");
        message[64..66].copy_from_slice(b"\xc0\x1a");
        message[92] = 0;
        assert_eq!(text(&message, 20).as_deref(), Some("f.isi.arpa"));
        assert_eq!(text(&message, 40).as_deref(), Some("foo.f.isi.arpa"));
        assert_eq!(text(&message, 64).as_deref(), Some("arpa"));
        assert_eq!(text(&message, 92).as_deref(), Some(""));
        assert_eq!(NameAt::new(&message, 40).unwrap().1, 46);
        assert_eq!(NameAt::new(&message, 20).unwrap().1, 32);
    }

    #[test]
    fn pointers_lead_strictly_backwards_and_not_for_ever() {
        assert_eq!(text(b"\xc0\x00", 0), None, "to itself");
        assert_eq!(text(b"\x01a\xc0\x00", 0), None, "to its own labels");
        assert_eq!(text(b"\xc0\x02\xc0\x00", 2), None, "to each other");
        assert_eq!(text(b"\xc0\x03\x00\x01a\x00", 0), None, "forwards");
        let chain = |jumps: usize| {
            let mut message = vec![1, b'a', 0];
            (0..jumps).for_each(|jump| {
                let target = if jump == 0 { 0 } else { 1 + 2 * jump };
                message.extend_from_slice(&(0xc000 | target as u16).to_be_bytes());
            });
            text(&message, message.len() - 2)
        };
        assert_eq!(chain(POINTER_JUMPS_MAX).as_deref(), Some("a"));
        assert_eq!(chain(POINTER_JUMPS_MAX + 1), None);
    }

    #[test]
    fn a_name_ends_at_255_bytes() {
        let label = |length: u8| [&[length][..], &vec![b'x'; usize::from(length)]].concat();
        let longest = [label(63), label(63), label(63), label(61), vec![0]].concat();
        assert_eq!(longest.len(), 255);
        assert_eq!(text(&longest, 0).unwrap().len(), NAME_BYTES_MAX);
        let longer = [label(63), label(63), label(63), label(62), vec![0]].concat();
        assert_eq!(text(&longer, 0), None);
        let by_pointer = [&longest[..], &label(1), &[0xc0, 0]].concat();
        assert_eq!(text(&by_pointer, 255), None);
    }

    #[test]
    fn a_dot_inside_a_label_is_no_boundary() {
        assert_eq!(text(b"\x0awww.tiktok\x03COM\x00", 0).as_deref(), Some("www?tiktok.com"));
        assert_eq!(text(b"\x04a\\\xc3\xa9\x00", 0).as_deref(), Some("a???"));
        assert_eq!(text(b"\x40aaa\x00", 0), None, "label kind 01 was never assigned");
        assert_eq!(text(b"\x03ab", 0), None, "cut");
        assert_eq!(text(b"\x01a\xc0", 0), None, "cut in the pointer");
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_bounded_name_or_none(message in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..300) {
            if let Some(name) = text(&message, at) {
                prop_assert!(name.len() <= NAME_BYTES_MAX);
                prop_assert!(name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
            }
        }
    }
}
