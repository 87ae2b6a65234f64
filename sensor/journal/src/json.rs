//! JSON written straight into a byte buffer, fields in the order in which they are added.
//!
//! Not serde_json, because times, addresses and numbers are written straight into the line, without a string in between.

use std::io::Write;
use std::net::{IpAddr, Ipv6Addr};

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// An object being written. [`Object::close`] must be called, after which no field can be added.
pub struct Object<'o> {
    out: &'o mut Vec<u8>,
    separate: bool,
}

impl<'o> Object<'o> {
    /// Opens an object at the end of `out`.
    pub fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, separate: false }
    }

    /// Closes the object.
    pub fn close(self) {
        self.out.push(b'}');
    }

    /// Writes the name of the next field. Names are ours: nothing in them needs escaping. Inlined, so that a name's
    /// length is known where it is copied.
    #[inline(always)]
    pub fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if self.separate {
            self.out.push(b',');
        }
        self.separate = true;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A string.
    #[inline]
    pub fn text(&mut self, key: &str, value: &str) {
        string(self.key(key), value);
    }

    /// A string, or nothing at all.
    pub fn optional_text(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    /// A string, or `null`.
    pub fn text_or_null(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(key, value),
            None => self.key(key).extend_from_slice(b"null"),
        }
    }

    /// A whole number.
    #[inline]
    pub fn number(&mut self, key: &str, value: u64) {
        decimal(self.key(key), value);
    }

    /// True or false.
    #[inline]
    pub fn truth(&mut self, key: &str, value: bool) {
        self.key(key).extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// An address as a string.
    pub fn address(&mut self, key: &str, value: IpAddr) {
        let out = self.key(key);
        out.push(b'"');
        address(out, value);
        out.push(b'"');
    }

    /// A time as a string.
    pub fn time(&mut self, key: &str, timestamp_ns: u64) {
        let out = self.key(key);
        out.push(b'"');
        timestamp(out, timestamp_ns);
        out.push(b'"');
    }

    /// An array of strings.
    #[inline]
    pub fn texts<'t>(&mut self, key: &str, values: impl IntoIterator<Item = &'t str>) {
        let out = self.key(key);
        out.push(b'[');
        let mut separate = false;
        for value in values {
            if separate {
                out.push(b',');
            }
            separate = true;
            string(out, value);
        }
        out.push(b']');
    }

    /// An object inside this one, to be filled and closed.
    pub fn object(&mut self, key: &str) -> Object<'_> {
        Object::open(self.key(key))
    }
}

/// Writes a string in quotes (RFC 8259 §7).
pub fn string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    escaped(out, value);
    out.push(b'"');
}

/// Writes the escaped content of a string, without the quotes.
pub fn escaped(out: &mut Vec<u8>, value: &str) {
    let mut rest = value.as_bytes();
    // Nearly all strings are plain. Looking at all bytes without stopping is done in wide steps.
    if !rest.iter().fold(false, |found, &byte| found | must_be_escaped(byte)) {
        return out.extend_from_slice(rest);
    }
    while let Some(place) = rest.iter().position(|&byte| must_be_escaped(byte)) {
        let (plain, special) = rest.split_at(place);
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { break };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => drop(write!(out, "\\u{byte:04x}")),
        }
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// RFC 8259 §7. DEL need not be escaped, but a terminal should not see it either.
#[inline]
const fn must_be_escaped(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte == 0x7f)
}

/// Writes a number in decimal.
pub fn decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0_u8; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        used += 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

/// Writes an address; IPv6 as RFC 5952 wants it.
pub fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            decimal(out, a.into());
            for octet in [b, c, d] {
                out.push(b'.');
                decimal(out, octet.into());
            }
        }
        IpAddr::V6(v6) => address_v6(out, v6),
    }
}

/// RFC 5952 §4: lower case, no leading zeros, the first of the longest runs of zeros shortened if it is not just one.
fn address_v6(out: &mut Vec<u8>, address: Ipv6Addr) {
    if address.to_ipv4_mapped().is_some() {
        // A vector takes all that is written.
        return drop(write!(out, "{address}"));
    }
    let groups = address.segments();
    let (mut run_start, mut run_end, mut start) = (0, 0, 0);
    for (place, &group) in groups.iter().enumerate() {
        if group != 0 {
            start = place + 1;
        } else if place + 1 - start > (run_end - run_start).max(1) {
            (run_start, run_end) = (start, place + 1);
        }
    }
    for (place, &group) in groups.iter().enumerate() {
        if place == run_start && run_end > run_start {
            out.extend_from_slice(b"::");
        }
        if (run_start..run_end).contains(&place) {
            continue;
        }
        // A shortened run ends with its own colon.
        if place != 0 && (place != run_end || run_end == run_start) {
            out.push(b':');
        }
        hexadecimal(out, group);
    }
}

