//! Signature ids: the place that a rule has among the ids of its service, and what an alert with that id says.
//!
//! An id is the service's base plus a place. Places are documented in README.md; they never change their meaning and are
//! never used again. A rule takes the place of its class, unless its file names another: rules keep the id they first had.

use crate::rule::Rule;
use crate::words::{Class, MatchKind, Verdict};

/// Ids of one service: `base` to `base + 99`.
pub const SERVICE_IDS: u32 = 100;
/// Added to the place of an address rule.
const PREFIX_PLACES: u32 = 20;
/// The one place of fingerprints.
const JA4_PLACE: u32 = 40;
/// Added to the place of a silenced rule.
const SILENT_PLACES: u32 = 50;

/// What an id's place says.
pub(crate) struct Place {
    pub(crate) number: u32,
    /// Text of alerts on names.
    pub(crate) phrase: &'static str,
    /// Text of alerts on addresses.
    pub(crate) address_phrase: &'static str,
    /// What a name says about the device, seen alone.
    pub(crate) verdict: Verdict,
}

macro_rules! place {
    ($number:ident, $word:literal, $phrase:literal, $verdict:ident) => {
        Place {
            number: $number,
            phrase: $phrase,
            address_phrase: concat!("server address contacted (", $word, ")"),
            verdict: Verdict::$verdict,
        }
    };
}

pub(crate) const APP_ONLY: u32 = 1;
pub(crate) const APP_LIKELY: u32 = 2;
pub(crate) const SHARED: u32 = 3;
pub(crate) const MEDIA: u32 = 4;
pub(crate) const SITE: u32 = 5;
pub(crate) const EMBED: u32 = 6;
pub(crate) const SDK: u32 = 7;
pub(crate) const CLOUD: u32 = 8;
pub(crate) const CONSOLE: u32 = 9;
pub(crate) const ADVERTISING: u32 = 10;
pub(crate) const CORP: u32 = 11;
pub(crate) const CNAME: u32 = 12;
pub(crate) const UNKNOWN: u32 = 13;
pub(crate) const PORTAL: u32 = 14;
pub(crate) const LINK: u32 = 15;
pub(crate) const RESOLVER: u32 = 16;
pub(crate) const PAGE: u32 = 17;

/// All places, in order.
const PLACES: [Place; 17] = [
    place!(APP_ONLY, "app-only", "app in use", App),
    place!(APP_LIKELY, "app-likely", "app probably in use", App),
    place!(SHARED, "shared", "app in use or site visited", Undetermined),
    place!(MEDIA, "app-or-web-playback", "media played in app or browser", Undetermined),
    place!(SITE, "web", "site visited", Web),
    place!(EMBED, "embed", "embedded in another page", Embed),
    place!(SDK, "sdk-3p", "SDK inside another app", Embed),
    place!(CLOUD, "cloud-3p", "cloud used by a third party", Undetermined),
    place!(CONSOLE, "ads-portal", "advertiser or seller portal", Web),
    place!(ADVERTISING, "ads", "advertising", Undetermined),
    place!(CORP, "corp", "company's own staff or tests", Undetermined),
    place!(CNAME, "dns-cname", "name seen in a DNS chain", Undetermined),
    Place {
        address_phrase: "server address contacted",
        ..place!(UNKNOWN, "-", "contacted, use unknown", Undetermined)
    },
    place!(PORTAL, "portal", "help, news or developer page read", Web),
    place!(LINK, "link", "short link opened or previewed", Embed),
    place!(RESOLVER, "resolver", "some app's network stack, app unknown", Undetermined),
    place!(PAGE, "page", "site visited or embedded in another page", Undetermined),
];
/// Largest place that a file may name.
pub(crate) const PLACE_MAX: u32 = PLACES.len() as u32;

