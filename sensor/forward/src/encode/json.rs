//! Objects written straight into the output. A field without a value is not there, nor an object without a field.

use std::net::IpAddr;

use serde_json::Value;
use vigie_journal::json::{address, decimal, string};

/// An object that is being written.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    is_filled: bool,
}

/// Appends an object with what `fill` adds to it.
pub(super) fn object(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    let _ = fill_object(out, fill);
}

/// Whether the object has a field.
fn fill_object(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) -> bool {
    out.push(b'{');
    let mut object = Object { out, is_filled: false };
    fill(&mut object);
    let is_filled = object.is_filled;
    out.push(b'}');
    is_filled
}

impl Object<'_> {
    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if self.is_filled {
            self.out.push(b',');
        }
        self.is_filled = true;
        string(self.out, key);
        self.out.push(b':');
        self.out
    }

    /// A string, if there is one.
    pub fn text<'t>(&mut self, key: &str, value: impl Into<Option<&'t str>>) {
        if let Some(value) = value.into() {
            string(self.key(key), value);
        }
    }

    /// A number, if there is one.
    pub fn number(&mut self, key: &str, value: impl Into<Option<u64>>) {
        if let Some(value) = value.into() {
            decimal(self.key(key), value);
        }
    }

    /// A number as a string, if there is one.
    pub fn number_text(&mut self, key: &str, value: impl Into<Option<u64>>) {
        if let Some(value) = value.into() {
            let out = self.key(key);
            out.push(b'"');
            decimal(out, value);
            out.push(b'"');
        }
    }

    /// Milliseconds, which may be before the epoch, if there are any.
    pub fn milliseconds(&mut self, key: &str, value: impl Into<Option<i64>>) {
        if let Some(value) = value.into() {
            let out = self.key(key);
            if value < 0 {
                out.push(b'-');
            }
            decimal(out, value.unsigned_abs());
        }
    }

    /// True, or nothing.
    pub fn truth(&mut self, key: &str, is_true: bool) {
        if is_true {
            self.key(key).extend_from_slice(b"true");
        }
    }

    /// An address as a string, if there is one.
    pub fn address(&mut self, key: &str, value: Option<IpAddr>) {
        if let Some(value) = value {
            let out = self.key(key);
            out.push(b'"');
            address(out, value);
            out.push(b'"');
        }
    }

    /// An array of strings, if there are any.
    pub fn texts<'t>(&mut self, key: &str, values: impl IntoIterator<Item = &'t str>) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_some() {
            array(self.key(key), values, string);
        }
    }

    /// Strings as one, with a separator, if there are any.
    pub fn joined<'t>(&mut self, key: &str, values: impl IntoIterator<Item = &'t str>, separator: &str) {
        let mut values = values.into_iter();
        let Some(first) = values.next() else { return };
        match values.next() {
            None => self.text(key, first),
            Some(second) => {
                let mut all = [first, separator, second].concat();
                for value in values {
                    all.push_str(separator);
                    all.push_str(value);
                }
                self.text(key, &*all);
            }
        }
    }

    /// Any value but null, if there is one.
    pub fn value(&mut self, key: &str, value: Option<&Value>) {
        match value {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => self.text(key, &**text),
            Some(value) => {
                // A vector takes all that is written, and every value of JSON can be.
                let _ = serde_json::to_writer(self.key(key), value);
            }
        }
    }

    /// An object, if `fill` adds a field to it.
    pub fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) {
        let (length, is_filled) = (self.out.len(), self.is_filled);
        if !fill_object(self.key(key), fill) {
            self.out.truncate(length);
            self.is_filled = is_filled;
        }
    }

    /// An array of objects, if there are any.
    pub fn objects<T>(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(&mut Object<'_>, T),
    ) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_some() {
            array(self.key(key), values, |out, value| object(out, |object| fill(object, value)));
        }
    }
}

fn array<T>(out: &mut Vec<u8>, values: impl Iterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (place, value) in values.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(out, value);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_value_is_not_there() {
        let mut out = Vec::new();
        object(&mut out, |object| {
            object.text("none", None);
            object.object("empty", |object| object.object("inside", |object| object.texts("none", [])));
            object.text("a\"b", "c\n");
            object.object("filled", |object| object.milliseconds("before", -1));
            object.objects("list", [1, 2], |object, number| object.number_text("n", number));
            object.joined("joined", ["x", "y", "z"], "; ");
            object.value("null", Some(&Value::Null));
        });
        let expected = r#"{"a\"b":"c\n","filled":{"before":-1},"list":[{"n":"1"},{"n":"2"}],"joined":"x; y; z"}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