/// Writes a group of an address, without leading zeros.
fn hexadecimal(out: &mut Vec<u8>, group: u16) {
    for shift in [12, 8, 4, 0] {
        let digit = (group >> shift & 0xf) as u8;
        if shift == 0 || group >> shift != 0 {
            out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
        }
    }
}

/// Writes a time as EVE has it, in UTC: `2026-11-21T22:05:05.123456+0000`.
pub fn timestamp(out: &mut Vec<u8>, timestamp_ns: u64) {
    let seconds = timestamp_ns / NANOSECONDS_PER_SECOND;
    let (year, month, day) = civil(seconds / SECONDS_PER_DAY);
    let second = seconds % SECONDS_PER_DAY;
    decimal(out, year);
    for (mark, value) in
        [(b'-', month), (b'-', day), (b'T', second / 3600), (b':', second / 60 % 60), (b':', second % 60)]
    {
        out.push(mark);
        two_digits(out, value);
    }
    let microseconds = timestamp_ns % NANOSECONDS_PER_SECOND / 1000;
    out.push(b'.');
    for pair in [microseconds / 10_000, microseconds / 100 % 100, microseconds % 100] {
        two_digits(out, pair);
    }
    out.extend_from_slice(b"+0000");
}

fn two_digits(out: &mut Vec<u8>, value: u64) {
    out.push(b'0' + (value / 10 % 10) as u8);
    out.push(b'0' + (value % 10) as u8);
}

/// Year, month and day of a day since 1970-01-01 in the Gregorian calendar. Counted in eras of 400 years that begin on
/// the first of March, so that the leap day is an era's last.
pub const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_at_the_edges() {
        for (nanoseconds, expected) in [
            (0, "1970-01-01T00:00:00.000000+0000"),
            (951_782_399_999_999_999, "2000-02-28T23:59:59.999999+0000"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000+0000"),
            (1_795_298_705_123_456_789, "2026-11-21T22:05:05.123456+0000"),
            (4_107_542_400_000_001_000, "2100-03-01T00:00:00.000001+0000"),
            (u64::MAX, "2554-07-21T23:34:33.709551+0000"),
        ] {
            assert_eq!(written(|out| timestamp(out, nanoseconds)), expected);
        }
    }

    #[test]
    fn nested_objects_separate_their_fields() {
        let text = written(|out| {
            let mut object = Object::open(out);
            object.number("a", 0);
            let mut inner = object.object("b");
            inner.texts("c", []);
            inner.texts("d", ["x", "\"y\""]);
            inner.close();
            object.truth("e", false);
            object.text_or_null("f", None);
            object.optional_text("g", None);
            object.address("h", "2001:db8:0:0:1::1".parse().unwrap());
            object.address("i", "203.0.113.9".parse().unwrap());
            object.close();
        });
        // RFC 5952 §4.2.3: of equally long runs of zeros the first is shortened.
        let addresses = r#""h":"2001:db8::1:0:0:1","i":"203.0.113.9""#;
        assert_eq!(text, format!(r#"{{"a":0,"b":{{"c":[],"d":["x","\"y\""]}},"e":false,"f":null,{addresses}}}"#));
    }

    proptest! {
        #[test]
        fn any_string_reads_back_and_hides_control_characters(value in any::<String>()) {
            let text = written(|out| string(out, &value));
            prop_assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value);
            prop_assert!(!text.bytes().any(|byte| byte < 0x20 || byte == 0x7f));
        }

        #[test]
        fn any_address_is_written_as_the_standard_library_does(
            groups in prop::array::uniform8(prop_oneof![Just(0_u16), Just(1), Just(0xffff), any::<u16>()]),
            v4 in any::<u32>(),
        ) {
            for value in [IpAddr::from(groups), IpAddr::V4(v4.into()), IpAddr::V6(Ipv6Addr::from_bits(v4.into()))] {
                prop_assert_eq!(written(|out| address(out, value)), value.to_string());
            }
        }

        #[test]
        fn any_number_reads_back(value in any::<u64>()) {
            prop_assert_eq!(written(|out| decimal(out, value)), value.to_string());
        }

        #[test]
        fn any_time_is_what_the_calendar_says(nanoseconds in any::<u64>()) {
            let text = written(|out| timestamp(out, nanoseconds));
            let moment = time::OffsetDateTime::from_unix_timestamp_nanos(nanoseconds.into()).unwrap();
            let expected = format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}+0000",
                moment.year(), u8::from(moment.month()), moment.day(),
                moment.hour(), moment.minute(), moment.second(), moment.microsecond()
            );
            prop_assert_eq!(text, expected);
        }
    }
}
