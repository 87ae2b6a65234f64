//! `signal`, the word that stood where `class` stands now. Files with it load for one version, with a warning.

use super::reader::{Reader, Value};
use crate::id;
use crate::words::{Class, MatchKind, Role};

const SIGNALS: [&str; 13] = [
    "app-only",
    "app-likely",
    "shared",
    "app-or-web-playback",
    "web",
    "embed",
    "sdk-3p",
    "cloud-3p",
    "ads-portal",
    "ads",
    "corp",
    "dns-cname",
    "-",
];

/// Reads the word.
pub(super) fn signal(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
    let word = reader.string("signal", value)?;
    if !SIGNALS.contains(&word.as_str()) {
        let message = format!("signal \"{word}\" is not one of {}", SIGNALS.join(", "));
        reader.error(value.span().start, "signal", message, "write a class instead; README.md lists them");
        return None;
    }
    Some(word)
}

/// Warns of an old word, once per file for each class that it stands for.
pub(super) fn warn(reader: &mut Reader<'_>, at: usize, word: &str, class: Class, place: u32) {
    if !reader.first_old_word(word, class) {
        return;
    }
    let keeps_ids = if place == id::default_place(class) { String::new() } else { format!(" and place = {place}") };
    let message = format!("signal = \"{word}\" is a word of an older format, which the next version refuses");
    let mend = format!("write class = \"{class}\"{keeps_ids}, or a class that fits better: README.md lists them");
    reader.warning(at, "signal", message, mend);
}

/// The class that an old word means, and the place of its ids, which stay what they were.
pub(super) fn class_and_place(word: &str, role: Option<Role>, kind: MatchKind) -> Option<(Class, u32)> {
    let media = matches!(role, Some(Role::Cdn | Role::Live));
    let infra = matches!(role, Some(Role::Infra)) || kind == MatchKind::Prefix;
    let (class, place) = match word {
        "app-only" => (Class::Native, id::APP_ONLY),
        "app-likely" => (Class::NativeLikely, id::APP_LIKELY),
        "shared" if infra => (Class::Infra, id::SHARED),
        "shared" if media => (Class::Media, id::SHARED),
        "shared" if role == Some(Role::Embed) => (Class::Page, id::SHARED),
        "shared" => (Class::Site, id::SHARED),
        "app-or-web-playback" => (Class::Media, id::MEDIA),
        "web" if matches!(role, Some(Role::Corporate | Role::Dev)) => (Class::Portal, id::SITE),
        "web" => (Class::Site, id::SITE),
        "embed" if media || role == Some(Role::Web) => (Class::Page, id::EMBED),
        "embed" => (Class::Pixel, id::EMBED),
        "sdk-3p" => (Class::Sdk, id::SDK),
        "cloud-3p" => (Class::Cloud, id::CLOUD),
        "ads-portal" => (Class::Console, id::CONSOLE),
        "ads" => (Class::Pixel, id::ADVERTISING),
        "corp" => (Class::Corp, id::CORP),
        "dns-cname" => (Class::Cname, id::CNAME),
        "-" if media => (Class::Media, id::UNKNOWN),
        "-" if role == Some(Role::Web) && !infra => (Class::Site, id::UNKNOWN),
        "-" => (Class::Infra, id::UNKNOWN),
        _ => return None,
    };
    Some((class, place))
}
