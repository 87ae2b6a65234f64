//! Events that are sent together: encoded, one after the other, with what a receiver needs to know of each.

use std::ops::Range;

use crate::selection::{Class, Head};

/// One event of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Event<'b> {
    /// The journal's line.
    pub line: &'b [u8],
    /// The line as the receiver wants it.
    pub encoded: &'b [u8],
    /// Its class.
    pub class: Class,
}

impl<'b> Event<'b> {
    /// What the line says of itself. Every line of a batch was read before.
    pub fn head(&self) -> Option<Head<'b>> {
        Head::parse(self.line)
    }
}

#[derive(Clone, Debug)]
struct Place {
    line: Range<usize>,
    /// `None`: the line itself.
    encoded: Option<Range<usize>>,
    class: Class,
}

/// A batch. Its memory is used again for the next.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    places: Vec<Place>,
    acknowledged: usize,
}

impl Batch {
    /// Forgets all events, and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
        self.acknowledged = 0;
    }

    /// Adds an event. `encode` appends its encoding, unless the receiver wants the line itself.
    ///
    /// # Errors
    /// That of `encode`; nothing is added then.
    pub fn push<E>(
        &mut self,
        line: &[u8],
        class: Class,
        encode: Option<impl FnOnce(&mut Vec<u8>) -> Result<(), E>>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(line);
        let end = self.bytes.len();
        let mut encoded = None;
        if let Some(encode) = encode {
            if let Err(error) = encode(&mut self.bytes) {
                self.bytes.truncate(start);
                return Err(error);
            }
            encoded = Some(end..self.bytes.len());
        }
        self.places.push(Place { line: start..end, encoded, class });
        Ok(())
    }

    /// The events that are not acknowledged yet.
    pub fn events(&self) -> impl ExactSizeIterator<Item = Event<'_>> + Clone {
        let waiting = self.places.get(self.acknowledged..).unwrap_or_default();
        waiting.iter().map(|place| {
            let line = self.bytes.get(place.line.clone()).unwrap_or_default();
            let encoded = place.encoded.clone().and_then(|range| self.bytes.get(range)).unwrap_or(line);
            Event { line, encoded, class: place.class }
        })
    }

    /// Appends their encodings, a line each.
    pub fn write_lines(&self, out: &mut Vec<u8>) {
        for event in self.events() {
            out.extend_from_slice(event.encoded);
            out.push(b'\n');
        }
    }

    /// The first event that is not acknowledged.
    pub fn first(&self) -> Option<Event<'_>> {
        self.events().next()
    }

    /// The next `count` events are the receiver's now, or set aside.
    pub fn acknowledge(&mut self, count: usize) {
        self.acknowledged = self.acknowledged.saturating_add(count).min(self.places.len());
    }

    /// The next event is the receiver's now, or set aside.
    pub fn acknowledge_all(&mut self) {
        self.acknowledged = self.places.len();
    }

    /// Events that wait to be acknowledged.
    pub fn waiting(&self) -> usize {
        self.places.len().saturating_sub(self.acknowledged)
    }

    /// Events that are acknowledged.
    pub const fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// All its events.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it has no event at all.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of lines and encodings.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Encode = fn(&mut Vec<u8>) -> Result<(), ()>;

    #[test]
    fn events_are_acknowledged_in_order() {
        let mut batch = Batch::default();
        batch.push::<()>(b"one", Class::Alerts, None::<Encode>).unwrap();
        let encode: Encode = |out| {
            out.extend_from_slice(b"TWO");
            Ok(())
        };
        batch.push(b"two", Class::Incidents, Some(encode)).unwrap();
        let fail: Encode = |out| {
            out.extend_from_slice(b"half");
            Err(())
        };
        assert_eq!(batch.push(b"three", Class::Audit, Some(fail)), Err(()));
        let seen = |batch: &Batch| -> Vec<String> {
            batch.events().map(|event| String::from_utf8(event.encoded.to_vec()).unwrap()).collect()
        };
        assert_eq!((seen(&batch), batch.bytes()), (vec!["one".to_owned(), "TWO".to_owned()], 9));
        batch.acknowledge(1);
        assert_eq!((seen(&batch), batch.waiting()), (vec!["TWO".to_owned()], 1));
        assert_eq!(batch.first().unwrap().line, b"two");
        batch.acknowledge(5);
        assert_eq!((batch.waiting(), batch.acknowledged(), batch.len()), (0, 2, 2));
        batch.clear();
        assert!(batch.is_empty() && batch.first().is_none());
    }
}