/// The place of rules of a class, where their file names no other.
pub(crate) const fn default_place(class: Class) -> u32 {
    match class {
        Class::Native => APP_ONLY,
        Class::NativeLikely => APP_LIKELY,
        Class::Site => SITE,
        Class::Page => PAGE,
        Class::Media => MEDIA,
        Class::Pixel => EMBED,
        Class::Sdk => SDK,
        Class::Console => CONSOLE,
        Class::Portal => PORTAL,
        Class::Link => LINK,
        Class::Resolver => RESOLVER,
        Class::Infra => UNKNOWN,
        Class::Cloud => CLOUD,
        Class::Corp => CORP,
        Class::Cname => CNAME,
    }
}

/// What is added to a service's base.
pub(crate) const fn offset(kind: MatchKind, place: u32, alert: bool) -> u32 {
    let offset = match kind {
        MatchKind::Exact | MatchKind::Pattern | MatchKind::Suffix => place,
        MatchKind::Prefix => PREFIX_PLACES + place,
        MatchKind::Ja4 => JA4_PLACE,
    };
    if alert { offset } else { offset + SILENT_PLACES }
}

/// The signature id of a rule of a class that names no place of its own.
pub const fn signature_id(base: u32, kind: MatchKind, class: Class) -> u32 {
    base + offset(kind, default_place(class), true)
}

pub(crate) const fn is_silent(signature_id: u32) -> bool {
    signature_id % SERVICE_IDS >= SILENT_PLACES
}

/// The id of the same rule, silenced.
pub(crate) const fn silenced(signature_id: u32) -> u32 {
    if is_silent(signature_id) { signature_id } else { signature_id + SILENT_PLACES }
}

impl Rule {
    /// What its id says; for fingerprints, that nothing is known.
    pub(crate) const fn place(&self) -> &'static Place {
        let offset = self.signature_id % SERVICE_IDS % SILENT_PLACES;
        let number = match self.kind {
            MatchKind::Ja4 => UNKNOWN,
            MatchKind::Prefix => offset.saturating_sub(PREFIX_PLACES),
            MatchKind::Exact | MatchKind::Pattern | MatchKind::Suffix => offset,
        };
        let index = if number >= 1 && number <= PLACE_MAX { number } else { UNKNOWN } as usize - 1;
        match PLACES.split_at(index).1 {
            [place, ..] => place,
            [] => &PLACES[0],
        }
    }

    /// What an alert says about the device. It depends on the id and on nothing else.
    pub const fn phrase(&self) -> &'static str {
        match self.kind {
            MatchKind::Exact | MatchKind::Pattern | MatchKind::Suffix => self.place().phrase,
            MatchKind::Prefix => self.place().address_phrase,
            MatchKind::Ja4 => "client fingerprint",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_order_and_their_texts_differ() {
        let mut texts = std::collections::HashSet::new();
        for (place, number) in PLACES.iter().zip(1..) {
            assert_eq!(place.number, number);
            assert!(texts.insert(place.phrase) && texts.insert(place.address_phrase));
        }
    }

    /// These are an interface: a change breaks the rules that others wrote on signature ids.
    #[test]
    fn ids_are_stable_and_apart() {
        assert_eq!(offset(MatchKind::Suffix, APP_ONLY, true), 1);
        assert_eq!(offset(MatchKind::Exact, UNKNOWN, true), 13);
        assert_eq!(offset(MatchKind::Prefix, UNKNOWN, true), 33);
        assert_eq!(offset(MatchKind::Ja4, APP_LIKELY, true), 40);
        assert_eq!(offset(MatchKind::Suffix, PAGE, false), 67);
        let mut seen = std::collections::HashSet::new();
        for kind in [MatchKind::Suffix, MatchKind::Prefix] {
            for place in 1..=PLACE_MAX {
                for alert in [true, false] {
                    let offset = offset(kind, place, alert);
                    assert!(offset < SERVICE_IDS && seen.insert(offset), "{kind} {place} {alert}");
                }
            }
        }
        assert!(seen.insert(offset(MatchKind::Ja4, 1, true)) && seen.insert(offset(MatchKind::Ja4, 1, false)));
    }

    #[test]
    fn every_class_has_a_place_of_its_own() {
        let places: std::collections::HashSet<u32> = Class::ALL.iter().map(|class| default_place(*class)).collect();
        assert_eq!(places.len(), Class::ALL.len());
    }
}
