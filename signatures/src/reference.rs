//! The matching rules written down as plainly as they can be: what the table is tested against.

use super::{Asked, Entry, Form};
use crate::pattern::{self, Whole};

/// The rule that answers for a name, by looking at every rule.
pub(super) fn naive_find(entries: &[Entry<'_>], name: &str, asked: Asked) -> Option<u32> {
    let allowed = || entries.iter().filter(|entry| asked == Asked::Dns || !entry.dns_only);
    // The table lets the later of two entries of the same form win, even if a flow may not have it.
    let superseded = |one: &Entry<'_>| {
        let later = entries.iter().rev().find(|other| match (&one.form, &other.form) {
            (Form::Exact(one), Form::Exact(other)) | (Form::Suffix(one), Form::Suffix(other)) => one == other,
            _ => false,
        });
        later.is_some_and(|later| later.rule != one.rule)
    };
    let exact = allowed().find(|entry| matches!(&entry.form, Form::Exact(text) if *text == name) && !superseded(entry));
    if let Some(entry) = exact {
        return Some(entry.rule);
    }
    let below = |zone: &str| name.strip_suffix(zone).and_then(|head| head.strip_suffix('.'));
    for entry in allowed() {
        let Form::Pattern { head, zones } = &entry.form else { continue };
        let whole = Whole::new(&[pattern::read(head).unwrap()]).unwrap();
        if zones.iter().filter_map(|zone| below(zone)).any(|text| whole.find(text.as_bytes()).is_some()) {
            return Some(entry.rule);
        }
    }
    let length = |entry: &Entry<'_>| match &entry.form {
        Form::Suffix(text) if (name == *text || below(text).is_some()) && !superseded(entry) => Some(text.len()),
        _ => None,
    };
    allowed().filter(|entry| length(entry).is_some()).max_by_key(|entry| length(entry)).map(|entry| entry.rule)
}
