//! What is known of a whole service, for people.

use vigie_signatures::{Bans, Bundle, Class, Rule, Service};

use crate::cli::words::{count, counted};

/// The service whose key or name was asked for.
pub(super) fn find<'b>(bundle: &'b Bundle, asked: &str) -> Option<&'b Service> {
    let is_asked = |service: &&Service| {
        service.key.eq_ignore_ascii_case(asked) || service.name.to_lowercase() == asked.to_lowercase()
    };
    bundle.services().iter().find(is_asked)
}

/// The services of the owner that was asked for.
pub(super) fn of_owner<'b>(bundle: &'b Bundle, asked: &str) -> Vec<&'b Service> {
    let asked = asked.to_lowercase();
    let is_owned = |service: &&Service| !service.owner.is_empty() && service.owner.to_lowercase() == asked;
    bundle.services().iter().filter(is_owned).collect()
}

/// An owner's services as a paragraph; none without services.
pub(super) fn owner_text(services: &[&Service]) -> Option<String> {
    let first = services.first()?;
    let country = if first.owner_country.is_empty() { String::new() } else { format!(" ({})", first.owner_country) };
    let mut lines = vec![format!("{}{country} owns {}:", first.owner, counted(services.len() as u64, "service"))];
    for service in services {
        let off = if service.enabled { "" } else { "; off" };
        lines.push(format!("  {}: {}, {}{off}", service.key, service.name, service.category));
    }
    let bans: Vec<String> = Bans::builtin()
        .iter()
        .filter(|ban| services.iter().any(|service| ban.covers(service)))
        .map(|ban| ban.id.clone())
        .collect();
    if !bans.is_empty() {
        lines.push(format!("  Bans that cover one or more of them: {}.", bans.join(", ")));
    }
    lines.push("  'vigie explain KEY' tells more of a service.".to_owned());
    lines.push(String::new());
    Some(lines.join("\n"))
}

/// The service as a paragraph.
pub(super) fn text(bundle: &Bundle, service: &Service) -> String {
    let mut lines = vec![format!("{} is a service: {}.", service.name, facts(service))];
    if !service.enabled {
        lines.push("  It is off: its rules do not answer.".to_owned());
    }
    let kinds = [
        (service.names, "names"),
        (service.patterns, "patterns"),
        (service.prefixes, "address ranges"),
        (service.fingerprints, "fingerprints"),
    ];
    let kinds: Vec<String> = kinds
        .into_iter()
        .filter(|(rules, _)| *rules > 0)
        .map(|(rules, kind)| format!("{} {kind}", count(rules as u64)))
        .collect();
    match kinds.as_slice() {
        [] => lines.push("  It has no rules.".to_owned()),
        kinds => lines.push(format!(
            "  Rules: {}; {} raise alerts by themselves. Oldest review {}.",
            kinds.join(", "),
            count(service.alerting as u64),
            service.oldest_review
        )),
    }
    let rules: Vec<&Rule> =
        bundle.rules().iter().map(|rule| &**rule).filter(|rule| rule.service == service.key).collect();
    let with_key = rules.iter().filter(|rule| rule.text.contains(&service.key));
    if let Some(main) = with_key.min_by_key(|rule| rule.distance_from_main_name()) {
        lines.push(format!("  Main name: {}.", main.text));
    }
    for class in Class::ALL {
        let mut families: Vec<&str> =
            rules.iter().filter(|rule| rule.class == *class).map(|rule| rule.family.as_str()).collect();
        families.sort_unstable();
        families.dedup();
        if !families.is_empty() {
            lines.push(format!("  Class {class}: {}. Families: {}.", super::class_words(*class), families.join(", ")));
        }
    }
    let bans = bans(service);
    lines.push(match bans.as_slice() {
        [] => "  No built-in ban covers it.".to_owned(),
        bans => format!("  Bans that cover it: {} ('vigie bans show ID' tells more).", bans.join(", ")),
    });
    lines.push(String::new());
    lines.join("\n")
}

fn facts(service: &Service) -> String {
    let owner = match (service.owner.as_str(), service.owner_country.as_str()) {
        ("", _) => "owner not given".to_owned(),
        (owner, "") => format!("owner {owner}"),
        (owner, country) => format!("owner {owner} ({country})"),
    };
    format!("key {}, {owner}, category {}", service.key, service.category)
}

/// Ids of the built-in bans that cover a service.
fn bans(service: &Service) -> Vec<String> {
    Bans::builtin().iter().filter(|ban| ban.covers(service)).map(|ban| ban.id.clone()).collect()
}
