//! Metric families: name, type, labels and help, declared once in a table.

use std::fmt::Write;

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, until the process starts anew.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

impl Kind {
    /// The word of the exposition formats.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Names of its labels, in order.
    pub labels: &'static [&'static str],
    /// What it means, for people.
    pub help: &'static str,
}

/// Declares families, one constant each, and `FAMILIES` with all of them in order.
///
/// ```
/// vigie_metrics::families! {
///     EVENTS: Counter, "example_events_total", ["receiver"], "Events sent to the receiver.";
///     QUEUE: Gauge, "example_queue_events", [], "Events that wait to be sent.";
/// }
/// assert_eq!(FAMILIES, [EVENTS, QUEUE]);
/// assert!(vigie_metrics::listing(&[FAMILIES]).contains("| `example_events_total` | counter | `receiver` |"));
/// ```
#[macro_export]
macro_rules! families {
    ($($NAME:ident: $kind:ident, $name:literal, [$($label:literal),*], $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $NAME: $crate::Family = $crate::Family {
                name: $name,
                kind: $crate::Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )+

        /// All families of this table, in order.
        pub const FAMILIES: &[$crate::Family] = &[$($NAME),+];
    };
}

/// The listing of all families in these tables, in Markdown.
pub fn listing(tables: &[&[Family]]) -> String {
    let mut text = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for family in tables.iter().copied().flatten() {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, help) = (family.name, family.kind.as_str(), family.help);
        let _ = writeln!(text, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listing_has_a_line_for_each_family() {
        let tables = [crate::process::FAMILIES, crate::server::FAMILIES];
        let listing = listing(&tables);
        assert_eq!(listing.lines().count(), 2 + tables[0].len() + tables[1].len());
        assert!(listing.contains("| `process_threads` | gauge |  | Threads of the process. |\n"), "{listing}");
        assert!(listing.contains("| `vigie_http_requests_total` | counter | `path`, `code` | "), "{listing}");
    }
}
